import type { Readable } from "node:stream";
import { StringDecoder } from "node:string_decoder";
import { VirgaError } from "../../../core/errors.ts";
import type { ExitReport, Mount, Sandbox } from "../../../ports/sandbox.ts";
import { sizeOfTree } from "../../../trees/size.ts";

/** One program of a build. */
export interface BuildProgram {
  /** For messages: `Dockerfile:12: RUN npm i`. */
  readonly name: string;
  readonly location: string;
  readonly command: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly workingDirectory: string;
  readonly mounts: readonly Mount[];
  readonly network: "host" | "none";
  /** What must not become larger than `maxBytes`. */
  readonly directory: string;
}

export interface BuildLimits {
  readonly sandbox: Sandbox;
  /** Of `performance.now()`, shared by all programs of a build. */
  readonly deadline: number;
  readonly timeoutMs: number;
  readonly maxBytes: number;
  readonly onLog: (line: string) => void;
  readonly signal: AbortSignal;
}

/**
 * Runs it in the sandbox, with the build's limits of time, size and memory; its output becomes log lines. Resolves to how it ended,
 * with the last lines. Rejects with `build_timeout`, `build_failed` (too large, out of memory), `cancelled`.
 */
export async function runBuildProgram(
  program: BuildProgram,
  { sandbox, deadline, timeoutMs, maxBytes, onLog, signal }: BuildLimits,
): Promise<{ readonly report: ExitReport; readonly log: string }> {
  const { name, location } = program;
  const newest: string[] = [];
  const log = (): string => newest.join("\n");
  const overdue = (): VirgaError =>
    new VirgaError("build_timeout", `${name}: the build did not end within its ${timeoutMs} ms`, {
      location,
      log: log(),
      fix: "Install less, or what comes compiled; packages that were fetched are there for the next try.",
    });
  const tooLarge = (): VirgaError =>
    new VirgaError("build_failed", `${name}: the stage is larger than ${Math.floor(maxBytes / 2 ** 20)} MiB`, {
      location,
      fix: "Depend on less, or keep large files outside of the function.",
    });
  const left = deadline - performance.now();
  if (left <= 0) throw overdue();
  if (signal.aborted) throw cancelled();
  const running = await sandbox.start({
    id: `image-${(++programs).toString(36)}-${process.pid.toString(36)}`,
    command: program.command,
    environment: program.environment,
    workingDirectory: program.workingDirectory,
    mounts: program.mounts,
    network: program.network,
    limits: {
      memoryMb: buildMemoryMb,
      cpus: 2,
      processes: 512,
      openFiles: 4096,
      fileSizeMb: Math.max(1, Math.ceil(maxBytes / 2 ** 20)),
      tmpMb: 1024,
    },
    channel: "none",
    stdin: "none",
  });
  let stopped: VirgaError | undefined;
  const stop = (error: VirgaError): void => {
    stopped ??= error;
    running.stop(0).catch((thrown: unknown) => onLog(`${name} could not be stopped: ${String(thrown)}`));
  };
  const onLine = (line: string): void => {
    newest.push(line);
    if (newest.length > lastLines) newest.shift();
    onLog(line);
  };
  const timer = setTimeout(() => stop(overdue()), left);
  let isCounting = false;
  const sizes = setInterval(() => {
    if (isCounting) return;
    isCounting = true;
    // The count after the end is the one that decides.
    sizeOfTree(program.directory, maxBytes).then(
      ({ bytes }) => {
        isCounting = false;
        if (bytes > maxBytes) stop(tooLarge());
      },
      () => (isCounting = false),
    );
  }, sizeCheckMs);
  const onAbort = (): void => stop(cancelled());
  signal.addEventListener("abort", onAbort, { once: true });
  if (signal.aborted) onAbort();
  try {
    const [report] = await Promise.all([
      running.exited,
      gather(running.stdout, onLine),
      gather(running.stderr, onLine),
    ]);
    if (stopped !== undefined) throw stopped;
    if (report.outOfMemory)
      throw new VirgaError("build_failed", `${name} used more than ${buildMemoryMb} MiB of memory`, {
        location,
        log: log(),
        fix: "Build with fewer processes at a time.",
      });
    if ((await sizeOfTree(program.directory, maxBytes)).bytes > maxBytes) throw tooLarge();
    return { report, log: log() };
  } finally {
    clearTimeout(timer);
    clearInterval(sizes);
    signal.removeEventListener("abort", onAbort);
  }
}

export function cancelled(): VirgaError {
  return new VirgaError("cancelled", "The build was cancelled");
}

async function gather(source: Readable, onLine: (line: string) => void): Promise<void> {
  const decoder = new StringDecoder("utf8");
  let rest = "";
  for await (const chunk of source as AsyncIterable<Buffer>) {
    // Programs draw progress by going back to the line's beginning.
    const lines = (rest + decoder.write(chunk)).split(/\r?\n|\r/);
    rest = lines.pop() ?? "";
    for (const line of lines) onLine(line.slice(0, longestLine));
    if (rest.length > longestLine) {
      onLine(rest);
      rest = "";
    }
  }
  if (rest !== "") onLine(rest);
}

/** A build is a compiler at times. */
const buildMemoryMb = 2048;
const lastLines = 30;
const longestLine = 16_384;
const sizeCheckMs = 2000;
let programs = 0;
