// What the function's own server says of itself, by the paths that its annotations name.
import { get } from "node:http";

/** Resolves when the server says that it is ready. Asked often: nobody but this function waits for the answer. */
export async function untilReady(address, { path, initialDelayMs, timeoutMs }) {
  await pause(initialDelayMs);
  while (!(await isWell(address, path, timeoutMs))) await pause(readyPauseMs);
}

/** Calls `fail` when the server has not said that it is well as often in a row as is too often. */
export function watchHealth(address, { path, initialDelayMs, periodMs, timeoutMs, failureThreshold }, fail) {
  let failures = 0;
  const look = async () => {
    failures = (await isWell(address, path, timeoutMs)) ? 0 : failures + 1;
    if (failures >= failureThreshold) fail(`it failed its health check at ${path} ${failures} times`);
    else setTimeout(look, periodMs).unref();
  };
  setTimeout(look, initialDelayMs + periodMs).unref();
}

function isWell({ host, port }, path, timeoutMs) {
  return new Promise((resolve) => {
    const asked = get({ host, port, path, timeout: timeoutMs, agent: false }, (response) => {
      response.resume();
      resolve(response.statusCode >= 200 && response.statusCode < 400);
    });
    asked.once("timeout", () => asked.destroy());
    asked.once("error", () => resolve(false));
  });
}

function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

const readyPauseMs = 25;
