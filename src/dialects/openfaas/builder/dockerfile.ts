/** A Dockerfile as its stages. Variables are not replaced here: their values are known only when an instruction's turn comes. */
import { VirgaError } from "../../../core/errors.ts";

export interface Dockerfile {
  /** `ARG` lines in front of the first `FROM`, for the `FROM` lines. */
  readonly globals: readonly Instruction[];
  readonly stages: readonly Stage[];
}

export interface Stage {
  readonly index: number;
  /** In lower case, as Docker compares them. */
  readonly name: string | undefined;
  readonly from: Instruction;
  /** Not yet expanded. */
  readonly image: string;
  readonly instructions: readonly Instruction[];
}

export interface Instruction {
  /** In upper case. */
  readonly keyword: string;
  /** That of its first line. */
  readonly line: number;
  readonly flags: ReadonlyMap<string, string>;
  /** What stands behind keyword and flags, continuation lines joined. */
  readonly text: string;
  /** The JSON form's strings; undefined where it is the other form. */
  readonly json: readonly string[] | undefined;
}

/** Throws `build_failed` with the line and what is wrong there. */
export function parseDockerfile(text: string): Dockerfile {
  const globals: Instruction[] = [];
  const stages: (Stage & { instructions: Instruction[] })[] = [];
  for (const { line, text: logical } of logicalLines(text)) {
    const instruction = readInstruction(line, logical);
    check(instruction);
    if (stages.length >= mostStages) throw wrong(line, `there are more than ${mostStages} stages`);
    if (instruction.keyword === "FROM") stages.push({ ...readFrom(instruction, stages.length), instructions: [] });
    else if (stages.length > 0) stages.at(-1)!.instructions.push(instruction);
    else if (instruction.keyword === "ARG") globals.push(instruction);
    else throw wrong(line, `${instruction.keyword} stands in front of the first FROM`, "Begin with FROM IMAGE.");
  }
  if (stages.length === 0) throw wrong(1, "there is no FROM", "Begin with FROM IMAGE.");
  return { globals, stages };
}

export function wrong(line: number, what: string, fix?: string): VirgaError {
  return new VirgaError("build_failed", `Dockerfile:${line}: ${what}`, {
    location: `Dockerfile:${line}`,
    ...(fix === undefined ? {} : { fix }),
  });
}

/** An instruction as it stood there, for log lines and messages. */
export function written({ keyword, flags, text }: Instruction): string {
  const options = [...flags].map(([name, value]) => (value === "" ? `--${name} ` : `--${name}=${value} `));
  return `${keyword} ${options.join("")}${text}`.replaceAll(/\s+/g, " ").trim();
}

/** What a stage may be called by: its name, or its number. */
export function findStage(stages: readonly Stage[], name: string): Stage | undefined {
  const byName = stages.findLast((stage) => stage.name === name.toLowerCase());
  return byName ?? (/^\d+$/.test(name) ? stages[Number(name)] : undefined);
}

function* logicalLines(text: string): Generator<{ line: number; text: string }> {
  let start = 0;
  let joined = "";
  let open = false;
  for (const [index, physical] of text
    .replace(/^\uFEFF/, "")
    .split(/\r?\n/)
    .entries()) {
    // Directives are comments, too; a comment or an empty line does not end a continuation.
    if (/^\s*(#|$)/.test(physical)) continue;
    if (!open) start = index + 1;
    open = continues.test(physical);
    joined += open ? physical.replace(continues, "$1") : physical;
    if (open) continue;
    yield { line: start, text: joined.trim() };
    joined = "";
  }
  if (joined.trim() !== "") yield { line: start, text: joined.trim() };
}

function readInstruction(line: number, text: string): Instruction {
  const [, word = "", behind = ""] = /^(\S+)\s*([\s\S]*)$/.exec(text) ?? [];
  const keyword = word.toUpperCase();
  if (!keywords.has(keyword)) throw wrong(line, `${word} is no instruction`, `Use one of ${[...keywords].join(", ")}.`);
  const flags = new Map<string, string>();
  let rest = behind;
  if (flagged.has(keyword)) {
    for (
      let found = flag.exec(rest);
      found !== null;
      rest = rest.slice(found[0].length).trimStart(), found = flag.exec(rest)
    ) {
      const name = found[1]!;
      // The only flags that may stand there several times; they are lists, then.
      const before = flags.get(name);
      flags.set(name, before === undefined ? (found[2] ?? "") : `${before}\n${found[2] ?? ""}`);
    }
  }
  return { keyword, line, flags, text: rest, json: jsonForms.has(keyword) ? readJson(rest) : undefined };
}

function readJson(text: string): string[] | undefined {
  if (!text.startsWith("[")) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return Array.isArray(value) && value.every((part) => typeof part === "string") ? value : undefined;
  } catch {
    return undefined; // `[ -f x ] && …` is a shell's line
  }
}

function readFrom(from: Instruction, index: number): Pick<Stage, "index" | "name" | "from" | "image"> {
  const words = from.text.split(/\s+/);
  if ((words.length !== 1 && words.length !== 3) || (words.length === 3 && words[1]!.toLowerCase() !== "as"))
    throw wrong(from.line, `FROM takes an image and perhaps a name, not ${from.text}`, "Write FROM IMAGE AS NAME.");
  const name = words[2]?.toLowerCase();
  if (name !== undefined && !/^[a-z][a-z0-9._-]*$/.test(name))
    throw wrong(from.line, `${words[2]} is no name for a stage`, "Use letters, digits, dots, dashes, underscores.");
  return { index, name, from, image: words[0]! };
}

function check({ keyword, line, text, json }: Instruction): void {
  if (text === "" && keyword !== "HEALTHCHECK")
    throw wrong(line, `${keyword} says nothing`, `Write what ${keyword} is to do.`);
  if ((keyword === "RUN" || keyword === "COPY" || keyword === "ADD") && json === undefined && heredoc.test(text))
    throw wrong(
      line,
      `${keyword} with a here-document (<<) is not supported`,
      keyword === "RUN" ? "Join the commands with && and \\." : "Put the text into a file of the context and COPY it.",
    );
  if ((keyword === "COPY" || keyword === "ADD") && (json ?? text.split(/\s+/)).length < 2)
    throw wrong(line, `${keyword} needs a source and a destination`, `Write ${keyword} SOURCE… DESTINATION.`);
}

const keywords = new Set([
  "FROM",
  "ARG",
  "ENV",
  "COPY",
  "ADD",
  "RUN",
  "WORKDIR",
  "USER",
  "CMD",
  "ENTRYPOINT",
  "LABEL",
  "EXPOSE",
  "VOLUME",
  "HEALTHCHECK",
  "SHELL",
  "STOPSIGNAL",
  "MAINTAINER",
  "ONBUILD",
]);
const flagged = new Set(["FROM", "COPY", "ADD", "RUN", "HEALTHCHECK"]);
const jsonForms = new Set(["COPY", "ADD", "RUN", "CMD", "ENTRYPOINT", "SHELL", "VOLUME"]);
const flag = /^--([a-z][a-z-]*)(?:=(\S*))?(?=\s|$)/;
/** Two backslashes at the end are one, not a continuation. */
const continues = /(^|[^\\])\\[ \t]*$/;
const heredoc = /(?:^|\s)\d*<<-?(["']?)[A-Za-z_]\w*\1(?:\s|$)/;

const mostStages = 200;
