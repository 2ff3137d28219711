"use strict";

const express = require("express");
const handler = require("./function/handler");

const port = Number(process.env.http_port || 3000);
const rawLimit = process.env.MAX_RAW_SIZE || "100kb";
const jsonLimit = process.env.MAX_JSON_SIZE || "100kb";

/** The response, as the handler makes it. Getters and setters share a name. */
class FunctionContext {
  #settle;
  #status = 200;
  #headers = {};

  constructor(settle) {
    this.#settle = settle;
  }

  status(code) {
    if (code === undefined) return this.#status;
    this.#status = Number(code);
    return this;
  }

  headers(values) {
    if (values === undefined) return this.#headers;
    this.#headers = values;
    return this;
  }

  succeed(value) {
    this.#settle(undefined, value);
    return this;
  }

  fail(error) {
    this.#settle(error === undefined ? new Error("The function failed.") : error);
    return this;
  }
}

const app = express();
app.disable("x-powered-by");
app.use((request, _response, next) => {
  // Without a type no parser would touch the body.
  if (!request.headers["content-type"]) request.headers["content-type"] = "text/plain";
  next();
});
if (process.env.RAW_BODY === "true") {
  app.use(express.raw({ type: () => true, limit: rawLimit }));
} else {
  app.use(express.text({ type: "text/*" }));
  app.use(express.json({ limit: jsonLimit }));
  app.use(express.urlencoded({ extended: true }));
}
app.use((request, response) => {
  let settled = false;
  const settle = (error, value) => {
    if (settled) return;
    settled = true;
    if (error !== undefined && error !== null) fail(response, context, error);
    else succeed(response, context, value);
  };
  const context = new FunctionContext(settle);
  void run(eventOf(request), context, settle);
});
app.use((error, _request, response, _next) => {
  response.status(error.status || 500).send(String(error.message || error));
});

const server = app.listen(port, () => console.log(`Listening on port ${port}`));
// The watchdog keeps its connections; one closed from this side while it is taken up again would fail a call.
server.keepAliveTimeout = 0;

/** The request, as the handler sees it. */
function eventOf({ body, headers, method, query, path }) {
  return { body: body === undefined ? {} : body, headers, method, query, path };
}

async function run(event, context, settle) {
  try {
    const returned = handler(event, context, settle);
    const value = await Promise.resolve(returned);
    // A handler that takes a callback and returns nothing is not done yet.
    if (returned === undefined && handler.length > 2) return;
    settle(undefined, value);
  } catch (error) {
    settle(error === undefined || error === null ? new Error("The function threw nothing.") : error);
  }
}

function succeed(response, context, value) {
  // A context that was returned means: what it was told.
  const body = value instanceof FunctionContext ? undefined : value;
  response.status(context.status()).set(context.headers());
  if (body === undefined || body === null) response.end();
  else if (body instanceof Uint8Array) response.send(Buffer.from(body));
  else if (typeof body === "object") response.send(JSON.stringify(body));
  else if (typeof body === "boolean" || typeof body === "number") response.json(body);
  else response.send(String(body));
}

function fail(response, context, error) {
  console.error(error);
  response.status(context.status() === 200 ? 500 : context.status()).send(String(error));
}
