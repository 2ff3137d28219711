import { VirgaError } from "../errors.ts";
import type { ExpressionSettings } from "../model.ts";
import { closest } from "../spelling.ts";
import { metricKinds, type MetricName, metricNames, type Metrics } from "./metrics.ts";
import { heldBack, type RecentMaximum } from "./recent-maximum.ts";
import type { Series } from "./series.ts";
import { figure, instances, seconds, type Standing, type Verdict } from "./verdict.ts";

/** A formula over a function's metrics, ready to be worked out. */
export interface Expression {
  readonly text: string;
  /** The longest window that it looks back over; 0 where it looks at the newest second alone. */
  readonly windowMs: number;
  readonly metrics: ReadonlySet<MetricName>;
  /** May be no finite number: a division by nothing. */
  value(metrics: Metrics): number;
}

/**
 * Reads a formula in the manner of Prometheus: numbers, `+ - * / %`, comparisons (1 where they hold, else 0),
 * parentheses, the newest value of a gauge (`queue`), what came of a counter or gauge over a window
 * (`rate(requests[1m])`), and `max min ceil floor round abs clamp` of other formulas.
 * Throws `invalid_field` with the column, and what is allowed there.
 */
export function parseExpression(text: string): Expression {
  const parser = new Parser(text);
  const value = parser.whole();
  return { text, windowMs: parser.windowMs, metrics: parser.metrics, value };
}

/** The formula's value, rounded up, is the number of instances. Where calls are there, one at least. */
export function decideExpression(
  { downWindowMs }: ExpressionSettings,
  expression: Expression,
  recommended: RecentMaximum,
  metrics: Metrics,
  { ready, starting, running, waiting }: Standing,
  now: number,
): { readonly recommended: RecentMaximum; readonly verdict: Verdict } {
  const value = expression.value(metrics);
  if (Number.isNaN(value)) {
    const alone = ready + starting === 0 && running + waiting > 0;
    const reason = `${expression.text} is no number: ${alone ? "1 for the calls that are there" : "what is there stays"}`;
    return { recommended, verdict: { desired: alone ? 1 : undefined, reasons: [reason] } };
  }
  // 2.0000000000000004 is the 2 that was meant.
  const meant = Number.isFinite(value) ? value - Math.abs(value) * 1e-12 : value;
  let raw = Math.max(0, Math.ceil(meant));
  const reasons = [`${expression.text} is ${figure(value)}: ${instances(raw)}`];
  if (raw === 0 && running + waiting > 0) {
    raw = 1;
    reasons.push("calls are there: 1 at least");
  }
  const held = heldBack(recommended, now, raw, downWindowMs);
  if (held.value > raw) reasons.push(`${held.value} were wanted within ${seconds(downWindowMs)}`);
  return { recommended: held.recent, verdict: { desired: held.value, reasons } };
}

type Term = (metrics: Metrics) => number;

class Parser {
  windowMs = 0;
  readonly metrics = new Set<MetricName>();
  readonly #tokens: readonly Token[];
  #at = 0;
  #depth = 0;

  constructor(text: string) {
    this.#tokens = tokensOf(text);
  }

  whole(): Term {
    if (this.#tokens.length === 1) throw wrong(this.#peek, "the formula is empty", exampleFix);
    const term = this.#comparison();
    const rest = this.#peek;
    if (rest.kind !== "end") throw wrong(rest, `${shown(rest)} is not expected`, operatorFix);
    return term;
  }

  #comparison(): Term {
    return this.#chain(comparisons, () => this.#sum());
  }

