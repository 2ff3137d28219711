/** The function store that `faas-cli store list` and `store deploy` read: what this host can run without any registry. */

/** The document, in the schema's version 0.2.1. */
export function functionStore(): FunctionStoreDocument {
  return { version: "0.2.1", functions: storeFunctions };
}

export interface FunctionStoreDocument {
  readonly version: "0.2.1";
  readonly functions: readonly StoreFunction[];
}

export interface StoreFunction {
  readonly title: string;
  readonly name: string;
  readonly description: string;
  readonly author: string;
  readonly icon: string;
  readonly repo_url: string;
  /** By platform: every client finds its own. */
  readonly images: Readonly<Record<string, string>>;
  readonly fprocess: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly readOnlyRootFilesystem: boolean;
}

const alpine = "ghcr.io/openfaas/alpine:latest";
const bundled = "node index.js";

const storeFunctions: readonly StoreFunction[] = [
  entry(
    "nodeinfo",
    "NodeInfo",
    "Tells about the host: architecture, processors, uptime; more for the body 'verbose'.",
    {
      image: "ghcr.io/openfaas/nodeinfo:latest",
      fprocess: bundled,
    },
  ),
  entry("env", "Environment variables", "Prints the environment of the function, with the headers of the request.", {
    image: alpine,
    fprocess: "env",
  }),
  entry("shasum", "SHA-512 checksum", "Answers the SHA-512 checksum of the request's body.", {
    image: alpine,
    fprocess: "sha512sum",
  }),
  entry("cat", "Echo", "Answers the request's body.", { image: alpine, fprocess: "cat" }),
  entry("figlet", "Figlet", "Writes the request's body in large letters.", {
    image: "ghcr.io/openfaas/figlet:latest",
    fprocess: bundled,
  }),
  entry("markdown", "Markdown", "Renders the request's body, which is Markdown, as HTML.", {
    image: "ghcr.io/openfaas/markdown:latest",
    fprocess: bundled,
  }),
  entry("alpine", "Alpine", "Any program of the host: name it with --fprocess.", { image: alpine, fprocess: "cat" }),
];

interface Program {
  readonly image: string;
  readonly fprocess: string;
}

function entry(name: string, title: string, description: string, { image, fprocess }: Program): StoreFunction {
  return {
    title,
    name,
    description,
    author: "virga",
    icon: "",
    repo_url: "",
    images: { x86_64: image, arm64: image, armhf: image },
    fprocess,
    environment: {},
    labels: {},
    annotations: {},
    readOnlyRootFilesystem: true,
  };
}
