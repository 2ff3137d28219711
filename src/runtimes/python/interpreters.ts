import { execFile } from "node:child_process";
import { realpathSync, statSync } from "node:fs";
import { access, constants, open, readdir } from "node:fs/promises";
import { delimiter, dirname, join } from "node:path";
import { promisify } from "node:util";
import { VirgaError } from "../../core/errors.ts";
import type { Mount } from "../../ports/sandbox.ts";

/** A Python that instances can run. */
export interface Interpreter {
  readonly path: string;
  /** `3.11.2` */
  readonly version: string;
  /** The folders outside of the system's own that it needs: its installation. */
  readonly mounts: readonly Mount[];
  /** Its standard library. */
  readonly library: string;
}

export interface Found {
  /** Newest first, but for the system's own, which comes first: it is the one that is patched. */
  readonly usable: readonly Interpreter[];
  /** Their libraries alone can be read by us: good for the pip that is bundled in them. */
  readonly libraries: readonly string[];
  readonly remarks: readonly string[];
}

/** Looks for Python 3.9 and newer at the usual places and on PATH. */
export async function findInterpreters(): Promise<Found> {
  const usable: Interpreter[] = [];
  const libraries: string[] = [];
  const remarks: string[] = [];
  const seen = new Set<string>();
  const answers = await Promise.all((await candidates()).map(probe));
  for (const probed of answers) {
    if (probed === undefined || seen.has(probed.path)) continue;
    seen.add(probed.path);
    libraries.push(probed.library);
    const closed = unreachable([probed.path, probed.library]);
    if (closed !== undefined) remarks.push(`${probed.path} (${probed.version}) is not readable for others: ${closed}`);
    else if (!usable.some((other) => minor(other.version) === minor(probed.version))) usable.push(probed);
  }
  const first = usable[0];
  const system = first !== undefined && first.path.startsWith("/usr/bin/") ? first : undefined;
  const rest = usable.filter((one) => one !== system).sort((a, b) => -compareVersions(a.version, b.version));
  return { usable: system === undefined ? rest : [system, ...rest], libraries, remarks };
}

/** The one that `python`, `python:3`, `python:3.11` or `python:3.11.2` asks for. Throws `runtime_unavailable`. */
export function selectInterpreter(found: Found, runtime: string): Interpreter {
  const wanted = runtime.slice("python".length).replace(/^:/, "");
  const chosen = found.usable.find(
    ({ version }) => wanted === "" || version === wanted || version.startsWith(`${wanted}.`),
  );
  if (chosen !== undefined) return chosen;
  const remark = found.remarks.length === 0 ? "" : ` (${found.remarks.join("; ")})`;
  if (wanted === "" || found.usable.length === 0) {
    throw new VirgaError("runtime_unavailable", `No Python 3.9 or newer is installed for instances here${remark}`, {
      field: "runtime",
      fix: "apt-get install python3 python3-pip",
    });
  }
  const versions = found.usable.map(({ version }) => minor(version)).join(", ");
  throw new VirgaError("runtime_unavailable", `Python ${wanted} is not installed here; there is ${versions}${remark}`, {
    field: "runtime",
    fix: `Use runtime \`python:${minor(found.usable[0]!.version)}\`, or run: apt-get install python${wanted}`,
  });
}

export function minor(version: string): string {
  return version.split(".", 2).join(".");
}

/** Whether every other user may reach the file; needed where the platform is root and instances are not. */
export function readableByOthers(path: string): boolean {
  return unreachable([path]) === undefined;
}

/** The first path on the way that another user cannot pass or read; undefined where all is well, or where users do not change. */
function unreachable(paths: readonly string[]): string | undefined {
  if (process.getuid?.() !== 0) return undefined;
  for (const path of paths) {
    for (let at = path; ; at = dirname(at)) {
      const { mode } = statSync(at);
      // x of a folder is the right to pass; r and x of the program itself.
      if ((mode & 0o005) === 0 || (at !== path && (mode & 0o001) === 0)) return at;
      if (at === dirname(at)) break;
    }
  }
  return undefined;
}

async function candidates(): Promise<string[]> {
  const paths = ["/usr/bin/python3", "/usr/local/bin/python3"];
  const folders = new Set([...(process.env.PATH ?? "").split(delimiter), "/usr/bin", "/usr/local/bin"]);
  for (const folder of folders) {
    if (!folder.startsWith("/")) continue;
    let names: string[];
    try {
      names = await readdir(folder);
    } catch {
      continue; // PATH may name folders that are not there
    }
    for (const name of names) if (/^python3(\.\d+)?$/.test(name)) paths.push(join(folder, name));
  }
  return [...new Set(paths)];
}

const question = `import json, sys, sysconfig
print(json.dumps([list(sys.version_info[:3]), sys.executable, sys.base_prefix, sysconfig.get_path("stdlib")]))`;

async function probe(path: string): Promise<Interpreter | undefined> {
  try {
    await access(path, constants.X_OK);
    if (await isScript(path)) return undefined; // a version manager's shim: slow, and not what an instance can run
    const { stdout } = await run(path, ["-I", "-c", question], {
      timeout: 5000,
      env: { PATH: process.env.PATH ?? "" },
    });
    const [version, executable, prefix, library] = JSON.parse(stdout) as [number[], string, string, string];
    if (version[0] !== 3 || version[1]! < oldestMinor) return undefined;
    const mounts = /^\/usr(\/|$)/.test(prefix) ? [] : [{ source: prefix, target: prefix, writable: false }];
    return { path: realpathSync(executable), version: version.join("."), mounts, library: realpathSync(library) };
  } catch {
    return undefined; // not there, or something else of that name
  }
}

async function isScript(path: string): Promise<boolean> {
  const file = await open(path);
  try {
    const { buffer } = await file.read(Buffer.alloc(2), 0, 2, 0);
    return buffer.toString("latin1") === "#!";
  } finally {
    await file.close();
  }
}

function compareVersions(a: string, b: string): number {
  const left = a.split(".").map(Number);
  const right = b.split(".").map(Number);
  for (let index = 0; index < 3; index++) {
    const difference = (left[index] ?? 0) - (right[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

const run = promisify(execFile);
/** Python 3.8 has had no security fixes since October 2024. */
const oldestMinor = 9;
