import { isMap, isNode, isPair, isScalar, LineCounter, parseDocument, type Document } from "yaml";
import type { z } from "zod";
import { VirgaError } from "../core/errors.ts";
import type { Settings } from "./api.ts";
import { codeFrame } from "./code-frame.ts";
import { scalingOf } from "./manifest-scaling.ts";
import { manifestJsonSchema, manifestSchema, type Manifest, type ManifestFunction } from "./manifest-schema.ts";
import { nearest } from "./suggest.ts";

export const manifestNames = ["virga.yaml", "virga.yml"] as const;

/**
 * Reads a manifest. Every mistake is named with `file:line:column`, all of them at once.
 * `file` is the name shown in messages.
 */
export function parseManifest(text: string, file: string): Manifest {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true });
  const mistakes: Mistake[] = document.errors.map((error) => ({
    offset: error.pos[0],
    field: "",
    message: error.message,
  }));
  if (mistakes.length > 0) throw explain(mistakes, text, file, lines);
  let plain: unknown;
  try {
    plain = document.toJS({ maxAliasCount: 100 });
  } catch (error) {
    throw explain([{ offset: 0, field: "", message: (error as Error).message }], text, file, lines);
  }
  const parsed = manifestSchema.safeParse(plain ?? {});
  if (parsed.success) {
    const twice = statedTwice(document, parsed.data);
    if (twice.length > 0) throw explain(twice, text, file, lines);
    return parsed.data;
  }
  throw explain(
    parsed.error.issues.flatMap((issue) => mistakesOf(issue, document)),
    text,
    file,
    lines,
  );
}

/** A function's settings as the API takes them. */
export function settingsOf(declared: ManifestFunction): Settings {
  const { memory, cpus, timeout, concurrency, limits, scaling, async, cors } = declared;
  return defined({
    runtime: declared.runtime,
    handler: declared.handler,
    convention: declared.convention,
    bundle: declared.bundle,
    args: declared.args,
    environment: declared.environment,
    secrets: declared.secrets,
    limits: defined({
      memoryMb: memory ?? limits?.memory,
      cpus: cpus ?? limits?.cpus,
      timeoutMs: timeout ?? limits?.timeout,
      startTimeoutMs: limits?.startTimeout,
      concurrency: concurrency ?? limits?.concurrency,
      processes: limits?.processes,
      openFiles: limits?.openFiles,
      fileSizeMb: limits?.fileSize,
      tmpMb: limits?.tmp,
      requestBytes: limits?.request,
      responseBytes: limits?.response,
      logBytes: limits?.log,
      queueLength: limits?.queueLength,
    }),
    scaling: scaling && scalingOf(scaling),
    async:
      async &&
      defined({
        maxAttempts: async.maxAttempts,
        maxAgeMs: async.maxAge,
        backoffMs: async.backoff,
        maxBackoffMs: async.maxBackoff,
        delivery: async.delivery,
        retry: async.retry,
        onSuccess: async.onSuccess,
        onFailure: async.onFailure,
      }),
    network: declared.network,
    public: declared.public,
    cors:
      cors &&
      defined({
        origins: cors.origins,
        methods: cors.methods,
        headers: cors.headers,
        exposeHeaders: cors.exposeHeaders,
        credentials: cors.credentials,
        maxAgeSeconds: cors.maxAge === undefined ? undefined : Math.round(cors.maxAge / 1000),
      }),
    description: declared.description,
    labels: declared.labels,
    annotations: declared.annotations,
  });
}

interface Mistake {
  readonly offset: number;
  readonly field: string;
  readonly message: string;
}

type Path = readonly PropertyKey[];

function mistakesOf(issue: z.core.$ZodIssue, document: Document): Mistake[] {
  if (issue.code === "unrecognized_keys") {
    const known = knownKeys(issue.path);
    return issue.keys.map((key) => {
      const near = nearest(key, known) ?? synonyms[key];
      const hint =
        near !== undefined && known.includes(near) ? `did you mean ${near}?` : `known here: ${known.join(", ")}`;
      const field = dotted([...issue.path, key]);
      return { offset: keyOffset(document, issue.path, key), field, message: `${field}: unknown key; ${hint}` };
    });
  }
  const field = dotted(issue.path);
  // A record's bad key: zod gives the reasons one level down.
  const message = issue.code === "invalid_key" ? (issue.issues[0]?.message ?? issue.message) : reworded(issue);
  const offset =
    issue.code === "invalid_key"
      ? keyOffset(document, issue.path.slice(0, -1), String(issue.path.at(-1)))
      : valueOffset(document, issue.path);
  return [{ offset, field, message: field === "" ? message : `${field}: ${message}` }];
}

