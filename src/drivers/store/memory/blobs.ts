import { createHash } from "node:crypto";
import { VirgaError } from "../../../core/errors.ts";
import type { Clock } from "../../../ports/clock.ts";
import type { Blobs } from "../../../ports/blobs.ts";

export function createMemoryBlobs(clock: Clock): Blobs {
  const blobs = new Map<string, { content: Uint8Array; storedAt: number }>();

  return {
    async put(content, { expect, maxBytes = Infinity } = {}) {
      const hash = createHash("sha256");
      const chunks: Uint8Array[] = [];
      let size = 0;
      for await (const chunk of content) {
        size += chunk.byteLength;
        if (size > maxBytes) throw new VirgaError("request_too_large", `the content is over ${maxBytes} bytes`);
        hash.update(chunk);
        chunks.push(new Uint8Array(chunk));
      }
      const digest = hash.digest("hex");
      if (expect !== undefined && expect !== digest)
        throw new VirgaError("bad_request", `the content's SHA-256 is ${digest}, not ${expect}`, {
          fix: "Send it again; it changed or broke off on the way.",
        });
      blobs.set(digest, { content: Buffer.concat(chunks), storedAt: clock.now() });
      return { digest, size };
    },
    async get(digest) {
      const found = blobs.get(digest);
      if (found === undefined) throw new VirgaError("not_found", `there is no content ${digest}`);
      return {
        size: found.content.byteLength,
        content: (async function* () {
          if (found.content.byteLength > 0) yield new Uint8Array(found.content);
        })(),
      };
    },
    async has(digest) {
      const found = blobs.get(digest);
      if (found !== undefined) found.storedAt = clock.now();
      return found !== undefined;
    },
    async delete(digest, { unusedSince = Infinity } = {}) {
      const isUsed = (blobs.get(digest)?.storedAt ?? -Infinity) >= unusedSince;
      if (!isUsed) blobs.delete(digest);
      return !isUsed;
    },
    async *list() {
      for (const [digest, { content, storedAt }] of blobs) yield { digest, size: content.byteLength, storedAt };
    },
  };
}
