import { type ChildProcess, spawnSync } from "node:child_process";
import { closeSync, existsSync, openSync, writeFileSync } from "node:fs";
import { readFile, readlink } from "node:fs/promises";
import { join } from "node:path";
import type { Duplex, Readable, Writable } from "node:stream";
import { VirgaError } from "../../../core/errors.ts";
import type { Log } from "../../../ports/log.ts";
import type {
  Enforcement,
  Mount,
  Sandbox,
  SandboxedProgram,
  SandboxLimits,
  SandboxSpec,
  Zygote,
  ZygoteSpec,
} from "../../../ports/sandbox.ts";
import type { Cgroup, Cgroups } from "../cgroup.ts";
import type { HostUsers } from "../host-users.ts";
import { launch, type Shell, startedProcess } from "../launcher.ts";
import { childrenOf, isRunning, type ProcessEntry, readProcess } from "../process-table.ts";
import type { Pipes } from "../pipes.ts";
import { bindingOf, HostProcessors } from "../processors.ts";
import { RunningProgram } from "../program.ts";
import { OutOfMemoryWatch, treeUsage, Watch } from "../watch.ts";
import type { ForkServerSpec } from "./zygote/fork-server.ts";
import { Launchers } from "./zygote/launchers.ts";
import { BubblewrapZygote } from "./zygote/zygote.ts";
import { type Abilities, bubblewrapArguments } from "./arguments.ts";
import { enforcement } from "./enforcement.ts";
import { Premises, type PremisesOptions } from "./premises.ts";
import { seccompFilter } from "./seccomp.ts";
import { findOutbound, type Outbound, type OutboundNetworks } from "./outbound.ts";
import { Slots } from "./slot.ts";
import { type SystemCalls, systemCallsOf } from "./system-calls.ts";
import { groupText, ownHostsText, ownResolverText, passwdText, systemView, type ViewEntry } from "./system-view.ts";

export interface BubblewrapOptions {
  /** Private files of programs that run; on the file system of the artifacts, so that code is shown by hard links. */
  readonly home: string;
  readonly pipes: Pipes;
  readonly shell: Shell;
  readonly cgroups: Cgroups | undefined;
  readonly users: HostUsers | undefined;
  /** Folders of the host that programs see beside the system's, read-only, at the same path. */
  readonly toolFolders: readonly string[];
  readonly fixtures: Fixtures;
  /** Python 3.9 or newer, which runs what starts programs in this server's stead. Not there: it starts them itself. */
  readonly python: string;
  readonly log: Log;
}

/** What programs find beside the system and their own mounts. */
export interface Fixtures {
  /** Folders of the host, read-only, by their paths inside, for programs with a network of their own: no other may reach a socket in it. */
  readonly folders?: Readonly<Record<string, string>>;
  /** Targets of symbolic links, by their paths inside, for every program. What it brings itself at, above or below the place goes before. */
  readonly links?: Readonly<Record<string, string>>;
  /** Names for loopback, beside `localhost`, for programs with a network of their own. */
  readonly hostNames?: readonly string[];
}

/** Tries bubblewrap once. Rejects with `unavailable` where it is not there or cannot enclose a program. */
export async function openBubblewrap(options: BubblewrapOptions): Promise<Sandbox> {
  const driver = new BubblewrapSandbox(options, abilitiesOf(readVersion()));
  await driver.tryOnce();
  return driver;
}

class BubblewrapSandbox implements Sandbox {
  readonly name = "bubblewrap";
  readonly enforces: Enforcement;
  readonly processors?: HostProcessors;
  readonly #options: BubblewrapOptions & PremisesOptions;
  readonly #abilities: Abilities;
  readonly #system: readonly ViewEntry[];
  /** For programs with a network of their own. */
  readonly #ownSystem: readonly ViewEntry[];
  /** The fixtures'. */
  readonly #links: readonly Extract<ViewEntry, { readonly link: string }>[];
  readonly #outbound: OutboundNetworks | undefined;
  readonly #filterFile: string | undefined;
  readonly #running = new Set<RunningProgram>();
  readonly #watch = new Watch();
  readonly #memoryWatch = new OutOfMemoryWatch();
  readonly #zygotes: BubblewrapZygote[] = [];
  /** Where the numbers of this machine type's system calls are known. */
  readonly zygote?: (spec: ZygoteSpec) => Zygote;
  readonly #launchers: Launchers | undefined;

