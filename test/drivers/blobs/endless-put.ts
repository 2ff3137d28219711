/** Puts contents of several megabytes, one after another, slowly enough to be killed in the middle; says `did DIGEST;` for each. */
import { randomBytes } from "node:crypto";
import { writeSync } from "node:fs";
import { systemClock } from "../../../src/drivers/host/clock.ts";
import { openFileBlobs } from "../../../src/drivers/blobs/files/blobs.ts";

const blobs = await openFileBlobs({ directory: process.argv[2] ?? "", clock: systemClock });
writeSync(1, "open;\n");

async function put(): Promise<never> {
  for (;;) {
    const { digest } = await blobs.put(
      (async function* () {
        const chunks = 1 + Math.floor(Math.random() * 20);
        for (let chunk = 0; chunk < chunks; chunk++) yield randomBytes(200_000);
      })(),
    );
    writeSync(1, `did ${digest};\n`);
  }
}
await Promise.all([put(), put(), put()]);
