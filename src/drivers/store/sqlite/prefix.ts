/** The least that is above all texts that begin with the prefix. */
export function endOfPrefix(prefix: string): string | Uint8Array {
  const points = Array.from(prefix, (character) => character.codePointAt(0) ?? 0);
  for (let last = points.pop(); last !== undefined; last = points.pop())
    // U+D800–U+DFFF are no characters.
    if (last < 0x10ffff) return String.fromCodePoint(...points, last === 0xd7ff ? 0xe000 : last + 1);
  return aboveAllTexts;
}

/** SQLite puts blobs behind all texts. */
const aboveAllTexts = new Uint8Array();
