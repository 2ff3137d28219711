import { once } from "node:events";
import { createServer, type IncomingHttpHeaders, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { until } from "../../until.ts";

export interface Received {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly bytes: Buffer;
  readonly body: string;
}

/** Who is told what came of asynchronous calls. */
export class Receiver {
  readonly received: Received[] = [];
  /** What it answers. */
  answer: (received: Received) => number = () => 200;
  readonly #server: Server;

  private constructor() {
    this.#server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        const { method = "", url = "", headers } = request;
        const bytes = Buffer.concat(chunks);
        const received = { method, path: url, headers, bytes, body: bytes.toString() };
        this.received.push(received);
        response.writeHead(this.answer(received)).end("thank you");
      });
    });
  }

  static async open(): Promise<Receiver> {
    const receiver = new Receiver();
    receiver.#server.listen(0, "127.0.0.1");
    await once(receiver.#server, "listening");
    return receiver;
  }

  /** An address of its own for each who asks. */
  url(path: string): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}${path}`;
  }

  at(path: string): Received[] {
    return this.received.filter((one) => one.path === path);
  }

  /** The first on this path. */
  async first(path: string, withinMs = 30_000): Promise<Received> {
    return until(() => this.at(path)[0], `nothing came to ${path}`, withinMs);
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}
