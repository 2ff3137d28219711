import { Transform } from "node:stream";
import { isDeepStrictEqual } from "node:util";
import type { Route } from "../core/model.ts";
import { catalogue, type ErrorCode, VirgaError } from "../core/errors.ts";
import type { DeployBody, DeployLine, DeployResult, DescribedFunction, PlannedChange } from "./api.ts";
import { type Client, path } from "./client.ts";
import type { WantedEventObject } from "./manifest-events.ts";
import type { SourceArchive } from "./pack.ts";
import type { Project, ProjectFunction } from "./project.ts";

export interface DeployChoices {
  readonly tag?: string | undefined;
  readonly traffic?: "latest" | "keep" | undefined;
}

export interface DeployObserver {
  /** Bytes of the archive sent so far. */
  upload?(sent: number, size: number): void;
  stage?(stage: string, detail: string | undefined): void;
  log?(line: string): void;
}

/** Brings one function's packed source and settings to the server and waits until it serves. */
export async function deployFunction(
  client: Client,
  namespace: string,
  wanted: ProjectFunction,
  archive: SourceArchive,
  choices: DeployChoices,
  observer: DeployObserver = {},
  signal?: AbortSignal,
): Promise<DeployResult> {
  await uploadSource(client, namespace, archive, observer, signal);
  const lines = client.lines<DeployLine>("PUT", functionPath(namespace, wanted.name), {
    json: bodyOf(wanted, archive, choices),
    ...(signal === undefined ? {} : { signal }),
  });
  for await (const line of lines) {
    if (line.kind === "stage") observer.stage?.(line.stage, line.detail);
    else if (line.kind === "log") observer.log?.(line.line);
    else if (line.kind === "error") throw errorFromLine(line.error);
    else return line.result;
  }
  throw new VirgaError("unavailable", `the server ended the deploy of ${wanted.name} without a result`, {
    fix: `look at the server's log, then at \`virga describe ${wanted.name}\``,
  });
}

/** What a deploy would change, and the function as it is. */
export async function planFunction(
  client: Client,
  namespace: string,
  wanted: ProjectFunction,
  archive: SourceArchive,
  choices: DeployChoices,
): Promise<{ current: DescribedFunction | undefined; changes: readonly PlannedChange[] }> {
  const current = await absentAsUndefined(client.get<DescribedFunction>(functionPath(namespace, wanted.name)));
  const ask = (): Promise<{ items: PlannedChange[] }> =>
    client.json("POST", `${functionPath(namespace, wanted.name)}/plan`, { json: bodyOf(wanted, archive, choices) });
  let plan = await absentAsUndefined(ask());
  if (plan === undefined) {
    // The server detects what the settings leave open from the code itself.
    await uploadSource(client, namespace, archive, {});
    plan = await ask();
  }
  return { current, changes: plan.items };
}

/** Routes of the project that the server does not have like that. */
export async function changedRoutes(
  client: Client,
  namespace: string,
  project: Project,
): Promise<{ wanted: Project["routes"][number]; current: Route | undefined }[]> {
  if (project.routes.length === 0) return [];
  const existing = await client.list<Route>(path`/v1/namespaces/${namespace}/routes`);
  return project.routes
    .map((wanted) => ({ wanted, current: existing.find(({ id }) => id === wanted.id) }))
    .filter(({ wanted, current }) => current === undefined || !sameRoute(wanted, current));
}

export function putRoute(client: Client, namespace: string, route: Project["routes"][number]): Promise<unknown> {
  const { id, ...body } = route;
  return client.json("PUT", path`/v1/namespaces/${namespace}/routes/${id}`, { json: body });
}

