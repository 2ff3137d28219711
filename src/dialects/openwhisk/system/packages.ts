/** The packages of `whisk.system` that everybody may use (contract section 7.2). */
import type { Json } from "../../../core/workflow/definition.ts";

export interface SystemPackage {
  readonly name: string;
  readonly description: string;
  readonly actions: readonly SystemAction[];
}

export interface SystemAction {
  readonly name: string;
  /** A file in `guest/`. */
  readonly file: string;
  readonly description: string;
  /** What tells the file's several tools apart. */
  readonly parameters?: Readonly<Record<string, Json>>;
  readonly isFeed?: true;
  /** Needs the caller's key. */
  readonly needsKey?: true;
}

const utils = {
  cat: "Concatenates lines into one text",
  date: "The current date and time",
  echo: "Answers what it is given",
  head: "The first lines of a list",
  hosturl: "The URL of an action or trigger",
  namespace: "The namespace of the caller",
  smash: "Several values as one list",
  sort: "Sorts lines",
  split: "Splits a text into lines",
};

const samples = {
  greeting: "A friendly greeting",
  helloWorld: "Writes a greeting into its log",
  wordCount: "Counts the words of a text",
  curl: "Fetches a page",
};

const alarms = {
  alarm: "Fires a trigger by a cron expression",
  interval: "Fires a trigger every so many minutes",
  once: "Fires a trigger at a date",
};

export const systemPackages: readonly SystemPackage[] = [
  {
    name: "utils",
    description: "Building blocks for sequences",
    actions: Object.entries(utils).map(([name, description]) => ({
      name,
      description,
      file: "utils.js",
      parameters: { tool: name },
    })),
  },
  {
    name: "samples",
    description: "Actions to try things with",
    actions: Object.entries(samples).map(([name, description]) => ({
      name,
      description,
      file: "samples.js",
      parameters: { sample: name },
    })),
  },
  {
    name: "alarms",
    description: "Triggers by the clock",
    actions: Object.entries(alarms).map(([name, description]) => ({
      name,
      description,
      file: "alarms.js",
      parameters: { kind: name },
      isFeed: true,
      needsKey: true,
    })),
  },
  {
    name: "websocket",
    description: "Messages to WebSockets",
    actions: [{ name: "send", description: "Sends a message to a WebSocket", file: "websocket.js" }],
  },
  {
    name: "slack",
    description: "Messages to Slack",
    actions: [{ name: "post", description: "Posts a message to a channel", file: "slack.js" }],
  },
  {
    name: "github",
    description: "Events of GitHub",
    actions: [
      {
        name: "webhook",
        description: "Fires a trigger for each event of a repository",
        file: "github.js",
        isFeed: true,
        needsKey: true,
      },
    ],
  },
];
