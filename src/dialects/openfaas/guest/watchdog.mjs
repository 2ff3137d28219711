// What runs inside the sandbox of an OpenFaaS function: the rules of its two watchdogs. Imports nothing of the platform's.
import { forkHandler } from "./fork.mjs";
import { relayGateway } from "./gateway.mjs";
import { furnish } from "./place.mjs";
import { serveStatic } from "./static.mjs";

const place = furnish();
const mode = place.settings.watchdog === "classic" ? "classic" : (place.environment.mode ?? "streaming");
const handlers = {
  classic: () => forkHandler(place, "classic"),
  streaming: () => forkHandler(place, "streaming"),
  serializing: () => forkHandler(place, "serializing"),
  static: () => serveStatic(place),
  // What only some functions need is loaded for those alone.
  express: async () => (await import("./express.mjs")).expressHandler(place),
  http: async () => (await import("./server.mjs")).serverHandler(place),
};

const choose = handlers[mode === "http" && place.settings.entry === "express" ? "express" : mode];
if (choose === undefined) {
  throw new Error(`mode ${mode} is none of http, streaming, serializing and static; set the environment variable mode`);
}
const handle = await choose();
await relayGateway();

const inFlight = { count: 0, most: Number(place.environment.max_inflight ?? 0) };

export default (request, context) => {
  const limited = inFlight.most > 0;
  if (limited && inFlight.count >= inFlight.most) return overloaded();
  const began = performance.now();
  // What an event or a timer calls came through no gateway that would have given it one.
  if (!request.headers.has("x-call-id")) request.headers.set("x-call-id", context.id);
  inFlight.count++;
  const timed = (answer) => {
    inFlight.count--;
    answer.headers.set("x-duration-seconds", ((performance.now() - began) / 1000).toFixed(6));
    return answer;
  };
  const answer = handle(request, context);
  if (typeof answer.then !== "function") return timed(answer);
  return answer.then(timed, (error) => {
    inFlight.count--;
    throw error;
  });
};

function overloaded() {
  return new Response(`Concurrent request limit exceeded. Max concurrent requests: ${inFlight.most}`, {
    status: 429,
    headers: { "x-openfaas-internal": "faas-middleware" },
  });
}
