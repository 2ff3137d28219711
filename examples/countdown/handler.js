/**
 * A streaming answer: server-sent events, one every `?every=` milliseconds, from `?from=` down to lift-off.
 * The stream stops working as soon as the client leaves.
 */
export default function countdown(request, context) {
  const query = new URL(request.url).searchParams;
  const from = bounded(query.get("from"), 5, 1, 1000);
  const every = bounded(query.get("every"), 300, 1, 10_000);

  const events = (async function* () {
    for (let left = from; left > 0 && !context.signal.aborted; left--) {
      yield `id: ${from - left}\ndata: ${left}\n\n`;
      await new Promise((resume) => setTimeout(resume, every));
    }
    yield "event: lift-off\ndata: 0\n\n";
  })();
  const headers = { "content-type": "text/event-stream", "cache-control": "no-store" };
  return new Response(ReadableStream.from(events).pipeThrough(new TextEncoderStream()), { headers });
}

function bounded(text, otherwise, least, most) {
  const number = Number(text ?? otherwise);
  return Number.isFinite(number) ? Math.min(most, Math.max(least, number)) : otherwise;
}
