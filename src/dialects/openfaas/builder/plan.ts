/** What a build has to do: the stages that the last one needs, and what they begin with. */
import { lstat, readFile } from "node:fs/promises";
import { arch } from "node:os";
import { join } from "node:path";
import { VirgaError } from "../../../core/errors.ts";
import { type BaseImage, readImage } from "./base-image.ts";
import { findStage, parseDockerfile, type Stage, wrong } from "./dockerfile.ts";
import { type IgnoreRules, ignoreRules } from "./patterns.ts";
import { expand, readPairs, splitWords, type Variables } from "./words.ts";

export interface Plan {
  readonly ignored: IgnoreRules;
  /** `ARG` in front of `FROM`, and what every build knows of its platform. */
  readonly globals: Variables;
  /** In their order; the last one becomes the image. */
  readonly stages: readonly PlannedStage[];
}

export interface PlannedStage {
  readonly stage: Stage;
  /** The one that it begins with; else it begins with an image. */
  readonly parent: PlannedStage | undefined;
  readonly base: BaseImage;
  /** How often others need it. */
  uses: number;
}

/** Reads the Dockerfile of a context. Rejects with `build_failed`. */
export async function readPlan(context: string, buildArguments: Readonly<Record<string, string>>): Promise<Plan> {
  const text = await readPlain(context, "Dockerfile");
  if (text === undefined)
    throw new VirgaError("build_failed", "the build context has no Dockerfile", {
      fix: "Put a file named Dockerfile at its top, or use a template that has one.",
    });
  const { globals: lines, stages } = parseDockerfile(text);
  const globals = new Map(Object.entries(platformArguments()));
  for (const [name, value] of Object.entries(buildArguments)) if (globals.has(name)) globals.set(name, value);
  for (const { line, text: words } of lines) {
    for (const [name, value] of at(line, () => readArguments(words, globals))) {
      const given = buildArguments[name] ?? value;
      if (given !== undefined) globals.set(name, given);
    }
  }
  const planned: PlannedStage[] = [];
  for (const stage of stages) {
    const image = at(stage.from.line, () => expand(stage.image, globals));
    if (image === "")
      throw wrong(stage.from.line, `${stage.image} is empty`, "Give its ARG a value in front of the first FROM.");
    const parent = planned.findLast((other) => other.stage.name === image.toLowerCase());
    planned.push({ stage, parent, base: parent?.base ?? readImage(image), uses: 0 });
  }
  const needed = neededBy(planned.at(-1)!, planned);
  if (needed.size > mostStages)
    throw wrong(1, `the image needs more than ${mostStages} stages`, "Put some of them together.");
  const rules = (await readPlain(context, ".dockerignore")) ?? "";
  return { ignored: ignoreRules(rules.split(/\r?\n/)), globals, stages: planned.filter((stage) => needed.has(stage)) };
}

/** `ARG a b=1`: a name without a value gets one from elsewhere. */
export function readArguments(text: string, variables: Variables): [name: string, value: string | undefined][] {
  return splitWords(text).map((word) =>
    word.includes("=") ? readPairs(word, variables)[0]! : [expand(word, variables), undefined],
  );
}

/** Runs a step of reading; what it throws is at that line. */
export function at<T>(line: number, step: () => T): T {
  try {
    return step();
  } catch (error) {
    if (error instanceof VirgaError) throw error;
    throw wrong(line, (error as Error).message);
  }
}

function neededBy(last: PlannedStage, all: readonly PlannedStage[]): Set<PlannedStage> {
  const needed = new Set<PlannedStage>();
  const need = (planned: PlannedStage): void => {
    planned.uses++;
    if (needed.has(planned)) return;
    needed.add(planned);
    if (planned.parent !== undefined) need(planned.parent);
    const earlier = all.slice(0, planned.stage.index).map(({ stage }) => stage);
    for (const { flags } of planned.stage.instructions) {
      const from = findStage(earlier, flags.get("from") ?? "");
      if (from !== undefined) need(all[from.index]!);
    }
  };
  need(last);
  return needed;
}

async function readPlain(context: string, name: string): Promise<string | undefined> {
  const stats = await lstat(join(context, name)).catch(() => undefined);
  if (stats === undefined) return undefined;
  if (!stats.isFile() || stats.size > longestFile)
    throw new VirgaError("build_failed", `${name} is no plain file of at most ${longestFile} bytes`);
  return readFile(join(context, name), "utf8");
}

function platformArguments(): Record<string, string> {
  const target = arch() === "x64" ? "amd64" : arch();
  return Object.fromEntries(
    ["TARGET", "BUILD"].flatMap((side) => [
      [`${side}PLATFORM`, `linux/${target}`],
      [`${side}OS`, "linux"],
      [`${side}ARCH`, target],
      [`${side}VARIANT`, ""],
    ]),
  ) as Record<string, string>;
}

const longestFile = 2 ** 20;
/** Each may be as large as an image. */
const mostStages = 32;
