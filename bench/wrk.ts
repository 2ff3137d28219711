import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Whether this host has `wrk`, which costs a fifth of what a client in this process does and leaves the processors to both sides. */
export const hasWrk = spawnSync("wrk", ["--version"], { stdio: "ignore" }).error === undefined;

/** Calls per second by `wrk`, one thread of it. Rejects where an answer is no 2xx or 3xx. */
export async function wrkRate(options: {
  readonly port: number;
  readonly path: string;
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly connections: number;
  readonly seconds: number;
}): Promise<number> {
  const { port, path, method, headers, body, connections, seconds } = options;
  const folder = mkdtempSync(join(tmpdir(), "virga-bench-"));
  const script = join(folder, "request.lua");
  const lines = [`wrk.method = ${JSON.stringify(method)}`, `wrk.body = ${JSON.stringify(body)}`];
  for (const [name, value] of Object.entries(headers))
    lines.push(`wrk.headers[${JSON.stringify(name)}] = ${JSON.stringify(value)}`);
  writeFileSync(script, lines.join("\n"));
  try {
    const parameters = ["-t1", `-c${connections}`, `-d${seconds}s`, "-s", script, `http://127.0.0.1:${port}${path}`];
    const child = spawn("wrk", parameters, { stdio: ["ignore", "pipe", "inherit"] });
    let said = "";
    child.stdout.on("data", (chunk: Buffer) => (said += chunk.toString()));
    await new Promise((resolve) => child.once("close", resolve));
    const rate = Number(/^Requests\/sec:\s+([\d.]+)/m.exec(said)?.[1]);
    if (!(rate > 0) || /Non-2xx|Socket errors/.test(said)) throw new Error(`wrk: ${said}`);
    return rate;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
