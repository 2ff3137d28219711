import assert from "node:assert/strict";
import { test } from "node:test";
import { VirgaError, type ErrorCode } from "../../src/core/errors.ts";
import { ManualClock } from "../engine/manual-clock.ts";

/** A driver as a suite gets it: empty, on a clock that the suite moves. */
export interface Opened<Port> {
  readonly port: Port;
  readonly clock: ManualClock;
  /** Closes the driver and opens what it kept; absent where nothing is kept. */
  readonly reopen?: () => Promise<Port>;
  close(): Promise<void> | void;
}

export type OpenDriver<Port> = () => Promise<Opened<Port>> | Opened<Port>;

export interface Guarantees<Port> {
  (sentence: string, check: (opened: Opened<Port>) => Promise<void>): void;
  /** Skipped by drivers that keep nothing. */
  afterReopening(
    sentence: string,
    check: (opened: Opened<Port> & { reopen: () => Promise<Port> }) => Promise<void>,
  ): void;
}

/** Each guarantee is a test with a driver of its own. */
export function guaranteesOf<Port>(name: string, open: OpenDriver<Port>): Guarantees<Port> {
  const guarantee = (sentence: string, check: (opened: Opened<Port>) => Promise<void>): void => {
    test(`${name}: ${sentence}`, async () => {
      const opened = await open();
      try {
        await check(opened);
      } finally {
        await opened.close();
      }
    });
  };
  const afterReopening: Guarantees<Port>["afterReopening"] = (sentence, check) => {
    test(`${name}: ${sentence}`, async (context) => {
      const opened = await open();
      try {
        if (opened.reopen === undefined) context.skip("it keeps nothing");
        else await check({ ...opened, reopen: opened.reopen });
      } finally {
        await opened.close();
      }
    });
  };
  return Object.assign(guarantee, { afterReopening });
}

export async function rejects(promise: Promise<unknown>, code: ErrorCode, message?: RegExp): Promise<VirgaError> {
  const error = await promise.then(
    () => assert.fail(`resolved where ${code} was expected`),
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof VirgaError, `no VirgaError: ${String(error)}`);
  assert.equal(error.code, code, error.message);
  if (message !== undefined) assert.match(error.message, message);
  return error;
}

export async function gather<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

export const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
export const text = (content: Uint8Array): string => new TextDecoder().decode(content);
