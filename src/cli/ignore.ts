/**
 * Which files stay behind when a folder is packed: the rules of `.gitignore` (gitignore(5)) from `.virgaignore`,
 * after those that always hold. The last rule that fits decides.
 */
export class IgnoreRules {
  readonly #rules: readonly Rule[];

  constructor(text = "", builtIn: readonly string[] = alwaysIgnored) {
    this.#rules = [...builtIn, ...text.split(/\r?\n/)].flatMap((line) => parseRule(line) ?? []);
  }

  /** `path` is relative to the folder, with `/`. What is below an ignored folder is never asked about: it is ignored too. */
  ignores(path: string, isFolder: boolean): boolean {
    let ignored = false;
    for (const { pattern, negated, folderOnly } of this.#rules) {
      if ((!folderOnly || isFolder) && pattern.test(path)) ignored = !negated;
    }
    return ignored;
  }
}

/** Nothing that runs needs these. `node_modules` is decided by `pack.ts`. */
const alwaysIgnored: readonly string[] = [
  ".git",
  ".hg",
  ".svn",
  ".DS_Store",
  "__pycache__/",
  "*.pyc",
  ".venv/",
  "/.virga/",
  "/.virgaignore",
  "/virga.yaml",
  "/virga.yml",
];

interface Rule {
  readonly pattern: RegExp;
  readonly negated: boolean;
  readonly folderOnly: boolean;
}

function parseRule(line: string): Rule | undefined {
  // Blanks at the end do not count unless a backslash stands before them.
  let text = line.replace(/(?<!\\)\s+$/, "");
  if (text === "" || text.startsWith("#")) return undefined;
  const negated = text.startsWith("!");
  if (negated) text = text.slice(1);
  const folderOnly = text.endsWith("/");
  if (folderOnly) text = text.slice(0, -1);
  // A slash at the beginning or in the middle ties the pattern to the folder of the file with the rules.
  const anchored = text.includes("/");
  if (text.startsWith("/")) text = text.slice(1);
  if (text === "") return undefined;
  return { pattern: new RegExp(`^${anchored ? "" : "(?:.*/)?"}${translate(text)}$`, "su"), negated, folderOnly };
}

function translate(glob: string): string {
  let pattern = "";
  for (let index = 0; index < glob.length;) {
    const rest = glob.slice(index);
    const [taken, translated] = translateStep(rest, index === 0 || glob[index - 1] === "/");
    pattern += translated;
    index += taken;
  }
  return pattern;
}

/** How many characters of the glob were taken, and what they mean. */
function translateStep(rest: string, atSegmentStart: boolean): [number, string] {
  if (atSegmentStart && rest.startsWith("**/")) return [3, "(?:[^/]+/)*"];
  if (atSegmentStart && rest === "**") return [2, ".+"];
  if (rest.startsWith("*")) return [/^\*+/.exec(rest)?.[0].length ?? 1, "[^/]*"];
  if (rest.startsWith("?")) return [1, "[^/]"];
  const range = /^\[([!^]?)(\]?[^\]/]*)\]/.exec(rest);
  if (range !== null && validRange(range[2] ?? "")) {
    const members = (range[2] ?? "").replaceAll(/[\\\][&~|^]/g, String.raw`\$&`);
    return [range[0].length, range[1] === "" ? `[${members}]` : `(?!/)[^${members}]`];
  }
  const escaped = rest.startsWith("\\") && rest.length > 1;
  const character = String.fromCodePoint(rest.codePointAt(escaped ? 1 : 0) ?? 0);
  return [character.length + (escaped ? 1 : 0), character.replaceAll(/[\\^$.*+?()[\]{}|/-]/gu, escapeCharacter)];
}

function validRange(members: string): boolean {
  if (members === "") return false;
  return [...members.matchAll(/(.)-(.)/gsu)].every(([, from = "", to = ""]) => from <= to);
}

/** With the `u` flag only these may be escaped by a backslash; `-` is safe outside of classes. */
function escapeCharacter(character: string): string {
  return character === "-" ? character : `\\${character}`;
}
