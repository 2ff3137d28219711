/** Actions as deploys: which files, which runtime, which settings. */
import { packTar } from "modern-tar";
import type { FunctionSettings } from "../../engine/engine.ts";
import { viewZip } from "./code-view.ts";
import type { CodeExec } from "./entities.ts";
import type { StoredAction } from "./entity-store.ts";
import {
  type CodeView,
  type Files,
  type Language,
  guestFile,
  languages,
  type GuestSettings,
  settingsFile,
} from "./languages/index.ts";
import { familyOf } from "./kinds.ts";

export interface Projection {
  /** The user's own archive as it is, or a single file. */
  readonly source: { readonly archive: Uint8Array } | { readonly files: Files };
  /** Laid over it. */
  readonly layer: Files;
  readonly settings: FunctionSettings;
}

export async function projectionOf(action: StoredAction, code: Uint8Array): Promise<Projection> {
  const { kind, binary, main = "main" } = action.exec as CodeExec;
  const language = languages[familyOf(kind)];
  if (binary && isArchive(code) && language.isWhole !== true) {
    const { archiveEntry: entry, packages } = language;
    const missing = packages === undefined ? {} : packages.missing(await viewZip(code, packages));
    return {
      source: { archive: code },
      layer: { ...layerOf(language, { main, ...(entry === undefined ? {} : { entry }) }, true), ...missing },
      settings: settingsOf(action, language),
    };
  }
  const text = binary ? "" : Buffer.from(code.buffer, code.byteOffset, code.byteLength).toString("utf8");
  const { path: entry, ...mode } = language.singleFile({ text, isBinary: binary, main });
  const view: CodeView = { sources: new Map([[entry, text]]), paths: new Set([entry]) };
  return {
    source: { files: { [entry]: { content: code, ...mode } } },
    layer: { ...layerOf(language, { main, entry }, false), ...language.packages?.missing(view) },
    settings: settingsOf(action, language),
  };
}

/** In the place of code that could not be built: each call answers why. */
export function failingProjection(action: StoredAction, failure: string): Projection {
  const language = languages.nodejs;
  const settings: GuestSettings = { main: "main", failure };
  return {
    source: { files: { [settingsFile]: { content: JSON.stringify(settings) } } },
    layer: layerOf(language, settings, false),
    settings: settingsOf(action, language),
  };
}

export async function archiveOf(files: Files): Promise<Uint8Array> {
  return packTar(
    Object.entries(files).map(([name, { content, executable }]) => {
      const body = typeof content === "string" ? Buffer.from(content) : content;
      return {
        // The same files are the same archive, and built once.
        header: { name, size: body.length, mode: executable === true ? 0o755 : 0o644, mtime: new Date(0) },
        body,
      };
    }),
  );
}

function layerOf({ files, generated }: Language, settings: GuestSettings, isArchive: boolean): Files {
  const laid: Record<string, Files[string]> = {
    [settingsFile]: { content: JSON.stringify(settings) },
    ...generated?.(settings.main, isArchive),
  };
  for (const [path, given] of Object.entries(files)) {
    laid[path] =
      typeof given === "string"
        ? { content: guestFile(given) }
        : { content: guestFile(given.file), executable: given.executable };
  }
  return laid;
}

function settingsOf(
  { limits, annotations, name, namespace }: StoredAction,
  { runtime, convention, handler }: Language,
): FunctionSettings {
  const description = annotations.find(({ key }) => key === "description")?.value;
  return {
    runtime,
    convention,
    handler,
    limits: {
      timeoutMs: limits.timeout,
      memoryMb: limits.memory,
      concurrency: limits.concurrency,
      logBytes: limits.logs * 2 ** 20,
      requestBytes: bodyBytes,
      responseBytes: bodyBytes,
    },
    async: { retry: "interruptions", maxAttempts: 5 },
    network: "host",
    public: false,
    dialect: "openwhisk",
    labels: { "openwhisk.action": `${namespace}/${name}`.slice(0, 256) },
    ...(typeof description === "string" ? { description: description.slice(0, 1024) } : {}),
  };
}

/** zip, jar and tar.gz begin so; what else is binary is a program. */
function isArchive(code: Uint8Array): boolean {
  return (code[0] === 0x50 && code[1] === 0x4b) || (code[0] === 0x1f && code[1] === 0x8b);
}

/** What is over OpenWhisk's own limit of 1 MB is told with its beginning, so it has to be seen. */
const bodyBytes = 8 * 2 ** 20;
