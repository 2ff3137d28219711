import type { DeployObserver } from "./deployment.ts";
import type { PlannedChange } from "./api.ts";
import { printable } from "./output.ts";
import type { Terminal } from "./terminal.ts";
import { formatSize } from "./units.ts";

/** Shows a deploy's progress: one changing line on a terminal, plain lines elsewhere, the build's own output below. */
export class DeployReport implements DeployObserver {
  readonly #terminal: Terminal;
  readonly #name: string;
  #building = false;

  constructor(terminal: Terminal, name: string) {
    this.#terminal = terminal;
    this.#name = name;
  }

  upload(sent: number, size: number): void {
    const width = 20;
    const done = Math.round((sent / Math.max(1, size)) * width);
    this.#terminal.status(
      `  ${this.#name}: uploading ${"█".repeat(done)}${"░".repeat(width - done)} ${formatSize(sent)} of ${formatSize(size)}`,
    );
  }

  stage(stage: string, detail: string | undefined): void {
    this.#building = stage === "build";
    const words = stages[stage] ?? stage;
    const text = `  ${this.#name}: ${words}${detail === undefined ? "" : ` (${printable(detail)})`}`;
    if (this.#terminal.showsProgress) this.#terminal.status(text);
    // Elsewhere only what may take long is worth a line.
    else if (this.#building) this.#terminal.note(text);
  }

  log(line: string): void {
    this.#terminal.status("");
    this.#terminal.note(`  ${this.#terminal.styleNote("dim", `| ${printable(line)}`)}`);
  }

  end(): void {
    this.#terminal.status("");
  }
}

const stages: Readonly<Record<string, string>> = {
  unpack: "unpacking",
  detect: "looking at the code",
  build: "building",
  seal: "storing",
  start: "starting the new revision",
  traffic: "moving traffic",
};

/** `+ field: value`, `~ field: old → new`, `- field: old`. */
export function planLines(terminal: Terminal, changes: readonly PlannedChange[]): string[] {
  return changes.map(({ field, from, to }) => {
    if (isAbsent(from)) return terminal.styleNote("green", `    + ${field}: ${shown(to)}`);
    if (isAbsent(to)) return terminal.styleNote("red", `    - ${field}: ${shown(from)}`);
    return terminal.styleNote("yellow", `    ~ ${field}: ${shown(from)} → ${shown(to)}`);
  });
}

function isAbsent(value: unknown): boolean {
  return value === undefined || value === null;
}

function shown(value: unknown): string {
  // Of a digest the first twelve digits tell it apart.
  if (typeof value === "string" && /^[0-9a-f]{64}$/.test(value)) return value.slice(0, 12);
  return typeof value === "string" ? printable(value) : JSON.stringify(value);
}
