import type { Token } from "../../core/model.ts";
import { VirgaError } from "../../core/errors.ts";
import { path } from "../client.ts";
import { command, outputOption } from "../command.ts";
import { findCredentials } from "../credentials.ts";
import { printData, printList } from "../output.ts";
import { formatAge, parseDuration } from "../units.ts";

export const tokenList = command({
  name: "token list",
  summary: "list the credentials (administrator)",
  arguments: {},
  options: { output: outputOption },
  async run({ client, terminal }, _given, options) {
    const now = Date.now();
    await printList(
      terminal,
      options.output ?? "table",
      await client.list<Token>("/v1/tokens"),
      [
        { title: "ID", value: ({ id }) => id },
        { title: "DESCRIPTION", value: ({ description }) => description },
        { title: "ROLE", value: ({ role }) => role },
        { title: "NAMESPACES", value: ({ namespaces }) => (namespaces === "*" ? "all" : namespaces.join(", ")) },
        { title: "AGE", value: ({ createdAt }) => formatAge(createdAt, now), align: "right" },
        { title: "EXPIRES", value: ({ expiresAt }) => expiresAt && new Date(expiresAt).toISOString() },
      ],
      "no tokens",
    );
  },
});

export const tokenCreate = command({
  name: "token create",
  summary: "make a credential; its secret is shown this once (administrator)",
  examples: [
    "virga token create ci --for build --for test",
    "virga token create caller --for shop --role invoke --expires 30d",
  ],
  arguments: { description: { kind: "required", summary: "who or what it is for" } },
  options: {
    for: { kind: "list", placeholder: "namespace", summary: "a namespace that it opens; may be repeated; `*` is all" },
    role: { kind: "text", summary: "admin may change, invoke may only call (admin)", choices: ["admin", "invoke"] },
    expires: { kind: "text", placeholder: "duration", summary: "such as 12h or 30d; never where absent" },
    output: outputOption,
  },
  async run({ client, namespace, terminal }, given, options) {
    const duration = options.expires === undefined ? undefined : parseDuration(options.expires);
    if (options.expires !== undefined && duration === undefined) {
      throw new VirgaError("bad_request", `--expires takes a duration such as 12h or 30d, not "${options.expires}"`);
    }
    const opened = options.for.length === 0 ? [namespace] : options.for;
    const made = await client.json<{ token: Token; secret: string }>("POST", "/v1/tokens", {
      json: {
        description: given.description,
        namespaces: opened.includes("*") ? "*" : opened,
        role: options.role ?? "admin",
        ...(duration === undefined ? {} : { expiresAt: Date.now() + duration }),
      },
    });
    if (options.output === "json" || options.output === "yaml") return printData(terminal, options.output, made);
    terminal.print(made.secret);
    terminal.note(`  id ${made.token.id}; the secret is not kept and cannot be shown again`);
    return undefined;
  },
});

export const tokenDelete = command({
  name: "token delete",
  summary: "revoke a credential at once (administrator)",
  arguments: { id: { kind: "required", summary: "its id" } },
  options: {},
  async run({ client, terminal }, given) {
    await client.json("DELETE", path`/v1/tokens/${given.id}`);
    terminal.print(`revoked ${given.id}`);
  },
});

export const tokenShow = command({
  name: "token show",
  summary: "print the credential that this CLI uses, for scripts",
  examples: ['curl -H "Authorization: Bearer $(virga token show)" …'],
  arguments: {},
  options: {},
  run({ terminal, server }) {
    const { token, url } = findCredentials(server, terminal.environment);
    if (token === undefined) {
      throw new VirgaError("unauthenticated", `there is no token for ${url}`, {
        fix: "start a server with `virga up`, or give a token with --token or VIRGA_TOKEN",
      });
    }
    terminal.print(token);
    return Promise.resolve();
  },
});
