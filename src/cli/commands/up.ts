import { command } from "../command.ts";
import { deployExamples } from "../examples.ts";
import { ownName, packageVersion } from "../locations.ts";
import { sandboxes, startPlatform } from "../platform.ts";

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
      terminal.print(`  API     ${bold(platform.url)}`);
      terminal.print(`  Token   ${platform.tokenFile}`);
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

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
