/** File name patterns of `.dockerignore` and of COPY's sources, as Go's `filepath.Match` has them, and `**`. */

export interface IgnoreRules {
  /** `path`: relative to the context, `/` between names. */
  ignores(path: string): boolean;
  /** Whether something below an ignored folder may be wanted all the same. */
  readonly hasExceptions: boolean;
}

export function ignoreRules(lines: readonly string[]): IgnoreRules {
  const rules = lines
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => ({ wanted: line.startsWith("!"), pattern: clean(line.replace(/^!\s*/, "")) }))
    .filter(({ pattern }) => pattern !== "")
    .map(({ wanted, pattern }) => ({ wanted, matches: patternOf(pattern) }));
  return {
    hasExceptions: rules.some(({ wanted }) => wanted),
    ignores(path) {
      const names = path.split("/");
      const paths = names.map((_, index) => names.slice(0, index + 1).join("/"));
      // The last rule that fits the path or a folder above it decides.
      const last = rules.findLast(({ matches }) => paths.some((part) => matches.test(part)));
      return last !== undefined && !last.wanted;
    },
  };
}

export const nothingIgnored: IgnoreRules = ignoreRules([]);

export function hasWildcard(text: string): boolean {
  return /[*?[]/.test(text);
}

/** For a name, or a path where it has slashes: `*` does not go across one, a name `**` does. */
export function patternOf(pattern: string): Matcher {
  const segments = pattern.split("/").map((segment) => (segment === "**" ? star : tokensOf(segment)));
  // What is below a folder is not the folder.
  if (segments.length > 1 && segments.at(-1) === star) segments.splice(-1, 0, [star]);
  return {
    test: (path) =>
      fits(segments, path.split("/"), (tokens, name) => fits(tokens, Array.from(name), (token, one) => token(one))),
  };
}

export interface Matcher {
  test(path: string): boolean;
}

/** Any number of items. */
const star = Symbol("*");
type Token = (character: string) => boolean;

/** Going back to the last star is enough, so its time is that of two loops whatever the pattern. */
function fits<P extends object, T>(
  pattern: readonly (P | typeof star)[],
  items: readonly T[],
  matches: (part: P, item: T) => boolean,
): boolean {
  let [at, item, lastStar, resume] = [0, 0, -1, 0];
  while (item < items.length) {
    const part = pattern[at];
    if (part === star) {
      lastStar = at++;
      resume = item;
    } else if (part !== undefined && matches(part, items[item]!)) {
      at++;
      item++;
    } else if (lastStar >= 0) {
      at = lastStar + 1;
      item = ++resume;
    } else return false;
  }
  return pattern.slice(at).every((part) => part === star);
}

function tokensOf(segment: string): (Token | typeof star)[] {
  const tokens: (Token | typeof star)[] = [];
  const characters = Array.from(segment);
  for (let at = 0; at < characters.length; at++) {
    const character = characters[at]!;
    const end = character === "[" ? characters.indexOf("]", at + 2) : -1;
    if (character === "*") tokens.push(star);
    else if (character === "?") tokens.push(() => true);
    else if (end > 0) {
      tokens.push(oneOf(characters.slice(at + 1, end)));
      at = end;
    } else {
      const literal = character === "\\" ? (characters[++at] ?? "\\") : character;
      tokens.push((one) => one === literal);
    }
  }
  return tokens;
}

function oneOf(members: readonly string[]): Token {
  const isNegated = members[0] === "^" || members[0] === "!";
  const listed = isNegated ? members.slice(1) : members;
  const holds = (one: string): boolean =>
    listed.some((member, index) => {
      if (listed[index + 1] === "-" && listed[index + 2] !== undefined)
        return one >= member && one <= listed[index + 2]!;
      return one === member;
    });
  return (one) => holds(one) !== isNegated;
}

function clean(path: string): string {
  const names: string[] = [];
  for (const name of path.split("/")) {
    if (name === "..") names.pop();
    else if (name !== "" && name !== ".") names.push(name);
  }
  return names.join("/");
}
