/** What each instruction does to the stage it stands in. */
import { chmod, mkdtemp, writeFile } from "node:fs/promises";
import { join, posix } from "node:path";
import { unpackTar } from "./archive.ts";
import { type BaseImage, readImage } from "./base-image.ts";
import { copyInto, type CopySource } from "./copy.ts";
import { findStage, type Instruction, wrong } from "./dockerfile.ts";
import type { ImageBuildRequest } from "./image-build.ts";
import { ignoreRules, nothingIgnored } from "./patterns.ts";
import { at, type Plan, readArguments } from "./plan.ts";
import { run, type RunSurroundings } from "./run.ts";
import type { BuildStage } from "./stage.ts";
import { StageTree } from "./stage-tree.ts";
import { findProgram, joined } from "./toolchain.ts";
import { expand, readPairs } from "./words.ts";

export class Instructions {
  readonly #request: ImageBuildRequest;
  readonly #plan: Plan;
  readonly #around: RunSurroundings;
  readonly #built: ReadonlyMap<number, BuildStage>;
  readonly #unused: Set<string>;
  copiedBytes = 0;
  /** Characters of all values that variables were given. */
  #givenLength = 0;

  constructor(
    request: ImageBuildRequest,
    plan: Plan,
    around: Omit<RunSurroundings, "proxies">,
    built: ReadonlyMap<number, BuildStage>,
  ) {
    this.#request = request;
    this.#plan = plan;
    const isProxy = ([name]: [string, string]): boolean => /^(https?|ftp|no|all)_proxy$/i.test(name);
    const given = Object.entries(request.buildArguments);
    this.#around = { ...around, proxies: Object.fromEntries(given.filter(isProxy)) };
    this.#built = built;
    this.#unused = new Set(given.filter((one) => !isProxy(one) && !plan.globals.has(one[0])).map(([name]) => name));
  }

