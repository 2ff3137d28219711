/** A thread of `simulateInParts`. */
import { parentPort, workerData } from "node:worker_threads";
import { replayScaling } from "../simulator/scaling.ts";
import { SyntheticTrace } from "../simulator/synthetic.ts";
import { type ScalingNews, type ScalingPart, scalingContestants } from "./scaling-simulation.ts";

const { trace, policies } = workerData as ScalingPart;
// oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
const tell = (news: ScalingNews): void => parentPort!.postMessage(news);
const outcomes = await replayScaling(new SyntheticTrace(trace), scalingContestants(policies), (day) => tell({ day }));
tell({ outcomes });
