import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { missingClients } from "../../clients/clients.ts";
import { missingTools } from "../../tools.ts";
import { Whisk } from "./whisk.ts";

/** The same action in each language: greets, logs a line, tells the activation's id, and fails where it is asked to. */
const sources = {
  go: {
    file: "hello.go",
    text: `package main

import (
	"fmt"
	"os"
)

// Main greets.
func Main(args map[string]interface{}) map[string]interface{} {
	name, ok := args["name"].(string)
	if !ok {
		name = "stranger"
	}
	if name == "nobody" {
		panic("nobody is there")
	}
	fmt.Println("greeting", name)
	return map[string]interface{}{"greeting": "Hello " + name, "id": os.Getenv("__OW_ACTIVATION_ID")}
}
`,
    broken: "package main\n\nfunc Main( {\n",
  },
  php: {
    file: "hello.php",
    text: `<?php
function main(array $args): array {
    $name = $args["name"] ?? "stranger";
    if ($name === "nobody") throw new Exception("nobody is there");
    echo "greeting $name\\n";
    return ["greeting" => "Hello $name", "id" => getenv("__OW_ACTIVATION_ID")];
}
`,
    broken: "<?php\nfunction main( {\n",
  },
  ruby: {
    file: "hello.rb",
    text: `def main(args)
  name = args["name"] || "stranger"
  raise "nobody is there" if name == "nobody"
  puts "greeting #{name}"
  { "greeting" => "Hello #{name}", "id" => ENV["__OW_ACTIVATION_ID"] }
end
`,
    broken: "def main(args\n  {\n",
  },
  rust: {
    file: "hello.rs",
    text: `use serde_json::{json, Error, Value};

pub fn main(args: Value) -> Result<Value, Error> {
    let name = args.get("name").and_then(Value::as_str).unwrap_or("stranger");
    if name == "nobody" {
        return serde_json::from_str("nobody is there");
    }
    println!("greeting {}", name);
    Ok(json!({ "greeting": format!("Hello {}", name), "id": std::env::var("__OW_ACTIVATION_ID").unwrap_or_default() }))
}
`,
    broken: "pub fn main( {\n",
  },
  java: {
    file: "Hello.java",
    text: `import com.google.gson.JsonObject;

public class Hello {
  public static JsonObject main(JsonObject args) {
    String name = args.has("name") ? args.get("name").getAsString() : "stranger";
    if (name.equals("nobody")) throw new IllegalStateException("nobody is there");
    System.out.println("greeting " + name);
    JsonObject answer = new JsonObject();
    answer.addProperty("greeting", "Hello " + name);
    answer.addProperty("id", System.getenv("__OW_ACTIVATION_ID"));
    return answer;
  }
}
`,
    broken: "public class Hello {\n  static int x = ;\n}\n",
  },
} as const;

describe("actions in each language", { skip: missingClients("wsk", "wskdeploy") || missingTools("bwrap") }, () => {
  let whisk: Whisk;
  before(async () => {
    whisk = await Whisk.start();
  });
  after(() => whisk?.stop());

  for (const [language, { file, text, broken }] of Object.entries(sources)) {
    const skip = missingTools(language as keyof typeof sources);
    const kind = ["--kind", `${language}:default`, ...(language === "java" ? ["--main", "Hello"] : [])];

    test(
      `${language}: source is compiled, called, logs, fails, and keeps its process`,
      { skip, timeout: 240_000 },
      async () => {
        await whisk.ok("action", "create", language, whisk.file(file, text), ...kind, "-p", "name", "default");
        const { greeting } = await whisk.invoke(language);
        assert.equal(greeting, "Hello default");
        const run = await whisk.json("action", "invoke", language, "--blocking", "-p", "name", "Ada ü");
        assert.deepEqual(run.response.result, { greeting: "Hello Ada ü", id: run.activationId });
        const failed = await whisk.wsk("action", "invoke", language, "--blocking", "-p", "name", "nobody");
        assert.equal(failed.code, 502 - 256);
        const logged = await whisk.document(`activations?name=${language}&docs=true&limit=3`);
        assert.ok(
          logged.some(({ logs }: { logs: string[] }) => logs.some((line) => line.endsWith("stdout: greeting default"))),
        );
        assert.deepEqual((await whisk.invoke(language, { name: "again" })).greeting, "Hello again");
      },
    );

    test(
      `${language}: code that does not compile is told of by its calls, with the place`,
      { skip, timeout: 240_000 },
      async () => {
        await whisk.ok("action", "create", `${language}-broken`, whisk.file(file, broken), ...kind);
        const called = await whisk.wsk("action", "invoke", `${language}-broken`, "--blocking");
        assert.equal(called.code, 502 - 256);
        assert.match(called.stdout + called.stderr, /action developer error/);
        assert.match(called.stdout + called.stderr, new RegExp(`\\.${file.split(".")[1]}:\\d`));
      },
    );
  }

  test("node: what an action is told by its environment, its child processes are told too", async () => {
    const source = `const { execFileSync } = require("child_process");
      function main() {
        const child = execFileSync("/bin/sh", ["-c", "echo $__OW_ACTIVATION_ID $__OW_ACTION_NAME"]).toString().trim();
        const own = process.env.__OW_ACTIVATION_ID + " " + process.env.__OW_ACTION_NAME;
        const listed = Object.keys(process.env).filter((name) => name.startsWith("__OW_")).length;
        process.env.__OW_DEADLINE = "mine";
        return { child, own, listed: listed >= 6, has: "__OW_DEADLINE" in process.env, set: process.env.__OW_DEADLINE };
      }`;
    await whisk.ok("action", "create", "told", whisk.file("told.js", source));
    for (let call = 0; call < 2; call++) {
      const run = await whisk.json("action", "invoke", "told", "--blocking");
      const told = `${run.activationId} /guest/told`;
      assert.deepEqual(run.response.result, { child: told, own: told, listed: true, has: true, set: "mine" });
    }
  });

  test("native: a script runs once for each call; its last line is the result", async () => {
    const script = `#!/bin/sh
echo "called with $1"
[ -z "$FAIL" ] || exit 7
read -r line
echo "{\\"given\\": $line}"
`;
    await whisk.ok("action", "create", "native", whisk.file("native.sh", script), "--native");
    assert.deepEqual(await whisk.invoke("native", { a: 1 }), { given: { a: 1 } });
    await whisk.ok("action", "create", "fails", whisk.file("exit.sh", "#!/bin/sh\nexit 7\n"), "--native");
    const failed = await whisk.wsk("action", "invoke", "fails", "--blocking");
    assert.match(failed.stdout + failed.stderr, /exited unexpectedly: exit code 7/);
  });

  test("kinds that are not there are refused with their reason", async () => {
    for (const [kind, reason] of [
      ["python:2", /Python 2/],
      ["swift:5.3", /Swift/],
      ["dotnet:6.0", /\.NET/],
      ["cobol:1", /nodejs:20/],
    ] as const) {
      const refused = await whisk.wsk("action", "create", "x", whisk.file("x.txt.js", "x"), "--kind", kind);
      assert.equal(refused.code, 400 - 256, kind);
      assert.match(refused.stderr + refused.stdout, reason);
    }
    const image = await whisk.wsk("action", "create", "x", "--docker", "someone/image");
    assert.equal(image.code, 400 - 256);
    assert.match(image.stderr + image.stdout, /images are not supported/);
  });
});
