/** The builder of `faas-cli up`: a signed tar comes, an image is kept, and what was said on the way goes back. */
import { chmod, lstat, mkdir, mkdtemp, readFile, rename, rm } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { join } from "node:path";
import { asVirgaError, VirgaError } from "../../../core/errors.ts";
import type { Log } from "../../../ports/log.ts";
import { unpackTar } from "./archive.ts";
import { BuildAnswer } from "./build-answer.ts";
import { buildKey } from "./build-key.ts";
import { BuildTurns } from "./build-turns.ts";
import { buildImage, type BuiltImage, type ImageBuildRequest } from "./image-build.ts";
import { receiveUpload, type Refusal } from "./upload.ts";

export interface BuildEndpointOptions extends Pick<
  ImageBuildRequest,
  "cacheDirectory" | "sandbox" | "toolchain" | "timeoutMs" | "maxBytes"
> {
  /** Each build has a folder of its own below it, which goes with it. */
  readonly workDirectory: string;
  /** Keys that a build may be signed with. */
  readonly secrets: () => Promise<readonly string[]>;
  /** Values of sealed secrets, by name; throws `bad_request`. */
  readonly unseal: (envelope: string) => ReadonlyMap<string, Uint8Array>;
  /** Whether that very build is what is kept under the name. */
  readonly known: (image: string, key: string) => Promise<boolean>;
  readonly keep: (image: string, built: BuiltImage, key: string) => Promise<void>;
  readonly log: Log;
  /** How long an upload may pause. */
  readonly uploadPauseMs?: number;
  /** How many uploads may come at the same time: who may send one is known only at its end. */
  readonly mostUploads?: number;
  readonly maxUploadBytes?: number;
}

/**
 * POST of a build. Answers 401, 408 and 413 with a text for what is no build of ours. A build that fails says so in its last object;
 * where that is the only one, by its status, too.
 */
export async function serveBuild(
  options: BuildEndpointOptions,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const shared = placesOf(options);
  if (shared.uploads >= (options.mostUploads ?? 16)) {
    refuse(request, response, { status: 503, text: `${shared.uploads} builds are being sent already: try again` });
    return;
  }
  await mkdir(options.workDirectory, { recursive: true });
  const folder = await mkdtemp(join(options.workDirectory, "build-"));
  const left = new AbortController();
  response.once("close", () => left.abort());
  try {
    // Programs' users pass through it to what is mounted for them.
    await chmod(folder, 0o711);
    const file = join(folder, "upload.tar");
    shared.uploads++;
    const refusal = await receiveUpload(request, file, {
      secrets: await options.secrets(),
      pauseMs: options.uploadPauseMs ?? 30_000,
      mostMs: 10 * 60_000,
      maxBytes: options.maxUploadBytes ?? 256 * 2 ** 20,
    }).finally(() => shared.uploads--);
    if (refusal !== undefined) {
      refuse(request, response, refusal);
      return;
    }
    const answer = new BuildAnswer(response, /application\/x-ndjson/i.test(request.headers.accept ?? ""));
    try {
      await build(options, folder, file, answer, left.signal);
    } catch (error) {
      if (!(error instanceof VirgaError))
        options.log.error("a build failed", { image: answer.image, error: String(error) });
      fail(answer, asVirgaError(error));
    }
  } finally {
    await rm(folder, { recursive: true, force: true }).catch((error: unknown) =>
      options.log.warn("the folder of a build could not be removed", { folder, error: String(error) }),
    );
  }
}

