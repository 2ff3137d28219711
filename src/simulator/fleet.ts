import type { KeepAlivePolicy } from "../core/keep-alive/policy.ts";
import type { FunctionConfig } from "../core/model.ts";
import { decideStarts, smoothed } from "../core/scaling/demand.ts";
import { decideTowards } from "../core/scaling/target.ts";
import type { Standing } from "../core/scaling/verdict.ts";
import { LastInstance } from "./last-instance.ts";
import { Line } from "./line.ts";
import type { Waits } from "./replay.ts";
import { Ring } from "./ring.ts";
import { SimulatedScaler } from "./scaler.ts";
import { Flow, Stretch } from "./stretch.ts";
import type { Application } from "./trace.ts";
import { Traffic } from "./traffic.ts";

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
  /** Policies that are asked at intervals are asked each time, even where they say that they will decide the same. */
  readonly everySecond?: boolean;
}

/**
 * One function's instances in virtual time, by the rules of the core: `demand` is asked when calls wait, the others
 * each tick of what was measured each second, as the engine's scaler does it. Machines have no end of memory, starts
 * take what the trace says and never fail. Instances are alike: calls fill the ones used last, so that the others age.
 */
export class SimulatedFleet {
  readonly #application: Application;
  readonly #config: FleetSettings["config"];
  /** Absent where each instance is kept for the same time, and under other policies than `demand`. */
  readonly #last: LastInstance | undefined;
  /** Absent under `demand`. */
  readonly #scaler: SimulatedScaler | undefined;
  readonly #outcome: ScalingOutcome;
  readonly #slots: number;
  #now = 0;
  /** Up to where it is known what comes. */
  #horizon = 0;
  #instanceMs = 0;
  /** Of calls. */
  #workMs = 0;

  #ready = 0;
  /** Are to go when the calls that they have are over. */
  #draining = 0;
  /** When each start is over; all take the same time. */
  readonly #starting = new Ring();
  /** Since when each idle instance is, the longest first. */
  readonly #idleSince = new Ring();

  readonly #traffic = new Traffic();
  readonly #line = new Line();

  #typicalRunMs: number | undefined;
  #typicalStartMs: number | undefined;
  #askAt = never;

  constructor(application: Application, { config, keepAlive, everySecond }: FleetSettings, outcome: ScalingOutcome) {
    const demand = config.scaling.policy === "demand";
    this.#application = application;
    this.#config = config;
    this.#last = demand && keepAlive !== undefined ? new LastInstance(keepAlive, application) : undefined;
    this.#scaler = demand ? undefined : new SimulatedScaler(config, everySecond === true);
    this.#outcome = outcome;
    this.#slots = config.limits.concurrency;
  }

