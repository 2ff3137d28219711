import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { cp, mkdir, readFile, readdir, rename, rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { join } from "node:path";
import { promisify } from "node:util";
import { VirgaError } from "../../core/errors.ts";
import type { FunctionConfig } from "../../core/model.ts";
import type { Log } from "../../ports/log.ts";
import type { BuildRequest, Detection, Instance, Runtime, Specialisation, StartRequest } from "../../ports/runtime.ts";
import type { Mount, Sandbox, SandboxedProgram, Zygote } from "../../ports/sandbox.ts";
import { DeferredInstance } from "../../links/deferred-instance.ts";
import { ExecInstance } from "../../links/exec/index.ts";
import { startFramedInstance } from "../../links/framed/instance.ts";
import { HttpInstance } from "../../links/http/index.ts";
import { runBuildStep } from "../build-step.ts";
import { type Installer, findInstaller } from "./installer.ts";
import { type Found, type Interpreter, findInterpreters, minor, selectInterpreter } from "./interpreters.ts";

export interface PythonRuntimeOptions {
  /** Where what instances need is put, readable by every user. */
  readonly toolsDirectory: string;
  readonly log: Log;
}

/** Python 3.9 and newer, from the host. Conventions: `native` (the guest), `http` and `stdio` (the handler's file is a program). */
export function createPythonRuntime(options: PythonRuntimeOptions): Runtime {
  return new PythonRuntime(options);
}

class PythonRuntime implements Runtime {
  readonly name = "python";
  readonly prewarm = true;
  readonly #tools: string;
  readonly #log: Log;
  #found: Promise<Found> | undefined;
  #guest: Promise<string> | undefined;
  readonly #compiled = new Map<string, Promise<string>>();
  readonly #installers = new Map<string, Promise<Installer>>();
  /** By the interpreter's path. */
  readonly #zygotes = new WeakMap<Sandbox, Map<string, Zygote>>();

  constructor({ toolsDirectory, log }: PythonRuntimeOptions) {
    this.#tools = toolsDirectory;
    this.#log = log;
  }

  async versions(): Promise<readonly string[]> {
    return (await this.#interpreters()).usable.map(({ version }) => minor(version));
  }

  async detect(directory: string): Promise<Detection | undefined> {
    const names = await readdir(directory);
    const handler = entryFiles.find((name) => names.includes(name));
    if (handler === undefined) return undefined;
    const manifest = names.includes("requirements.txt") || names.includes("pyproject.toml");
    return { confidence: manifest ? 0.9 : 0.6, handler, convention: "native" };
  }

  async fingerprint(config: FunctionConfig): Promise<string> {
    const found = await this.#interpreters();
    const python = selectInterpreter(found, config.runtime);
    let installer = "none";
    try {
      installer = (await this.#installer(found, python)).version;
    } catch (error) {
      // Code without requirements.txt needs none; the build says so where it does.
      if (!(error instanceof VirgaError) || error.code !== "runtime_unavailable") throw error;
    }
    return `python ${python.version}, ${installer}, layout 1`;
  }

  async build(request: BuildRequest): Promise<void> {
    const found = await this.#interpreters();
    const python = selectInterpreter(found, request.config.runtime);
    const file = handlerFile(request.config.handler);
    if (!existsSync(join(request.directory, file))) {
      throw new VirgaError("build_failed", `The handler's file ${file} is not in the code`, {
        field: "handler",
        fix: "Name a file of the code's root, as in `handler.py` or `package/module.py#function`.",
      });
    }
    const deadline = Date.now() + request.timeoutMs;
    if (await hasRequirements(request.directory)) {
      await install(request, python, await this.#installer(found, python), deadline);
    }
    await check(request, python, await this.#guestFolder(), file, deadline);
  }

  async start(request: StartRequest): Promise<Instance> {
    const python = selectInterpreter(await this.#interpreters(), request.runtime);
    const guest: Mount = { source: await this.#compiledGuest(python), target: "/virga/guest", writable: false };
    const program = (await this.#copy(request, python, guest)) ?? (await startAlone(request, python, guest));
    const blank = await startFramedInstance({
      id: request.id,
      program,
      events: request.events,
      memoryMb: request.limits.memoryMb,
      startTimeoutMs: request.limits.startTimeoutMs,
    });
    return new DeferredInstance(request.id, blank, (code) => asProgram(request, python, code));
  }

  /** A copy of an interpreter that has loaded the guest already; undefined where there is none (yet). */
  async #copy(request: StartRequest, python: Interpreter, guest: Mount): Promise<SandboxedProgram | undefined> {
    const { sandbox, id, network, limits } = request;
    if (sandbox.zygote === undefined) return undefined;
    let zygotes = this.#zygotes.get(sandbox);
    if (zygotes === undefined) this.#zygotes.set(sandbox, (zygotes = new Map()));
    let zygote = zygotes.get(python.path);
    if (zygote === undefined) {
      zygote = sandbox.zygote({
        interpreter: python.path,
        program: `${guest.target}/start.py`,
        environment: baseEnvironment,
        workingDirectory: "/tmp",
        mounts: [guest, ...python.mounts],
      });
      zygotes.set(python.path, zygote);
    }
    try {
      return await zygote.fork({ id, network, limits });
    } catch (error) {
      if (!(error instanceof VirgaError) || error.code !== "unavailable") throw error;
      this.#log.debug("an instance starts without the zygote", { instance: id, reason: error.message });
      return undefined;
    }
  }

  #interpreters(): Promise<Found> {
    this.#found ??= findInterpreters().then((found) => {
      for (const remark of found.remarks) this.#log.debug("python interpreter left out", { remark });
      return found;
    });
    return this.#found;
  }

  #installer(found: Found, python: Interpreter): Promise<Installer> {
    let installer = this.#installers.get(python.path);
    if (installer === undefined) {
      installer = findInstaller(found, python, this.#tools);
      this.#installers.set(python.path, installer);
      // A pip that is installed later is found by the next build.
      installer.catch(() => this.#installers.delete(python.path));
    }
    return installer;
  }

  /** The guest with its bytecode beside it, which a blank instance would otherwise make anew at each start. */
  #compiledGuest(python: Interpreter): Promise<string> {
    let compiled = this.#compiled.get(python.path);
    if (compiled === undefined) {
      compiled = this.#guestFolder().then(async (folder) => {
        await run(python.path, ["-I", "-m", "compileall", "-q", folder], { timeout: 60_000 });
        return folder;
      });
      this.#compiled.set(python.path, compiled);
      compiled.catch(() => this.#compiled.delete(python.path));
    }
    return compiled;
  }

  #guestFolder(): Promise<string> {
    this.#guest ??= publishGuest(this.#tools);
    return this.#guest;
  }
}

function startAlone(request: StartRequest, python: Interpreter, guest: Mount): Promise<SandboxedProgram> {
  return request.sandbox.start({
    id: request.id,
    command: [python.path, "-I", "-X", "utf8", `${inside(request.sandbox, guest)}/start.py`],
    environment: baseEnvironment,
    workingDirectory: "/tmp",
    mounts: [guest, ...python.mounts],
    network: request.network,
    limits: request.limits,
    channel: "link",
    stdin: "none",
  });
}

/** The instance that takes the blank one's place, where the handler's file is a program of its own. */
function asProgram(request: StartRequest, python: Interpreter, code: Specialisation): Instance | undefined {
  const { convention, handler, args } = code.config;
  if (convention !== "http" && convention !== "stdio") return undefined;
  // A name of its own: the blank one may not be wholly gone.
  const renamed: StartRequest = { ...request, id: `${request.id.slice(-34)}-${convention}` };
  const describe = () => ({
    command: (root: string) => [python.path, `${root}/${handlerFile(handler)}`, ...args],
    mounts: python.mounts,
    environment: (root: string) => ({
      ...baseEnvironment,
      PYTHONPATH: `${root}/.virga/site-packages:${root}`,
      PYTHONUNBUFFERED: "1",
      PYTHONDONTWRITEBYTECODE: "1",
      PYTHONUTF8: "1",
    }),
  });
  return convention === "http" ? new HttpInstance(renamed, describe) : new ExecInstance(renamed, describe);
}

async function install(
  request: BuildRequest,
  python: Interpreter,
  installer: Installer,
  deadline: number,
): Promise<void> {
  const { sandbox, directory } = request;
  const root = sandbox.name === "process" ? directory : "/code";
  const cache = sandbox.name === "process" ? request.cacheDirectory : "/cache";
  const environment: Record<string, string> = { ...baseEnvironment, ...installer.environment };
  for (const name of ["PIP_CACHE_DIR", "UV_CACHE_DIR"]) {
    const value = environment[name];
    if (value !== undefined) environment[name] = value.replace(/^\/cache/, cache);
  }
  const { report, log } = await runBuildStep(request, {
    name: "installation of requirements.txt",
    command: installer.command(`${root}/.virga/site-packages`, `${root}/requirements.txt`, (mount) =>
      inside(sandbox, mount),
    ),
    environment,
    mounts: [...python.mounts, ...installer.mounts, ...(installer.tool === undefined ? [] : [installer.tool])],
    network: "host",
    deadline,
  });
  if (report.code === 0) return;
  const reason = log.split("\n").findLast((line) => /^\s*(ERROR|error|×)/.test(line)) ?? "";
  throw new VirgaError(
    "build_failed",
    `requirements.txt could not be installed: ${reason.trim() || installer.version}`,
    {
      location: "requirements.txt",
      log,
      fix: "Check the names and versions in requirements.txt; the log has what the installer said.",
    },
  );
}

async function check(
  request: BuildRequest,
  python: Interpreter,
  guest: string,
  file: string,
  deadline: number,
): Promise<void> {
  const { sandbox } = request;
  const mount: Mount = { source: guest, target: "/virga/guest", writable: false };
  const root = sandbox.name === "process" ? request.directory : "/code";
  const failures: string[] = [];
  const { report, stderr, log } = await runBuildStep(
    { ...request, onLog: (line) => (line.startsWith("{") ? failures.push(line) : request.onLog(line)) },
    {
      name: "check of the code",
      command: [python.path, "-I", "-X", "utf8", `${inside(sandbox, mount)}/check.py`, root, file],
      environment: baseEnvironment,
      mounts: [mount, ...python.mounts],
      network: "none",
      deadline,
    },
  );
  if (report.code === 0) return;
  if (report.code !== syntaxErrorCode) {
    throw new VirgaError("build_failed", "The code could not be checked", { log });
  }
  const failure = JSON.parse(stderr) as { message: string; location: string; frame: string };
  throw new VirgaError("build_failed", `${failure.location}: ${failure.message}\n${failure.frame}`.trimEnd(), {
    location: failure.location,
    fix: "Correct the line and deploy again.",
  });
}

async function hasRequirements(directory: string): Promise<boolean> {
  const path = join(directory, "requirements.txt");
  if (!existsSync(path)) return false;
  const text = await readFile(path, "utf8");
  return text.split("\n").some((line) => /^\s*[^\s#]/.test(line));
}

/** A copy of the guest in a folder that every user can read, under a name that tells its content. */
async function publishGuest(toolsDirectory: string): Promise<string> {
  const source = fileURLToPath(new URL("./guest", import.meta.url));
  const hash = createHash("sha256");
  const names = (await readdir(source, { recursive: true })).filter((name) => name.endsWith(".py")).sort();
  for (const name of names) hash.update(name).update(await readFile(join(source, name)));
  const target = join(toolsDirectory, `python-guest-${hash.digest("hex").slice(0, 16)}`);
  if (existsSync(target)) return target;
  await mkdir(toolsDirectory, { recursive: true, mode: 0o755 });
  const partial = `${target}.${process.pid}`;
  await cp(source, partial, { recursive: true, filter: (path) => !path.includes("__pycache__") });
  try {
    await rename(partial, target);
  } catch (error) {
    // Another server on this host was faster with the same content.
    await rm(partial, { recursive: true, force: true });
    if (!existsSync(target)) throw error;
  }
  return target;
}

function handlerFile(handler: string): string {
  return handler.split("#", 1)[0]!;
}

function inside(sandbox: Sandbox, mount: Mount): string {
  return sandbox.name === "process" ? mount.source : mount.target;
}

const run = promisify(execFile);
const entryFiles = ["handler.py", "main.py", "function.py", "app.py"];
/** check.py: the handler's file does not compile. */
const syntaxErrorCode = 3;
const baseEnvironment = { PATH: "/usr/local/bin:/usr/bin:/bin", HOME: "/tmp", LANG: "C.UTF-8" };
