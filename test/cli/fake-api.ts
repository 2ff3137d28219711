import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { TestContext } from "node:test";
import { VirgaError } from "../../src/core/errors.ts";

export const token = "vrg_of-the-test";

export interface Seen {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage["headers"];
  readonly body: Buffer;
}

/**
 * The part of the native API that the CLI speaks, over a real socket, with its state in maps.
 * A build fails where the settings' handler is `broken.ts`.
 */
export class FakeApi {
  url = "";
  readonly seen: Seen[] = [];
  readonly sources = new Map<string, Buffer>();
  readonly functions = new Map<
    string,
    { revisions: Record<string, unknown>[]; traffic: unknown[]; followLatest: boolean }
  >();
  readonly secrets = new Map<string, string>();
  readonly routes = new Map<string, Record<string, unknown>>();
  readonly invocations = new Map<string, Record<string, unknown>>();
  /** Log lines that a follower gets; it then stays open. */
  readonly lines: Record<string, unknown>[] = [];

  static async start(t: TestContext): Promise<FakeApi> {
    const api = new FakeApi();
    const server = createServer((request, response) => void api.#serve(request, response));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    api.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    t.after(() => {
      server.close();
      server.closeAllConnections();
    });
    return api;
  }

  get environment(): Record<string, string> {
    return { VIRGA_URL: this.url, VIRGA_TOKEN: token };
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = Buffer.concat(await request.toArray());
    const { pathname, searchParams } = new URL(request.url ?? "/", this.url);
    const { method = "GET", headers } = request;
    this.seen.push({ method, path: request.url ?? "/", headers, body });
    try {
      if (headers.authorization !== `Bearer ${token}`) throw new VirgaError("unauthenticated", "this needs a token");
      const parts = pathname.split("/").slice(2).map(decodeURIComponent);
      await this.#route(method, parts, body, searchParams, response);
    } catch (error) {
      if (!(error instanceof VirgaError)) throw error;
      json(response, error.status, error.toBody());
    }
  }

  async #route(
    method: string,
    parts: string[],
    body: Buffer,
    query: URLSearchParams,
    response: ServerResponse,
  ): Promise<void> {
    const [kind, namespace = "", noun, name = "", verb, ...rest] = parts;
    const data = (): Record<string, unknown> => JSON.parse(body.toString("utf8")) as Record<string, unknown>;
    if (kind === undefined)
      return json(response, 200, { name: "virga", version: "0", node: "24", sandbox: "process", startedAt: 0 });
    if (noun === "sources") {
      if (method === "HEAD") return void response.writeHead(this.sources.has(name) ? 200 : 404).end();
      if (createHash("sha256").update(body).digest("hex") !== name) throw new VirgaError("bad_request", "wrong digest");
      this.sources.set(name, body);
      return json(response, 201, {});
    }
    if (noun === "secrets") {
      if (method === "PUT") this.secrets.set(name, String(data()["value"]));
      else if (method === "DELETE" && !this.secrets.delete(name))
        throw new VirgaError("not_found", `there is no secret ${name}`);
      return json(response, 200, { items: [...this.secrets.keys()].map((one) => ({ name: one, updatedAt: 0 })) });
    }
    if (noun === "routes") {
      if (method === "PUT") this.routes.set(name, { id: name, namespace, ...data() });
      return json(response, 200, { items: [...this.routes.values()] });
    }
    if (noun === "usage") return json(response, 200, usage);
    if (noun === "invocations") {
      const found = this.invocations.get(name);
      if (found === undefined) throw new VirgaError("not_found", `there is no invocation ${name}`);
      return json(response, 200, found);
    }
    if (noun === "functions" && name === "") {
      const items = [...this.functions.keys()].map((one) => this.#state(namespace, one));
      // Two a page, so that the client has to ask again.
      const from = Number(query.get("after") ?? 0);
      return json(response, 200, {
        items: items.slice(from, from + 2),
        ...(items.length > from + 2 ? { next: String(from + 2) } : {}),
      });
    }
    if (noun === "functions") return this.#function(method, namespace, name, verb, rest, data, response);
    throw new VirgaError("not_found", "there is nothing");
  }

  #function(
    method: string,
    namespace: string,
    name: string,
    verb: string | undefined,
    rest: readonly string[],
    data: () => Record<string, unknown>,
    response: ServerResponse,
  ): void {
    const known = this.functions.get(name);
    if (verb === undefined && method === "PUT") return this.#deploy(namespace, name, data(), response);
    if (known === undefined && verb === "plan")
      return json(response, 200, { items: [{ field: "runtime", to: "node" }] });
    if (known === undefined) throw new VirgaError("not_found", `there is no function ${namespace}/${name}`);
    const state = (): unknown => this.#state(namespace, name);
    if (verb === undefined && method === "DELETE") {
      this.functions.delete(name);
      return void response.writeHead(204).end();
    }
    if (verb === undefined)
      return json(response, 200, {
        function: state(),
        revision: known.revisions.at(-1),
        instances: [],
        waiting: 0,
        decisions: [],
        url: "",
      });
    if (verb === "plan") {
      const { source, settings } = data() as { source: string; settings: { handler?: string } };
      const newest = known.revisions.at(-1) as { source: string; config: { handler: string } };
      const items = [];
      if (newest.source !== source) items.push({ field: "source", from: newest.source, to: source });
      if (settings.handler !== newest.config.handler)
        items.push({ field: "handler", from: newest.config.handler, to: settings.handler });
      return json(response, 200, { items });
    }
    if (verb === "traffic") {
      known.traffic = data()["targets"] as unknown[];
      return json(response, 200, state());
    }
    if (verb === "invocations") return json(response, 202, { id: "call-1", duplicate: false });
    if (verb === "logs") {
      response.writeHead(200, { "content-type": "application/x-ndjson" });
      for (const line of this.lines) response.write(`${JSON.stringify(line)}\n`);
      return;
    }
    if (verb === "invoke") return this.#invoke(rest, response);
    throw new VirgaError("not_found", "there is nothing");
  }

  #invoke(rest: readonly string[], response: ServerResponse): void {
    const call = this.seen.at(-1) as Seen;
    if (rest[0] === "fails")
      throw new VirgaError("timeout", "the call ran longer than 1000 ms", { fix: "raise limits.timeoutMs" });
    const status = Number(rest[0] ?? 200);
    response.writeHead(status, {
      "content-type": call.headers["content-type"] ?? "text/plain",
      "x-virga-invocation": "call-1",
    });
    response.end(call.body.length > 0 ? call.body : `${call.method} ${call.path}`);
  }

  #deploy(
    namespace: string,
    name: string,
    { source, settings }: Record<string, unknown>,
    response: ServerResponse,
  ): void {
    response.writeHead(200, { "content-type": "application/x-ndjson" });
    const say = (line: unknown): void => void response.write(`${JSON.stringify(line)}\n`);
    say({ kind: "stage", stage: "build" });
    say({ kind: "log", line: "installing" });
    const { handler = "handler.js" } = settings as { handler?: string };
    const known = this.functions.get(name) ?? { revisions: [], traffic: [], followLatest: true };
    const newest = known.revisions.at(-1) as { source?: string; config?: { handler?: string } } | undefined;
    if (handler === "broken.ts") {
      const { error } = new VirgaError("build_failed", "';' expected", { location: "broken.ts:2:5" }).toBody();
      say({ kind: "error", error });
      return void response.end();
    }
    const changed = newest?.source !== source || newest?.config?.handler !== handler;
    if (changed)
      known.revisions.push({ number: known.revisions.length + 1, source, config: { handler, settings }, createdAt: 0 });
    known.traffic = [{ revision: known.revisions.length, weight: 100 }];
    this.functions.set(name, known);
    say({
      kind: "done",
      result: { function: this.#state(namespace, name), revision: known.revisions.at(-1), changed },
    });
    response.end();
  }

  #state(namespace: string, name: string): unknown {
    const known = this.functions.get(name);
    return {
      namespace,
      name,
      latestRevision: known?.revisions.length,
      followLatest: known?.followLatest,
      traffic: known?.traffic,
      createdAt: 0,
      updatedAt: 0,
    };
  }
}

const day = { namespace: "default", errors: 0, coldStarts: 1, billedMs: 1000, cpuSeconds: 0, bytesIn: 0, bytesOut: 0 };
const usage = {
  items: [
    { ...day, name: "b", day: "2026-11-01", requests: 1_000_000, gbSeconds: 10 },
    { ...day, name: "a", day: "2026-11-01", requests: 2, gbSeconds: 0 },
    { ...day, name: "b", day: "2026-11-02", requests: 1_000_000, gbSeconds: 10 },
  ],
  rates: { currency: "EUR", perMillionRequests: 0.2, perGbSecond: 0.01, perCpuSecond: 0 },
};

function json(response: ServerResponse, status: number, data: unknown): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(data));
}
