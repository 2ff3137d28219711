/**
 * Makes a bare host able to run Virga: a Node.js new enough, and the packages of a source checkout.
 * Plain JavaScript for Node 20 with no dependency, because nothing else is there yet.
 */
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const packageRoot = dirname(dirname(fileURLToPath(import.meta.url)));

/** The oldest Node.js that the platform itself runs on. Functions may ask for others. */
const oldestMajor = 24;
/** What an older host gets: one exact version, so that every such host runs the same. */
const fetchedVersion = "24.21.0";

/** For a server: records wait 100 ms to be written, and a young generation of 16 MiB would copy them several times meanwhile. */
export const serverFlags = ["--max-semi-space-size=64"];

/** True in a git checkout, false in an installed package (which has its code compiled, in `dist/`). */
export const isCheckout = existsSync(join(packageRoot, "src", "compose.ts"));

/** Where fetched Node.js versions are kept; as root in a place that instances' users can read too. */
export function cacheDirectory() {
  if (process.env.VIRGA_CACHE) return process.env.VIRGA_CACHE;
  if (process.getuid?.() === 0) return "/var/cache/virga";
  return join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "virga");
}

export function isNewEnough() {
  return Number(process.versions.node.split(".")[0]) >= oldestMajor;
}

/** The path of a Node.js that is new enough, fetched once as an npm package where this one is not. */
export function ensureNode() {
  if (isNewEnough()) return process.execPath;
  const home = join(cacheDirectory(), "node", fetchedVersion);
  const binary = join(home, "bin", "node");
  if (existsSync(binary)) return binary;

  const platform = `${process.platform === "win32" ? "win" : process.platform}-${process.arch}`;
  const name = `node-${platform}`;
  say(
    `This host has Node.js ${process.versions.node}; Virga runs on ${oldestMajor} or newer. Fetching ${fetchedVersion} once into ${home} …`,
  );
  mkdirSync(dirname(home), { recursive: true });
  const staging = mkdtempSync(join(dirname(home), "fetching-"));
  try {
    npm(
      [
        "install",
        "--prefix",
        staging,
        "--ignore-scripts",
        "--no-save",
        "--no-package-lock",
        `${name}@${fetchedVersion}`,
      ],
      { cwd: staging },
    );
    if (!existsSync(join(staging, "node_modules", name, "bin", "node")))
      fail(`npm gave no Node.js for ${platform}. Install Node.js ${oldestMajor} or newer and start again.`);
    // mkdtemp makes a folder that only its owner can enter.
    const shared = join(staging, "node_modules", name);
    try {
      renameSync(shared, home);
    } catch (error) {
      // Another process was faster; its folder is as good.
      if (!existsSync(binary)) throw error;
    }
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
  return binary;
}

/**
 * Installs a checkout's packages from its lock file, where they are not there already.
 * `development` adds what tests and checks need.
 */
export function ensurePackages({ development }) {
  if (!isCheckout) return;
  const modules = join(packageRoot, "node_modules");
  const stamp = join(modules, ".virga-installed");
  const lock = createHash("sha256")
    .update(readFileSync(join(packageRoot, "package-lock.json")))
    .digest("hex");
  const installed = existsSync(stamp) ? readFileSync(stamp, "utf8") : "";
  if (installed === `${lock} development` || (!development && installed === `${lock} production`)) return;

  say("Installing Virga's packages …");
  npm(["ci", "--ignore-scripts", ...(development ? [] : ["--omit=dev"])], { cwd: packageRoot });
  writeFileSync(stamp, `${lock} ${development ? "development" : "production"}`);
}

/**
 * Debian packages that make the platform better, installed when this is root on a Debian host.
 * Resolves to the names that are still missing. `VIRGA_NO_APT=1` leaves the host as it is.
 */
export function ensureDebianPackages(wanted) {
  const missing = wanted.filter(({ present }) => !present()).map(({ name }) => name);
  if (missing.length === 0 || process.env.VIRGA_NO_APT === "1") return missing;
  if (process.getuid?.() !== 0 || !existsSync("/usr/bin/apt-get")) return missing;

  say(`Installing Debian packages: ${missing.join(" ")} (VIRGA_NO_APT=1 leaves them out) …`);
  const environment = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const install = () =>
    spawnSync("apt-get", ["install", "-y", "-qq", "--no-install-recommends", ...missing], {
      env: environment,
      encoding: "utf8",
    });
  if (install().status !== 0) {
    spawnSync("apt-get", ["update", "-qq"], { env: environment, stdio: "ignore" });
    const second = install();
    if (second.status !== 0) say(`apt-get could not install them: ${lastLine(second.stderr)}`);
  }
  return wanted.filter(({ present }) => !present()).map(({ name }) => name);
}

/** Whether a program of this name is on PATH and runs with these arguments. */
export function runs(program, ...parameters) {
  return spawnSync(program, parameters, { stdio: "ignore" }).status === 0;
}

/** Runs a program in the foreground with our signals and gives its exit code on. */
export function handOver(program, parameters, options = {}) {
  const child = spawn(program, parameters, { stdio: "inherit", ...options });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  child.on("error", (error) => fail(`${program} could not be started: ${error.message}`));
  child.on("exit", (code, signal) => {
    if (signal) {
      process.removeAllListeners(signal);
      process.kill(process.pid, signal);
    } else process.exit(code ?? 1);
  });
}

export function say(text) {
  process.stderr.write(`${text}\n`);
}

function npm(parameters, options) {
  const quiet = ["--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"];
  const result = spawnSync("npm", [...parameters, ...quiet], {
    ...options,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
  });
  if (result.error) fail(`npm could not be started: ${result.error.message}. It comes with Node.js; put it on PATH.`);
  if (result.status !== 0) fail(`npm ${parameters[0]} failed:\n${result.stderr || result.stdout}`);
}

function fail(message) {
  say(`virga: ${message}`);
  process.exit(1);
}

function lastLine(text) {
  return text.trim().split("\n").at(-1) ?? "";
}
