import { availableParallelism } from "node:os";
import { VirgaError, asVirgaError } from "../core/errors.ts";
import { GreedyDualClock, priority } from "../core/keep-alive/greedy-dual.ts";
import { inOrderOfPriority, mayBeTaken, reasonToStop, worthOfKeeping } from "../core/keep-alive/worth.ts";
import type { FunctionId, FunctionState, Revision } from "../core/model.ts";
import { type Evictable, type Placement, place } from "../core/placement.ts";
import { decideStarts, type ScaleDecision, startBackoffMs, startFailuresToGiveUp } from "../core/scaling/demand.ts";
import { decideTowards, surplus } from "../core/scaling/target.ts";
import type { Verdict } from "../core/scaling/verdict.ts";
import type { Clock, Timer } from "../ports/clock.ts";
import type { Log } from "../ports/log.ts";
import type { Instance } from "../ports/runtime.ts";
import type { ExitReport, ProgramUsage } from "../ports/sandbox.ts";
import type { Functions, History, InstanceView, PoolView, Secrets } from "./engine.ts";
import { Fleet, type Machine, shuttingDown } from "./fleet.ts";
import { Crowd } from "./crowd.ts";
import { FleetIndex, sameProgram } from "./fleet-index.ts";
import { KeepAlive, type KeptAlive } from "./keep-alive.ts";
import { type Scaled, Scaler } from "./scaler.ts";
import { ScalingLog } from "./scaling-log.ts";
import { ProcessorAffinity } from "./processor-affinity.ts";
import { Starter, type StarterOptions } from "./starter.ts";
import { type Nursery, type Prewarm, type StemCell, StemCells } from "./stem-cells.ts";
import { Trial } from "./trial.ts";
import { type CallFunction, Wiring } from "./wiring.ts";
import { retireGraceMs, Worker } from "./worker.ts";

export interface PoolOptions extends Omit<StarterOptions, "secrets"> {
  readonly secrets: Pick<Secrets, "reveal" | "onChange">;
  readonly functions: Pick<Functions, "onChange" | "revision" | "get">;
  readonly history: Pick<History, "logged">;
  readonly clock: Clock;
  readonly log: Log;
  readonly identify: () => string;
  readonly budget: {
    readonly memoryMb: number;
    readonly instances: number;
    /** Processors, of which busy instances have their share; those of the machine where absent. */
    readonly cpus?: number;
    /** Claims of namespaces where the machine is full; 1 where absent. */
    readonly weights?: Readonly<Record<string, number>>;
    /** Starts at the same time; twice the processors where absent. */
    readonly starts?: number;
    /** False: instances run where the kernel wants them. */
    readonly affinity?: boolean;
  };
  readonly prewarm: readonly Prewarm[];
  readonly callFunction: CallFunction;
}

/** The instances of this machine. */
export interface Pool extends PoolView {
  /** The fleet that serves the revision; made where there is none. Cheap: it is asked for each call. */
  fleetOf(revision: Revision): Fleet;
  /**
   * Starts an instance of a revision that has no traffic yet, and keeps it for the first call.
   * Rejects with why it does not start. `onLog` gets what it printed meanwhile.
   */
  verify(revision: Revision, signal: AbortSignal, onLog: (line: string) => void): Promise<void>;
  /** Brings the instances in line with where a function's calls go. Called by itself on changes; at the platform's start by its starter. */
  reconcile(id: FunctionId, state: FunctionState | undefined): Promise<void>;
  /** Artifacts that instances run from, or are to. */
  artifacts(): ReadonlySet<string>;
  /** Takes no new calls, waits for the running ones up to `graceMs`, and stops all instances. */
  drain(graceMs: number): Promise<void>;
}

export function createPool(options: PoolOptions): Pool {
  return new InstancePool(options);
}

class InstancePool implements Pool, Machine, Nursery, Scaled, KeptAlive {
  readonly clock: Clock;
  readonly log: Log;
  readonly starter: Starter;
  readonly #options: PoolOptions;
  readonly #maxStarts: number;
  readonly #fleets = new FleetIndex();
  /** Fleets that want instances, the one that was looked at longest ago first. */
  readonly #hungry = new Set<Fleet>();
  readonly #stemCells: StemCells;
  readonly #scalingLog = new ScalingLog();
  readonly #scaler: Scaler;
  readonly #keepAlive: KeepAlive;
  readonly #crowd: Crowd;
  readonly #affinity: ProcessorAffinity | undefined;
  readonly #greedyDual = new GreedyDualClock();
  readonly #stops = new Set<Promise<unknown>>();
  /** Instances on their way whose secrets have changed since they were read. */
  readonly #outdated = new Set<string>();
  /** The newest state of each function that is being followed. */
  readonly #reconciling = new Map<string, FunctionState>();
  readonly #unsubscribe: (() => void)[];
  readonly #machine = { usedMb: 0, leavingMb: 0, instances: 0, leavingInstances: 0 };
  #startsUnderWay = 0;
  #pumping = false;
  #tick: Timer | undefined;
  #tickAt = Number.POSITIVE_INFINITY;
  #tidiedAt = 0;
  #whenQuiet: (() => void) | undefined;
  draining = false;
  #ended = false;

