import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { VirgaError } from "../../core/errors.ts";
import type { BuildRequest, Runtime } from "../../ports/runtime.ts";
import { runBuildStep } from "../build-step.ts";
import { findProgram, notInstalled, printed } from "../host-program.ts";
import { programRuntime } from "../program-runtime.ts";

/** Scripts of PHP, by the host's command line interpreter. */
export function createPhpRuntime(): Runtime {
  const version = async (): Promise<string> => {
    const php = await findProgram("php");
    const text = php === undefined ? undefined : await printed(php, "-r", "echo PHP_VERSION;");
    if (text === undefined) throw notInstalled("PHP", "php-cli");
    return text;
  };
  return programRuntime({
    name: "php",
    versions: async () => [await version()],
    fingerprint: async () => `php ${await version()}`,
    async detect(directory) {
      const files = await readdir(directory);
      if (!files.some((file) => file.endsWith(".php"))) return undefined;
      const handler = ["index.php", "handler.php", "main.php"].find((file) => files.includes(file));
      return handler === undefined ? undefined : { confidence: 0.6, handler, convention: "http" };
    },
    build,
    command(root, { handler, convention }) {
      // PHP's own server runs the script for each request.
      if (convention === "http") return ["/bin/sh", "-c", 'exec php -S "127.0.0.1:$PORT" "$0"', `${root}/${handler}`];
      return ["/usr/bin/env", "php", "-d", "display_errors=stderr", "-d", "html_errors=0", `${root}/${handler}`];
    },
  });
}

async function build(request: BuildRequest): Promise<void> {
  const { directory, config } = request;
  if (!existsSync(join(directory, config.handler))) {
    throw new VirgaError("build_failed", `The script ${config.handler} is not in the code`, { field: "handler" });
  }
  const scripts = (await readdir(directory)).filter((file) => file.endsWith(".php"));
  for (const script of scripts) {
    const { report, stdout, stderr, log } = await runBuildStep(request, {
      name: "php -l",
      command: ["/usr/bin/env", "php", "-l", script],
      environment: { PATH: "/usr/local/bin:/usr/bin:/bin", HOME: "/tmp" },
      network: "none",
      deadline: Date.now() + request.timeoutMs,
    });
    if (report.code === 0) continue;
    const [, line = "1"] = /on line (\d+)/.exec(stdout + stderr) ?? [];
    throw new VirgaError("build_failed", `${script} is not PHP`, { log, location: `${script}:${line}:1` });
  }
}
