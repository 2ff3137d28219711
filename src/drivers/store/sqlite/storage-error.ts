import { VirgaError } from "../../../core/errors.ts";

/** Primary result codes of SQLite (sqlite.org/rescode.html). */
const busy = 5;
const readOnly = 8;
const inputOutput = 10;
const corrupt = 11;
const full = 13;
const cannotOpen = 14;
const notADatabase = 26;

/** SQLite's error as one of ours; undefined where it is not SQLite's. */
export function storageError(thrown: unknown, file = "the store"): VirgaError | undefined {
  if (!(thrown instanceof Error) || !("errcode" in thrown)) return undefined;
  // The low byte is the primary code, whatever the extended one says.
  const code = Number(thrown.errcode) & 0xff;
  const cause = { cause: thrown };
  if (code === full || code === inputOutput || code === readOnly)
    return new VirgaError("storage_full", `${file} cannot be written: ${thrown.message}`, {
      ...cause,
      fix: "Make room on its disk, and see that it is writable.",
    });
  if (code === corrupt || code === notADatabase)
    return new VirgaError("storage_corrupt", `${file} is damaged: ${thrown.message}`, {
      ...cause,
      fix: "Restore it from a copy, or move it away to start with an empty one.",
    });
  if (code === busy)
    return new VirgaError("unavailable", `${file} is in use by another server`, {
      ...cause,
      fix: "Stop that one, or give this one a data folder of its own.",
    });
  if (code === cannotOpen)
    return new VirgaError("unavailable", `${file} cannot be opened: ${thrown.message}`, {
      ...cause,
      fix: "See that its folder is there and writable.",
    });
  return new VirgaError("internal", `${file}: ${thrown.message}`, cause);
}
