import { existsSync } from "node:fs";
import { chmod, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { VirgaError } from "../../core/errors.ts";
import type { BuildRequest, Runtime } from "../../ports/runtime.ts";
import { runBuildStep } from "../build-step.ts";
import { findProgram, notInstalled, printed } from "../host-program.ts";
import { acknowledging, programRuntime } from "../program-runtime.ts";

/** A module, or Go files without one, compiled by the host's toolchain; or a program that is there already, as `exec`. */
export function createGoRuntime(): Runtime {
  let found: Promise<GoHost | undefined> | undefined;
  const host = async (): Promise<GoHost> => {
    found ??= findGo();
    const go = await found;
    if (go !== undefined) return go;
    found = undefined;
    throw notInstalled("Go toolchain", "golang-go");
  };
  return programRuntime({
    name: "go",
    versions: async () => [(await host()).version],
    fingerprint: async () => `go ${(await host()).version}`,
    async detect(directory) {
      const files = await readdir(directory);
      if (files.includes("go.mod")) return { confidence: 0.9, handler: ".", convention: "http" };
      return files.some((file) => file.endsWith(".go"))
        ? { confidence: 0.6, handler: ".", convention: "http" }
        : undefined;
    },
    build: async (request) => build(request, await host()),
    command: (root) => [`${root}/${prebuilt}`],
    async toolchain() {
      const { root, environment } = await host();
      return {
        path: ["/toolchain/go/bin"],
        mounts: [{ source: root, target: "/toolchain/go", writable: false }],
        environment: { ...environment, GOROOT: "/toolchain/go", GOTOOLCHAIN: "local", GOFLAGS: "-buildvcs=false" },
      };
    },
  });
}

interface GoHost {
  readonly root: string;
  readonly version: string;
  /** The host's own ways to modules. */
  readonly environment: Readonly<Record<string, string>>;
}

/** The program: one that came compiled, or what the build makes. */
const prebuilt = "exec";

async function findGo(): Promise<GoHost | undefined> {
  const go = await findProgram("go");
  if (go === undefined) return undefined;
  const text = await printed(
    go,
    "env",
    "-json",
    "GOROOT",
    "GOVERSION",
    "GOPROXY",
    "GONOSUMDB",
    "GONOPROXY",
    "GOSUMDB",
    "GOPRIVATE",
  );
  if (text === undefined) return undefined;
  const { GOROOT: root = "", GOVERSION: version = "", ...environment } = JSON.parse(text) as Record<string, string>;
  return { root, version: version.replace(/^go/, ""), environment };
}

async function build(request: BuildRequest, { root, environment }: GoHost): Promise<void> {
  const { directory, config } = request;
  if (existsSync(join(directory, prebuilt))) {
    await chmod(join(directory, prebuilt), 0o755);
    await rm(join(directory, acknowledging), { force: true });
    return;
  }
  const isModule = existsSync(join(directory, "go.mod"));
  const files = (await readdir(directory)).filter((file) => file.endsWith(".go") && !file.endsWith("_test.go"));
  if (!isModule && files.length === 0) {
    throw new VirgaError("build_failed", "There is neither a go.mod nor a Go file in the code", {
      fix: "Put the main package into the code's root.",
    });
  }
  const { report, log, stderr } = await runBuildStep(request, {
    name: "go build",
    command: ["/toolchain/bin/go", "build", "-trimpath", "-o", prebuilt, ...(isModule ? [config.handler] : files)],
    environment: {
      ...environment,
      GOROOT: "/toolchain",
      GOPATH: "/cache/go",
      GOCACHE: "/cache/go-build",
      // A module's own list of hashes is completed where it lacks some: single files come without one.
      GOFLAGS: isModule ? "-buildvcs=false -mod=mod" : "-buildvcs=false",
      GOTOOLCHAIN: "local",
      CGO_ENABLED: "0",
      HOME: "/tmp",
      PATH: "/toolchain/bin:/usr/bin:/bin",
    },
    mounts: [{ source: root, target: "/toolchain", writable: false }],
    network: "host",
    deadline: Date.now() + request.timeoutMs,
  });
  if (report.code === 0) return;
  const [, file, line, column = "1"] = /^(?:\.\/)?([^\s:]+\.go):(\d+)(?::(\d+))?:/m.exec(stderr) ?? [];
  throw new VirgaError("build_failed", "go build failed", {
    log,
    ...(file === undefined ? {} : { location: `${file}:${line}:${column}` }),
    fix: "Run `go build` in the code's folder; the log has the compiler's words.",
  });
}
