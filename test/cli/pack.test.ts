import assert from "node:assert/strict";
import { chmodSync, linkSync, mkdirSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { describe, test } from "node:test";
import { gunzipSync } from "node:zlib";
import { unpackTar } from "modern-tar";
import { IgnoreRules } from "../../src/cli/ignore.ts";
import { listSource, packSource } from "../../src/cli/pack.ts";
import { folder } from "./harness.ts";

describe("packing", () => {
  test("the same files give the same bytes, whatever their times, modes of the group and order of making", async (t) => {
    const one = folder(t, { "b.js": "b", "a/c.js": "c", "run!": "#!/bin/sh\n" });
    const two = folder(t, { "run!": "#!/bin/sh\n", "a/c.js": "c", "b.js": "b" });
    utimesSync(join(two, "b.js"), 1, 1);
    chmodSync(join(two, "b.js"), 0o600);
    const [first, second] = [await packSource(one), await packSource(two)];
    assert.equal(first.digest, second.digest);
    writeFileSync(join(two, "b.js"), "B");
    assert.notEqual((await packSource(two)).digest, first.digest);
  });

  test("names, modes, links and contents arrive", async (t) => {
    const root = folder(t, { "run!": "#!/bin/sh\n", "a/data.txt": "x".repeat(100_000), empty: "" });
    symlinkSync("a/data.txt", join(root, "link"));
    // Two names of one file are two files: the archive does not depend on how the disk shares them.
    linkSync(join(root, "run"), join(root, "twin"));
    const archive = await packSource(root);
    const entries = await unpackTar(gunzipSync(await buffer(archive.open())));
    assert.deepEqual(
      entries.map(({ header }) => [header.name, header.type, (header.mode ?? 0).toString(8), header.linkname ?? ""]),
      [
        ["a/data.txt", "file", "644", ""],
        ["empty", "file", "644", ""],
        ["link", "symlink", "777", "a/data.txt"],
        ["run", "file", "755", ""],
        ["twin", "file", "755", ""],
      ],
    );
    assert.equal(entries[0]?.data?.length, 100_000);
    assert.equal(archive.fileCount, 5);
  });

  test("an archive that is large goes through a file that is gone afterwards", async (t) => {
    const root = folder(t);
    const large = Buffer.alloc(33 * 2 ** 20, "large ");
    writeFileSync(join(root, "large.bin"), large);
    const archive = await packSource(root);
    const [entry] = await unpackTar(gunzipSync(await buffer(archive.open())));
    assert.ok(large.equals(entry?.data ?? Buffer.alloc(0)));
    await archive.discard();
    await assert.rejects(buffer(archive.open()), { code: "ENOENT" });
  });

  test("node_modules stays behind only where it can be installed again", async (t) => {
    const installable = folder(t, { "package.json": "{}", "index.js": "", "node_modules/x/index.js": "" });
    assert.deepEqual(
      (await listSource(installable)).map(({ path }) => path),
      ["index.js", "package.json"],
    );
    const bundled = folder(t, { "index.js": "", "node_modules/x/index.js": "" });
    assert.deepEqual(
      (await listSource(bundled)).map(({ path }) => path),
      ["index.js", "node_modules/x/index.js"],
    );
  });

  test("version control, caches and the manifest stay behind", async (t) => {
    const root = folder(t, {
      "virga.yaml": "",
      ".virgaignore": "*.log\n",
      ".git/HEAD": "",
      "a.log": "",
      "__pycache__/a.pyc": "",
      "a.py": "",
    });
    assert.deepEqual(
      (await listSource(root)).map(({ path }) => path),
      ["a.py"],
    );
  });

  test("a folder with nothing in it is refused", async (t) => {
    const root = folder(t);
    mkdirSync(join(root, "empty"));
    await assert.rejects(packSource(root), { code: "bad_request" });
  });
});

describe(".virgaignore", () => {
  const cases: readonly (readonly [string, string, readonly string[], readonly string[]])[] = [
    ["a name matches at any depth", "*.log", ["a.log", "x/y/a.log"], ["a.log.txt", "log"]],
    ["a leading slash ties it to the root", "/build", ["build"], ["x/build"]],
    ["a slash in the middle does too", "x/build", ["x/build"], ["y/x/build"]],
    ["two stars cross folders", "a/**/b", ["a/b", "a/x/b", "a/x/y/b"], ["ab", "x/a/b"]],
    ["two stars in front match everywhere", "**/tmp", ["tmp", "x/tmp"], ["xtmp"]],
    ["two stars at the end match what is below", "a/**", ["a/x", "a/x/y"], ["a"]],
    ["a star stays in its folder", "a/*.js", ["a/x.js"], ["a/b/x.js"]],
    ["a question mark is one character", "a?c", ["abc"], ["ac", "a/c"]],
    ["a range is one of its members", "[a-c].t[!x]", ["a.ty", "c.t1"], ["d.ty", "a.tx"]],
    ["a range the wrong way round is taken literally", "[z-a]", ["[z-a]"], ["b"]],
    ["a backslash takes away the meaning", String.raw`\*.js`, ["*.js"], ["a.js"]],
    ["a backslash keeps a leading mark", String.raw`\!a`, ["!a"], ["a"]],
    ["a later exclamation mark takes it back", "*.md\n!README.md", ["a.md"], ["README.md"]],
    ["comments and blank lines mean nothing", "# a\n\n   \n", [], ["a", "# a"]],
    ["blanks at the end do not count", "a.txt   ", ["a.txt"], ["a.txt   "]],
    ["dots and plus signs are themselves", "a.b+", ["a.b+"], ["axb+", "a.bb"]],
  ];
  for (const [name, text, ignored, kept] of cases) {
    test(name, () => {
      const rules = new IgnoreRules(text, []);
      for (const path of ignored) assert.equal(rules.ignores(path, false), true, `${path} is kept`);
      for (const path of kept) assert.equal(rules.ignores(path, false), false, `${path} is ignored`);
    });
  }

  test("a slash at the end is for folders alone", () => {
    const rules = new IgnoreRules("out/", []);
    assert.equal(rules.ignores("out", true), true);
    assert.equal(rules.ignores("out", false), false);
  });
});
