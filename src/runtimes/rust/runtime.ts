import { existsSync } from "node:fs";
import { chmod, copyFile, link, mkdir, readdir, readlink, rename, rm, symlink } from "node:fs/promises";
import { join } from "node:path";
import { VirgaError } from "../../core/errors.ts";
import type { BuildRequest, Runtime } from "../../ports/runtime.ts";
import { runBuildStep } from "../build-step.ts";
import { findProgram, notInstalled, printed } from "../host-program.ts";
import { acknowledging, programRuntime } from "../program-runtime.ts";

/** A Cargo project, compiled by the host's toolchain; `handler` is its manifest. Or a program that is there already, as `exec`. */
export function createRustRuntime({ toolsDirectory }: { readonly toolsDirectory: string }): Runtime {
  let found: Promise<RustHost | undefined> | undefined;
  const host = async (): Promise<RustHost> => {
    found ??= findRust(toolsDirectory);
    const rust = await found;
    if (rust !== undefined) return rust;
    found = undefined;
    throw notInstalled("Rust toolchain", "cargo gcc");
  };
  return programRuntime({
    name: "rust",
    versions: async () => [(await host()).version],
    fingerprint: async () => `rust ${(await host()).version}`,
    async detect(directory) {
      return (await readdir(directory)).includes("Cargo.toml")
        ? { confidence: 0.9, handler: "Cargo.toml", convention: "http" }
        : undefined;
    },
    build: async (request) => build(request, await host()),
    command: (root) => [`${root}/${program}`],
    async toolchain() {
      const { root } = await host();
      if (root === "/usr") return { path: [], mounts: [], environment: ofCargo() };
      return {
        path: ["/toolchain/rust/bin"],
        mounts: [{ source: root, target: "/toolchain/rust", writable: false }],
        environment: { ...ofCargo(), RUSTC: "/toolchain/rust/bin/rustc" },
      };
    },
  });
}

interface RustHost {
  /** The toolchain's folder, where every user can read it. */
  readonly root: string;
  readonly version: string;
}

const program = "exec";

async function findRust(toolsDirectory: string): Promise<RustHost | undefined> {
  const rustc = await findProgram("rustc");
  if (rustc === undefined) return undefined;
  const root = await printed(rustc, "--print", "sysroot");
  const version = /rustc (\S+)/.exec((await printed(rustc, "--version")) ?? "")?.[1];
  if (root === undefined || version === undefined) return undefined;
  // Debian's lies in /usr itself, with cargo beside it.
  if (!existsSync(join(root, "bin/cargo"))) return undefined;
  return { root: root === "/usr" ? root : await openToAll(root, join(toolsDirectory, `rust-${version}`)), version };
}

/** A version manager keeps its toolchains in somebody's home; builds run as a user that may not look there. */
async function openToAll(root: string, target: string): Promise<string> {
  if (existsSync(target)) return target;
  const aside = `${target}.${process.pid}`;
  await mkdir(aside, { recursive: true });
  for (const folder of ["bin", "lib", "libexec"]) await linkTree(join(root, folder), join(aside, folder));
  await chmod(aside, 0o755);
  try {
    await rename(aside, target);
  } catch (error) {
    await rm(aside, { recursive: true, force: true });
    // Another process may have been faster.
    if (!existsSync(target)) throw error;
  }
  return target;
}

/** The same files under another path; copies where the two are on different file systems. */
async function linkTree(from: string, to: string): Promise<void> {
  // Not every toolchain has all of its folders.
  if (!existsSync(from)) return;
  const entries = await readdir(from, { withFileTypes: true });
  await mkdir(to, { recursive: true, mode: 0o755 });
  for (const entry of entries) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)];
    if (entry.isDirectory()) await linkTree(source, target);
    else if (entry.isSymbolicLink()) await symlink(await readlink(source), target);
    else await link(source, target).catch(() => copyFile(source, target));
  }
}

async function build(request: BuildRequest, { root }: RustHost): Promise<void> {
  const { directory, config } = request;
  if (existsSync(join(directory, program))) {
    await chmod(join(directory, program), 0o755);
    await rm(join(directory, acknowledging), { force: true });
    return;
  }
  const inside = root === "/usr" ? "/usr" : "/toolchain";
  const { report, log, stderr, stdout } = await runBuildStep(request, {
    name: "cargo build",
    command: [
      `${inside}/bin/cargo`,
      "build",
      "--release",
      "--manifest-path",
      config.handler,
      "--target-dir",
      "/cache/cargo-target",
      "--message-format",
      "json-render-diagnostics",
    ],
    environment: {
      ...ofCargo(),
      CARGO_HOME: "/cache/cargo",
      HOME: "/tmp",
      RUSTC: `${inside}/bin/rustc`,
      PATH: `${inside}/bin:/usr/bin:/bin`,
    },
    mounts: inside === "/usr" ? [] : [{ source: root, target: "/toolchain", writable: false }],
    network: "host",
    deadline: Date.now() + request.timeoutMs,
  });
  if (report.code !== 0) {
    const [, file, line, column] = /^\s*--> ([^\s:]+):(\d+):(\d+)/m.exec(stderr) ?? [];
    throw new VirgaError("build_failed", "cargo build failed", {
      log,
      ...(file === undefined ? {} : { location: `${file}:${line}:${column}` }),
      fix: "Run `cargo build` in the code's folder; the log has the compiler's words.",
    });
  }
  const built = executableOf(stdout);
  if (built === undefined)
    throw new VirgaError("build_failed", "cargo built no program", { log, location: config.handler });
  const copied = await runBuildStep(request, {
    name: "copy of the program",
    command: ["/bin/cp", built, program],
    environment: { PATH: "/usr/bin:/bin" },
    network: "none",
    deadline: Date.now() + request.timeoutMs,
  });
  if (copied.report.code !== 0)
    throw new VirgaError("build_failed", "the program could not be kept", { log: copied.log });
}

/** The last program that cargo says it made. */
function executableOf(messages: string): string | undefined {
  return messages
    .split("\n")
    .flatMap((line) => {
      try {
        const { executable } = JSON.parse(line) as { executable?: string | null };
        return typeof executable === "string" ? [executable] : [];
      } catch {
        return [];
      }
    })
    .at(-1);
}

/** The host's own ways to crates: mirrors, proxies, certificates. */
function ofCargo(): Record<string, string> {
  const passed = Object.entries(process.env).filter(
    (entry): entry is [string, string] =>
      entry[1] !== undefined && /^(?:CARGO_(?:HTTP|NET|SOURCE|REGISTR)|https?_proxy$|HTTPS?_PROXY$)/.test(entry[0]),
  );
  return Object.fromEntries(passed);
}
