// One call: from its head on the link to the last byte of its answer.
import { toBytes, decode, encode, IncomingBody, isBytes, isStream } from "./body.mjs";
import { Context } from "./context.mjs";
import { describe } from "./errors.mjs";
import { flatten } from "./headers.mjs";
import {
  frame,
  hold,
  longestHeaders,
  maxPayload,
  sendBytes,
  sendCall,
  sendEnd,
  sendResult,
  sendResultHead,
  sendText,
  window,
} from "./link.mjs";
import { current, flushPartial, writeLine } from "./output.mjs";
import { takeContent } from "./message.mjs";
import { incoming } from "./request.mjs";
import { Streams } from "./streams.mjs";
import { callEnded, isWatching } from "./tiering.mjs";
import { bytesHeaders, flatHeaders, isLight, jsonHeaders, noHeaders, textHeaders } from "./response.mjs";

/** Open calls by stream. */
export const calls = new Streams();
/**
 * A handler of a dialect may have a second entry under this name, for calls whose body says all there is to know: it is given the
 * body as text and gives JSON as text, or promises it, or an answer like any handler's. Nothing of the web's interface is made for
 * them.
 */
export const textEntry = Symbol.for("virga.text-entry");
/** Promises that go on after their answers. */
export const lingering = new Set();
/** Calls to other functions that wait for their answers, by stream. */
const nested = new Map();
let nextNested = 2;

let onIdle = () => {};

export function whenIdle(listener) {
  onIdle = listener;
}

export class Call {
  // By assignment alone: what is private, or a field of the class, V8 defines one by one.
  constructor(stream) {
    this.stream = stream;
    this.over = false;
    /** Text without an end of line yet: [stdout, stderr]. */
    this.partial = undefined;
    /** Of the request: undefined where the handler takes its body's text and nothing else. */
    this.body = undefined;
    this.controller = undefined;
    this.cancelled = undefined;
    this.credit = window;
    this.wake = undefined;
    calls.add(this);
  }

  /** Runs the handler; called with this call as the current one. */
  static start(call, handler, head, first, ended) {
    call.body = new IncomingBody(call.stream, first, ended);
    const request = incoming(call, head[1], head[3], head[4], call.body);
    const context = new Context(call, head[0], head[5], head[6], head[7] ?? undefined, head[8] ?? undefined);
    let value;
    try {
      value = handler(request, context);
    } catch (error) {
      return call.fail("function_error", error);
    }
    if (typeof value === "object" && value !== null && typeof value.then === "function") {
      value.then(
        (answer) => call.answer(answer),
        (error) => call.fail("function_error", error),
      );
    } else {
      call.answer(value);
    }
  }

  /** The same for a handler's entry for texts (`textEntry`). */
  static startWithText(call, handle, text) {
    try {
      const answer = handle(text);
      // What the handler put off until its own end comes first.
      if (typeof answer?.then !== "function") void settled.then(() => call.answerJson(answer));
      else
        answer.then(
          (later) => call.answerJson(later),
          (error) => call.fail("function_error", error),
        );
    } catch (error) {
      call.fail("function_error", error);
    }
  }

  get signal() {
    if (this.controller === undefined) {
      this.controller = new AbortController();
      if (this.cancelled !== undefined) this.controller.abort(this.cancelled);
    }
    return this.controller.signal;
  }

  cancel(timedOut) {
    this.cancelled = timedOut
      ? new DOMException("The call's deadline has passed", "TimeoutError")
      : new DOMException("The caller has left", "AbortError");
    this.body?.fail(this.cancelled);
    this.wake?.();
    // What listens to the signal is the call's own code; without this its log lines would be nobody's.
    if (this.controller !== undefined) current.run(this, () => this.controller.abort(this.cancelled));
  }

  granted(bytes) {
    this.credit += bytes;
    this.wake?.();
  }

  waitUntil(promise) {
    const lasting = Promise.resolve(promise).catch((error) => {
      const { message, stack } = describe(error);
      writeLine(this, true, `context.waitUntil: ${stack ?? message}`);
    });
    lingering.add(lasting);
    void lasting.then(() => {
      lingering.delete(lasting);
      onIdle();
    });
  }

