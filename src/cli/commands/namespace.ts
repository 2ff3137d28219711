import type { Namespace } from "../../core/model.ts";
import { confirmed } from "../ask.ts";
import { path } from "../client.ts";
import { command, outputOption, yesOption } from "../command.ts";
import { exit } from "../exit.ts";
import { printList } from "../output.ts";
import { formatAge } from "../units.ts";

const nameArgument = { kind: "required", summary: "its name", completes: "namespace" } as const;

export const namespaceList = command({
  name: "namespace list",
  summary: "list the namespaces (administrator)",
  arguments: {},
  options: { output: outputOption },
  async run({ client, terminal }, _given, options) {
    await printList(
      terminal,
      options.output ?? "table",
      await client.list<Namespace>("/v1/namespaces"),
      [
        { title: "NAME", value: ({ name }) => name },
        { title: "AGE", value: ({ createdAt }) => formatAge(createdAt, Date.now()), align: "right" },
      ],
      "no namespaces",
    );
  },
});

export const namespaceCreate = command({
  name: "namespace create",
  summary: "make a namespace (administrator)",
  arguments: { name: { kind: "required", summary: "its name" } },
  options: {},
  async run({ client, terminal }, given) {
    await client.json("PUT", path`/v1/namespaces/${given.name}`);
    terminal.print(`created ${given.name}`);
  },
});

export const namespaceDelete = command({
  name: "namespace delete",
  summary: "delete a namespace that has no functions any more (administrator)",
  arguments: { name: nameArgument },
  options: { yes: yesOption },
  async run({ client, terminal }, given, options) {
    if (!(await confirmed(terminal, `Delete namespace ${given.name}?`, options.yes))) {
      terminal.note("nothing was deleted");
      return exit.failed;
    }
    await client.json("DELETE", path`/v1/namespaces/${given.name}`);
    terminal.print(`deleted ${given.name}`);
    return exit.ok;
  },
});
