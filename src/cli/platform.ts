import { resolve } from "node:path";
import { VirgaError } from "../core/errors.ts";
import { credentialsFile, defaultHost, defaultPort, readCredentials, writeCredentials } from "./credentials.ts";
import { configDirectory, dataDirectory, type Environment } from "./locations.ts";

/** The door to the server itself: the only file of this room that loads `compose.ts`, and only when a command starts one. */

export interface PlatformChoices {
  readonly host?: string | undefined;
  readonly port?: number | undefined;
  readonly data?: string | undefined;
  readonly sandbox?: (typeof sandboxes)[number] | undefined;
  readonly config?: string | undefined;
  readonly logLevel?: string | undefined;
  readonly openwhiskPort?: number | undefined;
  readonly openfaasPort?: number | undefined;
}

export interface RunningPlatform {
  readonly url: string;
  /** The file in which the administrator's token lies. */
  readonly tokenFile: string;
  readonly adminToken: string;
  readonly sandbox: { readonly name: string };
  readonly dialects: readonly {
    readonly name: string;
    readonly url?: string;
    readonly problem?: string;
    readonly credential?: string;
    readonly files?: Readonly<Record<string, string>>;
  }[];
  close(): Promise<void>;
}

export const sandboxes = ["auto", "bubblewrap", "process"] as const;

export async function startPlatform(choices: PlatformChoices, environment: Environment): Promise<RunningPlatform> {
  const configured = configDirectory(environment);
  const port = choices.port ?? portOf(environment["VIRGA_PORT"]);
  if (!Number.isInteger(port) || port < 0 || port > 65_535) {
    throw new VirgaError("bad_request", `${port} is no port`, { field: "port", fix: "give 0 (any) to 65535" });
  }
  const compose = await import("../compose.ts");
  const platform = await compose.startPlatform({
    dataDirectory: resolve(choices.data ?? dataDirectory(environment)),
    configDirectory: configured,
    host: choices.host ?? defaultHost,
    port,
    sandbox: choices.sandbox ?? "auto",
    logLevel: choices.logLevel ?? "warn",
    ...(choices.config === undefined ? {} : { configFile: choices.config }),
    // Who takes any port for the platform has several of them, and would not want the dialects' usual ones.
    ...(choices.openwhiskPort === undefined && port !== 0 ? {} : { openwhiskPort: choices.openwhiskPort ?? 0 }),
    ...(choices.openfaasPort === undefined && port !== 0 ? {} : { openfaasPort: choices.openfaasPort ?? 0 }),
  });
  // The port may be any, so the file that the other commands read has to follow the server.
  const saved = readCredentials(configured);
  if (saved === undefined || saved.url !== platform.url || saved.token !== platform.adminToken) {
    writeCredentials(configured, { url: platform.url, token: platform.adminToken });
  }
  return {
    url: platform.url,
    tokenFile: platform.tokenFile || credentialsFile(configured),
    adminToken: platform.adminToken,
    sandbox: platform.sandbox,
    dialects: platform.dialects,
    close: () => platform.close(),
  };
}

export interface ProbedPromise {
  readonly promise: string;
  readonly holds: "enforced" | "watched" | "absent";
  readonly how: string;
  readonly fix?: string;
}

export interface Examination {
  readonly sandbox: string;
  readonly promises: AsyncIterable<ProbedPromise>;
  readonly runtimes: readonly { readonly name: string; readonly versions: readonly string[]; readonly fix?: string }[];
  close(): Promise<void>;
}

/** What this host can do, for `virga doctor`. */
export async function examineHost(
  choices: Pick<PlatformChoices, "data" | "sandbox">,
  environment: Environment,
): Promise<Examination> {
  const compose = await import("../compose.ts");
  return compose.runDoctor({
    dataDirectory: resolve(choices.data ?? dataDirectory(environment)),
    sandbox: choices.sandbox ?? "auto",
  });
}

function portOf(text: string | undefined): number {
  return text === undefined || text === "" ? defaultPort : Number(text);
}
