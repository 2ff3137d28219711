import { readFileSync } from "node:fs";
import { lstat, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { VirgaError } from "../../core/errors.ts";
import type { FunctionConfig } from "../../core/model.ts";
import { exitText } from "../../links/program-output.ts";
import type { BuildRequest } from "../../ports/runtime.ts";
import type { Mount } from "../../ports/sandbox.ts";
import { sizeOfTree } from "../../trees/size.ts";
import { readManifest } from "./detect.ts";
import { gatherNpmSettings } from "./npm-settings.ts";
import { type CodeReport, runReportingStep, runStep } from "./step.ts";
import type { NodeTools } from "./tools.ts";
import { runningMajor } from "./tools.ts";

/** Installs the dependencies of a folder and checks its code, both inside the build's sandbox. */
export async function buildNode(
  request: BuildRequest,
  tools: NodeTools,
  major: string,
  /** Of Node, as instances have them: byte code is good for the same ones only. */
  flags: readonly string[],
): Promise<void> {
  const deadline = performance.now() + request.timeoutMs;
  await checkManifest(request.directory);
  for (const folder of ["", packagesFolder]) {
    if (await needsInstall(join(request.directory, folder))) await install(request, tools, major, deadline, folder);
  }
  const format = await check(request, tools, deadline);
  const bundles = request.config.bundle === true;
  if (bundles) await bundle(request, tools, major, deadline, format);
  if (bundles || (await hasDependencies(request))) await prepareLoading(request, tools, major, flags);
}

async function checkManifest(directory: string): Promise<void> {
  const path = join(directory, "package.json");
  const found = await lstat(path).catch(() => undefined);
  if (found === undefined) return;
  if (!found.isFile())
    throw new VirgaError("build_failed", "package.json is not a plain file", { location: "package.json" });
  const text = readFileSync(path, "utf8");
  try {
    JSON.parse(text);
  } catch (error) {
    const position = Number(/position (\d+)/.exec(String(error))?.[1] ?? 0);
    const before = text.slice(0, position).split("\n");
    throw new VirgaError("build_failed", `package.json is not JSON: ${String(error)}`, {
      location: `package.json:${before.length}:${before.at(-1)!.length + 1}`,
      cause: error,
    });
  }
}

async function needsInstall(directory: string): Promise<boolean> {
  if ((await stat(join(directory, "node_modules")).catch(() => undefined)) !== undefined) return false;
  const manifest = await readManifest(directory);
  const wanted = { ...(manifest?.["dependencies"] as object), ...(manifest?.["optionalDependencies"] as object) };
  return Object.keys(wanted).length > 0;
}

async function install(
  request: BuildRequest,
  tools: NodeTools,
  major: string,
  deadline: number,
  folder: string,
): Promise<void> {
  const locked =
    (await stat(join(request.directory, folder, "package-lock.json")).catch(() => undefined)) !== undefined;
  const command = locked ? "ci" : "install";
  const npm = await tools.npm();
  const node = await tools.node(major);
  // Beside the folder that is built: what a killed server leaves there is gone with the next start.
  const settings = await gatherNpmSettings(dirname(request.directory));
  const mounts: Mount[] = [
    { source: request.cacheDirectory, target: "/cache", writable: true },
    { source: settings.folder, target: "/virga/settings", writable: false },
    { source: npm, target: "/virga/npm", writable: false },
    { source: node, target: "/virga/node", writable: false },
  ];
  request.onLog(`npm ${command} --omit=dev`);
  const running = runStep(request, "npm", mounts, deadline, (inside) => ({
    command: [
      `${inside("/virga/node")}/node`,
      `${inside("/virga/npm")}/bin/npm-cli.js`,
      command,
      "--prefix",
      join(inside("/code"), folder),
      "--omit=dev",
      "--ignore-scripts",
      "--no-audit",
      "--no-fund",
      "--no-update-notifier",
      "--no-progress",
    ],
    environment: {
      ...settings.environment(inside("/virga/settings"), inside("/cache")),
      PATH: `${inside("/virga/node")}:/usr/local/bin:/usr/bin:/bin`,
      CI: "1",
    },
    network: "host",
  }));
  // Whatever becomes of it: the settings may hold a token.
  await Promise.allSettled([running]);
  await settings.remove();
  const { report, log } = await running;
  if (report.code === 0) return checkSize(request);
  throw new VirgaError("build_failed", `npm ${command} ended ${exitText(report)}`, {
    log,
    location: locked ? "package-lock.json" : "package.json",
    fix: "Run the same command in the function's folder; the log shows what npm found wrong.",
  });
}

async function checkSize({ directory, maxBytes }: BuildRequest): Promise<void> {
  if ((await sizeOfTree(directory, maxBytes)).bytes <= maxBytes) return;
  throw new VirgaError("build_failed", `The code with its dependencies is larger than ${maxBytes} bytes`, {
    fix: "Use fewer or smaller dependencies, or raise the platform's limit for artifacts.",
  });
}

async function check(request: BuildRequest, tools: NodeTools, deadline: number): Promise<CodeReport["format"]> {
  const mounts: Mount[] = [
    { source: await tools.node(runningMajor), target: "/virga/node", writable: false },
    { source: await tools.guest(), target: "/virga/guest", writable: false },
  ];
  const { format } = await runReportingStep(request, "check", mounts, deadline, (inside) => ({
    command: [
      `${inside("/virga/node")}/node`,
      "--no-warnings",
      "--experimental-vm-modules",
      `${inside("/virga/guest")}/check.mjs`,
      inside("/code"),
      handlerFile(request.config),
    ],
    environment: { PATH: "/usr/bin:/bin" },
    network: "none",
  }));
  return format;
}

async function bundle(
  request: BuildRequest,
  tools: NodeTools,
  major: string,
  deadline: number,
  format: CodeReport["format"],
): Promise<void> {
  const mounts: Mount[] = [
    { source: await tools.node(runningMajor), target: "/virga/node", writable: false },
    { source: await tools.guest(), target: "/virga/guest", writable: false },
    { source: await tools.bundler(), target: "/virga/bundler", writable: false },
  ];
  await runReportingStep(request, "bundling", mounts, deadline, (inside) => ({
    command: [
      `${inside("/virga/node")}/node`,
      "--no-warnings",
      `${inside("/virga/guest")}/bundle.mjs`,
      inside("/code"),
      handlerFile(request.config),
      format ?? "module",
      major,
      inside("/virga/bundler"),
    ],
    environment: { PATH: "/usr/bin:/bin" },
    network: "none",
  }));
  await checkSize(request);
}

/** Code of a few files is found and compiled faster than that is looked up. */
async function hasDependencies({ directory, config }: BuildRequest): Promise<boolean> {
  if (config.convention !== "native") return false;
  return (await stat(join(directory, "node_modules")).catch(() => undefined))?.isDirectory() === true;
}

/**
 * Keeps the byte code of the modules and the index of them. Where the code cannot be loaded without its secrets or the network,
 * its instances find and compile it as before.
 */
async function prepareLoading(
  request: BuildRequest,
  tools: NodeTools,
  major: string,
  flags: readonly string[],
): Promise<void> {
  const mounts: Mount[] = [
    { source: await tools.node(major), target: "/virga/node", writable: false },
    { source: await tools.guest(), target: "/virga/guest", writable: false },
  ];
  const quiet = { ...request, onLog: () => undefined };
  try {
    const { report, log } = await runStep(quiet, "compile", mounts, performance.now() + loadingMs, (inside) => ({
      command: [
        `${inside("/virga/node")}/node`,
        ...flags,
        `${inside("/virga/guest")}/compile.mjs`,
        inside("/code"),
        request.config.handler,
        JSON.stringify(request.config.environment),
      ],
      environment: { NODE_ENV: "production", PATH: `${inside("/virga/node")}:/usr/local/bin:/usr/bin:/bin` },
      network: "none",
    }));
    if (report.code === noIndexCode) return request.onLog(`the index of modules is not kept${lastOf(log)}`);
    if (report.code !== 0)
      request.onLog(`byte code and index of modules are not kept: loading the code ${exitText(report)}${lastOf(log)}`);
  } catch (error) {
    if (request.signal.aborted || !(error instanceof VirgaError)) throw error;
    request.onLog(`byte code and index of modules are not kept: ${error.message}`);
  }
}

function lastOf(log: string): string {
  const line = log.split("\n").findLast((text) => /error/i.test(text));
  return line === undefined ? "" : `: ${line.trim()}`;
}

function handlerFile({ handler }: FunctionConfig): string {
  return handler.split("#")[0]!;
}

/** Of `compile.mjs`, where the code was loaded and its byte code kept. */
const noIndexCode = 77;

/** Code that waits longer for something has no network to get it from. */
const loadingMs = 5000;

/**
 * A dialect lays a manifest there for what its peer's images have and the code may use without bringing it. It is installed on its
 * own, so code with its own `node_modules` keeps them as they are.
 */
const packagesFolder = ".virga/packages";
