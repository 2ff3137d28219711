import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import {
  constants,
  chmod,
  copyFile,
  cp,
  link,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  realpath,
  rename,
  rm,
  stat,
  writeFile,
} from "node:fs/promises";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { VirgaError } from "../../core/errors.ts";
import type { Log } from "../../ports/log.ts";
import type { Processors } from "../../ports/sandbox.ts";

/**
 * What node functions need on the host, in places that every user can read: Node itself in the versions that functions
 * ask for, the guest, and npm. Whatever lies elsewhere is linked or copied into the tools folder once.
 */
export interface NodeTools {
  /** Folder with the `node` of this major version; fetched where it is not the running one. Rejects with `runtime_unavailable`. */
  node(major: string): Promise<string>;
  /** Folder of the guest. */
  guest(): Promise<string>;
  /** Folder of npm (with `bin/npm-cli.js`). Rejects with `runtime_unavailable`. */
  npm(): Promise<string>;
  /** Folder of esbuild, compiled to WebAssembly. */
  bundler(): Promise<string>;
  bundlerVersion(): Promise<string>;
  /** Folder with the commands `npm` and `npx`, for npm at `/toolchain/npm`. */
  npmCommands(): Promise<string>;
}

export const runningMajor = process.versions.node.split(".")[0]!;

export function createNodeTools(toolsDirectory: string, log: Log, processors?: Pick<Processors, "freeing">): NodeTools {
  const nodes = new Map<string, Promise<string>>();
  let guest: Promise<string> | undefined;
  let npm: Promise<string> | undefined;
  let bundler: Promise<string> | undefined;

  async function home(name: string): Promise<string> {
    const directory = join(toolsDirectory, name);
    await mkdir(directory, { recursive: true, mode: 0o755 });
    await chmod(directory, 0o755);
    return directory;
  }

  return {
    node(major) {
      let found = nodes.get(major);
      if (found === undefined) {
        found = home("node").then((to) =>
          major === runningMajor ? placeRunningNode(to) : fetchNode(to, major, log, processors),
        );
        found.catch(() => nodes.delete(major)); // the next one may have more luck
        nodes.set(major, found);
      }
      return found;
    },
    guest() {
      guest ??= home("node").then(placeGuest);
      return guest;
    },
    npm() {
      npm ??= home("node").then(placeNpm);
      npm.catch(() => (npm = undefined));
      return npm;
    },
    bundler() {
      bundler ??= home("node").then(placeBundler);
      bundler.catch(() => (bundler = undefined));
      return bundler;
    },
    async bundlerVersion() {
      return versionOf(await this.bundler());
    },
    npmCommands: () => home("node").then(placeNpmCommands),
  };
}

async function placeRunningNode(home: string): Promise<string> {
  const binary = await realpath(process.execPath);
  if (await everybodyReads(binary)) return dirname(binary);
  return place(join(home, process.versions.node), async (staging) => {
    await link(binary, join(staging, "node")).catch(() =>
      copyFile(binary, join(staging, "node"), constants.COPYFILE_FICLONE),
    );
    await chmod(join(staging, "node"), 0o755);
  });
}

/** Node's binary comes as an npm package without install scripts. */
async function fetchNode(
  home: string,
  major: string,
  log: Log,
  processors: Pick<Processors, "freeing"> | undefined,
): Promise<string> {
  const name = `node-${process.platform}-${process.arch}`;
  return place(join(home, `major-${major}`), async (staging) => {
    log.info(`fetching Node ${major} for functions, once`, { package: `${name}@${major}` });
    const modules = join(staging, "fetched");
    await mkdir(modules);
    const cli = join(await findNpm(), "bin", "npm-cli.js");
    const parameters = [
      "install",
      "--prefix",
      modules,
      "--no-save",
      "--no-package-lock",
      "--ignore-scripts",
      "--no-audit",
    ];
    try {
      const npm = [process.execPath, cli, ...parameters, "--no-fund", `${name}@${major}`];
      await run([...(processors?.freeing ?? []), ...npm], modules);
    } catch (error) {
      throw new VirgaError("runtime_unavailable", `Node ${major} could not be fetched: ${String(error)}`, {
        field: "runtime",
        fix: `Use runtime: node:${runningMajor}, or make \`npm install ${name}@${major}\` work on this host.`,
        cause: error,
      });
    }
    await rename(join(modules, "node_modules", name, "bin", "node"), join(staging, "node"));
    await chmod(join(staging, "node"), 0o755);
    await rm(modules, { recursive: true });
  });
}

