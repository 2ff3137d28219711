// whisk.system/websocket/send: sends `payload` to the WebSocket at `uri`.
function main({ uri, payload, content }) {
  if (!uri) return { error: "uri is missing" };
  const sent = payload ?? content;
  if (sent === undefined) return { error: "payload is missing" };
  const text = typeof sent === "string" ? sent : JSON.stringify(sent);
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(uri);
    socket.addEventListener("open", () => {
      socket.send(text);
      socket.close();
    });
    socket.addEventListener("close", () => resolve({ payload: text }));
    socket.addEventListener("error", (event) =>
      reject(`the WebSocket at ${uri} cannot be reached: ${event.message ?? "refused"}`),
    );
  });
}
