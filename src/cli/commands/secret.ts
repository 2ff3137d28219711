import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { VirgaError } from "../../core/errors.ts";
import { askSecret, confirmed } from "../ask.ts";
import { path, textOf } from "../client.ts";
import { command, type Context, outputOption, yesOption } from "../command.ts";
import { exit } from "../exit.ts";
import { printList } from "../output.ts";
import { formatAge } from "../units.ts";

const secretArgument = { kind: "required", summary: "its name", completes: "secret" } as const;

export const secretSet = command({
  name: "secret set",
  summary: "keep a value encrypted; functions that name it get it as an environment variable",
  examples: [
    "virga secret set API_KEY                      asks for the value",
    'printf %s "$KEY" | virga secret set API_KEY',
    "virga secret set TLS_KEY --from-file key.pem",
  ],
  arguments: { name: secretArgument },
  options: { fromFile: { kind: "text", placeholder: "file", summary: "take the value from a file, byte by byte" } },
  async run(context, given, options) {
    const value = await readValue(context, given.name, options.fromFile);
    if (value === undefined) {
      context.terminal.note("nothing was set");
      return exit.failed;
    }
    await context.client.json("PUT", path`/v1/namespaces/${context.namespace}/secrets/${given.name}`, {
      json: { value },
    });
    context.terminal.print(`set ${given.name}`);
    return exit.ok;
  },
});

export const secretList = command({
  name: "secret list",
  summary: "list the secrets' names; values are never shown",
  arguments: {},
  options: { output: outputOption },
  async run({ client, namespace, terminal }, _given, options) {
    const secrets = await client.list<{ name: string; updatedAt: number }>(path`/v1/namespaces/${namespace}/secrets`);
    await printList(
      terminal,
      options.output ?? "table",
      secrets,
      [
        { title: "NAME", value: ({ name }) => name },
        { title: "UPDATED", value: ({ updatedAt }) => formatAge(updatedAt, Date.now()), align: "right" },
      ],
      `no secrets in namespace ${namespace}`,
    );
  },
});

export const secretDelete = command({
  name: "secret delete",
  summary: "delete a secret",
  arguments: { name: secretArgument },
  options: { yes: yesOption },
  async run({ client, namespace, terminal }, given, options) {
    if (!(await confirmed(terminal, `Delete secret ${given.name} of namespace ${namespace}?`, options.yes))) {
      terminal.note("nothing was deleted");
      return exit.failed;
    }
    await client.json("DELETE", path`/v1/namespaces/${namespace}/secrets/${given.name}`);
    terminal.print(`deleted ${given.name}`);
    return exit.ok;
  },
});

async function readValue({ terminal }: Context, name: string, file: string | undefined): Promise<string | undefined> {
  if (file !== undefined) return readFile(resolve(terminal.directory, file));
  if (terminal.stdin.isTTY === true) {
    if (terminal.interactive) return askSecret(terminal, `Value of ${name}`);
    throw new VirgaError("bad_request", "there is no value", { fix: "pipe it in, or use --from-file" });
  }
  // `echo value | …` ends with a line break that is not meant.
  return (await textOf(terminal.stdin)).replace(/\r?\n$/, "");
}

function readFile(file: string): string {
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch (error) {
    throw new VirgaError("bad_request", `--from-file: ${(error as Error).message}`, {
      field: "fromFile",
      cause: error,
    });
  }
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    throw new VirgaError("bad_request", `${file} is not UTF-8 text, and environment variables are`, {
      field: "fromFile",
      fix: "encode it, for example with base64",
      cause: error,
    });
  }
}
