import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { connect } from "node:net";
import { after, before, describe, test } from "node:test";
import { deflateRawSync, gzipSync } from "node:zlib";
import { packTar } from "modern-tar";
import { packSource, Platform, type Answer } from "./harness.ts";

let platform: Platform;
before(async () => {
  platform = await Platform.start();
  await platform.deploy("hello", { "index.mjs": `export default () => "hello";` }, { runtime: "node", public: true });
});
after(() => platform.stop());

/** Whatever was sent before: the platform is up, and nothing but `hello` is there. */
async function unharmed(): Promise<void> {
  assert.equal((await platform.call("hello")).text, "hello");
  const { items } = (await platform.request("/v1/namespaces/default/functions")).json();
  assert.deepEqual(
    items.map((item: { name: string }) => item.name),
    ["hello"],
  );
}

function deploy(source: string, extra: Record<string, unknown> = {}): Promise<Answer> {
  return platform.request("/v1/namespaces/default/functions/bad", {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ source, settings: { runtime: "node", ...extra } }),
  });
}

describe("a malformed request gets a clear error and changes nothing", () => {
  const bodies: Record<string, { body: string; field?: string }> = {
    "that is no JSON": { body: "{nope" },
    "that is an array": { body: "[]" },
    "with an unknown field": { body: `{"settings":{"memmory":12}}`, field: "memmory" },
    "with a limit out of range": { body: `{"settings":{"limits":{"memoryMb":-1}}}`, field: "limits.memoryMb" },
    "with a text for a number": { body: `{"settings":{"limits":{"timeoutMs":"soon"}}}`, field: "limits.timeoutMs" },
    "with a source that was never uploaded": { body: `{"source":"${"0".repeat(64)}","settings":{"runtime":"node"}}` },
    "with a prototype in it": { body: `{"settings":{"__proto__":{"public":true},"constructor":1}}` },
  };
  for (const [what, { body, field }] of Object.entries(bodies))
    test(`a deploy ${what}`, async () => {
      const answer = await platform.request("/v1/namespaces/default/functions/bad", {
        method: "PUT",
        body,
        headers: { "content-type": "application/json" },
      });
      assert.ok(answer.status >= 400 && answer.status < 500, `${answer.status} ${answer.text}`);
      const { error } = answer.json();
      assert.ok(error.message.length > 5);
      if (field) assert.ok(`${error.field} ${error.message}`.includes(field), answer.text);
      await unharmed();
    });

  for (const name of ["..%2f..%2fetc", "UPPER CASE", "a".repeat(300), "%00", "%ff%fe", "-", ".."])
    test(`a function named ${name.slice(0, 20)}`, async () => {
      const answer = await platform.request(
        `/v1/namespaces/default/functions/${encodeURI(name).replaceAll("%25", "%")}`,
        { method: "PUT", body: `{"settings":{}}`, headers: { "content-type": "application/json" } },
      );
      assert.ok(answer.status >= 400 && answer.status < 500, `${answer.status} ${answer.text}`);
      await unharmed();
    });

  test("headers of a megabyte", async () => {
    const answer = await raw(`GET /f/default/hello/ HTTP/1.1\r\nhost: x\r\nx-big: ${"y".repeat(1 << 20)}\r\n\r\n`);
    assert.match(answer, /^HTTP\/1\.1 431 /);
    await unharmed();
  });

  test("a request that is no HTTP", async () => {
    assert.match(await raw("\x16\x03\x01\x02\x00\x01\x00\r\n\r\n"), /^HTTP\/1\.1 400 /);
    await unharmed();
  });

  test("an upload that breaks off", async () => {
    const digest = createHash("sha256").update("whole").digest("hex");
    await raw(
      `PUT /v1/namespaces/default/sources/${digest} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${platform.token}\r\ncontent-length: 100000\r\n\r\nwho`,
      true,
    );
    assert.equal((await platform.request(`/v1/namespaces/default/sources/${digest}`, { method: "HEAD" })).status, 404);
    await unharmed();
  });

  test("an upload that is not what its name says", async () => {
    const digest = createHash("sha256").update("other").digest("hex");
    const answer = await platform.request(`/v1/namespaces/default/sources/${digest}`, { method: "PUT", body: "this" });
    assert.equal(answer.status, 400, answer.text);
    assert.equal((await platform.request(`/v1/namespaces/default/sources/${digest}`, { method: "HEAD" })).status, 404);
  });

  test("a call larger than the function takes", async () => {
    const answer = await platform.call("hello", { body: Buffer.alloc(17 << 20) });
    assert.equal(answer.status, 413);
    assert.equal(answer.json().error.code, "request_too_large");
    assert.match(answer.json().error.message, /16/);
    await unharmed();
  });
});

