import { crc32, deflateRawSync } from "node:zlib";

/** An archive's entry as it is written, whatever it claims. */
export interface ArchiveEntry {
  readonly name: string;
  readonly kind: "file" | "folder" | "link" | "hardLink" | "characterDevice" | "blockDevice" | "pipe";
  readonly content?: Uint8Array;
  readonly target?: string;
  readonly mode?: number;
  /** What the head says instead of the content's length. */
  readonly claimedSize?: number;
}

const tarTypes = {
  file: "0",
  hardLink: "1",
  link: "2",
  characterDevice: "3",
  blockDevice: "4",
  folder: "5",
  pipe: "6",
} as const satisfies Record<ArchiveEntry["kind"], string>;

const unixTypes: Partial<Record<ArchiveEntry["kind"], number>> = {
  file: 0o100000,
  folder: 0o040000,
  link: 0o120000,
  characterDevice: 0o020000,
  blockDevice: 0o060000,
  pipe: 0o010000,
};

/** A tar archive (POSIX.1-1988 ustar, long names as GNU's `L` and `K`) of entries that no packer would take. */
export function tarOf(entries: readonly ArchiveEntry[]): Buffer {
  const blocks: Buffer[] = [];
  const add = (
    name: string,
    type: string,
    content: Uint8Array,
    { target = "", mode = 0o644, claimedSize = content.byteLength } = {},
  ): void => {
    blocks.push(tarHead(name, type, claimedSize, target, mode), Buffer.from(content));
    blocks.push(Buffer.alloc(-content.byteLength & 511));
  };
  for (const { name, kind, content = new Uint8Array(), target = "", mode, claimedSize } of entries) {
    if (Buffer.byteLength(name) > 100) add("././@LongLink", "L", Buffer.from(`${name}\0`));
    if (Buffer.byteLength(target) > 100) add("././@LongLink", "K", Buffer.from(`${target}\0`));
    add(name, tarTypes[kind], content, {
      target,
      ...(mode !== undefined && { mode }),
      ...(claimedSize !== undefined && { claimedSize }),
    });
  }
  return Buffer.concat([...blocks, Buffer.alloc(1024)]);
}

function tarHead(name: string, type: string, size: number, target: string, mode: number): Buffer {
  const head = Buffer.alloc(512);
  head.write(name, 0, 100);
  head.write(mode.toString(8).padStart(7, "0"), 100);
  head.write("0000000\0".repeat(2), 108);
  head.write(size.toString(8).padStart(11, "0"), 124);
  head.write("00000000000", 136);
  head.write(type, 156);
  head.write(target, 157, 100);
  head.write("ustar\0", 257);
  head.write("00", 263);
  sealTarHead(head);
  return head;
}

/** Writes the head's checksum: the sum of its bytes, with spaces in the checksum's place. */
export function sealTarHead(head: Buffer): void {
  head.fill(" ", 148, 156);
  const sum = head.reduce((total, byte) => total + byte, 0);
  head.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
}

/** A zip archive (APPNOTE 6.3) of entries that no packer would take. Links are files whose content is the target. */
export function zipOf(entries: readonly ArchiveEntry[], compress = true): Buffer {
  const locals: Buffer[] = [];
  const central: Buffer[] = [];
  let offset = 0;
  for (const { name, kind, content: given, target = "", mode = 0o644, claimedSize } of entries) {
    const content = kind === "link" ? Buffer.from(target) : (given ?? new Uint8Array());
    const data = compress ? deflateRawSync(content) : Buffer.from(content);
    const nameBytes = Buffer.from(kind === "folder" && !name.endsWith("/") ? `${name}/` : name);
    // What both heads have alike: version, flags (UTF-8 names), method, time, sums and sizes, lengths of name and extra.
    const shared = Buffer.alloc(26);
    shared.writeUInt16LE(20, 0);
    shared.writeUInt16LE(0x800, 2);
    shared.writeUInt16LE(compress ? 8 : 0, 4);
    shared.writeUInt16LE(0x21, 8);
    shared.writeUInt32LE(crc32(content), 10);
    shared.writeUInt32LE(data.byteLength, 14);
    shared.writeUInt32LE(claimedSize ?? content.byteLength, 18);
    shared.writeUInt16LE(nameBytes.byteLength, 22);
    const local = Buffer.concat([Buffer.from("PK\x03\x04"), shared, nameBytes, data]);
    const rest = Buffer.alloc(14);
    rest.writeUInt32LE((((unixTypes[kind] ?? 0) | mode) << 16) >>> 0, 6);
    rest.writeUInt32LE(offset, 10);
    central.push(Buffer.from("PK\x01\x02"), Buffer.from([20, 3]), shared, rest, nameBytes);
    locals.push(local);
    offset += local.byteLength;
  }
  const table = Buffer.concat(central);
  const end = Buffer.alloc(18);
  end.writeUInt16LE(entries.length, 4);
  end.writeUInt16LE(entries.length, 6);
  end.writeUInt32LE(table.byteLength, 8);
  end.writeUInt32LE(offset, 12);
  return Buffer.concat([...locals, table, Buffer.from("PK\x05\x06"), end]);
}
