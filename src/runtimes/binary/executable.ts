import { existsSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";

/** What the first bytes of a file say about running it. */
export type Executable =
  | { readonly kind: "elf"; readonly machine: string; readonly fits: boolean }
  | { readonly kind: "script"; readonly interpreter: string; readonly found: boolean };

/** undefined where the file is neither an ELF program nor a `#!` script, or is not there. */
export async function readExecutable(path: string): Promise<Executable | undefined> {
  let start: Buffer;
  try {
    const file = await open(path);
    try {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(256), 0, 256, 0);
      start = buffer.subarray(0, bytesRead);
    } finally {
      await file.close();
    }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "EISDIR" || code === "ENOTDIR") return undefined;
    throw error;
  }
  if (start.length >= 20 && start.readUInt32BE(0) === elfMagic) return readElf(start);
  if (start.length > 2 && start[0] === 0x23 && start[1] === 0x21) return readScript(start);
  return undefined;
}

function readElf(start: Buffer): Executable {
  // Byte 5: 1 little-endian, 2 big-endian. e_machine is a half word at 18.
  const number = start[5] === 2 ? start.readUInt16BE(18) : start.readUInt16LE(18);
  return {
    kind: "elf",
    machine: machines[number] ?? `machine ${number}`,
    fits: machines[number] === process.arch && start[4] === 2,
  };
}

/** As the kernel reads it: the interpreter, then everything behind the blank as one argument. */
function readScript(start: Buffer): Executable {
  const line = start.toString("latin1", 2).split("\n", 1)[0]!.replace(/\r$/, "").trim();
  const [program = "", ...rest] = line.split(/\s+/);
  if (!program.endsWith("/env")) return { kind: "script", interpreter: program, found: existsSync(program) };
  const name = rest.find((word) => !word.startsWith("-") && !word.includes("=")) ?? "";
  const found = name !== "" && searchPath.some((folder) => existsSync(join(folder, name)));
  return { kind: "script", interpreter: name, found };
}

/** Where programs inside a sandbox look for others. */
export const searchPath = ["/usr/local/bin", "/usr/bin", "/bin"];

/** `\x7fELF` */
const elfMagic = 0x7f454c46;
/** e_machine in Node.js's names (ELF gABI, figure 4-3). */
const machines: Readonly<Record<number, string>> = { 3: "ia32", 40: "arm", 62: "x64", 183: "arm64", 243: "riscv64" };
