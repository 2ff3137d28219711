import type { Command } from "../command.ts";
import { openwhiskUserCreate, openwhiskUserDelete, openwhiskUserGet, openwhiskUserList } from "./openwhisk.ts";
import { complete, completion } from "./completion.ts";
import { remove } from "./delete.ts";
import { deploy } from "./deploy.ts";
import { describe } from "./describe.ts";
import { dev } from "./dev.ts";
import { doctor } from "./doctor.ts";
import {
  deadLetters,
  invocationCancel,
  invocationGet,
  invocationList,
  invocationResult,
  invocationRevive,
} from "./invocation.ts";
import { invoke } from "./invoke.ts";
import { list } from "./list.ts";
import { logs } from "./logs.ts";
import { namespaceCreate, namespaceDelete, namespaceList } from "./namespace.ts";
import { create } from "./new.ts";
import { revisions } from "./revisions.ts";
import { rollback } from "./rollback.ts";
import { routeDelete, routeList, routeSet } from "./route.ts";
import { secretDelete, secretList, secretSet } from "./secret.ts";
import { simulate } from "./simulate.ts";
import { sourceDelete, sourceGet, sourceList, sourceSet } from "./source.ts";
import { status } from "./status.ts";
import {
  subscriptionDelete,
  subscriptionExplain,
  subscriptionGet,
  subscriptionList,
  subscriptionSeek,
  subscriptionSet,
} from "./subscription.ts";
import { tokenCreate, tokenDelete, tokenList, tokenShow } from "./token.ts";
import { topicCreate, topicDelete, topicEvents, topicGet, topicList, topicPublish } from "./topic.ts";
import { traffic } from "./traffic.ts";
import { up } from "./up.ts";
import { usage } from "./usage.ts";
import {
  workflowCancel,
  workflowDelete,
  workflowDeploy,
  workflowDescribe,
  workflowList,
  workflowRuns,
  workflowSignal,
  workflowStart,
} from "./workflow.ts";

/** Every command, in the order of `virga --help`. */
export const commands: readonly Command[] = [
  up,
  dev,
  create,
  deploy,
  invoke,
  list,
  describe,
  logs,
  revisions,
  rollback,
  traffic,
  remove,
  invocationList,
  invocationGet,
  invocationResult,
  invocationCancel,
  deadLetters,
  invocationRevive,
  secretSet,
  secretList,
  secretDelete,
  routeSet,
  routeList,
  routeDelete,
  topicCreate,
  topicList,
  topicGet,
  topicPublish,
  topicEvents,
  topicDelete,
  subscriptionSet,
  subscriptionList,
  subscriptionGet,
  subscriptionSeek,
  subscriptionExplain,
  subscriptionDelete,
  sourceSet,
  sourceList,
  sourceGet,
  sourceDelete,
  workflowDeploy,
  workflowStart,
  workflowList,
  workflowDelete,
  workflowRuns,
  workflowDescribe,
  workflowSignal,
  workflowCancel,
  usage,
  namespaceList,
  namespaceCreate,
  namespaceDelete,
  openwhiskUserCreate,
  openwhiskUserList,
  openwhiskUserGet,
  openwhiskUserDelete,
  tokenCreate,
  tokenList,
  tokenShow,
  tokenDelete,
  status,
  simulate,
  doctor,
  completion,
  complete,
];

/** Nouns whose commands are verbs. */
export const groups: Readonly<Record<string, string>> = {
  invocation: "calls: their records, results, dead letters",
  secret: "encrypted values for functions",
  route: "custom routes to functions",
  topic: "events, durable and in order",
  subscription: "events of a topic to a function",
  source: "timers that put events on topics",
  workflow: "durable programs of calls, and their runs",
  namespace: "tenants",
  token: "credentials",
  openwhisk: "what is OpenWhisk's alone",
  "openwhisk user": "users of OpenWhisk, and their keys",
};
