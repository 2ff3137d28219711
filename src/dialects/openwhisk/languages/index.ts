/**
 * How the code of each family of kinds becomes a program of this platform: which runtime builds and starts it, how it is called,
 * and which files of `guest/` are laid over it. A language is a file here and an entry in `languages`.
 */
import { readFileSync } from "node:fs";
import type { Family } from "../kinds.ts";
import { go } from "./go.ts";
import { java } from "./java.ts";
import { native } from "./native.ts";
import { node } from "./node.ts";
import { php } from "./php.ts";
import { python } from "./python.ts";
import { ruby } from "./ruby.ts";
import { rust } from "./rust.ts";

/** Contents by path. */
export type Files = Readonly<Record<string, FileContent>>;

export interface FileContent {
  readonly content: string | Uint8Array;
  readonly executable?: true;
}

export interface Language {
  /** As in a function's settings. */
  readonly runtime: string;
  readonly convention: string;
  readonly handler: string;
  /** Files of `guest/` by the path at which they are laid over the user's code. */
  readonly files: Readonly<Record<string, GuestFile>>;
  /** Files beside them that depend on what the action names as its entry, and on whether its code is an archive. */
  readonly generated?: (main: string, isArchive: boolean) => Files;
  /** Archives are taken as the file that they are, and not unpacked. */
  readonly isWhole?: true;
  /** Where the file of an action lies that is no archive. */
  singleFile(code: SingleFile): { readonly path: string; readonly executable?: true };
  /** What is run or loaded of an archive, where that is always the same. */
  readonly archiveEntry?: string;
  /** What OpenWhisk's own image of the language brings along. */
  readonly packages?: BundledPackages;
}

export interface SingleFile {
  /** Empty where it came as Base64: a program. */
  readonly text: string;
  readonly isBinary: boolean;
  /** What the action names as its entry. */
  readonly main: string;
}

export type GuestFile = string | { readonly file: string; readonly executable: true };

/** Packages that code may use without bringing them. They are installed where the code names them and does not bring them. */
export interface BundledPackages {
  /** Files in which they are looked for. */
  readonly sources: RegExp;
  /** Folders that hold the code's own packages, below its root; they are not looked into. */
  readonly folders: readonly string[];
  /** Files to lay over the code; none where nothing is missing. */
  missing(code: CodeView): Files;
}

export interface CodeView {
  /** Texts of the sources, by path. */
  readonly sources: ReadonlyMap<string, string>;
  /** Every path. */
  readonly paths: ReadonlySet<string>;
}

/** What a guest reads of the action it stands for, beside the code; `failure`: why that could not be built. */
export interface GuestSettings {
  readonly main: string;
  readonly entry?: string;
  readonly failure?: string;
}

export const settingsFile = ".openwhisk.json";

export const languages: Readonly<Record<Family, Language>> = {
  nodejs: node,
  python,
  go,
  java,
  php,
  ruby,
  rust,
  native,
};

/** A file of `guest/`. */
export function guestFile(path: string): Uint8Array {
  let content = contents.get(path);
  if (content === undefined) contents.set(path, (content = readFileSync(new URL(`../guest/${path}`, import.meta.url))));
  return content;
}

const contents = new Map<string, Uint8Array>();
