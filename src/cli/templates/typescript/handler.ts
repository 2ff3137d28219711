interface Context {
  readonly id: string;
  readonly signal: AbortSignal;
  remainingMs(): number;
}

interface Count {
  readonly words: number;
  readonly characters: number;
}

export default async function handler(request: Request, context: Context): Promise<Response> {
  if (request.method !== "POST") return new Response("POST a text\n", { status: 405, headers: { allow: "POST" } });
  const text = await request.text();
  const count: Count = { words: text.split(/\s+/).filter(Boolean).length, characters: text.length };
  return Response.json(count, { headers: { "x-call": context.id } });
}
