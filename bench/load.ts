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
  const requests = paths.map(
    (path) => `${method} ${path} HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\n${head}${length}\r\n${body}`,
  );
  const until = performance.now() + options.seconds * 1000;
  const latencies: number[] = [];
  await Promise.all(Array.from({ length: options.connections }, () => drive(options, requests, until, latencies)));
  return latencies;
}

function drive(
  options: { port: number; expect: string },
  requests: readonly string[],
  until: number,
  latencies: number[],
): Promise<void> {
  return new Promise((done, failed) => {
    let sent = 0;
    // Connections begin at different ones.
    let next = Math.floor(Math.random() * requests.length);
    let received = "";
    const socket: Socket = connect({ port: options.port, host: "127.0.0.1", noDelay: true });
    const send = (): void => {
      received = "";
      sent = performance.now();
      socket.write(requests[next++ % requests.length]!);
    };
    socket.once("connect", send);
    socket.on("data", (chunk: Buffer) => {
      received += chunk.toString("latin1");
      if (!complete(received)) return;
      if (!received.startsWith("HTTP/1.1 200") || !received.includes(options.expect, received.indexOf("\r\n\r\n"))) {
        socket.destroy();
        return failed(new Error(`unexpected answer: ${received.slice(0, 500)}`));
      }
      const now = performance.now();
      latencies.push(now - sent);
      if (now < until) send();
      else socket.end(done);
    });
    socket.on("error", failed);
  });
}

function complete(text: string): boolean {
  const end = text.indexOf("\r\n\r\n");
  if (end < 0) return false;
  const head = text.slice(0, end).toLowerCase();
  const at = head.indexOf("\r\ncontent-length:");
  if (at >= 0) return text.length >= end + 4 + Number.parseInt(head.slice(at + 17), 10);
  return text.endsWith("0\r\n\r\n");
}
