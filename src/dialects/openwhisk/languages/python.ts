import type { BundledPackages, Files, Language } from "./index.ts";

/** What OpenWhisk's image of Python has in it: names of modules, and of the packages that hold them. */
const distributions: Readonly<Record<string, string>> = {
  bs4: "beautifulsoup4",
  dateutil: "python-dateutil",
  httplib2: "httplib2",
  kafka: "kafka-python",
  lxml: "lxml",
  netifaces: "netifaces",
  requests: "requests",
  scrapy: "Scrapy",
  simplejson: "simplejson",
  twisted: "Twisted",
};

const packages: BundledPackages = {
  sources: /\.py$|^requirements\.txt$/,
  folders: ["virtualenv"],
  missing({ sources, paths }): Files {
    const given = sources.get("requirements.txt");
    const texts = [...sources.values()];
    const isBrought = (module: string, distribution: string): boolean =>
      (given !== undefined && new RegExp(`^\\s*${distribution}\\b`, "im").test(given)) ||
      [...paths].some((path) => isModule(path, module));
    const wanted = Object.entries(distributions).filter(
      ([module, distribution]) => texts.some((text) => imports(text, module)) && !isBrought(module, distribution),
    );
    if (wanted.length === 0) return {};
    const lines = [
      ...(given === undefined ? [] : [given.trimEnd()]),
      ...wanted.map(([, distribution]) => distribution),
    ];
    return { "requirements.txt": { content: `${lines.join("\n")}\n` } };
  },
};

export const python: Language = {
  runtime: "python",
  convention: "native",
  handler: "openwhisk_action.py",
  files: { "openwhisk_action.py": "python/openwhisk_action.py" },
  singleFile: () => ({ path: "__action__.py" }),
  archiveEntry: "__main__.py",
  packages,
};

/** At the root of the code, or in a virtual environment's packages. */
function isModule(path: string, module: string): boolean {
  const inside = path.replace(/^virtualenv\/lib\/python[^/]*\/site-packages\//, "");
  return inside === `${module}.py` || inside.startsWith(`${module}/`);
}

function imports(text: string, module: string): boolean {
  return new RegExp(`^[ \\t]*(?:from[ \\t]+${module}\\b|import[ \\t]+(?:[\\w. \\t]+,[ \\t]*)*${module}\\b)`, "m").test(
    text,
  );
}