  nested(head, body) {
    const json = JSON.stringify(head);
    const bytes = body.length + json.length * 3 + 4;
    if (bytes > maxPayload) {
      throw new RangeError(
        `context.call: the body may have ${maxPayload - json.length * 3 - 4} bytes, this one has ${body.length}`,
      );
    }
    return new Promise((resolve, reject) => {
      const stream = nextNested;
      nextNested = stream + 2 >= 2 ** 31 ? 2 : stream + 2;
      nested.set(stream, { resolve, reject, target: head.function });
      sendCall(stream, json, body);
    });
  }

  answer(value) {
    if (this.over) return;
    if (this.cancelled !== undefined && !isStream(value)) return this.#end();
    try {
      this.#send(value);
    } catch (error) {
      this.fail("invalid_response", error);
    }
  }

  /** A string is JSON already. */
  answerJson(value) {
    if (typeof value !== "string" || this.cancelled !== undefined) this.answer(value);
    else if (!this.over) this.#whole(200, jsonHeaders, value);
  }

  fail(code, error) {
    this.failAs(code, describe(error));
  }

  failAs(code, description) {
    if (this.over) return;
    flushPartial(this);
    const { cpuMicros, peakBytes } = measure();
    const said = { code, ...description, cpuMicros, memoryPeakBytes: peakBytes };
    said.message = said.message.slice(0, longestText);
    said.stack = said.stack?.slice(0, longestText);
    sendText(frame.error, this.stream, JSON.stringify(said));
    this.#close();
  }

  #send(value) {
    if (typeof value === "string") return this.#whole(200, textHeaders, value);
    if (value === null || value === undefined) return this.#whole(204, noHeaders, "");
    if (typeof value === "object") {
      if (isLight(value)) {
        if (value.status < 200) throw new RangeError("The function answered with Response.error()");
        return this.#form(value.status, flatHeaders(value), takeContent(value));
      }
      if (isBytes(value)) return this.#whole(200, bytesHeaders, toBytes(value));
      if (looksLikeResponse(value)) return this.#form(value.status, forward(value), value.body);
      if (isStream(value)) return this.#form(200, bytesHeaders, value);
    }
    const text = JSON.stringify(value);
    if (text === undefined) throw new TypeError(`The function returned a ${typeof value}, which is no answer`);
    this.#whole(200, jsonHeaders, text);
  }

  #form(status, flat, body) {
    if (body === null || body === undefined) this.#whole(status, flat, "");
    else if (typeof body === "string") this.#whole(status, flat, body);
    else if (isBytes(body)) this.#whole(status, flat, toBytes(body));
    else if (body instanceof IncomingBody) this.#form(status, flat, body.stream());
    else this.#stream(status, headerText(flat), body).catch((error) => this.fail("function_error", error));
  }

  #whole(status, flat, body) {
    const headers = headerText(flat);
    if (body.length > largestWhole) {
      const bytes = typeof body === "string" ? encode(body) : body;
      if (bytes.length > largestWhole) {
        // Said before it is sent, so that one too large for the platform gets an error and not half an answer.
        const sized = flat.includes("content-length")
          ? headers
          : headerText([...flat, "content-length", `${bytes.length}`]);
        this.#stream(status, sized, [bytes]).catch((error) => this.fail("function_error", error));
        return;
      }
      body = bytes;
    }
    if (calls.size === 1) hold();
    if (this.partial !== undefined) flushPartial(this);
    const { cpuMicros, peakBytes } = measure();
    if (isWatching) callEnded(cpuMicros);
    sendResult(this.stream, status, headers, body, cpuMicros, peakBytes);
    this.#close();
  }

  async #stream(status, headers, source) {
    if (this.cancelled === undefined) sendResultHead(this.stream, status, headers);
    const stopped = () => this.cancelled !== undefined || this.over;
    for await (const chunk of source) {
      if (stopped()) break; // leaving the loop cancels the source
      const bytes = toBytes(chunk);
      let at = 0;
      while (at < bytes.length && !stopped()) {
        if (this.credit <= 0) {
          await new Promise((resolve) => (this.wake = resolve));
          continue;
        }
        const end = Math.min(bytes.length, at + Math.min(this.credit, largestWhole));
        sendBytes(frame.body, this.stream, at === 0 && end === bytes.length ? bytes : bytes.subarray(at, end));
        this.credit -= end - at;
        at = end;
      }
    }
    this.#end();
  }

  #end() {
    if (this.over) return;
    flushPartial(this);
    const { cpuMicros, peakBytes } = measure();
    sendEnd(this.stream, cpuMicros, peakBytes);
    this.#close();
  }

  #close() {
    this.over = true;
    calls.delete(this);
    if (calls.size === 0) onIdle();
  }
}

