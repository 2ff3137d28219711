import { spawn, spawnSync } from "node:child_process";
import type { Readable } from "node:stream";
import type { Log } from "../../../ports/log.ts";

/** A way out of one network namespace. */
export interface Outbound {
  close(): void;
}

/**
 * Gives programs with a network of their own a way out, by `slirp4netns`: TCP and UDP through this server's own network, the host's
 * resolver at `resolver`, the host's loopback at `host`. Undefined where the program is not on this host.
 */
/** `before`: what goes in front of its command. */
export function findOutbound(log: Log, before: () => readonly string[] = () => []): OutboundNetworks | undefined {
  const { status } = spawnSync("slirp4netns", ["--version"], { stdio: "ignore" });
  return status === 0 ? new OutboundNetworks(log, before) : undefined;
}

/** Fixed by slirp4netns. */
export const outboundAddresses = { host: "10.0.2.2", resolver: "10.0.2.3" } as const;

export class OutboundNetworks {
  readonly #log: Log;
  readonly #before: () => readonly string[];
  /** Reasons that the log has. */
  readonly #said = new Set<string>();

  constructor(log: Log, before: () => readonly string[]) {
    this.#log = log;
    this.#before = before;
  }

  /**
   * Opens the network namespace of a process to the outside; resolves when its interface is up. Where that cannot be done the
   * program goes on without, and the platform's log says why.
   */
  async open(pid: number): Promise<Outbound | undefined> {
    const asRoot = process.getuid?.() === 0;
    const [program, ...first] = [...this.#before(), "slirp4netns"];
    const child = spawn(
      program,
      [
        ...first,
        "--configure",
        // What it is sent comes from the program: it keeps nothing that it could be talked into using.
        ...(asRoot ? ["--enable-sandbox", "--enable-seccomp"] : ["--enable-seccomp"]),
        `--mtu=${largestMtu}`,
        "--ready-fd=3",
        "--exit-fd=4",
        "--netns-type=path",
        ...(asRoot ? [] : [`--userns-path=/proc/${pid}/ns/user`]),
        `/proc/${pid}/ns/net`,
        "tap0",
      ],
      // The last one's other end is ours: it closes with this server, and slirp4netns ends.
      { stdio: ["ignore", "ignore", "pipe", "pipe", "pipe"], detached: true },
    );
    let said = "";
    const isUp = await new Promise<boolean>((resolve) => {
      child.once("error", (error) => {
        said = error.message;
        resolve(false);
      });
      child.once("exit", () => resolve(false));
      setTimeout(() => {
        said ||= `slirp4netns says nothing for ${patienceMs} ms`;
        resolve(false);
      }, patienceMs).unref();
      // Where it could not be spawned there are none.
      const streams = (child.stdio as typeof child.stdio | undefined) ?? [];
      for (const stream of streams) stream?.on("error", () => undefined);
      child.stderr?.on("data", (chunk: Buffer) => (said = (said + chunk.toString()).slice(-longestReason)));
      (streams[3] as Readable | undefined)?.once("data", () => resolve(true));
    });
    const close = (): void => void child.kill("SIGKILL");
    if (isUp) return { close };
    close();
    const reason = said.trim();
    // The same for all of them, mostly.
    if (!this.#said.has(reason)) this.#log.warn("functions with network `own` have no way out of it", { reason });
    this.#said.add(reason);
    return undefined;
  }
}

const largestMtu = 65_520;
const longestReason = 1000;
/** Mostly it takes some 10 ms. */
const patienceMs = 10_000;
