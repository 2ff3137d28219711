import type { FunctionState, Revision } from "../../core/model.ts";
import type { DescribedFunction } from "../api.ts";
import { command, functionArgument, outputOption } from "../command.ts";
import { functionPath } from "../deployment.ts";
import { type Column, printList } from "../output.ts";
import { formatAge, formatDuration, formatSize } from "../units.ts";

export const revisions = command({
  name: "revisions",
  summary: "list a function's revisions, newest first",
  arguments: { function: functionArgument },
  options: { output: outputOption },
  async run({ client, namespace, terminal }, given, options) {
    const base = functionPath(namespace, given.function);
    const [{ function: state }, found] = await Promise.all([
      client.get<DescribedFunction>(base),
      client.list<Revision>(`${base}/revisions`),
    ]);
    const now = Date.now();
    const columns: Column<Revision>[] = [
      { title: "REVISION", value: ({ number }) => number, align: "right" },
      { title: "TRAFFIC", value: ({ number }) => weightText(state, number), align: "right" },
      { title: "TAG", value: ({ number }) => tagsText(state, number) },
      { title: "AGE", value: ({ createdAt }) => formatAge(createdAt, now), align: "right" },
      { title: "RUNTIME", value: ({ config }) => config.runtime },
      { title: "CODE", value: ({ source }) => source.slice(0, 12) },
      { title: "SIZE", value: ({ build }) => formatSize(build.sizeBytes), align: "right" },
      {
        title: "BUILD",
        value: ({ build }) => (build.cached ? "reused" : formatDuration(build.durationMs)),
        wide: true,
      },
      { title: "HANDLER", value: ({ config }) => config.handler, wide: true },
    ];
    await printList(terminal, options.output ?? "table", found, columns, "no revisions");
  },
});

function weightText({ traffic }: FunctionState, revision: number): string {
  const weight = traffic.filter((target) => target.revision === revision).reduce((sum, one) => sum + one.weight, 0);
  return weight === 0 ? "-" : `${weight} %`;
}

function tagsText({ traffic }: FunctionState, revision: number): string | undefined {
  const tags = traffic.flatMap((target) => (target.revision === revision && target.tag ? [target.tag] : []));
  return tags.length === 0 ? undefined : tags.join(" ");
}
