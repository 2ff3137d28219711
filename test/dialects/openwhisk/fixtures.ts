/** The programs that the suites deploy. */
import { chmodSync, cpSync } from "node:fs";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { setTimeout as pause } from "node:timers/promises";
import { ZipFile } from "yazl";
import type { Whisk } from "./whisk.ts";

/** A copy of `fixtures/NAME` that clients may write into; its path. */
export function fixture(whisk: Whisk, name: string): string {
  const copy = join(whisk.home, name);
  cpSync(join(import.meta.dirname, "fixtures", name), copy, { recursive: true });
  chmodSync(copy, 0o755);
  return copy;
}

export interface ZipEntry {
  readonly path: string;
  readonly content: Uint8Array | string;
  /** Default 0644. */
  readonly mode?: number;
  /** Default true. */
  readonly compress?: boolean;
}

export function zipOf(entries: readonly ZipEntry[]): Promise<Uint8Array> {
  const zip = new ZipFile();
  for (const { path, content, mode = 0o644, compress = true } of entries)
    zip.addBuffer(Buffer.from(content), path, { mode: 0o100000 | mode, compress });
  zip.end();
  return buffer(zip.outputStream);
}

/** Activations and deliveries come a moment behind what causes them. */
export async function until<T>(look: () => Promise<T>, tries = 60): Promise<T> {
  for (;;) {
    try {
      return await look();
    } catch (thrown) {
      if (--tries === 0) throw thrown;
      await pause(200);
    }
  }
}
