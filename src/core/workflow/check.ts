import { VirgaError } from "../errors.ts";
import { isResourceName, quote } from "../names.ts";
import { closest } from "../spelling.ts";
import { type Json, type Step, workflowLimits, type WorkflowDefinition } from "./definition.ts";
import { isReference, parsePath } from "./expression.ts";

/** The document as a definition. Throws `invalid_field`, naming the place: `steps.2.call`. */
export function checkDefinition(document: unknown): WorkflowDefinition {
  const definition = object(document, "definition");
  const bytes = JSON.stringify(definition).length;
  if (bytes > workflowLimits.definitionBytes) {
    fail("definition", `is larger than ${workflowLimits.definitionBytes} bytes`, "Split it into several workflows.");
  }
  known(definition, "", ["description", "steps", "decider", "output", "timeoutMs"]);
  optionalText(definition, "description");
  optionalCount(definition, "timeoutMs", workflowLimits.longestWaitMs);
  const { steps, decider } = definition;
  if ((steps === undefined) === (decider === undefined)) {
    fail("steps", "or decider: a workflow has one of the two", "Give a list of steps, or the function that decides.");
  }
  if (decider !== undefined) {
    const { output } = definition;
    if (output !== undefined) fail("output", "is the decider's to give", "Leave it out.");
    const given = object(decider, "decider");
    known(given, "decider.", ["function", "protocol", "settings"]);
    functionName(given["function"], "decider.function");
    optionalText(given, "protocol", "decider.");
  } else {
    const checker = new Checker();
    const scope: Names = { names: new Set(), roots: new Set(["input", "previous", "workflow"]), outer: undefined };
    checker.block(steps, "steps", scope, 0);
    if (definition["output"] !== undefined) template(definition["output"] as Json, "output", scope);
  }
  return definition;
}

/** What references may name at a place. */
interface Names {
  readonly names: Set<string>;
  readonly roots: ReadonlySet<string>;
  readonly outer: Names | undefined;
}

class Checker {
  #steps = 0;

  block(given: unknown, field: string, outer: Names, depth: number, roots: readonly string[] = []): void {
    if (depth > workflowLimits.depth)
      fail(field, `lies more than ${workflowLimits.depth} blocks deep`, "Make the inner part a workflow of its own.");
    const list = Array.isArray(given) ? (given as readonly unknown[]) : [given];
    if (list.length === 0) fail(field, "has no step", "Give at least one.");
    const scope: Names = depth === 0 ? outer : { names: new Set(), roots: new Set(roots), outer };
    for (const [index, step] of list.entries()) {
      const at = Array.isArray(given) ? `${field}.${index}` : field;
      this.#step(object(step, at), at, scope, depth);
    }
  }

  #step(step: Readonly<Record<string, unknown>>, at: string, scope: Names, depth: number): void {
    if (++this.#steps > workflowLimits.steps)
      fail(at, `is step ${this.#steps} of at most ${workflowLimits.steps}`, "Split the workflow.");
    const kinds = Object.keys(fieldsOf).filter((kind) => kind in step);
    const [kind] = kinds;
    if (kind === undefined || kinds.length > 1) {
      fail(at, `needs exactly one of ${Object.keys(fieldsOf).join(", ")}`, "Say what the step does.");
    }
    known(step, `${at}.`, ["name", "retry", "catch", kind, ...fieldsOf[kind as Kind]]);
    const { name } = step;
    if (name !== undefined && (typeof name !== "string" || !stepName.test(name))) {
      fail(
        `${at}.name`,
        `${quote(name)} is no name of a step`,
        "Use a lower-case letter, then up to 62 of a-z, 0-9, '-' and '_'.",
      );
    }
    this.#kind(step as unknown as Step, at, scope, depth);
    this.#failures(step, at, scope, depth);
    if (typeof name !== "string") return;
    if (scope.names.has(name))
      fail(`${at}.name`, `${name} is taken by a step before it`, "Names are used once in a block.");
    scope.names.add(name);
  }

