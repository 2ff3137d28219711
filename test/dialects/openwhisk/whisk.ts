import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { goClient, type Ran, run } from "../../clients/clients.ts";
import { Platform, type PlatformOptions } from "../../platform/harness.ts";

/** A platform with OpenWhisk's clients pointed at it, each with a home of its own. */
export class Whisk {
  readonly platform: Platform;
  readonly home: string;
  /** How much of the platform's output is of its earlier lives. */
  #seen = 0;
  apihost = "";
  auth = "";

  private constructor(platform: Platform) {
    this.platform = platform;
    this.home = join(platform.home, "client");
    mkdirSync(this.home, { recursive: true });
  }

  static async start(options: PlatformOptions = {}): Promise<Whisk> {
    const whisk = new Whisk(await Platform.start(options));
    await whisk.#find();
    return whisk;
  }

  /** After a restart of the platform, which may be on another port. */
  async up(): Promise<void> {
    this.#seen = this.platform.output.length;
    await this.platform.up();
    await this.#find();
  }

  stop(): Promise<void> {
    return this.platform.stop();
  }

  /** `wsk …` as the user of `auth`. */
  wsk(...parameters: string[]): Promise<Ran> {
    return this.as(this.auth, ...parameters);
  }

  async as(auth: string, ...parameters: string[]): Promise<Ran> {
    const settings = join(this.home, `${auth.slice(0, 8)}.wskprops`);
    writeFileSync(settings, `APIHOST=${this.apihost}\nAUTH=${auth}\n`);
    return run(await program("wsk"), parameters, { home: this.home, environment: { WSK_CONFIG_FILE: settings } });
  }

  /** As `wsk`; what it prints behind its first line, as JSON. Fails where the command does. */
  async json<T = any>(...parameters: string[]): Promise<T> {
    const ran = await this.wsk(...parameters);
    if (ran.code !== 0) throw new Error(`wsk ${parameters.join(" ")} → ${ran.code}\n${ran.stdout}${ran.stderr}`);
    return JSON.parse(ran.stdout.slice(ran.stdout.search(/^[{[]/m))) as T;
  }

  /** As `wsk`; what it prints. Fails where the command does. */
  async ok(...parameters: string[]): Promise<string> {
    const ran = await this.wsk(...parameters);
    if (ran.code !== 0) throw new Error(`wsk ${parameters.join(" ")} → ${ran.code}\n${ran.stdout}${ran.stderr}`);
    return ran.stdout;
  }

  /** The result of a blocking invocation. */
  invoke<T = any>(action: string, parameters: Readonly<Record<string, unknown>> = {}): Promise<T> {
    const file = this.file("parameters.json", JSON.stringify(parameters));
    return this.json<T>("action", "invoke", action, "--result", "--param-file", file);
  }

  wskdeploy(...parameters: string[]): Promise<Ran> {
    return this.wskdeployWith({}, ...parameters);
  }

  /** Manifests may name variables of the environment. */
  async wskdeployWith(environment: Readonly<Record<string, string>>, ...parameters: string[]): Promise<Ran> {
    const settings = ["--apihost", this.apihost, "--auth", this.auth, "-n", "_"];
    return run(await program("wskdeploy"), [...settings, ...parameters], { home: this.home, environment });
  }

  /** A file for the client; its path. */
  file(name: string, content: string | Uint8Array): string {
    const path = join(this.home, name);
    writeFileSync(path, content);
    return path;
  }

  async rest(path: string, init: RequestInit & { auth?: string | false } = {}): Promise<Response> {
    const { auth = this.auth, ...rest } = init;
    const headers = new Headers(rest.headers);
    if (auth !== false) headers.set("authorization", `Basic ${Buffer.from(auth).toString("base64")}`);
    return fetch(`${this.apihost}${path}`, { ...rest, headers });
  }

  /** What is at a path of the REST API behind `/api/v1/namespaces/_/`. */
  async document<T = any>(path: string): Promise<T> {
    return (await (await this.rest(`/api/v1/namespaces/_/${path}`)).json()) as T;
  }

  /** A user more, with a namespace of its name; its credential. */
  async user(name: string, limits: Readonly<Record<string, number>> = {}): Promise<string> {
    const answer = await this.platform.request(`/v1/openwhisk/users/${name}`, {
      method: "PUT",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ limits }),
    });
    return answer.json<{ credential: string }>().credential;
  }

  /** What the platform prints once it is ready, which is a moment after it answers. */
  async #find(): Promise<void> {
    for (let tries = 0; tries < 200; tries++) {
      const printed = this.platform.output.slice(this.#seen);
      const [, apihost, auth] = /wsk property set --apihost (\S+) --auth (\S+)\n/.exec(printed) ?? [];
      if (apihost !== undefined && auth !== undefined) {
        this.apihost = apihost;
        this.auth = auth;
        return;
      }
      await pause(25);
    }
    throw new Error(`no OpenWhisk:\n${this.platform.output}`);
  }
}

/** Built where it is first used: suites of the REST API alone do without. */
function program(name: "wsk" | "wskdeploy"): Promise<string> {
  let path = programs.get(name);
  if (path === undefined) programs.set(name, (path = goClient(name)));
  return path;
}

const programs = new Map<string, Promise<string>>();
