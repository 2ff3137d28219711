import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { VirgaError } from "../../core/errors.ts";
import { askChoice } from "../ask.ts";
import { command } from "../command.ts";
import { exit } from "../exit.ts";
import { shellWord } from "../examples.ts";
import { nameFrom } from "../project.ts";
import { nearest } from "../suggest.ts";

/** What each template is for; its files lie in the folder of its name. */
export const templates: Readonly<Record<string, string>> = {
  node: "JavaScript, web-standard request and response",
  typescript: "TypeScript, no build step",
  python: "Python, standard library",
  binary: "a native program in C over stdin and stdout, compiled at deploy",
  stream: "an answer that streams, server-sent events",
  "http-server": "any server on $PORT, WebSocket included",
};

export const templatesDirectory: string = resolve(import.meta.dirname, "../templates");

export const create = command({
  name: "new",
  summary: "make a folder with a function to start from",
  examples: ["virga new hello", "virga new hello --template python"],
  arguments: { folder: { kind: "required", summary: "the new folder; its name is the function's" } },
  options: {
    template: { kind: "text", short: "t", summary: Object.keys(templates).join(", ") },
    list: { kind: "flag", summary: "list the templates" },
  },
  async run({ terminal }, given, options) {
    if (options.list) {
      for (const [name, summary] of Object.entries(templates)) terminal.print(`${name.padEnd(12)} ${summary}`);
      return exit.ok;
    }
    const folder = resolve(terminal.directory, given.folder);
    const name = nameFrom(basename(folder));
    const template = options.template ?? (await chosen(terminal));
    if (template === undefined) return exit.failed;
    if (!Object.hasOwn(templates, template)) {
      const near = nearest(template, Object.keys(templates));
      throw new VirgaError("bad_request", `there is no template ${template}`, {
        field: "template",
        fix: near === undefined ? `choose one of ${Object.keys(templates).join(", ")}` : `did you mean ${near}?`,
      });
    }
    if (existsSync(folder) && readdirSync(folder).length > 0) {
      throw new VirgaError("conflict", `${given.folder} is there already and not empty`, {
        fix: "choose another name",
      });
    }
    writeTemplate(template, folder, name);
    terminal.note(`${terminal.styleNote("green", "✓")} ${given.folder}/ from template ${template}`);
    terminal.note("\nNext:");
    terminal.print(`  virga dev ${shellWord(given.folder)}       deploy, watch and redeploy on save`);
    terminal.print(`  virga deploy ${shellWord(given.folder)}    deploy once`);
    terminal.print(`  virga invoke ${name}${name === given.folder ? "" : "  "}    call it`);
    return exit.ok;
  },
});

/** Copies a template. `{{name}}` in its text files becomes the function's name. */
export function writeTemplate(template: string, folder: string, name: string): void {
  const source = join(templatesDirectory, template);
  mkdirSync(folder, { recursive: true });
  cpSync(source, folder, { recursive: true });
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const file = join(entry.parentPath, entry.name);
    const text = readFileSync(file, "utf8");
    if (text.includes("{{name}}")) writeFileSync(file, text.replaceAll("{{name}}", name));
  }
}

function chosen(terminal: Parameters<typeof askChoice>[0]): Promise<string | undefined> {
  if (!terminal.interactive) return Promise.resolve("node");
  return askChoice(
    terminal,
    "Which template?",
    Object.entries(templates).map(([value, hint]) => ({ value, hint })),
  );
}
