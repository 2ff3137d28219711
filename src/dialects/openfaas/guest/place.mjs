// The function's surroundings: its folders, its secrets as files, its environment.
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, symlinkSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join, resolve } from "node:path";

/** Symbolic links lead here from `/home/app`, `/app` and `/var/openfaas`; see `dialects/openfaas/fixtures.ts`. */
const ground = "/tmp/.openfaas";
const secretPrefix = "OPENFAAS_SECRET_";

/** Makes them, once; gives where the function runs and with what. */
export function furnish() {
  const settings = JSON.parse(readFileSync(join(import.meta.dirname, "settings.json"), "utf8"));
  const code = join(import.meta.dirname, "..", "image");
  const secrets = join(ground, "secrets");
  mkdirSync(secrets, { recursive: true, mode: 0o700 });
  const environment = environmentOf(settings, secrets);
  const isLinked = leads("/home/app");
  if (isLinked) {
    layOut(join(code, "home/app"), join(ground, "home-app"), settings.readOnly);
    layOut(join(code, "app"), join(ground, "app"), settings.readOnly);
  }
  // Where nothing is enclosed there are no fixed paths; the code is where it is.
  const root = isLinked ? "/" : code;
  const places = [root, code].map((base) => resolve(base, `.${settings.workingDirectory}`));
  process.chdir(places.find((place) => existsSync(place)) ?? process.cwd());
  // What health checks of images look for.
  if (environment.suppress_lock !== "true") writeFileSync("/tmp/.lock", "");
  return { settings, environment, root, directory: process.cwd(), command: commandOf(environment, code) };
}

/** The words of `fprocess`. Files of the image that are not at their place, as those of `/srv`, are named where they are. */
function commandOf({ fprocess, function_process }, code) {
  const words = (fprocess || function_process || "").split(" ").filter((word) => word !== "");
  const isElsewhere = (word) => word.startsWith("/") && !existsSync(word) && existsSync(join(code, word));
  return words.map((word) => (isElsewhere(word) ? join(code, word) : word));
}

function leads(path) {
  try {
    return readlinkSync(path).startsWith(ground);
  } catch {
    return false;
  }
}

/**
 * An image's folder as a container would have it: read-only, or one where files can be made beside those of the image, whose two
 * upper levels stand there as links.
 */
function layOut(from, to, readOnly) {
  if (readOnly) {
    symlinkSync(existsSync(from) ? from : "/code", to);
    return;
  }
  mkdirSync(to);
  if (!existsSync(from)) return;
  for (const entry of readdirSync(from, { withFileTypes: true })) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)];
    if (!entry.isDirectory() || entry.name !== "function") {
      symlinkSync(source, target);
      continue;
    }
    mkdirSync(target);
    for (const name of readdirSync(source)) symlinkSync(join(source, name), join(target, name));
  }
}

/** What the image and the deployment say, and what every container has. The guest's own is not among it. */
function environmentOf(settings, secrets) {
  const own = new Set(settings.variables);
  const environment = { PATH: process.env.PATH, HOME: "/home/app", HOSTNAME: hostname() };
  for (const name of Object.keys(process.env)) {
    if (name.startsWith(secretPrefix)) {
      writeFileSync(join(secrets, secretName(name)), Buffer.from(process.env[name], "base64"), { mode: 0o400 });
      delete process.env[name];
    } else if (own.has(name)) {
      environment[name] = process.env[name];
    } else if (name !== "PATH" && name !== "HOME") {
      delete process.env[name];
    }
  }
  // An image's PATH names folders of the image; the toolchains are where this host has them.
  if (own.has("PATH")) environment.PATH = `${environment.PATH}:${settings.path}`;
  Object.assign(process.env, environment);
  return environment;
}

/** As `secretVariable` in `dialects/openfaas/secret-names.ts` writes it. */
function secretName(variable) {
  return variable
    .slice(secretPrefix.length)
    .replace(/_([0-9a-f]{2})/g, (_, code) => String.fromCharCode(parseInt(code, 16)));
}
