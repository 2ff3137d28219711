// A process for each call: the classic watchdog, and of-watchdog's modes `streaming` and `serializing`.
import { spawn } from "node:child_process";
import { Readable } from "node:stream";
import { endGroup, openLauncher } from "./launcher.mjs";
import { durationMs, eachLine, lineSplitter, say } from "./said.mjs";

export function forkHandler(place, mode) {
  const { environment } = place;
  const [command, ...args] = place.command;
  if (command === undefined) throw new Error("the environment variable fprocess is empty: there is no program to run");
  const options = {
    command,
    args,
    environment,
    directory: place.directory,
    timeoutMs: durationMs(environment.exec_timeout, mode === "classic" ? 0 : 30_000),
    contentType: environment.content_type,
    combines: mode === "classic" && environment.combine_output !== "false",
    marshals: environment.marshal_request === "true",
    namesHeaders: environment.cgi_headers !== "false",
    writesDebug: environment.write_debug === "true",
  };
  if (mode === "streaming") return (request, context) => stream(options, request, context);
  const launcher = openLauncher(options);
  return (request, context) => gather({ ...options, launcher }, mode, request, context);
}

/** The answer when the process has ended. */
async function gather(options, mode, request, context) {
  const isClassic = mode === "classic";
  const body = Buffer.from(await request.arrayBuffer());
  if (isClassic) say(context, "Forking fprocess.");
  if (options.writesDebug && isClassic) say(context, `Query  ${new URL(request.url).search}\n${body.toString()}`);
  const began = performance.now();
  const output = [];
  const errors = lineSplitter((line) => say(context, `stderr: ${line}`));
  const running = options.launcher.run({
    variables: options.namesHeaders ? requestVariables(request, body.length) : {},
    body: options.marshals ? Buffer.from(marshalled(request, body)) : body,
    output: (chunk) => output.push(chunk),
    errors: (chunk) => errors.push(chunk),
  });
  const { failure, killed } = await endOf(running, options, request);
  errors.end();
  const bytes = Buffer.concat(output);
  const seconds = ((performance.now() - began) / 1000).toFixed(6);
  if (options.writesDebug) say(context, bytes.toString());
  if (killed) {
    say(context, `Killed process: ${options.command}`);
    return new Response("Killed process.\n", { status: isClassic ? 408 : 500 });
  }
  if (failure !== undefined) {
    say(context, `${failure} ${bytes.toString().slice(0, 1000)}`);
    const text = isClassic ? Buffer.concat([Buffer.from(`${failure}\n`), bytes]) : `${failure}\n`;
    return new Response(text, { status: 500, headers: { "content-type": "text/plain; charset=utf-8" } });
  }
  say(context, `Wrote ${bytes.length} Bytes - Duration: ${seconds}s`);
  const type = options.contentType ?? (isClassic ? request.headers.get("content-type") : undefined);
  return new Response(bytes, {
    headers: { "content-type": type || (isClassic ? "text/plain" : "application/octet-stream") },
  });
}

/** The answer as it is written; how the process ends does not change it any more. */
async function stream(options, request, context) {
  const child = start(options, request, -1);
  eachLine(child.stderr, (line) => say(context, `stderr: ${line}`));
  const ended = new Promise((resolve) => {
    child.once("error", () => resolve(undefined));
    child.once("close", (code, signal) =>
      resolve(signal ? `signal: ${signal}` : code ? `exit status ${code}` : undefined),
    );
  });
  void endOf({ ended, kill: () => endGroup(child) }, options, request).then(({ failure, killed }) => {
    if (killed) say(context, `Killed process: ${options.command}`);
    else if (failure !== undefined) say(context, failure);
  });
  const begun = new Promise((resolve) => {
    child.once("spawn", () => resolve(undefined));
    child.once("error", (error) => resolve(error));
  });
  const error = await begun;
  if (error !== undefined) return new Response(`${error.message}\n`, { status: 500 });
  if (request.body === null) child.stdin.end();
  else
    Readable.fromWeb(request.body)
      .on("error", () => endGroup(child))
      .pipe(child.stdin);
  return new Response(Readable.toWeb(child.stdout), {
    headers: { "content-type": options.contentType ?? "application/octet-stream" },
  });
}

function start({ command, args, environment, directory, namesHeaders }, request, length) {
  const child = spawn(command, args, {
    cwd: directory,
    env: namesHeaders ? { ...environment, ...requestVariables(request, length) } : environment,
    stdio: ["pipe", "pipe", "pipe"],
    detached: true,
  });
  // One that does not read its input closes it.
  child.stdin.on("error", () => undefined);
  child.stdout.on("error", () => undefined);
  return child;
}

/** How a process ended, and whether that was because its time was up. It ends with its caller, too. */
function endOf({ ended, kill }, { timeoutMs }, request) {
  request.signal.addEventListener("abort", kill, { once: true });
  return new Promise((resolve) => {
    const over = (failure, killed) => {
      clearTimeout(timer);
      resolve({ failure, killed });
    };
    // What it started may have left its group and hold its output open: that is not waited for.
    const timer = timeoutMs > 0 ? setTimeout(() => (kill(), over(undefined, true)), timeoutMs) : undefined;
    void ended.then((failure) => over(failure, false));
  });
}

/** The request as the watchdogs put it into the environment: each header, the first of its values alone. */
function requestVariables(request, length) {
  const { pathname, search } = new URL(request.url);
  const variables = { Http_Method: request.method, Http_Path: pathname, Http_ContentLength: `${length}` };
  if (search !== "") variables.Http_Query = search.slice(1);
  for (const [name, value] of request.headers) {
    if (name === "transfer-encoding") variables.Http_ContentLength = "-1";
    variables[`Http_${canonical(name)}`] ??= value;
  }
  variables.Http_Content_Length = variables.Http_ContentLength;
  return variables;
}

/** `x-call-id` as `X_Call_Id`. */
function canonical(name) {
  let known = names.get(name);
  if (known === undefined) {
    known = name
      .replace(/(^|-)([a-z])/g, (_, dash, letter) => (dash === "" ? "" : "_") + letter.toUpperCase())
      .replaceAll("-", "_");
    if (names.size < mostNames) names.set(name, known);
  }
  return known;
}

const names = new Map();
const mostNames = 1024;

function marshalled(request, body) {
  const header = {};
  for (const [name, value] of request.headers) header[canonical(name).replaceAll("_", "-")] = [value];
  return JSON.stringify({ header, body: { raw: body.toString("base64") } });
}
