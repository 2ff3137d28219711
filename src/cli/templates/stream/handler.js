import { setTimeout as pause } from "node:timers/promises";

export default function handler(request, context) {
  const count = Number(new URL(request.url).searchParams.get("count") ?? 5);
  const encoder = new TextEncoder();
  const events = new ReadableStream({
    async start(controller) {
      for (let tick = 1; tick <= count && !context.signal.aborted; tick++) {
        controller.enqueue(encoder.encode(`data: ${JSON.stringify({ tick, at: Date.now() })}\n\n`));
        await pause(1000);
      }
      controller.close();
    },
  });
  return new Response(events, { headers: { "content-type": "text/event-stream", "cache-control": "no-store" } });
}