async function placeGuest(home: string): Promise<string> {
  const source = fileURLToPath(new URL("guest/", import.meta.url));
  const files = (await readdir(source)).filter((file) => file.endsWith(".mjs")).sort();
  const contents = await Promise.all(files.map((file) => readFile(join(source, file))));
  const hash = createHash("sha256");
  for (const [index, file] of files.entries())
    hash.update(`${file}\0${contents[index]!.length}\0`).update(contents[index]!);
  return place(join(home, `guest-${hash.digest("hex").slice(0, 12)}`), async (staging) => {
    for (const file of files) {
      await copyFile(join(source, file), join(staging, file));
      await chmod(join(staging, file), 0o644);
    }
  });
}

async function placeNpm(home: string): Promise<string> {
  const found = await findNpm();
  if (await everybodyReads(join(found, "bin", "npm-cli.js"))) return found;
  return placePackage(home, "npm", found);
}

async function placeBundler(home: string): Promise<string> {
  const found = dirname(fileURLToPath(import.meta.resolve("esbuild-wasm/package.json")));
  if (await everybodyReads(join(found, "esbuild.wasm"))) return found;
  return placePackage(home, "esbuild", found);
}

async function placePackage(home: string, name: string, found: string): Promise<string> {
  return place(join(home, `${name}-${await versionOf(found)}`), (staging) =>
    cp(found, staging, { recursive: true, dereference: true }),
  );
}

async function versionOf(packageFolder: string): Promise<string> {
  const manifest = await readFile(join(packageFolder, "package.json"), "utf8");
  return (JSON.parse(manifest) as { version: string }).version;
}

function placeNpmCommands(home: string): Promise<string> {
  return place(join(home, "npm-commands"), async (staging) => {
    for (const command of ["npm", "npx"]) {
      const file = join(staging, command);
      await writeFile(file, `#!/bin/sh\nexec node /toolchain/npm/bin/${command}-cli.js "$@"\n`);
      await chmod(file, 0o755);
    }
  });
}

/** npm beside the running Node, else the one on the PATH. */
async function findNpm(): Promise<string> {
  const besideNode = join(dirname(await realpath(process.execPath)), "..", "lib", "node_modules", "npm");
  const onPath = (process.env["PATH"] ?? "").split(delimiter).filter((folder) => folder !== "");
  for (const candidate of [join(besideNode, "bin", "npm-cli.js"), ...onPath.map((folder) => join(folder, "npm"))]) {
    const file = await realpath(candidate).catch(() => undefined);
    if (file?.endsWith("npm-cli.js")) return dirname(dirname(file));
  }
  throw new VirgaError("runtime_unavailable", "npm is not on this host, and the function has dependencies to install", {
    fix: "apt-get install npm, or deploy the function with its node_modules.",
  });
}

/** Whether users other than the owner can get at the file. */
async function everybodyReads(file: string): Promise<boolean> {
  if (((await stat(file)).mode & 0o004) === 0) return false;
  for (let folder = dirname(file); ; folder = dirname(folder)) {
    if (((await stat(folder)).mode & 0o001) === 0) return false;
    if (folder === dirname(folder)) return true;
  }
}

/** Fills a folder beside its final place and moves it there whole; what is there already is taken. */
async function place(target: string, fill: (staging: string) => Promise<void>): Promise<string> {
  if ((await stat(target).catch(() => undefined)) !== undefined) return target;
  const staging = await mkdtemp(`${target}.`);
  try {
    await fill(staging);
    await chmod(staging, 0o755);
    await rename(staging, target);
  } catch (error) {
    await rm(staging, { recursive: true, force: true });
    // Another process of ours may have been faster.
    if ((await stat(target).catch(() => undefined)) === undefined) throw error;
  }
  return target;
}

function run([program = "", ...parameters]: readonly string[], directory: string): Promise<void> {
  return new Promise((resolve, reject) => {
    execFile(program, parameters, { cwd: directory, timeout: 300_000 }, (error, _stdout, stderr) => {
      if (error === null) resolve();
      else reject(new Error(stderr.trim().split("\n").slice(-5).join("\n") || error.message, { cause: error }));
    });
  });
}
