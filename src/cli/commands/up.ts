import { writeFileSync } from "node:fs";
import { command } from "../command.ts";
import { deployExamples } from "../examples.ts";
import { ownName, packageVersion } from "../locations.ts";
import { type RunningPlatform, sandboxes, startPlatform } from "../platform.ts";
import type { Terminal } from "../terminal.ts";

export const up = command({
  name: "up",
  summary: "start the platform on this machine",
  examples: ["virga up", "virga up --examples", "virga up --port 0 --data ./state --log-level info"],
  arguments: {},
  options: {
    host: { kind: "text", summary: "address to listen on (127.0.0.1)" },
    port: { kind: "number", summary: "port to listen on, 0 for any (VIRGA_PORT, 7766)" },
    data: { kind: "text", placeholder: "folder", summary: "where the state lies" },
    config: { kind: "text", placeholder: "file", summary: "the operator's configuration" },
    sandbox: { kind: "text", summary: "what encloses functions", choices: sandboxes },
    logLevel: { kind: "text", placeholder: "level", summary: "warn", choices: ["debug", "info", "warn", "error"] },
    openwhiskPort: { kind: "number", placeholder: "port", summary: "port for OpenWhisk's clients, 0 for any (3233)" },
    openfaasPort: { kind: "number", placeholder: "port", summary: "port for OpenFaaS's clients, 0 for any (8080)" },
    wskprops: { kind: "text", placeholder: "file", summary: "write a .wskprops for OpenWhisk's clients" },
    examples: { kind: "flag", summary: "deploy the examples and say what to try" },
  },
  async run({ terminal, signal, namespace }, _given, options) {
    const started = performance.now();
    const platform = await startPlatform(options, terminal.environment);
    const bold = (text: string): string => terminal.style("bold", text);
    try {
      const took = ((performance.now() - started) / 1000).toFixed(1);
      terminal.print(`${bold(`Virga ${packageVersion()}`)} is up (${took} s, sandbox: ${platform.sandbox.name})`);
      terminal.print("");
      terminal.print(row("API", bold(platform.url)));
      terminal.print(row("Token", platform.tokenFile));
      for (const dialect of platform.dialects) printDialect(terminal, dialect, options.wskprops);
      if (options.examples) await deployExamples(terminal, platform, namespace, signal);
      terminal.print("");
      terminal.print(`Next: ${ownName()} new hello && ${ownName()} deploy hello. Ctrl-C stops the platform.`);
      await aborted(signal);
      terminal.note("stopping: calls that run may end; press Ctrl-C again to stop at once");
    } finally {
      await platform.close();
    }
  },
});

function row(name: string, text: string): string {
  return `  ${name.padEnd(9)}  ${text}`;
}

function printDialect(
  terminal: Terminal,
  { name, url, problem, credential, files }: RunningPlatform["dialects"][number],
  wskprops: string | undefined,
): void {
  if (url === undefined) {
    terminal.note(`  ${name} is not served: ${problem ?? "its port could not be had"}`);
    return;
  }
  terminal.print(row(name, url));
  if (files?.["password"] !== undefined) {
    const where = url.endsWith(":8080") ? "" : ` --gateway ${url}`;
    terminal.print(row("", `faas-cli login${where} --password-stdin < ${files["password"]}`));
    terminal.print(
      row("", `faas-cli up${where} --remote-builder ${url}/build --payload-secret ${files["payloadSecret"] ?? ""}`),
    );
  }
  if (credential === undefined) return;
  terminal.print(row("", `wsk property set --apihost ${url} --auth ${credential}`));
  if (wskprops === undefined) return;
  writeFileSync(wskprops, `APIHOST=${url}\nAUTH=${credential}\nNAMESPACE=_\n`, { mode: 0o600 });
  terminal.print(row("", `written to ${wskprops}`));
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
