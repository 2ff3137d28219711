/** The part of the watchdog's guest that this host's C compiler makes. */
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

/**
 * `guest/fork-server.c` as a shared library; undefined where this host cannot make one, which is asked each time: a compiler may
 * be installed while the server runs. Never rejects.
 */
export async function forkServer(): Promise<Buffer | undefined> {
  compiled ??= compile().catch(() => undefined);
  const library = await compiled;
  if (library === undefined) compiled = undefined;
  return library;
}

let compiled: Promise<Buffer | undefined> | undefined;

async function compile(): Promise<Buffer> {
  const folder = await mkdtemp(join(tmpdir(), "virga-fork-server-"));
  try {
    const output = join(folder, "fork-server.so");
    // The same compiler makes the same bytes of it: a function that is deployed again unchanged has no new revision.
    const parameters = ["-O2", "-shared", "-fPIC", "-Wl,--build-id=none", "-o", output, source];
    await promisify(execFile)("cc", parameters, { timeout: longestMs });
    return await readFile(output);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const source = fileURLToPath(new URL("guest/fork-server.c", import.meta.url));
const longestMs = 20_000;
