/** What an action's program is given with each call (contract section 3.1). */
export interface Run {
  /** JSON. */
  readonly value: string;
  /** Whose call it is. */
  readonly namespace: string;
  /** `/namespace/package/name`. */
  readonly action: string;
  readonly version: string;
  readonly activation: string;
  readonly transaction: string;
  /** Milliseconds since the epoch. */
  readonly deadline: number;
  /** Where to call back, and the key for it. */
  readonly apiHost: string | undefined;
  readonly apiKey: string | undefined;
  /** Variables for the start; undefined where there are none. */
  readonly env: object | undefined;
}

/** The body of OpenWhisk's `/run`, which programs of most languages read themselves. */
export const objectType = "application/vnd.openwhisk.run+json";

export function objectOf(run: Run): string {
  return (
    `{"value":${run.value},"namespace":"${run.namespace}","action_name":"${run.action}",` +
    `"action_version":"${run.version}","activation_id":"${run.activation}",` +
    `"transaction_id":${JSON.stringify(run.transaction)},"deadline":"${Math.floor(run.deadline)}"` +
    (run.apiHost === undefined ? "" : `,"api_host":${JSON.stringify(run.apiHost)}`) +
    (run.apiKey === undefined ? "" : `,"api_key":${JSON.stringify(run.apiKey)}`) +
    (run.env === undefined ? "}" : `,"env":${JSON.stringify(run.env)}}`)
  );
}

/** The same as `guest/node/openwhisk-run.mjs` reads it, which says why. */
export const listType = "application/vnd.openwhisk.run-list+json";

export function listOf(run: Run): string {
  const standing = `${run.namespace},${run.action},${run.version},${run.apiHost ?? ""},${run.apiKey ?? ""}`;
  return (
    `["${run.activation}",${JSON.stringify(run.transaction)},"${Math.floor(run.deadline)}",` +
    `${JSON.stringify(standing)},${run.value}${run.env === undefined ? "" : `,${JSON.stringify(run.env)}`}]`
  );
}
