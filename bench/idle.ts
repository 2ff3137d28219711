import { setTimeout as pause } from "node:timers/promises";
import { packSource, Platform } from "../test/platform/harness.ts";
import { residentBytes } from "./processes.ts";
import type { Report } from "./run.ts";

export const name = "idle";

const functions = 10_000;

/** Memory of the server with 10,000 deployed, idle functions: all of one archive, each with settings of its own. */
export async function measure(report: Report): Promise<void> {
  const platform = await Platform.start();
  try {
    const source = await platform.upload(await packSource({ "index.mjs": `export default () => "hello";` }));
    const settle = async (): Promise<number> => {
      await pause(3000);
      return residentBytes(platform.pid);
    };
    await deploy(0);
    const before = await settle();
    let next = 1;
    await Promise.all(
      Array.from({ length: 16 }, async () => {
        for (let n = next++; n < functions; n = next++) await deploy(n);
      }),
    );
    const after = await settle();
    report(`resident memory with 1 function (MiB)`, (before / 2 ** 20).toFixed(1));
    report(`resident memory with ${functions} idle functions (MiB)`, (after / 2 ** 20).toFixed(1));
    report("grown for each (KB)", ((after - before) / functions / 1000).toFixed(2));
    await platform.kill();
    await platform.up();
    const reopened = await settle();
    report(`resident memory after a restart with them (MiB)`, (reopened / 2 ** 20).toFixed(1));

    async function deploy(n: number): Promise<void> {
      const answer = await platform.request(`/v1/namespaces/default/functions/idle-${n}`, {
        method: "PUT",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({
          source,
          settings: {
            runtime: "node",
            handler: "index.mjs",
            public: true,
            environment: { NUMBER: String(n) },
            scaling: { keepAliveMs: 1 },
          },
        }),
      });
      if (answer.status >= 300) throw new Error(`idle-${n}: ${answer.status} ${answer.text}`);
    }
  } finally {
    await platform.stop();
  }
}
