import { connect } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { Platform } from "../test/platform/harness.ts";
import { quantile, spread } from "./figures.ts";
import { cpuSecondsOfTree } from "./processes.ts";
import type { Report } from "./run.ts";

export const name = "async";

const rounds = 5;
const calls = 16_000;
const connections = 64;
/** Requests that a connection sends in one piece: a client that waits for each answer, and one that pipelines. */
const depths = { "one at a time": 1, "16 in one piece": 16 };
const singles = 150;

/** Durable asynchronous calls end to end: 202 after fsync, run by a warm sandboxed function, settled on disk. */
export async function measure(report: Report): Promise<void> {
  const platform = await Platform.start();
  try {
    const settings = { runtime: "node", limits: { concurrency: 64 }, scaling: { min: 1, max: 1 } };
    await platform.deploy("work", { "index.mjs": `export default async (request) => request.text();` }, settings);
    const client = new Client(platform);
    let sent = 0;
    for (const [kind, depth] of Object.entries(depths)) {
      const accepted: number[] = [];
      const settled: number[] = [];
      const perCpu: number[] = [];
      const clientShare: number[] = [];
      for (let round = -1; round < rounds; round++) {
        const cpu = cpuSecondsOfTree(platform.pid);
        const own = process.cpuUsage();
        const started = performance.now();
        const last = await client.sendAll(calls, depth);
        const acceptedAt = performance.now();
        for (const id of last) await client.untilSettled(id, 5);
        const settledAt = performance.now();
        const used = cpuSecondsOfTree(platform.pid) - cpu;
        const { user, system } = process.cpuUsage(own);
        sent += calls;
        await checkUsage(platform, sent);
        // The first round warms up.
        if (round < 0) continue;
        accepted.push((calls / (acceptedAt - started)) * 1000);
        settled.push((calls / (settledAt - started)) * 1000);
        perCpu.push(calls / used);
        clientShare.push((user + system) / calls);
      }
      const clients = `${connections} connections, ${kind}`;
      report(`${clients}: accepted per second`, spread(accepted));
      report(`${clients}: settled per second, from the first request to the last settlement`, spread(settled));
      report(`${clients}: settled per CPU-second (server and instance together)`, spread(perCpu));
      report(`${clients}: the client's own CPU per call (µs)`, spread(clientShare));
    }
    const accepting: number[] = [];
    const settling: number[] = [];
    for (let n = 0; n < singles; n++) {
      const started = performance.now();
      const [id] = await client.sendAll(1, 1);
      const acceptedAt = performance.now();
      await client.untilSettled(id ?? "", 0);
      accepting.push(acceptedAt - started);
      settling.push(performance.now() - acceptedAt);
    }
    for (const [what, values] of Object.entries({
      "request to 202": accepting,
      "202 to settled, as its status tells": settling,
    }))
      report(
        `at one in flight, ${what}, p50 / p99 (ms)`,
        [0.5, 0.99].map((q) => quantile(values, q).toFixed(2)).join(" / "),
      );
  } finally {
    await platform.stop();
  }
}

/** Every call counts once: usage is folded from the records on disk. */
async function checkUsage(platform: Platform, sent: number): Promise<void> {
  const { items } = (await platform.request("/v1/namespaces/default/usage?function=work")).json();
  const counted = items.reduce((sum: number, { requests }: { requests: number }) => sum + requests, 0);
  if (counted !== sent) throw new Error(`${sent} calls were accepted, ${counted} have a record`);
}

/** Keep-alive connections with as little work for each call as can be, so that the server's cost shows. */
export class Client {
  readonly #platform: Platform;
  readonly #request: string;

  constructor(platform: Platform) {
    this.#platform = platform;
    const head = `host: ${new URL(platform.url).host}\r\nauthorization: Bearer ${platform.token}\r\n`;
    this.#request = `POST /f/default/work/ HTTP/1.1\r\n${head}prefer: respond-async\r\ncontent-length: 5\r\n\r\nhello`;
  }

  /** Sends so many calls; gives each connection's last id, all of them accepted. */
  async sendAll(count: number, depth: number): Promise<string[]> {
    let left = count;
    const take = (): number => {
      const taken = Math.min(depth, left);
      left -= taken;
      return taken;
    };
    return await Promise.all(Array.from({ length: Math.min(connections, count) }, () => this.#drive(take)));
  }

  #drive(take: () => number): Promise<string> {
    const { hostname, port } = new URL(this.#platform.url);
    return new Promise((done, failed) => {
      let open = 0;
      let received = "";
      let last = "";
      const socket = connect({ port: Number(port), host: hostname, noDelay: true });
      const send = (): void => {
        open = take();
        if (open === 0) socket.end(() => done(last));
        else socket.write(this.#request.repeat(open));
      };
      socket.once("connect", send);
      socket.on("data", (chunk: Buffer) => {
        received += chunk.toString("latin1");
        for (let end = answerEnd(received); end > 0; end = answerEnd(received)) {
          if (!received.startsWith("HTTP/1.1 202")) {
            socket.destroy();
            return failed(new Error(`unexpected answer: ${received.slice(0, 500)}`));
          }
          if (--open === 0) last = /"id":"([^"]+)"/.exec(received)?.[1] ?? "";
          received = received.slice(end);
        }
        if (open === 0) send();
      });
      socket.on("error", failed);
    });
  }

  /** Asks every `everyMs` whether a call is settled: its record written, and its message done. */
  async untilSettled(id: string, everyMs: number): Promise<void> {
    for (;;) {
      const status = (await this.#platform.record(id))?.status;
      if (status === "succeeded") return;
      if (status !== "queued" && status !== "running") throw new Error(`call ${id} is ${status}`);
      if (everyMs > 0) await pause(everyMs);
    }
  }
}

/** Where the first whole answer in the text ends; 0 where there is none. */
function answerEnd(text: string): number {
  const head = text.indexOf("\r\n\r\n");
  if (head < 0) return 0;
  const length = /\r\ncontent-length: (\d+)/i.exec(text)?.[1];
  const end = head + 4 + Number(length);
  return end <= text.length ? end : 0;
}