  constructor(options: BubblewrapOptions, abilities: Abilities) {
    const { home } = options;
    this.#options = { ...options, slots: new Slots(join(home, "slots")) };
    this.#abilities = abilities;
    const accounts = { passwd: join(home, "passwd"), group: join(home, "group") };
    writeFileSync(accounts.passwd, passwdText, { mode: 0o644 });
    writeFileSync(accounts.group, groupText, { mode: 0o644 });
    const { folders = {}, links = {}, hostNames = [] } = options.fixtures;
    this.#links = Object.entries(links).map(([path, link]) => ({ link, path }));
    const tools: ViewEntry[] = options.toolFolders.map((folder) => ({ bind: folder, path: folder }));
    const shown = (name: string, text: string): string => {
      const file = join(home, name);
      writeFileSync(file, text, { mode: 0o644 });
      return file;
    };
    const ownHosts = { bind: shown("own-hosts", ownHostsText(hostNames)), path: "/etc/hosts" };
    const ownResolver = { bind: shown("own-resolv.conf", ownResolverText), path: "/etc/resolv.conf" };
    const system = systemView(accounts);
    const own = [ownHosts, ownResolver];
    this.#system = [...system, ...tools];
    this.#ownSystem = [
      ...system.filter(({ path }) => !own.some((entry) => entry.path === path)),
      ...own,
      ...Object.entries(folders).map(([path, bind]) => ({ bind, path })),
      ...tools,
    ];
    this.#outbound = findOutbound(options.log, () => this.processors?.freeing ?? []);
    const filter = seccompFilter();
    if (filter !== undefined) {
      this.#filterFile = join(home, "seccomp.bpf");
      writeFileSync(this.#filterFile, filter, { mode: 0o644 });
    }
    const calls = systemCallsOf(process.arch);
    if (calls !== undefined) {
      this.zygote = (spec) => this.#openZygote("zygote", spec, calls, filter);
      if (existsSync(options.python)) {
        const spec = { interpreter: options.python, environment: {}, workingDirectory: "/" };
        this.#launchers = new Launchers(
          (mounts) => this.#openZygote("launcher", { ...spec, mounts }, calls, filter),
          options.log,
        );
      }
    }
    const processors = options.cgroups && HostProcessors.find(options.python, options.log);
    if (processors !== undefined) this.processors = processors;
    this.enforces = enforcement({
      cgroups: options.cgroups?.controls,
      ownUser: options.users !== undefined,
      tmpfsSize: abilities.tmpfsSize,
      seccomp: filter !== undefined,
      outbound: this.#outbound !== undefined,
    });
  }

  #openZygote(
    kind: "zygote" | "launcher",
    spec: ForkServerSpec,
    calls: SystemCalls,
    filter: Buffer | undefined,
  ): BubblewrapZygote {
    const zygote = new BubblewrapZygote(`${kind}-${this.#zygotes.length + 1}`, spec, {
      ...this.#options,
      view: this.#view(this.#system, spec.mounts),
      calls,
      filter,
      processors: this.processors,
      onStart: (program, { limits }, cgroup) => this.#watchOver(program, limits, cgroup),
    });
    this.#zygotes.push(zygote);
    return zygote;
  }

  /** With the links whose places nobody takes. */
  #view(system: readonly ViewEntry[], mounts: readonly Pick<Mount, "target">[]): readonly ViewEntry[] {
    const taken = [...this.#options.toolFolders, ...mounts.map(({ target }) => target)];
    const isTaken = (path: string): boolean =>
      taken.some((other) => path === other || path.startsWith(`${other}/`) || other.startsWith(`${path}/`));
    return [...system, ...this.#links.filter(({ path }) => !isTaken(path))];
  }

  async start(spec: SandboxSpec): Promise<SandboxedProgram> {
    refuseNul(spec);
    return (await this.#launchers?.start(spec)) ?? this.#startByBubblewrap(spec);
  }

  async #startByBubblewrap(spec: SandboxSpec): Promise<SandboxedProgram> {
    const { shell } = this.#options;
    const premises = await Premises.take(spec, this.#options, bubblewrapProcesses);
    const { cgroup, output, user } = premises;
    let filter: number | undefined;
    try {
      filter = this.#filterFile === undefined ? undefined : openSync(this.#filterFile, "r");
      const argumentsDescriptor = 4;
      const seccompDescriptor = filter === undefined ? undefined : 5;
      const isOwn = spec.network === "own";
      // Its own descriptor where it has one; a shell can name no more than it has to already.
      const isGated = isOwn && spec.channel === "none";
      // With a control group its list says when the last process is gone; else the end of the namespace's first process.
      const infoDescriptor = cgroup === undefined ? (filter === undefined ? 5 : 6) : undefined;
      const limitsInside = cgroup?.limitsProcesses !== true && user === undefined;
      const child = await launch(
        {
          command: [
            ...(this.processors?.freeing ?? []),
            "bwrap",
            "--args",
            String(argumentsDescriptor),
            "--",
            ...(limitsInside ? limitedInside(spec, shell) : spec.command),
          ],
          environment: { PATH: hostPath },
          workingDirectory: "/",
          limits: { ...spec.limits, processes: spec.limits.processes + bubblewrapProcesses },
          // A user of its own has no other processes.
          limitsProcesses: user !== undefined,
          user,
          cgroup,
          streams: [
            spec.stdin === "piped" ? "pipe" : "ignore",
            ...output.descriptors,
            spec.channel === "link" || isGated ? "pipe" : "ignore",
            "pipe",
            ...(filter === undefined ? [] : [filter]),
            ...(infoDescriptor === undefined ? [] : ["pipe" as const]),
          ],
          closes: spec.channel === "link" || isGated ? [] : [3],
        },
        shell,
      );
      const parameters = bubblewrapArguments(spec, {
        system: this.#view(isOwn ? this.#ownSystem : this.#system, spec.mounts),
        slot: premises.slot?.directory,
        abilities: this.#abilities,
        seccompDescriptor,
        infoDescriptor,
        gateDescriptor: isGated ? gateDescriptor : undefined,
      });
      const argumentsPipe = child.stdio[argumentsDescriptor] as Writable;
      // A bwrap that is gone already says so by its exit.
      argumentsPipe.on("error", () => undefined);
      argumentsPipe.end(`${parameters.join("\0")}\0`);

      const pid = child.pid!;
      const first =
        infoDescriptor === undefined
          ? undefined
          : readFirst((child.stdio as readonly unknown[])[infoDescriptor] as Readable);
      const gate = isGated ? (child.stdio[gateDescriptor] as Writable) : undefined;
      gate?.on("error", () => undefined);
      const outbound = isOwn ? this.#wayOut(child, gate) : undefined;
      const program = new RunningProgram({
        id: spec.id,
        process: startedProcess(child),
        ...(spec.channel === "link" && { link: child.stdio[3] as Duplex }),
        ...(spec.stdin === "piped" && { stdin: child.stdin! }),
        stdout: output.stdout,
        stderr: output.stderr,
        cgroup,
        tree: {
          // bwrap, the first process of the namespace, the program.
          main: () => childrenOf(childrenOf(pid)[0] ?? -1)[0],
          kill: () => {
            for (const inner of childrenOf(pid)) killQuietly(inner);
          },
          usage: () => treeUsage(pid),
        },
        expose: (directory) => premises.expose(directory),
        pathOf: (target) => target,
        bindTo: bindingOf(cgroup, this.processors),
        emptied: () => goneFrom(first),
        async release() {
          (await outbound)?.close();
          await premises.release();
        },
      });
      output.closeTheirs();
      this.#watchOver(program, spec.limits, cgroup);
      await outbound;
      return program;
    } catch (error) {
      await premises.abandon();
      throw error;
    } finally {
      if (filter !== undefined) closeSync(filter);
    }
  }

  /** The program waits at its gate until it has its way out; one with a link is blank until it is told to begin. */
  async #wayOut(bubblewrap: ChildProcess, gate: Writable | undefined): Promise<Outbound | undefined> {
    try {
      const first = this.#outbound && (await namespaceOf(bubblewrap));
      return first === undefined ? undefined : await this.#outbound!.open(first);
    } catch (error) {
      // The program runs already.
      this.#options.log.warn("a function with network `own` has no way out of it", { error });
      return undefined;
    } finally {
      gate?.end("\n");
    }
  }

  /** Holds a started program to what no control group holds it to, and ends it with this driver. */
  #watchOver(program: RunningProgram, limits: SandboxLimits, cgroup: Cgroup | undefined): void {
    this.#running.add(program);
    if (this.#options.cgroups?.killsWhole === false) this.#memoryWatch.add(program);
    if (cgroup === undefined) this.#watch.add(program, { ...limits, processes: Number.POSITIVE_INFINITY });
    // What cannot be tidied up is for whoever stops it to hear.
    program.exited.finally(() => this.#running.delete(program)).catch(() => undefined);
  }

  async close(): Promise<void> {
    await Promise.all([...this.#running].map((program) => program.stop(0)));
    await Promise.all(this.#zygotes.map((zygote) => zygote.close()));
    this.#watch.close();
    this.#memoryWatch.close();
    this.processors?.close();
    this.#options.cgroups?.close();
  }

  /** Encloses one program. Rejects with `unavailable` and what bubblewrap says. */
  async tryOnce(): Promise<void> {
    const program = await this.#startByBubblewrap({
      id: "try",
      command: ["/bin/sh", "-c", "exit 0"],
      environment: {},
      workingDirectory: "/",
      mounts: [],
      network: "none",
      limits: { memoryMb: 64, cpus: 1, processes: 16, openFiles: 64, fileSizeMb: 1, tmpMb: 1 },
      channel: "none",
      stdin: "none",
    });
    let said = "";
    program.stdout.resume();
    program.stderr.on("data", (chunk: Buffer) => (said += chunk.toString()));
    const closed = new Promise((resolve) => program.stderr.once("close", resolve));
    const { code, signal } = await program.exited;
    await closed;
    if (code === 0) return;
    throw new VirgaError(
      "unavailable",
      `bubblewrap cannot enclose a program here: ${said.trim().split("\n").at(-1) || `it ended with ${signal ?? code}`}`,
      {
        fix: "sysctl -w kernel.unprivileged_userns_clone=1, or kernel.apparmor_restrict_unprivileged_userns=0 on Ubuntu",
      },
    );
  }
}

/** What stands between the arguments that bwrap is told: behind one in a value it would take the rest for more of them. */
function refuseNul({ command, environment, workingDirectory }: SandboxSpec): void {
  const variable = Object.entries(environment).find((entry) => entry.join("").includes("\0"));
  if (variable === undefined && !command.join("").includes("\0") && !workingDirectory.includes("\0")) return;
  const where = variable === undefined ? "command" : `environment.${variable[0].replaceAll("\0", "")}`;
  throw new VirgaError("invalid_field", `${where} of a program has a NUL byte, which no program can be given`, {
    field: where,
    fix: "Leave it out.",
  });
}

function readVersion(): string {
  const { stdout, error } = spawnSync("bwrap", ["--version"], { encoding: "utf8", env: { PATH: hostPath } });
  if (error !== undefined) {
    throw new VirgaError("unavailable", "bubblewrap is not on this host", { fix: "apt-get install bubblewrap" });
  }
  return stdout.trim().split(" ").at(-1) ?? "";
}

function abilitiesOf(version: string): Abilities {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const from = (wanted: number): boolean => major > 0 || minor >= wanted;
  return { tmpfsSize: from(7), disableUserNamespaces: from(8) };
}

/** Inside its namespace a program's processes are counted for themselves, also where its user has others. */
function limitedInside(spec: SandboxSpec, shell: Shell): string[] {
  return [
    "/bin/sh",
    "-c",
    `ulimit ${shell.processLimit} ${spec.limits.processes}; exec "$@"`,
    "virga",
    ...spec.command,
  ];
}

/** The first process of the namespace, which bwrap names as soon as it is there; undefined where it came not so far. */
function readFirst(info: Readable): Promise<ProcessEntry | undefined> {
  return new Promise((resolve) => {
    let text = "";
    info.on("data", (chunk: Buffer) => {
      text += chunk.toString();
      const pid = /"child-pid": *(\d+)/.exec(text)?.[1];
      if (pid !== undefined) resolve(readProcess(Number(pid)));
    });
    info.once("close", () => resolve(undefined));
    info.once("error", () => resolve(undefined));
  });
}

/** The kernel lets it end only when every other process of the namespace has. */
async function goneFrom(first: Promise<ProcessEntry | undefined> | undefined): Promise<void> {
  const process = await first;
  if (process === undefined) return;
  for (let pauseMs = 1; isRunning(process.pid, process.startTicks); pauseMs = Math.min(2 * pauseMs, 20)) {
    killQuietly(process.pid);
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
}

function killQuietly(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It was faster.
  }
}

/** Around the program: the one that waits outside, and the first one in its namespace. */
const bubblewrapProcesses = 2;
/** The first process of the network namespace, once bubblewrap has brought its loopback up and speaks to the kernel no more. */
async function namespaceOf(bubblewrap: ChildProcess): Promise<number | undefined> {
  const hasEnded = (): boolean => bubblewrap.exitCode !== null || bubblewrap.signalCode !== null;
  for (let tries = 0; tries < namespaceLooks && !hasEnded(); tries++) {
    const [first] = childrenOf(bubblewrap.pid!);
    if (first !== undefined && (await hasLoopback(first))) return first;
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  return undefined;
}

async function hasLoopback(pid: number): Promise<boolean> {
  try {
    const [own, theirs] = await Promise.all(["self", pid].map((one) => readlink(`/proc/${one}/ns/net`)));
    return own !== theirs && (await readFile(`/proc/${pid}/net/fib_trie`, "utf8")).includes("127.0.0.1");
  } catch {
    return false; // gone, or not there yet
  }
}

const gateDescriptor = 3;
/** Each a millisecond. */
const namespaceLooks = 2000;
const hostPath = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin";