  /** Rejects with an Error that says what is wrong, or `build_failed`. */
  async follow(stage: BuildStage, instruction: Instruction, index: number): Promise<void> {
    const { keyword, line, text, json } = instruction;
    const variables = stage.variables;
    switch (keyword) {
      case "ARG":
        return this.#argument(stage, instruction);
      case "ENV":
        for (const [name, value] of at(line, () => readPairs(text, variables)))
          stage.environment.set(name, this.#counted(line, value));
        return;
      case "WORKDIR": {
        const wanted = posix.resolve("/", stage.workingDirectory, expand(text, variables));
        stage.workingDirectory = await stage.tree.makeFolder(wanted);
        return;
      }
      case "USER":
        stage.user = expand(text, variables).split(":")[0]!.trim();
        return;
      case "SHELL":
        if (json === undefined || json.length === 0)
          throw wrong(line, "SHELL takes a JSON list", 'Write SHELL ["/bin/bash", "-c"].');
        stage.shell = json;
        return;
      case "CMD":
        stage.command = json ?? [...(stage.shell ?? ["/bin/sh", "-c"]), text];
        return;
      case "ENTRYPOINT":
        stage.entrypoint = json ?? [...(stage.shell ?? ["/bin/sh", "-c"]), text];
        stage.command = undefined;
        return;
      case "RUN":
        return run(stage, instruction, this.#around);
      case "COPY":
      case "ADD":
        return this.#copy(stage, instruction, index);
      case "ONBUILD":
        return this.#request.onLog("virga: ONBUILD is left out: no other image is built from this one");
      default:
        // LABEL, EXPOSE, HEALTHCHECK, VOLUME, STOPSIGNAL, MAINTAINER: about a container, which there is none of.
        return;
    }
  }

  sayUnused(): void {
    if (this.#unused.size > 0)
      this.#request.onLog(`build arguments that no ARG asks for: ${[...this.#unused].join(", ")}`);
  }

  #argument(stage: BuildStage, { line, text }: Instruction): void {
    for (const [name, value] of at(line, () => readArguments(text, stage.variables))) {
      this.#unused.delete(name);
      const given = this.#request.buildArguments[name] ?? value ?? this.#plan.globals.get(name);
      if (given !== undefined) stage.arguments.set(name, this.#counted(line, given));
    }
  }

  /** They hold one another, and would grow beyond any memory. */
  #counted(line: number, value: string): string {
    this.#givenLength += value.length;
    if (this.#givenLength <= mostGiven) return value;
    throw wrong(line, `the values of all variables come to more than ${mostGiven} characters`, "Write them to a file.");
  }

  async #copy(stage: BuildStage, instruction: Instruction, index: number): Promise<void> {
    const { keyword, line, flags, text, json } = instruction;
    const variables = stage.variables;
    const words = (json ?? text.split(/\s+/)).map((word) => at(line, () => expand(word, variables)));
    const destination = words.at(-1)!;
    const mode = modeOf(line, flags.get("chmod"));
    for (const name of flags.keys())
      if (!copyFlags.has(name)) throw wrong(line, `${keyword} --${name} is not supported`, "Leave it out.");
    const from = flags.get("from");
    const source = from === undefined ? undefined : this.#sourceOf(from, index);
    const files: string[] = [];
    for (const word of words.slice(0, -1)) {
      if (posix.basename(word) === "fwatchdog") this.#takeWatchdog(stage, line, source, from);
      else if (posix.basename(word) === "license-check" && from !== undefined) continue;
      else if (keyword === "ADD" && /^([a-z+]+:\/\/|git@)/i.test(word)) this.#add(stage, line, word);
      else if (source !== undefined && (source.stage === undefined || StageTree.isSystem(posix.resolve("/", word))))
        await this.#takeProgram(stage, line, word, destination, source);
      else files.push(word);
    }
    if (files.length === 0) return;
    const excluded = flags.get("exclude")?.split("\n");
    this.copiedBytes += await copyInto({
      from: this.#files(source, excluded),
      into: stage.tree,
      sources: files,
      destination,
      workingDirectory: stage.workingDirectory,
      mode,
      ...(keyword === "ADD" ? { unpack: (file: string) => this.#unpack(file) } : {}),
    });
  }

  #files(source: Source | undefined, excluded: readonly string[] | undefined): CopySource {
    const own = excluded === undefined ? nothingIgnored : ignoreRules(excluded);
    if (source?.stage !== undefined)
      return { tree: source.stage.tree, ignored: own, name: `the stage ${source.name}`, confined: false };
    const { ignored } = this.#plan;
    return {
      tree: new StageTree(this.#request.context),
      ignored: {
        ignores: (path) => ignored.ignores(path) || own.ignores(path),
        hasExceptions: ignored.hasExceptions || own.hasExceptions,
      },
      name: "the build context",
      confined: true,
    };
  }

  #sourceOf(name: string, index: number): Source {
    const earlier = this.#plan.stages.map(({ stage }) => stage).filter((stage) => stage.index < index);
    const byName = findStage(earlier, name);
    const planned = /^\d+$/.test(name) ? earlier.find((stage) => stage.index === Number(name)) : byName;
    const stage = planned === undefined ? undefined : this.#built.get(planned.index);
    return { name, stage, base: stage?.base ?? readImage(name) };
  }

  #takeWatchdog(stage: BuildStage, line: number, source: Source | undefined, from: string | undefined): void {
    if (source === undefined) {
      stage.watchdog = "unnamed";
      return this.#request.onLog("virga: the fwatchdog of the context is left out: the platform's own takes its place");
    }
    const watchdog = source.stage?.watchdog ?? source.base.watchdog;
    if (watchdog === undefined)
      throw wrong(
        line,
        `${from} has no fwatchdog`,
        "COPY --from=ghcr.io/openfaas/of-watchdog:0.10.7 /fwatchdog /usr/bin/fwatchdog",
      );
    stage.watchdog = watchdog;
  }

  #add(stage: BuildStage, line: number, url: string): void {
    if (!/\/fwatchdog[\w-]*$/.test(url))
      throw wrong(
        line,
        `ADD of ${url}: what is not in the build context is not fetched`,
        "Fetch it with RUN curl, or put it into the context.",
      );
    stage.watchdog = /of-watchdog/.test(url) ? "of" : "classic";
    this.#request.onLog(`virga: ${url} is not fetched: the platform's own watchdog takes its place`);
  }

  /** From an image, or a stage's part that is its image's: there are no such files, but the host may have the program. */
  async #takeProgram(
    stage: BuildStage,
    line: number,
    path: string,
    destination: string,
    source: Source,
  ): Promise<void> {
    const name = posix.basename(path);
    const toolchains = source.stage?.toolchains ?? [await this.#request.toolchain(source.base)];
    const found = path.endsWith("/") ? undefined : await findProgram(name, joined(toolchains));
    const wanted = posix.resolve("/", stage.workingDirectory, destination);
    const isSystem = StageTree.isSystem(await stage.tree.resolve(wanted));
    if (found === undefined) {
      // Templates take programs that only some functions need; a command that calls it says so, too.
      if (isSystem && /\/s?bin\/[^/*?[]+$/.test(path))
        return this.#request.onLog(`virga: this host has no program ${name}: a command that calls it will fail`);
      throw wrong(
        line,
        `${path} of ${source.name} is not here: images are not pulled, and this host has no program ${name}`,
        `Install ${name} on the host of the platform, or in the Dockerfile into a folder that is kept, such as /home/app.`,
      );
    }
    this.#request.onLog(`virga: ${name} is that of the host, ${found}`);
    stage.toolchains.push(...toolchains.filter((one) => !stage.toolchains.includes(one)));
    if (isSystem) return;
    const isFolder = destination.endsWith("/") || (await stage.tree.stats(wanted))?.isDirectory() === true;
    const folder = await stage.tree.makeFolder(isFolder ? wanted : posix.dirname(wanted));
    const file = posix.join(folder, isFolder ? name : posix.basename(wanted));
    await writeFile(stage.tree.hostPath(file), `#!/bin/sh\nexec ${found} "$@"\n`, { flag: "wx" });
    await chmod(stage.tree.hostPath(file), 0o755);
    await stage.tree.adopt(file);
  }

  async #unpack(file: string): Promise<string | undefined> {
    if (/\.(tar\.(bz2|xz|zst)|tbz2|txz)$/.test(file))
      throw new Error(`${posix.basename(file)} cannot be unpacked here: use a .tar or .tar.gz`);
    if (!/\.(tar|tar\.gz|tgz)$/.test(file)) return undefined;
    const folder = await mkdtemp(join(this.#request.workDirectory, "added-"));
    await unpackTar(file, folder, { maxBytes: this.#request.maxBytes, maxFiles: mostFiles });
    return folder;
  }
}

/** What COPY --from names: a stage, or an image whose programs the host may have. */
interface Source {
  readonly name: string;
  readonly stage: BuildStage | undefined;
  readonly base: BaseImage;
}

function modeOf(line: number, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^[0-7]{3,4}$/.test(text)) throw wrong(line, `--chmod=${text} is no octal mode`, "Write --chmod=755.");
  return Number.parseInt(text, 8) & 0o777;
}

const copyFlags = new Set(["from", "chown", "chmod", "link", "exclude", "checksum", "keep-git-dir"]);
const mostFiles = 100_000;
const mostGiven = 4 * 2 ** 20;
