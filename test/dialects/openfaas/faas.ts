import { cpSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { templateFiles } from "../../../src/dialects/openfaas/stores/template-files.ts";
import { goClient, type Ran, run } from "../../clients/clients.ts";
import { Platform, type PlatformOptions } from "../../platform/harness.ts";

/** A platform with OpenFaaS's client pointed at it and logged in. */
export class Faas {
  readonly platform: Platform;
  /** The client's home. */
  readonly home: string;
  /** How much of the platform's output is of its earlier lives. */
  #seen = 0;
  gateway = "";
  password = "";
  /** The file with the key of signed builds. */
  payloadSecret = "";

  private constructor(platform: Platform) {
    this.platform = platform;
    this.home = join(platform.home, "client");
    mkdirSync(this.home, { recursive: true });
  }

  static async start(options: PlatformOptions = {}): Promise<Faas> {
    const faas = new Faas(await Platform.start(options));
    try {
      await faas.#find();
      await faas.#login();
      return faas;
    } catch (thrown) {
      await faas.stop();
      throw thrown;
    }
  }

  /** After a restart of the platform, which may be on another port. */
  async up(): Promise<void> {
    this.#seen = this.platform.output.length;
    await this.platform.up();
    await this.#find();
    await this.#login();
  }

  stop(): Promise<void> {
    return this.platform.stop();
  }

  /** An empty folder for a project of the client. */
  folder(): string {
    return mkdtempSync(join(this.home, "project-"));
  }

  /** A folder with a copy of one of our templates at `template/NAME`, where the client looks first. */
  folderWith(...templates: string[]): string {
    const folder = this.folder();
    const own = join(import.meta.dirname, "../../../src/dialects/openfaas/templates");
    for (const name of templates)
      for (const [path, source] of templateFiles(own, name)) cpSync(source, join(folder, "template", name, path));
    return folder;
  }

  /** `faas-cli …`; `cwd` is an empty folder where absent, as the client takes a stack.yml that lies there. */
  async cli(parameters: readonly string[], options: CliOptions = {}): Promise<Ran> {
    const { cwd = this.folder(), input, environment = {}, timeoutMs } = options;
    return run(await goClient("faas-cli"), parameters, {
      home: this.home,
      cwd,
      environment: { OPENFAAS_URL: this.gateway, ...environment },
      ...(input === undefined ? {} : { input }),
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
    });
  }

  /** As `cli`; what it prints on its standard output. Fails where the command does. */
  async ok(parameters: readonly string[], options: CliOptions = {}): Promise<string> {
    const ran = await this.cli(parameters, options);
    if (ran.code !== 0) throw new Error(`faas-cli ${parameters.join(" ")} → ${ran.code}\n${ran.stdout}${ran.stderr}`);
    return ran.stdout;
  }

  /** `faas-cli invoke NAME`: the body of the answer. */
  invoke(name: string, input: string | Uint8Array = "", ...flags: string[]): Promise<string> {
    return this.ok(["invoke", name, ...flags], { input });
  }

  /** `faas-cli up -f FILE` by this gateway's builder. */
  buildUp(cwd: string, file: string, ...flags: string[]): Promise<string> {
    const builder = ["--remote-builder", `${this.gateway}/build`, "--payload-secret", this.payloadSecret];
    return this.ok(["up", "-f", file, "--skip-push", ...builder, ...flags], { cwd, timeoutMs: 300_000 });
  }

  /** A request to the gateway's control plane with its password (false: without). */
  system(path: string, init: RequestInit & { password?: string | false } = {}): Promise<Response> {
    const { password = this.password, ...rest } = init;
    const headers = new Headers(rest.headers);
    if (password !== false)
      headers.set("authorization", `Basic ${Buffer.from(`admin:${password}`).toString("base64")}`);
    return fetch(`${this.gateway}${path}`, { ...rest, headers });
  }

  /** A JSON request to the control plane. */
  send(method: string, path: string, document: unknown): Promise<Response> {
    return this.system(path, {
      method,
      headers: { "content-type": "application/json" },
      body: JSON.stringify(document),
    });
  }

  /** Deploys a function of a built-in image whose program is `fprocess`; further fields as in FunctionDeployment. */
  async deploy(service: string, fprocess: string, more: Readonly<Record<string, unknown>> = {}): Promise<void> {
    const document = { service, image: "ghcr.io/openfaas/alpine:latest", envProcess: fprocess, ...more };
    const answer = await this.send("POST", "/system/functions", document);
    if (answer.status !== 202) throw new Error(`${service}: ${answer.status} ${await answer.text()}`);
  }

  call(path: string, init: RequestInit = {}): Promise<Response> {
    return fetch(`${this.gateway}/function/${path}`, init);
  }

  /** A file for the client; its path. */
  file(folder: string, name: string, content: string | Uint8Array): string {
    const path = join(folder, name);
    writeFileSync(path, content);
    return path;
  }

  async #login(): Promise<void> {
    await this.ok(["login", "--gateway", this.gateway, "--password-stdin"], { input: this.password });
  }

  /** What the platform prints once it is ready, which is a moment after it answers. */
  async #find(): Promise<void> {
    for (let tries = 0; tries < 400; tries++) {
      const printed = this.platform.output.slice(this.#seen);
      const [, gateway, password] = /faas-cli login --gateway (\S+) --password-stdin < (\S+)\n/.exec(printed) ?? [];
      const [, payloadSecret] = /--payload-secret (\S+)\n/.exec(printed) ?? [];
      if (gateway !== undefined && password !== undefined && payloadSecret !== undefined) {
        this.gateway = gateway;
        this.password = readFileSync(password, "utf8").trim();
        this.payloadSecret = payloadSecret;
        return;
      }
      await pause(25);
    }
    throw new Error(`the platform did not say how to log in:\n${this.platform.output}`);
  }
}

export interface CliOptions {
  readonly cwd?: string;
  readonly input?: string | Uint8Array;
  readonly environment?: Readonly<Record<string, string>>;
  readonly timeoutMs?: number;
}
