import type { FunctionState } from "../../core/model.ts";
import { VirgaError } from "../../core/errors.ts";
import { command, functionArgument } from "../command.ts";
import { functionPath } from "../deployment.ts";

export const rollback = command({
  name: "rollback",
  summary: "give all traffic to an earlier revision",
  examples: ["virga rollback hello      the one before", "virga rollback hello 3"],
  arguments: {
    function: functionArgument,
    revision: { kind: "optional", summary: "its number; the one before where absent" },
  },
  options: {},
  async run({ client, namespace, terminal }, given) {
    const revision = given.revision === undefined ? undefined : Number(given.revision);
    if (revision !== undefined && (!Number.isInteger(revision) || revision < 1)) {
      throw new VirgaError("bad_request", `"${given.revision}" is no revision number`, {
        field: "revision",
        fix: `\`virga revisions ${given.function}\` lists them`,
      });
    }
    const state = await client.json<FunctionState>("POST", `${functionPath(namespace, given.function)}/rollback`, {
      json: revision === undefined ? {} : { revision },
    });
    const serving = state.traffic.filter(({ weight }) => weight > 0).map((target) => target.revision);
    terminal.print(`${state.name} serves revision ${serving.join(", ")}`);
  },
});