describe("an archive that does not keep to the rules is refused by the entry's name", () => {
  const entry = (
    name: string,
    body = "x",
    extra: Record<string, unknown> = {},
  ): Parameters<typeof packTar>[0][number] => ({
    header: { name, size: Buffer.byteLength(body), type: "file", ...extra } as never,
    body,
  });
  const archives: Record<string, () => Promise<Uint8Array>> = {
    "an absolute path": async () => gzipSync(await packTar([entry("/etc/virga-was-here")])),
    "a path that climbs out": async () => gzipSync(await packTar([entry("../../../tmp/virga-was-here")])),
    "a link that leads outside": async () =>
      gzipSync(
        await packTar([
          { header: { name: "out", type: "symlink", linkname: "/etc/passwd", size: 0 } },
          entry("index.mjs"),
        ] as never),
      ),
    "a device": async () =>
      gzipSync(
        await packTar([
          { header: { name: "null", type: "character-device", size: 0, devmajor: 1, devminor: 3 } },
        ] as never),
      ),
    "nothing but noise": async () => gzipSync(Buffer.from("this is no tar archive at all".repeat(100))),
    "a gzip that breaks off": async () => (await packSource({ "index.mjs": "x".repeat(5000) })).slice(0, 60),
    "three gigabytes of zeros in a few megabytes": async () =>
      gzipSync(Buffer.concat([tarHead("zeros", 3 * 2 ** 30), Buffer.alloc(1 << 30)]), { level: 1 }),
    "a zip whose sizes lie": async () => lyingZip(),
  };
  for (const [what, make] of Object.entries(archives))
    test(what, { timeout: 60_000 }, async () => {
      const digest = await platform.upload(await make());
      const answer = await deploy(digest);
      assert.ok(answer.status === 400 || answer.status === 413, `${answer.status} ${answer.text}`);
      assert.ok(["invalid_archive", "archive_too_large"].includes(answer.json().error.code), answer.text);
      await unharmed();
    });
});

/** Sends bytes on a connection of its own and gives what comes back. */
function raw(text: string, hangUp = false): Promise<string> {
  const { hostname, port } = new URL(platform.url);
  return new Promise((done) => {
    let answer = "";
    const socket = connect(Number(port), hostname, () => {
      socket.write(text);
      if (hangUp) setTimeout(() => socket.destroy(), 50);
    });
    socket.on("data", (chunk: Buffer) => (answer += chunk.toString("latin1")));
    socket.on("error", () => done(answer));
    socket.on("close", () => done(answer));
  });
}

function tarHead(name: string, size: number): Buffer {
  const head = Buffer.alloc(512);
  head.write(name, 0);
  head.write("0000644\0", 100);
  head.write("0000000\0", 108);
  head.write("0000000\0", 116);
  head.write(size.toString(8).padStart(11, "0") + "\0", 124);
  head.write("00000000000\0", 136);
  head.write("        ", 148);
  head.write("0", 156);
  head.write("ustar\x0000", 257);
  const sum = head.reduce((total, byte) => total + byte, 0);
  head.write(sum.toString(8).padStart(6, "0") + "\0 ", 148);
  return head;
}

/** A zip of one entry that says 10 bytes and unpacks to 64 MiB. */
function lyingZip(): Buffer {
  const packed = deflateRawSync(Buffer.alloc(64 << 20));
  const name = Buffer.from("index.mjs");
  const local = Buffer.alloc(30);
  local.writeUInt32LE(0x04034b50, 0);
  local.writeUInt16LE(20, 4);
  local.writeUInt16LE(8, 8);
  local.writeUInt32LE(packed.length, 18);
  local.writeUInt32LE(10, 22);
  local.writeUInt16LE(name.length, 26);
  const central = Buffer.alloc(46);
  central.writeUInt32LE(0x02014b50, 0);
  central.writeUInt16LE(20, 4);
  central.writeUInt16LE(20, 6);
  central.writeUInt16LE(8, 10);
  central.writeUInt32LE(packed.length, 20);
  central.writeUInt32LE(10, 24);
  central.writeUInt16LE(name.length, 28);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(1, 8);
  end.writeUInt16LE(1, 10);
  end.writeUInt32LE(central.length + name.length, 12);
  end.writeUInt32LE(local.length + name.length + packed.length, 16);
  return Buffer.concat([local, name, packed, central, name, end]);
}
