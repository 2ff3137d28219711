/** The peers' own clients, built or installed once from the pinned recipes in this folder, and kept for the next run. */
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, cpSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";

/** Programs in Go, by the folder of their module. */
const goPrograms = {
  wsk: { package: "github.com/sciabarracom/openwhisk-cli", flags: "-X main.CLI_BUILD_TIME=1.2.1" },
  wskdeploy: { package: "github.com/apache/openwhisk-wskdeploy", flags: "-X main.Version=16acc805fe2c" },
  "faas-cli": {
    package: "github.com/openfaas/faas-cli",
    flags: "-X github.com/openfaas/faas-cli/version.Version=0.17.0",
  },
  "openfaas-sdk": { package: ".", flags: "" },
  "openfaas-connector": { package: "github.com/openfaas/connector-sdk/cmd/tester", flags: "" },
  "openfaas-provider": { package: ".", flags: "" },
} as const;

export type GoClient = keyof typeof goPrograms;

/** Sets of npm packages, by the folder of their lock file. */
export type NpmClients = "openwhisk-js" | "serverless";

export interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  /** Of the client: its settings lie there. */
  readonly home: string;
  readonly cwd?: string;
  readonly environment?: Readonly<Record<string, string>>;
  readonly timeoutMs?: number;
  /** What it reads; nothing where absent. */
  readonly input?: string | Uint8Array;
}

/**
 * For the `skip` option of a suite: false where these clients can be had, else the reason. With `VIRGA_TEST_REQUIRE_TOOLS=1`,
 * as in CI, one that cannot be had is an error.
 */
export function missingClients(...names: (GoClient | NpmClients)[]): string | false {
  const needed = names.map((name) => (name in goPrograms ? "go" : "npm"));
  const missing = [...new Set(needed)].filter((tool) => {
    const version = tool === "go" ? ["version"] : ["--version"];
    return spawnSync(tool, version, { stdio: "ignore" }).status !== 0;
  });
  if (missing.length === 0) return false;
  const reason = `needs ${missing.join(", ")} to build ${names.join(", ")}`;
  if (process.env["VIRGA_TEST_REQUIRE_TOOLS"] === "1") throw new Error(reason);
  return reason;
}

/** The program's path; built where it is not there. */
export function goClient(name: GoClient): Promise<string> {
  const source = join(import.meta.dirname, name);
  const { stdout: version } = spawnSync("go", ["env", "GOVERSION"], { encoding: "utf8", cwd: source });
  const { package: program, flags } = goPrograms[name];
  return kept(`${name}-${keyOf(source, `${version} ${flags}`)}`, (target) => {
    const built = spawnSync("go", ["build", "-p=2", "-buildvcs=false", "-ldflags", flags, "-o", target, program], {
      cwd: source,
      encoding: "utf8",
      env: { ...process.env, CGO_ENABLED: "0", GOFLAGS: "-mod=readonly", GOWORK: "off" },
    });
    if (built.status !== 0) throw new Error(`${name} cannot be built: ${built.stderr}`);
  });
}

/** The folder with `node_modules`; installed where it is not there. */
export function npmClients(name: NpmClients): Promise<string> {
  const source = join(import.meta.dirname, name);
  return kept(`${name}-${keyOf(source, "npm")}`, (target) => {
    cpSync(source, target, { recursive: true });
    const installed = spawnSync("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund"], {
      cwd: target,
      encoding: "utf8",
    });
    if (installed.status !== 0) throw new Error(`${name} cannot be installed: ${installed.stderr}`);
  });
}

/** Runs a client to its end. Nothing of this process's proxies and settings reaches it. */
export function run(program: string, parameters: readonly string[], options: RunOptions): Promise<Ran> {
  const { home, cwd = home, environment = {}, timeoutMs = 60_000, input } = options;
  const child = spawn(program, parameters, {
    cwd,
    env: { PATH: process.env["PATH"] ?? "", HOME: home, LANG: "C.UTF-8", TZ: "UTC", ...environment },
    stdio: [input === undefined ? "ignore" : "pipe", "pipe", "pipe"],
    timeout: timeoutMs,
    killSignal: "SIGKILL",
  });
  // One that does not read it closes it.
  child.stdin?.on("error", () => undefined).end(input);
  let stdout = "";
  let stderr = "";
  child.stdout!.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr!.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => resolve({ code, stdout, stderr }));
  });
}

/** Several test processes may ask at once: one makes it, the others wait for it. */
async function kept(name: string, make: (target: string) => void): Promise<string> {
  const folder = join(tmpdir(), "virga-test-clients");
  mkdirSync(folder, { recursive: true });
  const target = join(folder, name);
  const lock = `${target}.lock`;
  for (;;) {
    if (existsSync(target)) return target;
    try {
      mkdirSync(lock);
      break;
    } catch {
      // Whoever holds it may have been killed.
      const age = Date.now() - (statSync(lock, { throwIfNoEntry: false })?.mtimeMs ?? Date.now());
      if (age > longestBuildMs) rmSync(lock, { recursive: true, force: true });
      await pause(200);
    }
  }
  const aside = `${target}.${process.pid}`;
  try {
    if (!existsSync(target)) {
      make(aside);
      renameSync(aside, target);
    }
  } finally {
    rmSync(aside, { recursive: true, force: true });
    rmSync(lock, { recursive: true, force: true });
  }
  return target;
}

function keyOf(folder: string, toolchain: string): string {
  const hash = createHash("sha256").update(`${toolchain} ${process.platform} ${process.arch}`);
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" });
  for (const file of files.filter((file) => statSync(join(folder, file)).isFile()).sort())
    hash.update(file).update(readFileSync(join(folder, file)));
  return hash.digest("hex").slice(0, 16);
}

const longestBuildMs = 10 * 60_000;
