import { createHash } from "node:crypto";
import { existsSync, readFileSync, statSync } from "node:fs";
import { basename, dirname, extname, join, relative, resolve } from "node:path";
import { VirgaError } from "../core/errors.ts";
import type { Settings } from "./api.ts";
import { manifestNames, parseManifest, settingsOf } from "./manifest.ts";
import { eventObjects, type WantedEventObject } from "./manifest-events.ts";
import type { ManifestRoute } from "./manifest-schema.ts";

/** What one `deploy` or `dev` is about: the functions of a folder, or one file as a function. */
export interface Project {
  /** Named by the manifest. */
  readonly namespace?: string;
  /** The folder or file that was named, absolute. */
  readonly root: string;
  /** The manifest's path, where there is one. */
  readonly manifest?: string;
  readonly functions: readonly ProjectFunction[];
  readonly routes: readonly (ManifestRoute & { readonly id: string })[];
  /** Names that must be there. */
  readonly secrets: readonly string[];
}

export interface ProjectFunction {
  readonly name: string;
  /** Absolute path of the folder or file with the code. */
  readonly source: string;
  readonly settings: Settings;
  /** Topics, subscriptions and sources that belong to it. */
  readonly events?: readonly WantedEventObject[];
}

/** Reads what is at `path`. `name` is for a folder or file without a manifest, or chooses one of a manifest's functions. */
export function loadProject(path: string, options: { name?: string | undefined; from: string }): Project {
  const root = resolve(options.from, path);
  const stat = statSync(root, { throwIfNoEntry: false });
  if (stat === undefined) {
    throw new VirgaError("bad_request", `${path} does not exist`, {
      fix: "name a folder or a file; `virga new NAME` makes one",
    });
  }
  if (stat.isFile() && !isManifest(root)) return singleFile(root, options.name);
  const folder = stat.isFile() ? dirname(root) : root;
  const manifest = stat.isFile() ? root : manifestIn(root);
  if (manifest === undefined) {
    const name = options.name ?? nameFrom(basename(root));
    return { root, functions: [{ name, source: root, settings: {} }], routes: [], secrets: [] };
  }
  return fromManifest(folder, manifest, options);
}

/** The project with settings from the command line before those of its one function. */
export function withOverrides(project: Project, overrides: Settings): Project {
  if (Object.keys(overrides).length === 0) return project;
  const [only, second] = project.functions;
  if (only === undefined || second !== undefined) {
    throw new VirgaError(
      "bad_request",
      `settings on the command line are for one function, and there are ${project.functions.length}`,
      {
        fix: "choose one with --name, or write them into virga.yaml",
      },
    );
  }
  const settings: Settings = {
    ...only.settings,
    ...overrides,
    ...merged("limits", only.settings, overrides),
    ...merged("environment", only.settings, overrides),
  };
  return { ...project, functions: [{ ...only, settings }] };
}

export function manifestIn(folder: string): string | undefined {
  return manifestNames.map((name) => join(folder, name)).find((file) => existsSync(file));
}

function fromManifest(folder: string, manifest: string, options: { name?: string | undefined; from: string }): Project {
  const shown = relative(options.from, manifest) || basename(manifest);
  const parsed = parseManifest(readFileSync(manifest, "utf8"), shown.startsWith("..") ? manifest : shown);
  let functions = Object.entries(parsed.functions).map(([name, declared]): ProjectFunction => {
    const source = resolve(folder, declared.source ?? ".");
    if (!existsSync(source)) {
      throw new VirgaError("invalid_field", `functions.${name}.source: ${source} does not exist`, {
        location: shown,
        field: `functions.${name}.source`,
      });
    }
    const settings = settingsOf(declared);
    const events = eventObjects(name, declared);
    return {
      name,
      source,
      settings: statSync(source).isFile() ? { ...fileSettings(source), ...settings } : settings,
      ...(events.length === 0 ? {} : { events }),
    };
  });
  if (options.name !== undefined) {
    functions = functions.filter(({ name }) => name === options.name);
    if (functions.length === 0) {
      const names = Object.keys(parsed.functions).join(", ") || "none";
      throw new VirgaError("bad_request", `${shown} has no function ${options.name}; it has ${names}`, {
        field: "name",
      });
    }
  }
  return {
    root: folder,
    manifest,
    functions,
    routes: (parsed.routes ?? []).map((route) => ({ ...route, id: route.id ?? routeId(route) })),
    secrets: [
      ...new Set([...(parsed.secrets ?? []), ...functions.flatMap(({ settings }) => settings.secrets ?? [])]),
    ].sort(),
    ...(parsed.namespace === undefined ? {} : { namespace: parsed.namespace }),
  };
}

function singleFile(file: string, name: string | undefined): Project {
  const settings = fileSettings(file);
  const functionName = name ?? nameFrom(basename(file, extname(file)));
  return { root: file, functions: [{ name: functionName, source: file, settings }], routes: [], secrets: [] };
}

/** The runtime detects a folder by the names of its files; a single file may have any name. */
function fileSettings(file: string): Settings {
  const handler = basename(file);
  if (/\.[cm]?[jt]s$/.test(handler)) return { runtime: "node", handler };
  if (handler.endsWith(".py")) return { runtime: "python", handler };
  if ((statSync(file).mode & 0o111) !== 0) return { runtime: "binary", handler };
  throw new VirgaError("runtime_unknown", `${handler} is no JavaScript, TypeScript or Python file and not executable`, {
    fix: `make it executable (chmod +x ${handler}), or describe it in a virga.yaml`,
  });
}

/** A folder's or file's name as a function's name, which is also a host name's label. */
export function nameFrom(text: string): string {
  const name = text
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "-")
    .slice(0, 63)
    .replaceAll(/^-+|-+$/g, "");
  if (name !== "") return name;
  throw new VirgaError("bad_request", `no function name can be made of "${text}"`, { fix: "give one with --name" });
}

function merged(key: "limits" | "environment", before: Settings, after: Settings): Settings {
  return before[key] === undefined && after[key] === undefined ? {} : { [key]: { ...before[key], ...after[key] } };
}

/** The same route gets the same id at every deploy. */
function routeId(route: ManifestRoute): string {
  const key = `${route.method ?? "*"} ${route.host ?? "*"} ${route.path}`;
  return `${nameFrom(route.function).slice(0, 40)}-${createHash("sha256").update(key).digest("hex").slice(0, 8)}`;
}

function isManifest(file: string): boolean {
  return (manifestNames as readonly string[]).includes(basename(file)) || /\.virga\.ya?ml$/.test(file);
}
