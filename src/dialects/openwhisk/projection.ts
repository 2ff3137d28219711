/** Actions as deploys: which files, which runtime, which settings. */
import { readFileSync } from "node:fs";
import { packTar } from "modern-tar";
import type { FunctionSettings } from "../../engine/engine.ts";
import type { CodeExec } from "./entities.ts";
import type { StoredAction } from "./entity-store.ts";
import { readKind } from "./kinds.ts";

export interface Projection {
  /** The archive: the user's own (a zip), or made of a single file. */
  readonly source: { readonly archive: Uint8Array } | { readonly files: Files };
  /** Laid over it. */
  readonly layer: Files;
  readonly settings: FunctionSettings;
}

/** Contents by path. */
export type Files = Readonly<Record<string, FileContent>>;

export interface FileContent {
  readonly content: string | Uint8Array;
  readonly executable?: true;
}

/** How a language's code is laid out, and started. */
interface Language {
  readonly runtime: string;
  readonly convention: string;
  readonly handler: string;
  /** The adapter that turns user code into a program for this platform; a file in `guest/`. */
  readonly adapter: string;
  /** What a single file is called, and what goes with it. */
  single(code: string, main: string): { entry: string; files?: Files };
  /** What is loaded of an archive. */
  readonly archiveEntry?: string;
}

export function projectionOf(action: StoredAction, code: Uint8Array): Projection {
  const exec = action.exec as CodeExec;
  const { family } = readKind(exec.kind);
  const language = languages[family];
  if (language === undefined) throw new Error(`there is no guest for ${family}`);
  const { runtime, convention, handler } = language;
  const main = exec.main ?? "main";
  const settings: FunctionSettings = { ...commonSettings(action), runtime, convention, handler };
  const isArchive = exec.binary;
  const text = isArchive ? "" : Buffer.from(code).toString("utf8");
  const single = isArchive ? undefined : language.single(text, main);
  const entry = single?.entry ?? language.archiveEntry;
  const layer: Files = {
    [handler]: { content: guestFile(language.adapter) },
    ".openwhisk.json": { content: JSON.stringify({ main, ...(entry === undefined ? {} : { entry }) }) },
  };
  if (single === undefined) return { source: { archive: code }, layer, settings };
  return { source: { files: { [single.entry]: { content: text }, ...single.files } }, layer, settings };
}

/** In the place of code that could not be built: each call answers why. */
export function failingProjection(action: StoredAction, failure: string): Projection {
  const { runtime, convention, handler, adapter } = languages.nodejs!;
  return {
    source: { files: { ".openwhisk.json": { content: JSON.stringify({ main: "main", failure }) } } },
    layer: { [handler]: { content: guestFile(adapter) } },
    settings: { ...commonSettings(action), runtime, convention, handler },
  };
}

export async function archiveOf(files: Files): Promise<Uint8Array> {
  return packTar(
    Object.entries(files).map(([name, { content, executable }]) => {
      const body = typeof content === "string" ? Buffer.from(content) : content;
      return {
        header: { name, size: body.length, mode: executable === true ? 0o755 : 0o644, mtime: new Date(0) },
        body,
      };
    }),
  );
}

function commonSettings({ limits, annotations, name, namespace }: StoredAction): FunctionSettings {
  const description = annotations.find(({ key }) => key === "description")?.value;
  return {
    limits: {
      timeoutMs: limits.timeout,
      memoryMb: limits.memory,
      concurrency: limits.concurrency,
      logBytes: limits.logs * 2 ** 20,
      requestBytes: 8 * 2 ** 20,
      // What is over OpenWhisk's own limit is told with its beginning, so it has to be seen.
      responseBytes: 8 * 2 ** 20,
    },
    async: { retry: "interruptions", maxAttempts: 5 },
    dialect: "openwhisk",
    labels: { "openwhisk.action": `${namespace}/${name}`.slice(0, 256) },
    ...(typeof description === "string" ? { description: description.slice(0, 1024) } : {}),
  };
}

/** What a file of JavaScript may ask for without bringing it, as OpenWhisk's own image has it, and composer's code. */
const bundledPackages: Readonly<Record<string, string>> = {
  openwhisk: "3.21.9",
  express: "4.21.2",
  redis: "2.8.0",
  "redis-commands": "1.7.0",
  "serialize-error": "3.0.0",
  uuid: "9.0.1",
};

const languages: Readonly<Partial<Record<string, Language>>> = {
  nodejs: {
    runtime: "node",
    convention: "native",
    handler: "openwhisk-action.mjs",
    adapter: "node/openwhisk-action.mjs",
    single(code) {
      const isModule = /^\s*(?:export\s|import\s[^(])/m.test(code);
      const wanted = Object.entries(bundledPackages).filter(([name]) => mentions(code, name));
      const dependencies = wanted.length === 0 ? undefined : { optionalDependencies: Object.fromEntries(wanted) };
      return {
        entry: isModule ? "action.mjs" : "action.cjs",
        ...(dependencies === undefined
          ? {}
          : { files: { "package.json": { content: JSON.stringify({ private: true, ...dependencies }) } } }),
      };
    },
  },
  python: {
    runtime: "python",
    convention: "native",
    handler: "openwhisk_action.py",
    adapter: "python/openwhisk_action.py",
    archiveEntry: "__main__.py",
    single: () => ({ entry: "__action__.py" }),
  },
};

function mentions(code: string, name: string): boolean {
  return new RegExp(`(?:require\\(|from\\s*|import\\s*\\(?)\\s*['"]${name}['"]`).test(code);
}

const guestFiles = new Map<string, Uint8Array>();

function guestFile(path: string): Uint8Array {
  let content = guestFiles.get(path);
  if (content === undefined) guestFiles.set(path, (content = readFileSync(new URL(`guest/${path}`, import.meta.url))));
  return content;
}
