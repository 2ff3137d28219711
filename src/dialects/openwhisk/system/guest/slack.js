// whisk.system/slack/post: posts to an incoming webhook, or to the Web API with a token.
const http = require("http");
const https = require("https");

function main({
  url = "https://slack.com/api/chat.postMessage",
  token,
  channel,
  username = "Virga",
  text,
  as_user,
  icon_emoji,
}) {
  if (!text) return { error: "text is missing" };
  if (!channel && !String(url).includes("/services/")) return { error: "channel is missing" };
  const message = { channel, username, text, as_user, icon_emoji };
  const body = JSON.stringify(message);
  const headers = {
    "content-type": "application/json; charset=utf-8",
    "content-length": Buffer.byteLength(body),
    ...(token ? { authorization: `Bearer ${token}` } : {}),
  };
  return new Promise((resolve, reject) => {
    const client = String(url).startsWith("https:") ? https : http;
    const request = client.request(url, { method: "POST", headers }, (answer) => {
      let received = "";
      answer.on("data", (chunk) => (received += chunk));
      answer.on("end", () => {
        const failed = answer.statusCode >= 300 || /"ok":\s*false/.test(received);
        if (failed) reject(`Slack answered ${answer.statusCode}: ${received}`);
        else resolve({ channel, text, username });
      });
    });
    request.on("error", reject);
    request.end(body);
  });
}
