/** The floor: a bare `node:http` server that answers the same. Prints its port. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

const server = createServer((_request, response) => {
  response.writeHead(200, { "content-type": "text/plain;charset=UTF-8", "content-length": 5 });
  response.end("hello");
});
server.listen(0, "127.0.0.1", () => console.log((server.address() as AddressInfo).port));
