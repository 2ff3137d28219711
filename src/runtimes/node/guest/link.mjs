// The guest's side of docs/link-protocol.md: frames over file descriptor 3.
//
// Reading is asynchronous, into one buffer that is used again and again. Writing is synchronous: what is encoded leaves
// in one write at the end of the event-loop turn, and when the socket is full the program waits. So a function that logs
// without end is held back instead of filling its memory, and its last words leave before it dies. The platform always reads.
import { writeSync } from "node:fs";
import { Socket } from "node:net";

export const frame = {
  hello: 1,
  init: 2,
  ready: 3,
  failed: 4,
  invoke: 5,
  body: 6,
  end: 7,
  result: 8,
  error: 9,
  cancel: 10,
  window: 11,
  log: 12,
  drain: 13,
  ping: 14,
  pong: 15,
  call: 16,
  answer: 17,
  refused: 18,
  rehearse: 19,
};

export const window = 2 ** 20;
export const maxPayload = 2 ** 20;

const descriptor = 3;
const headBytes = 9;
/** Payloads above this are written from where they are instead of being copied. */
const copyBytes = 2 ** 13;

const out = Buffer.allocUnsafeSlow(2 ** 17);
let used = 0;
/** A `flush` will follow: at the end of the turn, or of the tick. */
let scheduled = false;
let ticking = false;
/** True while a `flush` is sure to follow, so that none needs to be scheduled. */
let held = false;
/** Nothing leaves. */
let muted = false;

/** Reads frames until the platform closes the link. `onFrame(type, stream, bytes, start, end)`; the bytes are its own only during the call. */
export function openLink(onFrame, onTurnEnd, onClosed) {
  /** A frame that came in pieces, filled up to `filled`. */
  let partial = Buffer.allocUnsafe(headBytes);
  let filled = 0;

  function read(length, buffer) {
    held = true;
    take(length, buffer);
    held = false;
    onTurnEnd();
    return true;
  }

  function take(length, buffer) {
    let at = 0;
    while (at < length) {
      if (filled === 0 && length - at >= headBytes) {
        const end = at + headBytes + buffer.readUInt32BE(at);
        if (end <= length) {
          onFrame(buffer[at + 4], buffer.readUInt32BE(at + 5), buffer, at + headBytes, end);
          at = end;
          continue;
        }
      }
      const needed = filled < headBytes ? headBytes : headBytes + partial.readUInt32BE(0);
      if (partial.length < needed) {
        const larger = Buffer.allocUnsafe(needed);
        partial.copy(larger, 0, 0, filled);
        partial = larger;
      }
      const taken = Math.min(needed - filled, length - at);
      buffer.copy(partial, filled, at, at + taken);
      filled += taken;
      at += taken;
      if (filled < headBytes) return;
      const size = headBytes + partial.readUInt32BE(0);
      if (filled < size) continue;
      filled = 0;
      const whole = partial;
      if (size > copyBytes) partial = Buffer.allocUnsafe(headBytes);
      onFrame(whole[4], whole.readUInt32BE(5), whole, headBytes, size);
    }
  }

  const socket = new Socket({
    fd: descriptor,
    readable: true,
    writable: true,
    onread: { buffer: Buffer.allocUnsafeSlow(2 ** 16), callback: read },
  });
  socket.on("error", onClosed);
  socket.on("end", onClosed);
  socket.on("close", onClosed);
}

export function sendEmpty(type, stream) {
  reserve(headBytes);
  writeHead(0, type, stream);
}

export function sendWindow(stream, bytes) {
  reserve(headBytes + 4);
  writeHead(4, frame.window, stream);
  used = out.writeUInt32BE(bytes, used);
}

/** A JSON payload. */
export function sendText(type, stream, text) {
  if (text.length * 3 > copyBytes) return sendBytes(type, stream, Buffer.from(text));
  reserve(headBytes + text.length * 3);
  const at = used;
  used += headBytes;
  used += out.write(text, used);
  writeHeadAt(at, used - at - headBytes, type, stream);
}

export function sendBytes(type, stream, bytes) {
  const copied = bytes.length <= copyBytes;
  reserve(headBytes + (copied ? bytes.length : 0));
  writeHead(bytes.length, type, stream);
  sendTail(bytes, copied);
}

/** uint32 length, JSON, bytes: the shape of `call`. It leaves with the current tick: somebody waits for its answer. */
export function sendCall(stream, json, body) {
  if (!held && !ticking) {
    ticking = true;
    nextTick(endTick);
  }
  const copied = body.length <= copyBytes;
  if (json.length > copyBytes) {
    const head = Buffer.from(json);
    reserve(headBytes + 4);
    writeHead(4 + head.length + body.length, frame.call, stream);
    used = out.writeUInt32BE(head.length, used);
    sendTail(head, false);
    if (body.length > 0) sendTail(body, false);
    return;
  }
  reserve(headBytes + 4 + json.length * 3 + (copied ? body.length : 0));
  const start = used;
  const length = out.write(json, start + headBytes + 4);
  out.writeUInt32BE(length, start + headBytes);
  writeHeadAt(start, 4 + length + body.length, frame.call, stream);
  used = start + headBytes + 4 + length;
  sendTail(body, copied);
}

