import type { Readable } from "node:stream";
import { StringDecoder } from "node:string_decoder";
import { VirgaError } from "../core/errors.ts";
import type { BuildRequest } from "../ports/runtime.ts";
import type { ExitReport, Mount } from "../ports/sandbox.ts";
import { sizeOfTree } from "../trees/size.ts";

/** One program of a build. */
export interface BuildStep {
  /** For messages: `pip install`. */
  readonly name: string;
  readonly command: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  /** Beside the code, which is writable at `/code`, and the package cache at `/cache`. */
  readonly mounts?: readonly Mount[];
  readonly network: "host" | "none";
  /** Milliseconds since the epoch, shared by all steps of a build. */
  readonly deadline: number;
}

/** How a step ended; a code other than 0 is the caller's to explain. */
export interface BuildStepResult {
  readonly report: ExitReport;
  readonly stdout: string;
  readonly stderr: string;
  /** The last lines of both. */
  readonly log: string;
}

/**
 * Runs one program of a build inside the sandbox, with the build's limits of time and size; its output becomes log lines.
 * Rejects with `build_timeout`, `build_failed` (too large, out of memory), `cancelled`.
 */
export async function runBuildStep(request: BuildRequest, step: BuildStep): Promise<BuildStepResult> {
  const { directory, sandbox, signal, timeoutMs, maxBytes, onLog } = request;
  const left = step.deadline - Date.now();
  if (left <= 0) throw overdue(step, timeoutMs, "");
  if (signal.aborted) throw cancelled();
  const program = await sandbox.start({
    id: `build-${(++builds).toString(36)}-${process.pid.toString(36)}`,
    command: step.command,
    environment: step.environment,
    workingDirectory: sandbox.name === "process" ? directory : "/code",
    mounts: [
      { source: directory, target: "/code", writable: true },
      { source: request.cacheDirectory, target: "/cache", writable: true },
      ...(step.mounts ?? []),
    ],
    network: step.network,
    limits: {
      memoryMb: buildMemoryMb,
      cpus: buildCpus,
      processes: 512,
      openFiles: 4096,
      fileSizeMb: Math.max(1, Math.ceil(maxBytes / 2 ** 20)),
      tmpMb: buildTmpMb,
    },
    channel: "none",
    stdin: "none",
  });
  let stopped: VirgaError | undefined;
  const newest: string[] = [];
  const onLine = (line: string): void => {
    newest.push(line);
    if (newest.length > logLines) newest.shift();
    onLog(line);
  };
  const log = (): string => newest.join("\n");
  const stop = (error: VirgaError): void => {
    stopped ??= error;
    program.stop(0).catch((thrown: unknown) => {
      onLog(`the ${step.name} could not be stopped: ${String(thrown)}`);
    });
  };
  const timer = setTimeout(() => stop(overdue(step, timeoutMs, log())), left);
  const sizes = setInterval(() => {
    sizeOfTree(directory, maxBytes).then(
      ({ bytes }) => {
        if (bytes > maxBytes) stop(tooLarge(step, maxBytes));
      },
      // The count after the step's end is the one that decides.
      () => undefined,
    );
  }, sizeCheckMs);
  const onAbort = (): void => stop(cancelled());
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    const [report, stdout, stderr] = await Promise.all([
      program.exited,
      gather(program.stdout, onLine),
      gather(program.stderr, onLine),
    ]);
    if (stopped !== undefined) throw stopped;
    if (report.outOfMemory) {
      throw new VirgaError("build_failed", `The ${step.name} used more than ${buildMemoryMb} MiB of memory`, {
        log: log(),
      });
    }
    if ((await sizeOfTree(directory, maxBytes)).bytes > maxBytes) throw tooLarge(step, maxBytes);
    return { report, stdout, stderr, log: log() };
  } finally {
    clearTimeout(timer);
    clearInterval(sizes);
    signal.removeEventListener("abort", onAbort);
  }
}

async function gather(source: Readable, onLine: (line: string) => void): Promise<string> {
  const decoder = new StringDecoder("utf8");
  let kept = "";
  let rest = "";
  for await (const chunk of source as AsyncIterable<Buffer>) {
    const text = decoder.write(chunk);
    if (kept.length < keptChars) kept += text;
    const lines = (rest + text).split(/\r?\n/);
    rest = lines.pop() ?? "";
    for (const line of lines) onLine(line);
    if (rest.length > keptChars) {
      onLine(rest);
      rest = "";
    }
  }
  if (rest !== "") onLine(rest);
  return kept;
}

function overdue(step: BuildStep, timeoutMs: number, log: string): VirgaError {
  return new VirgaError("build_timeout", `The ${step.name} did not end within the build's ${timeoutMs} ms`, {
    log,
    fix: "Depend on less, or on packages that come built (wheels); what was fetched is cached for the next try.",
  });
}

function tooLarge(step: BuildStep, maxBytes: number): VirgaError {
  const most = Math.floor(maxBytes / 2 ** 20);
  return new VirgaError("build_failed", `The code is larger than ${most} MiB after the ${step.name}`, {
    fix: "Depend on less, or keep large files outside of the function.",
  });
}

function cancelled(): VirgaError {
  return new VirgaError("cancelled", "The build was cancelled");
}

/** A build is a compiler at times; the functions' own limits are for what it makes. */
const buildMemoryMb = 2048;
const buildCpus = 2;
/** Wheels and source archives are unpacked in /tmp. */
const buildTmpMb = 1024;
const logLines = 40;
const keptChars = 65_536;
const sizeCheckMs = 2000;
let builds = 0;