  /** Calls at `at`, in order of time; what else is due by then is done first. */
  call(at: number, calls: number, gapMs: number, runMs: number): void {
    this.runUntil(at);
    if (this.#scaler?.resting === true) this.#scaler.stir(at, this.#standing());
    if (calls === 1) return this.#arrive(runMs, undefined);
    const stretch = new Stretch(at, calls, gapMs, runMs);
    this.#traffic.follow(stretch);
    this.#advanceStretch(stretch);
  }

  /** Does what is due up to `end`, and at it. Of what is due at the same time, calls come last. */
  runUntil(end: number): void {
    this.#horizon = end;
    const traffic = this.#traffic;
    const scaler = this.#scaler;
    for (;;) {
      let at = traffic.endsAt;
      let due: Due = Due.end;
      const startedAt = this.#starting.first();
      if (startedAt < at) {
        at = startedAt;
        due = Due.started;
      }
      if (scaler === undefined) {
        if (this.#askAt < at) {
          at = this.#askAt;
          due = Due.ask;
        }
        if (this.#last !== undefined && this.#last.prewarmAt < at) {
          at = this.#last.prewarmAt;
          due = Due.prewarm;
        }
        const reapAt = this.#reapAt();
        if (reapAt < at) {
          at = reapAt;
          due = Due.reap;
        }
      } else if (scaler.beatAt < at) {
        at = scaler.beatAt;
        due = Due.beat;
      }
      if (traffic.comesAt < at) {
        at = traffic.comesAt;
        due = Due.call;
      }
      if (at > end) break;
      this.#advance(at);
      this.#handle(due);
    }
    this.#advance(end);
  }

  /** The trace is over. */
  finish(end: number): void {
    this.runUntil(end);
    const { memoryMb } = this.#application;
    for (const flow of this.#traffic.flows) {
      this.#count(flow, flow.callsUpTo(end));
      this.#workMs += flow.workUpTo(end);
    }
    for (const stretch of this.#traffic.stretches) this.#countPrompt(stretch);
    this.#outcome.instanceMs += this.#instanceMs;
    this.#outcome.heldMb += this.#instanceMs * memoryMb;
    this.#outcome.busyMb += (this.#workMs * memoryMb) / this.#slots;
  }

  #handle(due: Due): void {
    switch (due) {
      case Due.end:
        return this.#end();
      case Due.started:
        return this.#started();
      case Due.beat:
        return this.#beat();
      case Due.ask:
        this.#askAt = never;
        return this.#hungry();
      case Due.prewarm:
        this.#last!.comes(this.#now);
        return this.#start(1);
      case Due.reap:
        return this.#reap();
      case Due.call:
        return this.#advanceStretch(this.#traffic.due());
    }
  }

  #advance(to: number): void {
    const passed = to - this.#now;
    if (passed <= 0) return;
    const traffic = this.#traffic;
    // Flows are measured when they end.
    const running = traffic.running - traffic.places;
    this.#instanceMs += (this.#ready + this.#draining + this.#starting.length) * passed;
    this.#workMs += running * passed;
    this.#scaler?.measured((running + this.#line.length) * passed, 0, 0);
    this.#now = to;
  }

  // Calls

