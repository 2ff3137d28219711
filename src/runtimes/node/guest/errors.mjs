// What a thrown thing tells the function's author: message, stack of their own frames, place in their own file.
import { inspect } from "node:util";

let root = "/";

/** Paths are shown relative to this folder. */
export function setRoot(directory) {
  root = directory.endsWith("/") ? directory : `${directory}/`;
}

export function describe(thrown) {
  if (!(thrown instanceof Error) && !(typeof thrown?.stack === "string" && typeof thrown.message === "string")) {
    return { message: `A value that is no Error was thrown: ${inspect(thrown, { depth: 1, breakLength: Infinity })}` };
  }
  let stack;
  let message;
  try {
    message = thrown.name === "Error" || !thrown.name ? `${thrown.message}` : `${thrown.name}: ${thrown.message}`;
    stack = `${thrown.stack}`;
  } catch (error) {
    return { message: `An error whose message cannot be read was thrown (${String(error)})` };
  }
  if (thrown.cause instanceof Error) stack += `\nCaused by: ${thrown.cause.stack}`;
  return { message: relative(message || "Error"), stack: trim(stack), location: locate(stack) };
}

/** The stack of whoever called, for events that are no errors. */
export function here(what) {
  return describe(Object.assign(new Error(what), { name: "Error" }));
}

/** Without the frames of Node and of this guest; an error that has no other keeps its message alone. */
function trim(stack) {
  const lines = stack.split("\n").filter((line) => !/^\s+at /.test(line) || line.includes(root));
  return relative(lines.slice(0, 100).join("\n")).trim();
}

/** `file:line:column` of the first place in the function's own code, before any in its dependencies. */
function locate(stack) {
  const place = new RegExp(`(?:file://)?${escape(root)}([^\\s():]+):(\\d+)(?::(\\d+))?`, "g");
  let first;
  for (const [, file, line, column] of stack.matchAll(place)) {
    const location = column === undefined ? `${file}:${line}` : `${file}:${line}:${column}`;
    if (!file.startsWith("node_modules/")) return location;
    first ??= location;
  }
  return first;
}

function relative(text) {
  return text.replaceAll(`file://${root}`, "").replaceAll(root, "");
}

/** As text of a regular expression. */
export function escape(text) {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}
