import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { missingTools } from "../tools.ts";
import { type Answer, Platform } from "./harness.ts";
import { loops, perCall } from "./programs.ts";

/** A server on $PORT in each language, which says what it was asked. */
const servers = {
  go: {
    runtime: "go",
    files: {
      "go.mod": "module server\n\ngo 1.19\n",
      "main.go": `package main

import (
	"fmt"
	"net/http"
	"os"
)

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s", r.Method, r.URL.Path)
	})
	fmt.Println(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil))
}
`,
    },
  },
  php: {
    runtime: "php",
    files: {
      "index.php": `<?php echo $_SERVER["REQUEST_METHOD"], " ", parse_url($_SERVER["REQUEST_URI"], PHP_URL_PATH);\n`,
    },
  },
  ruby: {
    runtime: "ruby",
    files: {
      "main.rb": `require "socket"
server = TCPServer.new("127.0.0.1", ENV["PORT"].to_i)
loop do
  Thread.new(server.accept) do |client|
    method, path = client.gets.to_s.split(" ")
    while (line = client.gets) && line != "\\r\\n"; end
    body = "#{method} #{path}"
    client.write("HTTP/1.1 200 OK\\r\\ncontent-length: #{body.bytesize}\\r\\nconnection: close\\r\\n\\r\\n#{body}") if method
    client.close
  end
end
`,
    },
  },
  rust: {
    runtime: "rust",
    files: {
      "Cargo.toml": `[package]\nname = "server"\nversion = "0.1.0"\nedition = "2021"\n`,
      "src/main.rs": `use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;

fn main() {
    let port = std::env::var("PORT").expect("PORT is set");
    for client in TcpListener::bind(format!("127.0.0.1:{port}")).expect("the port is free").incoming() {
        let Ok(mut client) = client else { continue };
        let mut lines = BufReader::new(client.try_clone().expect("a second handle")).lines();
        let Some(Ok(first)) = lines.next() else { continue };
        for line in lines.by_ref() {
            if line.map_or(true, |text| text.is_empty()) {
                break;
            }
        }
        let words: Vec<&str> = first.split(' ').collect();
        let body = words[..2].join(" ");
        let _ = write!(client, "HTTP/1.1 200 OK\\r\\ncontent-length: {}\\r\\nconnection: close\\r\\n\\r\\n{body}", body.len());
    }
}
`,
    },
  },
  java: {
    runtime: "java",
    handler: "Server",
    files: {
      "Server.java": `import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;

public class Server {
  public static void main(String[] arguments) throws Exception {
    HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", Integer.parseInt(System.getenv("PORT"))), 0);
    server.createContext("/", exchange -> {
      byte[] body = (exchange.getRequestMethod() + " " + exchange.getRequestURI().getPath()).getBytes();
      exchange.sendResponseHeaders(200, body.length);
      exchange.getResponseBody().write(body);
      exchange.close();
    });
    server.start();
  }
}
`,
    },
  },
} as const;

describe("programs in other languages", { skip: missingTools("bwrap"), timeout: 240_000 }, () => {
  let platform: Platform;
  before(async () => {
    platform = await Platform.start();
  });
  after(() => platform?.stop());

  for (const [name, { runtime, files, ...more }] of Object.entries(servers)) {
    test(`${name}: a server on $PORT is built, started and called`, { skip: missingTools(name as "go") }, async () => {
      const settings = { runtime, convention: "http", limits: { memoryMb: 512 }, ...("handler" in more ? more : {}) };
      await platform.deploy(name, files, settings);
      for (const path of ["/", "/a/b"]) {
        const answer = await platform.request(`/f/default/${name}${path}`);
        assert.equal(answer.text, `GET ${path}`);
      }
    });
  }

  for (const [name, { files, ...more }] of Object.entries(perCall)) {
    const title = `${name}: a program for each call reads its body, answers, and fails by its exit code`;
    test(title, { skip: missingTools(name as "go") }, async () => {
      const settings = { runtime: name, convention: "stdio", limits: { memoryMb: 512 }, ...more };
      await platform.deploy(`${name}-stdio`, files, settings);
      for (const body of ["one", "two\nlines", ""]) {
        const answer = await platform.call(`${name}-stdio`, { method: "PUT", body });
        assert.deepEqual([answer.status, answer.text], [200, `PUT ${body}`]);
        assert.deepEqual(await logsOf(answer), ["was here"]);
      }
      const failed = await platform.call(`${name}-stdio`, { body: "fail" });
      assert.deepEqual([failed.status, failed.json().error.code], [502, "function_error"]);
      assert.deepEqual(await logsOf(failed), ["was here"]);
    });
  }

  for (const [name, { files, ...more }] of Object.entries(loops)) {
    const title = `${name}: a loop answers one line after another, and begins anew behind its end`;
    test(title, { skip: missingTools(name as "go") }, async () => {
      const settings = { runtime: name, convention: "actionloop", limits: { memoryMb: 512 }, ...more };
      await platform.deploy(`${name}-loop`, files, settings);
      const ask = (value: unknown) => platform.call(`${name}-loop`, { body: JSON.stringify(value) });
      for (const calls of [1, 2]) {
        const value = { calls, text: "ü\n€" };
        const answer = await ask(value);
        assert.deepEqual([answer.status, answer.json()], [200, { calls, given: { value } }]);
        assert.equal(answer.headers["content-type"], "application/json");
        assert.deepEqual(await logsOf(answer), ["was here"]);
      }
      const ended = await ask({ end: true });
      assert.deepEqual([ended.status, ended.json().error.code], [502, "function_crashed"]);
      assert.equal((await ask({})).json().calls, 1);
    });
  }

  /** Records are written behind the answer. */
  async function logsOf(answer: Answer): Promise<string[]> {
    const id = String(answer.headers["x-virga-invocation"]);
    for (let tries = 0; tries < 100; tries++) {
      const record = await platform.record(id);
      if (record !== undefined && record.status !== "running")
        return record.logs.map(({ text }: { text: string }) => text);
      await pause(20);
    }
    return assert.fail(`there is no record of ${id}`);
  }
});
