import { VirgaError } from "../../core/errors.ts";
import type { FollowedLine } from "../api.ts";
import { command, functionArgument } from "../command.ts";
import { functionPath } from "../deployment.ts";
import { logLine } from "../log-line.ts";
import { parseMoment } from "../units.ts";

export const logs = command({
  name: "logs",
  summary: "what a function wrote",
  examples: ["virga logs hello -f", "virga logs hello --since 10m", "virga logs hello --invocation ID -o json"],
  arguments: { function: functionArgument },
  options: {
    follow: { kind: "flag", short: "f", summary: "go on with what is written from now on" },
    since: { kind: "text", placeholder: "when", summary: "10m, 2h, or an ISO date (1h)" },
    invocation: { kind: "text", placeholder: "id", summary: "only the lines of this call" },
    output: {
      kind: "text",
      short: "o",
      placeholder: "format",
      summary: "json: a line of JSON each",
      choices: ["json"],
    },
  },
  async run({ client, namespace, terminal }, given, options) {
    const since = parseMoment(options.since ?? "1h", Date.now());
    if (since === undefined) {
      throw new VirgaError("bad_request", `--since takes 10m, 2h or a date, not "${options.since}"`, {
        field: "since",
      });
    }
    const lines = client.lines<FollowedLine | { kind?: string }>(
      "GET",
      `${functionPath(namespace, given.function)}/logs`,
      {
        query: { follow: options.follow, since },
        signal: terminal.hangup,
      },
    );
    for await (const line of lines) {
      // Heartbeats keep the connection open and say nothing.
      if (!("text" in line)) continue;
      if (options.invocation !== undefined && line.invocation !== options.invocation) continue;
      await terminal.write(options.output === "json" ? `${JSON.stringify(line)}\n` : `${logLine(terminal, line)}\n`);
    }
  },
});
