import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { PassThrough, Readable, Writable } from "node:stream";
import type { TestContext } from "node:test";
import { main } from "../../src/cli/main.ts";
import { Terminal } from "../../src/cli/terminal.ts";

export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly stdin?: string | Uint8Array;
  readonly environment?: Readonly<Record<string, string>>;
  readonly directory?: string;
  readonly tty?: boolean;
  readonly signal?: AbortSignal;
  /** Given the text of stdout so far, at each write. */
  readonly onOutput?: (text: string) => void;
  readonly onNote?: (text: string) => void;
}

/** Runs one command line in this process, with its own terminal. */
export async function run(argv: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  const stdout = collector(options.tty === true, options.onOutput);
  const stderr = collector(options.tty === true, options.onNote);
  const terminal = new Terminal({
    stdin: Object.assign(
      options.stdin === undefined ? new PassThrough().end() : Readable.from([Buffer.from(options.stdin)]),
      {
        isTTY: false,
      },
    ),
    stdout: stdout.stream,
    stderr: stderr.stream,
    environment: { VIRGA_HOME: "/nonexistent", ...options.environment },
    directory: options.directory ?? process.cwd(),
    signal: options.signal ?? new AbortController().signal,
  });
  const code = await main(argv, terminal);
  return { code, stdout: stdout.text(), stderr: stderr.text() };
}

/** A temporary folder with these files, gone after the test. A name that ends with `!` makes an executable. */
export function folder(t: TestContext, files: Readonly<Record<string, string>> = {}): string {
  const root = mkdtempSync(join(tmpdir(), "virga-cli-"));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  for (const [name, content] of Object.entries(files)) {
    const file = join(root, name.replace(/!$/, ""));
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, content, { mode: name.endsWith("!") ? 0o755 : 0o644 });
  }
  return root;
}

function collector(isTTY: boolean, onWrite?: (text: string) => void): { stream: Writable; text: () => string } {
  const chunks: Buffer[] = [];
  const text = (): string => Buffer.concat(chunks).toString("utf8");
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      chunks.push(chunk);
      onWrite?.(text());
      done();
    },
  });
  return { stream: Object.assign(stream, { isTTY, columns: 100 }), text };
}
