import { spawn, type ChildProcess } from "node:child_process";
import { createHash } from "node:crypto";
import { chmod, mkdtemp, readFile, rm } from "node:fs/promises";
import { Agent, request as httpRequest } from "node:http";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { createGzip } from "node:zlib";
import { packTar } from "modern-tar";
import { removeTree } from "../removal.ts";

const virga = resolve(import.meta.dirname, "../../bin/virga.mjs");

export interface Answer {
  readonly status: number;
  readonly headers: Record<string, string | string[] | undefined>;
  readonly body: Buffer;
  readonly text: string;
  json<T = any>(): T; // eslint-disable-line typescript/no-explicit-any
}

export interface RequestOptions {
  readonly method?: string;
  readonly headers?: Record<string, string>;
  readonly body?: string | Uint8Array;
  /** False: without the administrator's token. */
  readonly token?: string | false;
  readonly signal?: AbortSignal;
}

/** A whole platform in a process of its own, on a port of its own, with a data folder of its own. */
export class Platform {
  readonly home: string;
  url = "";
  token = "";
  #process: ChildProcess | undefined;
  #output = "";
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 256 });
  readonly #environment: Record<string, string>;
  readonly #arguments: readonly string[];
  readonly #workingDirectory: string | undefined;

  private constructor(home: string, options: PlatformOptions) {
    this.home = home;
    this.#environment = options.environment ?? {};
    this.#arguments = options.arguments ?? [];
    this.#workingDirectory = options.workingDirectory;
  }

  static async start(options: PlatformOptions = {}): Promise<Platform> {
    const home = await mkdtemp(join(tmpdir(), "virga-test-"));
    // Instances run as users of their own and must be able to pass through.
    await chmod(home, 0o711);
    const platform = new Platform(home, options);
    await platform.up();
    return platform;
  }

  get pid(): number {
    return this.#process?.pid ?? 0;
  }

  get output(): string {
    return this.#output;
  }

  async up(): Promise<void> {
    const credentials = join(this.home, "config", "credentials.json");
    await rm(credentials, { force: true });
    const child = spawn(process.execPath, [virga, "up", "--port", "0", ...this.#arguments], {
      cwd: this.#workingDirectory,
      env: { ...process.env, VIRGA_HOME: this.home, NO_COLOR: "1", ...this.#environment },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#process = child;
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (chunk: Buffer) => (this.#output = (this.#output + chunk.toString()).slice(-200_000)));
    let exited = false;
    child.once("exit", () => (exited = true));

    for (;;) {
      if (exited) throw new Error(`the platform ended at its start:\n${this.#output}`);
      try {
        const found = JSON.parse(await readFile(credentials, "utf8")) as { url: string; token: string };
        this.url = found.url;
        this.token = found.token;
        if ((await this.request("/readyz", { token: false })).status === 200) return;
      } catch {
        // Not there yet; the loop ends with the process or with the test's own time limit.
      }
      await pause(20);
    }
  }

  /** SIGKILL: no chance to tidy up. */
  async kill(): Promise<void> {
    await this.#end("SIGKILL");
  }

  async stop(): Promise<void> {
    await this.#end("SIGTERM");
    this.#agent.destroy();
    removeTree(this.home);
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#process;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    await new Promise<void>((done) => {
      child.once("exit", () => done());
      child.kill(signal);
    });
  }

  request(path: string, options: RequestOptions = {}): Promise<Answer> {
    const { hostname, port } = new URL(this.url);
    const token = options.token ?? this.token;
    const headers: Record<string, string> = { ...options.headers };
    if (token !== false) headers["authorization"] = `Bearer ${token}`;
    if (options.body !== undefined) headers["content-length"] ??= String(Buffer.byteLength(options.body));
    return new Promise((done, failed) => {
      const outgoing = httpRequest(
        {
          hostname,
          port,
          path,
          method: options.method ?? (options.body === undefined ? "GET" : "POST"),
          headers,
          agent: this.#agent,
          signal: options.signal,
        },
        (response) => {
          const chunks: Buffer[] = [];
          response.on("data", (chunk: Buffer) => chunks.push(chunk));
          response.on("error", failed);
          response.on("end", () => {
            const body = Buffer.concat(chunks);
            done({
              status: response.statusCode ?? 0,
              headers: response.headers,
              body,
              get text() {
                return body.toString("utf8");
              },
              json: () => JSON.parse(body.toString("utf8")),
            });
          });
        },
      );
      outgoing.on("error", failed);
      outgoing.end(options.body);
    });
  }

  /** Deploys files given as text; fails the test where the platform refuses. */
  async deploy(
    name: string,
    files: Files,
    settings: Record<string, unknown> = {},
    namespace = "default",
  ): Promise<any> {
    const answer = await this.tryDeploy(name, files, settings, namespace);
    if (answer.status >= 300) throw new Error(`deploying ${name}: ${answer.status} ${answer.text}`);
    return answer.json();
  }

  async tryDeploy(
    name: string,
    files: Files,
    settings: Record<string, unknown> = {},
    namespace = "default",
  ): Promise<Answer> {
    const archive = await packSource(files);
    const source = await this.upload(archive, namespace);
    return await this.request(`/v1/namespaces/${namespace}/functions/${name}`, {
      method: "PUT",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ source, settings }),
    });
  }

  async upload(archive: Uint8Array, namespace = "default"): Promise<string> {
    const digest = createHash("sha256").update(archive).digest("hex");
    const answer = await this.request(`/v1/namespaces/${namespace}/sources/${digest}`, {
      method: "PUT",
      body: archive,
    });
    if (answer.status >= 300) throw new Error(`uploading: ${answer.status} ${answer.text}`);
    return digest;
  }

  call(name: string, options: RequestOptions & { path?: string; namespace?: string } = {}): Promise<Answer> {
    return this.request(`/f/${options.namespace ?? "default"}/${name}${options.path ?? "/"}`, options);
  }

  async record(id: string, namespace = "default"): Promise<any> {
    const answer = await this.request(`/v1/namespaces/${namespace}/invocations/${id}`);
    return answer.status === 200 ? answer.json() : undefined;
  }
}

export interface PlatformOptions {
  readonly environment?: Record<string, string>;
  readonly arguments?: readonly string[];
  readonly workingDirectory?: string;
}

/** Path → text, or text with a mode. */
export type Files = Record<string, string | { readonly text: string; readonly mode: number }>;

export async function packSource(files: Files): Promise<Uint8Array> {
  const entries = Object.entries(files).map(([name, file]) => {
    const text = typeof file === "string" ? file : file.text;
    const mode = typeof file === "string" ? 0o644 : file.mode;
    return {
      header: { name, size: Buffer.byteLength(text), mode, mtime: new Date(0), type: "file" as const },
      body: text,
    };
  });
  const tar = await packTar(entries);
  return await gzip(tar);
}

function gzip(bytes: Uint8Array): Promise<Uint8Array> {
  return new Promise((done, failed) => {
    const stream = createGzip();
    const chunks: Buffer[] = [];
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.on("end", () => done(Buffer.concat(chunks)));
    stream.on("error", failed);
    stream.end(bytes);
  });
}
