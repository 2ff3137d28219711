import { createReadStream, createWriteStream, statSync } from "node:fs";
import { resolve } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { Invocation } from "../../core/model.ts";
import { VirgaError } from "../../core/errors.ts";
import { type Answer, type ClientRequest, platformError } from "../client.ts";
import { command, type Context, functionArgument } from "../command.ts";
import { functionPath } from "../deployment.ts";
import { shellWord } from "../examples.ts";
import { exit } from "../exit.ts";
import { fetchSettled, timingLines } from "../timing.ts";

export const invoke = command({
  name: "invoke",
  summary: "call a function",
  examples: [
    `virga invoke hello -d '{"name":"Ada"}'`,
    "virga invoke hello -d @request.json --timing",
    "cat data.csv | virga invoke report -d - --output report.pdf",
    "virga invoke api --path /users/7 --method DELETE --header 'x-reason: test'",
    "virga invoke resize --async -d @photo.png",
  ],
  arguments: { function: functionArgument },
  options: {
    data: { kind: "text", short: "d", placeholder: "text", summary: "the body: text, @file, or - for stdin" },
    header: { kind: "list", short: "H", placeholder: "name: value", summary: "a request header; may be repeated" },
    method: { kind: "text", short: "X", summary: "GET, or POST where there is a body" },
    path: { kind: "text", summary: "path and query behind the function's root" },
    tag: { kind: "text", summary: "call the revision with this traffic tag" },
    revision: { kind: "number", summary: "call this revision" },
    async: { kind: "flag", summary: "accept it durably and print its id" },
    idempotencyKey: { kind: "text", placeholder: "key", summary: "with --async: run once for this key" },
    timing: { kind: "flag", summary: "say where the time went" },
    include: { kind: "flag", short: "i", summary: "show the answer's status and headers" },
    output: { kind: "text", short: "o", placeholder: "file", summary: "write the answer to a file" },
    curl: { kind: "flag", summary: "print the curl command instead of calling" },
  },
  async run(context, given, options) {
    const { client, namespace, terminal } = context;
    const method = (options.method ?? (options.data === undefined ? "GET" : "POST")).toUpperCase();
    const headers = parseHeaders(options.header);
    if (options.tag !== undefined) headers["x-virga-tag"] = options.tag;
    if (options.revision !== undefined) headers["x-virga-revision"] = String(options.revision);
    if (options.data !== undefined) headers["content-type"] ??= contentTypeOf(options.data);
    if (options.idempotencyKey !== undefined) headers["idempotency-key"] = options.idempotencyKey;
    const base = functionPath(namespace, given.function);
    const rest = options.path ?? "";
    const target = options.async
      ? `${base}/invocations`
      : `${base}/invoke${rest === "" || rest.startsWith("/") ? rest : `/${rest}`}`;
    if (options.async && (options.path !== undefined || options.method !== undefined)) {
      throw new VirgaError("bad_request", "--async takes neither --path nor --method", {
        fix: "leave them out: an asynchronous call is a POST to the function's root",
      });
    }
    if (options.curl) {
      terminal.print(curlCommand(context, options.async ? "POST" : method, target, headers, options.data));
      return exit.ok;
    }
    const body = bodyOf(context, options.data, headers);
    const request: ClientRequest = { headers, ...(body === undefined ? {} : { body }) };
    if (options.async) return accept(context, target, request);
    const started = performance.now();
    const answer = await client.request(method, target, request);
    if (options.include) printHead(context, answer);
    const code = await deliver(context, given.function, answer, options.output);
    if (options.timing) await printTiming(context, answer, performance.now() - started);
    return code;
  },
});

async function accept({ client, terminal }: Context, target: string, request: ClientRequest): Promise<number> {
  const { id, duplicate } = await client.json<{ id: string; duplicate?: boolean }>("POST", target, request);
  if (duplicate === true) terminal.note("this key was seen before: the id is that of the first call");
  terminal.print(id);
  terminal.note(`  virga invocation get ${id}      where it stands\n  virga invocation result ${id}   its answer`);
  return exit.ok;
}

/** Writes the body where it belongs. What the platform itself says of a failed call is thrown as its error. */
async function deliver(context: Context, name: string, answer: Answer, file: string | undefined): Promise<number> {
  const { terminal } = context;
  const failed = answer.status >= 400;
  if (failed && /\bjson\b/.test(answer.headers["content-type"] ?? "")) {
    const text = Buffer.concat(await answer.body.toArray());
    const error = platformError(text.toString("utf8"), answer.status);
    if (error !== undefined) throw error;
    await writeResult(context, Readable.from([text]), file);
  } else {
    await writeResult(context, answer.body, file);
  }
  if (failed) terminal.note(`${terminal.styleNote("red", "error")}: ${name} answered with HTTP ${answer.status}`);
  return failed ? exit.failed : exit.ok;
}

