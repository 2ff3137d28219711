import type { Terminal } from "./terminal.ts";

export const formats = ["table", "wide", "json", "yaml"] as const;
export type Format = (typeof formats)[number];

export interface Column<T> {
  readonly title: string;
  readonly value: (row: T) => string | number | undefined;
  /** Shown with `-o wide` only. */
  readonly wide?: boolean;
  readonly align?: "right";
}

/** Rows as a table, or the data itself where a machine reads it. */
export async function printList<T>(
  terminal: Terminal,
  format: Format,
  rows: readonly T[],
  columns: readonly Column<T>[],
  empty: string,
): Promise<void> {
  if (format === "json" || format === "yaml") return printData(terminal, format, rows);
  if (rows.length === 0) terminal.note(empty);
  else for (const line of table(terminal, rows, columns, format === "wide")) terminal.print(line);
}

export async function printData(terminal: Terminal, format: "json" | "yaml", data: unknown): Promise<void> {
  if (format === "json") return terminal.print(JSON.stringify(data, undefined, 2));
  const { stringify } = await import("yaml");
  terminal.print(stringify(data).trimEnd());
}

/** `name   value` lines with the names in one column; values that are undefined are left out. */
export function printFields(terminal: Terminal, fields: Readonly<Record<string, string | undefined>>): void {
  const shown = Object.entries(fields).filter((entry): entry is [string, string] => entry[1] !== undefined);
  const width = Math.max(0, ...shown.map(([name]) => displayWidth(name)));
  for (const [name, value] of shown) {
    const indented = value.replaceAll("\n", `\n${" ".repeat(width + 3)}`);
    terminal.print(`${terminal.style("dim", pad(name, width))}   ${indented}`.trimEnd());
  }
}

export function table<T>(
  terminal: Pick<Terminal, "style">,
  rows: readonly T[],
  columns: readonly Column<T>[],
  wide = false,
): string[] {
  const shown = columns.filter((column) => wide || column.wide !== true);
  const cells = rows.map((row) => shown.map((column) => printable(column.value(row) ?? "-")));
  const widths = shown.map((column, index) =>
    Math.max(displayWidth(column.title), ...cells.map((line) => displayWidth(line[index] ?? ""))),
  );
  const lay = (line: readonly string[]): string =>
    line
      .map((cell, index) => pad(cell, widths[index] ?? 0, shown[index]?.align))
      .join("   ")
      .trimEnd();
  return [terminal.style("bold", lay(shown.map((column) => column.title))), ...cells.map(lay)];
}

/** Text of others on one line, without the control characters that would move the reader's cursor or change colours. */
export function printable(value: string | number): string {
  return String(value)
    .replaceAll(/[\r\n\t]+/g, " ")
    .replaceAll(/\p{Cc}/gu, "\uFFFD");
}

function pad(text: string, width: number, align?: "right"): string {
  const space = " ".repeat(Math.max(0, width - displayWidth(text)));
  return align === "right" ? space + text : text + space;
}

/** Columns on a terminal: East Asian wide characters take two, combining marks none. */
function displayWidth(text: string): number {
  if (/^[\u0020-\u007E]*$/.test(text)) return text.length;
  let width = 0;
  for (const { segment } of new Intl.Segmenter().segment(text)) {
    width += /\p{Script=Han}|\p{Script=Hiragana}|\p{Script=Katakana}|\p{Script=Hangul}|\p{Emoji_Presentation}/u.test(
      segment,
    )
      ? 2
      : 1;
  }
  return width;
}
