import type { ServerInfo } from "../api.ts";
import { command, outputOption } from "../command.ts";
import { printData, printFields } from "../output.ts";
import { formatAge } from "../units.ts";

export const status = command({
  name: "status",
  summary: "which server this is and how it is",
  arguments: {},
  options: { output: outputOption },
  async run({ client, terminal, namespace }, _given, options) {
    const info = await client.get<ServerInfo>("/v1");
    if (options.output === "json" || options.output === "yaml") return printData(terminal, options.output, info);
    printFields(terminal, {
      server: client.url,
      version: `${info.name} ${info.version}, node ${info.node}`,
      sandbox: info.sandbox,
      up: formatAge(info.startedAt, Date.now()),
      namespace,
    });
    return undefined;
  },
});
