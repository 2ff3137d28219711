import { text } from "node:stream/consumers";
import { fromBufferPromise } from "yauzl";
import type { BundledPackages, CodeView } from "./languages/index.ts";

/** What is in a zip: its paths, and the texts of its sources but those of the packages that it brings. Empty for what is no zip. */
export async function viewZip(
  archive: Uint8Array,
  { sources: isSource, folders }: Pick<BundledPackages, "sources" | "folders">,
): Promise<CodeView> {
  const paths = new Set<string>();
  const sources = new Map<string, string>();
  try {
    const bytes = Buffer.from(archive.buffer, archive.byteOffset, archive.byteLength);
    const zip = await fromBufferPromise(bytes, { lazyEntries: true, validateEntrySizes: true });
    let left = mostBytes;
    for await (const entry of zip.eachEntry()) {
      const { fileName: path, uncompressedSize: size } = entry;
      paths.add(path);
      if (!isSource.test(path) || folders.some((folder) => path.startsWith(`${folder}/`)) || size > left) continue;
      left -= size;
      sources.set(path, await text(await zip.openReadStreamPromise(entry)));
    }
  } catch {
    // A damaged archive: whoever unpacks it says so. A tar.gz: its code brings what it needs.
  }
  return { paths, sources };
}

/** The archive is the user's: what is larger is not looked through. */
const mostBytes = 8 * 2 ** 20;
