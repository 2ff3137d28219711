import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { access, chmod, constants, copyFile, mkdir, readdir, rename } from "node:fs/promises";
import { basename, delimiter, join } from "node:path";
import { promisify } from "node:util";
import { VirgaError } from "../../core/errors.ts";
import type { Mount } from "../../ports/sandbox.ts";
import { type Found, type Interpreter, readableByOthers } from "./interpreters.ts";

/** What installs `requirements.txt` for one interpreter. */
export interface Installer {
  /** `uv 0.13.9`, `pip 23.0.1`: part of the build's fingerprint. */
  readonly version: string;
  /** Installs into `target`, as seen from inside; `within` gives a tool's path inside of the sandbox. */
  command(target: string, requirements: string, within: (mount: Mount) => string): readonly string[];
  readonly tool: Mount | undefined;
  readonly environment: Readonly<Record<string, string>>;
  /** Certificates and package folders that the host's settings name. */
  readonly mounts: readonly Mount[];
}

/**
 * uv where the host has it; else the interpreter's own pip; else a pip that some Python on the host carries in its library
 * (Debian's python3 comes without one). Rejects with `runtime_unavailable`.
 */
export async function findInstaller(found: Found, python: Interpreter, toolsDirectory: string): Promise<Installer> {
  return (
    (await uv(python, toolsDirectory)) ?? (await ownPip(python)) ?? (await bundledPip(found, python, toolsDirectory))
  );
}

async function uv(python: Interpreter, toolsDirectory: string): Promise<Installer | undefined> {
  const found = await onPath("uv");
  if (found === undefined) return undefined;
  const version = (await output(found, ["--version"]))?.split(" ")[1];
  if (version === undefined) return undefined;
  const tool = await toolMount(found, `uv-${version}`, toolsDirectory);
  const settings = await hostSettings(undefined);
  return {
    version: `uv ${version}`,
    tool,
    command: (target, requirements, within) => [
      within(tool),
      "pip",
      "install",
      "--python",
      python.path,
      "--target",
      target,
      "-r",
      requirements,
      "--no-progress",
      "--link-mode",
      "copy",
    ],
    environment: { ...forUv(settings), UV_CACHE_DIR: "/cache/uv", UV_PYTHON_DOWNLOADS: "never" },
    mounts: settingsMounts(settings),
  };
}

async function ownPip(python: Interpreter): Promise<Installer | undefined> {
  const version = (await output(python.path, ["-I", "-m", "pip", "--version"]))?.split(" ")[1];
  if (version === undefined) return undefined;
  const settings = await hostSettings([python.path, "-m", "pip"]);
  return {
    version: `pip ${version}`,
    tool: undefined,
    command: (target, requirements) => [
      python.path,
      "-m",
      "pip",
      "install",
      "--target",
      target,
      "-r",
      requirements,
      ...pipOptions,
    ],
    environment: { ...settings, PIP_CACHE_DIR: "/cache/pip" },
    mounts: settingsMounts(settings),
  };
}

async function bundledPip(found: Found, python: Interpreter, toolsDirectory: string): Promise<Installer> {
  const folders = [
    ...found.libraries.map((library) => join(library, "ensurepip", "_bundled")),
    "/usr/share/python-wheels",
  ];
  for (const folder of folders) {
    const wheel = (await namesIn(folder)).find((name) => /^pip-[0-9.]+-py3-none-any\.whl$/.test(name));
    if (wheel === undefined) continue;
    const tool = await toolMount(join(folder, wheel), wheel, toolsDirectory);
    const settings = await hostSettings([python.path, `${tool.source}/pip`]);
    return {
      version: `pip ${wheel.split("-")[1] ?? ""}`,
      tool,
      // A wheel is a zip archive with the package at its root: Python runs it from there.
      command: (target, requirements, within) => [
        python.path,
        `${within(tool)}/pip`,
        "install",
        "--target",
        target,
        "-r",
        requirements,
        ...pipOptions,
      ],
      environment: { ...settings, PIP_CACHE_DIR: "/cache/pip" },
      mounts: settingsMounts(settings),
    };
  }
  throw new VirgaError("runtime_unavailable", "requirements.txt needs pip or uv, and this host has neither", {
    fix: "apt-get install python3-pip",
  });
}

/**
 * How this host installs packages (index, proxy, certificates), as environment variables: closed networks have their own,
 * and a sandbox sees none of the files that say so. `pip config list` has read and merged those.
 */
