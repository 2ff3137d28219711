import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { VirgaError } from "../../src/core/errors.ts";
import { RawConnection } from "./raw.ts";
import { echo, type ScriptedCall, startRig } from "./rig.ts";

describe("health and stopping", () => {
  test("is up without a token, and ready while the store takes writes", async () => {
    let broken = false;
    let probes = 0;
    await using rig = await startRig({
      probe: async () => {
        probes++;
        if (broken) throw new Error("the disk is full");
      },
    });
    assert.equal((await rig.fetch("/healthz", { token: "" })).status, 200);
    assert.equal((await rig.fetch("/readyz", { token: "" })).status, 200);
    for (let index = 0; index < 10; index++) await (await rig.fetch("/readyz", { token: "" })).text();
    assert.equal(probes, 1, "asking often does not write often");
    broken = true;
    await new Promise((resolve) => setTimeout(resolve, 1050));
    const response = await rig.fetch("/readyz", { token: "" });
    assert.equal(response.status, 503);
    assert.match(await response.text(), /disk is full/);
    assert.equal((await rig.fetch("/healthz", { token: "" })).status, 200);
  });

  test("metrics are for administrators", async () => {
    await using rig = await startRig();
    const { secret } = await rig.engine.access.createToken({ description: "", namespaces: ["default"], role: "admin" });
    assert.equal((await rig.fetch("/metrics", { token: "" })).status, 401);
    assert.equal((await rig.fetch("/metrics", { token: secret })).status, 403);
    const response = await rig.fetch("/metrics");
    assert.match(response.headers.get("content-type") ?? "", /^text\/plain/);
    assert.match(await response.text(), /virga_prewarmed_instances\{runtime="node",memory_mb="256",state="ready"\} 2/);
  });

  test("stopping lets a running call end, says not ready, and takes no new connection", async () => {
    await using rig = await startRig();
    let call: ScriptedCall | undefined;
    await rig.add("slow", (started) => {
      call = started;
    });
    await rig.add("echo", echo);
    const busy = new RawConnection(rig.port).send("GET /f/default/slow HTTP/1.1\r\nhost: x\r\n\r\n");
    const idle = new RawConnection(rig.port).send("GET /f/default/echo HTTP/1.1\r\nhost: x\r\n\r\n");
    await idle.answer();
    while (call === undefined) await new Promise((resolve) => setImmediate(resolve));
    const stopped = rig.listener.close(10_000);
    await idle.untilClosed();
    await assert.rejects(fetch(`${rig.url}/healthz`));
    busy.send("GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n");
    call.answer(200, [], "done");
    assert.equal((await busy.answer()).body, "done");
    assert.equal((await busy.answer()).status, 503);
    await stopped;
    await busy.untilClosed();
  });

  test("stopping cuts off what does not end in its time", async () => {
    await using rig = await startRig();
    await rig.add("endless", (call) => call.sink.head(200, []));
    const raw = new RawConnection(rig.port).send("GET /f/default/endless HTTP/1.1\r\nhost: x\r\n\r\n");
    await raw.until((text) => text.includes("\r\n\r\n"));
    await rig.listener.close(20);
    await raw.untilClosed();
    while (rig.calls.at(-1)?.cancelled === undefined) await new Promise((resolve) => setImmediate(resolve));
  });

  test("a port that is taken is named, with the way out", async () => {
    await using rig = await startRig();
    await assert.rejects(rig.gateway.listen({ host: "127.0.0.1", port: rig.port }), (error: VirgaError) => {
      assert.equal(error.code, "unavailable");
      assert.match(error.message, new RegExp(String(rig.port)));
      assert.match(error.detail.fix ?? "", /--port/);
      return true;
    });
  });
});
