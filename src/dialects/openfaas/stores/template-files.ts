import { readdirSync } from "node:fs";
import { join, relative } from "node:path";

/** Of a template named here its folder holds only the files that its base does not have, or has otherwise. */
const bases: Readonly<Record<string, string>> = {
  "bun-express": "node22",
  node18: "node22",
  node20: "node22",
  python: "python3",
  "python3-flask-debian": "python3-flask",
  "python3-http-debian": "python3-http",
};

/** All files of the template `name`, sorted: the path in the template, and the path here. */
export function templateFiles(templates: string, name: string): ReadonlyMap<string, string> {
  const base = bases[name];
  const folder = join(templates, name);
  const files = new Map(base === undefined ? [] : templateFiles(templates, base));
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isFile()) files.set(relative(folder, path), path);
  }
  return new Map([...files].sort(([one], [other]) => (one < other ? -1 : 1)));
}

export function templateNames(templates: string): string[] {
  return readdirSync(templates, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name)
    .sort();
}