  #sum(): Term {
    return this.#chain(sums, () => this.#product());
  }

  #product(): Term {
    return this.#chain(products, () => this.#unary());
  }

  /** Operators of one rank, worked off from the left. */
  #chain(operators: Operators, operand: () => Term): Term {
    let left = operand();
    for (;;) {
      const operator = this.#peek.kind === "sign" ? operators[this.#peek.text] : undefined;
      if (operator === undefined) return left;
      this.#at++;
      const first = left;
      const second = operand();
      left = (metrics) => operator(first(metrics), second(metrics));
    }
  }

  #unary(): Term {
    if (++this.#depth > deepest) throw wrong(this.#peek, `it is nested more than ${deepest} deep`, "write it flatter");
    try {
      if (!this.#take("-")) return this.#primary();
      const term = this.#unary();
      return (metrics) => -term(metrics);
    } finally {
      this.#depth--;
    }
  }

  #primary(): Term {
    const token = this.#peek;
    this.#at++;
    if (token.kind === "number") {
      const value = Number(token.text);
      return () => value;
    }
    if (token.kind === "sign" && token.text === "(") {
      const term = this.#comparison();
      this.#expect(")");
      return term;
    }
    if (token.kind !== "name") throw wrong(token, `${shown(token)} is not expected`, operandFix);
    return this.#take("(") ? this.#call(token) : this.#newest(token);
  }

  #newest(token: Token): Term {
    if (Object.hasOwn(functions, token.text) || Object.hasOwn(overWindows, token.text)) {
      throw wrong(token, `${token.text} is a function`, `write ${token.text}(…)`);
    }
    const name = this.#metric(token);
    if (this.#peek.text === "[") throw wrong(this.#peek, "a window stands inside of a function", windowFix(name));
    if (metricKinds[name] === "counter") throw wrong(token, `${name} is a counter`, windowFix(name));
    return (metrics) => metrics.of(name).latest;
  }

  #call(name: Token): Term {
    const known = [...new Set([...Object.keys(overWindows), ...Object.keys(functions)])];
    if (!known.includes(name.text)) throw wrong(name, `${name.text} is no function`, oneOf(name.text, known));
    const next = this.#tokens[this.#at + 1];
    if (this.#peek.kind === "name" && next?.text === "[") return this.#overWindow(name);
    const form = functions[name.text];
    if (form === undefined) {
      throw wrong(
        this.#peek,
        `${name.text} looks back over a window`,
        `write ${name.text}(${exampleOf(name.text)}[1m])`,
      );
    }
    const terms: Term[] = [];
    do terms.push(this.#comparison());
    while (this.#take(","));
    this.#expect(")");
    if (terms.length < form.least || terms.length > form.most) {
      const needs = form.least === form.most ? `${form.least}` : `${form.least} or more`;
      throw wrong(name, `${name.text} takes ${needs} values, not ${terms.length}`, `such as ${form.example}`);
    }
    return (metrics) => form.of(...terms.map((term) => term(metrics)));
  }

  /** `rate(requests[1m])`, the parenthesis being open. */
  #overWindow(name: Token): Term {
    const metric = this.#metric(this.#peek);
    const form = overWindows[name.text];
    const kind = metricKinds[metric];
    if (form?.kind !== kind) {
      throw wrong(name, `${name.text} is not for ${metric}, which is a ${kind}`, windowFix(metric));
    }
    this.#at++;
    this.#expect("[");
    const window = this.#peek;
    this.#at++;
    const windowMs = window.kind === "duration" ? durationMs(window.text) : Number.NaN;
    if (!(windowMs >= 1000 && windowMs <= longestWindowMs)) {
      throw wrong(window, `${shown(window)} is no window`, "use 1s to 1h, such as 30s, 5m or 1m30s");
    }
    this.#expect("]");
    this.#expect(")");
    this.windowMs = Math.max(this.windowMs, windowMs);
    return (metrics) => form.of(metrics.of(metric), windowMs);
  }

  #metric(token: Token): MetricName {
    const name = metricNames.find((known) => known === token.text);
    if (name === undefined) throw wrong(token, `${token.text} is no metric`, oneOf(token.text, metricNames));
    this.metrics.add(name);
    return name;
  }

  get #peek(): Token {
    return this.#tokens[this.#at] ?? this.#tokens.at(-1)!;
  }

  #take(sign: string): boolean {
    if (this.#peek.kind !== "sign" || this.#peek.text !== sign) return false;
    this.#at++;
    return true;
  }

  #expect(sign: string): void {
    if (!this.#take(sign))
      throw wrong(this.#peek, `${shown(this.#peek)} stands where ${sign} is missing`, `put ${sign} there`);
  }
}

interface Token {
  readonly kind: "number" | "duration" | "name" | "sign" | "end";
  readonly text: string;
  /** From 1. */
  readonly column: number;
}

