import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Faas } from "./faas.ts";

/** Builds a function of the template node22 with this handler, and deploys it; its image is `NAME:latest`. */
export async function buildNode(faas: Faas, name: string, handler: string): Promise<void> {
  await faas.buildUp(folderOf(faas, name, handler), "stack.yaml");
}

/** As `buildNode`, without a deploy. */
export async function publishNode(faas: Faas, name: string, handler: string): Promise<void> {
  const builder = ["--remote-builder", `${faas.gateway}/build`, "--payload-secret", faas.payloadSecret];
  const cwd = folderOf(faas, name, handler);
  await faas.ok(["publish", "-f", "stack.yaml", ...builder], { cwd, timeoutMs: 60_000 });
}

function folderOf(faas: Faas, name: string, handler: string): string {
  const folder = faas.folderWith("node22");
  mkdirSync(join(folder, name));
  faas.file(folder, `${name}/handler.js`, handler);
  faas.file(folder, `${name}/package.json`, JSON.stringify({ name, version: "1.0.0", main: "handler.js" }));
  const stack = `version: 1.0
provider: { name: openfaas }
functions:
  ${name}: { lang: node22, handler: ./${name}, image: "${name}:latest" }
`;
  faas.file(folder, "stack.yaml", stack);
  return folder;
}

/** For `deploy`: another function of an image that `buildNode` has made. */
export function ofImage(name: string, more: Readonly<Record<string, unknown>> = {}): Readonly<Record<string, unknown>> {
  return { image: `${name}:latest`, ...more };
}
