import type { ServerResponse } from "node:http";
import type { Turns } from "../../core/turns.ts";
import type { Engine } from "../../engine/engine.ts";
import type { CallPath } from "../../gateway/call-path.ts";
import type { Blobs } from "../../ports/blobs.ts";
import type { Clock } from "../../ports/clock.ts";
import type { Log } from "../../ports/log.ts";
import type { Queue } from "../../ports/queue.ts";
import type { Records } from "../../ports/records.ts";
import type { BuildKey } from "./build-secrets.ts";
import type { BuildEndpointOptions } from "./builder/endpoint.ts";
import type { Callbacks } from "./callbacks.ts";
import type { CallCounts } from "./call-counts.ts";
import type { Images } from "./images.ts";
import type { LooseLines } from "./loose-lines.ts";
import type { Namespaces } from "./namespaces.ts";
import type { FunctionStoreDocument } from "./stores/function-store.ts";
import type { TemplateStore } from "./stores/template-store.ts";

/** What the dialect works with, once the engine is there. */
export interface FaasContext {
  readonly engine: Engine;
  readonly records: Records;
  readonly blobs: Blobs;
  readonly queue: Queue;
  readonly clock: Clock;
  readonly log: Log;
  readonly identify: () => string;
  readonly version: string;
  readonly path: CallPath;
  readonly images: Images;
  /** Replicas of a function whose labels name no maximum. */
  readonly defaultMax: number;
  readonly namespaces: Namespaces;
  readonly callbacks: Callbacks;
  readonly counts: CallCounts;
  readonly looseLines: LooseLines;
  /** One change of a function at a time, by `NAMESPACE/NAME`: a deploy, its events and its number of instances belong together. */
  readonly turn: Turns;
  /** Answers that end with their client, or with the platform. */
  readonly follows: Set<ServerResponse>;
  readonly builds: BuildEndpointOptions;
  readonly buildKey: BuildKey;
  readonly templates: TemplateStore;
  readonly functionStore: FunctionStoreDocument;
}