async function hostSettings(pip: readonly string[] | undefined): Promise<Record<string, string>> {
  const settings: Record<string, string> = {};
  if (pip !== undefined) {
    const text = (await output(pip[0]!, [...pip.slice(1), "config", "list"])) ?? "";
    for (const line of text.split("\n")) {
      const [, option, value] = /^(?:global|install)\.([a-z-]+)='(.*)'$/.exec(line) ?? [];
      if (option === undefined || value === undefined) continue;
      settings[`PIP_${option.toUpperCase().replaceAll("-", "_")}`] = value.replaceAll("\\n", " ").trim();
    }
  }
  for (const [name, value] of Object.entries(process.env)) {
    if (value !== undefined && passedOn.test(name) && !kept.has(name)) settings[name] = value;
  }
  return settings;
}

/** uv does not read pip's settings; an index is an index. */
function forUv(settings: Readonly<Record<string, string>>): Record<string, string> {
  const own: Record<string, string> = { ...settings };
  if (settings.PIP_INDEX_URL !== undefined) own.UV_DEFAULT_INDEX ??= settings.PIP_INDEX_URL;
  if (settings.PIP_EXTRA_INDEX_URL !== undefined) own.UV_INDEX ??= settings.PIP_EXTRA_INDEX_URL;
  if (settings.PIP_FIND_LINKS !== undefined) own.UV_FIND_LINKS ??= settings.PIP_FIND_LINKS.replaceAll(" ", ",");
  if (settings.PIP_CERT !== undefined) own.SSL_CERT_FILE ??= settings.PIP_CERT;
  return own;
}

function settingsMounts(settings: Readonly<Record<string, string>>): Mount[] {
  const mounts = new Map<string, Mount>();
  for (const [name, value] of Object.entries(settings)) {
    if (!namesFiles.test(name)) continue;
    for (const path of value.split(/[\s,]+/)) {
      if (!path.startsWith("/") || /^\/(usr|etc\/ssl)\//.test(path) || !existsSync(path) || !readableByOthers(path))
        continue;
      mounts.set(path, { source: path, target: path, writable: false });
    }
  }
  return [...mounts.values()];
}

/** A tool as a mount; one that other users cannot reach (in root's home) is copied to where they can. */
async function toolMount(path: string, name: string, toolsDirectory: string): Promise<Mount> {
  let source = path;
  if (!readableByOthers(path)) {
    source = join(toolsDirectory, name);
    if (!existsSync(source)) {
      await mkdir(toolsDirectory, { recursive: true, mode: 0o755 });
      const partial = `${source}.${process.pid}`;
      await copyFile(path, partial);
      await chmod(partial, 0o755);
      await rename(partial, source);
    }
  }
  return { source, target: `/virga/tools/${basename(name)}`, writable: false };
}

async function onPath(name: string): Promise<string | undefined> {
  for (const folder of (process.env.PATH ?? "").split(delimiter)) {
    if (!folder.startsWith("/")) continue;
    try {
      await access(join(folder, name), constants.X_OK);
      return join(folder, name);
    } catch {
      continue; // not in this one
    }
  }
  return undefined;
}

async function output(program: string, args: readonly string[]): Promise<string | undefined> {
  try {
    return (await run(program, [...args], { timeout: 10_000 })).stdout.trim();
  } catch {
    return undefined; // there is no such program or module: the next way is tried
  }
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch {
    return []; // a library without a bundled pip
  }
}

const run = promisify(execFile);
const pipOptions = ["--no-input", "--no-compile", "--disable-pip-version-check", "--progress-bar", "off"];
const passedOn = /^(PIP_|UV_|(HTTPS?|NO|ALL)_PROXY$|(https?|no|all)_proxy$|SSL_CERT_(FILE|DIR)$|REQUESTS_CA_BUNDLE$)/;
/** Ours to say. */
const kept = new Set([
  "PIP_CACHE_DIR",
  "PIP_TARGET",
  "PIP_PREFIX",
  "PIP_USER",
  "PIP_CONFIG_FILE",
  "UV_CACHE_DIR",
  "UV_PYTHON",
]);
const namesFiles =
  /^(PIP_CERT|PIP_CLIENT_CERT|PIP_FIND_LINKS|UV_FIND_LINKS|SSL_CERT_FILE|SSL_CERT_DIR|REQUESTS_CA_BUNDLE)$/;