  #kind(step: Step, at: string, scope: Names, depth: number): void {
    if ("call" in step) {
      functionName(step.call, `${at}.call`);
      if (step.tag !== undefined) functionName(step.tag, `${at}.tag`);
      if (step.input !== undefined) template(step.input, `${at}.input`, scope);
      if (step.failWhen !== undefined) condition(step.failWhen, `${at}.failWhen`, undefined);
      if (step.stopWhen !== undefined) condition(step.stopWhen, `${at}.stopWhen`, undefined);
      if (step.preferWorkflow !== undefined && (step.preferWorkflow as unknown) !== true)
        fail(`${at}.preferWorkflow`, "is not true", "Write true, or leave it out.");
    } else if ("parallel" in step) {
      const branches = object(step.parallel, `${at}.parallel`, true);
      const keys = Object.keys(branches);
      if (keys.length === 0) fail(`${at}.parallel`, "has no branch", "Give at least one.");
      for (const key of keys) {
        if (!Array.isArray(branches) && !stepName.test(key))
          fail(
            `${at}.parallel.${key}`,
            "is no name of a branch",
            "Use lower-case letters, digits, '-' and '_', a letter first.",
          );
        this.block(branches[key], `${at}.parallel.${key}`, scope, depth + 1);
      }
      optionalCount(step, "concurrency", workflowLimits.tasks, at);
    } else if ("map" in step) {
      template(step.map, `${at}.map`, scope);
      this.block(step.do, `${at}.do`, scope, depth + 1, ["item", "index"]);
      optionalCount(step, "concurrency", workflowLimits.tasks, at);
    } else if ("choose" in step) {
      if (!Array.isArray(step.choose)) fail(`${at}.choose`, "is no list", "Give a list of { when, do }.");
      for (const [index, branch] of (step.choose as readonly unknown[]).entries()) {
        const field = `${at}.choose.${index}`;
        const given = object(branch, field);
        known(given, `${field}.`, ["when", "do"]);
        condition(given["when"], `${field}.when`, scope);
        this.block(given["do"], `${field}.do`, scope, depth + 1);
      }
      if (step.otherwise !== undefined) this.block(step.otherwise, `${at}.otherwise`, scope, depth + 1);
    } else if ("wait" in step) {
      if (typeof step.wait === "string") template(step.wait, `${at}.wait`, scope);
      const fits = typeof step.wait === "number" && step.wait >= 0 && step.wait <= workflowLimits.longestWaitMs;
      if (!fits && !(typeof step.wait === "string" && isReference(step.wait))) {
        fail(
          `${at}.wait`,
          "is no number of milliseconds",
          `Give 0 to ${workflowLimits.longestWaitMs}, or a reference.`,
        );
      }
    } else if ("event" in step) {
      eventName(step.event, `${at}.event`);
      optionalCount(step, "timeoutMs", workflowLimits.longestWaitMs, at);
    } else if ("workflow" in step) {
      functionName(step.workflow, `${at}.workflow`);
      if (step.input !== undefined) template(step.input, `${at}.input`, scope);
    } else if ("set" in step) {
      template(step.set, `${at}.set`, scope);
    } else {
      const given = object(step.fail, `${at}.fail`);
      known(given, `${at}.fail.`, ["code", "message"]);
      if (typeof given["message"] !== "string") fail(`${at}.fail.message`, "is missing", "Say what went wrong.");
      optionalText(given, "code", `${at}.fail.`);
    }
  }

  #failures(step: Readonly<Record<string, unknown>>, at: string, scope: Names, depth: number): void {
    if (step["retry"] !== undefined) {
      const retry = object(step["retry"], `${at}.retry`);
      known(retry, `${at}.retry.`, ["attempts", "backoffMs", "maxBackoffMs", "codes"]);
      optionalCount(retry, "attempts", 1000, `${at}.retry`);
      if (retry["attempts"] === undefined)
        fail(`${at}.retry.attempts`, "is missing", "Say how often to try, the first time counted.");
      for (const key of ["backoffMs", "maxBackoffMs"])
        optionalCount(retry, key, workflowLimits.longestWaitMs, `${at}.retry`, 0);
      codes(retry["codes"], `${at}.retry.codes`);
    }
    if (step["catch"] === undefined) return;
    if (!Array.isArray(step["catch"])) fail(`${at}.catch`, "is no list", "Give a list of { codes?, do }.");
    for (const [index, one] of (step["catch"] as readonly unknown[]).entries()) {
      const field = `${at}.catch.${index}`;
      const given = object(one, field);
      known(given, `${field}.`, ["codes", "do"]);
      codes(given["codes"], `${field}.codes`);
      this.block(given["do"], `${field}.do`, scope, depth + 1, ["error"]);
    }
  }
}

type Kind = "call" | "parallel" | "map" | "choose" | "wait" | "event" | "workflow" | "set" | "fail";

/** What each kind of step takes beside its own word, `name`, `retry` and `catch`. */
const fieldsOf: Readonly<Record<Kind, readonly string[]>> = {
  call: ["tag", "input", "failWhen", "stopWhen", "preferWorkflow"],
  parallel: ["concurrency"],
  map: ["do", "concurrency"],
  choose: ["otherwise"],
  wait: [],
  event: ["timeoutMs"],
  workflow: ["input"],
  set: [],
  fail: [],
};

const stepName = /^[a-z][a-z0-9_-]{0,62}$/;
const tests = ["path", "exists", "equals", "in", "above", "below", "atLeast", "atMost"];

/** What a signal may be called. */
export function isEventName(text: unknown): text is string {
  return typeof text === "string" && /^[\w.:-]{1,128}$/.test(text);
}

