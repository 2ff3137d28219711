import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { FakeApi } from "./fake-api.ts";
import { folder, run } from "./harness.ts";

test(
  "a save becomes a revision; a failing one is shown with its lines and the session goes on",
  { timeout: 20_000 },
  async (t) => {
    const api = await FakeApi.start(t);
    const root = folder(t, { "hello/virga.yaml": "functions: { hello: { handler: a.js } }", "hello/a.js": "1" });
    const file = (name: string): string => join(root, "hello", name);
    const stop = new AbortController();
    const steps: [RegExp, () => void][] = [
      // What the folder says afterwards makes the next step's text appear.
      [/watching hello/, () => writeFileSync(file("a.js"), "2")],
      [
        /hello revision 2 serves/,
        () => {
          mkdirSync(file("node_modules"));
          writeFileSync(file("node_modules/x.js"), "not watched");
          writeFileSync(file("broken.ts"), "let a;\nlet b c;\n");
          writeFileSync(file("virga.yaml"), "functions: { hello: { handler: broken.ts } }");
        },
      ],
      [
        /> 2 \| let b c;\n +\| {5}\^[\s\S]*the revision before goes on serving hello/,
        () => writeFileSync(file("virga.yaml"), "functions: { hello: { handler: [] } }"),
      ],
      [
        /virga\.yaml:1:32: functions\.hello\.handler/,
        () => writeFileSync(file("virga.yaml"), "functions: { hello: { handler: c.js } }"),
      ],
      [/hello revision 3 serves/, () => stop.abort()],
    ];
    const outcome = await run(["dev", "hello"], {
      environment: api.environment,
      directory: root,
      signal: stop.signal,
      onNote: (text) => {
        const [next] = steps;
        if (next === undefined || !next[0].test(text)) return;
        steps.shift();
        // After the write that is being told of, as a user's hand would be.
        setImmediate(next[1]);
      },
    });
    assert.deepEqual(
      steps.map(([expected]) => expected.source),
      [],
      outcome.stderr,
    );
    assert.equal(outcome.code, 0);
  },
);
