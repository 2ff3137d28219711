import { connect, type Socket } from "node:net";

/**
 * A closed-loop HTTP/1.1 load on keep-alive connections, as lean as a client in this process can be,
 * so that the server's cost shows. Gives each call's latency in milliseconds.
 */
export async function load(options: {
  port: number;
  path: string;
  headers?: Record<string, string>;
  connections: number;
  seconds: number;
  /** What each answer must end with. */
  expect: string;
}): Promise<number[]> {
  const head = Object.entries(options.headers ?? {})
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join("");
  const request = `GET ${options.path} HTTP/1.1\r\nhost: 127.0.0.1:${options.port}\r\n${head}\r\n`;
  const until = performance.now() + options.seconds * 1000;
  const latencies: number[] = [];
  await Promise.all(Array.from({ length: options.connections }, () => drive(options, request, until, latencies)));
  return latencies;
}

function drive(
  options: { port: number; expect: string },
  request: string,
  until: number,
  latencies: number[],
): Promise<void> {
  return new Promise((done, failed) => {
    let sent = 0;
    let received = "";
    const socket: Socket = connect({ port: options.port, host: "127.0.0.1", noDelay: true });
    const send = (): void => {
      received = "";
      sent = performance.now();
      socket.write(request);
    };
    socket.once("connect", send);
    socket.on("data", (chunk: Buffer) => {
      received += chunk.toString("latin1");
      if (!complete(received)) return;
      if (!received.startsWith("HTTP/1.1 200") || !received.trimEnd().endsWith(options.expect)) {
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
