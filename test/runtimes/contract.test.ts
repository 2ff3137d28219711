import { createBinaryRuntime } from "../../src/runtimes/binary/runtime.ts";
import { createNodeRuntime } from "../../src/runtimes/node/runtime.ts";
import { createPythonRuntime } from "../../src/runtimes/python/runtime.ts";
import { describeRuntime, type RuntimeSubject } from "../contracts/runtime.ts";
import { openSandbox } from "../drivers/sandbox/open.ts";
import { missingTools } from "../tools.ts";
import { silent as log } from "./python/function.ts";

const node: RuntimeSubject = {
  open: (toolsDirectory) => createNodeRuntime({ toolsDirectory, log }),
  config: { runtime: "node", handler: "index.mjs", convention: "native" },
  echo: { "index.mjs": "export default async (request) => new Response(await request.bytes());" },
  fails: { "index.mjs": `export default () => { throw new Error("no such gate"); };` },
  hangs: { "index.mjs": `export default () => { console.log("before"); return new Promise(() => {}); };` },
  exits: { "index.mjs": "export default () => process.exit(9);" },
  large: { "index.mjs": `export default () => new Response("x".repeat(3 * 2 ** 20));` },
  broken: { "index.mjs": "export default () => {\n  return (;\n};" },
  complaint: /index\.mjs:2/,
  surroundings: {
    "index.mjs": `
import { readdirSync } from "node:fs";
export default (request, { namespace, function: name, revision }) => ({
  directory: process.cwd() === import.meta.dirname,
  arguments: process.argv.slice(1),
  environment: Object.keys(process.env).sort(),
  globals: Object.getOwnPropertyNames(globalThis).sort(),
  temporary: readdirSync("/tmp").filter((file) => file.includes("rehearsal")),
  address: [namespace, name, revision],
});
`,
  },
};

const python: RuntimeSubject = {
  open: (toolsDirectory) => createPythonRuntime({ toolsDirectory, log }),
  config: { runtime: "python", handler: "handler.py", convention: "native" },
  echo: { "handler.py": "def handler(request, context):\n    return request.body\n" },
  fails: { "handler.py": `def handler(request, context):\n    raise ValueError("no such gate")\n` },
  hangs: { "handler.py": `import time\ndef handler(request, context):\n    print("before")\n    time.sleep(60)\n` },
  exits: { "handler.py": "import os\ndef handler(request, context):\n    os._exit(9)\n" },
  large: { "handler.py": `def handler(request, context):\n    return b"x" * (3 * 2 ** 20)\n` },
  broken: { "handler.py": "def handler(request, context):\n    return (\n" },
  complaint: /handler\.py:2/,
  surroundings: {
    "handler.py": `
import asyncio, logging, os, signal, sys, tempfile, threading
async def awaited(value):
    return value
def handler(request, context):
    here = os.path.dirname(os.path.abspath(__file__))
    return {
        "directory": os.getcwd() == here,
        "path": [place for place in sys.path if "rehearsal" in place or place == here].index(here),
        "modules": [name for name in sys.modules if name.startswith("rehearsal")],
        "environment": sorted(set(os.environ) - {"PWD"}),
        "logging": len(logging.getLogger().handlers),
        "threads": threading.active_count(),
        "interrupt": str(signal.getsignal(signal.SIGINT)),
        "chosen": tempfile.tempdir,
        "loop": asyncio.get_event_loop().run_until_complete(awaited("there")),
        "temporary": [name for name in os.listdir(tempfile.gettempdir()) if "rehearsal" in name],
        "address": [context.namespace, context.function, context.revision],
    }
`,
  },
};

const stdio: RuntimeSubject = {
  open: (toolsDirectory) => createBinaryRuntime({ toolsDirectory, log }),
  config: { runtime: "binary", handler: "handler", convention: "stdio" },
  echo: { handler: "#!/bin/sh\nexec cat\n" },
  fails: { handler: "#!/bin/sh\necho no such gate >&2\nexit 1\n" },
  hangs: { handler: "#!/bin/sh\necho before >&2\nexec sleep 60\n" },
  exits: { handler: "#!/bin/sh\nexit 9\n" },
  large: { handler: "#!/bin/sh\nhead -c 3145728 /dev/zero | tr '\\0' x\n" },
  broken: { handler: "no program at all" },
  complaint: /handler is neither a native program/,
};

const server = (answer: string): string => `
import http.server, os, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def body(self):
        if "content-length" in self.headers: return self.rfile.read(int(self.headers["content-length"]))
        parts = []
        while self.headers.get("transfer-encoding") == "chunked":
            size = int(self.rfile.readline(), 16)
            parts.append(self.rfile.read(size)); self.rfile.readline()
            if size == 0: break
        return b"".join(parts)
    def answer(self, status, body):
        self.send_response(status); self.send_header("content-length", str(len(body))); self.end_headers(); self.wfile.write(body)
    def do_POST(self):
        body = self.body()
        ${answer}
    do_GET = do_POST
    def log_message(self, *rest): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
`;

const http: RuntimeSubject = {
  open: (toolsDirectory) => createPythonRuntime({ toolsDirectory, log }),
  config: { runtime: "python", handler: "main.py", convention: "http" },
  echo: { "main.py": server("self.answer(200, body)") },
  fails: { "main.py": server(`self.answer(500, b"no such gate")`) },
  hangs: { "main.py": server(`print("before", flush=True); time.sleep(60)`) },
  exits: { "main.py": server("os._exit(9)") },
  large: { "main.py": server(`self.answer(200, b"x" * (3 * 2 ** 20))`) },
  broken: { "main.py": "import os\nraise SystemExit('no port')\n" },
  complaint: /before it listened on \$PORT/,
};

const withoutPython = missingTools("python");
for (const choice of ["bubblewrap", "process"] as const) {
  const open = () => openSandbox(choice);
  const without = choice === "bubblewrap" ? missingTools("bwrap") : false;
  describeRuntime(`node in ${choice}`, node, open, without);
  describeRuntime(`python in ${choice}`, python, open, without || withoutPython);
  describeRuntime(`binary over stdio in ${choice}`, stdio, open, without);
  describeRuntime(`a server on $PORT in ${choice}`, http, open, without || withoutPython);
}
