import { type KeepAlivePolicy, type Plan, shortestKeepMs } from "../core/keep-alive/policy.ts";
import type { FunctionConfig } from "../core/model.ts";
import { type Autoscaler, createAutoscaler } from "../core/scaling/autoscaler.ts";
import { decideStarts, smoothed } from "../core/scaling/demand.ts";
import { tickMs } from "../core/scaling/recent-maximum.ts";
import { decideTowards } from "../core/scaling/target.ts";
import type { Standing } from "../core/scaling/verdict.ts";
import { Heap } from "./heap.ts";
import type { Waits } from "./replay.ts";
import type { Application } from "./trace.ts";

/** What all fleets of one scaling policy add up to. */
export interface ScalingOutcome {
  readonly waits: Waits;
  calls: number;
  /** Calls that no instance could take at once. */
  waited: number;
  /** Calls that came when the line was full. */
  refused: number;
  starts: number;
  /** Memory × milliseconds: of all instances, of those that start among them, and of calls' share of it. */
  heldMb: number;
  busyMb: number;
  /** Instances × milliseconds, and the most that one function had. */
  instanceMs: number;
  mostInstances: number;
}

export interface FleetSettings {
  readonly config: Pick<FunctionConfig, "limits" | "scaling">;
  /** Who says how long the last instance stays under `demand`; absent: each is kept for `keepAliveMs`. */
  readonly keepAlive: KeepAlivePolicy | undefined;
}

/** `left` calls from `nextAt` on, `gapMs` apart. */
interface Stretch {
  nextAt: number;
  left: number;
  readonly gapMs: number;
  readonly runMs: number;
  /** Its calls that run, one by one, and the sum of the times at which they end. */
  running: number;
  endsSum: number;
}

/** A stretch whose calls all find an instance: one event for all of them. */
interface Flow {
  readonly from: number;
  readonly endsAt: number;
  readonly calls: number;
  readonly gapMs: number;
  readonly runMs: number;
  /** Calls of it in flight at the same time. */
  readonly width: number;
}

/**
 * One function's instances in virtual time, by the rules of the core: `demand` is asked when calls wait, the others
 * each tick of what was measured each second, as the engine's scaler does it. Machines have no end of memory, starts
 * take what the trace says and never fail. Instances are alike: calls fill the ones used last, so that the others age.
 */
export class SimulatedFleet {
  readonly #application: Application;
  readonly #config: FleetSettings["config"];
  readonly #keepAlive: KeepAlivePolicy | undefined;
  readonly #outcome: ScalingOutcome;
  readonly #slots: number;
  #now = 0;

  #ready = 0;
  /** Are to go when the calls that they have are over. */
  #draining = 0;
  /** When each start is over; all take the same time. */
  readonly #starting: number[] = [];
  /** Since when each idle instance is, the longest first. */
  readonly #idleSince: number[] = [];

  #running = 0;
  readonly #line: { at: number; runMs: number; stretch: number }[] = [];
  #lineHead = 0;
  /** Ends of calls, and of flows; the value is the stretch or the flow that it belongs to, or `single`. */
  readonly #ends = new Heap();
  readonly #stretches = new Map<number, Stretch>();
  readonly #flows = new Map<number, Flow>();
  #nextId = 0;
  /** Calls in flight and calls per ms of all flows. */
  #flowLoad = 0;
  #flowRate = 0;

  #typicalRunMs: number | undefined;
  #typicalStartMs: number | undefined;
  #askAt = never;

  #autoscaler: Autoscaler | undefined;
  #target = 0;
  #why = "";
  #beatAt = never;
  /** Since the last beat. */
  #loadArea = 0;
  #arrived = 0;
  #completed = 0;
  #sampledAt = 0;

  #habit: unknown;
  #idleFrom = -1;
  #plan: Plan | undefined;
  #prewarmAt = never;

  constructor(application: Application, { config, keepAlive }: FleetSettings, outcome: ScalingOutcome) {
    this.#application = application;
    this.#config = config;
    this.#keepAlive = config.scaling.policy === "demand" ? keepAlive : undefined;
    this.#outcome = outcome;
    this.#slots = config.limits.concurrency;
  }

