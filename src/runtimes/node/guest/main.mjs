// What runs inside the sandbox of a node function: waits blank for its code, then serves calls. Imports nothing of the platform's.
import { bind } from "./context.mjs";
import { Call, calls, lingering, measure, settleNested, textEntry, whenIdle } from "./call.mjs";
import { describe, here, setRoot } from "./errors.mjs";
import { Headers } from "./headers.mjs";
import { flush, frame, mute, openLink, sendEmpty, sendText } from "./link.mjs";
import { loadHandler, LoadError } from "./loader.mjs";
import { captureOutput, current, currentCall, flushPartial, outside, seat } from "./output.mjs";
import { rehearsedCalls, rehearsedInit } from "./rehearsal.mjs";
import { fetch, Request } from "./request.mjs";
import { Response } from "./response.mjs";

/** Both flags of an `invoke` frame: the body ends here, and says all there is to know. */
const wholeAndSufficient = 3;

let handler;
let handleText;
/** One call at a time. */
let isAlone = false;
let draining = false;
/** Settled once it is over. */
let rehearsal;
/** Frames are being read: their answers leave together at the end. */
let reading = false;

const exit = process.reallyExit.bind(process);
const exitOfNode = process.exit.bind(process);

captureOutput();
replaceGlobals();
watchForTheEnd();
whenIdle(() => {
  if (!reading) flush();
  if (draining && calls.size === 0 && lingering.size === 0) exitOfNode(0);
});
// What comes over the link runs in the context in which it was opened.
current.run(
  seat,
  openLink,
  onFrame,
  () => {
    reading = false;
    flush();
  },
  () => exit(0),
);
sendText(
  frame.hello,
  0,
  JSON.stringify({ protocol: 1, runtime: "node", version: process.versions.node, pid: process.pid }),
);
flush();

function onFrame(type, stream, bytes, start, end) {
  reading = true;
  switch (type) {
    case frame.invoke: {
      const flags = bytes[start];
      const body = start + 5 + bytes.readUInt32BE(start + 1);
      const call = new Call(stream);
      if (flags === wholeAndSufficient) {
        const text = bytes.toString("utf8", body, end);
        if (!isAlone) return current.run(call, Call.startWithText, call, handleText, text);
        seat.call = call;
        return Call.startWithText(call, handleText, text);
      }
      const head = JSON.parse(bytes.toString("utf8", start + 5, body));
      const first = body < end ? Buffer.from(bytes.subarray(body, end)) : undefined;
      current.run(call, Call.start, call, handler, head, first, (flags & 1) === 1);
      return;
    }
    case frame.body:
      return calls.get(stream)?.body?.push(Buffer.from(bytes.subarray(start, end)));
    case frame.end:
      return calls.get(stream)?.body?.end();
    case frame.window:
      return calls.get(stream)?.granted(bytes.readUInt32BE(start));
    case frame.cancel:
      return calls.get(stream)?.cancel(bytes[start] === 1);
    case frame.answer:
    case frame.refused:
      return settleNested(stream, type, Buffer.from(bytes.subarray(start, end)));
    case frame.init:
      void specialise(JSON.parse(bytes.toString("utf8", start, end)));
      return;
    case frame.rehearse:
      rehearsal = rehearse();
      return;
    case frame.drain:
      draining = true;
      if (calls.size === 0 && lingering.size === 0) exitOfNode(0);
      return;
    case frame.ping:
      return sendEmpty(frame.pong, 0);
    default:
      return;
  }
}

/** See rehearsal.mjs. */
async function rehearse() {
  mute(true);
  try {
    await load(rehearsedInit);
    for (const payload of rehearsedCalls()) {
      onFrame(frame.invoke, 1, payload, 0, payload.length);
      while (calls.size > 0) await new Promise(setImmediate);
    }
  } finally {
    mute(false);
    handler = undefined;
    handleText = undefined;
    reading = false;
  }
}

async function specialise(init) {
  await rehearsal;
  try {
    await load(init);
  } catch (error) {
    flushPartial(outside);
    const said = describe(error);
    sendText(frame.failed, 0, JSON.stringify(error instanceof LoadError ? { message: said.message } : said));
    flush();
    exit(1);
  }
  flushPartial(outside);
  measure(); // what loading took is no call's
  sendText(frame.ready, 0, "{}");
  flush();
}

async function load(init) {
  setRoot(init.directory);
  bind({ namespace: init.namespace, function: init.function, revision: init.revision });
  process.chdir(init.directory);
  Object.assign(process.env, init.environment);
  process.argv.length = 1;
  process.argv[1] = init.handler;
  handler = await loadHandler(init.directory, init.handler);
  handleText = handler[textEntry];
  isAlone = init.concurrency === 1;
}

/** By assignment alone: a look at the descriptors, or a new definition, loads Node's own classes first (25 ms). */
function replaceGlobals() {
  Object.assign(globalThis, { Headers, Request, Response, fetch });
}

function watchForTheEnd() {
  process.on("uncaughtException", (error, origin) => {
    if (process.listenerCount("uncaughtException") > 1) return; // the function has its own way with them
    die("Uncaught exception", error, origin);
  });
  process.on("unhandledRejection", (reason) => {
    if (process.listenerCount("unhandledRejection") > 1) return;
    die("Unhandled rejection", reason);
  });
  process.exit = (code) => {
    const said = here(`The function called process.exit(${code ?? ""})`);
    endCalls(undefined, said, said);
    exitOfNode(code);
  };
}

/** The call that an error belongs to fails with it; the others learn why their instance is gone. */
function die(what, error) {
  const said = describe(error);
  const mine = { ...said, message: `${what}: ${said.message}` };
  const others = { message: `Another call ended the instance. ${mine.message}` };
  endCalls(currentCall(), mine, others);
  exit(1);
}

function endCalls(owner, mine, others) {
  flushPartial(outside);
  if (handler === undefined) {
    sendText(frame.failed, 0, JSON.stringify(mine));
  } else {
    const open = calls.values();
    const known = owner !== undefined && !owner.over;
    for (const call of open) call.failAs("function_crashed", !known || call === owner ? mine : others);
    if (open.length === 0) process.stderr.write(`${mine.stack ?? mine.message}\n`);
  }
  flush();
}
