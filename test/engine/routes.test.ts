import assert from "node:assert/strict";
import { test } from "node:test";
import { VirgaError } from "../../src/core/errors.ts";
import type { Route } from "../../src/core/model.ts";
import { createMemoryStore } from "../../src/drivers/store/memory/store.ts";
import { createRoutes } from "../../src/engine/routes.ts";
import { seededChance, VirtualClock } from "./virtual-clock.ts";

async function table() {
  const { records } = createMemoryStore({ clock: new VirtualClock(), chance: seededChance() });
  const functions = { get: async ({ name }: { name: string }) => (name === "missing" ? undefined : {}) };
  const open = () => createRoutes({ records, functions });
  return { routes: await open(), open };
}

function route(id: string, path: string, more: Partial<Route> = {}): Route {
  return { id, namespace: "default", path, function: "hello", ...more };
}

const failsWith = (code: string, field: string) => (error: unknown) =>
  error instanceof VirgaError && error.code === code && error.detail.field === field && error.detail.fix !== undefined;

test("routes match after a restart as before", async () => {
  const { routes, open } = await table();
  await routes.put(route("a", "/users/{id}", { method: "get" }));
  for (const each of [routes, await open()]) {
    assert.equal(each.size, 1);
    assert.deepEqual(each.match("any.example", "GET", "/users/7"), {
      route: route("a", "/users/{id}", { method: "GET" }),
      parameters: { id: "7" },
    });
    assert.equal(each.match("any.example", "POST", "/users/7"), undefined);
  }
});

test("a host's own routes come before those for any host, whatever case and port the request has", async () => {
  const { routes } = await table();
  await routes.put(route("any", "/{path...}"));
  await routes.put(route("own", "/{path...}", { host: "Shop.Example" }));
  assert.equal(routes.match("SHOP.example:8080", "GET", "/x")?.route.id, "own");
  assert.equal(routes.match("shop.example.", "GET", "/x")?.route.id, "own");
  assert.equal(routes.match("other.example", "GET", "/x")?.route.id, "any");
  assert.equal(routes.match("", "GET", "/x")?.route.id, "any");
  assert.equal(routes.match("[::1]:80", "GET", "/x")?.route.id, "any");
});

test("two routes cannot have the same shape; the other one is named in its own namespace only", async () => {
  const { routes } = await table();
  await routes.put(route("first", "/users/{id}"));
  await assert.rejects(
    routes.put(route("second", "/users/{name}")),
    (error: unknown) => failsWith("conflict", "path")(error) && (error as VirgaError).message.includes("first"),
  );
  await assert.rejects(
    routes.put(route("third", "/users/{name}", { namespace: "other" })),
    (error: unknown) => failsWith("conflict", "path")(error) && !(error as VirgaError).message.includes("first"),
  );
  await routes.put(route("fourth", "/users/{name}", { method: "PUT" }));
  await routes.put(route("first", "/users/{id}", { function: "other" }));
  assert.equal(routes.match("", "GET", "/users/1")?.route.function, "other");
});

test("a route that is changed or deleted matches no more where it was", async () => {
  const { routes } = await table();
  await routes.put(route("a", "/old"));
  await routes.put(route("a", "/new"));
  assert.equal(routes.match("", "GET", "/old"), undefined);
  assert.equal(await routes.delete("default", "a"), true);
  assert.equal(await routes.delete("default", "a"), false);
  assert.equal(await routes.delete("de/fault", "a"), false);
  assert.equal(routes.match("", "GET", "/new"), undefined);
  assert.equal(routes.size, 0);
});

test("of two conflicting routes put at the same time, one is refused", async () => {
  const { routes } = await table();
  const results = await Promise.allSettled([routes.put(route("a", "/x")), routes.put(route("b", "/x"))]);
  assert.deepEqual(
    results.map(({ status }) => status),
    ["fulfilled", "rejected"],
  );
});

test("wrong routes are refused with their field", async () => {
  const { routes } = await table();
  await assert.rejects(routes.put(route("A", "/x")), failsWith("invalid_field", "id"));
  await assert.rejects(routes.put(route("a", "x")), failsWith("invalid_field", "path"));
  await assert.rejects(routes.put(route("a", "/a/../b")), failsWith("invalid_field", "path"));
  await assert.rejects(routes.put(route("a", 5 as never)), failsWith("invalid_field", "path"));
  await assert.rejects(routes.put(route("a", "/v1/x")), failsWith("invalid_field", "path"));
  await assert.rejects(routes.put(route("a", "/x", { host: "http://x" })), failsWith("invalid_field", "host"));
  await assert.rejects(routes.put(route("a", "/x", { host: "*.x" })), failsWith("invalid_field", "host"));
  await assert.rejects(routes.put(route("a", "/x", { method: "GE T" })), failsWith("invalid_field", "method"));
  await assert.rejects(routes.put(route("a", "/x", { function: "missing" })), failsWith("invalid_field", "function"));
  assert.equal(routes.size, 0);
});

test("a deleted namespace's routes are gone, its neighbour's stay", async () => {
  const { routes, open } = await table();
  await routes.put(route("a", "/a"));
  await routes.put(route("b", "/b", { namespace: "default-two" }));
  await routes.forget("default");
  assert.deepEqual((await (await open()).list("default")).length, 0);
  assert.equal(routes.match("", "GET", "/b")?.route.id, "b");
});
