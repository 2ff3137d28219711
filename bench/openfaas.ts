import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { goClient } from "../test/clients/clients.ts";
import { Faas } from "../test/dialects/openfaas/faas.ts";
import { median, spread } from "./figures.ts";
import { load } from "./load.ts";
import type { Report } from "./run.ts";

export const name = "openfaas";

const rounds = 5;
const seconds = 2;
const connections = 16;
/** A process per call brings little code to its compiler's notice. */
const warmUpSeconds = 10;

const templates = join(import.meta.dirname, "../src/dialects/openfaas/templates");
const handler = `module.exports = async (event, context) => context.status(200).succeed({ echo: event.body.a });\n`;
const post = {
  method: "POST",
  body: '{"a":1}',
  seconds,
  headers: { "content-type": "application/json" },
  expect: '{"echo":1}',
};
const plain = {
  method: "POST",
  body: "hello!!",
  seconds,
  headers: { "content-type": "text/plain" },
  expect: "hello!!",
};

/**
 * The node22 template and a process per call (`cat`) on this platform, against OpenFaaS's own parts: the template's Express server
 * behind a faas-provider proxy. With `WATCHDOG`, a path to a real of-watchdog, that stands in between, and is the peer of `cat`.
 */
export async function measure(report: Report): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "virga-bench-"));
  const running: ChildProcess[] = [];
  const faas = await Faas.start();
  try {
    const ours = portOf(faas.gateway);
    await deploy(faas);
    const express = await startExpress(folder, running);
    const watchdog = process.env["WATCHDOG"];
    const upstream = { fprocess: "cat", mode: "http", upstream_url: `http://127.0.0.1:${express}` };
    const behind = watchdog === undefined ? express : await startWatchdog(watchdog, running, upstream);
    const peer = await startProvider(behind, running);
    const sides = {
      "Express alone": { ...post, port: express, path: "/" },
      peer: { ...post, port: peer, path: "/function/echo" },
      virga: { ...post, port: ours, path: "/function/echo" },
    };
    report("between Express and the provider", watchdog === undefined ? "nothing" : "of-watchdog");
    await compare(report, "node22", sides);
    if (watchdog === undefined) {
      report("cat, a process per call", "not compared: set WATCHDOG to a real of-watchdog");
      return;
    }
    // The port of its metrics is fixed: there can be one at a time.
    await Promise.all(running.splice(0).map(end));
    const forking = await startWatchdog(watchdog, running, { fprocess: "cat", mode: "serializing" });
    await compare(report, "cat", {
      peer: { ...plain, port: await startProvider(forking, running), path: "/function/cat" },
      virga: { ...plain, port: ours, path: "/function/cat" },
    });
  } finally {
    await Promise.all(running.map(end));
    await faas.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

type Load = Omit<Parameters<typeof load>[0], "connections">;

/** All warmed up, each side in turn, first one call at a time, then many. */
async function compare(report: Report, what: string, sides: Readonly<Record<string, Load>>): Promise<void> {
  const latency = new Map<string, number[]>();
  const rate = new Map<string, number[]>();
  for (const [side] of Object.entries(sides)) {
    latency.set(side, []);
    rate.set(side, []);
  }
  for (const one of Object.values(sides)) await load({ ...one, connections, seconds: warmUpSeconds });
  for (let round = 0; round < rounds; round++)
    for (const [side, one] of Object.entries(sides)) {
      const alone = await load({ ...one, connections: 1 });
      const many = await load({ ...one, connections });
      latency.get(side)!.push(median(alone));
      rate.get(side)!.push(many.length / seconds);
    }
  for (const side of Object.keys(sides)) {
    report(`${what}, ${side}: ms, one at a time`, spread(latency.get(side)!, 3));
    report(`${what}, ${side}: calls per second, ${connections} at a time`, spread(rate.get(side)!));
  }
  const [peer, virga] = [rate.get("peer")!, rate.get("virga")!];
  report(
    `${what}: throughput, virga ÷ peer`,
    spread(
      virga.map((value, index) => value / peer[index]!),
      2,
    ),
  );
  const floor = latency.get("Express alone");
  if (floor === undefined) return;
  const added = (side: string): number[] => latency.get(side)!.map((value, index) => value - floor[index]!);
  const theirs = added("peer");
  report(`${what}: added to Express alone, peer, ms`, spread(theirs, 3));
  report(`${what}: added to Express alone, virga, ms`, spread(added("virga"), 3));
}

async function deploy(faas: Faas): Promise<void> {
  const folder = faas.folderWith("node22");
  await faas.ok(["new", "echo", "--lang", "node22"], { cwd: folder });
  writeFileSync(join(folder, "echo/handler.js"), handler);
  const one = ["--label", "com.openfaas.scale.min=1", "--label", "com.openfaas.scale.max=1"];
  await faas.buildUp(folder, "echo.yml", ...one);
  await faas.deploy("cat", "cat", { labels: { "com.openfaas.scale.min": "1", "com.openfaas.scale.max": "1" } });
}

async function startExpress(folder: string, running: ChildProcess[]): Promise<number> {
  cpSync(join(templates, "node22"), folder, { recursive: true });
  writeFileSync(join(folder, "function/handler.js"), handler);
  const installed = spawnSync("npm", ["i", "--omit=dev", "--no-audit", "--no-fund"], { cwd: folder, encoding: "utf8" });
  if (installed.status !== 0) throw new Error(installed.stderr);
  const port = await freePort();
  const environment = { ...process.env, http_port: String(port), NODE_ENV: "production" };
  running.push(spawn(process.execPath, ["index.js"], { cwd: folder, env: environment, stdio: "ignore" }));
  await accepting(port);
  return port;
}

async function startWatchdog(
  program: string,
  running: ChildProcess[],
  settings: Readonly<Record<string, string>>,
): Promise<number> {
  const port = await freePort();
  const environment = { PATH: process.env["PATH"] ?? "", port: String(port), http_log: "false", ...settings };
  running.push(spawn(program, [], { env: environment, stdio: "ignore" }));
  await accepting(port);
  return port;
}

async function startProvider(upstream: number, running: ChildProcess[]): Promise<number> {
  const port = await freePort();
  const parameters = [`127.0.0.1:${port}`, `http://127.0.0.1:${upstream}`];
  running.push(spawn(await goClient("openfaas-provider"), parameters, { stdio: "ignore" }));
  await accepting(port);
  return port;
}

function end(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    child.once("exit", () => resolve());
    child.kill("SIGKILL");
  });
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}

async function accepting(port: number): Promise<void> {
  for (let tries = 0; tries < 400; tries++) {
    try {
      await fetch(`http://127.0.0.1:${port}/_/health`);
      return;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
  }
  throw new Error(`nothing listens on port ${port}`);
}

function portOf(url: string): number {
  return Number(new URL(url).port);
}