/** Topics, subscriptions and sources of the project that the server does not have like that. */
export async function changedEvents(
  client: Client,
  namespace: string,
  project: Project,
): Promise<{ wanted: WantedEventObject; isNew: boolean }[]> {
  const changed: { wanted: WantedEventObject; isNew: boolean }[] = [];
  const existing = new Map<string, { name: string }[]>();
  for (const wanted of project.functions.flatMap(({ events }) => events ?? [])) {
    const { kind, name } = wanted;
    if (!existing.has(kind)) existing.set(kind, await client.list(path`/v1/namespaces/${namespace}/${kind}`));
    const current = existing.get(kind)!.find((one) => one.name === name);
    if (current !== undefined && sameEventObject(wanted.body, current)) continue;
    if (changed.some((other) => other.wanted.kind === kind && other.wanted.name === name)) continue;
    changed.push({ wanted, isNew: current === undefined });
  }
  return changed;
}

export function putEventObject(client: Client, namespace: string, { kind, name, body }: WantedEventObject) {
  return client.json("PUT", path`/v1/namespaces/${namespace}/${kind}/${name}`, { json: body });
}

/** Rejects where a secret that the project names is not there. */
export async function requireSecrets(client: Client, namespace: string, names: readonly string[]): Promise<void> {
  if (names.length === 0) return;
  const existing = await client.list<{ name: string }>(path`/v1/namespaces/${namespace}/secrets`);
  const missing = names.filter((name) => !existing.some((secret) => secret.name === name));
  if (missing.length === 0) return;
  const flag = namespace === "default" ? "" : ` -n ${namespace}`;
  throw new VirgaError("not_found", `namespace ${namespace} has no secret ${missing.join(", ")}`, {
    field: "secrets",
    fix: missing.map((name) => `virga secret set ${name}${flag}`).join(" && "),
  });
}

export function functionPath(namespace: string, name: string): string {
  return path`/v1/namespaces/${namespace}/functions/${name}`;
}

export function functionUrl(client: Client, namespace: string, name: string): string {
  return client.url + path`/f/${namespace}/${name}`;
}

async function uploadSource(
  client: Client,
  namespace: string,
  archive: SourceArchive,
  observer: DeployObserver,
  signal?: AbortSignal,
): Promise<void> {
  const target = path`/v1/namespaces/${namespace}/sources/${archive.digest}`;
  const options = signal === undefined ? {} : { signal };
  const known = await client.request("HEAD", target, options);
  known.body.resume();
  if (known.status === 200) return;
  if (known.status !== 404) throw await client.errorOf(known, `HEAD ${target}`);
  let sent = 0;
  const counter = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      sent += chunk.length;
      observer.upload?.(sent, archive.size);
      done(null, chunk);
    },
  });
  await client.json("PUT", target, {
    ...options,
    headers: { "content-type": "application/gzip", "content-length": String(archive.size) },
    body: archive.open().pipe(counter),
  });
}

function bodyOf(wanted: ProjectFunction, archive: SourceArchive, { tag, traffic }: DeployChoices): DeployBody {
  return {
    source: archive.digest,
    settings: wanted.settings,
    ...(tag === undefined ? {} : { tag }),
    ...(traffic === undefined ? {} : { traffic }),
  };
}

function sameRoute(wanted: Project["routes"][number], current: Route): boolean {
  return (["host", "path", "method", "function", "tag"] as const).every((key) => wanted[key] === current[key]);
}

/** The server adds to what it was given, and an object that is there ignores where it was to begin. */
function sameEventObject(wanted: Readonly<Record<string, unknown>>, current: object): boolean {
  const { from: _from, ...rest } = wanted;
  const has = current as Readonly<Record<string, unknown>>;
  if (!("order" in wanted) && has["order"] !== undefined) return false;
  return Object.entries(rest).every(([key, value]) =>
    key === "timer"
      ? Object.entries(value as object).every(([part, one]) => (has[key] as Record<string, unknown>)[part] === one)
      : isDeepStrictEqual(has[key], value),
  );
}

function errorFromLine({ code = "internal", message = "the deploy failed", ...detail }: Record<string, string>): Error {
  return new VirgaError(Object.hasOwn(catalogue, code) ? (code as ErrorCode) : "internal", message, detail);
}

async function absentAsUndefined<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof VirgaError && error.code === "not_found") return undefined;
    throw error;
  }
}
