import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, closeSync, constants, mkdirSync, openSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { StringDecoder } from "node:string_decoder";
import { fileURLToPath } from "node:url";
import { VirgaError } from "../../../../core/errors.ts";
import type { ZygoteSpec } from "../../../../ports/sandbox.ts";
import type { ViewEntry } from "../system-view.ts";
import { spawned } from "../../launcher.ts";
import type { StartedProcess } from "../../program.ts";

/** Without a program it is a launcher: its children become the command that they are told. */
export type ForkServerSpec = Omit<ZygoteSpec, "program"> & Partial<Pick<ZygoteSpec, "program">>;

export interface ForkServerOptions {
  readonly spec: ForkServerSpec;
  /** A folder of its own, not yet made, that programs' users can reach. No symbolic link on the way. */
  readonly folder: string;
  readonly view: readonly ViewEntry[];
  readonly calls: { readonly clone: number; readonly pivotRoot: number };
  readonly filter: Buffer | undefined;
  readonly asRoot: boolean;
  /** In front of its command. */
  readonly before: readonly string[];
}

/** One copy, as `guest/virga_zygote/messages.py` takes it. */
export interface ForkRequest {
  readonly stdout: string;
  readonly stderr: string;
  /** Folders of its control groups. */
  readonly groups: readonly string[];
  readonly user: number | null;
  /** Folder that it sees at `/code`; null where it sees none. */
  readonly code: string | null;
  /** Whether it shares the host's network. */
  readonly network: boolean;
  readonly limits: {
    /** Null where something else limits them. */
    readonly processes: number | null;
    readonly openFiles: number;
    readonly fileSizeMb: number;
    readonly tmpMb: number;
  };
  /** What a launcher's child becomes; null where it is a copy of the loaded program. */
  readonly run: Run | null;
  readonly link: boolean;
}

export interface Run {
  readonly command: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly directory: string;
}

export interface ForkedProcess extends StartedProcess {
  readonly link: Socket | undefined;
  /** Whether it ended because it could not enclose itself: nothing else of it ran then. */
  readonly failed: Promise<boolean>;
}

/**
 * The process of a zygote (guest/start.py). It is asked over its descriptor 3, and connects each copy's link to a socket
 * in a folder that is closed to all others: Node can hand no descriptor over.
 */
export class ForkServer {
  /** Resolves with why, when it is gone. Its copies are going then. */
  readonly ended: Promise<string>;
  readonly #child: ChildProcess;
  readonly #requests: Socket;
  readonly #ready = Promise.withResolvers<void>();
  readonly #copies = new Map<number, Copy>();
  /** Of copies whose link has not come yet. */
  readonly #links = new Map<number, PromiseWithResolvers<Socket>>();
  #next = 1;
  #retired = false;
  #gone: string | undefined;
  #why: string | undefined;

  /** Resolves when it is there, not yet `ready`. Rejects with `unavailable`. */
  static async start({ spec, folder, view, calls, filter, asRoot, before }: ForkServerOptions): Promise<ForkServer> {
    const root = join(folder, "root");
    const links = join(folder, "links");
    mkdirSync(folder);
    chmodSync(folder, 0o711);
    mkdirSync(root);
    mkdirSync(links, { mode: 0o700 });
    // By its descriptor the folder has a short name, as sockets need one, and one that tells a program nothing.
    const descriptor = openSync(links, constants.O_RDONLY | constants.O_DIRECTORY);
    const listener = createServer();
    const tidy = (): void => {
      listener.close();
      closeSync(descriptor);
      rmSync(folder, { recursive: true, force: true });
    };
    let server: ForkServer;
    try {
      await once(listener.listen(`/proc/self/fd/${descriptor}/link`), "listening");
      const flags = ["-I", "-B", "-X", "utf8", ...(spec.program === undefined ? ["-S"] : [])];
      const [program, ...first] = [...before, spec.interpreter];
      const child = spawn(program, [...first, ...flags, serverFile], {
        cwd: "/",
        env: { ...spec.environment },
        stdio: ["ignore", "ignore", "pipe", "pipe"],
        detached: true,
      });
      await spawned(child);
      server = new ForkServer(child, listener, tidy);
    } catch (error) {
      tidy();
      throw error;
    }
    const setup = {
      root,
      view: [...view, ...spec.mounts.map(({ source, target }) => ({ bind: source, path: target }))],
      calls,
      filter: filter === undefined ? null : filter.toString("base64"),
      program: spec.program ?? null,
      asRoot,
      directory: links,
      workingDirectory: spec.workingDirectory,
    };
    server.#write(lineOf(setup));
    return server;
  }

