import type { FollowedLine } from "./api.ts";
import type { Terminal } from "./terminal.ts";

/** `12:30:01.250 a1b2c3d4 text`: local time, the call's last eight digits (its first are its time), and the line as it was. */
export function logLine(terminal: Pick<Terminal, "style">, line: FollowedLine, name?: string): string {
  const at = new Date(line.at);
  const time = `${at.toTimeString().slice(0, 8)}.${String(at.getMilliseconds()).padStart(3, "0")}`;
  const call = (line.invocation ?? "").slice(-8).padEnd(8, "-");
  const head = [time, ...(name === undefined ? [] : [name]), call].join(" ");
  const text = withoutCursorMoves(line.text);
  return `${terminal.style("dim", head)} ${line.stream === "stderr" ? terminal.style("yellow", text) : text}`;
}

/** ESC [ … m, with its parameters (ECMA-48, SGR); captured, so that `split` keeps it. */
const colour = new RegExp(`(${String.fromCharCode(27)}\\[[\\d;]*m)`);

/** Functions may colour their lines (SGR sequences); nothing else of theirs reaches the reader's terminal. */
function withoutCursorMoves(text: string): string {
  return text
    .split(colour)
    .map((part, index) => (index % 2 === 1 ? part : part.replaceAll(/[^\P{Cc}\t]/gu, "\uFFFD")))
    .join("");
}