async function writeResult({ terminal }: Context, body: Readable, file: string | undefined): Promise<void> {
  if (file !== undefined) {
    await pipeline(body, createWriteStream(resolve(terminal.directory, file)));
    return;
  }
  let last: number | undefined;
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      await terminal.write(chunk);
      last = chunk.at(-1) ?? last;
    }
  } catch (error) {
    throw new VirgaError("function_error", `the answer was cut off: ${(error as Error).message}`, {
      fix: "`virga logs` shows why",
      cause: error,
    });
  }
  // A prompt on the same line as the answer's end is a nuisance; in a pipe the bytes stay as they are.
  if (terminal.stdout.isTTY === true && last !== undefined && last !== 10) terminal.print("");
}

function printHead({ terminal }: Context, answer: Answer): void {
  terminal.print(terminal.style("bold", `HTTP ${answer.status}`));
  for (let index = 0; index < answer.rawHeaders.length; index += 2) {
    terminal.print(`${terminal.style("dim", `${answer.rawHeaders[index]}:`)} ${answer.rawHeaders[index + 1]}`);
  }
  terminal.print("");
}

async function printTiming(context: Context, answer: Answer, clientMs: number): Promise<void> {
  const id = answer.headers["x-virga-invocation"];
  if (typeof id !== "string") return;
  const invocation: Invocation = await fetchSettled(context, id);
  for (const line of timingLines(context.terminal, invocation, clientMs)) context.terminal.note(line);
}

function parseHeaders(lines: readonly string[]): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const line of lines) {
    const match = /^([!#$%&'*+.^_`|~\w-]+):\s*(.*)$/s.exec(line);
    const [, name = "", value = ""] = match ?? [];
    if (match === null || /[\r\n\0]/.test(value)) {
      throw new VirgaError("bad_request", `--header "${line}" is not of the form "name: value"`, { field: "header" });
    }
    headers[name.toLowerCase()] = value;
  }
  return headers;
}

function bodyOf(
  { terminal }: Context,
  data: string | undefined,
  headers: Record<string, string>,
): ClientRequest["body"] | undefined {
  if (data === undefined) return undefined;
  if (data === "-") return terminal.stdin;
  if (!data.startsWith("@")) return data;
  const file = resolve(terminal.directory, data.slice(1));
  const stat = statSync(file, { throwIfNoEntry: false });
  if (stat?.isFile() !== true) {
    throw new VirgaError("bad_request", `--data ${data}: ${file} is no file`, { field: "data" });
  }
  headers["content-length"] = String(stat.size);
  return createReadStream(file);
}

function contentTypeOf(data: string): string {
  if (data === "-") return "application/octet-stream";
  const extension = /^@.*\.(\w+)$/.exec(data)?.[1] ?? "";
  if (data.startsWith("@")) return contentTypes[extension.toLowerCase()] ?? "application/octet-stream";
  try {
    JSON.parse(data);
    return "application/json";
  } catch {
    return "text/plain; charset=utf-8";
  }
}

const contentTypes: Readonly<Record<string, string>> = {
  json: "application/json",
  csv: "text/csv",
  txt: "text/plain; charset=utf-8",
  html: "text/html; charset=utf-8",
  xml: "application/xml",
  yaml: "application/yaml",
  yml: "application/yaml",
  png: "image/png",
  jpg: "image/jpeg",
  jpeg: "image/jpeg",
  pdf: "application/pdf",
  gz: "application/gzip",
  zip: "application/zip",
};

function curlCommand(
  { client }: Context,
  method: string,
  target: string,
  headers: Readonly<Record<string, string>>,
  data: string | undefined,
): string {
  const words = ["curl"];
  if (method !== (data === undefined ? "GET" : "POST")) words.push("-X", shellWord(method));
  words.push('-H "Authorization: Bearer $(virga token show)"');
  for (const [name, value] of Object.entries(headers)) words.push("-H", shellWord(`${name}: ${value}`));
  if (data !== undefined) words.push("--data-binary", shellWord(data === "-" ? "@-" : data));
  words.push(shellWord(client.url + target));
  return words.join(" ");
}
