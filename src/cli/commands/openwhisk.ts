import { writeFileSync } from "node:fs";
import { confirmed } from "../ask.ts";
import { path } from "../client.ts";
import { command, outputOption, yesOption } from "../command.ts";
import { exit } from "../exit.ts";
import { printData, printList } from "../output.ts";
import { formatAge } from "../units.ts";

interface User {
  readonly namespace: string;
  readonly uuid: string;
  readonly createdAt: number;
}

interface Credential {
  readonly namespace: string;
  readonly credential: string;
}

const nameArgument = { kind: "required", summary: "its name, and its namespace's", completes: "namespace" } as const;

export const openwhiskUserList = command({
  name: "openwhisk user list",
  summary: "list the users of OpenWhisk (administrator)",
  arguments: {},
  options: { output: outputOption },
  async run({ client, terminal }, _given, options) {
    await printList(
      terminal,
      options.output ?? "table",
      await client.list<User>("/v1/openwhisk/users"),
      [
        { title: "NAMESPACE", value: ({ namespace }) => namespace },
        { title: "UUID", value: ({ uuid }) => uuid },
        { title: "AGE", value: ({ createdAt }) => formatAge(createdAt, Date.now()), align: "right" },
      ],
      "no users",
    );
  },
});

export const openwhiskUserCreate = command({
  name: "openwhisk user create",
  summary: "make a user of OpenWhisk with a namespace of its name, or give it another key (administrator)",
  examples: [
    "virga openwhisk user create alice",
    "virga openwhisk user create alice --wskprops ~/.wskprops --apihost http://127.0.0.1:3233",
  ],
  arguments: { name: nameArgument },
  options: {
    credential: { kind: "text", placeholder: "uuid:key", summary: "one that it had elsewhere; a new one where absent" },
    invocationsPerMinute: { kind: "number", summary: "over the platform's own limit" },
    concurrentInvocations: { kind: "number", summary: "over the platform's own limit" },
    firesPerMinute: { kind: "number", summary: "over the platform's own limit" },
    wskprops: { kind: "text", placeholder: "file", summary: "write a .wskprops with the credential" },
    apihost: {
      kind: "text",
      placeholder: "url",
      summary: "for --wskprops: where OpenWhisk is served (http://127.0.0.1:3233)",
    },
    output: outputOption,
  },
  async run({ client, terminal }, given, options) {
    const { invocationsPerMinute, concurrentInvocations, firesPerMinute } = options;
    const limits = Object.fromEntries(
      Object.entries({ invocationsPerMinute, concurrentInvocations, firesPerMinute }).filter(
        ([, value]) => value !== undefined,
      ),
    );
    const made = await client.json<Credential>("PUT", path`/v1/openwhisk/users/${given.name}`, {
      json: {
        ...(options.credential === undefined ? {} : { credential: options.credential }),
        ...(Object.keys(limits).length === 0 ? {} : { limits }),
      },
    });
    if (options.wskprops !== undefined) {
      const host = options.apihost ?? "http://127.0.0.1:3233";
      writeFileSync(options.wskprops, `APIHOST=${host}\nAUTH=${made.credential}\nNAMESPACE=_\n`, { mode: 0o600 });
      terminal.note(`  written to ${options.wskprops}`);
    }
    if (options.output === "json" || options.output === "yaml") return printData(terminal, options.output, made);
    terminal.print(made.credential);
    return undefined;
  },
});

export const openwhiskUserGet = command({
  name: "openwhisk user get",
  summary: "print the key of a user of OpenWhisk (administrator)",
  examples: ['wsk property set --apihost http://127.0.0.1:3233 --auth "$(virga openwhisk user get guest)"'],
  arguments: { name: nameArgument },
  options: {},
  async run({ client, terminal }, given) {
    const { credential } = await client.json<Credential>("GET", path`/v1/openwhisk/users/${given.name}/credential`);
    terminal.print(credential);
  },
});

export const openwhiskUserDelete = command({
  name: "openwhisk user delete",
  summary: "take a user's key away; its namespace stays (administrator)",
  arguments: { name: nameArgument },
  options: { yes: yesOption },
  async run({ client, terminal }, given, options) {
    if (!(await confirmed(terminal, `Take the key of ${given.name} away?`, options.yes))) {
      terminal.note("nothing was deleted");
      return exit.failed;
    }
    await client.json("DELETE", path`/v1/openwhisk/users/${given.name}`);
    terminal.print(`deleted ${given.name}`);
    return exit.ok;
  },
});
