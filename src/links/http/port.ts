import { connect, createServer } from "node:net";

/** A port on loopback that nothing listens on; ours alone until it is given back, as far as this process goes. */
export async function takePort(): Promise<number> {
  for (;;) {
    const port = await freePort();
    if (taken.has(port)) continue;
    taken.add(port);
    return port;
  }
}

export function givePortBack(port: number): void {
  taken.delete(port);
}

/** The loopback address on which something accepts connections to the port; undefined where nothing does. */
export async function acceptingHost(port: number): Promise<string | undefined> {
  if (await accepts("127.0.0.1", port)) return "127.0.0.1";
  return (await accepts("::1", port)) ? "::1" : undefined;
}

/** Ports given to programs that may not listen yet: the kernel would give them out again. */
const taken = new Set<number>();

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0));
    });
  });
}

function accepts(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    // Refused is the answer that a program which is not ready yet gives.
    socket.once("error", () => {
      socket.destroy();
      resolve(false);
    });
  });
}
