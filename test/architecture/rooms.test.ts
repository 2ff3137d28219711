import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { importsOf, reachable, readImports, sourceRoot } from "./imports.ts";

/** Room → the rooms that it may import beside itself. The table of ARCHITECTURE.md. */
const allowed: Readonly<Record<string, readonly string[]>> = {
  core: [],
  ports: ["core"],
  trees: ["core"],
  drivers: ["core", "ports", "trees"],
  links: ["core", "ports"],
  runtimes: ["core", "ports", "links", "trees"],
  engine: ["core", "ports", "trees"],
  services: ["core", "ports", "engine"],
  telemetry: ["core", "ports"],
  gateway: ["core", "ports", "engine", "services", "telemetry"],
  dialects: ["core", "ports", "trees", "engine", "services", "gateway"],
  simulator: ["core"],
  cli: ["core", "simulator"],
  "configuration.ts": ["core"],
};

/** Rooms whose members are siblings that never import each other. */
const siblings = new Set(["drivers", "links", "runtimes", "dialects"]);

/** Only this file names drivers, runtimes and dialects together; the CLI has one door to it. */
const compositionRoot = "compose.ts";
const serverCommands = new Set(["cli/platform.ts"]);

/** Where a request passes, and the packages that it may meet there: none but Node's own modules. */
const hotPath = ["gateway/call-path.ts", "engine/invoker.ts", "engine/pool.ts", "links/framed/instance.ts"];
const hotPathPackages: readonly string[] = [];

const edges = readImports();
const room = (path: string): string => (path.includes("/") ? path.slice(0, path.indexOf("/")) : path);
const member = (path: string): string => {
  const [top, second, third] = path.split("/");
  if (top === "drivers")
    return second?.endsWith(".ts") || third?.endsWith(".ts") === true ? `${second}` : `${second}/${third}`;
  return second ?? "";
};

describe("architecture", () => {
  test("the checker saw the code's imports", () => {
    const rooms = new Set(edges.map((edge) => room(edge.from)));
    for (const name of ["core", "ports", "drivers", "links", "runtimes", "engine", "gateway", "cli", compositionRoot])
      assert.ok(rooms.has(name), `no import seen in ${name}`);
    assert.ok(edges.length > 200, `only ${edges.length} imports seen`);
  });

  test("each room imports only the rooms below it", () => {
    const wrong = edges.filter(({ from, to, kind }) => {
      if (kind !== "internal" || from === compositionRoot || room(from) === room(to)) return false;
      if (to === compositionRoot) return !serverCommands.has(from);
      return !allowed[room(from)]?.includes(room(to));
    });
    assert.deepEqual(
      wrong.map(({ from, to }) => `${from} → ${to}`),
      [],
    );
  });

  test("siblings do not import each other", () => {
    const wrong = edges.filter(
      ({ from, to, kind }) =>
        kind === "internal" &&
        room(from) === room(to) &&
        siblings.has(room(from)) &&
        member(from).includes("/") &&
        member(to).includes("/") &&
        member(from) !== member(to),
    );
    const wrongTop = edges.filter(
      ({ from, to, kind }) =>
        kind === "internal" &&
        room(from) === room(to) &&
        siblings.has(room(from)) &&
        room(from) !== "drivers" &&
        !member(to).endsWith(".ts") &&
        member(from) !== member(to) &&
        !member(from).endsWith(".ts"),
    );
    assert.deepEqual(
      [...wrong, ...wrongTop].map(({ from, to }) => `${from} → ${to}`),
      [],
    );
  });

  test("the core is pure: no built-in module, no package", () => {
    const impure = edges.filter(({ from, kind }) => room(from) === "core" && kind !== "internal");
    assert.deepEqual(
      impure.map(({ from, to }) => `${from} → ${to}`),
      [],
    );
  });

  test("ports are types: they run nothing but the core", () => {
    const running = edges.filter(
      ({ from, kind, typeOnly }) => room(from) === "ports" && kind !== "internal" && !typeOnly,
    );
    assert.deepEqual(
      running.map(({ from, to }) => `${from} → ${to}`),
      [],
    );
  });

  test("every import leads to a file", () => {
    const dangling = edges.filter(({ to, kind }) => kind === "internal" && !existsSync(join(sourceRoot, to)));
    assert.deepEqual(
      dangling.map(({ from, to }) => `${from} → ${to}`),
      [],
    );
  });

  test("the hot path reaches no package outside the allow-list", () => {
    for (const file of hotPath)
      assert.ok(existsSync(join(sourceRoot, file)), `${file} is gone: name the hot path's new files here`);
    const files = reachable(edges, hotPath);
    assert.ok(files.size > hotPath.length, "the hot path imports nothing, which cannot be");
    const packages = edges.filter(
      ({ from, to, kind, typeOnly, dynamic }) =>
        files.has(from) && kind === "package" && !typeOnly && !dynamic && !hotPathPackages.includes(to),
    );
    assert.deepEqual(
      packages.map(({ from, to }) => `${from} → ${to}`),
      [],
    );
  });

  test("the checker reads every form of import", () => {
    const text = `
      import a from "./a.ts";
      import type { B } from "./b.ts";
      import { c,
        d } from "pkg";
      export * from "./e.ts";
      import "node:fs";
      // import "./comment.ts";
      const f = await import("./f.ts");
    `;
    assert.deepEqual(
      importsOf("engine/x.ts", text).map(({ to, typeOnly, dynamic }) => [to, typeOnly, dynamic]),
      [
        ["engine/a.ts", false, false],
        ["engine/b.ts", true, false],
        ["pkg", false, false],
        ["engine/e.ts", false, false],
        ["node:fs", false, false],
        ["engine/f.ts", false, true],
      ],
    );
  });
});
