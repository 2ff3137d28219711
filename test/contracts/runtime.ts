import assert from "node:assert/strict";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { VirgaError } from "../../src/core/errors.ts";
import type { FunctionConfig } from "../../src/core/model.ts";
import type { BuildRequest, CallSink, Instance, Runtime } from "../../src/ports/runtime.ts";
import { type Answer, configOf, Running } from "../runtimes/python/function.ts";
import { type OpenedSandbox, pause } from "./sandbox.ts";

/** One language and convention, by functions that all do the same. */
export interface RuntimeSubject {
  open(toolsDirectory: string): Runtime;
  readonly config: Partial<FunctionConfig>;
  /** File → text. Each function answers a request's body with itself. */
  readonly echo: Files;
  /** Fails, saying "no such gate". */
  readonly fails: Files;
  /** Prints "before" as a line of its log, then does not come to an end. */
  readonly hangs: Files;
  /** Ends its process in the middle of the call, with exit code 9. */
  readonly exits: Files;
  /** Answers 3 MiB of "x". */
  readonly large: Files;
  /** Cannot be built or loaded. */
  readonly broken: Files;
  /** What the refusal of `broken` says. */
  readonly complaint: RegExp;
  /** Answers with what the code sees of its process, its logs and its temporary files, where instances wait for code. */
  readonly surroundings?: Files;
}

export type Files = Readonly<Record<string, string>>;

