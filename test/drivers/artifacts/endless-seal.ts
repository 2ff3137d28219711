/** Seals trees of many files, one after another, until it is killed; says `did DIGEST;` for each. */
import { randomBytes } from "node:crypto";
import { mkdirSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { openFileArtifacts } from "../../../src/drivers/artifacts/files/artifacts.ts";
import { openFileBlobs } from "../../../src/drivers/blobs/files/blobs.ts";
import { systemClock } from "../../../src/drivers/host/clock.ts";

const home = process.argv[2] ?? "";
const blobs = await openFileBlobs({ directory: join(home, "blobs"), clock: systemClock });
const artifacts = await openFileArtifacts({ directory: join(home, "artifacts"), blobs, clock: systemClock });
writeSync(1, "open;\n");

async function seal(): Promise<never> {
  for (;;) {
    const folder = await artifacts.workspace();
    for (let index = 0; index < 40; index++) {
      const below = join(folder, `folder-${index % 7}`);
      mkdirSync(below, { recursive: true });
      writeFileSync(join(below, `file-${index}`), randomBytes(Math.floor(Math.random() * 20_000)));
    }
    const { digest } = await artifacts.seal(folder);
    writeSync(1, `did ${digest};\n`);
  }
}
await Promise.all([seal(), seal()]);
