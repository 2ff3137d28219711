import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createLog } from "../../../src/drivers/host/log.ts";
import { createSandbox, type SandboxChoice, type SandboxOptions } from "../../../src/drivers/sandbox/sandbox.ts";
import type { OpenedSandbox } from "../../contracts/sandbox.ts";

/** A sandbox with a state folder of its own, which goes with it. */
export async function openSandbox(
  choice: SandboxChoice,
  options: Partial<SandboxOptions> = {},
): Promise<OpenedSandbox & { readonly stateDirectory: string }> {
  const stateDirectory = mkdtempSync(join(tmpdir(), "virga-sandbox-"));
  // Instances' users pass through.
  chmodSync(stateDirectory, 0o711);
  const log = createLog({ level: "silent", pretty: false });
  const sandbox = await createSandbox({ choice, stateDirectory, log, ...options });
  return {
    sandbox,
    stateDirectory,
    async close() {
      await sandbox.close();
      rmSync(stateDirectory, { recursive: true });
    },
  };
}

/** The control groups of a server with this mark. */
export function groupFolders(mark: string): string[] {
  const found: string[] = [];
  const look = (path: string, depth: number): void => {
    for (const entry of readdirSync(path, { withFileTypes: true })) {
      if (!entry.isDirectory()) continue;
      if (entry.name === mark) found.push(join(path, entry.name));
      else if (depth > 0) look(join(path, entry.name), depth - 1);
    }
  };
  if (existsSync("/sys/fs/cgroup")) look("/sys/fs/cgroup", 4);
  return found;
}
