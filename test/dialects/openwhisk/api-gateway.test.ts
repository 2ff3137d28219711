import assert from "node:assert/strict";
import { after, before, beforeEach, describe, test } from "node:test";
import { missingTools } from "../../tools.ts";
import { Whisk } from "./whisk.ts";

interface Reply {
  readonly status: number;
  readonly headers: Headers;
  readonly body: any; // eslint-disable-line typescript/no-explicit-any
}

describe("the API gateway", { skip: missingTools("bwrap") }, () => {
  let whisk: Whisk;
  let alice: string;
  before(async () => {
    whisk = await Whisk.start();
    alice = await whisk.user("alice");
    for (const name of ["echo", "other"]) await action(name);
  });
  after(() => whisk?.stop());
  beforeEach(async () => {
    for (const auth of [whisk.auth, alice])
      for (const basepath of await basePaths(auth)) await manage("DELETE", "deleteApi.http", { basepath }, { auth });
  });

  /** A web action that tells its name, and how it was called. */
  async function action(name: string, auth = whisk.auth, secret?: string): Promise<void> {
    const code = `function main({ __ow_path, __ow_method, title }) {
      return { body: { did: ${JSON.stringify(name)}, path: __ow_path, method: __ow_method, title } };
    }`;
    const annotations = [
      { key: "web-export", value: true },
      ...(secret === undefined ? [] : [{ key: "require-whisk-auth", value: secret }]),
    ];
    const put = await whisk.rest(`/api/v1/namespaces/_/actions/${name}`, {
      method: "PUT",
      body: JSON.stringify({ exec: { kind: "nodejs:default", code }, annotations }),
      auth,
    });
    assert.equal(put.status, 200, await put.text());
  }

  /** One of the three web actions that manage APIs, with the query that `wsk` always sends. */
  async function manage(
    method: string,
    endpoint: string,
    query: Readonly<Record<string, string>> = {},
    { auth = whisk.auth, body }: { auth?: string | false; body?: unknown } = {},
  ): Promise<Reply> {
    const always = { accesstoken: "DUMMY TOKEN", spaceguid: String(auth).split(":")[0]! };
    const sent = new URLSearchParams({ ...always, ...query });
    const answer = await whisk.rest(`/api/v1/web/whisk.system/apimgmt/${endpoint}?${sent.toString()}`, {
      method,
      auth,
      ...(body === undefined
        ? {}
        : {
            headers: { "content-type": "application/json" },
            body: typeof body === "string" ? body : JSON.stringify(body),
          }),
    });
    return { status: answer.status, headers: answer.headers, body: await answer.json() };
  }

  /** What `wsk api create BASE PATH METHOD ACTION` sends. */
  function operation(base: string, path: string, method: string, name = "echo") {
    return {
      namespace: "_",
      gatewayBasePath: base,
      gatewayPath: path,
      gatewayMethod: method,
      id: `API:_:${base}`,
      action: {
        name,
        namespace: "_",
        backendMethod: method,
        backendUrl: `${whisk.apihost}/api/v1/web/_/${name.includes("/") ? name : `default/${name}`}.http`,
        authkey: whisk.auth,
      },
    };
  }

  async function create(apidoc: unknown, query = {}, auth = whisk.auth): Promise<Reply["body"]> {
    const made = await manage("POST", "createApi.http", { responsetype: "http", ...query }, { auth, body: { apidoc } });
    assert.equal(made.status, 200, JSON.stringify(made.body));
    return made.body;
  }

  async function apis(query = {}, auth = whisk.auth): Promise<{ id: string; key: string; value: Reply["body"] }[]> {
    const listed = await manage("GET", "getApi.http", { limit: "0", skip: "0", ...query }, { auth });
    assert.equal(listed.status, 200, JSON.stringify(listed.body));
    return listed.body.apis;
  }

  async function basePaths(auth = whisk.auth): Promise<string[]> {
    return (await apis({}, auth)).map(({ value }) => value.apidoc.basePath);
  }

  /** `METHOD PATH` for all operations of an API. */
  async function operations(basepath: string): Promise<string[]> {
    const [found] = await apis({ basepath });
    return Object.entries(found?.value.apidoc.paths ?? {}).flatMap(([path, verbs]) =>
      Object.keys(verbs as object).map((verb) => `${verb} ${path}`),
    );
  }

  /** `path` stands behind `/api/NAMESPACE`. */
  function visit(path: string, init: RequestInit = {}, namespace = "guest"): Promise<Response> {
    return fetch(`${whisk.apihost}/api/${namespace}${path}`, init);
  }

  /** Which action answers, or the status of the refusal. */
  async function answering(path: string, method = "GET"): Promise<string | number> {
    const answer = await visit(path, { method });
    const body = (await answer.json()) as { did: string };
    return answer.status === 200 ? body.did : answer.status;
  }

  async function pathSeen(path: string): Promise<string> {
    return ((await (await visit(path)).json()) as { path: string }).path;
  }

  /** A document with these operations, as `METHOD PATH`, all of the action `name`. */
  function swagger(basePath: string | undefined, paths: readonly string[], name = "echo"): Record<string, unknown> {
    const made: Record<string, Record<string, unknown>> = {};
    for (const one of paths) {
      const [verb, path] = one.split(" ") as [string, string];
      (made[path] ??= {})[verb] = { responses: { default: { description: "all" } }, "x-openwhisk": backend(name) };
    }
    return {
      swagger: "2.0",
      info: { title: "Library", version: "1.2.3" },
      ...(basePath === undefined ? {} : { basePath }),
      paths: made,
    };
  }

  function backend(name: string, namespace = "guest") {
    const url = `${whisk.apihost}/api/v1/web/${namespace}/default/${name}.http`;
    return { action: name, namespace, package: "default", url };
  }

  describe("operations", () => {
    test("one that is made as wsk makes it is shown as wsk reads it, and leads to its action", async () => {
      const made = await create({ ...operation("/hello", "/world", "GET"), apiName: "Greetings" });
      assert.equal(made.namespace, "guest");
      assert.equal(made.gwApiActivated, true);
      assert.equal(made.gwApiUrl, `${whisk.apihost}/api/guest/hello`);
      const { apidoc } = made;
      assert.deepEqual([apidoc.swagger, apidoc.basePath, apidoc.info.title], ["2.0", "/hello", "Greetings"]);
      const { get } = apidoc.paths["/world"];
      assert.ok(get.operationId.length > 0);
      assert.deepEqual(get["x-openwhisk"], backend("echo"));
      assert.deepEqual(await apis(), [{ id: "API:guest:/hello", key: "API:guest:/hello", value: made }]);
      const answer = await fetch(`${made.gwApiUrl}/world?title=t`);
      assert.deepEqual(await answer.json(), { did: "echo", path: "/hello/world", method: "get", title: "t" });
    });

    test("one that is made as the npm client makes it goes without query, and below '/' where it names no base path", async () => {
      const url = `${whisk.apihost}/api/v1/web/guest/default/echo.http`;
      const apidoc = { ...operation("/", "/r/{id}", "get"), pathParameters: [{ name: "id", in: "path" }] };
      const sent = { apidoc: { ...apidoc, action: { ...apidoc.action, namespace: "guest", backendUrl: url } } };
      const headers = { "content-type": "application/json" };
      const root = "/api/v1/web/whisk.system/apimgmt";
      const body = JSON.stringify(sent);
      const made = await whisk.rest(`${root}/createApi?responsetype=http`, { method: "POST", headers, body });
      assert.equal(((await made.json()) as Reply["body"]).gwApiUrl, `${whisk.apihost}/api/guest`);
      assert.equal(await pathSeen("/r/7"), "/r/7");
      const listed = await whisk.rest(`${root}/getApi?basepath=%2F`);
      assert.equal(((await listed.json()) as Reply["body"]).apis.length, 1);
      const gone = await whisk.rest(`${root}/deleteApi?basepath=%2F&force=true`, { method: "DELETE" });
      assert.equal(gone.status, 200);
      assert.deepEqual(await basePaths(), []);
    });

    test("the response type is the form of its answers", async () => {
      await create(operation("/typed", "/json", "get"), { responsetype: "json" });
      await create(operation("/typed", "/text", "get"), { responsetype: "text" });
      assert.equal(((await (await visit("/typed/json")).json()) as Reply).body.did, "echo");
      assert.match((await visit("/typed/text")).headers.get("content-type") ?? "", /text\/plain/);
      const refused = await manage(
        "POST",
        "createApi.http",
        { responsetype: "xml" },
        { body: { apidoc: operation("/typed", "/xml", "get") } },
      );
      assert.equal(refused.status, 400);
      assert.match(refused.body.error, /'xml' is none of http, json, html, svg and text/);
    });

    test("an action in a package is reached through it", async () => {
      const made = await whisk.rest("/api/v1/namespaces/_/packages/box?overwrite=true", { method: "PUT", body: "{}" });
      assert.equal(made.status, 200);
      await action("box/inner");
      await create(operation("/boxed", "/in", "get", "box/inner"));
      assert.equal(await answering("/boxed/in"), "box/inner");
    });

    test("made again it is another one in its place; made at the same time, all are there", async () => {
      await create(operation("/many", "/x", "get"));
      await create(operation("/many", "/x", "GET", "other"));
      assert.equal(await answering("/many/x"), "other");
      const paths = Array.from({ length: 8 }, (_, index) => `/p${index}`);
      await Promise.all(paths.map((path) => create(operation("/many", path, "get"))));
      assert.deepEqual(
        (await operations("/many")).sort(),
        [...paths, "/x"].map((path) => `get ${path}`),
      );
    });
  });

  describe("the way of a request", () => {
    test("the API with the longest base path answers; where it has nothing there, the one that contains it does", async () => {
      await create(operation("/a", "/b/c", "get", "echo"));
      await create(operation("/a", "/b/d", "get", "echo"));
      await create(operation("/a", "/b", "get", "echo"));
      await create(operation("/a", "/b", "post", "echo"));
      await create(operation("/a/b", "/c", "get", "other"));
      await create(operation("/a/b", "/", "get", "other"));
      assert.equal(await answering("/a/b/c"), "other");
      assert.equal(await answering("/a/b/d"), "echo");
      assert.equal(await answering("/a/b"), "other");
      assert.equal(await answering("/a/b", "POST"), "echo");
      assert.equal(await answering("/a/b/e"), 404);
    });

    test("a base path ends where a segment does", async () => {
      await create(operation("/a", "/x", "get", "echo"));
      await create(operation("/ab", "/x", "get", "other"));
      assert.equal(await answering("/a/x"), "echo");
      assert.equal(await answering("/ab/x"), "other");
      assert.equal(await answering("/abc/x"), 404);
      assert.equal(await answering("/b/x"), 404);
    });

    test("a slash at a base path's end makes no other API", async () => {
      await create(operation("/end/", "/x", "get"));
      await create(operation("/end", "/y", "get"));
      assert.deepEqual(await basePaths(), ["/end"]);
      assert.deepEqual(await operations("/end/"), ["get /x", "get /y"]);
      assert.equal(await answering("/end/x"), "echo");
    });

    test("a parameter takes one segment, or a part of one, and never nothing", async () => {
      await create(operation("/p", "/books/{isbn}", "get"));
      await create(operation("/p", "/files/{name}.{ending}", "get"));
      await create(operation("/p", "/{shelf}/{place}/label", "get"));
      assert.equal(await pathSeen("/p/books/12"), "/p/books/12");
      assert.equal(await pathSeen("/p/books/a%20b%C3%A9"), "/p/books/a bé");
      assert.equal(await pathSeen("/p/files/report.pdf"), "/p/files/report.pdf");
      assert.equal(await pathSeen("/p/s1/4/label"), "/p/s1/4/label");
      for (const path of ["/p/books", "/p/books/", "/p/books/1/2", "/p/files/report", "/p/files/.pdf", "/p/files/a."])
        assert.equal(await answering(path), 404, path);
      assert.equal(await answering("/p/books/%E0%A4%A"), 404);
    });

    test("the most specific path wins, whatever the order they were made in", async () => {
      const paths = ["/{x}/{y}", "/books/{y}", "/{x}/new", "/books/new-{y}", "/books/new", "/books/new-{y}.pdf"];
      for (const order of [paths, paths.toReversed()]) {
        await manage("DELETE", "deleteApi.http", { basepath: "/s" });
        for (const path of order) {
          await action(`s${paths.indexOf(path)}?overwrite=true`);
          await create(operation("/s", path, "get", `s${paths.indexOf(path)}`));
        }
        const winner = async (path: string): Promise<string | undefined> =>
          paths[Number(/\d/.exec(String(await answering(`/s${path}`)))?.[0])];
        assert.equal(await winner("/books/new"), "/books/new");
        assert.equal(await winner("/books/old"), "/books/{y}");
        assert.equal(await winner("/tapes/new"), "/{x}/new");
        assert.equal(await winner("/tapes/old"), "/{x}/{y}");
        assert.equal(await winner("/books/new-1"), "/books/new-{y}");
      }
    });

    test("what is as open is more specific where it begins so", async () => {
      await create(operation("/t", "/{x}/b", "get", "other"));
      await create(operation("/t", "/a/{y}", "get", "echo"));
      assert.equal(await answering("/t/a/b"), "echo");
    });

    test("each method has its own operation; HEAD goes to GET's, and any page may ask what it may", async () => {
      await create(operation("/m", "/x", "get", "echo"));
      await create(operation("/m", "/x", "post", "other"));
      assert.equal(await answering("/m/x"), "echo");
      assert.equal(await answering("/m/x", "POST"), "other");
      assert.equal(await answering("/m/x", "PUT"), 404);
      const head = await visit("/m/x", { method: "HEAD" });
      assert.deepEqual([head.status, await head.text()], [200, ""]);
      const preflight = await visit("/m/x", {
        method: "OPTIONS",
        headers: { "access-control-request-headers": "x-own" },
      });
      assert.equal(preflight.headers.get("access-control-allow-origin"), "*");
      assert.equal(preflight.headers.get("access-control-allow-headers"), "x-own");
      assert.equal((await visit("/nothing", { method: "OPTIONS" })).status, 404);
    });

    test("an operation of an action that is gone, or not for the web, is not found", async () => {
      await create(operation("/lost", "/x", "get", "absent"));
      assert.equal(await answering("/lost/x"), 404);
      const code = "function main() { return { body: { did: 'private' } } }";
      const body = JSON.stringify({ exec: { kind: "nodejs:default", code } });
      await whisk.rest("/api/v1/namespaces/_/actions/private", { method: "PUT", body });
      await create(operation("/lost", "/y", "get", "private"));
      assert.equal(await answering("/lost/y"), 404);
    });
  });

  describe("whole documents", () => {
    test("one is taken as an object or as text, and what it says beside its paths is kept", async () => {
      const whole = { ...swagger("/whole", ["get /x", "post /x"]), "x-ours": { a: [1] } };
      const made = await create({ namespace: "_", swagger: JSON.stringify(whole) });
      assert.equal(made.gwApiUrl, `${whisk.apihost}/api/guest/whole`);
      assert.deepEqual(made.apidoc["x-ours"], { a: [1] });
      assert.deepEqual(made.apidoc.info, { title: "Library", version: "1.2.3" });
      for (const verb of ["get", "post"]) assert.ok(made.apidoc.paths["/x"][verb].operationId.length > 0);
      assert.equal(await answering("/whole/x", "POST"), "echo");
      assert.deepEqual(await create({ namespace: "_", swagger: whole }), made);
      assert.equal((await apis({ basepath: "Library" })).length, 1);
    });

    test("one takes the place of all that was there; what is made singly then is added to it", async () => {
      await create(operation("/whole", "/old", "get"));
      await create({ swagger: swagger("/whole", ["get /new"]) });
      assert.deepEqual(await operations("/whole"), ["get /new"]);
      await create(operation("/whole", "/more", "get"));
      assert.deepEqual(await operations("/whole"), ["get /new", "get /more"]);
    });

    test("what an API is shown as makes the same API again", async () => {
      await create(operation("/round", "/x/{id}", "get"));
      const [shown] = await apis({ basepath: "/round" });
      await manage("DELETE", "deleteApi.http", { basepath: "/round" });
      assert.equal(await answering("/round/x/1"), 404);
      const again = await create({ swagger: JSON.stringify(shown?.value.apidoc) });
      assert.deepEqual(again, shown?.value);
      assert.equal(await answering("/round/x/1"), "echo");
    });

    test("parameters that a path has for all of its methods are no operation", async () => {
      const whole = swagger("/shared", ["get /x/{id}"]);
      const paths = whole["paths"] as Record<string, Record<string, unknown>>;
      paths["/x/{id}"]!["parameters"] = [{ name: "id", in: "path", required: true, type: "string" }];
      paths["x-note"] = {};
      await create({ swagger: whole });
      assert.equal(await answering("/shared/x/1"), "echo");
      const parameters = { basepath: "/shared", relpath: "/x/{id}", operation: "parameters" };
      assert.equal((await manage("DELETE", "deleteApi.http", parameters)).status, 404);
      await manage("DELETE", "deleteApi.http", { ...parameters, operation: "get" });
      assert.deepEqual(await basePaths(), []);
    });
  });

  describe("what is wrong is named, and nothing of it is kept", () => {
    async function refused(error: RegExp, body: unknown, status = 400): Promise<void> {
      const before = await apis();
      const reply = await manage("POST", "createApi.http", { responsetype: "http" }, { body });
      assert.equal(reply.status, status, `${error}: ${JSON.stringify(reply.body)}`);
      assert.match(reply.body.error, error);
      assert.equal(reply.body.code, reply.headers.get("x-request-id"));
      assert.deepEqual(await apis(), before);
    }

    beforeEach(() => create(operation("/there", "/x/{id}", "get")));

    test("bodies that are no document", async () => {
      await refused(/malformed/, "{");
      await refused(/apidoc is no object/, {});
      for (const apidoc of [null, 7, true, []]) await refused(/apidoc is no object/, { apidoc });
      await refused(/apidoc is no JSON/, { apidoc: "{" });
      await refused(/apidoc is no object/, { apidoc: '"text"' });
      await refused(/apidoc\.swagger is no JSON/, { apidoc: { swagger: "{" } });
      for (const given of ["[]", "7", [], 7, true])
        await refused(/no Swagger document/, { apidoc: { swagger: given } });
      const large = { ...swagger("/large", ["get /x"]), "x-large": "x".repeat(2 ** 20) };
      await refused(/too large/, { apidoc: { swagger: large } }, 413);
    });

    test("documents without base path, paths or operations", async () => {
      const whole = (change: Record<string, unknown>) => ({
        apidoc: { swagger: { ...swagger("/w", ["get /x"]), ...change } },
      });
      await refused(/no basePath/, { apidoc: { swagger: swagger(undefined, ["get /x"]) } });
      for (const basePath of ["w", "", "http://host/w"])
        await refused(/basePath '.*' does not begin with '\/'/, whole({ basePath }));
      for (const basePath of [7, null, ["/w"]]) await refused(/basePath is no text/, whole({ basePath }));
      await refused(/basePath cannot have parameters/, whole({ basePath: "/w/{x}" }));
      for (const basePath of ["/w?x", "/w#x", "/%77", "/w/../v", "/w/.", "/{w", "/w\\v", "/w\u0000", "/\ud800"])
        await refused(/basePath '.*' cannot be one/s, whole({ basePath }));
      await refused(/basePath is too long/, whole({ basePath: `/${"w".repeat(300)}` }));
      for (const paths of [undefined, null, 7, "x", []]) await refused(/the API has no paths/, whole({ paths }));
      for (const paths of [{}, { "/x": {} }, { "/x": { brew: {} } }])
        await refused(/the API has no operation/, whole({ paths }));
    });

    test("operations that lead nowhere", async () => {
      const paths = (given: unknown) => ({ apidoc: { swagger: { ...swagger("/w", []), paths: given } } });
      const good = { "x-openwhisk": backend("echo") };
      for (const wrong of [null, 7, "x", [good]]) await refused(/path \/x has no operations/, paths({ "/x": wrong }));
      for (const wrong of [
        null,
        7,
        [],
        {},
        { "x-openwhisk": null },
        { "x-openwhisk": "echo" },
        { "x-openwhisk": { action: "echo", namespace: "guest", package: "default" } },
        { "x-openwhisk": { ...backend("echo"), url: "http://elsewhere/echo" } },
        { "x-openwhisk": { ...backend("echo"), action: 7 } },
        { "x-openwhisk": { ...backend("echo"), namespace: {} } },
      ])
        await refused(
          /operation post \/x names no action under x-openwhisk/,
          paths({ "/x": { get: good, post: wrong } }),
        );
      await refused(/the path 'x' does not begin with '\/'/, paths({ x: { get: good } }));
      await refused(/the path '\/x\/\{y' cannot be one/, paths({ "/x/{y": { get: good } }));
      await refused(
        /operations get \/x\/\{a\} and get \/x\/\{b\} are the same/,
        paths({ "/x/{a}": { get: good }, "/x/{b}": { get: good } }),
      );
    });

    test("single operations with something missing, or something of no use", async () => {
      const whole = operation("/w", "/x", "get");
      for (const field of ["gatewayBasePath", "gatewayPath", "gatewayMethod"] as const)
        for (const value of [undefined, "", 7])
          await refused(new RegExp(`apidoc\\.${field} is missing`), { apidoc: { ...whole, [field]: value } });
      for (const field of ["name", "backendUrl"] as const)
        await refused(new RegExp(`apidoc\\.action\\.${field} is missing`), {
          apidoc: { ...whole, action: { ...whole.action, [field]: undefined } },
        });
      for (const action of [undefined, null, "echo", []])
        await refused(/apidoc\.action\.name is missing/, { apidoc: { ...whole, action } });
      await refused(/basePath 'w' does not begin/, { apidoc: { ...whole, gatewayBasePath: "w" } });
      await refused(/the path 'x' does not begin/, { apidoc: { ...whole, gatewayPath: "x" } });
      await refused(/'BREW' is no method: get, /, { apidoc: { ...whole, gatewayMethod: "BREW" } });
      await refused(/names no action/, {
        apidoc: { ...whole, action: { ...whole.action, backendUrl: "http://elsewhere/echo" } },
      });
      await refused(/get \/x\/\{id\} and get \/x\/\{isbn\} are the same/, {
        apidoc: operation("/there", "/x/{isbn}", "get"),
      });
      await create(operation("/there", "/x/{isbn}", "put"));
    });
  });

  describe("deleting", () => {
    const remove = (query: Record<string, string>, auth = whisk.auth): Promise<Reply> =>
      manage("DELETE", "deleteApi.http", query, { auth });

    beforeEach(async () => {
      for (const one of ["get /x", "post /x", "get /y"]) {
        const [verb, path] = one.split(" ") as [string, string];
        await create({ ...operation("/d", path, verb), apiName: "Shop" });
      }
    });

    test("by path and method one operation goes, by path all of it, and with the last one the API", async () => {
      assert.equal((await remove({ basepath: "/d", relpath: "/x", operation: "GET" })).status, 200);
      assert.deepEqual(await operations("/d"), ["post /x", "get /y"]);
      assert.equal(await answering("/d/x"), 404);
      assert.equal(await answering("/d/x", "POST"), "echo");
      await create(operation("/d", "/x", "get"));
      assert.equal((await remove({ basepath: "/d", relpath: "/x" })).status, 200);
      assert.deepEqual(await operations("/d"), ["get /y"]);
      assert.equal((await remove({ basepath: "/d", relpath: "/y", operation: "get" })).status, 200);
      assert.deepEqual(await basePaths(), []);
    });

    test("the API goes by its base path or its name; a base path goes before a name", async () => {
      await create({ ...operation("/e", "/x", "get"), apiName: "/d" });
      assert.equal((await remove({ basepath: "/d", force: "true" })).status, 200);
      assert.deepEqual(await basePaths(), ["/e"]);
      assert.equal((await remove({ basepath: "/d" })).status, 200);
      assert.deepEqual(await basePaths(), []);
    });

    test("a name that several have deletes none of them", async () => {
      await create({ ...operation("/e", "/x", "get"), apiName: "Shop" });
      const reply = await remove({ basepath: "Shop" });
      assert.equal(reply.status, 409);
      assert.match(reply.body.error, /Several APIs are called 'Shop'/);
      assert.deepEqual(await basePaths(), ["/d", "/e"]);
    });

    test("what is not there is not found, a method without a path is refused, and all stays", async () => {
      const before = await apis();
      const refused = async (status: number, error: RegExp, query: Record<string, string>): Promise<void> => {
        const reply = await remove(query);
        assert.equal(reply.status, status, JSON.stringify(query));
        assert.match(reply.body.error, error);
      };
      await refused(400, /basepath is missing/, {});
      await refused(400, /relpath is missing/, { basepath: "/d", operation: "get" });
      await refused(404, /API '\/none' does not exist/, { basepath: "/none" });
      await refused(404, /no operation .*\/none/, { basepath: "/d", relpath: "/none" });
      await refused(404, /no operation put \/x/, { basepath: "/d", relpath: "/x", operation: "PUT" });
      for (const name of ["constructor", "__proto__"]) {
        await refused(404, /no operation/, { basepath: "/d", relpath: name });
        await refused(404, /no operation/, { basepath: "/d", relpath: "/x", operation: name });
      }
      assert.deepEqual(await apis(), before);
    });
  });

  describe("namespaces", () => {
    test("another's APIs are neither seen nor changed, and have the same base paths", async () => {
      await action("hers?overwrite=true", alice);
      await create({ ...operation("/n", "/x", "get"), apiName: "Mine" });
      const hers = await create(operation("/n", "/x", "get", "hers"), {}, alice);
      assert.equal(hers.gwApiUrl, `${whisk.apihost}/api/alice/n`);
      assert.equal(await answering("/n/x"), "echo");
      const herAnswer = (await (await visit("/n/x", {}, "alice")).json()) as { did: string };
      assert.match(herAnswer.did, /^hers/);
      assert.deepEqual(
        (await apis({}, alice)).map(({ id }) => id),
        ["API:alice:/n"],
      );
      assert.deepEqual(await apis({ basepath: "Mine" }, alice), []);
      assert.equal((await manage("DELETE", "deleteApi.http", { basepath: "Mine" }, { auth: alice })).status, 404);
      assert.equal((await manage("DELETE", "deleteApi.http", { basepath: "/n" }, { auth: alice })).status, 200);
      assert.equal(await answering("/n/x"), "echo");
      assert.equal((await visit("/n/x", {}, "alice")).status, 404);
    });

    test("an API knows the secrets of its own namespace's actions alone", async () => {
      await action("secured?overwrite=true", alice, "s3cret");
      await create(operation("/secured", "/x", "get", "secured"), {}, alice);
      assert.equal((await visit("/secured/x", {}, "alice")).status, 200);
      const foreign = swagger("/borrowed", ["get /x"]);
      foreign["paths"] = { "/x": { get: { "x-openwhisk": backend("secured", "alice") } } };
      await create({ swagger: foreign });
      assert.equal(await answering("/borrowed/x"), 401);
      const known = await visit("/borrowed/x", { headers: { "x-require-whisk-auth": "s3cret" } });
      assert.equal(known.status, 200);
    });

    test("only users with a key manage APIs, and by these three ways", async () => {
      for (const auth of [false, "guest:wrong"] as const) {
        const reply = await manage("GET", "getApi.http", {}, { auth });
        assert.equal(reply.status, 401);
      }
      for (const [method, endpoint] of [
        ["GET", "createApi.http"],
        ["POST", "deleteApi.http"],
        ["POST", "dropApi.http"],
      ] as const)
        assert.equal((await manage(method, endpoint)).status, 404, `${method} ${endpoint}`);
    });

    test("a name that begins as the REST API's path does is a namespace as any other", async () => {
      const auth = await whisk.user("v1x");
      await action("versioned", auth);
      await create(operation("/n", "/x", "get", "versioned"), {}, auth);
      assert.equal((await visit("/n/x", {}, "v1x")).status, 200);
    });

    test("with a namespace its APIs go", async () => {
      const auth = await whisk.user("passing");
      await create(operation("/n", "/x", "get"), {}, auth);
      assert.ok((await whisk.platform.request("/v1/namespaces/passing", { method: "DELETE" })).status < 300);
      assert.deepEqual(await apis({}, await whisk.user("passing")), []);
    });

    test("lists come in pages", async () => {
      for (const base of ["/l1", "/l2", "/l3"]) await create(operation(base, "/x", "get"));
      const page = (await apis({ limit: "2", skip: "1" })).map(({ value }) => value.apidoc.basePath);
      assert.deepEqual(page, ["/l2", "/l3"]);
      assert.equal((await manage("GET", "getApi.http", { limit: "201" })).status, 400);
    });
  });

  test("what was made is there after a kill", async () => {
    await create(operation("/kept", "/x/{id}", "get"));
    const before = await apis();
    await whisk.platform.kill();
    await whisk.up();
    const origin = /^http:\/\/[^/]+/;
    const plain = (all: typeof before): string =>
      JSON.stringify(all.map(({ value }) => value.gwApiUrl.replace(origin, "")));
    assert.equal(plain(await apis()), plain(before));
    assert.equal(await answering("/kept/x/1"), "echo");
  });
});
