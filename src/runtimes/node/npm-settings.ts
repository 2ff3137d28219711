import { randomBytes } from "node:crypto";
import { copyFile, mkdir, chmod, readFile, rm, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";

/** The host's own npm settings, carried into a build so that it reaches the registry that the host reaches. */
export interface NpmSettings {
  readonly folder: string;
  /** Environment of npm, given the paths at which the build sees the settings' folder and the cache. */
  environment(settingsInside: string, cacheInside: string): Record<string, string>;
  /** The settings may hold a registry's token: they are there only as long as the build runs. */
  remove(): Promise<void>;
}

/**
 * Collects registry, proxies and certificates from the environment and the host's npmrc files into a folder of their own
 * below `place`, which must be the platform's alone: in the cache another build could put a link in the way.
 */
export async function gatherNpmSettings(place: string): Promise<NpmSettings> {
  const folder = join(place, `npm-${randomBytes(16).toString("hex")}`);
  await mkdir(folder);
  // The build runs as another user, and knows the name; others cannot look for it.
  await chmod(folder, 0o711);
  const passed: Record<string, string> = {};
  for (const [name, value] of Object.entries(process.env)) {
    if (value !== undefined && carried.test(name)) passed[name] = value;
  }
  const own = process.env["npm_config_userconfig"] ?? process.env["NPM_CONFIG_USERCONFIG"] ?? join(homedir(), ".npmrc");
  const texts = await Promise.all(["/etc/npmrc", "/usr/etc/npmrc", own].map(readIfThere));
  const text = texts.filter((part) => part !== "").join("\n");
  await writeFile(join(folder, "npmrc"), `${text}\n`, { mode: 0o644 });

  // Certificates that the host's settings name by a path which the build may not see.
  const certificates = {
    npm_config_cafile: [...text.matchAll(/^\s*cafile\s*=\s*"?([^"\n]+?)"?\s*$/gm)].at(-1)?.[1],
    NODE_EXTRA_CA_CERTS: process.env["NODE_EXTRA_CA_CERTS"],
  };
  const files: [variable: string, file: string][] = [];
  for (const [variable, source] of Object.entries(certificates)) {
    if (source === undefined || (await readIfThere(source)) === "") continue;
    await copyFile(source, join(folder, variable));
    await chmod(join(folder, variable), 0o644);
    files.push([variable, variable]);
  }
  return {
    folder,
    environment(inside, cacheInside) {
      return {
        ...passed,
        ...Object.fromEntries(files.map(([variable, file]) => [variable, join(inside, file)])),
        npm_config_cache: join(cacheInside, "npm"),
        npm_config_userconfig: join(inside, "npmrc"),
      };
    },
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}

/** npm's settings but those of places, which are the build's own; the proxies' variables as curl and npm know them. */
const carried =
  /^(?:npm_config_(?!cache|prefix|userconfig|globalconfig|local_prefix|global_prefix|node_gyp|init_module|cafile)\w+|https?_proxy|no_proxy|all_proxy)$/i;

/** Empty where there is no such file: npm does without it, too. */
async function readIfThere(file: string): Promise<string> {
  return readFile(file, "utf8").catch(() => "");
}
