// whisk.system/github/webhook: a feed that makes a repository's webhook lead to a trigger.
const http = require("http");
const https = require("https");

async function main(params) {
  const { lifecycleEvent = "CREATE", triggerName, authKey, username, repository, accessToken, events = "*" } = params;
  const endpoint = params.endpoint ?? "https://api.github.com";
  for (const [name, value] of Object.entries({ username, repository, accessToken, triggerName, authKey })) {
    if (!value) return { error: `${name} is missing` };
  }
  const [, namespace, trigger] = String(triggerName).split("/");
  const host = new URL(
    process.env.__OW_API_HOST.includes("://") ? process.env.__OW_API_HOST : `https://${process.env.__OW_API_HOST}`,
  );
  const target = new URL(`/api/v1/namespaces/${namespace}/triggers/${encodeURIComponent(trigger)}`, host);
  const [user, key] = authKey.split(":");
  target.username = user;
  target.password = key;
  const owner = repository.includes("/") ? repository : `${username}/${repository}`;
  const hooks = `${endpoint}/repos/${owner}/hooks`;
  const action = String(lifecycleEvent).toUpperCase();
  if (action === "CREATE") {
    return ask("POST", hooks, accessToken, {
      name: "web",
      active: true,
      events: String(events)
        .split(",")
        .map((event) => event.trim()),
      config: { url: target.href, content_type: "json" },
    });
  }
  const found = (await ask("GET", hooks, accessToken)).find(({ config }) => config.url.endsWith(target.pathname));
  if (found === undefined) return { error: `${owner} has no webhook that leads to ${triggerName}` };
  if (action === "DELETE") {
    await ask("DELETE", `${hooks}/${found.id}`, accessToken);
    return {};
  }
  return found;
}

function ask(method, url, token, body) {
  const text = body === undefined ? "" : JSON.stringify(body);
  const headers = {
    authorization: `token ${token}`,
    "user-agent": "virga",
    "content-type": "application/json",
    "content-length": Buffer.byteLength(text),
  };
  return new Promise((resolve, reject) => {
    const client = url.startsWith("https:") ? https : http;
    const request = client.request(url, { method, headers }, (answer) => {
      let received = "";
      answer.on("data", (chunk) => (received += chunk));
      answer.on("end", () => {
        if (answer.statusCode >= 300) reject(`GitHub answered ${answer.statusCode}: ${received}`);
        else resolve(received === "" ? {} : JSON.parse(received));
      });
    });
    request.on("error", reject);
    request.end(text);
  });
}
