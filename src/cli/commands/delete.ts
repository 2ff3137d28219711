import { VirgaError } from "../../core/errors.ts";
import { confirmed } from "../ask.ts";
import { command, functionArgument, yesOption } from "../command.ts";
import { functionPath } from "../deployment.ts";
import { exit } from "../exit.ts";

export const remove = command({
  name: "delete",
  summary: "delete functions with all their revisions",
  arguments: { function: functionArgument, more: { kind: "rest", summary: "and these", completes: "function" } },
  options: { yes: yesOption, ignoreMissing: { kind: "flag", summary: "succeed where one is not there" } },
  async run({ client, namespace, terminal }, given, options) {
    const names = [given.function, ...given.more];
    if (!(await confirmed(terminal, `Delete ${names.join(", ")} in namespace ${namespace}?`, options.yes))) {
      terminal.note("nothing was deleted");
      return exit.failed;
    }
    for (const name of names) {
      try {
        await client.json("DELETE", functionPath(namespace, name));
      } catch (error) {
        const missing = error instanceof VirgaError && error.code === "not_found";
        if (!missing || !options.ignoreMissing) throw error;
        continue;
      }
      terminal.print(`deleted ${name}`);
    }
    return exit.ok;
  },
});
