/** `/system/logs` (contract section 2.1): lines of JSON, what was before and, with `follow`, what comes. */
import type { FunctionId, Invocation } from "../../core/model.ts";
import type { FollowedLine } from "../../engine/engine.ts";
import type { FaasContext } from "./context.ts";
import { permit } from "./credential.ts";
import { FaasError } from "./errors.ts";
import type { Exchange } from "./exchange.ts";
import { deployed } from "./deployed.ts";
import { defaultNamespace } from "./names.ts";

interface LogLine {
  readonly at: number;
  readonly instance: string;
  readonly text: string;
}

export async function serveLogs(context: FaasContext, exchange: Exchange): Promise<void> {
  const { engine } = context;
  const wanted = readQuery(exchange.query);
  const { id } = wanted;
  permit(engine.access, exchange, id.namespace, "read");
  await deployed(context, id);
  const { response } = exchange;
  // Who has left meanwhile closes no more.
  if (response.destroyed) return;
  const write = ({ at, instance, text }: LogLine): void => {
    if (wanted.instance !== undefined && wanted.instance !== instance) return;
    const line = { name: id.name, namespace: id.namespace, instance, timestamp: new Date(at).toISOString(), text };
    // A client that does not read is let go: its lines would pile up here.
    if (response.writableLength > mostUnread) response.destroy();
    else response.write(`${JSON.stringify(line)}\n`);
  };
  // What is written while the past is read comes behind it, once.
  const meanwhile: FollowedLine[] = [];
  let take = (line: FollowedLine): void => void meanwhile.push(line);
  const stop = wanted.follow ? engine.history.follow(id, (line) => take(line)) : () => undefined;
  response.once("close", stop);
  if (wanted.follow) context.follows.add(response);
  response.once("close", () => context.follows.delete(response));
  const { lines, calls } = await past(context, id, wanted);
  response.writeHead(200, { "content-type": "application/x-ndjson", "cache-control": "no-cache" });
  response.flushHeaders();
  for (const line of lines) write(line);
  if (!wanted.follow) {
    response.end();
    return;
  }
  take = (line) => write(line);
  for (const line of meanwhile) {
    const isPast = line.invocation === undefined ? lines.includes(line) : calls.has(line.invocation);
    if (!isPast) write(line);
  }
}

interface WantedLogs {
  readonly id: FunctionId;
  readonly instance: string | undefined;
  /** 0: all that are kept, up to `mostLines`. */
  readonly tail: number;
  readonly follow: boolean;
  readonly since: number;
}

/** Throws 422 for what cannot be read. */
function readQuery(query: URLSearchParams): WantedLogs {
  const name = query.get("name");
  if (name === null || name === "") throw new FaasError(422, "name: it is missing");
  const tail = Number(query.get("tail") ?? "0");
  if (!Number.isInteger(tail)) throw new FaasError(422, "tail: it is no whole number");
  const since = query.get("since");
  const sinceMs = since === null || since === "" ? 0 : Date.parse(since);
  if (Number.isNaN(sinceMs)) throw new FaasError(422, "since: it is no time such as 2026-01-31T12:00:00Z");
  const follow = query.get("follow") ?? "false";
  if (!/^(?:true|false|1|0)?$/.test(follow)) throw new FaasError(422, "follow: it is neither true nor false");
  return {
    id: { namespace: query.get("namespace") || defaultNamespace, name },
    instance: query.get("instance") || undefined,
    tail: Math.max(0, tail),
    follow: follow === "true" || follow === "1",
    since: sinceMs,
  };
}

/** The newest lines in their order, and the calls whose lines are among them or before. */
async function past(
  { engine, looseLines }: FaasContext,
  { namespace, name }: FunctionId,
  { tail, since }: WantedLogs,
): Promise<{ lines: LogLine[]; calls: ReadonlySet<string> }> {
  const most = tail === 0 ? mostLines : Math.min(tail, mostLines);
  const lines: LogLine[] = looseLines.of(namespace, name).filter(({ at }) => at >= since);
  const calls = new Set<string>();
  await engine.history.flush();
  for (let before: string | undefined; lines.length < most + looseLines.of(namespace, name).length;) {
    const filter = { name, limit: page, ...(since > 0 ? { since } : {}), ...(before === undefined ? {} : { before }) };
    const records = await engine.history.list(namespace, filter);
    for (const record of records) {
      calls.add(record.id);
      lines.push(...linesOf(record, since));
    }
    before = records.at(-1)?.id;
    if (records.length < page) break;
  }
  lines.sort((one, other) => one.at - other.at);
  return { lines: lines.slice(-most), calls };
}

/** Of a call that came to no instance, why. */
function linesOf({ logs, instance, error, timings }: Invocation, since: number): LogLine[] {
  const at = timings.acceptedAt + timings.totalMs;
  const lines = instance === undefined && error !== undefined ? [{ at, text: error.message }] : logs;
  return lines
    .filter((line) => line.at >= since)
    .map((line) => ({ at: line.at, text: line.text, instance: instance ?? "" }));
}

const page = 200;
const mostLines = 10_000;
const mostUnread = 8 * 2 ** 20;
