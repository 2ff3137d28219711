import { VirgaError } from "../../../core/errors.ts";

/** Primary result codes of SQLite (sqlite.org/rescode.html). */
const busy = 5;
const readOnly = 8;
const inputOutput = 10;
const corrupt = 11;
const full = 13;
const cannotOpen = 14;
const notADatabase = 26;
/** Extended codes: what stands in the file cannot be read. */
const unreadable = [
  266 /* IOERR_READ */, 522 /* IOERR_SHORT_READ */, 8202 /* IOERR_DATA */, 8458 /* IOERR_CORRUPTFS */,
];

/** SQLite's error as one of ours; undefined where it is not SQLite's. */
export function storageError(thrown: unknown, file: string): VirgaError | undefined {
  if (!(thrown instanceof Error)) return undefined;
  const cause = { cause: thrown };
  // Node's own, for a database that is closed.
  if ("code" in thrown && thrown.code === "ERR_INVALID_STATE")
    return new VirgaError("unavailable", `${file} is closed`, { ...cause, fix: "Try again once the server is up." });
  if (!("errcode" in thrown)) return undefined;
  // The low byte is the primary code, whatever the extended one says.
  const code = Number(thrown.errcode) & 0xff;
  if (code === corrupt || code === notADatabase || unreadable.includes(Number(thrown.errcode)))
    return new VirgaError("storage_corrupt", `${file} is damaged: ${thrown.message}`, {
      ...cause,
      fix: "Restore it from a copy, or move it away to start with an empty one.",
    });
  if (code === full || code === inputOutput || code === readOnly)
    return new VirgaError("storage_full", `${file} cannot be written: ${thrown.message}`, {
      ...cause,
      fix: "Make room on its disk, and see that it is writable.",
    });
  if (isBusy(thrown))
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

/** Another process has the file. */
export function isBusy(thrown: unknown): boolean {
  return thrown instanceof Error && "errcode" in thrown && (Number(thrown.errcode) & 0xff) === busy;
}
