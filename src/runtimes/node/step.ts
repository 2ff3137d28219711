import { VirgaError } from "../../core/errors.ts";
import { ProgramOutput, exitText } from "../../links/program-output.ts";
import type { BuildRequest } from "../../ports/runtime.ts";
import type { ExitReport, Mount, SandboxedProgram } from "../../ports/sandbox.ts";

export interface Step {
  readonly command: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly network: "host" | "none";
}

/** Runs one step of a build in the sandbox, with the code writable at `/code`, until it ends, times out or grows too large. */
export async function runStep(
  request: BuildRequest,
  name: string,
  mounts: readonly Mount[],
  deadline: number,
  describe: (inside: (target: string) => string) => Step,
  onAnswer?: (line: string) => void,
): Promise<{ report: ExitReport; log: string }> {
  request.signal.throwIfAborted();
  const all: Mount[] = [{ source: request.directory, target: "/code", writable: true }, ...mounts];
  const moves = request.sandbox.name !== "process";
  const inside = (target: string): string => (moves ? target : all.find((mount) => mount.target === target)!.source);
  const { command, environment, network } = describe(inside);
  const program = await request.sandbox.start({
    id: `build-${name}-${(nextBuild++).toString(36)}-${process.pid.toString(36)}`,
    command,
    environment: { HOME: "/tmp", LANG: "C.UTF-8", ...environment },
    workingDirectory: inside("/code"),
    mounts: all,
    network,
    limits: buildLimits,
    channel: "none",
    stdin: "none",
  });
  const lines: string[] = [];
  const output = new ProgramOutput(program, ["stdout", "stderr"], ({ stream, text }) => {
    if (onAnswer !== undefined && stream === "stdout") return onAnswer(text);
    lines.push(text);
    if (lines.length > keptLines) lines.splice(keptLines / 2, 1); // what went wrong stands first, where it ended last
    request.onLog(text);
  });
  const report = await untilOver(request, program, deadline);
  await output.ended;
  return { report, log: lines.join("\n") };
}

/** What a step of the guest's says of the code: one line of JSON. */
export interface CodeReport {
  readonly problems: readonly Problem[];
  /** Of the handler, as Node loads it. */
  readonly format?: "module" | "commonjs";
}

interface Problem {
  readonly message: string;
  readonly location: string;
  readonly frame?: string;
  readonly fix?: string;
}

/** Runs a step that reports on the code. Rejects with `build_failed` where it finds problems. */
export async function runReportingStep(
  request: BuildRequest,
  name: string,
  mounts: readonly Mount[],
  deadline: number,
  describe: (inside: (target: string) => string) => Step,
): Promise<CodeReport> {
  let answer = "";
  const { report, log } = await runStep(request, name, mounts, deadline, describe, (line) => (answer = line));
  const said = report.code === 0 ? readReport(answer) : undefined;
  if (said === undefined) {
    throw new VirgaError("build_failed", `The ${name} of the code ended ${exitText(report)}`, { log });
  }
  const { problems } = said;
  const first = problems[0];
  if (first === undefined) return said;
  for (const { location, message, frame } of problems) {
    request.onLog(`${location}: ${message}`);
    for (const line of frame?.split("\n") ?? []) request.onLog(line);
  }
  const more = problems.length > 1 ? ` (and ${problems.length - 1} more)` : "";
  throw new VirgaError(
    "build_failed",
    `${first.location}: ${first.message}${more}${first.frame === undefined ? "" : `\n${first.frame}`}`,
    {
      location: first.location,
      fix: first.fix ?? "Correct the code and deploy again; the revision that serves now stays.",
    },
  );
}

function readReport(line: string): CodeReport | undefined {
  try {
    return JSON.parse(line) as CodeReport;
  } catch {
    return undefined; // the caller reports it
  }
}

async function untilOver(request: BuildRequest, program: SandboxedProgram, deadline: number): Promise<ExitReport> {
  let reason: VirgaError | undefined;
  const end = (error: VirgaError): void => {
    reason ??= error;
    void program.stop(0);
  };
  const onAbort = (): void => end(new VirgaError("cancelled", "The deploy was cancelled"));
  request.signal.addEventListener("abort", onAbort, { once: true });
  const timer = setTimeout(
    () =>
      end(
        new VirgaError("build_timeout", `The build was not done within ${request.timeoutMs} ms`, {
          fix: "Use fewer dependencies, deploy with node_modules, or raise the platform's build time.",
        }),
      ),
    Math.max(1, deadline - performance.now()),
  );
  try {
    const report = await program.exited;
    if (reason !== undefined) throw reason;
    if (report.outOfMemory) {
      throw new VirgaError("build_failed", `The build used more than ${buildLimits.memoryMb} MiB of memory`, {
        fix: "Deploy the function with its node_modules, and without bundle.",
      });
    }
    return report;
  } finally {
    clearTimeout(timer);
    request.signal.removeEventListener("abort", onAbort);
  }
}

let nextBuild = 0;

/** Of a failed step's output, in the error. */
const keptLines = 40;

/** What npm needs for a large tree, with room; one build at a time is the deployer's business. */
const buildLimits = { memoryMb: 2048, cpus: 2, processes: 256, openFiles: 4096, fileSizeMb: 2048, tmpMb: 512 };
