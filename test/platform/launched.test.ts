import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { missingTools } from "../tools.ts";
import { Platform } from "./harness.ts";

describe("instances are started by a launcher, not by the server", { skip: missingTools("bwrap", "python") }, () => {
  let platform: Platform;
  before(async () => {
    platform = await Platform.start();
  });
  after(() => platform.stop());

  // The first process of its namespace has the name that launchers give it.
  const look = `import { readFileSync } from "node:fs";\nconst first = readFileSync("/proc/1/cmdline", "latin1");\n`;
  const kinds = {
    native: { files: { "index.mjs": `${look}export default () => first;\n` }, settings: {} },
    http: {
      files: {
        "index.mjs": `${look}import { createServer } from "node:http";\ncreateServer((_, answer) => answer.end(first)).listen(process.env.PORT);\n`,
      },
      settings: { convention: "http" },
    },
  };
  for (const [kind, { files, settings }] of Object.entries(kinds)) {
    test(`node, ${kind}`, async () => {
      await platform.deploy(kind, files, { runtime: "node", public: true, scaling: { keepAliveMs: 1 }, ...settings });
      const starter = async (): Promise<string> => {
        const { status, text } = await platform.call(kind);
        assert.equal(status, 200, text);
        return text;
      };
      // Blank instances of before wait still.
      for (let calls = 0; calls < 50 && (await starter()).includes("bwrap"); calls++) await pause(50);
      for (let calls = 0; calls < 5; calls++) assert.equal(await starter(), "virga\0");
    });
  }
});

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
