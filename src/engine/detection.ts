import { readdir } from "node:fs/promises";
import { VirgaError } from "../core/errors.ts";
import { quote } from "../core/names.ts";
import { closest } from "../core/spelling.ts";
import type { Detection, Runtime } from "../ports/runtime.ts";
import type { FunctionSettings } from "./engine.ts";
import type { Detected } from "./settings.ts";

/** What every runtime says of one source, and what lies at the top of it. */
export interface Findings {
  readonly byRuntime: ReadonlyMap<string, Detection>;
  /** The first names, for messages. */
  readonly files: readonly string[];
}

/** Asks every runtime about an unpacked source. */
export async function examine(directory: string, runtimes: ReadonlyMap<string, Runtime>): Promise<Findings> {
  const byRuntime = new Map<string, Detection>();
  for (const [name, runtime] of runtimes) {
    const detection = await runtime.detect(directory);
    if (detection !== undefined) byRuntime.set(name, detection);
  }
  return { byRuntime, files: (await readdir(directory)).sort().slice(0, 12) };
}

/** `node:22` → the runtime `node` and the version 22. Rejects with `runtime_unknown` or `runtime_unavailable`. */
export async function runtimeNamed(wanted: string, runtimes: ReadonlyMap<string, Runtime>): Promise<Runtime> {
  const [name = "", version] = wanted.split(":", 2);
  const runtime = runtimes.get(name);
  if (runtime === undefined) {
    const guess = closest(name, runtimes.keys());
    throw new VirgaError("runtime_unknown", `there is no runtime ${quote(name)}`, {
      field: "settings.runtime",
      fix: guess === undefined ? `use one of: ${[...runtimes.keys()].join(", ")}` : `did you mean ${guess}?`,
    });
  }
  if (version === undefined) return runtime;
  const versions = await runtime.versions();
  if (versions.includes(version)) return runtime;
  throw new VirgaError("runtime_unavailable", `${name} ${version} cannot be had on this machine`, {
    field: "settings.runtime",
    fix: versions.length === 0 ? `no version of ${name} is installed` : `versions here: ${versions.join(", ")}`,
  });
}

/**
 * What settings leave open about the code. `find` unpacks the source where nobody has looked into it yet; settings that name
 * runtime, handler and convention need it not.
 */
export async function settleCode(
  settings: FunctionSettings,
  runtimes: ReadonlyMap<string, Runtime>,
  find: () => Promise<Findings>,
): Promise<Detected> {
  const code = await codeOf(settings, runtimes, find);
  if (settings.bundle === true) checkBundling(code, await runtimeNamed(code.runtime, runtimes));
  return code;
}

async function codeOf(
  settings: FunctionSettings,
  runtimes: ReadonlyMap<string, Runtime>,
  find: () => Promise<Findings>,
): Promise<Detected> {
  if (settings.runtime === undefined) {
    const { name, detection } = mostConfident(await find(), runtimes);
    return withHandler(settings, name, runtimes.get(name)!, detection);
  }
  const runtime = await runtimeNamed(settings.runtime, runtimes);
  if (settings.handler !== undefined && settings.convention !== undefined) {
    return { runtime: settings.runtime, handler: settings.handler, convention: settings.convention };
  }
  const findings = await find();
  const detection = findings.byRuntime.get(runtime.name);
  if (detection === undefined && settings.handler === undefined) {
    throw new VirgaError("runtime_unknown", `${runtime.name} finds nothing to run in this code (${listed(findings)})`, {
      field: "settings.handler",
      fix: "name the file to run in settings.handler",
    });
  }
  return withHandler(settings, settings.runtime, runtime, detection);
}

function checkBundling({ convention }: Detected, { name, bundles = [] }: Runtime): void {
  if (bundles.includes(convention)) return;
  const what = bundles.length === 0 ? `${name} functions` : `${name} functions of the convention ${convention}`;
  throw new VirgaError("invalid_field", `${what} cannot be bundled`, {
    field: "settings.bundle",
    fix: "take bundle out of the settings, or set it to false",
  });
}

function mostConfident(
  findings: Findings,
  runtimes: ReadonlyMap<string, Runtime>,
): { name: string; detection: Detection } {
  const ranked = [...findings.byRuntime].sort(([, a], [, b]) => b.confidence - a.confidence);
  const [best, second] = ranked;
  if (best === undefined) {
    throw new VirgaError("runtime_unknown", `no runtime knows what to do with this code (${listed(findings)})`, {
      field: "settings.runtime",
      fix: `set runtime (${[...runtimes.keys()].join(", ")}) and handler, or add an entry file such as index.js or handler.py`,
    });
  }
  if (second !== undefined && second[1].confidence === best[1].confidence) {
    const both = ranked.filter(([, { confidence }]) => confidence === best[1].confidence);
    const found = both.map(([name, { handler }]) => `${name} (${handler})`).join(" and ");
    throw new VirgaError("runtime_unknown", `this code could be for ${found}`, {
      field: "settings.runtime",
      fix: `set runtime to ${both.map(([name]) => name).join(" or ")}`,
    });
  }
  return { name: best[0], detection: best[1] };
}

/** A convention that was found belongs to the handler that was found; another handler gets the runtime's usual one. */
function withHandler(
  settings: FunctionSettings,
  name: string,
  runtime: Runtime,
  detection: Detection | undefined,
): Detected {
  const handler = settings.handler ?? detection?.handler ?? "";
  const found = detection?.handler === handler ? detection.convention : undefined;
  // A runtime without blank instances runs programs, not modules: a program is called over stdin and stdout.
  return { runtime: name, handler, convention: settings.convention ?? found ?? (runtime.prewarm ? "native" : "stdio") };
}

function listed({ files }: Findings): string {
  return files.length === 0 ? "it is empty" : `at its top: ${files.join(", ")}`;
}
