/** Deployments as functions of the engine: the image's files, the watchdog's guest beside them, and settings. */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { packTar } from "modern-tar";
import type { FunctionConfig } from "../../core/model.ts";
import type { FunctionSettings } from "../../engine/engine.ts";
import { type Deployment, durationMs, memoryMb, processors } from "./deployment.ts";
import { forkServer } from "./fork-server.ts";
import type { Image } from "./images.ts";
import { secretVariable } from "./names.ts";
import { readProbes } from "./probe-annotations.ts";
import { readRetryAnnotations } from "./retry-annotations.ts";
import { readScaleLabels } from "./scale-labels.ts";

/** Annotations of the engine's functions: the deployment, and the image as it was then; both as JSON. */
const deploymentNote = "openfaas.deployment";
const imageNote = "openfaas.image";

/** The deployment that a function was made of; undefined for one that came another way. */
export function deploymentOf(config: Pick<FunctionConfig, "annotations">): Deployment | undefined {
  const note = config.annotations[deploymentNote];
  return note === undefined ? undefined : (JSON.parse(note) as Deployment);
}

/** The image that a function was made of, whatever its name stands for by now. */
export function imageOf(config: Pick<FunctionConfig, "annotations">): Image | undefined {
  const note = config.annotations[imageNote];
  return note === undefined ? undefined : (JSON.parse(note) as Image);
}

/** Throws 400 for labels, annotations, limits and durations that make no sense. */
export function settingsOf(deployment: Deployment, image: Image, defaultMax: number): FunctionSettings {
  const environment = environmentOf(deployment, image);
  const inFlight = Number(environment["max_inflight"] ?? 0);
  const { limits, annotations } = deployment;
  readProbes(annotations);
  return {
    runtime: annotations?.[runtimeAnnotation] ?? "node",
    convention: "native",
    handler: `${guestFolder}/watchdog.mjs`,
    environment,
    secrets: (deployment.secrets ?? []).map(secretVariable),
    limits: {
      ...(limits?.memory ? { memoryMb: watchdogMb + memoryMb(limits.memory, "limits.memory") } : {}),
      ...(limits?.cpu ? { cpus: Math.max(leastCpus, processors(limits.cpu, "limits.cpu")) } : {}),
      // A handler in JavaScript has one thread; a server, or a process for each call, takes what there is.
      ...(limits?.cpu || image.entry === "express" ? {} : { cpus: Math.min(mostCpus, processorsAtStart) }),
      timeoutMs: timeoutOf(environment),
      startTimeoutMs,
      concurrency: inFlight > 0 ? inFlight : startsProcesses(image, environment) ? forksAtOnce : callsAtOnce,
      requestBytes: bodyBytes,
      responseBytes: bodyBytes,
      logBytes: 2 ** 20,
      queueLength: 100_000,
    },
    scaling: readScaleLabels(deployment.labels, defaultMax).settings,
    async: { ...readRetryAnnotations(annotations), maxAgeMs: 24 * 3_600_000 },
    network: "own",
    public: true,
    annotations: { [deploymentNote]: JSON.stringify(deployment), [imageNote]: JSON.stringify(image) },
  };
}

/** Laid over the image's files. */
export async function guestLayer(deployment: Deployment, image: Image): Promise<Uint8Array> {
  const environment = environmentOf(deployment, image);
  const settings = {
    watchdog: image.watchdog,
    entry: image.entry,
    workingDirectory: image.workingDirectory,
    readOnly: deployment.readOnlyRootFilesystem === true,
    ...readProbes(deployment.annotations),
    variables: Object.keys(environment),
    path: containerPath,
  };
  const files = [...guestFiles(), { name: "settings.json", body: Buffer.from(JSON.stringify(settings)) }];
  const isCopied = usesForker(image, environment) && environment["fork_server"] !== "false";
  const library = isCopied ? await forkServer() : undefined;
  if (library !== undefined) files.push({ name: "fork-server.so", body: library });
  return packTar(
    files.map(({ name, body }) => ({
      header: { name: `${guestFolder}/${name}`, size: body.length, mode: 0o644, mtime: new Date(0) },
      body,
    })),
  );
}

/** One for each call. */
function startsProcesses({ watchdog }: Image, environment: Readonly<Record<string, string>>): boolean {
  return watchdog === "classic" || forkingModes.has(environment["mode"] ?? "streaming");
}

/** See `guest/fork.mjs`: what is streamed is started by Node. */
function usesForker({ watchdog }: Image, { mode }: Readonly<Record<string, string>>): boolean {
  return watchdog === "classic" || mode === "serializing";
}

function environmentOf({ envProcess, envVars, service, namespace }: Deployment, image: Image): Record<string, string> {
  return {
    ...image.environment,
    ...(envProcess ? { fprocess: envProcess } : {}),
    OPENFAAS_NAME: service,
    OPENFAAS_NAMESPACE: namespace,
    ...envVars,
  };
}

/** The watchdog ends a call at its `exec_timeout`, with its own words; behind it the platform's deadline. */
function timeoutOf(environment: Readonly<Record<string, string>>): number {
  const longest = ["exec_timeout", "write_timeout", "read_timeout"].map((name) => {
    const text = environment[name];
    return text === undefined || text === "" ? 0 : durationMs(text, name);
  });
  return Math.min(Math.max(leastTimeoutMs, ...longest) + graceMs, longestTimeoutMs);
}

/** A name for the guest of this release. */
export function guestDigest(): string {
  const hash = createHash("sha256");
  for (const { name, body } of guestFiles()) hash.update(`${name}\0${body.length}\0`).update(body);
  return hash.digest("hex");
}

function guestFiles(): readonly { name: string; body: Buffer }[] {
  guest ??= readdirSync(new URL("guest/", import.meta.url))
    .filter((name) => /\.(?:mjs|py|c)$/.test(name))
    .toSorted()
    .map((name) => ({ name, body: readFileSync(new URL(`guest/${name}`, import.meta.url)) }));
  return guest;
}

let guest: readonly { name: string; body: Buffer }[] | undefined;

const guestFolder = ".openfaas";
/** For those who need another version of Node than the platform's: `node:22`. */
const runtimeAnnotation = "virga.runtime";
const containerPath = "/usr/local/bin:/usr/bin:/bin";
const forkingModes = new Set(["streaming", "serializing"]);
/** What the watchdog itself takes; a limit of OpenFaaS is the function's. */
const watchdogMb = 80;
const leastCpus = 0.05;
/** Without a limit of its own. */
/** Later this server may be held to one of them. */
const processorsAtStart = availableParallelism();
const mostCpus = 4;
const forksAtOnce = 32;
const callsAtOnce = 100;
const bodyBytes = 256 * 2 ** 20;
/** The gateway's `upstream_timeout`. */
const leastTimeoutMs = 60_000;
const graceMs = 5000;
const longestTimeoutMs = 24 * 3_600_000;
/** Frameworks such as Spring take their time. */
const startTimeoutMs = 60_000;
