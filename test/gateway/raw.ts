import { connect, type Socket } from "node:net";

/** A bare connection: for what no well-behaved client sends. */
export class RawConnection {
  readonly socket: Socket;
  #received = "";
  #closed = false;
  #wake: () => void = () => undefined;

  constructor(port: number) {
    this.socket = connect(port, "127.0.0.1");
    this.socket.on("data", (chunk) => {
      this.#received += chunk.toString("latin1");
      this.#wake();
    });
    this.socket.on("error", () => this.socket.destroy());
    this.socket.on("close", () => {
      this.#closed = true;
      this.#wake();
    });
  }

  get closed(): boolean {
    return this.#closed;
  }

  get received(): string {
    return this.#received;
  }

  send(...parts: (string | Uint8Array)[]): this {
    for (const part of parts) this.socket.write(part);
    return this;
  }

  /** Resolves when `condition` holds for what has come; rejects where the connection closes before it does. */
  async until(condition: (received: string) => boolean): Promise<string> {
    while (!condition(this.#received)) {
      if (this.#closed) throw new Error(`the connection closed after: ${this.#received.slice(0, 500)}`);
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    return this.#received;
  }

  /** One answer with a content-length, taken off what has come. */
  async answer(): Promise<{ status: number; head: string; body: string }> {
    await this.until((text) => {
      const end = text.indexOf("\r\n\r\n");
      return end !== -1 && text.length >= end + 4 + lengthIn(text.slice(0, end));
    });
    const end = this.#received.indexOf("\r\n\r\n");
    const head = this.#received.slice(0, end);
    const length = lengthIn(head);
    const body = this.#received.slice(end + 4, end + 4 + length);
    this.#received = this.#received.slice(end + 4 + length);
    return { status: Number(head.slice(9, 12)), head, body };
  }

  /** Takes an answer without a body off what has come, whatever length it declares. */
  skipHead(): void {
    this.#received = this.#received.slice(this.#received.indexOf("\r\n\r\n") + 4);
  }

  async untilClosed(): Promise<string> {
    while (!this.#closed) await new Promise<void>((resolve) => (this.#wake = resolve));
    return this.#received;
  }

  close(): void {
    this.socket.destroy();
  }
}

function lengthIn(head: string): number {
  return Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0);
}
