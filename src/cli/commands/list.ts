import type { ListedFunction } from "../api.ts";
import { path } from "../client.ts";
import { command, outputOption } from "../command.ts";
import { functionUrl } from "../deployment.ts";
import { type Column, printList } from "../output.ts";
import { formatAge, formatDuration } from "../units.ts";

export const list = command({
  name: "list",
  summary: "list the functions",
  arguments: {},
  options: { output: outputOption },
  async run({ client, terminal, namespace }, _given, options) {
    const functions = await client.list<ListedFunction>(path`/v1/namespaces/${namespace}/functions`);
    const now = Date.now();
    const columns: Column<ListedFunction>[] = [
      { title: "NAME", value: ({ name }) => name },
      { title: "RUNTIME", value: ({ config }) => config?.runtime },
      { title: "REVISION", value: ({ latestRevision }) => latestRevision, align: "right" },
      { title: "TRAFFIC", value: trafficText },
      {
        title: "ACCESS",
        value: ({ config }) => (config === undefined ? undefined : config.public ? "public" : "token"),
      },
      { title: "UPDATED", value: ({ updatedAt }) => formatAge(updatedAt, now), align: "right" },
      { title: "MEMORY", value: ({ config }) => config && `${config.limits.memoryMb} MiB`, wide: true, align: "right" },
      { title: "TIMEOUT", value: ({ config }) => config && formatDuration(config.limits.timeoutMs), wide: true },
      {
        title: "INSTANCES",
        value: ({ config }) => config && `${config.scaling.min}–${config.scaling.max}`,
        wide: true,
      },
      { title: "URL", value: ({ name }) => functionUrl(client, namespace, name), wide: true },
      { title: "DESCRIPTION", value: ({ config }) => config?.description, wide: true },
    ];
    const empty = `no functions in namespace ${namespace}; \`virga new hello && virga deploy hello\` makes one`;
    await printList(terminal, options.output ?? "table", functions, columns, empty);
  },
});

function trafficText({ traffic, followLatest }: ListedFunction): string {
  const [only] = traffic;
  if (followLatest && traffic.length <= 1) return "latest";
  if (traffic.length === 1 && only !== undefined) return `${only.revision}`;
  return traffic.map(({ revision, weight, tag }) => `${revision}=${weight}%${tag ? `:${tag}` : ""}`).join(" ");
}
