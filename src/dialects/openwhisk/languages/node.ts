import type { BundledPackages, CodeView, Files, Language } from "./index.ts";

/**
 * What OpenWhisk's images of Node have had in them, in versions that work as those did: `openwhisk` and express in all of them,
 * redis for composer's code, and of the image of Node 6, which the published examples were written for, what they use.
 */
const versions: Readonly<Record<string, string>> = {
  async: "2.6.4",
  cheerio: "1.0.0-rc.12",
  express: "4.21.2",
  lodash: "4.17.21",
  moment: "2.30.1",
  openwhisk: "3.21.9",
  redis: "2.8.0",
  "redis-commands": "1.7.0",
  request: "2.88.2",
  "request-promise": "4.2.6",
  "serialize-error": "3.0.0",
  underscore: "1.13.7",
  uuid: "9.0.1",
  xml2js: "0.6.2",
};

const packages: BundledPackages = {
  sources: /\.[cm]?js$|^package\.json$/,
  folders: ["node_modules"],
  missing({ sources, paths }): Files {
    const manifest = dependenciesOf(sources, paths);
    const isBrought = (name: string): boolean =>
      name in manifest || [...paths].some((path) => path.startsWith(`node_modules/${name}/`));
    const texts = [...sources.values()];
    const wanted = Object.entries(versions).filter(
      ([name]) => texts.some((text) => mentions(text, name)) && !isBrought(name),
    );
    if (wanted.length === 0) return {};
    const content = JSON.stringify({ private: true, dependencies: Object.fromEntries(wanted) });
    return { [`${packagesFolder}/package.json`]: { content } };
  },
};

/** What is listed here is installed here by the runtime's build, and found by the adapter where the code itself has no such package. */
const packagesFolder = ".virga/packages";

export const node: Language = {
  runtime: "node",
  convention: "native",
  handler: "openwhisk-run.mjs",
  files: { "openwhisk-run.mjs": "node/openwhisk-run.mjs" },
  singleFile: () => ({ path: "action.js" }),
  packages,
};

/** Those that the build installs, because the code comes without its `node_modules`. */
function dependenciesOf(sources: CodeView["sources"], paths: CodeView["paths"]): object {
  if ([...paths].some((path) => path.startsWith("node_modules/"))) return {};
  try {
    const manifest = JSON.parse(sources.get("package.json") ?? "{}") as { dependencies?: object };
    return { ...manifest.dependencies };
  } catch {
    return {}; // the build says what is wrong with it
  }
}

function mentions(text: string, name: string): boolean {
  return new RegExp(`(?:require\\s*\\(|from|import\\s*\\(?)\\s*['"\`]${name}['"\`/]`).test(text);
}
