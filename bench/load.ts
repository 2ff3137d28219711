import { connect, type Socket } from "node:net";

/**
 * A closed-loop HTTP/1.1 load on keep-alive connections, as lean as a client in this process can be,
 * so that the server's cost shows. Gives each call's latency in milliseconds.
 */
export async function load(options: {
  port: number;
  /** Several are asked in turn by each connection. */
  path: string | readonly string[];
  /** GET where absent. */
  method?: string;
  headers?: Record<string, string>;
  body?: string;
  connections: number;
  seconds: number;
  /** What each answer must have in its body. */
  expect: string;
}): Promise<number[]> {
  const head = Object.entries(options.headers ?? {})
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join("");
  const { method = "GET", body = "", port } = options;
  const length = body === "" ? "" : `content-length: ${Buffer.byteLength(body)}\r\n`;
  const paths = typeof options.path === "string" ? [options.path] : options.path;
  const requests = paths.map((path) =>
    Buffer.from(`${method} ${path} HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\n${head}${length}\r\n${body}`),
  );
  const until = performance.now() + options.seconds * 1000;
  const latencies: number[] = [];
  // One for all: what a read brings is taken out before the next.
  const buffer = Buffer.allocUnsafeSlow(2 ** 16);
  await Promise.all(
    Array.from({ length: options.connections }, () => drive(options, requests, until, latencies, buffer)),
  );
  return latencies;
}

function drive(
  options: { port: number; expect: string },
  requests: readonly Buffer[],
  until: number,
  latencies: number[],
  buffer: Buffer,
): Promise<void> {
  return new Promise((done, failed) => {
    let sent = 0;
    // Connections begin at different ones.
    let next = Math.floor(Math.random() * requests.length);
    let received = "";
    const send = (): void => {
      received = "";
      sent = performance.now();
      socket.write(requests[next++ % requests.length]!);
    };
    const read = (bytes: number): boolean => {
      const text = buffer.toString("latin1", 0, bytes);
      received = received === "" ? text : received + text;
      const end = received.indexOf("\r\n\r\n");
      if (end < 0 || !isComplete(received, end)) return true;
      if (!received.startsWith("HTTP/1.1 200") || !received.includes(options.expect, end)) {
        socket.destroy();
        failed(new Error(`unexpected answer: ${received.slice(0, 500)}`));
        return true;
      }
      const now = performance.now();
      latencies.push(now - sent);
      if (now < until) send();
      else socket.end(done);
      return true;
    };
    const socket: Socket = connect({
      port: options.port,
      host: "127.0.0.1",
      noDelay: true,
      onread: { buffer, callback: read },
    });
    socket.once("connect", send);
    socket.on("error", failed);
  });
}

/** Whether the body behind the head that ends at `end` is. */
function isComplete(text: string, end: number): boolean {
  const length = contentLength.exec(text);
  if (length !== null && length.index < end) return text.length >= end + 4 + Number(length[1]);
  return text.endsWith("0\r\n\r\n");
}

const contentLength = /\r\ncontent-length: *(\d+)/i;
