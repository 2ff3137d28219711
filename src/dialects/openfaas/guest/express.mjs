// The handlers of the node templates, `(event, context)`, without the Express server in between. What that server would have done
// to a request and an answer is done here.
import { createRequire } from "node:module";
import { join } from "node:path";
import { parse as parseQuery } from "node:querystring";
import { summarise } from "./said.mjs";

export function expressHandler({ environment, root }) {
  const app = join(root, "home/app");
  const require = createRequire(join(app, "index.js"));
  const handler = require(join(app, "function", "handler"));
  const parsePairs = pairsParser(require);
  const isRaw = environment.RAW_BODY === "true";
  const most = {
    raw: bytesOf(environment.MAX_RAW_SIZE),
    json: bytesOf(environment.MAX_JSON_SIZE),
    text: bytesOf(undefined),
  };

  async function serve(request, callContext) {
    const began = performance.now();
    const headers = {};
    for (const [name, value] of request.headers) headers[name] = value;
    headers["content-type"] ??= "text/plain";
    const url = request.url;
    const at = url.indexOf("/", url.indexOf("//") + 2);
    const mark = url.indexOf("?", at);
    const body = await bodyOf(request, headers);
    if (body instanceof Response) {
      summarise(callContext, request, body.status, -1, began);
      return body;
    }
    const event = {
      body,
      headers,
      method: request.method,
      query: mark < 0 ? {} : parsePairs(url.slice(mark + 1)),
      path: mark < 0 ? url.slice(at) : url.slice(at, mark),
    };
    return new Promise((resolve) => {
      let isAnswered = false;
      const context = new FunctionContext((error, value) => {
        const { answer, bytes } = answerOrRefusal(context, error, value);
        // What a handler says after its answer is heard by nobody.
        if (isAnswered) return;
        isAnswered = true;
        summarise(callContext, request, answer.status, bytes, began);
        resolve(answer);
      });
      try {
        Promise.resolve(handler(event, context, context.cb))
          .then((value) => {
            if (context.cbCalled === 0) context.succeed(value);
          })
          .catch(thrown);
      } catch (error) {
        thrown(error);
      }
      function thrown(error) {
        if (context.statusCode === 200) context.statusCode = 500;
        context.cb(error ?? new Error("the handler failed"));
      }
    });
  }

  /** Reads it only where Express would; asking whether there is one would make a stream of it. */
  async function bodyOf(request, { "content-type": given }) {
    if (request.method === "GET" || request.method === "HEAD") return {};
    if (isRaw) {
      const bytes = Buffer.from(await request.arrayBuffer());
      return bytes.length === 0 ? {} : within(most.raw, bytes);
    }
    const type = given.split(";", 1)[0].trim().toLowerCase();
    const isJson = type === "application/json";
    const isForm = type === "application/x-www-form-urlencoded";
    if (!isJson && !isForm && !type.startsWith("text/")) return {};
    const text = await request.text();
    if (text === "") return {};
    const body = within(isJson ? most.json : most.text, text);
    if (body instanceof Response) return body;
    if (isForm) return parsePairs(body);
    if (!isJson) return body;
    try {
      const value = JSON.parse(body);
      if (typeof value === "object" && value !== null) return value;
    } catch {
      // Answered below, as what is no object is.
    }
    return refusal(400, "Bad Request");
  }

  return serve;
}

class FunctionContext {
  statusCode = 200;
  headerValues = {};
  cbCalled = 0;

  constructor(cb) {
    this.cb = cb;
  }

  status(statusCode) {
    if (!statusCode) return this.statusCode;
    this.statusCode = statusCode;
    return this;
  }

  headers(value) {
    if (!value) return this.headerValues;
    this.headerValues = value;
    return this;
  }

  succeed(value) {
    this.cbCalled++;
    this.cb(undefined, value);
  }

  fail(value) {
    if (this.statusCode === 200) this.statusCode = 500;
    this.cbCalled++;
    this.cb(value);
  }
}

/** A status or a header may be one that HTTP does not know. */
function answerOrRefusal(context, error, value) {
  try {
    return answerOf(context, error, value);
  } catch (thrown) {
    console.error(thrown);
    return { answer: refusal(500, String(thrown)), bytes: 0 };
  }
}

function answerOf(context, error, value) {
  if (error) {
    console.error(error);
    if (isBodyless(context.statusCode)) return { answer: new Response(null, { status: context.statusCode }), bytes: 0 };
    return textAnswer(context.statusCode, [["content-type", html["content-type"]]], `${error}`);
  }
  const status = context.statusCode;
  const headers = [];
  let type;
  for (const name of Object.keys(context.headerValues)) {
    const given = context.headerValues[name];
    if (name.toLowerCase() === "content-type") type = `${given}`;
    else if (Array.isArray(given)) for (const one of given) headers.push([name, `${one}`]);
    else headers.push([name, `${given}`]);
  }
  if (isBodyless(status) || value === undefined || value === null) {
    if (type !== undefined) headers.push(["content-type", withCharset(type)]);
    return { answer: new Response(null, { status, headers }), bytes: 0 };
  }
  if (value instanceof Uint8Array) {
    headers.push(["content-type", withCharset(type ?? "application/octet-stream")]);
    return { answer: new Response(value, { status, headers }), bytes: value.length };
  }
  const isJson = typeof value === "boolean" || typeof value === "number";
  headers.push(["content-type", asText(type ?? (isJson ? "application/json" : "text/html"))]);
  return textAnswer(status, headers, isJson || typeof value === "object" ? JSON.stringify(value) : `${value}`);
}

function textAnswer(status, headers, text) {
  return { answer: new Response(text, { status, headers }), bytes: Buffer.byteLength(text) };
}

function isBodyless(status) {
  return status === 204 || status === 205 || status === 304;
}

/** Express names the encoding of what is text by its type, where nobody has. */
function withCharset(type) {
  return /^(text\/|application\/(javascript|json))/.test(type) && !/;\s*charset\s*=/.test(type)
    ? `${type}; charset=utf-8`
    : type;
}

/** A text goes out as UTF-8, whatever was said. */
function asText(type) {
  if (type === "text/html") return html["content-type"];
  return `${type.replace(/;\s*charset\s*=\s*[^;]*/i, "")}; charset=utf-8`;
}

/** Nested pairs, as Express reads them, by the parser that the function's own Express brought. */
function pairsParser(require) {
  try {
    const { parse } = require("qs");
    return (text) => (text === "" ? {} : parse(text, { allowPrototypes: true }));
  } catch {
    return (text) => ({ ...parseQuery(text) });
  }
}

/** `100kb` and the like. */
function bytesOf(text = "100kb") {
  const [, amount, unit = "b"] = /^\s*(\d+(?:\.\d+)?)\s*(b|kb|mb|gb)?\s*$/i.exec(text) ?? ["", "100", "kb"];
  return Number(amount) * 1024 ** ["b", "kb", "mb", "gb"].indexOf(unit.toLowerCase());
}

function within(limit, body) {
  return Buffer.byteLength(body) > limit ? refusal(413, "Payload Too Large") : body;
}

function refusal(status, text) {
  return new Response(text, { status, headers: html });
}

const html = { "content-type": "text/html; charset=utf-8" };
