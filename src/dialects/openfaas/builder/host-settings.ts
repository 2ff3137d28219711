/** How this host reaches package indexes (registries, proxies, certificates), for the programs of a build. */
import { chmod, copyFile, mkdir, readFile, stat, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import type { Mount } from "../../../ports/sandbox.ts";

export interface HostSettings {
  readonly environment: Readonly<Record<string, string>>;
  readonly mounts: readonly Mount[];
}

/**
 * Copies the host's settings files into a folder of its own below `place`, which goes with the build: they may hold a token.
 * The build runs as another user and could not read them where they are.
 */
export async function gatherHostSettings(place: string): Promise<HostSettings> {
  const folder = join(place, "settings");
  await mkdir(folder);
  await chmod(folder, 0o755);
  const mounts: Mount[] = [{ source: folder, target: inside, writable: false }];
  const environment: Record<string, string> = await pipSettings();
  for (const [name, value] of Object.entries(process.env)) {
    if (value !== undefined && passedOn.test(name) && !kept.test(name)) environment[name] = value;
  }
  const keep = async (name: string, text: string): Promise<string> => {
    await writeFile(join(folder, name), text, { mode: 0o644 });
    return `${inside}/${name}`;
  };
  const own = process.env["npm_config_userconfig"] ?? process.env["NPM_CONFIG_USERCONFIG"] ?? join(homedir(), ".npmrc");
  const npm = await Promise.all(["/etc/npmrc", "/usr/etc/npmrc", own].map(readIfThere));
  environment["npm_config_userconfig"] = await keep("npmrc", `${npm.join("\n")}\n`);
  const cafile = /^\s*cafile\s*=\s*"?([^"\n]+?)"?\s*$/m.exec(npm.join("\n"))?.[1];
  if (cafile !== undefined) environment["npm_config_cafile"] = cafile;
  for (const [variable, file] of Object.entries(settingsFiles())) {
    const text = await readIfThere(file);
    if (text !== "") environment[variable] = await keep(variable.toLowerCase(), text);
  }
  const maven = await readIfThere(join(homedir(), ".m2/settings.xml"));
  if (maven !== "") environment["MAVEN_ARGS"] = `-s ${await keep("maven.xml", maven)}`;
  const cargoHome = process.env["CARGO_HOME"] ?? join(homedir(), ".cargo");
  const cargo = (await readIfThere(join(cargoHome, "config.toml"))) || (await readIfThere(join(cargoHome, "config")));
  if (cargo !== "") {
    await mkdir(join(folder, "cargo"));
    await keep("cargo/config.toml", cargo);
    // Cargo looks in every folder above the one it works in.
    mounts.push({ source: join(folder, "cargo"), target: "/.cargo", writable: false });
  }
  await placeNamedFiles(environment, folder, mounts);
  return { environment, mounts };
}

/** Certificates and folders of packages which the settings name by paths that the build does not see. */
async function placeNamedFiles(environment: Record<string, string>, folder: string, mounts: Mount[]): Promise<void> {
  for (const [name, value] of Object.entries(environment)) {
    if (name.endsWith("_FIND_LINKS")) {
      const places: string[] = [];
      for (const part of value.split(/[\s,]+/)) {
        if (!part.startsWith("/")) places.push(part);
        else if ((await stat(part).catch(() => undefined))?.isDirectory() === true) {
          places.push(`/virga/links/${mounts.length}`);
          mounts.push({ source: part, target: places.at(-1)!, writable: false });
        }
      }
      if (places.length === 0) delete environment[name];
      else environment[name] = places.join(name.startsWith("UV_") ? "," : " ");
    } else if (certificates.test(name) && !/^\/(usr|etc\/ssl\/certs)\//.test(`${value}/`)) {
      try {
        await copyFile(value, join(folder, name));
        await chmod(join(folder, name), 0o644);
        environment[name] = `${inside}/${name}`;
      } catch {
        delete environment[name]; // a folder, or not there: the system's own certificates are
      }
    }
  }
}

/** What pip's files say, as variables: the later file wins. */
async function pipSettings(): Promise<Record<string, string>> {
  const files = ["/etc/pip.conf", join(homedir(), ".pip/pip.conf"), join(homedir(), ".config/pip/pip.conf")];
  const settings: Record<string, string> = {};
  for (const text of await Promise.all([...files, process.env["PIP_CONFIG_FILE"] ?? ""].map(readIfThere))) {
    let isRead = false;
    let last = "";
    for (const line of text.split(/\r?\n/)) {
      const section = /^\[(.+)\]\s*$/.exec(line)?.[1];
      const [, option, value = ""] = /^([a-z-]+)\s*[=:]\s*(.*)$/.exec(line) ?? [];
      if (section !== undefined) isRead = section === "global" || section === "install";
      else if (isRead && option !== undefined) {
        last = `PIP_${option.toUpperCase().replaceAll("-", "_")}`;
        if (kept.test(last)) last = "";
        else settings[last] = value.trim();
      } else if (isRead && last !== "" && /^\s+[^\s#;]/.test(line))
        settings[last] = `${settings[last]} ${line.trim()}`.trim();
    }
  }
  return settings;
}

function settingsFiles(): Record<string, string> {
  return {
    GOENV: process.env["GOENV"] ?? join(homedir(), ".config/go/env"),
    GEMRC: join(homedir(), ".gemrc"),
    BUNDLE_USER_CONFIG: join(homedir(), ".bundle/config"),
  };
}

async function readIfThere(file: string): Promise<string> {
  return file === "" ? "" : readFile(file, "utf8").catch(() => "");
}

const inside = "/virga/settings";
const passedOn =
  /^(npm_config_\w+|PIP_\w+|UV_\w+|CARGO_(NET|HTTP|REGISTR|SOURCE)\w*|GO(PROXY|SUMDB|NOSUMDB|NOSUMCHECK|PRIVATE|NOPROXY|INSECURE|FLAGS)|(https?|no|all)_proxy|SSL_CERT_(FILE|DIR)|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|NODE_EXTRA_CA_CERTS|GIT_SSL_CAINFO)$/i;
/** Places are the build's own. */
const kept =
  /^(npm_config_(cache|prefix|userconfig|globalconfig|local_prefix|global_prefix|node_gyp|init_module)|PIP_(CACHE_DIR|TARGET|PREFIX|ROOT|USER|CONFIG_FILE|REQUIRE_VIRTUALENV)|UV_(CACHE_DIR|PYTHON|PYTHON_INSTALL_DIR|TOOL_DIR|PROJECT_ENVIRONMENT))$/i;
const certificates =
  /^(npm_config_cafile|PIP_CERT|PIP_CLIENT_CERT|SSL_CERT_(FILE|DIR)|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|NODE_EXTRA_CA_CERTS|GIT_SSL_CAINFO|CARGO_HTTP_CAINFO)$/i;
