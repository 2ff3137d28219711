import { type Command, optionName } from "./command.ts";
import { commands } from "./commands/index.ts";
import { templates } from "./commands/new.ts";

/** `docs/cli.md`, from the same data as the command line itself. */
export function manual(): string {
  const sections = commands.filter(({ hidden }) => hidden !== true).map(commandSection);
  return `${head}\n## Commands\n\n${sections.join("\n\n")}\n\n${foot()}\n`;
}

const head = `# The command line

\`virga\` speaks the native API (\`docs/api.md\`) like any other client. Results go to stdout, everything said about them to stderr, so that pipes see results alone.

## Which server

First of these that is there: \`--url\` and \`--token\`; \`VIRGA_URL\` and \`VIRGA_TOKEN\`; \`credentials.json\` (\`{ "url", "token" }\`), which \`virga up\` writes for its own user in \`$VIRGA_HOME/config\`, \`$XDG_CONFIG_HOME/virga\` or \`~/.config/virga\`; \`http://127.0.0.1:7766\`. The file's token is sent to the file's server alone.

The namespace is \`-n\`, \`VIRGA_NAMESPACE\`, the manifest's, or \`default\`.

The server's state lies in \`$VIRGA_HOME/data\`; without it in \`/var/lib/virga\` for root, and \`$XDG_DATA_HOME/virga\` or \`~/.local/share/virga\` for others.

## Exit codes

| code | meaning                                                                    |
| ---- | -------------------------------------------------------------------------- |
| 0    | done                                                                       |
| 1    | the function or the operation failed; \`doctor\`: a promise does not hold     |
| 2    | the command line, a file or a field was not understood                     |
| 3    | no server answers, or it is not ready                                      |
| 4    | the token is missing, unknown or not allowed to do this                    |
| 5    | not found                                                                  |
| 6    | conflict                                                                   |
| 7    | a limit: something is too large, or a queue or disk is full                |
| 130  | ended by Ctrl-C                                                            |

## Output

\`-o json\` and \`-o yaml\` print the API's own documents, \`-o wide\` more columns. Colour and progress are for terminals; \`NO_COLOR\` turns colour off, \`FORCE_COLOR\` on. Questions are asked on terminals only, and only before something is taken away; \`--yes\` answers them.
`;

function foot(): string {
  return `## virga.yaml

One optional file in a folder; \`docs/virga.schema.json\` describes it for editors. Without it the folder, or a single file, is one function of its name.

\`\`\`yaml
namespace: shop # --namespace wins
secrets: [DATABASE_URL] # must be there before anything is deployed
functions:
  api:
    source: ./api # a folder or a file; this folder where absent
    runtime: node # detected where absent, as are handler and convention
    memory: 512MiB
    timeout: 30s
    concurrency: 20
    public: true
    secrets: [DATABASE_URL]
    environment: { LOG_LEVEL: info }
    scaling: { min: 1, max: 20, keepAlive: 5m }
    limits: { request: 4MiB, tmp: 256MiB }
    async: { maxAttempts: 5, maxAge: 1h, onFailure: alarm }
  alarm:
    source: ./alarm.py
routes:
  - { path: "/users/{id}", method: GET, function: api }
\`\`\`

Durations are \`250ms\`, \`30s\`, \`5m\`, \`1h30m\`, \`7d\`; sizes \`64KiB\`, \`512MiB\`, \`2GiB\`. A mistake is told with file, line and column.

## What is uploaded

Everything in the function's folder but \`virga.yaml\`, version control, \`__pycache__\`, \`.venv\`, what \`.virgaignore\` names (the rules of \`.gitignore\`), and \`node_modules\` where a \`package.json\` is beside it. The archive of the same files is the same bytes, and is uploaded once.

## Templates

| template | what it is |
| --- | --- |
${Object.entries(templates)
  .map(([name, summary]) => `| \`${name}\` | ${summary} |`)
  .join("\n")}`;
}

function commandSection(command: Command): string {
  const words = Object.entries(command.arguments).map(
    ([name, { kind }]) => ({ required: `<${name}>`, optional: `[${name}]`, rest: `[${name}...]` })[kind],
  );
  const options = Object.entries(command.options).map(([key, spec]) => {
    const value = spec.kind === "flag" ? "" : ` <${spec.placeholder ?? optionName(key)}>`;
    const short = spec.short === undefined ? "" : `-${spec.short}, `;
    const choices = spec.choices === undefined ? "" : ` (${spec.choices.join(", ")})`;
    return `- \`${short}--${optionName(key)}${value}\`: ${spec.summary}${spec.summary.includes("json") ? "" : choices}`;
  });
  const examples = command.examples === undefined ? [] : ["```sh", ...command.examples, "```"];
  return [
    `### virga ${[command.name, ...words].join(" ")}`,
    `${command.summary.charAt(0).toUpperCase()}${command.summary.slice(1)}.`,
    ...(options.length > 0 ? [options.join("\n")] : []),
    ...(examples.length > 0 ? [examples.join("\n")] : []),
  ].join("\n\n");
}