async function build(
  options: BuildEndpointOptions,
  folder: string,
  file: string,
  answer: BuildAnswer,
  signal: AbortSignal,
): Promise<void> {
  const { maxBytes, toolchain } = options;
  const unpacked = join(folder, "unpacked");
  await mkdir(unpacked);
  await unpackTar(file, unpacked, { maxBytes: Math.max(maxBytes, unpackedBytes), maxFiles: unpackedFiles });
  await rm(file);
  const { image, buildArguments } = await readConfig(unpacked);
  answer.image = image;
  const context = join(folder, "context");
  await rename(join(unpacked, "context"), context).catch((error: unknown) => {
    throw new VirgaError("bad_request", "the tar has no folder context/", {
      cause: error,
      fix: "Send it with faas-cli, or as its documentation says.",
    });
  });
  // One of the clients packs it with the function's files, too.
  for (const name of [configName, secretsName]) await rm(join(context, name), { force: true, recursive: true });
  const secrets = await readSecrets(options, unpacked);

  const release = await placesOf(options).turns.take(image, signal, (reason) => answer.line(reason));
  try {
    const key = await buildKey({ context, buildArguments, toolchain });
    if (await options.known(image, key)) {
      answer.line(`${image} is unchanged since it was last built: that build is kept`);
      answer.succeed();
      return;
    }
    const stages = join(folder, "stages");
    await mkdir(stages);
    await chmod(stages, 0o711);
    await mkdir(options.cacheDirectory, { recursive: true });
    const began = performance.now();
    const built = await buildImage({
      ...options,
      context,
      buildArguments,
      secrets,
      workDirectory: stages,
      onLog: (line) => answer.line(line),
      signal,
    });
    await options.keep(image, built, key);
    answer.line(`built ${image} in ${((performance.now() - began) / 1000).toFixed(1)} s`);
    answer.succeed();
  } finally {
    release();
  }
}

async function readSecrets(
  { unseal }: BuildEndpointOptions,
  unpacked: string,
): Promise<ReadonlyMap<string, Uint8Array>> {
  try {
    return unseal(await readSmall(join(unpacked, secretsName), secretsName));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return new Map();
    throw error;
  }
}

async function readConfig(
  unpacked: string,
): Promise<{ image: string; buildArguments: Readonly<Record<string, string>> }> {
  const wrong = (what: string): VirgaError =>
    new VirgaError("bad_request", `${configName}: ${what}`, {
      field: configName,
      fix: "Send the build with faas-cli.",
    });
  let text: string;
  try {
    text = await readSmall(join(unpacked, configName), configName);
  } catch (error) {
    if (error instanceof VirgaError) throw error;
    throw wrong("it is not in the tar");
  }
  let config: { image?: unknown; buildArgs?: unknown } | null;
  try {
    config = JSON.parse(text) as typeof config;
  } catch (error) {
    throw wrong(`it is not JSON: ${(error as Error).message}`);
  }
  const { image, buildArgs } = config ?? {};
  if (typeof image !== "string" || !/^[\w][\w./:@-]{0,511}$/.test(image)) throw wrong("image is no name of an image");
  const given = buildArgs ?? {};
  if (
    typeof given !== "object" ||
    Array.isArray(given) ||
    Object.values(given).some((value) => typeof value !== "string")
  )
    throw wrong("buildArgs is no object of strings");
  return { image, buildArguments: given as Record<string, string> };
}

async function readSmall(file: string, name: string): Promise<string> {
  const { size } = await lstat(file);
  if (size <= longestSettings) return readFile(file, "utf8");
  throw new VirgaError("bad_request", `${name} is larger than ${longestSettings} bytes`, {
    field: name,
    fix: "Put what is large into the build context.",
  });
}

function fail(answer: BuildAnswer, { message, detail, status }: VirgaError): void {
  const reason = [message, detail.fix].filter((part) => part !== undefined).join(". ");
  answer.line(reason);
  answer.fail(reason, status);
}

function refuse(request: IncomingMessage, response: ServerResponse, { status, text }: Refusal): void {
  if (response.destroyed) return;
  const body = Buffer.from(`${text}\n`);
  response.writeHead(status, { "content-type": "text/plain; charset=utf-8", "content-length": body.length });
  response.end(body);
  if (request.complete) return;
  // What is still coming is read for a while: closing the socket at once could take the answer with it.
  setTimeout(() => {
    if (!request.complete) request.socket.destroy();
  }, lingerMs).unref();
  request.resume();
}

/** What all builds share whose images are kept in the same place. */
function placesOf({ keep }: BuildEndpointOptions): Places {
  const known = places.get(keep) ?? { turns: new BuildTurns(buildsAtATime), uploads: 0 };
  places.set(keep, known);
  return known;
}

interface Places {
  readonly turns: BuildTurns;
  /** Under way. */
  uploads: number;
}

const places = new WeakMap<BuildEndpointOptions["keep"], Places>();
const buildsAtATime = 2;
const longestSettings = 2 ** 20;
const lingerMs = 10_000;
const configName = "com.openfaas.docker.config";
const secretsName = "com.openfaas.secrets";
const unpackedBytes = 512 * 2 ** 20;
const unpackedFiles = 100_000;