  /** Calls at `at`, in order of time; what else is due by then is done first. */
  call(at: number, calls: number, gapMs: number, runMs: number): void {
    this.runUntil(at);
    if (calls === 1) return this.#arrive(runMs, single);
    const id = this.#nextId++;
    this.#stretches.set(id, { nextAt: at, left: calls, gapMs, runMs, running: 0, endsSum: 0 });
    this.#advanceStretch(id);
  }

  /** Does what is due up to `end`, and at it. */
  runUntil(end: number): void {
    for (;;) {
      const at = this.#nextEvent();
      if (at > end) break;
      this.#advance(at);
      this.#handle(at);
    }
    this.#advance(end);
  }

  /** The trace is over. */
  finish(end: number): void {
    this.runUntil(end);
    for (const flow of this.#flows.values()) this.#count(flow, Math.min(flow.calls, callsBefore(flow, end)));
  }

  #nextEvent(): number {
    let at = Math.min(this.#ends.least() ?? never, this.#starting[0] ?? never, this.#beatAt, this.#askAt);
    for (const { nextAt } of this.#stretches.values()) at = Math.min(at, nextAt);
    return Math.min(at, this.#prewarmAt, this.#reapAt());
  }

  #handle(at: number): void {
    if ((this.#ends.least() ?? never) <= at) return this.#end();
    if ((this.#starting[0] ?? never) <= at) return this.#started();
    if (this.#beatAt <= at) return this.#beat();
    if (this.#askAt <= at) {
      this.#askAt = never;
      return this.#hungry();
    }
    if (this.#prewarmAt <= at) return this.#prewarm();
    if (this.#reapAt() <= at) return this.#reap();
    for (const [id, { nextAt }] of this.#stretches) if (nextAt <= at) return this.#advanceStretch(id);
  }

  #advance(to: number): void {
    const passed = to - this.#now;
    if (passed <= 0) return;
    const { memoryMb } = this.#application;
    const held = this.#ready + this.#draining + this.#starting.length;
    const alone = this.#running - this.#flowWidth();
    this.#outcome.instanceMs += held * passed;
    this.#outcome.heldMb += held * passed * memoryMb;
    this.#outcome.busyMb += ((alone + this.#flowLoad) * passed * memoryMb) / this.#slots;
    this.#loadArea += (alone + this.#flowLoad + this.#waiting()) * passed;
    this.#arrived += this.#flowRate * passed;
    this.#completed += this.#flowRate * passed;
    this.#now = to;
  }

  // Calls

  #advanceStretch(id: number): void {
    const stretch = this.#stretches.get(id)!;
    const { left, gapMs, runMs, running } = stretch;
    const width = Math.max(1, Math.ceil(runMs / gapMs));
    // Seconds that have a call or none are not averaged away: a policy may see them.
    const fine = this.#config.scaling.policy === "demand" || gapMs <= beatMs / 4;
    // What is in flight of it already is part of the flow.
    const places = this.#free() + running;
    const fits = latenessMs(stretch) <= places * gapMs - runMs;
    if (fine && left > 3 * width && this.#waiting() === 0 && fits) {
      this.#stretches.delete(id);
      if (this.#running === 0) this.#called();
      this.#running -= running;
      this.#worked(stretch.endsSum - running * this.#now);
      const endsAt = this.#now + (left - 1) * gapMs + runMs;
      return this.#flow({ from: this.#now, endsAt, calls: left, gapMs, runMs, width });
    }
    stretch.nextAt += gapMs;
    if (--stretch.left === 0) stretch.nextAt = never;
    this.#arrive(runMs, id);
    // What of it still waits is counted as calls of their own.
    if (stretch.left === 0 && stretch.running === 0) this.#stretches.delete(id);
  }

  #flow(flow: Flow): void {
    this.#running += flow.width;
    this.#flowLoad += loadOf(flow);
    this.#flowRate += rateOf(flow);
    this.#flows.set(this.#nextId, flow);
    this.#ends.push(flow.endsAt, this.#nextId++);
    this.#settle();
  }

  /** Its calls go one by one again: there are fewer instances than it took. */
  #breakFlow(id: number, flow: Flow): void {
    const done = Math.min(flow.calls, callsBefore(flow, this.#now));
    this.#endFlow(id, flow, done);
    const last = flow.from + (done - 1) * flow.gapMs;
    let workMs = done * flow.runMs - loadOf(flow) * (this.#now - flow.from);
    for (let back = 0; back < done; back++) {
      const endsAt = last - back * flow.gapMs + flow.runMs;
      if (endsAt <= this.#now) break;
      this.#running++;
      this.#ends.push(endsAt, single);
      workMs -= endsAt - this.#now;
    }
    // Its average is not what has run up to now.
    this.#worked(workMs);
    if (done === flow.calls) return;
    const rest = { nextAt: flow.from + done * flow.gapMs, left: flow.calls - done, running: 0, endsSum: 0 };
    this.#stretches.set(this.#nextId++, { ...rest, gapMs: flow.gapMs, runMs: flow.runMs });
  }

  /** Time of calls that is not seen passing. */
  #worked(ms: number): void {
    this.#outcome.busyMb += (ms * this.#application.memoryMb) / this.#slots;
  }

  #endFlow(id: number, flow: Flow, done: number): void {
    this.#flows.delete(id);
    this.#running -= flow.width;
    this.#flowLoad = this.#flows.size === 0 ? 0 : this.#flowLoad - loadOf(flow);
    this.#flowRate = this.#flows.size === 0 ? 0 : this.#flowRate - rateOf(flow);
    this.#count(flow, done);
    const idleMs = flow.gapMs - flow.runMs;
    if (idleMs > 0 && done > 1) this.#keepAlive?.observe(this.#habit, idleMs, this.#now, done - 1, false);
  }

  #count({ runMs }: Flow, calls: number): void {
    this.#outcome.calls += calls;
    this.#outcome.waits.add(0, runMs, calls);
    this.#typicalRunMs = smoothed(this.#typicalRunMs, runMs);
  }

  #arrive(runMs: number, stretch: number): void {
    this.#arrived++;
    this.#outcome.calls++;
    if (this.#running === 0 && this.#waiting() === 0) this.#called();
    if (this.#waiting() === 0 && this.#free() > 0) {
      this.#begin(this.#now, runMs, stretch);
      return this.#settle();
    }
    if (this.#waiting() >= this.#config.limits.queueLength) {
      this.#outcome.refused++;
      return;
    }
    this.#outcome.waited++;
    this.#line.push({ at: this.#now, runMs, stretch });
    this.#attend();
  }

  #begin(cameAt: number, runMs: number, stretch: number): void {
    this.#outcome.waits.add(this.#now - cameAt, runMs, 1);
    const of = this.#stretches.get(stretch);
    if (of !== undefined) {
      of.running++;
      of.endsSum += this.#now + runMs;
    }
    this.#running++;
    this.#ends.push(this.#now + runMs, of === undefined ? single : stretch);
    this.#typicalRunMs = smoothed(this.#typicalRunMs, runMs);
  }

  #end(): void {
    const id = this.#ends.pop();
    const flow = this.#flows.get(id);
    const stretch = this.#stretches.get(id);
    if (flow !== undefined) this.#endFlow(id, flow, flow.calls);
    else if (id === single || stretch !== undefined) {
      this.#running--;
      this.#completed++;
      if (stretch !== undefined) {
        stretch.endsSum -= this.#now;
        if (--stretch.running === 0 && stretch.left === 0) this.#stretches.delete(id);
      }
    }
    // Of a stretch that has become a flow, or a flow that was broken.
    else return;
    while (this.#draining > 0 && this.#running <= (this.#ready + this.#draining - 1) * this.#slots) this.#draining--;
    this.#serve();
    if (this.#running === 0) this.#idleFrom = this.#now;
  }

  /** The line goes on where it can. */
  #serve(): void {
    while (this.#waiting() > 0 && this.#free() > 0) {
      const { at, runMs, stretch } = this.#line[this.#lineHead++]!;
      this.#begin(at, runMs, stretch);
    }
    if (this.#lineHead === this.#line.length) {
      this.#line.length = this.#lineHead = 0;
    } else if (this.#lineHead > 1024) {
      this.#line.splice(0, this.#lineHead);
      this.#lineHead = 0;
    }
    this.#settle();
    if (this.#waiting() > 0) this.#hungry();
  }

  #waiting(): number {
    return this.#line.length - this.#lineHead;
  }

  /** Places for calls in instances that take new ones. */
  #free(): number {
    const drained = Math.min(this.#running, this.#draining * this.#slots);
    return this.#ready * this.#slots - (this.#running - drained);
  }

  #flowWidth(): number {
    let width = 0;
    for (const flow of this.#flows.values()) width += flow.width;
    return width;
  }

  // Instances

  #hungry(): void {
    const { scaling } = this.#config;
    const { starting } = this.#standing();
    const waiting = this.#waiting();
    const present = { ready: this.#ready, starting, failures: 0, waiting };
    if (scaling.policy === "demand") {
      const oldest = this.#line[this.#lineHead];
      const startMs = this.#typicalStartMs;
      const { start } = decideStarts({
        ...present,
        oldestWaitMs: oldest === undefined ? 0 : this.#now - oldest.at,
        concurrency: this.#slots,
        min: scaling.min,
        max: scaling.max,
        // Nobody asks for any in a trace.
        idle: 0,
        spare: 0,
        typicalRunMs: this.#typicalRunMs,
        typicalStartMs: startMs,
      });
      this.#start(start);
      // A line that outlasts a start gets its instances anyway.
      if (oldest !== undefined && startMs !== undefined && oldest.at + startMs > this.#now)
        this.#askAt = oldest.at + startMs;
    } else this.#start(decideTowards({ ...present, target: this.#target, why: this.#why }).start);
  }

  #start(count: number): void {
    for (let n = 0; n < count; n++) this.#starting.push(this.#now + this.#application.startMs);
    this.#outcome.starts += count;
    const all = this.#ready + this.#draining + this.#starting.length;
    this.#outcome.mostInstances = Math.max(this.#outcome.mostInstances, all);
  }

  #started(): void {
    this.#starting.shift();
    this.#ready++;
    this.#typicalStartMs = smoothed(this.#typicalStartMs, this.#application.startMs);
    this.#serve();
  }

  /** Keeps the idle ones' times: those that work are the ones that worked last. */
  #settle(): void {
    const drained = Math.min(this.#running, this.#draining * this.#slots);
    const idle = this.#ready - Math.min(this.#ready, Math.ceil((this.#running - drained) / this.#slots));
    while (this.#idleSince.length > idle) this.#idleSince.pop();
    while (this.#idleSince.length < idle) this.#idleSince.push(this.#now);
  }

  /** Takes instances away, idle ones first; calls that run finish. */
  #trim(count: number): void {
    const idle = Math.min(count, this.#idleSince.length);
    this.#idleSince.splice(0, idle);
    this.#ready -= idle;
    const busy = Math.min(count - idle, this.#ready);
    if (busy > 0) {
      for (const [id, flow] of this.#flows) this.#breakFlow(id, flow);
      const working = Math.min(busy, Math.ceil(this.#running / this.#slots) - this.#draining);
      this.#ready -= busy;
      this.#draining += Math.max(0, working);
    }
    this.#settle();
  }

  // Demand: who goes

  #reapAt(): number {
    if (this.#autoscaler !== undefined || this.#config.scaling.policy !== "demand") return never;
    const { min, keepAliveMs } = this.#config.scaling;
    if (this.#ready <= min || this.#idleSince.length === 0) return never;
    if (this.#keepAlive === undefined || this.#ready > 1) return this.#idleSince[0]! + keepAliveMs;
    if (this.#running + this.#waiting() > 0) return never;
    return this.#idleFrom + (this.#plan?.keepMs ?? shortestKeepMs);
  }

  #reap(): void {
    if (this.#keepAlive !== undefined && this.#ready === 1) {
      this.#plan ??= this.#keepAlive.decide(this.#habit, 0, this.#idleFrom, this.#application);
      if (this.#now < this.#idleFrom + this.#plan.keepMs) return;
      this.#prewarmAt = this.#idleFrom + this.#plan.prewarmMs;
    }
    this.#idleSince.shift();
    this.#ready--;
  }

  #prewarm(): void {
    const idleMs = this.#now - this.#idleFrom;
    this.#plan = this.#keepAlive!.decide(this.#habit, idleMs, this.#now, this.#application);
    this.#prewarmAt = never;
    this.#start(1);
  }

  /** A call came when none ran. */
  #called(): void {
    if (this.#keepAlive === undefined) return;
    const cold = this.#ready === 0;
    if (this.#idleFrom < 0) this.#habit = this.#keepAlive.begin(this.#now);
    else this.#keepAlive.observe(this.#habit, this.#now - this.#idleFrom, this.#now, 1, cold);
    this.#plan = undefined;
    this.#prewarmAt = never;
  }

  // The others: asked each tick

  #standing(): Standing {
    return {
      ready: this.#ready,
      starting: this.#starting.length,
      running: this.#running,
      waiting: this.#waiting(),
    };
  }

  #attend(): void {
    if (this.#config.scaling.policy === "demand") return this.#hungry();
    const moment = { now: this.#now, epochMs: this.#now };
    if (this.#autoscaler === undefined) {
      this.#autoscaler = createAutoscaler(this.#config, false, moment, this.#standing())!;
      this.#target = this.#config.scaling.min;
      this.#wake();
      this.#decide(this.#autoscaler);
    } else this.#wake();
    if (this.#target === 0) {
      this.#autoscaler.poke(this.#now);
      this.#decide(this.#autoscaler);
    }
  }

  #wake(): void {
    if (this.#beatAt !== never) return;
    this.#beatAt = (Math.floor(this.#now / beatMs) + 1) * beatMs;
    this.#sampledAt = this.#now;
    this.#loadArea = this.#completed = 0;
    this.#arrived = this.#waiting();
  }

  #beat(): void {
    const autoscaler = this.#autoscaler!;
    const passed = this.#now - this.#sampledAt;
    const concurrency = passed > 0 ? this.#loadArea / passed : this.#running + this.#waiting();
    autoscaler.record(this.#now, {
      concurrency,
      requests: this.#arrived,
      completed: this.#completed,
      queue: this.#waiting(),
      // Nothing is known of it: a call that runs is taken to use the processors of its share of the instance.
      cpu: (Math.min(concurrency, this.#ready * this.#slots) * this.#config.limits.cpus) / this.#slots,
      instances: this.#ready,
    });
    this.#sampledAt = this.#now;
    this.#loadArea = this.#arrived = this.#completed = 0;
    this.#beatAt = this.#now + beatMs;
    if (this.#now % tickMs !== 0) return;
    this.#decide(autoscaler);
    const all = this.#ready + this.#draining + this.#starting.length + this.#running + this.#waiting();
    if (all === 0 && this.#target === 0 && autoscaler.sleeps(this.#now)) this.#beatAt = never;
  }

  #decide(autoscaler: Autoscaler): void {
    const { desired, reasons } = autoscaler.decide({ now: this.#now, epochMs: this.#now }, this.#standing());
    if (desired !== undefined) {
      this.#target = desired;
      this.#why = reasons.at(-1) ?? "";
    }
    if (this.#ready > this.#target) this.#trim(this.#ready - this.#target);
    else if (this.#ready + this.#starting.length < this.#target) this.#hungry();
  }
}

/** How much later than they came its running calls began, in all: the most that the next ones have to wait for a place. */
function latenessMs({ nextAt, gapMs, runMs, running, endsSum }: Stretch): number {
  const endsSumInTime = running * (nextAt + runMs) - (gapMs * running * (running + 1)) / 2;
  // Sums of fractions are not exact.
  return Math.floor(endsSum - endsSumInTime);
}

/** Calls in flight on average. */
function loadOf(flow: Flow): number {
  return flow.runMs * rateOf(flow);
}

/** Calls per ms. */
function rateOf({ from, endsAt, calls }: Flow): number {
  return calls / (endsAt - from);
}

function callsBefore({ from, gapMs }: Flow, now: number): number {
  return Math.floor((now - from) / gapMs) + 1;
}

const never = Number.POSITIVE_INFINITY;
const beatMs = 1000;
const single = -1;
