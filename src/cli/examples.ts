import { accessSync, constants, existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { asVirgaError } from "../core/errors.ts";
import { Client } from "./client.ts";
import { DeployReport } from "./deploy-report.ts";
import { deployFunction, functionUrl } from "./deployment.ts";
import { errorLines } from "./error-text.ts";
import { packageDirectory } from "./locations.ts";
import { packSource } from "./pack.ts";
import type { RunningPlatform } from "./platform.ts";
import { loadProject, manifestIn, type ProjectFunction } from "./project.ts";
import type { Terminal } from "./terminal.ts";

/**
 * Deploys the package's examples and says how to call each. What is deployed already costs next to nothing.
 * An example that cannot be built here (no Python, no network), or that needs a program which this machine does not
 * have, is named, and the others go on.
 */
export async function deployExamples(
  terminal: Terminal,
  platform: RunningPlatform,
  namespace: string,
  signal: AbortSignal,
): Promise<void> {
  const client = new Client({ url: platform.url, token: platform.adminToken }, signal);
  try {
    const failures: string[] = [];
    terminal.print("");
    for (const folder of exampleFolders()) {
      for (const example of loadProject(folder, { from: folder }).functions) {
        const missing = missingPrograms(example);
        if (missing.length > 0) {
          failures.push(`  ${example.name} was left out: needs ${missing.join(" and ")}`);
          failures.push(`    fix: apt-get install ${missing.join(" ")}, then start again`);
          continue;
        }
        try {
          await deployExample(terminal, client, namespace, example);
        } catch (error) {
          if (signal.aborted) throw error;
          failures.push(`  ${example.name} was not deployed`, ...errorLines(asVirgaError(error)).map(indent));
          continue;
        }
        printExample(terminal, client, platform, namespace, example);
      }
    }
    for (const line of failures) terminal.note(line);
  } finally {
    client.close();
  }
}

export function exampleFolders(): string[] {
  const root = join(packageDirectory(), "examples");
  if (!existsSync(root)) return [];
  return readdirSync(root)
    .sort()
    .map((name) => join(root, name))
    .filter((folder) => manifestIn(folder) !== undefined);
}

/**
 * Of the programs in the annotation `example.requires`, each named as its Debian package, those that are not in `folders`:
 * where a sandboxed function finds programs.
 */
export function missingPrograms(
  example: ProjectFunction,
  folders: readonly string[] = ["/usr/local/bin", "/usr/bin", "/bin"],
): string[] {
  const names = (example.settings.annotations?.["example.requires"] ?? "").split(/\s+/).filter((name) => name !== "");
  return names.filter((name) => !folders.some((folder) => executable(join(folder, name))));
}

/** The `curl` line for a function, ready to paste. Its arguments come from the annotations `example.path` and `example.curl`. */
export function curlLine(url: string, example: ProjectFunction, token: string | undefined): string {
  const { annotations = {} } = example.settings;
  const words = ["curl"];
  const extra = annotations["example.curl"];
  if (extra !== undefined) words.push(withFiles(extra, example.source));
  if (token !== undefined && example.settings.public !== true) words.push(`-H "Authorization: Bearer ${token}"`);
  words.push(shellWord(url + (annotations["example.path"] ?? "/")));
  return words.join(" ");
}

/** What a shell puts in place of the token, so that the token itself is neither shown nor kept in a history. */
export function tokenExpression(file: string): string {
  const text = readFileSync(file, "utf8").trim();
  if (!text.startsWith("{")) return `$(cat ${shellWord(file)})`;
  return String.raw`$(sed -n 's/.*"token": *"\([^"]*\)".*/\1/p' ${shellWord(file)})`;
}

/** Quoted only where a shell would read it otherwise. */
export function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

async function deployExample(
  terminal: Terminal,
  client: Client,
  namespace: string,
  example: ProjectFunction,
): Promise<void> {
  const archive = await packSource(example.source);
  const report = new DeployReport(terminal, example.name);
  try {
    await deployFunction(client, namespace, example, archive, {}, report);
  } finally {
    report.end();
    await archive.discard();
  }
}

function printExample(
  terminal: Terminal,
  client: Client,
  platform: RunningPlatform,
  namespace: string,
  example: ProjectFunction,
): void {
  const url = functionUrl(client, namespace, example.name);
  const description = example.settings.description === undefined ? "" : `   ${example.settings.description}`;
  terminal.print(`  ${terminal.style("bold", example.name)}${terminal.style("dim", description)}`);
  terminal.print(`    ${url}`);
  terminal.print(`    ${curlLine(url, example, tokenExpression(platform.tokenFile))}`);
}

/** `@file` means a file of the example, wherever the line is pasted. */
function withFiles(text: string, folder: string): string {
  return text.replaceAll(/@([\w.-]+)/g, (whole, name: string) => {
    const file = join(folder, name);
    return existsSync(file) ? `@${shellWord(file)}` : whole;
  });
}

function executable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false; // not there, or not for us
  }
}

function indent(line: string): string {
  return `    ${line}`;
}