/** The platform's answer to a call of another function. */
export function settleNested(stream, type, payload) {
  const waiting = nested.get(stream);
  if (waiting === undefined) return;
  nested.delete(stream);
  if (type === frame.refused) {
    const { code, message } = JSON.parse(decode(payload));
    waiting.reject(Object.assign(new Error(`${waiting.target}: ${message}`), { code }));
    return;
  }
  const split = 4 + payload.readUInt32BE(0);
  const { status, headers } = JSON.parse(decode(payload.subarray(4, split)));
  waiting.resolve({ status, headers, body: payload.subarray(split) });
}

let measuredCpu = 0;
let measuredAt = 0;
let peakBytes = 0;
/** Processor time that may pass until the peak is asked for again. */
let peakDueCpu = 0;

/**
 * Processor time since the last measurement, and the peak of resident memory. Each call is charged what passed since the
 * one before it ended: the sum over all calls is exactly what the program used, garbage collection between calls included.
 * To ask costs as much as a small handler; of several that are open, those that end in quick succession are charged together, and
 * memory is looked at where enough was done to fill some.
 */
export function measure() {
  if (calls.size > 1) {
    const at = now();
    if (at - measuredAt < successionMs) return { cpuMicros: 0, peakBytes };
    measuredAt = at;
  }
  const { user, system } = cpuUsage();
  const cpu = user + system;
  const cpuMicros = cpu - measuredCpu;
  measuredCpu = cpu;
  if (cpu >= peakDueCpu) {
    peakBytes = resourceUsage().maxRSS * 1024;
    peakDueCpu = cpu + fillingMicros;
  }
  return { cpuMicros, peakBytes };
}

// Taken before user code can replace them.
const now = performance.now.bind(performance);
const cpuUsage = process.cpuUsage.bind(process);
const resourceUsage = process.resourceUsage.bind(process);
const successionMs = 0.2;
/** A page of 4 KiB takes a tenth of a microsecond at least to be filled. */
const fillingMicros = 500;
const settled = Promise.resolve();

/** Larger bodies leave in pieces, under flow control. */
const largestWhole = window / 4;
const longestText = 2 ** 16;

const texts = new Map([
  [textHeaders, JSON.stringify(textHeaders)],
  [jsonHeaders, JSON.stringify(jsonHeaders)],
  [bytesHeaders, JSON.stringify(bytesHeaders)],
  [noHeaders, "[]"],
]);

function headerText(flat) {
  const known = texts.get(flat);
  if (known !== undefined) return known;
  const text = JSON.stringify(flat);
  if (text.length > longestHeaders)
    throw new RangeError(`The answer's headers have ${text.length} bytes, ${longestHeaders} are the most`);
  return text;
}

/** Node's own Response, or that of a library. */
function looksLikeResponse(value) {
  return (
    typeof value.status === "number" &&
    typeof value.arrayBuffer === "function" &&
    typeof value.headers?.forEach === "function" &&
    "body" in value
  );
}

/** Headers of an answer that came from elsewhere: its body is decoded already, so what described its encoding goes. */
function forward(response) {
  const flat = flatten(response.headers);
  if (!response.url) return flat;
  const kept = [];
  for (let index = 0; index < flat.length; index += 2) {
    if (!hopHeaders.has(flat[index])) kept.push(flat[index], flat[index + 1]);
  }
  return kept;
}

const hopHeaders = new Set(["content-encoding", "content-length", "transfer-encoding", "connection", "keep-alive"]);
