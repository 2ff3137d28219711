import type { Scaling } from "../../core/model.ts";
import type { DescribedFunction } from "../api.ts";
import { command, functionArgument, outputOption } from "../command.ts";
import { functionPath } from "../deployment.ts";
import { printData, printFields } from "../output.ts";
import { formatAge, formatDuration, formatSize } from "../units.ts";

export const describe = command({
  name: "describe",
  summary: "everything about a function: settings, traffic, instances, scaling decisions",
  arguments: { function: functionArgument },
  options: {
    scaling: { kind: "flag", summary: "only how it scales: its policy, and why instances started and stopped" },
    output: outputOption,
  },
  async run({ client, terminal, namespace }, given, options) {
    const described = await client.get<DescribedFunction>(functionPath(namespace, given.function));
    if (options.output === "json" || options.output === "yaml") {
      return printData(terminal, options.output, described);
    }
    const { function: state, revision, instances, waiting, decisions, url } = described;
    const { config, build } = revision;
    const { limits, scaling } = config;
    const now = Date.now();
    const when = (at: number): string => formatAge(at, now).replace(/(?<!now)$/, " ago");
    const reasons = decisions.map((one) => `${when(one.at)}: ${one.from} → ${one.to}, ${one.reason}`);
    if (options.scaling) {
      printFields(terminal, {
        name: `${state.namespace}/${state.name}`,
        scaling: scalingLine(scaling),
        policy: policyLines(scaling),
        instances: `${instances.length}, ${waiting} calls waiting`,
        decisions: listed(reasons, "\n") ?? "none yet",
      });
      return undefined;
    }
    printFields(terminal, {
      name: `${state.namespace}/${state.name}`,
      description: config.description,
      url,
      access: config.public ? "public" : "needs a token",
      runtime: `${config.runtime}, ${config.convention}, ${config.handler}${config.bundle === true ? ", bundled" : ""}`,
      revision: `${revision.number} of ${state.latestRevision}, ${formatAge(revision.createdAt, now)} old`,
      code: `${revision.source.slice(0, 12)}, ${build.fileCount} files, ${formatSize(build.sizeBytes)}, ${
        build.cached ? "build reused" : `built in ${formatDuration(build.durationMs)}`
      }`,
      traffic: state.traffic
        .map((target) => `revision ${target.revision}: ${target.weight} %${target.tag ? `, tag ${target.tag}` : ""}`)
        .concat(state.followLatest ? "new revisions take it" : "set by hand")
        .join("\n"),
      limits: [
        `${limits.memoryMb} MiB, ${limits.cpus} CPU, timeout ${formatDuration(limits.timeoutMs)}`,
        `${limits.concurrency} calls at once in each instance, ${limits.queueLength} may wait`,
        `request ${formatSize(limits.requestBytes)}, answer ${formatSize(limits.responseBytes)}, log ${formatSize(limits.logBytes)}`,
      ].join("\n"),
      scaling: scalingLine(scaling),
      network: config.network,
      environment: listed(Object.keys(config.environment)),
      secrets: listed(config.secrets),
      labels: listed(Object.entries(config.labels).map(([name, value]) => `${name}=${value}`)),
      instances:
        instances.length === 0
          ? "none; the next call starts one"
          : instances
              .map(
                (one) =>
                  `${one.id}  revision ${one.revision}  ${one.state}  ${one.running} running  up ${formatAge(one.startedAt, now)}`,
              )
              .join("\n"),
      waiting: waiting > 0 ? `${waiting} calls` : undefined,
      decisions: listed(reasons.slice(0, 5), "\n"),
    });
    return undefined;
  },
});

function scalingLine({ min, max, keepAliveMs, keepAlive, policy }: Scaling): string {
  const kept =
    keepAlive === undefined || keepAlive.policy === "fixed" ? formatDuration(keepAliveMs) : `by ${keepAlive.policy}`;
  return `${min} to ${max} instances by ${policy}, kept ${kept} when idle`;
}

/** The settings of the policy that is used, one a line. */
function policyLines(scaling: Scaling): string | undefined {
  const group = scaling.policy === "demand" ? undefined : scaling[scaling.policy];
  return listed(
    Object.entries(group ?? {}).map(([key, value]) => `${key}: ${JSON.stringify(value)}`),
    "\n",
  );
}

function listed(words: readonly string[], separator = ", "): string | undefined {
  return words.length === 0 ? undefined : words.join(separator);
}
