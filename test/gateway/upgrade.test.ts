import assert from "node:assert/strict";
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, describe, test } from "node:test";
import { WebSocket, WebSocketServer } from "ws";
import { VirgaError } from "../../src/core/errors.ts";
import { RawConnection } from "./raw.ts";
import { echo, type Rig, startRig } from "./rig.ts";

describe("WebSocket connections", () => {
  let rig: Rig;
  let server: Server;
  let port = 0;
  let refuse = false;
  const closed: { bytesIn: number; bytesOut: number; error: VirgaError | undefined }[] = [];
  const seen: IncomingMessage[] = [];

  before(async () => {
    server = createServer();
    new WebSocketServer({ server }).on("connection", (socket, request) => {
      seen.push(request);
      socket.on("message", (data, binary) => socket.send(data, { binary }));
      socket.on("error", (error) => assert.fail(error));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    port = (server.address() as AddressInfo).port;
    rig = await startRig({
      connect: async () => {
        if (refuse) throw new VirgaError("queue_full", "1000 calls wait already");
        return {
          id: "slot",
          host: "127.0.0.1",
          port,
          close: (bytesIn, bytesOut, error) => void closed.push({ bytesIn, bytesOut, error }),
        };
      },
    });
    await rig.add("chat", echo, { convention: "http" });
    await rig.add("private", echo, { convention: "http", public: false });
  });
  after(async () => {
    await rig[Symbol.asyncDispose]();
    server.closeAllConnections();
    server.close();
  });

  function open(path: string, headers: Record<string, string> = {}): Promise<WebSocket> {
    return new Promise((resolve, reject) => {
      const socket = new WebSocket(`ws://127.0.0.1:${rig.port}${path}`, { headers });
      socket.once("open", () => resolve(socket));
      socket.once("error", reject);
    });
  }

  async function givenBack(count: number): Promise<void> {
    while (closed.length < count) await new Promise((resolve) => setImmediate(resolve));
  }

  test("reach the function's own server, and are counted when they end", async () => {
    const before = closed.length;
    const socket = await open("/f/default/chat/room?x=1", { "x-own": "1" });
    for (const message of ["hello", "x".repeat(200_000)]) {
      const answer = new Promise<string>((resolve) =>
        socket.once("message", (data: Buffer) => resolve(data.toString())),
      );
      socket.send(message);
      assert.equal(await answer, message);
    }
    socket.close();
    await givenBack(before + 1);
    const last = closed.at(-1);
    assert.ok(last !== undefined && last.bytesIn > 200_000 && last.bytesOut > 200_000);
    assert.equal(last.error, undefined);
    assert.equal(seen.at(-1)?.url, "/room?x=1");
    assert.equal(seen.at(-1)?.headers["x-own"], "1");
    assert.equal(seen.at(-1)?.headers["x-forwarded-for"], "127.0.0.1");
  });

  test("need a token where the function is not public, which it does not see", async () => {
    await assert.rejects(open("/f/default/private"), /401/);
    const before = closed.length;
    const socket = await open("/f/default/private", { authorization: `Bearer ${rig.token}` });
    assert.equal(seen.at(-1)?.headers.authorization, undefined);
    socket.terminate();
    await givenBack(before + 1);
  });

  test("are refused with the reason where there is no room, no function, or no server", async () => {
    refuse = true;
    await assert.rejects(open("/f/default/chat"), /429/);
    refuse = false;
    await assert.rejects(open("/f/default/none"), /404/);
    await assert.rejects(open("/v1"), /400/);
    const right = port;
    port = 1;
    const before = closed.length;
    await assert.rejects(open("/f/default/chat"), /502/);
    assert.equal(closed.length, before + 1);
    assert.equal(closed.at(-1)?.error?.code, "function_crashed");
    port = right;
  });

  test("give their slot back when the client is gone without a word", async () => {
    const before = closed.length;
    const raw = new RawConnection(rig.port);
    raw.send(
      "GET /f/default/chat HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\n",
      "sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    await raw.until((text) => text.startsWith("HTTP/1.1 101"));
    raw.close();
    await givenBack(before + 1);
  });

  test("end with the platform", async () => {
    await using other = await startRig({
      connect: async () => ({ id: "slot", host: "127.0.0.1", port, close: () => undefined }),
    });
    await other.add("chat", echo);
    const socket = new WebSocket(`ws://127.0.0.1:${other.port}/f/default/chat`);
    await new Promise((resolve) => socket.once("open", resolve));
    const ended = new Promise((resolve) => socket.once("close", resolve));
    await other.listener.close(10);
    await ended;
  });
});
