// of-watchdog's mode `static`: files below `static_path`.
import { readFile, stat } from "node:fs/promises";
import { extname, join, normalize, resolve } from "node:path";

export function serveStatic({ environment, root }) {
  const folder = resolve(root, `.${environment.static_path || "/home/app/public"}`);
  return async (request) => {
    const { pathname } = new URL(request.url);
    let path;
    try {
      path = join(folder, normalize(decodeURIComponent(pathname)));
    } catch {
      return text(400, "400 bad request\n");
    }
    if (path.includes("\0")) return text(400, "400 bad request\n");
    try {
      const isFolder = (await stat(path)).isDirectory();
      // A relative address, as this function does not know under which path it is reached.
      if (isFolder && !pathname.endsWith("/")) return moved(`./${pathname.split("/").at(-1)}/`);
      const file = isFolder ? join(path, "index.html") : path;
      const type = types[extname(file).toLowerCase()] ?? "application/octet-stream";
      return new Response(await readFile(file), { headers: { "content-type": type } });
    } catch {
      return text(404, "404 page not found\n");
    }
  };
}

function moved(location) {
  return new Response(null, { status: 301, headers: { location } });
}

function text(status, body) {
  return new Response(body, { status, headers: { "content-type": "text/plain; charset=utf-8" } });
}

const types = {
  ".css": "text/css; charset=utf-8",
  ".gif": "image/gif",
  ".htm": "text/html; charset=utf-8",
  ".html": "text/html; charset=utf-8",
  ".ico": "image/x-icon",
  ".jpeg": "image/jpeg",
  ".jpg": "image/jpeg",
  ".js": "text/javascript; charset=utf-8",
  ".json": "application/json",
  ".mjs": "text/javascript; charset=utf-8",
  ".pdf": "application/pdf",
  ".png": "image/png",
  ".svg": "image/svg+xml",
  ".txt": "text/plain; charset=utf-8",
  ".wasm": "application/wasm",
  ".webp": "image/webp",
  ".xml": "text/xml; charset=utf-8",
};