function tokensOf(text: string): Token[] {
  if (text.length > longestText) {
    throw wrong({ kind: "end", text: "", column: longestText + 1 }, "it is too long", `use ${longestText} characters`);
  }
  const tokens: Token[] = [];
  for (const match of text.matchAll(tokenPattern)) {
    const [whole] = match;
    const column = match.index + 1;
    if (whole.trim() === "") continue;
    const kind = match.groups?.["duration"]
      ? "duration"
      : match.groups?.["number"]
        ? "number"
        : match.groups?.["name"]
          ? "name"
          : "sign";
    const token: Token = { kind, text: whole, column };
    if (kind === "sign" && !signs.has(whole)) throw wrong(token, `${shown(token)} means nothing here`, operatorFix);
    tokens.push(token);
  }
  return [...tokens, { kind: "end", text: "", column: text.length + 1 }];
}

type Operators = Readonly<Record<string, ((a: number, b: number) => number) | undefined>>;

const comparisons: Operators = {
  ">": (a, b) => Number(a > b),
  ">=": (a, b) => Number(a >= b),
  "<": (a, b) => Number(a < b),
  "<=": (a, b) => Number(a <= b),
  "==": (a, b) => Number(a === b),
  "!=": (a, b) => Number(a !== b),
};
const sums: Operators = { "+": (a, b) => a + b, "-": (a, b) => a - b };
const products: Operators = { "*": (a, b) => a * b, "/": (a, b) => a / b, "%": (a, b) => a % b };

const functions: Readonly<
  Record<string, { least: number; most: number; example: string; of: (...values: number[]) => number } | undefined>
> = {
  max: { least: 2, most: 16, example: "max(1, queue)", of: Math.max },
  min: { least: 2, most: 16, example: "min(10, queue)", of: Math.min },
  ceil: { least: 1, most: 1, example: "ceil(queue / 5)", of: Math.ceil },
  floor: { least: 1, most: 1, example: "floor(queue / 5)", of: Math.floor },
  round: { least: 1, most: 1, example: "round(queue / 5)", of: Math.round },
  abs: { least: 1, most: 1, example: "abs(queue - 5)", of: Math.abs },
  clamp: {
    least: 3,
    most: 3,
    example: "clamp(queue, 1, 10)",
    of: (value = 0, low = 0, high = 0) => Math.max(low, Math.min(high, value)),
  },
};

const overWindows: Readonly<
  Record<string, { kind: "counter" | "gauge"; of: (series: Series, windowMs: number) => number } | undefined>
> = {
  rate: { kind: "counter", of: (series, windowMs) => series.average(windowMs) },
  increase: { kind: "counter", of: (series, windowMs) => series.sum(windowMs) },
  avg: { kind: "gauge", of: (series, windowMs) => series.average(windowMs) },
  max: { kind: "gauge", of: (series, windowMs) => series.max(windowMs) },
  min: { kind: "gauge", of: (series, windowMs) => series.min(windowMs) },
};

function exampleOf(name: string): MetricName {
  return overWindows[name]?.kind === "counter" ? "requests" : "concurrency";
}

function windowFix(metric: MetricName): string {
  const fitting = metricKinds[metric] === "counter" ? ["rate", "increase"] : ["avg", "max", "min"];
  return `write ${fitting.map((name) => `${name}(${metric}[1m])`).join(" or ")}`;
}

function oneOf(word: string, known: readonly string[]): string {
  const guess = closest(word, known);
  return guess === undefined ? `use one of ${known.join(", ")}` : `did you mean ${guess}?`;
}

function durationMs(text: string): number {
  let ms = 0;
  for (const [, count, unit] of text.matchAll(/(\d+)([smh])/g)) ms += Number(count) * units[unit!]!;
  return ms;
}

function shown(token: Token): string {
  return token.kind === "end" ? "the end" : JSON.stringify(token.text);
}

function wrong(token: Token, problem: string, fix: string): VirgaError {
  return new VirgaError("invalid_field", `column ${token.column}: ${problem}`, { fix });
}

const tokenPattern =
  /(?<duration>(?:\d+[smh])+)(?![\w.])|(?<number>(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)|(?<name>[A-Za-z_]\w*)|>=|<=|==|!=|\s+|./gsu;
const signs = new Set(["(", ")", "[", "]", ",", "+", "-", "*", "/", "%", ">", ">=", "<", "<=", "==", "!="]);
const units: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000 };
const exampleFix = "write one such as ceil(rate(requests[1m]) / 20)";
const operandFix = `put a number, a metric (${metricNames.join(", ")}), a function or a parenthesis there`;
const operatorFix = "join values by + - * / % or a comparison, and use , only between a function's values";
const deepest = 50;
const longestText = 1000;
const longestWindowMs = 3_600_000;
