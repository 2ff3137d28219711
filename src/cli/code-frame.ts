/** The lines around a place in a text, with a mark below the column. Lines and columns count from 1. */
export function codeFrame(text: string, line: number, column?: number, context = 2): string {
  const lines = text.split(/\r?\n/);
  const first = Math.max(1, line - context);
  const last = Math.min(lines.length, line + context);
  const width = String(last).length;
  const frame: string[] = [];
  for (let number = first; number <= last; number++) {
    const content = lines[number - 1] ?? "";
    frame.push(`${number === line ? ">" : " "} ${String(number).padStart(width)} | ${content}`.trimEnd());
    if (number !== line || column === undefined) continue;
    // Tabs stay tabs, so that the mark stands below its column.
    const before = content.slice(0, Math.max(0, column - 1)).replaceAll(/[^\t]/g, " ");
    frame.push(`  ${" ".repeat(width)} | ${before}^`);
  }
  return frame.join("\n");
}

/** `src/handler.ts:12:5` taken apart; undefined where it is no such thing. */
export function parseLocation(location: string): { file: string; line: number; column?: number } | undefined {
  const match = /^(.+?):(\d+)(?::(\d+))?$/.exec(location);
  if (match === null) return undefined;
  const [, file = "", line, column] = match;
  return column === undefined ? { file, line: Number(line) } : { file, line: Number(line), column: Number(column) };
}
