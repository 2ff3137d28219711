/** Writes its input in large letters, one row of them per line, and breaks rows that are too wide for a terminal. */
"use strict";

const { readFileSync } = require("node:fs");
const { glyphs, height } = require("./font");

const width = 80;
const unknown = glyphs.get("?");

const text = readFileSync(0, "utf8")
  .replace(/(?:\r?\n)+$/, "")
  .replaceAll("\t", "    ");
process.stdout.write(`${text.split(/\r?\n/).flatMap(rows).map(draw).join("\n")}\n`);

/** The glyphs of a line, in as many rows as they need. */
function rows(line) {
  const broken = [[]];
  let used = 0;
  for (const character of line) {
    const glyph = glyphs.get(character) ?? unknown;
    const columns = glyph[0].length + 1;
    if (used + columns > width) {
      broken.push([]);
      used = 0;
    }
    broken.at(-1).push(glyph);
    used += columns;
  }
  return broken;
}

function draw(row) {
  const lines = [];
  for (let at = 0; at < height; at++)
    lines.push(
      row
        .map((glyph) => glyph[at])
        .join(" ")
        .trimEnd(),
    );
  return lines.join("\n");
}
