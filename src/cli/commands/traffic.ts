import type { FunctionState, TrafficTarget } from "../../core/model.ts";
import { VirgaError } from "../../core/errors.ts";
import type { DescribedFunction } from "../api.ts";
import { command, functionArgument, outputOption } from "../command.ts";
import { functionPath } from "../deployment.ts";
import { printList } from "../output.ts";

export const traffic = command({
  name: "traffic",
  summary: "show or set how calls are split over revisions",
  examples: [
    "virga traffic hello",
    "virga traffic hello 3=90 4=10",
    "virga traffic hello 3=100 4=0:canary     4 is reached by its tag alone",
  ],
  arguments: {
    function: functionArgument,
    targets: { kind: "rest", summary: "revision=percent[:tag]; the percents add up to 100" },
  },
  options: { output: outputOption },
  async run({ client, namespace, terminal }, given, options) {
    const base = functionPath(namespace, given.function);
    let state: FunctionState;
    if (given.targets.length === 0) {
      state = (await client.get<DescribedFunction>(base)).function;
    } else {
      const targets = given.targets.map(parseTarget);
      const sum = targets.reduce((total, { weight }) => total + weight, 0);
      if (sum !== 100) {
        throw new VirgaError("invalid_field", `the percents add up to ${sum}, not to 100`, { field: "targets" });
      }
      state = await client.json("PUT", `${base}/traffic`, { json: { targets } });
    }
    await printList(
      terminal,
      options.output ?? "table",
      state.traffic,
      [
        { title: "REVISION", value: ({ revision }) => revision, align: "right" },
        { title: "TRAFFIC", value: ({ weight }) => `${weight} %`, align: "right" },
        { title: "TAG", value: ({ tag }) => tag },
      ],
      "no traffic",
    );
  },
});

export function parseTarget(text: string): TrafficTarget {
  const match = /^(\d+)=(\d+)%?(?::([\w-]+))?$/.exec(text);
  if (match === null) {
    throw new VirgaError("bad_request", `"${text}" is not of the form revision=percent or revision=percent:tag`, {
      field: "targets",
      fix: "write 3=90 4=10:canary",
    });
  }
  const [, revision, weight, tag] = match;
  return { revision: Number(revision), weight: Number(weight), ...(tag === undefined ? {} : { tag }) };
}
