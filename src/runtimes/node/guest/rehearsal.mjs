// A load and calls that nobody asked for, before the code is there: what V8 compiles and Node loads on first use is then done
// when a caller waits. The handler does what handlers commonly do.
export default async (request, context) => {
  const { searchParams } = new URL(request.url);
  const name = searchParams.get("name") ?? request.headers.get("user-agent");
  const body = request.method === "POST" ? await request.json() : {};
  context.log.info("rehearsal", name, context.remainingMs());
  return body.plain ? `plain ${name}` : Response.json({ name, body }, { headers: { "x-rehearsal": "1" } });
};

/** What an `init` frame would say. */
export const rehearsedInit = {
  directory: import.meta.dirname,
  handler: "rehearsal.mjs",
  environment: {},
  namespace: "none",
  function: "rehearsal",
  revision: 0,
};

/** Payloads of `invoke` frames. */
export function rehearsedCalls() {
  return ["GET", "POST"].map((method) => {
    const headers = ["host", "127.0.0.1", "user-agent", "rehearsal", "content-type", "application/json"];
    const url = "http://127.0.0.1/f/none/rehearsal/?name=x";
    const trace = "00-00000000000000000000000000000001-0000000000000001-00";
    const head = Buffer.from(
      JSON.stringify(["rehearsal", method, "/?name=x", url, headers, Date.now() + 60_000, 1, trace, null]),
    );
    const payload = Buffer.alloc(5 + head.length);
    payload[0] = 1;
    payload.writeUInt32BE(head.length, 1);
    head.copy(payload, 5);
    return method === "GET" ? payload : Buffer.concat([payload, Buffer.from('{"plain":true}')]);
  });
}
