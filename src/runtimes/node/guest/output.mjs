// stdout and stderr as log lines of the call that wrote them.
import { AsyncLocalStorage } from "node:async_hooks";
import { Writable } from "node:stream";
import { sendLog } from "./link.mjs";

/** Holds the call that the running code belongs to, however deep in promises and timers; or `seat`. */
export const current = new AsyncLocalStorage();

/**
 * Of a dialect's program that serves one call at a time: the call that is there. What an earlier one left behind counts as of this,
 * as in a container. A context of its own for each call costs several microseconds.
 */
export const seat = { call: undefined };

export function currentCall() {
  const owner = current.getStore();
  return owner === seat ? seat.call : owner;
}

/** Must run before anything touches `process.stdout`: the console binds to what it finds there first. */
export function captureOutput() {
  for (const [index, name] of ["stdout", "stderr"].entries()) {
    const output = new LineOutput(index === 1);
    Object.defineProperty(process, name, { configurable: true, enumerable: true, get: () => output });
  }
}

/** Writes one line, or each line of a text, as of this call (undefined: of none). */
export function writeLine(call, isError, text) {
  const at = Date.now();
  const stream = call === undefined ? 0 : call.stream;
  if (text.length <= longestLine && !text.includes("\n")) return sendLog(stream, isError, at, text);
  for (const line of text.split("\n")) {
    for (let from = 0; from < line.length || from === 0; from += longestLine) {
      sendLog(stream, isError, at, line.slice(from, from + longestLine));
    }
  }
}

/** What was written without an end of line. */
export function flushPartial(owner) {
  if (owner.partial === undefined) return;
  const { partial } = owner;
  owner.partial = undefined;
  for (const index of [0, 1]) {
    if (partial[index] !== "") writeLine(owner === outside ? undefined : owner, index === 1, partial[index]);
  }
}

/** Text outside of any call. */
export const outside = { partial: undefined };

class LineOutput extends Writable {
  #index;

  constructor(isError) {
    super({ decodeStrings: false });
    this.#index = isError ? 1 : 0;
    this.fd = isError ? 2 : 1;
  }

  write(chunk, encoding, callback) {
    const done = typeof encoding === "function" ? encoding : callback;
    this.#add(
      typeof chunk === "string" ? chunk : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength).toString(),
    );
    if (typeof done === "function") process.nextTick(done);
    return true;
  }

  end(chunk, encoding, callback) {
    if (chunk !== undefined && chunk !== null && typeof chunk !== "function") this.write(chunk);
    const done = [chunk, encoding, callback].find((value) => typeof value === "function");
    if (done !== undefined) process.nextTick(done);
    return this;
  }

  #add(text) {
    const call = currentCall();
    const owner = call ?? outside;
    const index = this.#index;
    const end = text.lastIndexOf("\n");
    if (end === -1) {
      owner.partial ??= ["", ""];
      owner.partial[index] += text;
      if (owner.partial[index].length < longestLine) return;
      writeLine(call, index === 1, owner.partial[index]);
      owner.partial[index] = "";
      return;
    }
    let lines = text.slice(0, end);
    if (owner.partial !== undefined) {
      lines = owner.partial[index] + lines;
      owner.partial[index] = "";
    }
    writeLine(call, index === 1, lines);
    if (end + 1 < text.length) {
      owner.partial ??= ["", ""];
      owner.partial[index] = text.slice(end + 1);
    }
  }
}

const longestLine = 2 ** 16;
