import assert from "node:assert/strict";
import { request as httpRequest } from "node:http";
import { after, before, describe, test } from "node:test";
import { missingTools } from "../../tools.ts";
import { Whisk } from "./whisk.ts";

const hello = { kind: "nodejs:default", code: "function main() { return {} }" };

interface Reply {
  readonly status: number;
  readonly headers: Headers;
  readonly body: any; // eslint-disable-line typescript/no-explicit-any
}

describe("the documents of OpenWhisk's REST API", { skip: missingTools("bwrap") }, () => {
  let whisk: Whisk;
  before(async () => {
    whisk = await Whisk.start();
  });
  after(() => whisk?.stop());

  /** `path` stands behind the namespace's. */
  const call = async (method: string, path: string, body?: unknown, auth?: string | false): Promise<Reply> => {
    const answer = await whisk.rest(`/api/v1/namespaces/_/${path}`, {
      method,
      ...(auth === undefined ? {} : { auth }),
      ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
    });
    const text = await answer.text();
    return { status: answer.status, headers: answer.headers, body: text === "" ? undefined : JSON.parse(text) };
  };

  /** The document, where the request succeeds. */
  const ok = async (method: string, path: string, body?: unknown): Promise<Reply["body"]> => {
    const reply = await call(method, path, body);
    assert.equal(reply.status, 200, `${method} ${path}: ${JSON.stringify(reply.body)}`);
    return reply.body;
  };

  /** A refusal says what is wrong, and which transaction it was. */
  const refused = async (
    status: number,
    error: RegExp,
    method: string,
    path: string,
    body?: unknown,
  ): Promise<void> => {
    const reply = await call(method, path, body);
    assert.equal(reply.status, status, `${method} ${path}: ${JSON.stringify(reply.body)}`);
    assert.match(reply.body.error, error);
    assert.equal(reply.body.code, reply.headers.get("x-request-id"));
    assert.ok(reply.body.code.length > 0);
  };

  describe("actions", () => {
    test("a new one has its document's defaults; reading it may leave out the code", async () => {
      const made = await ok("PUT", "actions/first", { exec: { kind: " NodeJS:Default ", code: hello.code } });
      assert.equal(made.namespace, "guest");
      assert.equal(made.version, "0.0.1");
      assert.equal(made.publish, false);
      assert.deepEqual(made.exec, { kind: "nodejs:20", binary: false, code: hello.code });
      assert.deepEqual(made.limits, { timeout: 60_000, memory: 256, logs: 10, concurrency: 1 });
      assert.deepEqual(values(made.annotations), { exec: "nodejs:20", "provide-api-key": false });
      assert.ok(Math.abs(made.updated - Date.now()) < 60_000);
      assert.deepEqual(await ok("GET", "actions/first"), made);
      const { exec } = await ok("GET", "actions/first?code=false");
      assert.deepEqual(exec, { kind: "nodejs:20", binary: false });
      const { exec: inList, ...listed } = (await ok("GET", "actions")).find(({ name }: any) => name === "first"); // eslint-disable-line typescript/no-explicit-any
      assert.deepEqual(inList, { binary: false });
      assert.deepEqual(Object.keys(listed).sort(), [
        "annotations",
        "limits",
        "name",
        "namespace",
        "publish",
        "updated",
        "version",
      ]);
    });

    test("an update keeps what it leaves out, merges annotations and replaces parameters", async () => {
      await ok("PUT", "actions/changed", {
        exec: hello,
        parameters: pairs({ a: 1, b: 2 }),
        annotations: pairs({ kept: "k", changed: 1, dropped: true }),
        limits: { timeout: 1000, memory: 128 },
      });
      await refused(409, /already exists/, "PUT", "actions/changed", { exec: hello });
      const updated = await ok("PUT", "actions/changed?overwrite=true", {
        parameters: pairs({ b: 3 }),
        annotations: pairs({ changed: 2, added: [] }),
        delAnnotations: ["dropped"],
        limits: { memory: 256 },
      });
      assert.equal(updated.version, "0.0.2");
      assert.equal(updated.exec.code, hello.code);
      assert.deepEqual(values(updated.parameters), { b: 3 });
      assert.deepEqual(values(updated.annotations), {
        kept: "k",
        changed: 2,
        added: [],
        exec: "nodejs:20",
        "provide-api-key": false,
      });
      assert.deepEqual(updated.limits, { timeout: 1000, memory: 256, logs: 10, concurrency: 1 });
      const stated = await ok("PUT", "actions/changed?overwrite=true", { version: "2.0.0", publish: true });
      assert.deepEqual([stated.version, stated.publish], ["2.0.0", true]);
      assert.equal((await ok("PUT", "actions/changed?overwrite=true", {})).version, "2.0.1");
      const deleted = await ok("DELETE", "actions/changed");
      assert.equal(deleted.version, "2.0.1");
      await refused(404, /^The requested resource does not exist\.$/, "DELETE", "actions/changed");
      // At once, and from the beginning.
      assert.equal((await ok("PUT", "actions/changed", { exec: hello })).version, "0.0.1");
    });

    test("Base64 is known by its form, and comes back as it was", async () => {
      const code = Buffer.from("function main() { return {} }\n").toString("base64");
      assert.deepEqual((await ok("PUT", "actions/encoded", { exec: { ...hello, code } })).exec, {
        kind: "nodejs:20",
        binary: true,
        code,
      });
      assert.equal((await ok("GET", "actions/encoded")).exec.code, code);
    });

    test("what is wrong with a body is named", async () => {
      const put = (status: number, error: RegExp, body: unknown) =>
        refused(status, error, "PUT", "actions/wrong", body);
      await put(400, /malformed/, "{");
      await put(400, /malformed/, "[]");
      await put(400, /exec/, {});
      await put(400, /exec/, { exec: "code" });
      await put(400, /kind/, { exec: { code: "x" } });
      await put(400, /exec\.code/, { exec: { kind: "nodejs:default" } });
      await put(400, /nodejs:20.*python:3/, { exec: { kind: "cobol:default", code: "x" } });
      await put(400, /not supported/, { exec: { kind: "python:2", code: "x" } });
      await put(400, /'main' entry point/, { exec: { kind: "java:default", code: "eA==" } });
      await put(400, /images are not supported/, { exec: { kind: "blackbox", image: "busybox" } });
      await put(400, /timeout 99 is not within 100/, { exec: hello, limits: { timeout: 99 } });
      await put(400, /memory "a lot"/, { exec: hello, limits: { memory: "a lot" } });
      await put(400, /logs 11/, { exec: hello, limits: { logs: 11 } });
      await put(400, /concurrency 0/, { exec: hello, limits: { concurrency: 0 } });
      await put(400, /parameters is no list/, { exec: hello, parameters: { a: 1 } });
      await put(400, /annotations has an entry without a key/, { exec: hello, annotations: [{ value: 1 }] });
      await put(400, /delAnnotations/, { exec: hello, delAnnotations: "a" });
      await put(400, /publish/, { exec: hello, publish: "yes" });
      await put(400, /version/, { exec: hello, version: "one" });
      await refused(400, /overwrite/, "PUT", "actions/wrong?overwrite=maybe", { exec: hello });
      await refused(400, /no name of an entity/, "PUT", "actions/a!b", { exec: hello });
      await refused(400, /no name of an entity/, "GET", `actions/${"a".repeat(257)}`);
      await refused(404, /does not exist/, "GET", "actions/wrong");
    });

    test("names may have blanks, dots, @ and &; they are told apart by each letter", async () => {
      for (const name of ["a b", "a.b", "a@b&c", "A b", "a-b_c"]) {
        const path = `actions/${encodeURIComponent(name)}`;
        assert.equal((await ok("PUT", path, { exec: hello })).name, name);
        assert.equal((await ok("GET", path)).name, name);
      }
      await ok("PUT", "packages/a", {});
      await ok("PUT", "actions/a/b", { exec: hello });
      assert.equal((await ok("DELETE", "actions/a.b")).namespace, "guest");
      assert.equal((await ok("GET", "actions/a/b")).namespace, "guest/a");
    });

    test("a name that means something to the language it is written in is a name", async () => {
      for (const place of ["actions/__proto__", "actions/constructor"]) {
        await ok("PUT", place, { exec: { kind: "nodejs:20", code: hello.code } });
        assert.equal((await call("POST", `${place}?blocking=true`, {})).status, 200);
        await ok("DELETE", place);
      }
      await ok("PUT", "triggers/__proto__", {});
      await ok("DELETE", "triggers/__proto__");
      await ok("PUT", "packages/__proto__", {});
      await ok("PUT", "actions/__proto__/__proto__", { exec: { kind: "nodejs:20", code: hello.code } });
      assert.equal((await call("POST", "actions/__proto__/__proto__?blocking=true", {})).status, 200);
    });

    test("too much is refused with 413 and its size, before it is sent", async () => {
      const large = "x".repeat(2 ** 20);
      await refused(413, /parameters are too large: \d+ bytes/, "PUT", "actions/large", {
        exec: hello,
        parameters: pairs({ large }),
      });
      await refused(413, /annotations are too large: \d+ bytes/, "PUT", "actions/large", {
        exec: hello,
        annotations: pairs({ large }),
      });
      await refused(413, /1048591 bytes/, "POST", "actions/first", { payload: large.slice(1) + "  " });
      const announced = await announce(whisk, "PUT", "/api/v1/namespaces/_/actions/large", 100 * 2 ** 20);
      assert.equal(announced.status, 413);
      assert.match(announced.body.error, /104857600 bytes, and at most 73400320/);
      assert.equal(announced.body.code, announced.transaction);
    });

    test("a sequence's components are there, at most 50 in all, and none leads back to it", async () => {
      const sequence = (...components: unknown[]) => ({ exec: { kind: "sequence", components } });
      await ok("PUT", "actions/one", { exec: hello });
      const made = await ok("PUT", "actions/chain", sequence("one", "/_/one", "/guest/one"));
      assert.deepEqual(made.exec, { kind: "sequence", components: ["/guest/one", "/guest/one", "/guest/one"] });
      assert.deepEqual(values(made.parameters), { _actions: ["/guest/one", "/guest/one", "/guest/one"] });
      const put = (error: RegExp, ...components: unknown[]) =>
        refused(400, error, "PUT", "actions/refused", sequence(...components));
      await put(/at least one component/);
      await put(/does not exist: \/guest\/absent/, "absent");
      await put(/no name of an action/, 7);
      await put(/refer to itself/, "refused");
      await put(/Too many actions/, ...Array.from({ length: 51 }, () => "one"));
      await put(/Too many actions/, ...Array.from({ length: 17 }, () => "chain"));
      await ok("PUT", "actions/outer", sequence("chain"));
      await refused(400, /refer to itself/, "PUT", "actions/chain?overwrite=true", sequence("outer"));
    });

    test("of two changes made from the same version one is refused", async () => {
      await ok("PUT", "actions/contended", { exec: hello });
      const replies = await Promise.all(
        Array.from({ length: 8 }, (_, index) =>
          call("PUT", "actions/contended?overwrite=true", { parameters: pairs({ index }) }),
        ),
      );
      const taken = replies.filter(({ status }) => status === 200).length;
      for (const { status, body } of replies) assert.ok(status === 200 || /oncurrent/.test(body.error), body.error);
      assert.equal((await ok("GET", "actions/contended")).version, `0.0.${taken + 1}`);
    });
  });

  describe("packages", () => {
    test("one names its actions and its feeds, and is not deleted with them unless that is forced", async () => {
      const made = await ok("PUT", "packages/box", { parameters: pairs({ a: 1, b: 1 }), publish: true });
      assert.deepEqual([made.binding, made.publish, made.version], [{}, true, "0.0.1"]);
      await ok("PUT", "actions/box/plain", { exec: hello, parameters: pairs({ b: 2 }) });
      await ok("PUT", "actions/box/source", { exec: hello, annotations: pairs({ feed: "source" }) });
      const got = await ok("GET", "packages/box");
      assert.deepEqual(got.actions.map(names), ["plain"]);
      assert.deepEqual(got.feeds.map(names), ["source"]);
      assert.deepEqual(values((await ok("GET", "actions/box/plain")).parameters), { a: 1, b: 2 });
      assert.deepEqual((await ok("GET", "actions/box/")).map(names).sort(), ["plain", "source"]);
      await refused(409, /not empty \(contains 2 entities\)/, "DELETE", "packages/box");
      await refused(404, /does not exist/, "PUT", "actions/nobox/plain", { exec: hello });
      await refused(400, /reserved/, "PUT", "packages/default", {});
      await ok("DELETE", "packages/box?force=true");
      await refused(404, /does not exist/, "GET", "actions/box/plain");
      await refused(404, /does not exist/, "GET", "packages/box");
      await refused(405, /POST/, "POST", "packages/box", {});
    });

    test("a binding shows its provider's actions and merged parameters, and nothing is changed through it", async () => {
      await ok("PUT", "packages/provider", { parameters: pairs({ a: 1, b: 1 }) });
      await ok("PUT", "actions/provider/act", { exec: hello, parameters: pairs({ c: 3 }) });
      const binding = { namespace: "_", name: "provider" };
      const bound = await ok("PUT", "packages/bound", { binding, parameters: pairs({ b: 2 }) });
      assert.deepEqual(bound.binding, { namespace: "guest", name: "provider" });
      assert.deepEqual(values(bound.annotations), { binding: { namespace: "guest", name: "provider" } });
      const got = await ok("GET", "packages/bound");
      assert.deepEqual(values(got.parameters), { a: 1, b: 2 });
      assert.deepEqual(got.actions.map(names), ["act"]);
      assert.deepEqual(values((await ok("GET", "actions/bound/act")).parameters), { a: 1, b: 2, c: 3 });
      const listed = await ok("GET", "packages");
      const inList = Object.fromEntries(listed.map((one: any) => [one.name, one.binding])); // eslint-disable-line typescript/no-explicit-any
      assert.deepEqual([inList.bound, inList.provider], [{ namespace: "guest", name: "provider" }, false]);
      await refused(400, /binding/, "PUT", "actions/bound/more", { exec: hello });
      await refused(400, /binding/, "DELETE", "actions/bound/act");
      await refused(400, /does not exist/, "PUT", "packages/lost", { binding: { namespace: "_", name: "none" } });
      await refused(400, /another package binding/, "PUT", "packages/twice", {
        binding: { namespace: "_", name: "bound" },
      });
      await refused(409, /cannot become a binding/, "PUT", "packages/provider?overwrite=true", { binding });
      await ok("DELETE", "packages/bound");
      assert.deepEqual((await ok("GET", "packages/provider")).actions.map(names), ["act"]);
    });
  });

  describe("triggers and rules", () => {
    before(async () => {
      await ok("PUT", "actions/acts", { exec: hello });
    });

    test("a rule is made active, keeps its status when it is changed, and is listed without it", async () => {
      await ok("PUT", "triggers/origin", { parameters: pairs({ a: 1 }), annotations: pairs({ n: 1 }) });
      await ok("PUT", "triggers/two", {});
      const body = { trigger: "/_/origin", action: "/guest/acts", status: "inactive" };
      const made = await ok("PUT", "rules/r", body);
      assert.equal(made.status, "active");
      assert.deepEqual(
        [made.trigger, made.action],
        [
          { path: "guest", name: "origin" },
          { path: "guest", name: "acts" },
        ],
      );
      await refused(409, /already exists/, "PUT", "rules/r", body);
      const acts = { path: "guest", name: "acts" };
      assert.deepEqual((await ok("GET", "triggers/origin")).rules, { "guest/r": { action: acts, status: "active" } });
      assert.equal((await call("POST", "rules/r", { status: "inactive" })).body, undefined);
      await ok("POST", "rules/r", { status: "inactive" });
      assert.equal((await ok("GET", "rules/r")).status, "inactive");
      assert.equal((await call("POST", "triggers/origin", {})).status, 204);
      const moved = await ok("PUT", "rules/r?overwrite=true", { trigger: { path: "_", name: "two" } });
      assert.deepEqual([moved.status, moved.version, moved.trigger.name], ["inactive", "0.0.2", "two"]);
      assert.deepEqual((await ok("GET", "triggers/origin")).rules, {});
      assert.equal((await call("POST", "triggers/two", {})).status, 204);
      await ok("POST", "rules/r", { status: "active" });
      const fired = await call("POST", "triggers/two", { b: 2 });
      assert.equal(fired.status, 202);
      assert.match(fired.body.activationId, /^[0-9a-f]{32}$/);
      assert.equal(fired.headers.get("x-openwhisk-activation-id"), fired.body.activationId);
      assert.ok((await ok("GET", "rules")).every((rule: object) => !("status" in rule)));
      assert.ok((await ok("GET", "triggers")).every((trigger: object) => !("parameters" in trigger)));
      await ok("DELETE", "rules/r");
    });

    test("without its trigger a rule is inactive, and stays so when there is one of that name again", async () => {
      await ok("PUT", "triggers/gone", {});
      await ok("PUT", "rules/waits", { trigger: "/_/gone", action: "/_/acts" });
      await ok("DELETE", "triggers/gone");
      assert.equal((await ok("GET", "rules/waits")).status, "inactive");
      await refused(404, /does not exist/, "POST", "rules/waits", { status: "active" });
      await ok("PUT", "triggers/gone", {});
      assert.equal((await call("POST", "triggers/gone", {})).status, 204);
      await ok("POST", "rules/waits", { status: "active" });
      assert.equal((await call("POST", "triggers/gone", {})).status, 202);
    });

    test("a trigger's alarm goes with it, asked for or not", async () => {
      await ok("PUT", "triggers/alarmed", {});
      const at = await whisk.rest("/api/v1/alarms/alarmed", {
        method: "PUT",
        body: JSON.stringify({ kind: "interval", minutes: 5 }),
      });
      assert.equal(at.status, 200, await at.text());
      await ok("DELETE", "triggers/alarmed");
      assert.equal((await whisk.rest("/api/v1/alarms/alarmed")).status, 404);
    });

    test("what is wrong is named", async () => {
      await ok("PUT", "triggers/there", {});
      const put = (error: RegExp, body: unknown) => refused(400, error, "PUT", "rules/wrong", body);
      await put(/needs a trigger/, { action: "/_/acts" });
      await put(/needs an action/, { trigger: "/_/there" });
      await put(/trigger '\/guest\/none' does not exist/, { trigger: "/_/none", action: "/_/acts" });
      await put(/action '\/guest\/none' does not exist/, { trigger: "/_/there", action: "/_/none" });
      await put(/trigger is no name/, { trigger: "/a/b/c/d", action: "/_/acts" });
      await refused(400, /malformed/, "POST", "triggers/there", "[1]");
      await refused(404, /does not exist/, "POST", "triggers/none", {});
      await refused(404, /does not exist/, "POST", "rules/none", { status: "active" });
      await ok("PUT", "rules/right", { trigger: "/_/there", action: "/_/acts" });
      await refused(400, /neither active nor inactive/, "POST", "rules/right", { status: "on" });
    });
  });

  test("one name has one kind of document", async () => {
    await ok("PUT", "triggers/taken", {});
    await refused(409, /not in this collection: it is a trigger/, "PUT", "actions/taken", { exec: hello });
    await refused(409, /it is a trigger/, "PUT", "packages/taken", {});
    await refused(409, /it is a trigger/, "GET", "packages/taken");
    await refused(409, /it is a trigger/, "DELETE", "rules/taken");
    await ok("PUT", "actions/acting", { exec: hello });
    await refused(409, /it is an action/, "PUT", "triggers/acting", {});
    const topic = await whisk.platform.request("/v1/namespaces/guest/topics/acting");
    assert.equal(topic.status, 404);
  });

  test("the longest names work in every place; what is longer with its package's is refused", async () => {
    const long = (letter: string): string => letter.repeat(256);
    await ok("PUT", `actions/${long("a")}`, { exec: hello });
    await ok("PUT", `triggers/${long("t")}`, {});
    await ok("PUT", `rules/${long("r")}`, { trigger: `/_/${long("t")}`, action: `/_/${long("a")}` });
    assert.equal((await call("POST", `triggers/${long("t")}`, {})).status, 202);
    await ok("DELETE", `triggers/${long("t")}`);
    await ok("PUT", `packages/${long("p")}`, {});
    await ok("PUT", `actions/${long("p")}/${"a".repeat(163)}`, { exec: hello });
    await refused(400, /name is too long/, "PUT", `actions/${long("p")}/${"a".repeat(164)}`, { exec: hello });
    for (const path of [
      "/api/v1/alarms/%E0%A4%A",
      "/api/v1/namespaces/_/actions/%E0%A4%A",
      "/api/v1/web/_/default/%E0%A4%A",
    ])
      assert.equal((await whisk.rest(path)).status, 404, path);
  });

  test("lists come newest first, in pages of 30 and at most 200, or as a number", async () => {
    const credential = await whisk.user("lister");
    const get = (query: string): Promise<Reply> => call("GET", `triggers${query}`, undefined, credential);
    for (let index = 0; index < 35; index++) await call("PUT", `triggers/t${index}`, {}, credential);
    await call("PUT", "triggers/t3?overwrite=true", { publish: true }, credential);
    const all = (await get("?limit=0")).body;
    assert.equal(all.length, 35);
    assert.equal((await get("")).body.length, 30);
    const updated = all.map((one: { updated: number }) => one.updated);
    assert.deepEqual(
      updated,
      updated.toSorted((a: number, b: number) => b - a),
    );
    assert.deepEqual((await get("?limit=4&skip=2")).body, all.slice(2, 6));
    assert.deepEqual((await get("?skip=40")).body, []);
    assert.deepEqual((await get("?count=true")).body, { triggers: 35 });
    for (const query of ["?limit=201", "?limit=-1", "?skip=-1", "?limit=x", "?count=2"]) {
      const reply = await get(query);
      assert.equal(reply.status, 400, query);
      assert.match(reply.body.error, /limit|skip|count/);
    }
    const counted = await call("GET", "activations?count=true&docs=true");
    assert.equal(counted.status, 400);
  });

  test("a caller is known by its key, and has one namespace", async () => {
    const absent = await call("GET", "actions", undefined, false);
    assert.equal(absent.status, 401);
    assert.equal(absent.headers.get("www-authenticate"), 'Basic realm="OpenWhisk secure realm", charset="UTF-8"');
    assert.equal(absent.body.code, absent.headers.get("x-request-id"));
    for (const auth of ["", "guest", `${whisk.auth}x`, whisk.auth.slice(0, -1), `:${whisk.auth.split(":")[1]}`])
      assert.equal((await call("GET", "actions", undefined, auth)).status, 401, auth);
    for (const path of ["/api/v1/namespaces", "/api/v1/namespaces/"])
      assert.deepEqual(await (await whisk.rest(path)).json(), ["guest"]);
    const own = "23bc46b1-71f6-4ed5-8c54-816aa4f8c502:123zO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP";
    const put = (name: string, body: object): ReturnType<typeof whisk.platform.request> =>
      whisk.platform.request(`/v1/openwhisk/users/${name}`, {
        method: "PUT",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(body),
      });
    assert.equal((await put("moved", { credential: own })).json<{ credential: string }>().credential, own);
    assert.equal((await put("second", { credential: own })).status, 409);
    assert.equal((await put("short", { credential: "uuid:key" })).status, 400);
    assert.deepEqual(await (await whisk.rest("/api/v1/namespaces", { auth: own })).json(), ["moved"]);
    const generated = (await put("moved", {})).json<{ credential: string }>().credential;
    assert.match(generated, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}:[0-9a-f]{64}$/);
    assert.equal((await whisk.rest("/api/v1/namespaces", { auth: own })).status, 401);
    const deleted = await whisk.platform.request("/v1/openwhisk/users/moved", { method: "DELETE" });
    assert.equal(deleted.status, 204);
    assert.equal((await whisk.rest("/api/v1/namespaces", { auth: generated })).status, 401);
  });

  test("a namespace's limits are counted by the minute, for it alone, and refuse with 429", async () => {
    const limits = { invocationsPerMinute: 2, firesPerMinute: 1, concurrentInvocations: 50 };
    const limited = await whisk.user("limited", limits);
    const idle = await whisk.user("idle", { concurrentInvocations: 0 });
    const shown = await call("GET", "limits", undefined, limited);
    for (const [name, value] of Object.entries(limits)) assert.equal(shown.body[name], value);
    assert.equal(shown.body.maxActionTimeout, 3_600_000);
    await call("PUT", "actions/a", { exec: hello }, limited);
    await call("PUT", "triggers/t", {}, limited);
    // The minute turns at most once among these.
    const invoked: Reply[] = [];
    for (let index = 0; index < 6; index++) invoked.push(await call("POST", "actions/a", {}, limited));
    const tooMany = invoked.filter(({ status }) => status === 429);
    assert.ok(tooMany.length >= 2, invoked.map(({ status }) => status).join(" "));
    assert.equal(invoked[0]?.status, 202);
    assert.match(tooMany[0]?.body.error, /Too many requests in the last minute \(count: 3, allowed: 2\)/);
    const fired: Reply[] = [];
    for (let index = 0; index < 4; index++) fired.push(await call("POST", "triggers/t", {}, limited));
    assert.equal(fired[0]?.status, 204);
    assert.ok(fired.some(({ status }) => status === 429));
    await call("PUT", "actions/a", { exec: hello }, idle);
    const concurrent = await call("POST", "actions/a", {}, idle);
    assert.equal(concurrent.status, 429);
    assert.match(concurrent.body.error, /concurrent requests in flight \(count: 0, allowed: 0\)/);
    assert.equal((await call("POST", "actions/acts", {})).status, 202);
  });

  test("a namespace that is deleted leaves no document", async () => {
    const first = await whisk.user("passing");
    const put = async (path: string, body: object): Promise<void> =>
      assert.equal((await call("PUT", path, body, first)).status, 200, path);
    await put("actions/a", { exec: hello });
    await put("actions/s", { exec: { kind: "sequence", components: ["/whisk.system/utils/echo"] } });
    await put("packages/p", { binding: { namespace: "whisk.system", name: "utils" } });
    await put("triggers/t", {});
    await put("rules/r", { trigger: "/_/t", action: "/_/s" });
    const refusal = await whisk.platform.request("/v1/namespaces/passing", { method: "DELETE" });
    assert.equal(refusal.status, 409, "it has a function");
    assert.equal((await call("DELETE", "actions/a", undefined, first)).status, 200);
    const deleted = await whisk.platform.request("/v1/namespaces/passing", { method: "DELETE" });
    assert.ok(deleted.status < 300, deleted.text);
    assert.equal((await call("GET", "actions", undefined, first)).status, 401);
    const again = await whisk.user("passing");
    for (const collection of ["actions", "triggers", "rules", "packages", "activations"])
      assert.deepEqual((await call("GET", collection, undefined, again)).body, [], collection);
    assert.equal((await call("PUT", "triggers/a", {}, again)).status, 200);
  });

  test("documents are there after a kill", async () => {
    await ok("PUT", "packages/kept", { parameters: pairs({ p: 1 }) });
    await ok("PUT", "actions/kept/act", { exec: hello });
    await ok("PUT", "triggers/keeps", {});
    await ok("PUT", "rules/keeping", { trigger: "/_/keeps", action: "/_/kept/act" });
    const paths = ["packages/kept", "actions/kept/act", "triggers/keeps", "rules/keeping"];
    const seen = await Promise.all(paths.map((path) => ok("GET", path)));
    await whisk.platform.kill();
    await whisk.up();
    assert.deepEqual(await Promise.all(paths.map((path) => ok("GET", path))), seen);
  });

  test("the platform tells of itself to whoever asks, and any page may use the API", async () => {
    const get = (path: string, init: RequestInit = {}): Promise<Response> => whisk.rest(path, { auth: false, ...init });
    const root = await get("/");
    // wskdeploy takes no other.
    assert.equal(root.headers.get("content-type"), "application/json");
    const document = (await root.json()) as Reply["body"];
    assert.equal(document.limits.sequence_length, 50);
    assert.ok(document.runtimes.nodejs.some(({ kind }: { kind: string }) => kind === "nodejs:20"));
    assert.deepEqual(await (await get("/api/info")).json(), document);
    assert.equal(await (await get("/ping")).text(), "pong");
    assert.equal(((await (await get("/api/v1")).json()) as Reply["body"]).api_version_path, "v1");
    const described = (await (await get("/api/v1/api-docs")).json()) as Reply["body"];
    assert.ok("put" in described.paths["/namespaces/{namespace}/rules/{rule}"]);
    assert.equal(await (await get("/invokers/healthy/count")).text(), "1");
    const preflight = await get("/api/v1/namespaces/_/actions", { method: "OPTIONS" });
    assert.equal(preflight.status, 200);
    assert.equal(preflight.headers.get("access-control-allow-origin"), "*");
    assert.match(preflight.headers.get("access-control-allow-headers") ?? "", /Authorization/);
    assert.match(preflight.headers.get("access-control-allow-methods") ?? "", /PUT/);
    const traced = await get("/api/v1/namespaces/_/nothing", { headers: { "x-request-id": "trace-1" } });
    assert.equal(traced.headers.get("x-request-id"), "trace-1");
    assert.equal(((await traced.json()) as Reply["body"]).code, "trace-1");
    await refused(404, /does not exist/, "GET", "nothing");
    await refused(404, /does not exist/, "GET", "triggers/a/b");
    await refused(405, /POST/, "POST", "activations", {});
    await refused(405, /PATCH/, "PATCH", "actions/a", {});
  });
});

function pairs(values: Readonly<Record<string, unknown>>): { key: string; value: unknown }[] {
  return Object.entries(values).map(([key, value]) => ({ key, value }));
}

function values(list: readonly { key: string; value: unknown }[]): Record<string, unknown> {
  return Object.fromEntries(list.map(({ key, value }) => [key, value]));
}

function names({ name }: { name: string }): string {
  return name;
}

/** Announces a body and waits for the answer without sending it. */
function announce(
  { apihost, auth }: Whisk,
  method: string,
  path: string,
  length: number,
): Promise<{ status: number; transaction: unknown; body: Reply["body"] }> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(`${apihost}${path}`, {
      method,
      auth,
      headers: { "content-length": length, expect: "100-continue" },
    });
    request.on("continue", () => reject(new Error("the server wants the body")));
    request.on("error", reject);
    request.on("response", (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
      response.on("end", () => {
        const { statusCode: status = 0, headers } = response;
        resolve({ status, transaction: headers["x-request-id"], body: JSON.parse(text) });
        request.destroy();
      });
    });
    request.flushHeaders();
  });
}