function condition(given: unknown, field: string, scope: Names | undefined): void {
  const test = object(given, field);
  for (const word of ["all", "any"] as const) {
    const list = test[word];
    if (list === undefined) continue;
    known(test, `${field}.`, [word]);
    if (!Array.isArray(list)) fail(`${field}.${word}`, "is no list", "Give a list of conditions.");
    for (const [index, one] of (list as readonly unknown[]).entries())
      condition(one, `${field}.${word}.${index}`, scope);
    return;
  }
  if (test["not"] !== undefined) {
    known(test, `${field}.`, ["not"]);
    condition(test["not"], `${field}.not`, scope);
    return;
  }
  known(test, `${field}.`, tests);
  const { path } = test;
  if (typeof path !== "string" || parsePath(path) === undefined) {
    fail(`${field}.path`, `${quote(path)} is no path`, "Write $.steps.NAME.field, $.input.list[0] or the like.");
  }
  if (scope !== undefined) reference(path, `${field}.path`, scope);
  for (const key of ["above", "below", "atLeast", "atMost"]) {
    const bound = test[key];
    if (bound !== undefined && typeof bound !== "number" && typeof bound !== "string") {
      fail(`${field}.${key}`, "is neither number nor text", "Compare with a number or a text.");
    }
  }
  if (test["in"] !== undefined && !Array.isArray(test["in"]))
    fail(`${field}.in`, "is no list", "Give a list of values.");
  if (test["exists"] !== undefined && typeof test["exists"] !== "boolean")
    fail(`${field}.exists`, "is no boolean", "Use true or false.");
}

function template(given: Json, field: string, scope: Names): void {
  if (typeof given === "string") {
    if (isReference(given)) reference(given, field, scope);
  } else if (given !== null && typeof given === "object") {
    for (const [key, value] of Object.entries(given)) template(value, `${field}.${key}`, scope);
  }
}

function reference(text: string, field: string, scope: Names): void {
  const parts = parsePath(text);
  if (parts === undefined || parts.length === 0) {
    fail(field, `${quote(text)} is no reference`, "Write $.input, $.steps.NAME.field or the like; $$ for a plain $.");
  }
  const [root, name] = parts.map(String) as [string, string?];
  const [roots, names] = seen(scope);
  if (root === "steps") {
    if (name !== undefined && names.includes(name)) return;
    const guess = name === undefined ? undefined : closest(name, names);
    fail(
      field,
      `there is no step ${quote(name ?? "")} before this one`,
      guess === undefined
        ? "Refer to a named step that comes before, in this block or one around it."
        : `Did you mean ${guess}?`,
    );
  }
  if (!roots.includes(root))
    fail(
      field,
      `there is no ${quote(`$.${root}`)} here`,
      `Use one of ${roots.map((one) => `$.${one}`).join(", ")} or $.steps.NAME.`,
    );
}

function seen(scope: Names): [string[], string[]] {
  const roots: string[] = [];
  const names: string[] = [];
  for (let at: Names | undefined = scope; at !== undefined; at = at.outer) {
    roots.push(...at.roots);
    names.push(...at.names);
  }
  return [roots, names];
}

function object(given: unknown, field: string, orList = false): Readonly<Record<string, unknown>> {
  if (given !== null && typeof given === "object" && (orList || !Array.isArray(given))) {
    return given as Readonly<Record<string, unknown>>;
  }
  return fail(field, `${quote(given)} is no object`, "Check the document.");
}

function known(given: object, prefix: string, fields: readonly string[]): void {
  for (const key of Object.keys(given)) {
    if (fields.includes(key)) continue;
    const guess = closest(key, fields);
    fail(
      `${prefix}${key}`,
      "is unknown here",
      guess === undefined ? `Use ${fields.join(", ")}.` : `Did you mean ${guess}?`,
    );
  }
}

function functionName(given: unknown, field: string): void {
  if (typeof given !== "string" || !isResourceName(given))
    fail(
      field,
      `${quote(given)} is no name`,
      "Use letters, digits and _ - . @ %, beginning with a letter, a digit or _.",
    );
}

function eventName(given: unknown, field: string): void {
  if (!isEventName(given))
    fail(field, `${quote(given)} is no name of an event`, "Use up to 128 letters, digits and _ . : -");
}

function codes(given: unknown, field: string): void {
  if (given === undefined) return;
  if (!Array.isArray(given) || given.some((code) => typeof code !== "string"))
    fail(field, "is no list of error codes", "Leave it out for any.");
}

function optionalText(given: object, key: string, prefix = ""): void {
  const value = (given as Readonly<Record<string, unknown>>)[key];
  if (value !== undefined && typeof value !== "string") fail(`${prefix}${key}`, "is no text", "Write a text.");
}

function optionalCount(given: object, key: string, most: number, at = "", least = 1): void {
  const value = (given as Readonly<Record<string, unknown>>)[key];
  if (value === undefined || (Number.isInteger(value) && (value as number) >= least && (value as number) <= most))
    return;
  fail(
    `${at === "" ? "" : `${at}.`}${key}`,
    `${quote(value)} is no whole number from ${least} to ${most}`,
    "Check it.",
  );
}

function fail(field: string, problem: string, fix: string): never {
  throw new VirgaError("invalid_field", `${field} ${problem}`, { field, fix });
}
