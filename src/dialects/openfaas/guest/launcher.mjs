// Starts a process for a call and gathers what it says: by the forker where there is a Python to run it, else by Node itself.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { OpenCalls } from "./open-calls.mjs";

/**
 * `run({ variables, body, output, errors })` gives `{ ended, kill }`; `ended` resolves to why it failed: `exit status 1`,
 * `signal: killed`, or why it did not start; to undefined where it went well.
 */
export function openLauncher(options) {
  const forkers = existsSync(python) ? new Forkers(options) : undefined;
  return {
    run(call) {
      const forker = call.body.length <= pipeBytes ? forkers?.least() : undefined;
      return forker === undefined ? bySpawn(options, call) : forker.run(call);
    },
  };
}

function bySpawn({ command, args, environment, directory, combines }, { variables, body, output, errors }) {
  const env = { ...environment, ...variables };
  const child = spawn(command, args, { cwd: directory, env, stdio: "pipe", detached: true });
  child.stdout.on("data", output);
  child.stderr.on("data", combines ? output : errors);
  // One that does not read its input closes it.
  child.stdin.on("error", () => undefined).end(body);
  const ended = new Promise((resolve) => {
    child.once("error", (error) => resolve(`fork/exec ${command}: ${error.code ?? error.message}`));
    child.once("close", (code, signal) => resolve(signal === null ? exitText(code) : signalText(signal)));
  });
  return { ended, kill: () => endGroup(child) };
}

/** Of a process that was started `detached`: what it started itself ends with it. */
export function endGroup({ pid }) {
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // It has ended.
  }
}

/** One waits for each process that it starts to be under way: as many as there are processors, once there is so much to do. */
class Forkers {
  #options;
  #opened;
  #most = Math.min(availableParallelism(), mostForkers);

  constructor(options) {
    this.#options = options;
    this.#opened = [new Forker(options)];
  }

  /** The one with the fewest calls; undefined where all are lost. */
  least() {
    const there = this.#opened.filter((forker) => forker.isThere);
    const ready = there.filter((forker) => forker.isReady);
    let least = ready[0] ?? there[0];
    for (const forker of ready) if (forker.running < least.running) least = forker;
    if (least?.running > 0 && ready.length === this.#opened.length && ready.length < this.#most) {
      this.#opened.push(new Forker(this.#options));
    }
    return least;
  }
}

/** See forker.py. */
class Forker {
  isThere = true;
  /** It has loaded. */
  isReady = false;
  #command;
  #link;
  /** A seat is its call's number on the link: nothing is said of a call behind its end. */
  #calls = new OpenCalls();
  #rest = Buffer.alloc(0);

  constructor({ command, args, environment, directory, combines }) {
    this.#command = command;
    const program = join(import.meta.dirname, "forker.py");
    const child = spawn(python, ["-I", "-B", "-S", program, combines ? "combined" : "apart", command, ...args], {
      cwd: directory,
      env: environment,
      stdio: ["ignore", "inherit", "inherit", "pipe"],
    });
    this.#link = child.stdio[3];
    this.#link.on("data", (bytes) => this.#receive(bytes));
    this.#link.on("error", () => this.#lose());
    child.once("error", () => this.#lose());
    child.once("exit", () => this.#lose());
  }

  get running() {
    return this.#calls.size;
  }

  run({ variables, body, output, errors }) {
    let text = "";
    for (const name in variables) text += `${name}=${variables[name]}\0`;
    const length = Buffer.byteLength(text);
    const call = { output, errors, resolve: undefined };
    const ended = new Promise((resolve) => (call.resolve = resolve));
    const number = this.#calls.add(call);
    const frame = Buffer.allocUnsafe(headBytes + 4 + length + body.length);
    writeHead(frame, start, number, 4 + length + body.length);
    frame.writeUInt32BE(length, headBytes);
    frame.write(text, headBytes + 4);
    frame.set(body, headBytes + 4 + length);
    this.#link.write(frame);
    return { ended, kill: () => this.#kill(number, call) };
  }

  #kill(number, call) {
    if (this.#calls.get(number) !== call) return;
    const frame = Buffer.allocUnsafe(headBytes);
    writeHead(frame, kill, number, 0);
    this.#link.write(frame);
  }

  #receive(bytes) {
    let all = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    let at = 0;
    while (all.length - at >= headBytes) {
      const end = at + headBytes + all.readUInt32BE(at + 5);
      if (all.length < end) break;
      this.#take(all[at], all.readUInt32BE(at + 1), all.subarray(at + headBytes, end));
      at = end;
    }
    this.#rest = all.subarray(at);
  }

  #take(kind, number, payload) {
    if (kind === isUp) {
      this.isReady = true;
      return;
    }
    const call = this.#calls.get(number);
    if (call === undefined) return;
    if (kind === gotOutput) call.output(payload);
    else if (kind === gotErrors) call.errors(payload);
    else {
      this.#calls.remove(number);
      const code = kind === hasEnded ? payload.readInt32BE(0) : 0;
      if (kind === notStarted) call.resolve(`fork/exec ${this.#command}: ${payload.toString().toLowerCase()}`);
      else call.resolve(code < 0 ? signalText(-code) : exitText(code));
    }
  }

  /** Those that run are lost with it; those that come are started by Node. */
  #lose() {
    this.isThere = false;
    for (const { resolve } of this.#calls.clear()) resolve("signal: killed");
  }
}

function writeHead(frame, kind, number, length) {
  frame[0] = kind;
  frame.writeUInt32BE(number, 1);
  frame.writeUInt32BE(length, 5);
}

function exitText(code) {
  return code === 0 ? undefined : `exit status ${code}`;
}

function signalText(signal) {
  const name = typeof signal === "string" ? signal.slice(3).toLowerCase() : signals[signal];
  return `signal: ${{ kill: "killed", term: "terminated" }[name] ?? name ?? signal}`;
}

const signals = {
  1: "hup",
  2: "int",
  3: "quit",
  4: "ill",
  6: "abrt",
  8: "fpe",
  9: "kill",
  11: "segv",
  13: "pipe",
  14: "alrm",
  15: "term",
};
const python = "/usr/bin/python3";
/** What a new pipe holds; more has to be written bit by bit, as it is read. */
const pipeBytes = 65_536;
const headBytes = 9;
/** Each takes 8 MB. */
const mostForkers = 4;
const [start, kill] = [1, 2];
const [gotOutput, gotErrors, hasEnded, notStarted, isUp] = [1, 2, 3, 4, 5];
