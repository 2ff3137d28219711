import { existsSync } from "node:fs";
import { chmod, readdir, stat } from "node:fs/promises";
import { join, normalize } from "node:path";
import { VirgaError } from "../../core/errors.ts";
import type { FunctionConfig } from "../../core/model.ts";
import type { Log } from "../../ports/log.ts";
import type { BuildRequest, Detection, Instance, Runtime, Specialisation, StartRequest } from "../../ports/runtime.ts";
import { DeferredInstance } from "../../links/deferred-instance.ts";
import { ExecInstance } from "../../links/exec/index.ts";
import { HttpInstance, InitRunInstance } from "../../links/http/index.ts";
import { runBuildStep } from "../build-step.ts";
import { readExecutable, searchPath } from "./executable.ts";

export interface BinaryRuntimeOptions {
  /** Not needed here; the same for every runtime. */
  readonly toolsDirectory: string;
  readonly log: Log;
}

/**
 * Any executable: a native program or a `#!` script. Convention `stdio` runs it for each call, `http` expects a server on `$PORT`,
 * `openwhisk` one that speaks OpenWhisk's `/init` and `/run` there.
 * A `build.sh` in the code's root is run first; that is how C becomes a program.
 */
export function createBinaryRuntime(options: BinaryRuntimeOptions): Runtime {
  return new BinaryRuntime(options);
}

class BinaryRuntime implements Runtime {
  readonly name = "binary";
  readonly prewarm = false;
  readonly #log: Log;

  constructor({ log }: BinaryRuntimeOptions) {
    this.#log = log;
  }

  async versions(): Promise<readonly string[]> {
    return [process.arch];
  }

  async detect(directory: string): Promise<Detection | undefined> {
    const entries = await readdir(directory, { withFileTypes: true });
    const files = entries.filter((entry) => entry.isFile()).map(({ name }) => name);
    for (const handler of entryFiles) {
      if (!files.includes(handler)) continue;
      const executable = await readExecutable(join(directory, handler));
      if (executable !== undefined) return { confidence: 0.6, handler, convention: "stdio" };
    }
    if (files.includes(buildScript)) return { confidence: 0.5, handler: "handler", convention: "stdio" };
    const programs: string[] = [];
    for (const name of files) {
      const { mode } = await stat(join(directory, name));
      if ((mode & 0o111) !== 0 && (await readExecutable(join(directory, name))) !== undefined) programs.push(name);
    }
    return programs.length === 1 ? { confidence: 0.5, handler: programs[0]!, convention: "stdio" } : undefined;
  }

  async fingerprint(_config: FunctionConfig): Promise<string> {
    return `binary ${process.platform} ${process.arch}`;
  }

  async build(request: BuildRequest): Promise<void> {
    const { directory, config, signal } = request;
    if (signal.aborted) throw new VirgaError("cancelled", "The deploy was cancelled");
    if (!conventions.has(config.convention)) {
      throw new VirgaError("build_failed", `A binary cannot be called by convention \`${config.convention}\``, {
        field: "convention",
        fix: "Set convention to `stdio` (a process for each call), `http` (a server on $PORT) or `openwhisk` (one with /init and /run).",
      });
    }
    if (existsSync(join(directory, buildScript))) await runBuildScript(request);
    await checkProgram(directory, config.handler);
  }

  async start(request: StartRequest): Promise<Instance> {
    this.#log.debug("binary instance waits for its program", { instance: request.id });
    return new DeferredInstance(request.id, undefined, ({ config: { convention } }) => {
      if (convention === "http") return new HttpInstance(request, describe);
      if (convention === "openwhisk") return new InitRunInstance(request, describe);
      return convention === "stdio" ? new ExecInstance(request, describe) : undefined;
    });
  }
}

const conventions = new Set(["stdio", "http", "openwhisk"]);

function describe({ config }: Specialisation) {
  return {
    command: (root: string) => [join(root, config.handler), ...config.args],
    mounts: [],
    environment: () => baseEnvironment,
  };
}

async function runBuildScript(request: BuildRequest): Promise<void> {
  const { report, log } = await runBuildStep(request, {
    name: buildScript,
    command: ["/bin/sh", "-e", buildScript],
    environment: baseEnvironment,
    network: "host",
    deadline: Date.now() + request.timeoutMs,
  });
  if (report.code === 0) return;
  const how = report.signal === null ? `exit code ${report.code ?? "unknown"}` : `signal ${report.signal}`;
  throw new VirgaError("build_failed", `${buildScript} ended with ${how}`, {
    location: buildScript,
    log,
    fix: "The log has its last lines; compilers and tools must be installed on the platform's host.",
  });
}

async function checkProgram(directory: string, handler: string): Promise<void> {
  const path = join(directory, handler);
  if (normalize(handler).startsWith("..") || !existsSync(path)) {
    const built = existsSync(join(directory, buildScript)) ? ", and build.sh did not make it" : "";
    throw new VirgaError("build_failed", `The program ${handler} is not in the code${built}`, {
      field: "handler",
      fix: "Name an executable by its path from the code's root.",
    });
  }
  const executable = await readExecutable(path);
  if (executable === undefined) {
    throw new VirgaError("build_failed", `${handler} is neither a native program (ELF) nor a script with a #! line`, {
      field: "handler",
      location: `${handler}:1:1`,
      fix: "Begin a script with a line such as `#!/bin/sh`; compile a program for Linux.",
    });
  }
  if (executable.kind === "elf" && !executable.fits) {
    throw new VirgaError(
      "build_failed",
      `${handler} is a program for ${executable.machine}; this host is ${process.arch}`,
      {
        field: "handler",
        fix: `Compile it for linux ${process.arch}.`,
      },
    );
  }
  if (executable.kind === "script" && !executable.found) {
    throw new VirgaError("build_failed", `${handler} asks for ${executable.interpreter}, which is not on this host`, {
      location: `${handler}:1:1`,
      fix: `Install ${executable.interpreter} on the platform's host, or change the #! line.`,
    });
  }
  await chmod(path, 0o755);
}

const entryFiles = ["handler", "main", "bootstrap", "run.sh", "handler.sh"];
const buildScript = "build.sh";
const baseEnvironment = { PATH: searchPath.join(":"), HOME: "/tmp", LANG: "C.UTF-8" };
