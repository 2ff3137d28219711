import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { type Rig, startRig } from "./rig.ts";

const file = new URL("../../docs/openapi.json", import.meta.url);

interface Operation {
  operationId: string;
  summary: string;
  responses: Record<string, unknown>;
}

describe("the OpenAPI document", () => {
  let rig: Rig;
  let document: { openapi: string; paths: Record<string, Record<string, Operation>>; components: { schemas: object } };
  before(async () => {
    rig = await startRig();
    document = (await (await rig.fetch("/v1/openapi.json")).json()) as typeof document;
  });
  after(() => rig[Symbol.asyncDispose]());

  test("is the one that is checked in (VIRGA_UPDATE=1 writes it)", () => {
    const text = `${JSON.stringify(document, null, 2)}\n`;
    if (process.env["VIRGA_UPDATE"] === "1") writeFileSync(file, text);
    assert.equal(readFileSync(file, "utf8"), text);
  });

  test("describes every path of docs/api.md but the invoke API and the open ones", () => {
    const api = readFileSync(new URL("../../docs/api.md", import.meta.url), "utf8");
    const described = new Set(Object.keys(document.paths).map((path) => path.replaceAll(/\{\w+\}/g, "{}")));
    const named = [...api.matchAll(/`(?:GET|PUT|POST|DELETE|ANY)? ?((?:\/v1|…)\/[^`\s?(]*)/g)].map(
      (match) => match[1] ?? "",
    );
    assert.ok(named.length > 20, "the table was read");
    for (const path of named) {
      const plain = path.replaceAll(/\{[^}]*\}/g, "{}");
      if (plain.includes("/invoke/") || plain === "/v1/openapi.json") continue;
      const found = [...described].some((one) =>
        plain.startsWith("…") ? one.endsWith(plain.slice(1)) : one === plain,
      );
      assert.ok(found, `${path} is not described`);
    }
  });

  test("names each operation once, with its errors, and refers to nothing that is not there", () => {
    const operations = Object.values(document.paths).flatMap((path) => Object.values(path));
    assert.ok(operations.length > 25);
    assert.equal(new Set(operations.map((one) => one.operationId)).size, operations.length);
    for (const { summary, responses } of operations) assert.ok(summary.length > 5 && "default" in responses);
    const schemas = new Set(Object.keys(document.components.schemas));
    for (const [, name] of JSON.stringify(document).matchAll(/"#\/components\/schemas\/([^"]+)"/g)) {
      assert.ok(schemas.has(name ?? ""), name);
    }
    assert.equal(document.openapi, "3.1.0");
  });
});
