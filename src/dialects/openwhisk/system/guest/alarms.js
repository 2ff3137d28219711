// A feed of whisk.system/alarms: asks the platform for a timer on a trigger, with the key of the trigger's owner.
const http = require("http");
const https = require("https");

const methods = { CREATE: "PUT", UPDATE: "PUT", READ: "GET", DELETE: "DELETE", PAUSE: "POST", UNPAUSE: "POST" };
/** What makes a timer, by the feed's kind. */
const timers = { alarm: "cron", interval: "minutes", once: "date" };

function main(params) {
  const { lifecycleEvent = "CREATE", triggerName, authKey, kind, ...settings } = params;
  const event = String(lifecycleEvent).toUpperCase();
  // Whoever resumes it with other settings changes it.
  const method = event === "UNPAUSE" && settings[timers[kind]] !== undefined ? "PUT" : methods[event];
  if (method === undefined) return { error: `unsupported lifecycleEvent ${lifecycleEvent}` };
  if (!triggerName) return { error: "triggerName is missing: create the trigger with --feed" };
  const key = authKey || process.env.__OW_API_KEY;
  if (!key) return { error: "authKey is missing: create the trigger with --feed" };
  const name = String(triggerName).split("/").pop();
  const bodies = { PUT: { kind, ...settings }, POST: { active: event === "UNPAUSE" } };
  return ask(method, `/api/v1/alarms/${encodeURIComponent(name)}`, key, bodies[method]);
}

function ask(method, path, key, body) {
  const host = process.env.__OW_API_HOST;
  const url = new URL(path, host.includes("://") ? host : `https://${host}`);
  const text = body === undefined ? "" : JSON.stringify(body);
  const headers = {
    authorization: `Basic ${Buffer.from(key).toString("base64")}`,
    "content-type": "application/json",
    "content-length": Buffer.byteLength(text),
  };
  return new Promise((resolve, reject) => {
    const request = (url.protocol === "https:" ? https : http).request(url, { method, headers }, (answer) => {
      let received = "";
      answer.on("data", (chunk) => (received += chunk));
      answer.on("end", () => {
        const value = received === "" ? {} : JSON.parse(received);
        if (answer.statusCode < 300) resolve(value);
        else reject(value.error ?? `the platform answered ${answer.statusCode}`);
      });
    });
    request.on("error", reject);
    request.end(text);
  });
}
