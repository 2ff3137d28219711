import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { missingClients } from "../../clients/clients.ts";
import { missingTools } from "../../tools.ts";
import { Faas } from "./faas.ts";
import { type Neighbour, neighbour } from "./fixtures/neighbours.ts";
import { ObjectStorage } from "./fixtures/object-storage.ts";

const skip = missingClients("faas-cli") || missingTools("bwrap", "pip") || missingImageMagick();

describe("pictures that go from function to function by a storage of objects", { skip, timeout: 90_000 }, () => {
  const storage = new ObjectStorage("incoming", "processed");
  const pictures = [picture("red-blue"), picture("lime-yellow")];
  let faas: Faas;
  let stored: Neighbour;
  let web: Neighbour;

  before(async () => {
    faas = await Faas.start();
    stored = await neighbour(storage.handle);
    web = await neighbour((request, response) => response.end(pictures[Number(request.url!.slice(1))]));
    const cwd = faas.folderWith("python3");
    cpSync(join(import.meta.dirname, "fixtures/storage"), cwd, { recursive: true });
    const environment = { STORAGE_URL: stored.url };
    const builder = ["--remote-builder", `${faas.gateway}/build`, "--payload-secret", faas.payloadSecret];
    await faas.ok(["up", "-f", "storage.yml", "--skip-push", ...builder], { cwd, environment });
  });
  after(async () => {
    await faas?.stop();
    stored?.close();
    web?.close();
  });

  test("a program of the host converts raw bytes, as they come and as they go", async () => {
    const answer = await faas.call("convertbw", { method: "POST", body: pictures[0]! });
    assert.equal(answer.status, 200);
    assert.ok(isGrey(Buffer.from(await answer.arrayBuffer())));
    assert.ok(!isGrey(pictures[0]!));
  });

  test("one function loads, the next has each converted by a third, and names what it stored", async () => {
    const urls = pictures.map((_, index) => `${web.url}/${index}`);
    const loaded = await faas.invoke("loadimages", JSON.stringify({ urls }));
    assert.deepEqual(JSON.parse(loaded), storage.keys("incoming"));
    assert.deepEqual(
      storage.keys("incoming").map((key) => storage.get("incoming", key)),
      pictures,
    );
    const processed = await faas.invoke("processimages", loaded);
    assert.deepEqual(JSON.parse(processed), storage.keys("processed"));
    assert.equal(storage.keys("processed").length, pictures.length);
    for (const key of storage.keys("processed")) assert.ok(isGrey(storage.get("processed", key)), key);
  });

  test("what the chain cannot reach is told by the function that wanted it", async () => {
    const failed = await faas.cli(["invoke", "processimages"], { input: '["nothing.png"]' });
    assert.equal(failed.code, 1);
    assert.match(failed.stdout + failed.stderr, /unexpected status code: 500 - exit status 1\n[^]*HTTP Error 404/);
  });
});

/** Several hundred kilobytes of two colours. */
function picture(colours: string): Buffer {
  return convert(["-size", "400x400", `gradient:${colours}`, "-attenuate", "0.4", "+noise", "Gaussian", "png:-"]);
}

function isGrey(png: Buffer): boolean {
  assert.equal(png.toString("latin1", 1, 4), "PNG");
  const pixels = convert(["png:-", "-depth", "8", "rgb:-"], png);
  assert.equal(pixels.length, 400 * 400 * 3);
  for (let at = 0; at < pixels.length; at += 3)
    if (pixels[at] !== pixels[at + 1] || pixels[at] !== pixels[at + 2]) return false;
  return true;
}

function convert(parameters: readonly string[], input?: Buffer): Buffer {
  const { stdout, stderr, status } = spawnSync("/usr/bin/convert", parameters, { input, maxBuffer: 2 ** 24 });
  if (status !== 0) throw new Error(stderr.toString());
  return stdout;
}

/** As `missingTools`, for the one program that only this suite needs. */
function missingImageMagick(): string | false {
  if (spawnSync("/usr/bin/convert", ["-version"], { encoding: "utf8" }).stdout?.includes("ImageMagick")) return false;
  const reason = "needs convert: apt-get install imagemagick";
  if (process.env["VIRGA_TEST_REQUIRE_TOOLS"] === "1") throw new Error(reason);
  return reason;
}
