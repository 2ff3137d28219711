import type { Route } from "../../core/model.ts";
import { confirmed } from "../ask.ts";
import { path } from "../client.ts";
import { command, functionArgument, outputOption, yesOption } from "../command.ts";
import { exit } from "../exit.ts";
import { printList } from "../output.ts";

export const routeList = command({
  name: "route list",
  summary: "list the custom routes",
  arguments: {},
  options: { output: outputOption },
  async run({ client, namespace, terminal }, _given, options) {
    await printList(
      terminal,
      options.output ?? "table",
      await client.list<Route>(path`/v1/namespaces/${namespace}/routes`),
      [
        { title: "ID", value: ({ id }) => id },
        { title: "METHOD", value: ({ method }) => method ?? "ANY" },
        { title: "HOST", value: ({ host }) => host ?? "*" },
        { title: "PATH", value: (route) => route.path },
        { title: "FUNCTION", value: (route) => `${route.function}${route.tag ? `:${route.tag}` : ""}` },
      ],
      `no routes in namespace ${namespace}`,
    );
  },
});

export const routeSet = command({
  name: "route set",
  summary: "send requests of a path to a function",
  examples: [
    "virga route set users api --path '/users/{id}'",
    "virga route set www site --path '/{path...}' --host www.example.org",
  ],
  arguments: { id: { kind: "required", summary: "the route's name", completes: "route" }, function: functionArgument },
  options: {
    path: { kind: "text", summary: "/users/{id} or /files/{path...}; / and the id where absent" },
    host: { kind: "text", summary: "exact host name; any where absent" },
    method: { kind: "text", summary: "any where absent" },
    tag: { kind: "text", summary: "a traffic tag of the function" },
  },
  async run({ client, namespace, terminal }, given, options) {
    const route = {
      path: options.path ?? `/${given.id}`,
      function: given.function,
      ...(options.host === undefined ? {} : { host: options.host }),
      ...(options.method === undefined ? {} : { method: options.method.toUpperCase() }),
      ...(options.tag === undefined ? {} : { tag: options.tag }),
    };
    await client.json("PUT", path`/v1/namespaces/${namespace}/routes/${given.id}`, { json: route });
    terminal.print(`${route.method ?? "ANY"} ${route.host ?? ""}${route.path} → ${given.function}`);
  },
});

export const routeDelete = command({
  name: "route delete",
  summary: "delete a route",
  arguments: { id: { kind: "required", summary: "the route's name", completes: "route" } },
  options: { yes: yesOption },
  async run({ client, namespace, terminal }, given, options) {
    if (!(await confirmed(terminal, `Delete route ${given.id} of namespace ${namespace}?`, options.yes))) {
      terminal.note("nothing was deleted");
      return exit.failed;
    }
    await client.json("DELETE", path`/v1/namespaces/${namespace}/routes/${given.id}`);
    terminal.print(`deleted ${given.id}`);
    return exit.ok;
  },
});
