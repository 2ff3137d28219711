import { createReadStream } from "node:fs";
import { createTarDecoder, createTarPacker } from "modern-tar";
import { VirgaError } from "../core/errors.ts";

/** `path` is relative, `/` between segments. */
export type TarEntry =
  | { readonly kind: "folder"; readonly path: string }
  | { readonly kind: "link"; readonly path: string; readonly target: string }
  | {
      readonly kind: "file";
      readonly path: string;
      /** Where its bytes are. */
      readonly source: string;
      readonly size: number;
      readonly executable: boolean;
    };

/** Without owners and times, so that the same entries are the same bytes. Rejects with `conflict` where a file changes meanwhile. */
export async function* writeTar(entries: AsyncIterable<TarEntry> | Iterable<TarEntry>): AsyncGenerator<Uint8Array> {
  const { readable, controller } = createTarPacker();
  const written = writeEntries();
  written.catch((error: unknown) => controller.error(error));
  yield* readable;
  await written;

  async function writeEntries(): Promise<void> {
    const mtime = new Date(0);
    for await (const entry of entries) {
      const name = entry.path;
      if (entry.kind === "folder")
        await controller.add({ name: `${name}/`, size: 0, mode: 0o755, mtime, type: "directory" }).close();
      else if (entry.kind === "link")
        await controller.add({ name, size: 0, mode: 0o777, mtime, type: "symlink", linkname: entry.target }).close();
      else {
        const { size, executable } = entry;
        const body = controller.add({ name, size, mode: executable ? 0o755 : 0o644, mtime, type: "file" }).getWriter();
        if (size > 0) await copyFile(entry, body);
        await body.close();
      }
    }
    controller.finalize();
  }
}

async function copyFile(
  { source, path, size }: TarEntry & { readonly kind: "file" },
  body: WritableStreamDefaultWriter<Uint8Array>,
): Promise<void> {
  let sent = 0;
  for await (const chunk of createReadStream(source, { highWaterMark: 256 * 1024 }) as AsyncIterable<Uint8Array>) {
    sent += chunk.byteLength;
    if (sent <= size) await body.write(chunk);
  }
  if (sent !== size)
    throw new VirgaError("conflict", `${path} changed while it was packed`, { fix: "Deploy it again." });
}

/** Takes what an archive has, by whatever rules; what it throws is passed on. */
export interface TarSink {
  readonly limits: { readonly maxBytes: number; readonly maxFiles: number };
  folder(name: string): Promise<void>;
  file(name: string, mode: number, content: AsyncIterable<Uint8Array>): Promise<void>;
  symbolicLink(name: string, target: string): Promise<void>;
  hardLink(name: string, target: string): Promise<void>;
  /** Of what is none of these. */
  refusal(name: string, why: string): Error;
  tooLarge(): Error;
}

/** Heads and padding are bounded as well as files' bytes. Rejects with an error of the decoder for what is no tar. */
export async function readTar(content: AsyncIterable<Uint8Array>, sink: TarSink): Promise<void> {
  const { maxBytes, maxFiles } = sink.limits;
  const most = maxBytes + maxFiles * headBytes;
  let read = 0;
  const bounded = (async function* () {
    for await (const chunk of content) {
      read += chunk.byteLength;
      if (read > most) throw sink.tooLarge();
      yield chunk;
    }
  })();
  const decoder = createTarDecoder({ strict: true });
  const fed = ReadableStream.from(bounded).pipeTo(decoder.writable);
  // Its failure shows at the reading end too, where it is caught.
  fed.catch(() => undefined);
  for await (const { header, body } of decoder.readable) {
    const { name, type = "file", mode = 0o644, linkname = "" } = header;
    if (type === "file") {
      await sink.file(name, mode, body);
      continue;
    }
    await body.cancel();
    if (type === "directory") await sink.folder(name);
    else if (type === "symlink") await sink.symbolicLink(name, linkname);
    else if (type === "link") await sink.hardLink(name, linkname);
    else if (type !== "pax-global-header") throw sink.refusal(name, `is a ${type}`);
  }
  await fed;
}

/** Beside a file's bytes: two blocks of 512, and long names. */
const headBytes = 10_240;