/** What people type who come from elsewhere. */
const synonyms: Readonly<Record<string, string>> = {
  env: "environment",
  image: "runtime",
  entrypoint: "handler",
  main: "handler",
  entry: "handler",
  command: "args",
  cpu: "cpus",
  auth: "public",
  folder: "source",
  path: "source",
  code: "source",
  minInstances: "min",
  maxInstances: "max",
  retries: "maxAttempts",
  verb: "method",
};

/** What zod puts before every message says nothing to somebody who wrote YAML. */
function reworded({ message }: z.core.$ZodIssue): string {
  return message
    .replace(/^Invalid (?:input|string|option): /, "")
    .replace(/^expected (.+), received undefined$/, "is missing; it is a $1");
}

/** The same limit at the function and under `limits`: nobody could say which one counts. */
function statedTwice(document: Document, manifest: Manifest): Mistake[] {
  const mistakes: Mistake[] = [];
  for (const [name, declared] of Object.entries(manifest.functions)) {
    for (const key of ["memory", "cpus", "timeout", "concurrency"] as const) {
      if (declared[key] === undefined || declared.limits?.[key] === undefined) continue;
      const path = ["functions", name, "limits"];
      const field = dotted([...path, key]);
      mistakes.push({
        offset: keyOffset(document, path, key),
        field,
        message: `${field}: ${key} stands at the function too; keep one of them`,
      });
    }
  }
  return mistakes;
}

function explain(mistakes: readonly Mistake[], text: string, file: string, lines: LineCounter): VirgaError {
  const placed = [...mistakes]
    .sort((left, right) => left.offset - right.offset)
    .map((mistake) => {
      const { line, col } = lines.linePos(mistake.offset);
      return { ...mistake, line: Math.max(1, line), column: Math.max(1, col) };
    });
  const [first] = placed;
  if (first === undefined) throw new Error("a manifest was refused without a reason");
  const all = placed.map((one) => `${file}:${one.line}:${one.column}: ${one.message}`);
  const frame = codeFrame(text, first.line, first.column);
  const head = all.length === 1 ? all[0] : `${file} has ${all.length} mistakes:\n${all.join("\n")}`;
  return new VirgaError("invalid_field", `${head}\n${frame}`, {
    location: `${file}:${first.line}:${first.column}`,
    ...(first.field === "" ? {} : { field: first.field }),
    fix: "docs/virga.schema.json describes the file; `virga new` writes one that works",
  });
}

/** The keys that the schema knows at a path. */
function knownKeys(path: Path): string[] {
  let at: JsonSchema | undefined = manifestJsonSchema();
  for (const step of path) {
    if (typeof step === "number") at = at?.items;
    else at = at?.properties?.[String(step)] ?? (at?.additionalProperties || undefined);
  }
  return Object.keys(at?.properties ?? {});
}

interface JsonSchema {
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly additionalProperties?: JsonSchema | false;
  readonly items?: JsonSchema;
}

/** Where the value at a path begins; of what is missing, where its nearest parent's key is. */
function valueOffset(document: Document, path: Path): number {
  for (let length = path.length; length > 0; length--) {
    const node = document.getIn(path.slice(0, length), true);
    if (!isNode(node) || node.range == null) continue;
    if (length === path.length || typeof path[length - 1] === "number") return node.range[0];
    return keyOffset(document, path.slice(0, length - 1), path[length - 1] ?? "");
  }
  return isNode(document.contents) ? (document.contents.range?.[0] ?? 0) : 0;
}

function keyOffset(document: Document, path: Path, key: PropertyKey): number {
  const map = path.length === 0 ? document.contents : document.getIn(path, true);
  if (isMap(map)) {
    for (const pair of map.items) {
      if (isPair(pair) && isScalar(pair.key) && String(pair.key.value) === String(key)) {
        return pair.key.range?.[0] ?? 0;
      }
    }
  }
  return path.length === 0 ? 0 : valueOffset(document, path);
}

function dotted(path: Path): string {
  return path.reduce<string>(
    (text, step) =>
      typeof step === "number" ? `${text}[${step}]` : text === "" ? String(step) : `${text}.${String(step)}`,
    "",
  );
}

/** The object without members that are undefined, and undefined where nothing is left of one that is nested. */
function defined<T extends object>(object: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  const entries = Object.entries(object).filter(([, value]) => value !== undefined && !isEmpty(value));
  return Object.fromEntries(entries) as { [K in keyof T]: Exclude<T[K], undefined> };
}

function isEmpty(value: unknown): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value) && Object.keys(value).length === 0;
}
