/** Images that need no registry: bundles of ours, and programs of the host under the names that tutorials use. */
import { join } from "node:path";

export interface BuiltInImage {
  /** The repository that the function store names. */
  readonly repository: string;
  /** Other repositories that mean the same. */
  readonly aliases: readonly string[];
  /** The folder with its program; without one, a bare root where `fprocess` names a program of the host. */
  readonly folder?: string;
  readonly fprocess: string;
}

const bundles = join(import.meta.dirname, "../images");

export const builtInImages: readonly BuiltInImage[] = [
  {
    repository: "ghcr.io/openfaas/alpine",
    // ImageMagick's `convert` is one of the host's programs, too.
    aliases: ["functions/alpine", "openfaas/alpine", "functions/resizer"],
    fprocess: "cat",
  },
  {
    repository: "ghcr.io/openfaas/nodeinfo",
    aliases: ["functions/nodeinfo", "openfaas/nodeinfo", "functions/nodeinfo-http"],
    folder: join(bundles, "nodeinfo"),
    fprocess: "node index.js",
  },
  {
    repository: "ghcr.io/openfaas/figlet",
    aliases: ["functions/figlet", "openfaas/figlet"],
    folder: join(bundles, "figlet"),
    fprocess: "node index.js",
  },
  {
    repository: "ghcr.io/openfaas/markdown",
    aliases: ["functions/markdown", "functions/markdown-render", "openfaas/markdown"],
    folder: join(bundles, "markdown"),
    fprocess: "node index.js",
  },
];

/** By a reference with or without a tag, a digest and Docker Hub's own name. */
export function findBuiltInImage(reference: string): BuiltInImage | undefined {
  const repository = reference
    .replace(/@sha256:[\da-f]+$/, "")
    .replace(/:[\w.-]+$/, "")
    .replace(/^(?:docker\.io|index\.docker\.io)\//, "");
  return builtInImages.find((image) => image.repository === repository || image.aliases.includes(repository));
}
