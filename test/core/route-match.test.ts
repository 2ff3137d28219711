import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parseTemplate, requestSegments, RouteTree } from "../../src/core/route-match.ts";

function tree(...routes: string[]): RouteTree<string> {
  const made = new RouteTree<string>();
  for (const route of routes) {
    const [method, path] = route.split(" ") as [string, string];
    const segments = parseTemplate(path);
    assert.ok(typeof segments !== "string", path);
    made.add(segments, method === "*" ? undefined : method, route);
  }
  return made;
}

test("literal segments win over parameters, parameters over the rest of the path", () => {
  const routes = tree("* /users/me", "* /users/{id}", "* /{path...}", "* /users/{id}/posts");
  assert.equal(routes.match("GET", "/users/me")?.value, "* /users/me");
  assert.deepEqual(routes.match("GET", "/users/7"), { value: "* /users/{id}", parameters: { id: "7" } });
  assert.deepEqual(routes.match("GET", "/users/me/posts"), { value: "* /users/{id}/posts", parameters: { id: "me" } });
  assert.deepEqual(routes.match("GET", "/users/me/other"), {
    value: "* /{path...}",
    parameters: { path: "users/me/other" },
  });
  assert.deepEqual(routes.match("GET", "/"), { value: "* /{path...}", parameters: { path: "" } });
});

test("a named method wins over any, and a route without it is passed by", () => {
  const routes = tree("GET /a/b", "* /a/{x}", "* /a/b");
  assert.equal(routes.match("GET", "/a/b")?.value, "GET /a/b");
  assert.equal(routes.match("POST", "/a/b")?.value, "* /a/b");
  assert.equal(tree("GET /a/b", "POST /a/{x}").match("POST", "/a/b")?.value, "POST /a/{x}");
  assert.equal(tree("GET /a").match("POST", "/a"), undefined);
});

test("a trailing slash and an empty segment count", () => {
  const routes = tree("* /a", "* /b/", "* /c/{x}", "* /d/{rest...}");
  assert.equal(routes.match("GET", "/a/"), undefined);
  assert.equal(routes.match("GET", "/b"), undefined);
  assert.equal(routes.match("GET", "/b/")?.value, "* /b/");
  assert.equal(routes.match("GET", "/c/"), undefined);
  assert.equal(routes.match("GET", "/d"), undefined);
  assert.equal(routes.match("GET", "/d/")?.parameters["rest"], "");
});

test("segments are decoded once, each on its own", () => {
  const routes = tree("* /{a}/{b}", "* /grün");
  assert.deepEqual(routes.match("GET", "/x%2Fy/%2525")?.parameters, { a: "x/y", b: "%25" });
  assert.equal(routes.match("GET", "/gr%C3%BCn")?.value, "* /grün");
  assert.equal(routes.match("GET", "/a%2Fb"), undefined);
});

test("a path that climbs, hides control characters or is badly encoded matches nothing", () => {
  const routes = tree("* /{path...}");
  for (const path of [
    "/../x",
    "/%2e%2e/x",
    "/a/.",
    "/a%2f..%2fb",
    "/a/..%5Cb",
    "/%00",
    "/a%0d%0ab",
    "/%",
    "/%ff",
    "/\x7f",
    "x",
    "",
  ]) {
    assert.equal(routes.match("GET", path), undefined, path);
  }
  assert.equal(routes.match("GET", "/..a/b..c/...")?.parameters["path"], "..a/b..c/...");
});

test("templates that cannot work are refused with a reason", () => {
  for (const path of [
    "a",
    "/{a",
    "/{a}b",
    "/{a...}/b",
    "/{a}/{A}",
    "/a//b",
    "/a?b",
    "/%20",
    "/..",
    "/{1}",
    "/" + "a/".repeat(70),
  ]) {
    assert.equal(typeof parseTemplate(path), "string", path);
  }
});

test("parameters named __proto__ are just parameters", () => {
  assert.equal(typeof parseTemplate("/{__proto__}"), "string");
  assert.equal(tree("* /{constructor}").match("GET", "/x")?.parameters["constructor"], "x");
});

test("any text is matched or not, and never throws; a match's values put back give the path", () => {
  const routes = tree("GET /a/{x}/c", "* /a/{x}", "* /{y}/b", "* /z/{rest...}");
  const text = fc.oneof(
    fc.string(),
    fc.array(fc.constantFrom("a", "b", "c", "z", "%2e", "%", "..", "é", "x%20y")).map((parts) => "/" + parts.join("/")),
  );
  fc.assert(
    fc.property(text, (path) => {
      const match = routes.match("GET", path);
      if (match === undefined) return;
      const template = match.value.split(" ")[1]!;
      const filled = template.replace(/\{(\w+)(\.\.\.)?\}/g, (_, name: string) => match.parameters[name]!);
      assert.equal(filled, "/" + requestSegments(path)!.join("/"));
    }),
  );
});
