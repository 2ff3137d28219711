/** What an action's program is given with each call (contract section 3.1). */
export interface Run {
  /** JSON. */
  readonly value: string;
  readonly activation: string;
  readonly transaction: string;
  /** Milliseconds since the epoch. */
  readonly deadline: number;
  /** Variables for the start; undefined where there are none. */
  readonly env: object | undefined;
  readonly standing: Standing;
}

/** What one call of an action has like the next. */
export class Standing {
  /** Whose calls they are. */
  readonly namespace: string;
  /** `/namespace/package/name`. */
  readonly action: string;
  readonly version: string;
  /** Where to call back, and the key for it. */
  readonly apiHost: string | undefined;
  readonly apiKey: string | undefined;
  /** As the list has it. */
  readonly listed: string;

  constructor(
    namespace: string,
    action: string,
    version: string,
    apiHost: string | undefined,
    apiKey: string | undefined,
  ) {
    this.namespace = namespace;
    this.action = action;
    this.version = version;
    this.apiHost = apiHost;
    this.apiKey = apiKey;
    this.listed = JSON.stringify(`${namespace},${action},${version},${apiHost ?? ""},${apiKey ?? ""}`);
  }
}

/** The body of OpenWhisk's `/run`, which programs of most languages read themselves. */
export const objectType = "application/vnd.openwhisk.run+json";

export function objectOf({ standing, ...run }: Run): string {
  return (
    `{"value":${run.value},"namespace":"${standing.namespace}","action_name":"${standing.action}",` +
    `"action_version":"${standing.version}","activation_id":"${run.activation}",` +
    `"transaction_id":${JSON.stringify(run.transaction)},"deadline":"${Math.floor(run.deadline)}"` +
    (standing.apiHost === undefined ? "" : `,"api_host":${JSON.stringify(standing.apiHost)}`) +
    (standing.apiKey === undefined ? "" : `,"api_key":${JSON.stringify(standing.apiKey)}`) +
    (run.env === undefined ? "}" : `,"env":${JSON.stringify(run.env)}}`)
  );
}

/** The same as `guest/node/openwhisk-run.mjs` reads it, which says why. */
export const listType = "application/vnd.openwhisk.run-list+json";

export function listOf(run: Run): string {
  return (
    `["${run.activation}",${JSON.stringify(run.transaction)},"${Math.floor(run.deadline)}",` +
    `${run.standing.listed},${run.value}${run.env === undefined ? "" : `,${JSON.stringify(run.env)}`}]`
  );
}