export function sendLog(stream, isError, at, text) {
  if (text.length * 3 > copyBytes) {
    const bytes = Buffer.from(text);
    reserve(headBytes + 9);
    writeHead(9 + bytes.length, frame.log, stream);
    out[used] = isError ? 2 : 1;
    used = out.writeDoubleBE(at, used + 1);
    return sendTail(bytes, false);
  }
  reserve(headBytes + 9 + text.length * 3);
  const start = used;
  out[start + headBytes] = isError ? 2 : 1;
  used = out.writeDoubleBE(at, start + headBytes + 1);
  used += out.write(text, used);
  writeHeadAt(start, used - start - headBytes, frame.log, stream);
}

/** An answer whose body ends with it (a string, or bytes up to a quarter of the window). */
export function sendResult(stream, status, headers, body, cpuMicros, peakBytes) {
  if (typeof body === "string") {
    if (body.length > copyBytes || headers.length > copyBytes) {
      return sendResult(stream, status, headers, Buffer.from(body), cpuMicros, peakBytes);
    }
    reserve(headBytes + 19 + (headers.length + body.length) * 3);
    const start = used;
    writeAnswerHead(1, status, headers, cpuMicros, peakBytes);
    if (body !== "") used += out.write(body, used);
    return writeHeadAt(start, used - start - headBytes, frame.result, stream);
  }
  const copied = body.length <= copyBytes;
  reserve(headBytes + 19 + headers.length * 3 + (copied ? body.length : 0));
  const start = used;
  writeAnswerHead(1, status, headers, cpuMicros, peakBytes);
  writeHeadAt(start, used - start - headBytes + body.length, frame.result, stream);
  sendTail(body, copied);
}

/** The head of an answer whose body follows. */
export function sendResultHead(stream, status, headers) {
  reserve(headBytes + 7 + headers.length * 3);
  const start = used;
  writeAnswerHead(0, status, headers, 0, 0);
  writeHeadAt(start, used - start - headBytes, frame.result, stream);
}

export function sendEnd(stream, cpuMicros, peakBytes) {
  reserve(headBytes + 12);
  writeHead(12, frame.end, stream);
  writeMeasurement(cpuMicros, peakBytes);
}

/** The caller flushes before it gives control back. */
export function hold() {
  held = true;
}

/** Everything that is encoded leaves now. */
export function flush() {
  held = false;
  if (used === 0) return;
  const bytes = used;
  used = 0;
  writeAll(out, bytes);
}

/** From now on what is encoded is forgotten, until it is `false` again. */
export function mute(on) {
  used = 0;
  muted = on;
}

/** Headers above this fit into no frame buffer; the caller refuses them. */
export const longestHeaders = 2 ** 15;

function sendTail(bytes, copied) {
  if (copied) {
    out.set(bytes, used);
    used += bytes.length;
    return;
  }
  flush();
  writeAll(bytes, bytes.length);
}

function writeAnswerHead(flags, status, headers, cpuMicros, peakBytes) {
  used += headBytes;
  out[used++] = flags;
  if (flags === 1) writeMeasurement(cpuMicros, peakBytes);
  used = out.writeUInt16BE(status, used);
  const lengthAt = used;
  used += 4;
  const length = out.write(headers, used);
  out.writeUInt32BE(length, lengthAt);
  used += length;
}

function writeMeasurement(cpuMicros, peakBytes) {
  used = out.writeUInt32BE(Math.min(cpuMicros, 0xffffffff), used);
  used = out.writeUInt32BE(Math.floor(peakBytes / 2 ** 32), used);
  used = out.writeUInt32BE(peakBytes % 2 ** 32, used);
}

function writeHead(length, type, stream) {
  writeHeadAt(used, length, type, stream);
  used += headBytes;
}

function writeHeadAt(at, length, type, stream) {
  out.writeUInt32BE(length, at);
  out[at + 4] = type;
  out.writeUInt32BE(stream, at + 5);
}

function reserve(bytes) {
  if (used + bytes > out.length) flush();
  if (!scheduled && !held && !ticking) {
    scheduled = true;
    setTurnEnd(endTurn);
  }
}

function endTurn() {
  scheduled = false;
  flush();
}

function endTick() {
  ticking = false;
  flush();
}

// Taken before user code can replace them.
const setTurnEnd = setImmediate;
const nextTick = process.nextTick.bind(process);
const sleeper = new Int32Array(new SharedArrayBuffer(4));
const sleep = Atomics.wait;
const exit = process.reallyExit.bind(process);

function writeAll(bytes, length) {
  if (muted) return;
  let at = 0;
  while (at < length) {
    try {
      at += at === 0 ? writeSync(descriptor, bytes, undefined, length) : writeSync(descriptor, bytes, at, length - at);
    } catch (error) {
      if (error.code !== "EAGAIN") exit(0); // the platform is gone, and with it the reason to be
      sleep(sleeper, 0, 0, 0.2);
    }
  }
}
