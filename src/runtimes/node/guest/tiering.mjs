// When V8 compiles for good. It waits for thousands of calls of a function: an instance that has one call in twenty milliseconds
// runs slow code for minutes. Where calls are brief and many it is worth it at once; not from the start, for the first calls of
// large code would pay for what they may never need.
let remaining = 250;
let cpuMicros = 0;

/** False: there is nothing to be told any more. */
export let isWatching = process.versions.v8.startsWith("13.");

/** A call has ended that took so much of a processor. */
export function callEnded(micros) {
  cpuMicros += micros;
  if (--remaining > 0) return;
  isWatching = false;
  if (cpuMicros > mostMicros) return;
  const { setFlagsFromString } = process.getBuiltinModule("node:v8");
  for (const flag of flags) setFlagsFromString(flag);
}

/** Of all these calls: 0.4 ms each. */
const mostMicros = 100_000;
/** Of V8 13: calls of a function until it is compiled by Maglev, by TurboFan, and behind a change of what it knows of its types. */
const flags = [
  "--invocation-count-for-maglev=30",
  "--invocation-count-for-turbofan=200",
  "--minimum-invocations-after-ic-update=30",
];
