import { join } from "node:path";
import { VirgaError } from "../../core/errors.ts";
import { DeferredInstance } from "../../links/deferred-instance.ts";
import { startFramedInstance } from "../../links/framed/instance.ts";
import { HttpInstance } from "../../links/http/index.ts";
import type { Log } from "../../ports/log.ts";
import type { Instance, Runtime, Specialisation, StartRequest } from "../../ports/runtime.ts";
import type { Mount, Processors } from "../../ports/sandbox.ts";
import { buildNode } from "./build.ts";
import { detectNode } from "./detect.ts";
import { nodeToolchain } from "./toolchain.ts";
import { type NodeTools, createNodeTools, runningMajor } from "./tools.ts";

export interface NodeRuntimeOptions {
  /** A folder of the platform's that every user of the host can read and enter. */
  readonly toolsDirectory: string;
  readonly log: Log;
  readonly processors?: Pick<Processors, "freeing"> | undefined;
  /** Major versions beside the running one that functions may ask for; fetched when the first one does. */
  readonly nodeVersions?: readonly string[];
}

/** Runs functions in JavaScript and TypeScript. */
export function createNodeRuntime(options: NodeRuntimeOptions): Runtime {
  const tools = createNodeTools(options.toolsDirectory, options.log, options.processors);
  const versions = [...new Set([runningMajor, ...(options.nodeVersions ?? ["20", "22", "24", "26"])])];

  function major(runtime: string): string {
    const version = runtime.split(":")[1];
    if (version === undefined || version === "") return runningMajor;
    if (versions.includes(version)) return version;
    throw new VirgaError("runtime_unknown", `There is no Node ${version} here; there are ${versions.join(", ")}`, {
      field: "runtime",
      fix: `Use runtime: node or node:${runningMajor}.`,
    });
  }

  return {
    name: "node",
    prewarm: true,
    bundles: ["native"],
    versions: () => Promise.resolve(versions),
    detect: detectNode,
    build: (request) => buildNode(request, tools, major(request.config.runtime), flags(request.config.limits)),
    async fingerprint(config) {
      // The guest's folder is named by its content: the build's check is part of it.
      const bundler = config.bundle === true ? `, esbuild ${await tools.bundlerVersion()}` : "";
      return `node ${process.versions.node} for ${major(config.runtime)} with ${flags(config.limits).join(" ")}, ${(await tools.guest()).split("/").at(-1)}${bundler}`;
    },
    start: (request) => start(request, tools, major(request.runtime)),
    toolchain: () => nodeToolchain(tools),
  };
}

async function start(request: StartRequest, tools: NodeTools, major: string): Promise<Instance> {
  const mounts: Mount[] = [
    { source: await tools.node(major), target: "/virga/node", writable: false },
    { source: await tools.guest(), target: "/virga/guest", writable: false },
  ];
  const { sandbox, limits } = request;
  const inside = (mount: Mount): string => (sandbox.name === "process" ? mount.source : mount.target);
  const node = join(inside(mounts[0]!), "node");
  const environment = {
    PATH: `${inside(mounts[0]!)}:/usr/local/bin:/usr/bin:/bin`,
    HOME: "/tmp",
    LANG: "C.UTF-8",
    NODE_ENV: "production",
  };
  const program = await sandbox.start({
    id: request.id,
    command: [node, ...flags(limits), join(inside(mounts[1]!), "main.mjs")],
    environment,
    workingDirectory: "/",
    mounts,
    network: request.network,
    limits,
    channel: "link",
    stdin: "none",
    ...(request.background === true && { background: true }),
  });
  const blank = await startFramedInstance({
    id: request.id,
    program,
    events: request.events,
    memoryMb: limits.memoryMb,
    startTimeoutMs: limits.startTimeoutMs,
    saysOutOfMemory,
  });
  return new DeferredInstance(request.id, blank, (code) =>
    code.config.convention === "http" ? serverInstance(request, mounts, environment) : undefined,
  );
}

/** The handler's file is the server; it runs under the same Node, without the guest. */
function serverInstance(
  request: StartRequest,
  mounts: readonly Mount[],
  environment: Readonly<Record<string, string>>,
): Instance {
  const node = join(request.sandbox.name === "process" ? mounts[0]!.source : mounts[0]!.target, "node");
  // The blank instance that it replaces may still be ending under the other name.
  return new HttpInstance({ ...request, id: `${request.id}-server` }, (code: Specialisation) => ({
    command: (directory) => [
      node,
      ...flags(request.limits),
      join(directory, code.config.handler.split("#")[0]!),
      ...code.config.args,
    ],
    mounts,
    environment: () => environment,
  }));
}

/**
 * - The heap's limit follows the instance's memory: Node cannot see the control group from inside, and would collect too late.
 *   What it leaves is for the program itself, buffers and stacks.
 * - One worker thread for V8 instead of four: an instance has one core by default, and each start saves three threads.
 * - Source maps make stacks of compiled code point into the source; they cost only when an error's stack is read.
 */
function flags(limits: StartRequest["limits"]): string[] {
  const heapMb = Math.max(16, limits.memoryMb - Math.max(48, Math.round(limits.memoryMb / 8)));
  const workers = Math.max(1, Math.min(4, Math.floor(limits.cpus)));
  return [`--max-old-space-size=${heapMb}`, `--v8-pool-size=${workers}`, "--enable-source-maps", "--no-warnings"];
}

/** V8's last words when its heap is full, before it aborts. */
function saysOutOfMemory(lastLines: string): boolean {
  return lastLines.includes("JavaScript heap out of memory") || lastLines.includes("Fatal process out of memory");
}
