/**
 * Code as folders on this machine's disk, backed by blobs: the only room that unpacks archives.
 *
 * Guarantees
 * - `unpack` accepts tar, tar.gz and zip. It refuses (`invalid_archive`, with the entry's name) absolute paths, `..`, links that
 *   lead outside or nowhere, devices, duplicate names, and (`archive_too_large`) more than `maxBytes` or `maxFiles` unpacked, whatever
 *   the headers say; folders count as files, and a hard link as the file it names. What is damaged or no archive is `invalid_archive`, too.
 *   A refused archive leaves nothing behind.
 * - Equal folders (paths, contents, executable bits, links) have equal digests. Owners and times are not kept; sockets and pipes are left out.
 * - `seal` is atomic: an artifact is either wholly there or not at all, across crashes too.
 * - A sealed artifact's folder never changes; files are readable by every instance's user, never writable.
 */
export interface Artifacts {
  /** A fresh private folder with the archive's files; the caller removes it with `discard`. */
  unpack(source: string, limits: { maxBytes: number; maxFiles: number }): Promise<string>;
  /**
   * As `unpack`, over a folder that `unpack` or `workspace` gave: what stands in the way of a file or link goes, folders are merged.
   * Refused as a whole: the folder is then as it was.
   */
  lay(source: string, directory: string, limits: { maxBytes: number; maxFiles: number }): Promise<void>;
  /** An empty private folder on the same file system. */
  workspace(): Promise<string>;
  discard(directory: string): Promise<void>;
  /** Moves a folder's content into the store; the folder is gone afterwards. Links are kept as they are. */
  seal(directory: string): Promise<ArtifactInfo>;
  /** The sealed folder's host path, rebuilt from blobs where this machine has lost it. Rejects with `not_found`. */
  locate(artifact: string): Promise<string>;
  /** Rejects with `not_found`. */
  info(artifact: string): Promise<ArtifactInfo>;
  /**
   * Removes artifacts that `used` does not name and that were last sealed `olderThanMs` ago or before. Resolves to how many. `used` may
   * grow meanwhile: what it names before `info` is asked for it stays, or is not found.
   */
  sweep(used: ReadonlySet<string>, olderThanMs: number): Promise<number>;
}

export interface ArtifactInfo {
  /** SHA-256 (hex) of the folder's canonical listing (paths, modes, contents). */
  readonly digest: string;
  readonly sizeBytes: number;
  readonly fileCount: number;
}