  #advanceStretch(stretch: Stretch): void {
    const traffic = this.#traffic;
    // Before that some instances are idle that will not be, and demand counts for how long.
    const even = stretch.risen || this.#scaler !== undefined;
    const quiet = this.#line.length === 0 && this.#draining === 0;
    if (even && quiet && stretch.left >= fewestFlowing && stretch.fits(this.#free())) {
      if (traffic.running === 0) this.#last?.called(this.#now, this.#ready === 0);
      this.#countPrompt(stretch);
      traffic.flow(stretch, this.#now);
      return this.#settle();
    }
    if (this.#line.length >= this.#config.limits.queueLength && this.#free() <= 0) return this.#refuse(stretch);
    traffic.came(stretch, 1);
    this.#arrive(stretch.runMs, stretch);
  }

  /** Its calls are refused up to the next time at which anything may change. */
  #refuse(stretch: Stretch): void {
    const traffic = this.#traffic;
    const before = Math.min(
      this.#horizon,
      traffic.endsAt,
      this.#starting.first(),
      this.#scaler?.beatAt ?? this.#askAt,
      traffic.comesBeside(stretch),
    );
    const more = Math.floor((before - stretch.nextAt) / stretch.gapMs);
    const calls = Math.min(stretch.left, Math.max(1, more));
    traffic.came(stretch, calls);
    this.#scaler?.measured(0, calls, 0);
    this.#outcome.calls += calls;
    this.#outcome.refused += calls;
    this.#tidy(stretch);
  }

  /** Where places are short, calls go one by one. */
  #breakFlows(): void {
    if (this.#traffic.flows.length === 0) return;
    for (const flow of [...this.#traffic.flows]) this.#breakFlow(flow);
    this.#settle();
  }

  /** Its calls that are to come go one by one, and those that run end so. */
  #breakFlow(flow: Flow): void {
    const traffic = this.#traffic;
    const done = flow.callsUpTo(this.#now);
    const running = flow.runningAt(this.#now);
    this.#measure(flow);
    this.#workMs += flow.workUpTo(this.#now);
    traffic.remove(flow);
    this.#count(flow, done);
    this.#last?.calledAgain(this.#now, done - 1, flow.gapMs - flow.runMs);
    const last = flow.from + (done - 1) * flow.gapMs;
    const rest = new Stretch(last + flow.gapMs, flow.calls - done, flow.gapMs, flow.runMs);
    rest.ends.reserve(running);
    for (let back = running - 1; back >= 0; back--) rest.begin(last - back * flow.gapMs);
    if (rest.left + running > 0) traffic.follow(rest);
  }

  #count({ runMs }: Flow, calls: number): void {
    this.#outcome.calls += calls;
    this.#outcome.waits.add(0, runMs, calls);
    this.#typicalRunMs = smoothed(this.#typicalRunMs, runMs);
  }

  #measure(flow: Flow): void {
    if (this.#scaler === undefined) return;
    flow.measure(this.#now);
    this.#scaler.measured(flow.area, flow.came, flow.ended);
  }

  #countPrompt(stretch: Stretch): void {
    if (stretch.prompt > 0) this.#outcome.waits.add(0, stretch.runMs, stretch.prompt);
    stretch.prompt = 0;
  }

  #tidy(stretch: Stretch): void {
    if (this.#traffic.tidy(stretch)) this.#countPrompt(stretch);
  }

  #arrive(runMs: number, stretch: Stretch | undefined): void {
    this.#scaler?.measured(0, 1, 0);
    this.#outcome.calls++;
    const waiting = this.#line.length;
    if (waiting === 0 && this.#traffic.running === 0) this.#last?.called(this.#now, this.#ready === 0);
    if (waiting === 0 && this.#free() <= 0) this.#breakFlows();
    if (waiting === 0 && this.#free() > 0) {
      if (stretch === undefined) this.#outcome.waits.add(0, runMs, 1);
      else stretch.prompt++;
      this.#begin(runMs, stretch);
      return this.#settle();
    }
    if (waiting >= this.#config.limits.queueLength) {
      this.#outcome.refused++;
      return;
    }
    this.#outcome.waited++;
    if (stretch !== undefined) stretch.waiting++;
    this.#line.push(this.#now, runMs, stretch);
    this.#attend();
  }

  #begin(runMs: number, stretch: Stretch | undefined): void {
    this.#traffic.begin(this.#now, runMs, stretch);
    if (this.#scaler === undefined) this.#typicalRunMs = smoothed(this.#typicalRunMs, runMs);
  }

  #end(): void {
    const traffic = this.#traffic;
    const ended = traffic.ending();
    if (ended instanceof Flow) this.#breakFlow(ended);
    else {
      traffic.end();
      this.#scaler?.measured(0, 0, 1);
      if (ended !== undefined) this.#tidy(ended);
    }
    while (this.#draining > 0 && traffic.running <= (this.#ready + this.#draining - 1) * this.#slots) this.#draining--;
    this.#serve();
    if (traffic.running === 0) this.#last?.rests(this.#now);
  }

  /** The line goes on where it can. */
  #serve(): void {
    const line = this.#line;
    while (line.length > 0 && this.#free() > 0) {
      const runMs = line.firstRunMs();
      const stretch = line.firstOf();
      this.#outcome.waits.add(this.#now - line.firstAt(), runMs, 1);
      line.shift();
      if (stretch !== undefined) stretch.waiting--;
      this.#begin(runMs, stretch);
    }
    this.#settle();
    if (line.length > 0 && this.#scaler === undefined) this.#hungry();
  }

  /** Places for calls in instances that take new ones. */
  #free(): number {
    return this.#ready * this.#slots - this.#serving();
  }

  /** Calls in instances that take new ones. */
  #serving(): number {
    const { running } = this.#traffic;
    return this.#draining === 0 ? running : running - Math.min(running, this.#draining * this.#slots);
  }

  // Instances

  #hungry(): void {
    const { scaling } = this.#config;
    const present = {
      ready: this.#ready,
      starting: this.#starting.length,
      failures: 0,
      waiting: this.#line.length,
    };
    if (this.#scaler !== undefined) {
      return this.#start(decideTowards({ ...present, target: this.#scaler.target, why: "" }).start);
    }
    const oldestAt = this.#line.firstAt();
    const startMs = this.#typicalStartMs;
    const { start } = decideStarts({
      ...present,
      oldestWaitMs: oldestAt === never ? 0 : this.#now - oldestAt,
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
    if (oldestAt !== never && startMs !== undefined && oldestAt + startMs > this.#now) this.#askAt = oldestAt + startMs;
  }

  #start(count: number): void {
    for (let n = 0; n < count; n++) this.#starting.push(this.#now + this.#application.startMs);
    this.#outcome.starts += count;
    const all = this.#ready + this.#draining + this.#starting.length;
    if (all > this.#outcome.mostInstances) this.#outcome.mostInstances = all;
  }

  #started(): void {
    this.#starting.shift();
    this.#ready++;
    this.#typicalStartMs = smoothed(this.#typicalStartMs, this.#application.startMs);
    this.#serve();
  }

  /** Keeps the idle ones' times: those that work are the ones that worked last. */
  #settle(): void {
    const idleSince = this.#idleSince;
    const idle = Math.max(0, this.#ready - Math.ceil(this.#serving() / this.#slots));
    while (idleSince.length > idle) idleSince.pop();
    while (idleSince.length < idle) idleSince.push(this.#now);
  }

  /** Takes instances away, idle ones first; calls that run finish. */
  #trim(count: number): void {
    if (count > this.#idleSince.length) this.#breakFlows();
    const idle = Math.min(count, this.#idleSince.length);
    for (let n = 0; n < idle; n++) this.#idleSince.shift();
    this.#ready -= idle;
    const busy = Math.min(count - idle, this.#ready);
    if (busy > 0) {
      const working = Math.min(busy, Math.ceil(this.#traffic.running / this.#slots) - this.#draining);
      this.#ready -= busy;
      this.#draining += Math.max(0, working);
    }
    this.#settle();
  }

  // Demand: who goes

  #reapAt(): number {
    const { min, keepAliveMs } = this.#config.scaling;
    if (this.#ready <= min || this.#idleSince.length === 0) return never;
    if (this.#last === undefined || this.#ready > 1) return this.#idleSince.first() + keepAliveMs;
    return this.#traffic.running + this.#line.length > 0 ? never : this.#last.goesAt();
  }

  #reap(): void {
    if (this.#last !== undefined && this.#ready === 1 && !this.#last.goes(this.#now)) return;
    this.#idleSince.shift();
    this.#ready--;
  }

  // The others: asked each tick

  #standing(): Standing {
    return {
      ready: this.#ready,
      starting: this.#starting.length,
      running: this.#traffic.runningAt(this.#now),
      waiting: this.#line.length,
    };
  }

  #attend(): void {
    const scaler = this.#scaler;
    if (scaler === undefined) return this.#hungry();
    if (scaler.attend(this.#now, this.#standing())) this.#follow(scaler.target);
  }

  #beat(): void {
    const scaler = this.#scaler!;
    for (const flow of this.#traffic.flows) this.#measure(flow);
    if (!scaler.beat(this.#now, this.#standing())) return;
    this.#follow(scaler.target);
    if (!this.#traffic.over || this.#line.length > 0 || this.#starting.length > 0 || this.#draining > 0) return;
    if (this.#ready === 0) scaler.sleep(this.#now);
    else scaler.rest(this.#now, this.#standing());
  }

  #follow(target: number): void {
    if (this.#ready > target) this.#trim(this.#ready - target);
    else if (this.#ready + this.#starting.length < target) this.#hungry();
  }
}

const Due = { end: 0, started: 1, beat: 2, ask: 3, prewarm: 4, reap: 5, call: 6 } as const;
type Due = (typeof Due)[keyof typeof Due];

const never = Number.POSITIVE_INFINITY;
/** Calls that are worth a flow. */
const fewestFlowing = 4;
