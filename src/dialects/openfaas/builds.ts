/** What the builder's endpoint works with. */
import type { Log } from "../../ports/log.ts";
import type { Sandbox } from "../../ports/sandbox.ts";
import type { BuildEndpointOptions } from "./builder/endpoint.ts";
import type { ImageBuildRequest } from "./builder/image-build.ts";
import type { BuildKey } from "./build-secrets.ts";
import type { Images } from "./images.ts";

export interface BuildOptions {
  /** Folder for contexts and stages while they are being built. */
  readonly workDirectory: string;
  /** Of packages, shared by all builds. */
  readonly cacheDirectory: string;
  readonly toolchain: ImageBuildRequest["toolchain"];
  /** Keys that a build may be signed with. */
  readonly secrets: () => Promise<readonly string[]>;
  readonly key: BuildKey;
  readonly timeoutMs: number;
  readonly maxBytes: number;
}

export function createBuilds(
  { sandbox, log, builds }: { readonly sandbox: Sandbox; readonly log: Log; readonly builds: BuildOptions },
  images: Images,
): BuildEndpointOptions {
  return {
    ...builds,
    sandbox,
    log,
    unseal: (envelope) => builds.key.unseal(envelope),
    known: (image, key) => images.isBuilt(image, key),
    keep: (image, built, key) => images.keep(image, built, key),
  };
}
