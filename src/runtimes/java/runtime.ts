import { existsSync } from "node:fs";
import { chmod, copyFile, mkdir, mkdtemp, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { VirgaError } from "../../core/errors.ts";
import type { BuildRequest, Runtime } from "../../ports/runtime.ts";
import { runBuildStep } from "../build-step.ts";
import { findProgram, notInstalled, printed } from "../host-program.ts";
import { programRuntime } from "../program-runtime.ts";

/**
 * Classes and archives of Java, by the host's JDK. `handler` is a `.jar` to start, or a class: `.java` files at the code's root
 * are compiled, and every `.jar` at the root and in `lib/` is on the class path.
 */
export function createJavaRuntime({ toolsDirectory }: { readonly toolsDirectory: string }): Runtime {
  let found: Promise<JavaHost | undefined> | undefined;
  const host = async (): Promise<JavaHost> => {
    found ??= findJava();
    const java = await found;
    if (java !== undefined) return java;
    found = undefined;
    throw notInstalled("JDK", "default-jdk-headless");
  };
  return programRuntime({
    name: "java",
    versions: async () => [(await host()).version],
    fingerprint: async () => `java ${(await host()).version}`,
    async detect(directory) {
      const jars = (await readdir(directory)).filter((file) => file.endsWith(".jar"));
      return jars.length === 1 ? { confidence: 0.6, handler: jars[0]!, convention: "http" } : undefined;
    },
    build: async (request) => build(request, toolsDirectory),
    command(root, { handler }) {
      const start = ["/usr/bin/env", "java", "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", ...opened];
      if (handler.endsWith(".jar")) return [...start, "-jar", `${root}/${handler}`];
      return [...start, "-cp", classPath(root), handler];
    },
  });
}

/** A launcher may want its descriptors, and to change what the program sees of its environment. */
const opened = ["java.io", "java.util", "java.lang"].map((name) => `--add-opens=java.base/${name}=ALL-UNNAMED`);

interface JavaHost {
  readonly version: string;
}

async function findJava(): Promise<JavaHost | undefined> {
  const javac = await findProgram("javac");
  const version = javac === undefined ? undefined : /javac (\S+)/.exec((await printed(javac, "-version")) ?? "")?.[1];
  return version === undefined ? undefined : { version };
}

function classPath(root: string): string {
  return [`${root}/.virga/classes`, `${root}/*`, `${root}/lib/*`, `${root}/.virga/lib/*`].join(":");
}

async function build(request: BuildRequest, toolsDirectory: string): Promise<void> {
  const { directory, config } = request;
  if (config.handler.endsWith(".jar")) {
    if (existsSync(join(directory, config.handler))) return;
    throw new VirgaError("build_failed", `The archive ${config.handler} is not in the code`, { field: "handler" });
  }
  const sources = (await readdir(directory)).filter((file) => file.endsWith(".java"));
  if (sources.length === 0) return;
  if (await bringsNoGson(directory)) await addGson(request, toolsDirectory);
  const { report, log, stderr } = await runBuildStep(request, {
    name: "javac",
    command: ["/usr/bin/env", "javac", "-nowarn", "-d", ".virga/classes", "-cp", classPath("."), ...sources],
    environment: { PATH: "/usr/local/bin:/usr/bin:/bin", HOME: "/tmp", LANG: "C.UTF-8" },
    network: "none",
    deadline: Date.now() + request.timeoutMs,
  });
  if (report.code === 0) return;
  const [, file, line] = /^([^\s:]+\.java):(\d+): error/m.exec(stderr) ?? [];
  throw new VirgaError("build_failed", "javac failed", {
    log,
    ...(file === undefined ? {} : { location: `${file}:${line}:1` }),
    fix: "The log has the compiler's words.",
  });
}

/** A library that code of this kind is written against, and that its archives often leave to whoever runs them. */
const gson = { coordinates: "com.google.code.gson:gson:2.11.0", file: "gson-2.11.0.jar" } as const;

async function bringsNoGson(directory: string): Promise<boolean> {
  const files = [...(await readdir(directory)), ...(await readdir(join(directory, "lib")).catch(() => []))];
  return !files.some((file) => /^gson[-.].*jar$/.test(file));
}

/** By the host's Maven, which knows the way to artifacts from here. */
async function addGson({ directory, sandbox }: BuildRequest, toolsDirectory: string): Promise<void> {
  const kept = join(toolsDirectory, "java", gson.file);
  if (!existsSync(kept)) {
    const maven = await findProgram("mvn");
    if (maven === undefined) {
      throw new VirgaError("runtime_unavailable", "Code in Java needs gson, and this host has no Maven to get it", {
        fix: "apt-get install maven, or put gson's .jar into the code.",
      });
    }
    await mkdir(join(toolsDirectory, "java"), { recursive: true, mode: 0o755 });
    const aside = await mkdtemp(join(toolsDirectory, "java", "fetch-"));
    try {
      const [program, ...before] = [...(sandbox.processors?.freeing ?? []), maven];
      await promisify(execFile)(
        program,
        [...before, "-q", "-B", "dependency:copy", `-Dartifact=${gson.coordinates}`, `-DoutputDirectory=${aside}`],
        { timeout: 120_000, cwd: aside },
      );
      await chmod(join(aside, gson.file), 0o644);
      await rename(join(aside, gson.file), kept);
    } catch (thrown) {
      throw new VirgaError("runtime_unavailable", `Maven could not get ${gson.coordinates}`, {
        cause: thrown,
        log: ((thrown as { stdout?: string }).stdout ?? "").slice(-2000),
        fix: "Check the host's settings of Maven, or put gson's .jar into the code.",
      });
    } finally {
      await rm(aside, { recursive: true, force: true });
    }
  }
  const library = join(directory, ".virga/lib");
  await mkdir(library, { recursive: true });
  await chmod(join(directory, ".virga"), 0o777);
  await chmod(library, 0o777);
  await copyFile(kept, join(library, gson.file));
}
