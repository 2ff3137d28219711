import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";

export type Environment = Readonly<Record<string, string | undefined>>;

/** Where credentials and the operator's configuration lie. */
export function configDirectory(environment: Environment = process.env): string {
  if (environment["VIRGA_HOME"]) return join(environment["VIRGA_HOME"], "config");
  if (environment["XDG_CONFIG_HOME"]) return join(environment["XDG_CONFIG_HOME"], "virga");
  return join(environment["HOME"] || homedir(), ".config", "virga");
}

/** Where the platform keeps its state. */
export function dataDirectory(environment: Environment = process.env): string {
  if (environment["VIRGA_HOME"]) return join(environment["VIRGA_HOME"], "data");
  if (process.getuid?.() === 0) return "/var/lib/virga";
  if (environment["XDG_DATA_HOME"]) return join(environment["XDG_DATA_HOME"], "virga");
  return join(environment["HOME"] || homedir(), ".local", "share", "virga");
}

/** The root of this package, from source as well as from its built form. */
export function packageDirectory(): string {
  let directory = import.meta.dirname;
  while (!isOurPackage(join(directory, "package.json"))) {
    const parent = dirname(directory);
    if (parent === directory) throw new Error(`no package.json of virga above ${import.meta.dirname}`);
    directory = parent;
  }
  return directory;
}

/** How this program is called from a shell: in a checkout it is on no PATH. */
export function ownName(): string {
  return existsSync(join(packageDirectory(), "src", "compose.ts")) ? "npx virga" : "virga";
}

export function packageVersion(): string {
  return (JSON.parse(readFileSync(join(packageDirectory(), "package.json"), "utf8")) as { version: string }).version;
}

function isOurPackage(file: string): boolean {
  return existsSync(file) && (JSON.parse(readFileSync(file, "utf8")) as { name?: string }).name === "virga";
}
