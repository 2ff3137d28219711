import assert from "node:assert/strict";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { describe, test, type TestContext } from "node:test";
import { Client, path } from "../../src/cli/client.ts";
import { folder, run } from "./harness.ts";

async function clientOf(t: TestContext, listener: RequestListener): Promise<Client> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const client = new Client({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, token: "t" });
  t.after(() => {
    client.close();
    server.close();
    server.closeAllConnections();
  });
  return client;
}

async function gather<T>(lines: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const line of lines) all.push(line);
  return all;
}

describe("the client", () => {
  test("lines are put together across chunks, also inside of a character", async (t) => {
    const bytes = Buffer.from('{"a":"é"}\n\n{"a":"ü"}');
    const client = await clientOf(t, (_request, response) => {
      void (async () => {
        for (const byte of bytes) {
          response.write(Buffer.of(byte));
          await new Promise(setImmediate);
        }
        response.end();
      })();
    });
    assert.deepEqual(await gather(client.lines("GET", "/")), [{ a: "é" }, { a: "ü" }]);
  });

  test("an answer that is cut off is an error, not an end", async (t) => {
    const client = await clientOf(t, (_request, response) => {
      response.write('{"a":1}\n', () => response.destroy());
    });
    await assert.rejects(gather(client.lines("GET", "/")), { code: "unavailable", message: /connection to .* broke/ });
  });

  test("what is no Virga server is said to be none", async (t) => {
    const client = await clientOf(t, (_request, response) => response.end("<html>"));
    await assert.rejects(client.get("/v1"), { code: "internal", message: /no JSON: <html>/ });
    await assert.rejects(gather(client.lines("GET", "/")), { code: "internal" });
  });

  test("an unknown error code is told by its status", async (t) => {
    const client = await clientOf(t, (request, response) => {
      response.writeHead(Number(request.url?.slice(1))).end('{"error":{"code":"of_tomorrow","message":"no"}}');
    });
    await assert.rejects(client.get("/409"), { code: "conflict" });
    await assert.rejects(client.get("/418"), { code: "bad_request" });
    await assert.rejects(client.get("/502"), { code: "internal" });
  });

  test("a file that cannot be read is not blamed on the server", async (t) => {
    const client = await clientOf(t, (request, response) => request.resume().on("end", () => response.end()));
    const root = folder(t);
    const outcome = await run(["invoke", "a", "-d", "@missing", "--url", client.url], { directory: root });
    assert.equal(outcome.code, 2);
    assert.match(outcome.stderr, new RegExp(join(root, "missing")));
  });

  test("what is put into a path cannot leave its place", () => {
    assert.equal(
      path`/v1/namespaces/${"../x?y#z"}/functions/${"a b"}`,
      "/v1/namespaces/..%2Fx%3Fy%23z/functions/a%20b",
    );
  });
});
