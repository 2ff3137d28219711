/** What an image's name says about the programs in it: images are not pulled, this host's own programs stand for them. */

/** A language whose programs an image brings; `plain` is a system and no more. */
export type Language =
  | "node"
  | "python"
  | "golang"
  | "java"
  | "maven"
  | "gradle"
  | "php"
  | "composer"
  | "ruby"
  | "rust"
  | "bun"
  | "deno"
  | "plain";

export interface BaseImage {
  /** As the Dockerfile has it, variables replaced: `node:22-alpine`. */
  readonly image: string;
  /** `java` is openjdk, eclipse-temurin, amazoncorretto. */
  readonly name: Language;
  /** The number its tag begins with, `22` or `3.12`; empty where it has none. */
  readonly version: string;
  /** False for a name that means nothing here; it is taken as `plain`. */
  readonly known: boolean;
  /** Which watchdog it brings as `/fwatchdog`. */
  readonly watchdog: "classic" | "of" | undefined;
  /** Its `/bin/sh` is busybox's, which knows `[[`. */
  readonly busybox: boolean;
}

export function readImage(image: string): BaseImage {
  const [, path = "", tag = ""] = /^([^@]*?)(?::([^/:@]*))?(?:@.*)?$/.exec(image) ?? [];
  const last = path.split("/").at(-1)!.toLowerCase();
  const name = languages[last];
  const watchdog = last === "of-watchdog" ? "of" : last === "classic-watchdog" ? "classic" : undefined;
  return {
    image,
    name: name ?? "plain",
    version: /^(?:[a-z]+-)?v?(\d+(?:\.\d+)*)/.exec(tag)?.[1] ?? "",
    known: name !== undefined || watchdog !== undefined || ownImages.has(last),
    watchdog,
    busybox: tag.includes("alpine") || last === "alpine" || last === "busybox",
  };
}

/**
 * Variables that an image of the language has beside the Dockerfile's. Where such an image keeps packages in a folder of the
 * system, they lie in the function's home here.
 */
export function baseEnvironment({ name }: BaseImage): Readonly<Record<string, string>> {
  return { PATH: systemPath, ...environments[name] };
}

export const systemPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** Installed by `pip`, of the system or of a user: nothing but the home is kept. */
export const pythonPackages = "/home/app/.local";

const environments: Partial<Record<Language, Readonly<Record<string, string>>>> = {
  node: { NPM_CONFIG_PREFIX: "/home/app/.npm-global", PATH: `${systemPath}:/home/app/.npm-global/bin` },
  python: { PYTHONUSERBASE: pythonPackages, PATH: `${systemPath}:${pythonPackages}/bin` },
  golang: { GOPATH: "/go", PATH: `/go/bin:${systemPath}` },
  ruby: {
    GEM_HOME: "/home/app/.gems",
    BUNDLE_APP_CONFIG: "/home/app/.gems",
    BUNDLE_SILENCE_ROOT_WARNING: "1",
    PATH: `/home/app/.gems/bin:${systemPath}`,
  },
  deno: { DENO_DIR: "/home/app/.deno" },
};

const languages: Readonly<Record<string, Language>> = {
  node: "node",
  python: "python",
  golang: "golang",
  go: "golang",
  openjdk: "java",
  "eclipse-temurin": "java",
  amazoncorretto: "java",
  maven: "maven",
  gradle: "gradle",
  php: "php",
  composer: "composer",
  ruby: "ruby",
  rust: "rust",
  bun: "bun",
  deno: "deno",
  alpine: "plain",
  debian: "plain",
  "debian-slim": "plain",
  ubuntu: "plain",
  busybox: "plain",
  scratch: "plain",
  wolfi: "plain",
  "wolfi-base": "plain",
};

/** Of OpenFaaS, with one program each that means nothing here. */
const ownImages = new Set(["license-check"]);
