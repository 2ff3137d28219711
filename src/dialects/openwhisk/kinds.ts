/** Which kinds of action there are, under the names that OpenWhisk has had for them (contract section 3.3). */
import { WhiskError } from "./errors.ts";

export interface Kind {
  /** As it is stored: `nodejs:20`. */
  readonly kind: string;
  readonly family: Family;
}

export type Family = "nodejs" | "python" | "go" | "java" | "php" | "ruby" | "rust" | "native";

interface FamilyKinds {
  readonly default: string;
  /** Others that are taken as they are, old ones among them: they all run on what this host has. */
  readonly versions: readonly string[];
  readonly requireMain?: true;
}

const families: Readonly<Record<Exclude<Family, "native">, FamilyKinds>> = {
  nodejs: { default: "20", versions: ["6", "8", "10", "12", "14", "16", "18", "20", "22", "24"] },
  python: { default: "3.11", versions: ["3", "3.6", "3.7", "3.9", "3.10", "3.11", "3.12", "3.13"] },
  go: { default: "1.20", versions: ["1.11", "1.13", "1.15", "1.17", "1.18", "1.19", "1.20", "1.21", "1.22", "1.23"] },
  java: { default: "8", versions: ["8", "11", "17", "21"], requireMain: true },
  php: { default: "8.1", versions: ["7.1", "7.2", "7.3", "7.4", "8.0", "8.1", "8.2"] },
  ruby: { default: "2.5", versions: ["2.5", "2.6", "2.7", "3.0", "3.1"] },
  rust: { default: "1.34", versions: ["1.34"] },
};

/** Why a kind is not there, by its beginning. */
const refused: Readonly<Record<string, string>> = {
  "python:2": "Python 2 has had no security fixes since 2020; use python:3.",
  swift: "There is no Swift toolchain on this host.",
  dotnet: "There is no .NET toolchain on this host.",
  ballerina: "There is no Ballerina toolchain on this host.",
};

/** The kind behind a name that a client gave: `nodejs:default`, `nodejs`, `PYTHON:3`. Throws 400 with the valid ones. */
export function readKind(given: string): Kind {
  const name = given.trim().toLowerCase();
  const [family = "", version] = name.split(":");
  if (Object.hasOwn(families, family) && !Object.hasOwn(refused, name)) {
    const { default: usual, versions } = families[family as keyof typeof families];
    const wanted = version === undefined || version === "default" ? usual : version;
    if (versions.includes(wanted)) return { kind: `${family}:${wanted}`, family: family as Family };
  }
  const reason = Object.entries(refused).find(([start]) => name === start || family === start)?.[1];
  throw new WhiskError(
    400,
    reason === undefined
      ? `The kind '${name}' is not one of the kinds here: ${allKinds().join(", ")}.`
      : `The kind '${name}' is not supported. ${reason}`,
  );
}

export function needsMain(family: Family): boolean {
  return family !== "native" && families[family].requireMain === true;
}

/** Images of `blackbox` actions that are a contract of their own and no image: a program is given with them. */
export function isNativeImage(image: string): boolean {
  return /^(?:[\w.-]+\/)?(?:openwhisk\/)?dockerskeleton(?::[\w.-]+)?$/.test(image);
}

/** As `GET /` shows them. */
export function runtimesDocument(): Record<string, unknown[]> {
  return Object.fromEntries(
    Object.entries(families).map(([family, { default: usual, versions, requireMain }]) => [
      family,
      versions.map((version) => ({
        kind: `${family}:${version}`,
        image: `virga/${family}:${version}`,
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
