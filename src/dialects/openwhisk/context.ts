import type { Engine } from "../../engine/engine.ts";
import type { Blobs } from "../../ports/blobs.ts";
import type { Clock } from "../../ports/clock.ts";
import type { Log } from "../../ports/log.ts";
import type { Records } from "../../ports/records.ts";
import type { Deployments } from "./deployment.ts";
import type { EntityStore } from "./entity-store.ts";
import type { Firing, RuleDocuments } from "./fire.ts";
import type { Invocations } from "./invocation.ts";
import type { Documents } from "./resolution.ts";
import type { Subjects } from "./subjects.ts";
import type { Throttles } from "./throttle.ts";

/** What the dialect's handlers work with; one object for its life. */
export interface WhiskContext {
  readonly engine: Engine;
  readonly records: Records;
  readonly blobs: Blobs;
  readonly clock: Clock;
  readonly log: Log;
  readonly entities: EntityStore;
  readonly documents: Documents & RuleDocuments;
  readonly subjects: Subjects;
  readonly throttles: Throttles;
  readonly deployments: Deployments;
  readonly invocations: Invocations;
  readonly firing: Firing;
}
