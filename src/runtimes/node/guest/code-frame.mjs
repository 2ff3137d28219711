/** Three lines of a source up to the place, with a caret. */
export function codeFrame(source, line, column) {
  const lines = source.split("\n");
  const first = Math.max(1, line - 2);
  const width = String(line).length;
  const frame = lines
    .slice(first - 1, line)
    .map((text, index) => `${String(first + index).padStart(width)} | ${text.slice(0, 200)}`);
  return [...frame, `${" ".repeat(width)} | ${" ".repeat(Math.max(0, column - 1))}^`].join("\n");
}
