/** Words of a Dockerfile: quotes, backslashes and variables by Docker's rules, which are a shell's without the shell. */

export type Variables = ReadonlyMap<string, string>;

/**
 * One word with its variables replaced and its quotes gone. Single quotes keep what they hold as it is.
 * Throws an Error that says what is wrong with it.
 */
export function expand(word: string, variables: Variables): string {
  return expandFrom(word, 0, variables, undefined).text;
}

/** Splits at blanks outside of quotes; quotes and backslashes stay. */
export function splitWords(text: string): string[] {
  const words: string[] = [];
  let word = "";
  let quote = "";
  for (let at = 0; at < text.length; at++) {
    const character = text[at]!;
    if (quote === "" && /\s/.test(character)) {
      if (word !== "") words.push(word);
      word = "";
      continue;
    }
    word += character;
    if (character === "\\" && quote !== "'" && at + 1 < text.length) word += text[++at]!;
    else if (quote !== "") quote = character === quote ? "" : quote;
    else if (character === "'" || character === '"') quote = character;
  }
  if (word !== "") words.push(word);
  return words;
}

/** `ENV a=1 b="2 3"`, or the old form of one variable, `ENV a 1 2`. */
export function readPairs(text: string, variables: Variables): [name: string, value: string][] {
  const words = splitWords(text);
  if (!words[0]!.includes("=")) {
    const [, name = "", value = ""] = /^(\S+)\s*([\s\S]*)$/.exec(text) ?? [];
    if (value === "") throw new Error(`${name} has no value: write ${name}=VALUE`);
    return [[expand(name, variables), expand(value, variables)]];
  }
  return words.map((word) => {
    const equals = word.indexOf("=");
    if (equals < 1) throw new Error(`${word} is no NAME=VALUE`);
    return [expand(word.slice(0, equals), variables), expand(word.slice(equals + 1), variables)];
  });
}

interface Expanded {
  readonly text: string;
  /** Behind the terminator. */
  readonly end: number;
}

function expandFrom(word: string, start: number, variables: Variables, terminator: "}" | undefined): Expanded {
  let text = "";
  let isQuoted = false;
  let at = start;
  while (at < word.length) {
    // A variable that holds itself twice doubles with each line.
    if (text.length > longestText) throw new Error(`it comes to more than ${longestText} characters`);
    const character = word[at]!;
    if (character === terminator && !isQuoted) return { text, end: at + 1 };
    if (character === "'" && !isQuoted) {
      const close = word.indexOf("'", at + 1);
      if (close < 0) throw new Error(`a ' is not closed in ${word}`);
      text += word.slice(at + 1, close);
      at = close + 1;
    } else if (character === '"') {
      isQuoted = !isQuoted;
      at++;
    } else if (character === "\\") {
      const next = word[at + 1];
      // Within quotes a backslash is one, but in front of what it could keep from being special.
      text += next === undefined || (isQuoted && !'"$\\'.includes(next)) ? `\\${next ?? ""}` : next;
      at += 2;
    } else if (character === "$") {
      const found = expandVariable(word, at, variables);
      text += found.text;
      at = found.end;
    } else {
      text += character;
      at++;
    }
  }
  if (isQuoted) throw new Error(`a " is not closed in ${word}`);
  if (terminator !== undefined) throw new Error(`a \${ is not closed in ${word}`);
  return { text, end: at };
}

function expandVariable(word: string, at: number, variables: Variables): Expanded {
  const plain = /^\$(\w+)/.exec(word.slice(at));
  if (plain !== null) return { text: variables.get(plain[1]!) ?? "", end: at + plain[0].length };
  if (word[at + 1] !== "{") return { text: "$", end: at + 1 };
  const braced = /^\$\{(\w+)(\}|:?[-+?])?/.exec(word.slice(at));
  if (braced === null) throw new Error(`${word.slice(at)} names no variable`);
  const [whole, name = "", operator] = braced;
  const behind = at + whole.length;
  if (operator === undefined)
    throw new Error(
      `\${${name}${word[behind] ?? ""}…} is not supported: of a variable's forms only :- - :+ + :? ? are`,
    );
  const value = variables.get(name);
  if (operator === "}") return { text: value ?? "", end: behind };
  const other = expandFrom(word, behind, variables, "}");
  const isSet = operator.startsWith(":") ? value !== undefined && value !== "" : value !== undefined;
  if (operator.endsWith("+")) return { text: isSet ? other.text : "", end: other.end };
  if (isSet) return { text: value!, end: other.end };
  if (operator.endsWith("?")) throw new Error(`${name} is not set${other.text === "" ? "" : `: ${other.text}`}`);
  return { text: other.text, end: other.end };
}

/** Linux gives no program a longer variable or parameter. */
const longestText = 128 * 1024;
