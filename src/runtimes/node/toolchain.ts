import type { Toolchain } from "../../ports/runtime.ts";
import { type NodeTools, runningMajor } from "./tools.ts";

/** The platform's Node and the host's npm. */
export async function nodeToolchain(tools: NodeTools): Promise<Toolchain> {
  const [node, npm, commands] = await Promise.all([tools.node(runningMajor), tools.npm(), tools.npmCommands()]);
  return {
    path: ["/toolchain/npm-commands", "/toolchain/node"],
    mounts: [
      { source: node, target: "/toolchain/node", writable: false },
      { source: npm, target: "/toolchain/npm", writable: false },
      { source: commands, target: "/toolchain/npm-commands", writable: false },
    ],
    environment: { npm_config_update_notifier: "false" },
  };
}
