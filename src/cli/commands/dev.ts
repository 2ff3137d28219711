import { command } from "../command.ts";
import { sandboxes } from "../platform.ts";

export const dev = command({
  name: "dev",
  summary: "watch a folder: every save becomes a new revision",
  examples: ["virga dev", "virga dev ./hello", "virga dev hello.ts"],
  arguments: { path: { kind: "optional", summary: "folder or file", completes: "file" } },
  options: {
    name: { kind: "text", summary: "the function's name, or which one of the manifest's" },
    sandbox: {
      kind: "text",
      summary: "of a platform that has to be started",
      choices: sandboxes,
    },
  },
  async run(context, given, options) {
    const { DevSession } = await import("../dev-session.ts");
    const session = await DevSession.open(context, given.path ?? ".", options);
    try {
      await session.run();
    } finally {
      await session.close();
    }
  },
});
