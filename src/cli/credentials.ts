import { chmodSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { VirgaError } from "../core/errors.ts";
import { configDirectory, type Environment } from "./locations.ts";

export const defaultHost = "127.0.0.1";
export const defaultPort = 7766;

export interface Credentials {
  readonly url: string;
  readonly token?: string;
}

/**
 * Which server to speak to: options before the environment before the credentials file.
 * A token from the file is only ever sent to the server that the file names.
 */
export function findCredentials(
  options: { url?: string | undefined; token?: string | undefined },
  environment: Environment,
): Credentials {
  const saved = readCredentials(configDirectory(environment));
  const port = environment["VIRGA_PORT"] || defaultPort;
  const url = checkedUrl(options.url || environment["VIRGA_URL"] || saved?.url || `http://${defaultHost}:${port}`);
  const explicit = options.token || environment["VIRGA_TOKEN"];
  if (explicit) return { url, token: explicit };
  if (saved?.token !== undefined && sameServer(saved.url, url)) return { url, token: saved.token };
  return { url };
}

export function credentialsFile(directory: string): string {
  return join(directory, "credentials.json");
}

export function readCredentials(directory: string): Credentials | undefined {
  const file = credentialsFile(directory);
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new VirgaError("bad_request", `${file} cannot be read: ${(error as Error).message}`, {
      fix: "make it readable, or give --url and --token",
      cause: error,
    });
  }
  try {
    const { url, token } = JSON.parse(text) as Partial<Credentials>;
    if (typeof url === "string") return typeof token === "string" ? { url, token } : { url };
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  throw new VirgaError("bad_request", `${file} is not of the form { "url": …, "token": … }`, {
    fix: "remove it and run `virga up`, which writes it anew",
    location: file,
  });
}

/** Readable by its owner alone; never half written. */
export function writeCredentials(directory: string, credentials: Credentials): string {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const file = credentialsFile(directory);
  const draft = `${file}.${process.pid}`;
  writeFileSync(draft, `${JSON.stringify(credentials, undefined, 2)}\n`, { mode: 0o600 });
  chmodSync(draft, 0o600);
  renameSync(draft, file);
  return file;
}

function sameServer(left: string, right: string): boolean {
  return URL.canParse(left) && new URL(left).origin === new URL(right).origin;
}

function checkedUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || (url.protocol !== "http:" && url.protocol !== "https:")) {
    throw new VirgaError("bad_request", `"${text}" is no server address`, {
      field: "url",
      fix: "write it as http://127.0.0.1:7766",
    });
  }
  return url.href.replace(/\/+$/, "");
}
