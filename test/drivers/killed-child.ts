import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { setTimeout as pause } from "node:timers/promises";

/** Runs a script in a process of its own, kills it with SIGKILL `afterMs` after its first line, and gives every whole line it wrote. */
export async function killedChild(script: string, parameters: readonly string[], afterMs: number): Promise<string[]> {
  const child = spawn(process.execPath, [script, ...parameters], { stdio: ["ignore", "pipe", "inherit"] });
  const ended = new Promise<NodeJS.Signals | null>((resolve) => child.once("exit", (_code, signal) => resolve(signal)));
  const lines: string[] = [];
  const reader = createInterface({ input: child.stdout });
  const started = new Promise<void>((resolve) => {
    reader.on("line", (line) => {
      lines.push(line);
      resolve();
    });
  });
  const read = new Promise<void>((resolve) => reader.once("close", resolve));
  await Promise.race([started, ended]);
  await pause(afterMs);
  child.kill("SIGKILL");
  const signal = await ended;
  await read;
  if (signal !== "SIGKILL") throw new Error(`${script} ended by itself:\n${lines.slice(-20).join("\n")}`);
  // A line that the kill cut off has no end, and says nothing.
  return lines.filter((line) => line.endsWith(";")).map((line) => line.slice(0, -1));
}
