/** Images by their names: what a build kept, and those that come with the platform. There is no registry behind them. */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { packTar } from "modern-tar";
import { once } from "../../core/once.ts";
import type { Deployer } from "../../engine/engine.ts";
import { everyRecord } from "../../engine/every-record.ts";
import type { Blobs } from "../../ports/blobs.ts";
import type { Records } from "../../ports/records.ts";
import { packTree } from "./builder/archive.ts";
import type { BuiltImage } from "./builder/image-build.ts";
import { expressEntries } from "./express-entries.ts";
import { FaasError } from "./errors.ts";
import { type BuiltInImage, builtInImages, findBuiltInImage } from "./stores/built-in-images.ts";

export interface Image {
  /** Digest of an archive with the files below `image/`. */
  readonly source: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly workingDirectory: string;
  readonly watchdog: "classic" | "of";
  /** Its server is that of the node templates, which is not needed here. */
  readonly entry?: "express";
}

interface StoredImage extends Image {
  readonly name: string;
  /** Of the build that it came from. */
  readonly key: string;
}

export class Images {
  readonly #records: Records;
  readonly #blobs: Blobs;
  readonly #deployer: Pick<Deployer, "adopt">;

  constructor(records: Records, blobs: Blobs, deployer: Pick<Deployer, "adopt">) {
    this.#records = records;
    this.#blobs = blobs;
    this.#deployer = deployer;
  }

  /** Throws 400 for one that is not here. */
  async find(name: string): Promise<Image> {
    const stored = await this.#records.get<StoredImage>(keyOf(name));
    // Without its content it is no image; a new build makes it again.
    if (stored !== undefined && (await this.#blobs.has(stored.value.source))) {
      const { name: _, key: _key, ...image } = stored.value;
      return image;
    }
    const builtIn = findBuiltInImage(name);
    if (builtIn !== undefined) return this.#builtIn(builtIn);
    throw new FaasError(
      400,
      `image ${name} is not here, and images are not pulled: build it with faas-cli up --remote-builder, or use one of ${builtInImages.map(({ repository }) => repository).join(", ")}`,
    );
  }

  /** True where that very build is what is kept under the name. */
  async isBuilt(name: string, key: string): Promise<boolean> {
    const stored = await this.#records.get<StoredImage>(keyOf(name));
    return stored?.value.key === key && this.#blobs.has(stored.value.source);
  }

  /** What the name stood for before goes, once no function uses it. */
  async keep(name: string, built: BuiltImage, key: string): Promise<void> {
    const { digest } = await this.#blobs.put(packTree(built.tree, "image"));
    await this.#deployer.adopt(digest);
    const isExpress = built.watchdog === "of" && runsExpressEntry(built);
    const image: StoredImage = {
      name,
      key,
      source: digest,
      environment: withProcess(built),
      workingDirectory: built.workingDirectory,
      watchdog: built.watchdog ?? "of",
      ...(isExpress ? { entry: "express" as const } : {}),
    };
    await this.#records.put(keyOf(name), image);
  }

  async #builtIn({ folder, fprocess }: BuiltInImage): Promise<Image> {
    const files = folder === undefined ? [] : filesOf(folder);
    const archive = await packTar(
      files.map(({ path, content }) => ({
        header: { name: `image/home/app/${path}`, size: content.length, mode: 0o644, mtime: new Date(0) },
        body: content,
      })),
    );
    const { digest } = await this.#blobs.put(once(archive));
    return { source: digest, environment: { fprocess }, workingDirectory: "/home/app", watchdog: "classic" };
  }
}

/** Digests of all that a name stands for. */
export async function* namedCode(records: Records): AsyncGenerator<string> {
  for await (const { value } of everyRecord<StoredImage>(records, prefix)) yield value.source;
}

/** A function's own server without a watchdog in front of it is one that listens on 8080, as OpenFaaS calls it. */
function withProcess({ watchdog, environment, command }: BuiltImage): Readonly<Record<string, string>> {
  if (watchdog !== undefined || command.length === 0) return environment;
  return { mode: "http", upstream_url: "http://127.0.0.1:8080", fprocess: command.join(" "), ...environment };
}

function runsExpressEntry({ tree, environment }: BuiltImage): boolean {
  if (environment["fprocess"] !== "node index.js" || environment["mode"] !== "http") return false;
  try {
    const digest = createHash("sha256")
      .update(readFileSync(`${tree}/home/app/index.js`))
      .digest("hex");
    return expressEntries().has(digest);
  } catch {
    return false;
  }
}

function filesOf(folder: string): { path: string; content: Buffer }[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .toSorted()
    .filter((path) => statSync(join(folder, path)).isFile())
    .map((path) => ({ path, content: readFileSync(join(folder, path)) }));
}

/** Without tag and digest a name means its newest, which the clients write out at times and at times not. */
function keyOf(name: string): string {
  const isTagged = /:[^/]*$/.test(name) || name.includes("@");
  return `${prefix}${createHash("sha256")
    .update(isTagged ? name : `${name}:latest`)
    .digest("hex")}`;
}

const prefix = "openfaas/images/";
