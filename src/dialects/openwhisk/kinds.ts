/** Which kinds of action there are, under the names that OpenWhisk has had for them (contract section 3.3). */
import { WhiskError } from "./errors.ts";

export interface Kind {
  /** As it is stored: `nodejs:20`. */
  readonly kind: string;
  readonly family: LanguageFamily;
}

export type LanguageFamily = "nodejs" | "python" | "go" | "java" | "php" | "ruby" | "rust";

/** Beside languages, programs: `wsk action create --native`. */
export type Family = LanguageFamily | "native";

interface FamilyKinds {
  readonly default: string;
  /** As they are listed. Old ones are among them, since published manifests name them; all run on what this host has. */
  readonly versions: readonly string[];
  /** Which others are taken. */
  readonly accepts: RegExp;
  readonly requireMain?: true;
}

const families: Readonly<Record<LanguageFamily, FamilyKinds>> = {
  nodejs: {
    default: "20",
    versions: ["6", "8", "10", "12", "14", "16", "18", "20", "22", "24"],
    accepts: /^(?:[6-9]|1\d|2[0-4])$/,
  },
  python: {
    default: "3.11",
    versions: ["3", "3.6", "3.7", "3.8", "3.9", "3.10", "3.11", "3.12", "3.13"],
    accepts: /^3(?:\.\d{1,2})?$/,
  },
  go: {
    default: "1.20",
    versions: ["1.11", "1.13", "1.15", "1.17", "1.18", "1.19", "1.20", "1.21", "1.22", "1.23"],
    accepts: /^1\.\d{1,2}$/,
  },
  java: { default: "8", versions: ["8", "11", "17", "21"], accepts: /^(?:8|9|1\d|2\d)$/, requireMain: true },
  php: {
    default: "8.1",
    versions: ["7.1", "7.2", "7.3", "7.4", "8.0", "8.1", "8.2"],
    accepts: /^[78]\.\d$/,
  },
  ruby: { default: "2.5", versions: ["2.5", "2.6", "2.7", "3.0", "3.1"], accepts: /^[23]\.\d$/ },
  rust: { default: "1.34", versions: ["1.34"], accepts: /^1\.\d{1,3}$/ },
};

/** Why a kind is not there, by the name of a family or of one kind. */
const refused: ReadonlyMap<string, string> = new Map([
  ["python:2", "Python 2 has had no security fixes since 2020; use python:3."],
  ["python:2.7", "Python 2 has had no security fixes since 2020; use python:3."],
  ["swift", "There is no Swift toolchain on this host."],
  ["dotnet", "There is no .NET toolchain on this host."],
  ["ballerina", "There is no Ballerina toolchain on this host."],
]);

/** The kind behind a name that a client gave: `nodejs:default`, `nodejs`, `PYTHON:3`. Throws 400 with the valid ones. */
export function readKind(given: string): Kind {
  const name = given.trim().toLowerCase();
  const [family = "", version] = name.split(":");
  const reason = refused.get(name) ?? refused.get(family);
  if (reason !== undefined) throw new WhiskError(400, `The kind '${name}' is not supported. ${reason}`);
  if (isLanguage(family)) {
    const { default: usual, accepts } = families[family];
    const wanted = version === undefined || version === "default" ? usual : version;
    if (accepts.test(wanted)) return { kind: `${family}:${wanted}`, family };
  }
  throw new WhiskError(400, `The kind '${name}' is not one of the kinds here: ${allKinds().join(", ")}.`);
}

/** Of a kind as it is stored. */
export function familyOf(kind: string): Family {
  return kind === "blackbox" ? "native" : readKind(kind).family;
}

export function needsMain(family: LanguageFamily): boolean {
  return families[family].requireMain === true;
}

/** Images of `blackbox` actions that stand for a contract and not for an image: a program is given with them. */
export function isNativeImage(image: string): boolean {
  return /^(?:[\w.-]+\/)?(?:openwhisk\/)?dockerskeleton(?::[\w.-]+)?$/.test(image);
}

/** As `GET /` shows them. wskdeploy takes no kind that is not in this list, so the bare names of families stand in it, too. */
export function runtimesDocument(): Record<string, unknown[]> {
  return Object.fromEntries(
    Object.entries(families).map(([family, { default: usual, versions, requireMain }]) => [
      family,
      [undefined, ...versions].map((version) => ({
        kind: version === undefined ? family : `${family}:${version}`,
        image: `virga/${family}:${version ?? usual}`,
        deprecated: false,
        default: version === usual,
        attached: true,
        requireMain: requireMain ?? false,
      })),
    ]),
  );
}

function allKinds(): string[] {
  return Object.entries(families).flatMap(([family, { versions }]) =>
    versions.map((version) => `${family}:${version}`),
  );
}

function isLanguage(family: string): family is LanguageFamily {
  return Object.hasOwn(families, family);
}
