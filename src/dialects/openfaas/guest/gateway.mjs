// `gateway:8080` inside a network namespace of the function's own: each connection goes on to the platform's socket.
import { existsSync } from "node:fs";
import { connect, createServer } from "node:net";

const socketPath = "/run/virga/openfaas/gateway.sock";
const port = 8080;

export function relayGateway() {
  if (!existsSync(socketPath)) return Promise.resolve();
  const server = createServer({ allowHalfOpen: true }, (client) => {
    const gateway = connect({ path: socketPath, allowHalfOpen: true });
    client.on("error", () => gateway.destroy());
    gateway.on("error", () => client.destroy());
    client.pipe(gateway).pipe(client);
  });
  server.unref();
  return new Promise((resolve) => {
    server.once("listening", resolve);
    // Where the network is the host's, or the function's own server has the port, the gateway is reached as it is.
    server.once("error", resolve);
    server.listen(port, "127.0.0.1");
  });
}
