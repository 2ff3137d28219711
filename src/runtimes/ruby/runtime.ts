import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { VirgaError } from "../../core/errors.ts";
import type { BuildRequest, Runtime } from "../../ports/runtime.ts";
import { runBuildStep } from "../build-step.ts";
import { findProgram, notInstalled, printed } from "../host-program.ts";
import { programRuntime } from "../program-runtime.ts";

/** Scripts of Ruby, by the host's interpreter; gems that a `Gemfile` names are installed by bundler where the host has it. */
export function createRubyRuntime(): Runtime {
  const version = async (): Promise<string> => {
    const ruby = await findProgram("ruby");
    const text = ruby === undefined ? undefined : await printed(ruby, "-e", "print RUBY_VERSION");
    if (text === undefined) throw notInstalled("Ruby", "ruby");
    return text;
  };
  return programRuntime({
    name: "ruby",
    versions: async () => [await version()],
    fingerprint: async () => `ruby ${await version()}`,
    async detect(directory) {
      const files = await readdir(directory);
      const handler = ["main.rb", "handler.rb", "index.rb", "app.rb"].find((file) => files.includes(file));
      return handler === undefined ? undefined : { confidence: 0.6, handler, convention: "http" };
    },
    build,
    command: (root, { handler }) => [
      "/bin/sh",
      "-c",
      '[ -d "$1/.virga/gems" ] && { GEM_PATH="$1/.virga/gems"; export GEM_PATH; }; exec ruby "$0"',
      `${root}/${handler}`,
      root,
    ],
  });
}

async function build(request: BuildRequest): Promise<void> {
  const { directory, config } = request;
  if (!existsSync(join(directory, config.handler))) {
    throw new VirgaError("build_failed", `The script ${config.handler} is not in the code`, { field: "handler" });
  }
  const deadline = Date.now() + request.timeoutMs;
  const environment = {
    PATH: "/usr/local/bin:/usr/bin:/bin",
    HOME: "/tmp",
    GEM_HOME: ".virga/gems",
    BUNDLE_PATH: ".virga/gems",
  };
  for (const script of (await readdir(directory)).filter((file) => file.endsWith(".rb"))) {
    const { report, stderr, log } = await runBuildStep(request, {
      name: "ruby -c",
      command: ["/usr/bin/env", "ruby", "-c", script],
      environment,
      network: "none",
      deadline,
    });
    if (report.code === 0) continue;
    const [, line = "1"] = /:(\d+):/.exec(stderr) ?? [];
    throw new VirgaError("build_failed", `${script} is not Ruby`, { log, location: `${script}:${line}:1` });
  }
  if (!existsSync(join(directory, "Gemfile")) || existsSync(join(directory, "vendor"))) return;
  const { report, log } = await runBuildStep(request, {
    name: "bundle install",
    command: ["/usr/bin/env", "bundle", "install", "--quiet"],
    environment,
    network: "host",
    deadline,
  });
  if (report.code !== 0) {
    throw new VirgaError("build_failed", "bundle install failed", {
      log,
      location: "Gemfile",
      fix: "Run it in the code's folder; the host needs ruby-bundler.",
    });
  }
}