  private constructor(child: ChildProcess, listener: Server, tidy: () => void) {
    this.#child = child;
    this.#requests = child.stdio[3] as Socket;
    this.#requests.on("error", () => undefined); // its end says all
    this.#ready.promise.catch(() => undefined); // whoever waits for it is told
    this.#readReports();
    listener.on("connection", (socket) => this.#accept(socket));
    let said = "";
    child.stderr!.on("data", (chunk: Buffer) => (said = (said + chunk.toString()).slice(-longestWord)));
    this.ended = new Promise((resolve) => {
      // Behind its last words.
      child.once("close", (code, signal) => {
        this.#gone = this.#why ?? (said.trim().split("\n").at(-1) || `it ended with ${signal ?? code}`);
        tidy();
        this.#lose(this.#gone);
        resolve(this.#gone);
      });
    });
  }

  /** Resolves when it has loaded its program. Rejects with `unavailable`. */
  get ready(): Promise<void> {
    return this.#ready.promise;
  }

  /** Rejects with `unavailable`. */
  async fork(request: ForkRequest): Promise<ForkedProcess> {
    if (this.#gone !== undefined) throw unavailable(this.#gone);
    const number = this.#next++;
    const line = lineOf({ fork: number, ...request });
    if (line.length > longestLine) throw unavailable("what it is told is too long");
    const copy: Copy = { started: Promise.withResolvers(), ended: Promise.withResolvers() };
    const link = request.link ? Promise.withResolvers<Socket>() : undefined;
    link?.promise.catch(() => undefined); // it fails with the start
    this.#copies.set(number, copy);
    if (link !== undefined) this.#links.set(number, link);
    this.#write(line);
    const pid = await copy.started.promise;
    return {
      pid,
      link: await link?.promise,
      // By the one that waits for it: there the pid is nobody else's yet.
      kill: () => this.#write(lineOf({ kill: number })),
      ended: copy.ended.promise.then(({ code, signal }) => [code, signal]),
      failed: copy.ended.promise.then(({ code, enclosed }) => code === notEnclosed && !enclosed),
    };
  }

  /** For one that is to be asked no more: it ends with its last copy. */
  retire(): void {
    this.#retired = true;
    if (this.#copies.size === 0) this.kill("it was replaced");
  }

  /** Its copies die with it. */
  kill(why: string): void {
    this.#why ??= why;
    this.#child.kill("SIGKILL");
  }

  #write(line: Buffer): void {
    if (this.#requests.writable) this.#requests.write(line);
  }

  /** A copy's link, which begins with the number of its request. */
  #accept(socket: Socket): void {
    socket.on("error", () => undefined); // its end says all
    const look = (): void => {
      const head = socket.read(numberBytes) as Buffer | null;
      if (head === null) return;
      socket.off("readable", look);
      const number = Number(head.readBigUInt64BE());
      this.#links.get(number)?.resolve(socket);
      this.#links.delete(number);
    };
    socket.on("readable", look);
  }

  #readReports(): void {
    const decoder = new StringDecoder("utf8");
    let held = "";
    (this.#requests as Readable).on("data", (chunk: Buffer) => {
      const lines = (held + decoder.write(chunk)).split("\n");
      held = lines.pop()!;
      for (const line of lines) this.#take(JSON.parse(line) as Report);
    });
  }

  #take(report: Report): void {
    if ("ready" in report) {
      this.#ready.resolve();
    } else if ("broken" in report) {
      this.kill(report.broken);
    } else if ("started" in report) {
      this.#copies.get(report.started)?.started.resolve(report.pid);
    } else if ("failed" in report) {
      this.#copies.get(report.failed)?.started.reject(unavailable(report.message));
      this.#forget(report.failed);
      this.#links.delete(report.failed);
    } else {
      this.#copies.get(report.exited)?.ended.resolve({ code: report.code, signal: null, enclosed: report.enclosed });
      this.#forget(report.exited);
    }
  }

  #forget(number: number): void {
    this.#copies.delete(number);
    if (this.#retired) this.retire();
  }

  #lose(why: string): void {
    this.#ready.reject(unavailable(why));
    for (const { started, ended } of this.#copies.values()) {
      started.reject(unavailable(why));
      ended.resolve({ code: null, signal: "SIGKILL", enclosed: true });
    }
    for (const link of this.#links.values()) link.reject(unavailable(why));
    this.#copies.clear();
    this.#links.clear();
  }
}

interface Copy {
  readonly started: PromiseWithResolvers<number>;
  readonly ended: PromiseWithResolvers<End>;
}

interface End {
  readonly code: number | null;
  readonly signal: string | null;
  readonly enclosed: boolean;
}

type Report =
  | { readonly ready: number }
  | { readonly broken: string }
  | { readonly started: number; readonly pid: number }
  | { readonly failed: number; readonly message: string }
  | { readonly exited: number; readonly code: number; readonly enclosed: boolean };

function lineOf(message: object): Buffer {
  return Buffer.from(`${JSON.stringify(message)}\n`);
}

function unavailable(why: string): VirgaError {
  return new VirgaError("unavailable", `The zygote can make no copy: ${why}`);
}

const serverFile = fileURLToPath(new URL("./guest/start.py", import.meta.url));
/** `LONGEST_LINE` in guest/virga_zygote/messages.py. */
const longestLine = 2 ** 20;
/** Of a copy that could not enclose itself: `NOT_ENCLOSED` in guest/virga_zygote/enclosure.py. */
const notEnclosed = 126;
/** In front of each link. */
const numberBytes = 8;
const longestWord = 4096;
