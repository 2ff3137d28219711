"use strict";

const handler = require("./function/handler");

const chunks = [];
process.stdin.on("data", (chunk) => chunks.push(chunk));
process.stdin.on("end", () => run(Buffer.concat(chunks).toString()));

async function run(request) {
  let settled = false;
  const settle = (error, value) => {
    if (settled) return;
    settled = true;
    if (error !== undefined && error !== null) fail(error);
    else answer(value);
  };
  try {
    const returned = handler(request, settle);
    const value = await Promise.resolve(returned);
    // Without a promise, the callback will tell.
    if (returned !== undefined) settle(undefined, value);
  } catch (error) {
    settle(error ?? new Error("The function threw nothing."));
  }
}

function answer(value) {
  if (value === undefined) return;
  if (value instanceof Uint8Array) process.stdout.write(value);
  else if (typeof value === "object" && value !== null) console.log(JSON.stringify(value));
  else console.log(String(value));
}

function fail(error) {
  console.error(error);
  process.exitCode = 1;
}
