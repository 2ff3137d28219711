import qrcode from "qrcode-generator";

type Level = "L" | "M" | "Q" | "H";
const levels: readonly string[] = ["L", "M", "Q", "H"];

/**
 * QR codes over HTTP.
 *
 *   GET  /?text=…&level=M          the code as SVG
 *   POST /batch  ["…", "…"]        many codes as JSON: [{ text, modules, svg }]
 */
export default async function handle(request: Request): Promise<Response> {
  const url = new URL(request.url);
  try {
    if (request.method === "GET") return drawOne(url.searchParams);
    if (request.method === "POST" && url.pathname.endsWith("/batch")) return await drawBatch(request);
    return problem(404, `nothing at ${request.method} ${url.pathname}`);
  } catch (error) {
    return problem(400, error instanceof Error ? error.message : String(error));
  }
}

function drawOne(parameters: URLSearchParams): Response {
  const text = parameters.get("text");
  if (!text) return problem(400, "the query lacks text=");
  const level = parameters.get("level") ?? "M";
  if (!levels.includes(level)) return problem(400, `level is one of ${levels.join(", ")}, not ${level}`);
  const { svg } = draw(text, level as Level);
  return new Response(svg, { headers: { "content-type": "image/svg+xml", "cache-control": "max-age=86400" } });
}

async function drawBatch(request: Request): Promise<Response> {
  const texts: unknown = await request.json();
  if (!Array.isArray(texts) || !texts.every((text) => typeof text === "string"))
    return problem(400, "the body is not a JSON array of strings");
  return Response.json(texts.map((text) => ({ text, ...draw(text, "M") })));
}

function draw(text: string, level: Level): { modules: number; svg: string } {
  const code = qrcode(0, level);
  code.addData(text);
  code.make();
  return { modules: code.getModuleCount(), svg: code.createSvgTag({ cellSize: 4, margin: 8, scalable: true }) };
}

function problem(status: number, message: string): Response {
  return Response.json({ error: message }, { status });
}
