import { createServer } from "node:http";

let visits = 0;

const server = createServer((request, response) => {
  visits++;
  response.writeHead(200, { "content-type": "application/json" });
  response.end(JSON.stringify({ path: request.url, visits, process: process.pid }));
});

server.listen(Number(process.env.PORT), process.env.HOST ?? "127.0.0.1");
process.on("SIGTERM", () => server.close());