  constructor(options: PoolOptions) {
    this.#options = options;
    this.clock = options.clock;
    this.log = options.log;
    this.#maxStarts = options.budget.starts ?? 2 * availableParallelism();
    this.starter = new Starter(options);
    this.#stemCells = new StemCells(this, options.prewarm);
    this.#scaler = new Scaler(this);
    this.#keepAlive = new KeepAlive(this);
    const { processors } = options.sandbox;
    this.#affinity =
      processors && options.budget.affinity !== false ? new ProcessorAffinity(options.clock, processors) : undefined;
    this.#crowd = new Crowd({
      machine: { memoryMb: options.budget.memoryMb, cpus: options.budget.cpus ?? availableParallelism() },
      weights: options.budget.weights ?? {},
      fleets: () => this.#fleets.all(),
      roomIsComing: (fleet) => this.#roomIsComing(fleet.revision.config.limits.memoryMb),
    });
    this.#unsubscribe = [
      options.functions.onChange((id, state) => {
        this.reconcile(id, state).catch((thrown: unknown) => {
          this.log.error("instances could not follow a change", { ...id, error: asVirgaError(thrown) });
        });
      }),
      options.secrets.onChange((namespace, name) => this.#secretChanged(namespace, name)),
    ];
  }

  fleetOf(revision: Revision): Fleet {
    const known = this.#fleets.known(revision);
    if (known !== undefined) return known;
    const numbered = this.#fleets.numbered(revision);
    if (numbered !== undefined && sameProgram(numbered.revision, revision)) {
      this.#fleets.alias(revision, numbered);
      return numbered;
    }
    // A number is given anew where a function was deleted, or where a deploy failed after its trial start.
    if (numbered !== undefined) this.#close(numbered, "its revision was replaced");
    const fleet = new Fleet(revision, this);
    fleet.habit = this.#keepAlive.habitOf(revision);
    this.#fleets.add(fleet);
    this.#wake(idleTickMs);
    return fleet;
  }

  async verify(revision: Revision, signal: AbortSignal, onLog: (line: string) => void): Promise<void> {
    if (this.draining) throw shuttingDown();
    const stale = this.#fleets.numbered(revision);
    if (stale !== undefined) this.#close(stale, "its revision was replaced");
    const fleet = this.fleetOf(revision);
    fleet.trials++;
    fleet.onTrialLog = onLog;
    try {
      await new Trial(this.#options.identify(), fleet).run(signal);
      fleet.fresh = true;
    } finally {
      fleet.trials--;
      fleet.onTrialLog = undefined;
    }
  }

  async reconcile(id: FunctionId, state: FunctionState | undefined): Promise<void> {
    const fleets = this.#fleets.of(id);
    const key = `${id.namespace}/${id.name}`;
    if (state === undefined) this.#reconciling.delete(key);
    else this.#reconciling.set(key, state);
    if (state === undefined) {
      const gone = new VirgaError("not_found", `Function ${id.name} was deleted`, { fix: "Deploy it again." });
      for (const fleet of fleets) {
        fleet.refuseLine(gone);
        this.#close(fleet, "its function was deleted");
      }
      this.#scalingLog.forget(id);
      this.#keepAlive.forget(id);
      return;
    }
    const reached = new Set(
      state.traffic.filter(({ weight, tag }) => weight > 0 || tag !== undefined).map(({ revision }) => revision),
    );
    this.#keepAlive.reached(id, reached);
    for (const fleet of fleets) {
      // Newer than the newest: a trial start of a deploy that goes on.
      if (fleet.trials > 0 || fleet.revision.number > state.latestRevision) continue;
      fleet.serving = reached.has(fleet.revision.number);
      if (fleet.serving) continue;
      fleet.min = 0;
      this.#disregard(fleet);
      for (const worker of fleet.workers) worker.retire(noTraffic);
    }
    for (const number of reached) {
      const revision = await this.#options.functions.revision(id, number);
      if (revision === undefined || this.draining) continue;
      const { min, policy, openfaas } = revision.config.scaling;
      // The others begin at the first call.
      const early = min > 0 || policy === "schedule" || policy === "expression" || openfaas?.zero === false;
      if (!early && (policy === "demand" || this.#fleets.numbered(revision) === undefined)) continue;
      // Overtaken by a newer change while it read.
      if (this.#reconciling.get(key) !== state) return;
      const fleet = this.fleetOf(revision);
      fleet.min = min;
      this.#scaler.follow(fleet, fleet.fresh);
      fleet.fresh = false;
      if (early) this.hungry(fleet);
    }
    if (this.#reconciling.get(key) === state) this.#reconciling.delete(key);
  }

  async drain(graceMs: number): Promise<void> {
    this.draining = true;
    this.#scaler.stop();
    this.#keepAlive.stop();
    this.#affinity?.close();
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
    const began = this.clock.monotonic();
    if (!this.#quiet()) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#whenQuiet = resolve;
      const timer = this.clock.after(graceMs, resolve);
      await promise;
      timer.cancel();
    }
    this.#ended = true;
    const left = Math.max(0, Math.min(retireGraceMs, graceMs - (this.clock.monotonic() - began)));
    for (const fleet of this.#fleets.all()) {
      fleet.min = 0;
      this.#scaler.forget(fleet);
      fleet.refuseLine(shuttingDown());
      for (const worker of fleet.workers) this.stop(worker, "the platform is shutting down", left);
    }
    await this.#stemCells.close();
    await Promise.all(this.#stops);
    this.#tick?.cancel();
    this.#tick = undefined;
  }

  // What fleets and workers tell.

  hungry(fleet: Fleet): void {
    if (this.#hungry.has(fleet)) {
      // Looked at already: what was decided holds until time has passed, or more calls wait than are provided for.
      if (fleet.patient || fleet.line.size <= fleet.starting.size * fleet.revision.config.limits.concurrency) return;
    } else {
      this.#hungry.add(fleet);
      this.#wake(hungryTickMs);
    }
    if (this.#startsUnderWay < this.#maxStarts) this.#pump(false);
  }

  get crowded(): boolean {
    return this.#crowd.exists;
  }

  reconsider(worker: Worker): void {
    const reason = this.#crowd.reasonToYield(worker);
    if (reason !== undefined) worker.retire(reason);
  }

  idle(worker: Worker): void {
    if (worker.fleet.closed || this.#ended) {
      worker.retire("its revision was replaced");
      return;
    }
    if (this.draining && this.#quiet()) this.#whenQuiet?.();
    this.#wake(idleTickMs);
  }

  trim(fleet: Fleet, count: number, reason: string): void {
    const now = this.clock.monotonic();
    const candidates = [...fleet.workers]
      .filter(({ state }) => state === "ready")
      .map((item) => ({ item, running: item.calls.size, idleMs: now - item.idleSince }));
    for (const worker of surplus(candidates, count)) worker.retire(reason);
  }

  note(fleet: Fleet, { desired, reasons }: Verdict): void {
    const present = fleet.workers.size + fleet.starting.size;
    const reason = `${fleet.revision.config.scaling.policy}: ${reasons.join("; ")}`;
    this.#scalingLog.stand(fleet.revision, { at: this.clock.now(), from: present, to: desired ?? present, reason });
  }

  stop(worker: Worker, reason: string, graceMs: number): void {
    if (worker.state === "gone") return;
    this.#record(worker.fleet, -1, reason);
    this.#dismiss(worker);
    this.#machine.leavingMb += worker.memoryMb;
    this.#machine.leavingInstances++;
    const stopped = this.#stop(worker, graceMs);
    this.#stops.add(stopped);
    void stopped.finally(() => this.#stops.delete(stopped));
  }

  startAhead(revision: Revision, reason: string): void {
    if (this.draining) return;
    const fleet = this.fleetOf(revision);
    if (!fleet.serving || fleet.ready + fleet.starting.size > 0 || this.clock.monotonic() < fleet.notBefore) return;
    const cell = this.#stemCells.take(fleet);
    // Nobody goes for what nobody waits for.
    if (cell === undefined && !this.reserve(revision.config.limits.memoryMb)) {
      this.#record(fleet, 0, `no room to start ahead of a call; ${reason}`);
      return;
    }
    this.#record(fleet, 1, reason);
    this.#startsUnderWay++;
    void this.#start(fleet, cell, true);
  }

  // What stem cells ask.

  wiring(): { id: string; wiring: Wiring } {
    const id = this.#options.identify();
    return { id, wiring: new Wiring(id, this.clock, this.#options.history, this.#options.callFunction) };
  }

  reserve(memoryMb: number): boolean {
    const { budget } = this.#options;
    if (this.draining || this.#machine.usedMb + memoryMb > budget.memoryMb) return false;
    if (this.#machine.instances >= budget.instances) return false;
    this.#take(memoryMb);
    return true;
  }

  giveBack(memoryMb: number): void {
    this.#machine.usedMb -= memoryMb;
    this.#machine.instances--;
    this.#pump();
  }

  busy(): boolean {
    return this.#startsUnderWay > 0 || this.#hungry.size > 0;
  }

  // What the platform's user sees.

  instances(filter: { namespace?: string; name?: string } = {}): InstanceView[] {
    const views: InstanceView[] = [];
    for (const fleet of this.#fleets.all()) {
      const { namespace, name, number: revision } = fleet.revision;
      if (filter.namespace !== undefined && filter.namespace !== namespace) continue;
      if (filter.name !== undefined && filter.name !== name) continue;
      for (const worker of fleet.workers) views.push(viewOf(worker, this.clock));
      for (const [id, startedAt] of fleet.starting) {
        views.push({ id, namespace, name, revision, state: "starting", running: 0, startedAt });
      }
    }
    return views;
  }

  artifacts(): ReadonlySet<string> {
    return new Set([...this.#fleets.all()].map(({ revision }) => revision.artifact));
  }

  waiting(id: FunctionId): number {
    return this.#fleets.of(id).reduce((sum, fleet) => sum + fleet.line.size, 0);
  }

  prewarmed(): { runtime: string; memoryMb: number; ready: number; starting: number }[] {
    return this.#stemCells.view();
  }

  decisions(id: FunctionId): { at: number; from: number; to: number; reason: string }[] {
    return this.#scalingLog.newestFirst(id);
  }

  async usage(id: FunctionId): Promise<{ cpu: number; memoryBytes: number }> {
    const workers = this.#fleets.of(id).flatMap((fleet) => [...fleet.workers]);
    const look = (): Promise<ProgramUsage>[] => workers.map((worker) => worker.instance.usage());
    const began = this.clock.monotonic();
    const before = await Promise.allSettled(look());
    if (workers.length > 0) await new Promise<void>((resolve) => this.clock.after(usageLookMs, resolve));
    const after = await Promise.allSettled(look());
    const passedMs = Math.max(1, this.clock.monotonic() - began);
    let [cpuMicros, memoryBytes] = [0, 0];
    for (const [index, late] of after.entries()) {
      const early = before[index]!;
      // One that is gone meanwhile uses nothing any more.
      if (late.status !== "fulfilled" || early.status !== "fulfilled") continue;
      cpuMicros += Math.max(0, late.value.cpuMicros - early.value.cpuMicros);
      memoryBytes += late.value.memoryBytes;
    }
    return { cpu: cpuMicros / 1000 / passedMs, memoryBytes };
  }

  wanted(id: FunctionId): number {
    let wanted = 0;
    for (const fleet of this.#fleets.of(id)) if (fleet.serving) wanted += fleet.target ?? fleet.min;
    return wanted;
  }

  async scale(id: FunctionId, instances: number): Promise<boolean> {
    const state = await this.#options.functions.get(id);
    let isSet = false;
    for (const { revision: number, weight } of state?.traffic ?? []) {
      const revision = weight > 0 ? await this.#options.functions.revision(id, number) : undefined;
      if (revision !== undefined && !this.draining)
        isSet = this.#scaler.set(this.fleetOf(revision), instances) || isSet;
    }
    return isSet;
  }

  memory(): { usedMb: number; budgetMb: number } {
    return { usedMb: this.#machine.usedMb, budgetMb: this.#options.budget.memoryMb };
  }

  // Starting.

  /** Starts instances for those who want them, in turn, as far as the machine allows. `all`: those too that only time could help. */
  #pump(all = true): void {
    if (this.#pumping) return;
    this.#pumping = true;
    try {
      let progress = true;
      while (progress) {
        progress = false;
        // A copy: those that get an instance go to the end of the set.
        const round = this.#crowd.inTurn([...this.#hungry]);
        for (const fleet of round) {
          if (this.#startsUnderWay >= this.#maxStarts) return;
          if (!all && fleet.patient) continue;
          if (this.#startOne(fleet)) progress = true;
        }
      }
    } finally {
      this.#pumping = false;
    }
  }

  #startOne(fleet: Fleet): boolean {
    const now = this.clock.monotonic();
    const { config } = fleet.revision;
    // A trial start is the deploy's, whatever the policy.
    if (fleet.trials === 0 && fleet.serving) this.#scaler.attend(fleet);
    const { start, reason } = this.#missing(fleet, now);
    if (start === 0) {
      this.#crowd.leave(fleet);
      fleet.obstacle = reason;
      fleet.patient = fleet.line.size > fleet.starting.size * config.limits.concurrency;
      // With calls in line the question comes up again as time goes on.
      if (fleet.line.size === 0) this.#hungry.delete(fleet);
      return false;
    }
    if (now < fleet.notBefore) {
      fleet.obstacle = `the last start failed, the next is tried in ${Math.ceil(fleet.notBefore - now)} ms`;
      fleet.patient = true;
      return false;
    }
    const cell = this.#stemCells.take(fleet);
    if (cell === undefined && !this.#makeRoom(fleet)) return false;
    this.#crowd.leave(fleet);
    this.#record(fleet, 1, cell === undefined ? reason : `${reason}; a prewarmed one was there`);
    this.#startsUnderWay++;
    fleet.patient = false;
    void this.#start(fleet, cell);
    this.#hungry.delete(fleet);
    this.#hungry.add(fleet);
    return true;
  }

  #missing(fleet: Fleet, now: number): ScaleDecision {
    const { limits, scaling } = fleet.revision.config;
    const waiting = fleet.line.size;
    const counts = { waiting, ready: fleet.ready, starting: fleet.starting.size, failures: fleet.failures };
    if (fleet.target !== undefined && fleet.trials === 0) {
      return decideTowards({ ...counts, target: fleet.target, why: fleet.why });
    }
    const first = fleet.line.first;
    return decideStarts({
      ...counts,
      oldestWaitMs: first === undefined ? 0 : now - first.waitingSince,
      concurrency: limits.concurrency,
      min: fleet.min,
      max: scaling.max,
      idle: fleet.idle,
      spare: fleet.spareNow,
      typicalRunMs: fleet.typicalRunMs,
      typicalStartMs: fleet.typicalStartMs,
    });
  }

  /** True: the memory is taken for one more instance of the fleet. */
  #makeRoom(fleet: Fleet): boolean {
    const { memoryMb } = fleet.revision.config.limits;
    const { budget } = this.#options;
    const placement: Placement<Worker | StemCell> = place(
      memoryMb,
      { ...this.#machine, budgetMb: budget.memoryMb, budgetInstances: budget.instances },
      // What nobody waits for takes nothing from others, but for the floor that was asked for.
      () => (fleet.line.size > 0 || fleet.ready < fleet.min ? this.#evictable(fleet) : []),
    );
    if (placement.kind === "start") {
      this.#take(memoryMb);
      return true;
    }
    fleet.obstacle = placement.reason;
    fleet.patient = true;
    // Its policy asks again at the next tick, and one to spare with the next call.
    if (fleet.line.size === 0 && (fleet.target !== undefined || fleet.ready >= fleet.min)) this.#hungry.delete(fleet);
    if (placement.kind === "wait" && placement.evict.length === 0 && fleet.line.size > 0) this.#crowd.join(fleet);
    if (placement.kind === "never") {
      this.#hungry.delete(fleet);
      fleet.refuseLine(
        new VirgaError("no_instance", `No instance of ${fleet.revision.name} can start: ${placement.reason}`, {
          field: "limits.memoryMb",
          fix: "Lower limits.memoryMb, or give the platform a larger budget.",
        }),
      );
      return false;
    }
    for (const item of placement.evict) {
      if (!(item instanceof Worker)) {
        this.#evictCell(item);
        continue;
      }
      const rank = this.#priorityOf(item);
      if (rank !== undefined) this.#greedyDual.gone(rank, this.clock.monotonic());
      this.stop(item, `its memory was needed for ${fleet.revision.name}`, 0);
    }
    return false;
  }

  /** What is on its way out leaves room for one more of this size. */
  #roomIsComing(memoryMb: number): boolean {
    const { usedMb, leavingMb, instances, leavingInstances } = this.#machine;
    const { budget } = this.#options;
    return usedMb - leavingMb + memoryMb <= budget.memoryMb && instances - leavingInstances < budget.instances;
  }

  #evictCell(cell: StemCell): void {
    this.#machine.leavingMb += cell.memoryMb;
    this.#machine.leavingInstances++;
    void this.#stemCells.evict(cell).finally(() => {
      this.#machine.leavingMb -= cell.memoryMb;
      this.#machine.leavingInstances--;
    });
  }

  #evictable(needy: Fleet): Evictable<Worker | StemCell>[] {
    const now = this.clock.monotonic();
    // Blank ones save less than any that has its code.
    const all: Evictable<Worker | StemCell>[] = this.#stemCells
      .waiting()
      .map((item) => ({ item, memoryMb: item.memoryMb, worth: 0 }));
    for (const fleet of this.#fleets.all()) {
      if (fleet === needy) continue;
      let spare = fleet.ready - fleet.min;
      for (const worker of fleet.workers) {
        if (spare <= 0) break;
        if (worker.calls.size > 0 || worker.state !== "ready") continue;
        if (!mayBeTaken(now - worker.idleSince, needy.ready)) continue;
        spare--;
        const { coldStartMs, initMs, startedAt } = worker.birth;
        const worth = worthOfKeeping({
          idleMs: now - worker.idleSince,
          memoryMb: worker.memoryMb,
          startMs: fleet.typicalStartMs ?? coldStartMs + initMs,
          served: worker.served,
          ageMs: Math.max(0, this.clock.now() - startedAt),
        });
        const rank = this.#priorityOf(worker);
        all.push({ item: worker, memoryMb: worker.memoryMb, worth, ...(rank !== undefined && { priority: rank }) });
      }
    }
    return inOrderOfPriority(all);
  }

  /** Of an idle instance under the policy `greedy-dual`. */
  #priorityOf({ fleet, idleSince, memoryMb, birth }: Worker): number | undefined {
    if (fleet.revision.config.scaling.keepAlive?.policy !== "greedy-dual") return undefined;
    const startMs = fleet.typicalStartMs ?? birth.coldStartMs + birth.initMs;
    return priority(this.#greedyDual.at(idleSince), fleet.uses, { memoryMb, startMs });
  }

  async #start(fleet: Fleet, cell: StemCell | undefined, ahead = false): Promise<void> {
    const begun = this.clock.monotonic();
    const startedAt = this.clock.now();
    const { config } = fleet.revision;
    const { id, wiring } = cell === undefined ? this.wiring() : { id: cell.instance.id, wiring: cell.wiring };
    wiring.fleet = fleet;
    fleet.starting.set(id, startedAt);
    let instance: Instance | undefined = cell?.instance;
    try {
      const belongings = this.starter.belongings(fleet.revision);
      belongings.catch(() => undefined); // awaited below; this is for the case that the start fails before
      const { runtime, limits, network } = config;
      instance ??= await this.starter.blank({ id, runtime, limits, network, events: wiring });
      const ready = await belongings;
      const loading = this.clock.monotonic();
      await this.starter.specialise(instance, fleet.revision, ready);
      const now = this.clock.monotonic();
      const worker = new Worker(
        fleet,
        instance,
        { startedAt, coldStartMs: loading - begun, initMs: now - loading },
        now,
      );
      wiring.worker = worker;
      // The first call finds it warm, unless it came while this one started.
      if (ahead && fleet.line.size === 0) worker.fresh = false;
      this.#startEnded(fleet, id);
      void this.#watch(worker, wiring);
      fleet.enlist(worker);
      if (worker.capacity === 1) this.#begin(worker, cell);
      if (worker.state !== "gone") this.#affinity?.add(worker);
      // Its revision was replaced while it started, and nobody has waited for it.
      if (!fleet.serving && fleet.trials === 0 && worker.calls.size === 0) worker.retire(noTraffic);
      if (this.#outdated.has(id)) worker.retire("a secret was changed while it started");
    } catch (thrown) {
      if (instance !== undefined) await this.starter.end(instance);
      this.#startEnded(fleet, id);
      this.#startFailed(fleet, asVirgaError(thrown), begun);
      this.giveBack(config.limits.memoryMb);
    }
    this.#outdated.delete(id);
    this.#pump();
    this.#stemCells.refill();
  }

  #startEnded(fleet: Fleet, id: string): void {
    fleet.starting.delete(id);
    this.#startsUnderWay--;
  }

  /**
   * A failure of the user's code fails the calls that the start was for, unless other instances serve them.
   * One of the platform is tried again first. From the third in a row on, everybody in line is told.
   */
  #startFailed(fleet: Fleet, error: VirgaError, begun: number): void {
    // Several of one burst are one failure.
    if (begun > fleet.failedAt) {
      fleet.failures++;
      fleet.failedAt = this.clock.monotonic();
      fleet.notBefore = fleet.failedAt + startBackoffMs(fleet.failures);
    }
    this.#record(fleet, 0, `a start failed: ${error.message}`);
    this.log.warn("an instance could not start", { function: fleet.key, failures: fleet.failures, error });
    if (fleet.ready === 0) {
      const shown = startError(error);
      if (fleet.failures >= startFailuresToGiveUp) fleet.refuseLine(shown);
      else if (fleet.trials > 0 || error.kind === "user" || error.kind === "limit") {
        fleet.refuseLine(shown, fleet.revision.config.limits.concurrency);
      }
    }
    if (fleet.line.size > 0 || fleet.floor > 0) this.hungry(fleet);
  }

  // Ending.

  async #stop(worker: Worker, graceMs: number): Promise<void> {
    try {
      await worker.instance.stop(graceMs);
    } catch (thrown) {
      this.log.error("an instance could not be stopped", { instance: worker.id, error: asVirgaError(thrown) });
    }
    this.#machine.leavingMb -= worker.memoryMb;
    this.#machine.leavingInstances--;
    this.giveBack(worker.memoryMb);
  }

  /** Sees an instance die by itself. */
  async #watch(worker: Worker, wiring: Wiring): Promise<void> {
    const report = await worker.instance.exited;
    // Its link knows best what became of the calls on it, and answers may still be on the way; this is for what it forgot.
    if (worker.calls.size > 0) this.clock.after(lastWordsMs, () => wiring.lose(exitError(report, worker)));
    if (worker.state === "gone") return;
    this.#record(worker.fleet, -1, report.outOfMemory ? "it ran out of memory" : "its program ended");
    this.#dismiss(worker);
    this.giveBack(worker.memoryMb);
  }

  #dismiss(worker: Worker): void {
    worker.state = "gone";
    worker.forget();
    this.#affinity?.remove(worker);
    worker.fleet.dismiss(worker);
    if (worker.fleet.floor > 0) this.hungry(worker.fleet);
    if (this.draining && this.#quiet()) this.#whenQuiet?.();
  }

  #close(fleet: Fleet, reason: string): void {
    this.#fleets.close(fleet);
    fleet.serving = false;
    fleet.min = 0;
    this.#disregard(fleet);
    for (const worker of fleet.workers) worker.retire(reason);
    this.#wake(idleTickMs);
  }

  #disregard(fleet: Fleet): void {
    if (!fleet.periodic) return;
    this.#scaler.forget(fleet);
    this.#scalingLog.stand(fleet.revision);
  }

  #secretChanged(namespace: string, name: string): void {
    for (const fleet of this.#fleets.all()) {
      if (fleet.revision.namespace !== namespace || !fleet.revision.config.secrets.includes(name)) continue;
      for (const worker of fleet.workers) worker.retire(`secret ${name} was changed`);
      for (const id of fleet.starting.keys()) this.#outdated.add(id);
      if (fleet.floor > 0) this.hungry(fleet);
    }
  }

  // Keeping house.

  /** Looks around `delayMs` from now at the latest. */
  #wake(delayMs: number): void {
    const at = this.clock.monotonic() + delayMs;
    if (at >= this.#tickAt) return;
    this.#tick?.cancel();
    this.#tickAt = at;
    this.#tick = this.clock.after(delayMs, () => {
      this.#tickAt = Number.POSITIVE_INFINITY;
      this.#keepHouse();
    });
  }

  #keepHouse(): void {
    const now = this.clock.monotonic();
    // Who waits is looked at more often than who idles.
    const isDue = this.#hungry.size === 0 || now - this.#tidiedAt >= idleTickMs;
    const instances = !isDue || this.#tidy(now);
    if (this.#hungry.size > 0) this.#pump();
    if (this.#hungry.size > 0) this.#wake(hungryTickMs);
    else if (instances) this.#wake(idleTickMs);
    else if (this.#fleets.all().size > 0) this.#wake(emptyTickMs);
  }

  /** Ends what idles too long, and forgets fleets that are nothing any more. False: there are no instances. */
  #tidy(now: number): boolean {
    this.#tidiedAt = now;
    let instances = false;
    for (const fleet of this.#fleets.all()) {
      if (fleet.workers.size > 0) {
        instances = true;
        this.#reap(fleet, now);
      } else if (fleet.empty && (fleet.closed || this.#forgettable(fleet, now))) {
        if (!fleet.closed) this.#disregard(fleet);
        this.#fleets.remove(fleet);
      }
    }
    return instances;
  }

  #forgettable(fleet: Fleet, now: number): boolean {
    return fleet.min === 0 && !this.#scaler.keeps(fleet) && now - fleet.lastUsed > forgetAfterMs;
  }

  #reap(fleet: Fleet, now: number): void {
    // Its policy says who goes.
    if (fleet.target !== undefined) return;
    const { keepAliveMs } = fleet.revision.config.scaling;
    const { habit } = fleet;
    let { ready, idle } = fleet;
    const spare = fleet.spareNow;
    // In the order of their start: of equally idle ones the oldest goes.
    for (const worker of fleet.workers) {
      if (worker.calls.size > 0 || worker.state !== "ready") continue;
      if (idle <= spare) return;
      // The last one is the policy's; those beside it are kept for a fixed time.
      const reason =
        habit?.known === true && ready === 1 && fleet.min === 0
          ? habit.reasonToStop(fleet, now)
          : reasonToStop({ idleMs: now - worker.idleSince, keepAliveMs, ready, min: fleet.min });
      if (reason === undefined) continue;
      ready--;
      idle--;
      this.stop(worker, reason, retireGraceMs);
    }
  }

  /** CPU time of the start is no call's. Where most of it is known the rest can wait: a caller does, too. */
  #begin(worker: Worker, cell: StemCell | undefined): void {
    if (cell === undefined) return void this.#baseline(worker);
    worker.startCpuMicros = cell.cpuMicros;
    this.clock.after(baselineDelayMs, () => void this.#baseline(worker));
  }

  async #baseline(worker: Worker): Promise<void> {
    try {
      const { cpuMicros } = await worker.instance.usage();
      worker.startCpuMicros = Math.max(0, cpuMicros - worker.accountedCpuMicros);
    } catch {
      // It is gone already, and with it the calls that this would be taken from.
    }
  }

  #quiet(): boolean {
    for (const fleet of this.#fleets.all()) if (fleet.line.size > 0 || fleet.running > 0) return false;
    return true;
  }

  #take(memoryMb: number): void {
    this.#machine.usedMb += memoryMb;
    this.#machine.instances++;
  }

  #record(fleet: Fleet, change: number, reason: string): void {
    const from = fleet.workers.size + fleet.starting.size;
    this.#scalingLog.add(fleet.revision, { at: this.clock.now(), from, to: from + change, reason });
  }
}

function viewOf(worker: Worker, clock: Clock): InstanceView {
  const { namespace, name, number: revision } = worker.fleet.revision;
  const idle = worker.calls.size === 0;
  return {
    id: worker.id,
    namespace,
    name,
    revision,
    state: worker.state === "ready" ? (idle ? "idle" : "busy") : "draining",
    running: worker.calls.size,
    startedAt: worker.birth.startedAt,
    ...(idle ? { idleSince: Math.round(clock.now() - (clock.monotonic() - worker.idleSince)) } : {}),
  };
}

/** A start that took too long or too much memory is, to the caller, a failed start. */
function startError(error: VirgaError): VirgaError {
  if (error.code !== "timeout" && error.code !== "out_of_memory" && error.code !== "function_crashed") return error;
  return new VirgaError("start_failed", error.message, error.detail);
}

function exitError(report: ExitReport, worker: Worker): VirgaError {
  if (report.outOfMemory) {
    return new VirgaError("out_of_memory", `The instance went over its ${worker.memoryMb} MB and was ended`, {
      field: "limits.memoryMb",
      fix: "Raise limits.memoryMb, or keep less in memory.",
    });
  }
  const how = report.signal === null ? `with exit code ${report.code}` : `by signal ${report.signal}`;
  return new VirgaError("function_crashed", `The program ended ${how} before it had answered`);
}

const noTraffic = "its revision has no traffic any more";
/** While calls wait: a start that was not worth it may be now. */
const hungryTickMs = 10;
/** Precision of `keepAliveMs`. */
const idleTickMs = 250;
const emptyTickMs = 5000;
/** How long the habits of a function without instances are remembered. */
const forgetAfterMs = 60_000;
const usageLookMs = 200;
const baselineDelayMs = 5;
/** Links give a dead program's last bytes a quarter of this. */
const lastWordsMs = 1000;