/** The guarantees of ports/runtime.ts, for one subject in one sandbox. */
export function describeRuntime(
  name: string,
  subject: RuntimeSubject,
  openSandbox: () => Promise<OpenedSandbox>,
  skip: string | false,
): void {
  describe(`${name}: the runtime contract`, { skip }, () => {
    const root = mkdtempSync(join(tmpdir(), "virga-runtime-"));
    chmodSync(root, 0o755);
    const instances: Instance[] = [];
    let opened: OpenedSandbox;
    let runtime: Runtime;
    let count = 0;
    before(async () => {
      opened = await openSandbox();
      runtime = subject.open(join(root, "tools"));
      mkdirSync(join(root, "cache"), { mode: 0o777 });
    });
    after(async () => {
      await Promise.all(instances.map((instance) => instance.stop(0)));
      await opened.close();
      rmSync(root, { recursive: true });
    });

    const folder = (files: Files): string => {
      const directory = join(root, `code-${++count}`);
      for (const [file, text] of Object.entries(files)) {
        mkdirSync(dirname(join(directory, file)), { recursive: true });
        writeFileSync(join(directory, file), text, { mode: 0o755 });
      }
      return directory;
    };
    const configured = (changes: Partial<FunctionConfig> = {}): FunctionConfig =>
      configOf({ ...subject.config, ...changes });
    const build = async (files: Files, changes: Partial<BuildRequest> = {}): Promise<string> => {
      const directory = folder(files);
      await runtime.build({
        directory,
        config: configured(),
        sandbox: opened.sandbox,
        cacheDirectory: join(root, "cache"),
        timeoutMs: 60_000,
        maxBytes: 2 ** 28,
        onLog: () => undefined,
        signal: new AbortController().signal,
        ...changes,
      });
      return directory;
    };
    const serve = async (
      files: Files,
      changes: Partial<FunctionConfig> = {},
      prepare?: (blank: Instance) => void | Promise<void>,
    ): Promise<Running> => {
      const directory = await build(files);
      const config = configured(changes);
      const running = new Running();
      const instance = await runtime.start({
        id: `t-${++count}`,
        runtime: config.runtime,
        sandbox: opened.sandbox,
        limits: config.limits,
        network: config.network,
        background: prepare !== undefined,
        events: {
          log: (invocation, line) => running.logs.push({ ...line, invocation }),
          callFunction: () => Promise.reject(new VirgaError("not_found", "no other function here")),
        },
      });
      instances.push(instance);
      await prepare?.(instance);
      await instance.specialise({
        namespace: "default",
        name: "subject",
        revision: 1,
        config,
        directory,
        fileCount: Object.keys(files).length,
        environment: config.environment,
      });
      running.instance = instance;
      return running;
    };
    const failed = async (answer: Promise<Answer>, code: string): Promise<VirgaError> => {
      const { error } = await answer;
      assert.equal(error?.code, code, error?.message);
      return error;
    };
    const post = (text: string) => ({ method: "POST", body: Buffer.from(text) });

    test("it recognises its own code and no empty folder", async () => {
      assert.equal(await runtime.detect(folder({ "notes.txt": "nothing to run" })), undefined);
      const found = await runtime.detect(folder(subject.echo));
      assert.ok(found !== undefined && found.confidence > 0 && found.confidence <= 1);
      assert.ok(found.handler in subject.echo);
    });

    test("it names its versions, and its fingerprint is the same for the same settings", async () => {
      assert.ok((await runtime.versions()).length > 0);
      assert.equal(await runtime.fingerprint(configured()), await runtime.fingerprint(configured()));
    });

    test("code that cannot work is refused when it is built or loaded, with the reason", async () => {
      await assert.rejects(serve(subject.broken), (error: VirgaError) => {
        assert.ok(["build_failed", "start_failed"].includes(error.code), error.code);
        assert.match(`${error.message} ${error.detail.location} ${error.detail.log}`, subject.complaint);
        return true;
      });
    });

    test("a build whose caller has left is given up", async () => {
      await assert.rejects(build(subject.echo, { signal: AbortSignal.abort() }));
    });

    test("code sees nothing of what its instance went through while it waited for it", async (t) => {
      if (subject.surroundings === undefined) return t.skip("its instances do not wait");
      const seen: string[] = [];
      const rehearse = (blank: Instance): void => blank.rehearse?.();
      const rehearseAndRest = (blank: Instance): Promise<void> => (rehearse(blank), pause(300));
      for (const prepare of [undefined, rehearse, rehearseAndRest, rehearseAndRest]) {
        const running = await serve(subject.surroundings, { environment: { GIVEN: "yes" } }, prepare);
        const answer = await running.call();
        assert.equal(answer.error, undefined, answer.error?.message);
        assert.match(answer.text, /GIVEN/);
        assert.deepEqual(running.logs, []);
        assert.ok(answer.measured!.cpuMicros < 200_000, "the start's time is none of the call's");
        seen.push(answer.text);
      }
      assert.deepEqual(new Set(seen), new Set([seen[0]]));
    });

    test("a call's body comes back, byte for byte, many times from one instance", async () => {
      const running = await serve(subject.echo);
      for (const size of [0, 1, 1000, 70_000, 1_500_000]) {
        const body = Buffer.from(Array.from({ length: size }, (_, index) => (index * 31) % 251));
        const answer = await running.call({ method: "POST", body });
        assert.equal(answer.error, undefined, answer.error?.message);
        assert.equal(answer.status, 200);
        assert.ok(answer.body.equals(body), `${size} bytes`);
        assert.ok(answer.measured !== undefined && answer.measured.cpuMicros >= 0);
        // Without control groups a short process can be over before it is looked at.
        if (opened.sandbox.enforces.memory === "enforced") assert.ok(answer.measured.memoryPeakBytes > 0);
      }
    });

    test("a body may follow in pieces", async () => {
      const running = await serve(subject.echo);
      const call = running.call({ method: "POST" }, true);
      for (const piece of ["one ", "two ", "three"]) {
        call.handle.write(Buffer.from(piece));
        await pause(5);
      }
      call.handle.end();
      assert.equal((await call).text, "one two three");
    });

    test("an answer that is not read holds the program back, and arrives whole", async () => {
      const running = await serve(subject.large);
      let held = true;
      const call = running.call({}, false, () => !held);
      await pause(100);
      held = false;
      call.handle.resume();
      for (let tries = 0; tries < 200; tries++) {
        await pause(5);
        call.handle.resume();
      }
      const answer = await call;
      assert.equal(answer.body.length, 3 * 2 ** 20);
      assert.ok(answer.body.every((byte) => byte === 120));
    });

    test("a failing function fails its call with its own words, and serves on", async () => {
      const running = await serve(subject.fails);
      for (let n = 0; n < 2; n++) {
        const answer = await running.call(post("x"));
        if (subject.config.convention === "http") assert.equal(answer.status, 500);
        else {
          const { message, detail } = await failed(Promise.resolve(answer), "function_error");
          assert.match(`${message} ${detail.log}`, /no such gate/);
        }
      }
    });

    test("a cancelled call fails at once; what it printed is its log", async () => {
      const running = await serve(subject.hangs);
      const call = running.call(post("x"));
      await running.printed(1);
      assert.equal(running.logs[0]!.text, "before");
      assert.equal(running.logs[0]!.invocation, "call-1");
      const began = performance.now();
      call.handle.cancel("timeout");
      await failed(call, "timeout");
      assert.ok(performance.now() - began < 1000);
    });

    test("a program that ends in mid-call fails the call, and says how it ended", async () => {
      const running = await serve(subject.exits);
      const { error } = await running.call(post("x"));
      assert.ok(error !== undefined);
      assert.ok(["function_crashed", "function_error"].includes(error.code), error.code);
      assert.match(error.message, /9/);
      if (subject.config.convention !== "stdio") assert.equal((await running.instance.exited).code, 9);
    });

    test("a sink hears one end, and nothing behind it", async () => {
      const running = await serve(subject.large);
      let ends = 0;
      let behind = 0;
      await new Promise<void>((resolve) => {
        const sink: CallSink = {
          head: () => void (behind += ends),
          data: () => {
            behind += ends;
            handle.cancel("cancelled");
            return true;
          },
          end: () => done(),
          fail: () => done(),
        };
        const done = (): void => {
          ends++;
          resolve();
        };
        const handle = running.instance.invoke(
          {
            id: "once",
            method: "GET",
            target: "/",
            url: "http://host/",
            headers: [],
            body: new Uint8Array(0),
            deadline: Date.now() + 10_000,
            attempt: 1,
            traceparent: undefined,
            idempotencyKey: undefined,
          },
          sink,
        );
      });
      await pause(50);
      assert.deepEqual([ends, behind], [1, 0]);
    });

    test("stop lets a running call end within its grace, and leaves nothing behind", async () => {
      const running = await serve(subject.echo);
      const call = running.call({ method: "POST" }, true);
      call.handle.write(Buffer.from("late"));
      await pause(30);
      const stopped = running.instance.stop(3000);
      await pause(30);
      call.handle.end();
      assert.equal((await call).text, "late");
      await stopped;
      await running.instance.exited;
      const { error } = await running.call(post("x"));
      assert.ok(error !== undefined, "a stopped instance took a call");
      assert.deepEqual(await running.instance.stop(0), await running.instance.exited);
    });
  });
}
