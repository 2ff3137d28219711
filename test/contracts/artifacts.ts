import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmod, link, lstat, mkdir, readdir, readFile, readlink, symlink, utimes, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";
import type { Artifacts } from "../../src/ports/artifacts.ts";
import type { Blobs } from "../../src/ports/blobs.ts";
import { tarOf, zipOf, type ArchiveEntry } from "../drivers/artifacts/archives.ts";
import { sha256, stream } from "./blobs.ts";
import { bytes, guaranteesOf, rejects, type OpenDriver } from "./opened.ts";

export interface ArtifactsAndBlobs {
  readonly artifacts: Artifacts;
  readonly blobs: Blobs;
  /** The folder in which the driver does all that it does. */
  readonly directory: string;
  /** What happens when the machine's disk is replaced, and only the blobs are there again. */
  lose(): Promise<void>;
}

const plenty = { maxBytes: 1_000_000, maxFiles: 1000 };
const file = (name: string, content = name, mode?: number): ArchiveEntry => ({
  name,
  kind: "file",
  content: bytes(content),
  ...(mode !== undefined && { mode }),
});
const formats = {
  tar: (entries: readonly ArchiveEntry[]) => tarOf(entries),
  "tar.gz": (entries: readonly ArchiveEntry[]) => gzipSync(tarOf(entries)),
  zip: (entries: readonly ArchiveEntry[]) => zipOf(entries),
  "zip without compression": (entries: readonly ArchiveEntry[]) => zipOf(entries, false),
};

/** Every guarantee of the artifacts port. */
export function describeArtifacts(name: string, open: OpenDriver<ArtifactsAndBlobs>): void {
  const guarantee = guaranteesOf(`artifacts of ${name}`, open);

  for (const [format, archiveOf] of Object.entries(formats)) {
    guarantee(`a ${format} is unpacked as it was packed`, async ({ port: { artifacts, blobs } }) => {
      const long = `${"long/".repeat(40)}${"name".repeat(50)}`;
      const archive = archiveOf([
        file("./a.txt", "a"),
        file("bin/run", "#!", 0o755),
        file("empty", ""),
        { name: "folder/", kind: "folder", mode: 0o700 },
        file("ä/😀 \n'\"", "names"),
        file(long, "long"),
        { name: "bin/again", kind: "link", target: "run" },
        { name: "up", kind: "link", target: "folder/../bin/../a.txt" },
        { name: "here", kind: "link", target: "." },
        file("setuid", "x", 0o4755),
      ]);
      const folder = await artifacts.unpack(await put(blobs, archive), plenty);
      const tree = await treeOf(folder);
      assert.deepEqual(tree, {
        "a.txt": "file: a",
        bin: "folder",
        "bin/again": "link: run",
        "bin/run": "executable: #!",
        empty: "file: ",
        folder: "folder",
        here: "link: .",
        ...Object.fromEntries(
          long
            .split("/")
            .slice(0, -1)
            .map((_, index, parts) => [parts.slice(0, index + 1).join("/"), "folder"]),
        ),
        [long]: "file: long",
        setuid: "executable: x",
        up: "link: folder/../bin/../a.txt",
        ä: "folder",
        "ä/😀 \n'\"": "file: names",
      });
      assert.equal((await lstat(join(folder, "setuid"))).mode & 0o7000, 0);
      await artifacts.discard(folder);
      await assert.rejects(lstat(folder), { code: "ENOENT" });
    });

    for (const [trick, entries] of Object.entries(tricks)) {
      if (format.startsWith("zip") && entries.some(({ kind }) => kind === "hardLink")) continue;
      guarantee(`a ${format} with ${trick} is refused by name, and leaves nothing`, async ({ port }) => {
        const { artifacts, blobs, directory } = port;
        // Where the links that climb out would lead.
        for (const outside of [directory, dirname(directory)]) await mkdir(join(outside, "victim"));
        const source = await put(blobs, archiveOf([file("before"), ...entries, file("behind")]));
        const before = await treeOf(dirname(directory));
        const error = await rejects(artifacts.unpack(source, plenty), "invalid_archive");
        // As JSON or as it is; long ones shortened.
        const names = entries.flatMap(({ name }) => [name.slice(0, 50), JSON.stringify(name)]);
        assert.ok(
          names.some((name) => error.message.includes(name)),
          error.message,
        );
        assert.ok(error.detail.fix);
        assert.deepEqual(await treeOf(dirname(directory)), before);
      });
    }

    guarantee(`a ${format} of more bytes or files than allowed is refused, of as many it is not`, async ({ port }) => {
      const { artifacts, blobs, directory } = port;
      // Two folders and three files of ten bytes.
      const source = await put(
        blobs,
        archiveOf([file("a", "0123456789"), file("b/c", "0123456789"), file("b/d/e", "0123456789")]),
      );
      const before = await treeOf(directory);
      await rejects(artifacts.unpack(source, { maxBytes: 29, maxFiles: 5 }), "archive_too_large", /29 bytes/);
      await rejects(artifacts.unpack(source, { maxBytes: 30, maxFiles: 4 }), "archive_too_large", /4 files/);
      assert.deepEqual(await treeOf(directory), before);
      await artifacts.discard(await artifacts.unpack(source, { maxBytes: 30, maxFiles: 5 }));
    });

    guarantee(`a ${format} bomb is stopped at the limit`, async ({ port: { artifacts, blobs, directory } }) => {
      const bomb = archiveOf([{ name: "bomb", kind: "file", content: new Uint8Array(50_000_000) }]);
      const source = await put(blobs, bomb);
      const before = await treeOf(directory);
      await rejects(artifacts.unpack(source, plenty), "archive_too_large", /1000000 bytes/);
      assert.deepEqual(await treeOf(directory), before);
    });

    guarantee(`a ${format} of thousands of folders in one name is stopped at the limit`, async ({ port }) => {
      const source = await put(port.blobs, archiveOf([file(`${"a/".repeat(1900)}x`, "")]));
      await rejects(port.artifacts.unpack(source, plenty), "archive_too_large", /1000 files/);
    });

    guarantee(`a ${format} that is cut off or damaged is refused, and leaves nothing`, async ({ port }) => {
      const { artifacts, blobs, directory } = port;
      const whole = archiveOf([file("a", "a".repeat(5000)), file("b", "b".repeat(5000))]);
      const sources: string[] = [];
      for (const part of [0.1, 0.5, 0.9, 0.99])
        sources.push(await put(blobs, whole.subarray(0, whole.byteLength * part)));
      if (format !== "tar") {
        // A tar alone has no sum over its contents.
        const damaged = Buffer.from(whole);
        damaged[format === "tar.gz" ? 30 : 45]! ^= 0x10;
        sources.push(await put(blobs, damaged));
      }
      const before = await treeOf(directory);
      for (const source of sources) await rejects(artifacts.unpack(source, plenty), "invalid_archive");
      assert.deepEqual(await treeOf(directory), before);
    });
  }

  guarantee("hard links count as the files they name", async ({ port: { artifacts, blobs } }) => {
    const entries: ArchiveEntry[] = [file("a", "0123456789")];
    for (let index = 0; index < 9; index++) entries.push({ name: `l${index}`, kind: "hardLink", target: "a" });
    const source = await put(blobs, tarOf(entries));
    await rejects(artifacts.unpack(source, { maxBytes: 99, maxFiles: 10 }), "archive_too_large");
    await rejects(artifacts.unpack(source, { maxBytes: 100, maxFiles: 9 }), "archive_too_large");
    const folder = await artifacts.unpack(source, { maxBytes: 100, maxFiles: 10 });
    assert.equal((await treeOf(folder))["l8"], "file: 0123456789");
    assert.equal((await artifacts.seal(folder)).sizeBytes, 100);
  });

  guarantee(
    "a head that lies about its file's size gains nothing",
    async ({ port: { artifacts, blobs, directory } }) => {
      const lies = [
        tarOf([{ name: "a", kind: "file", content: bytes("x"), claimedSize: 8 ** 11 - 1 }]),
        zipOf([{ name: "a", kind: "file", content: new Uint8Array(2_000_000), claimedSize: 1 }]),
        zipOf([{ name: "a", kind: "file", content: bytes("x"), claimedSize: 1_000_000 }]),
      ];
      const sources: string[] = [];
      for (const lie of lies) sources.push(await put(blobs, lie));
      const before = await treeOf(directory);
      for (const source of sources) await rejects(artifacts.unpack(source, plenty), "invalid_archive");
      assert.deepEqual(await treeOf(directory), before);
    },
  );

  guarantee("what is no archive is refused", async ({ port: { artifacts, blobs } }) => {
    for (const content of [
      "",
      "P",
      "PK",
      "PK\x03\x04",
      "\x1f\x8b",
      "\x1f\x8bxx",
      "export default () => 1;",
      "x".repeat(9000),
    ])
      await rejects(artifacts.unpack(await put(blobs, Buffer.from(content, "latin1")), plenty), "invalid_archive");
    await rejects(artifacts.unpack(await put(blobs, gzipSync("no tar")), plenty), "invalid_archive");
    await rejects(artifacts.unpack(sha256(bytes("absent")), plenty), "not_found");
  });

  guarantee("an archive of nothing is an empty folder", async ({ port: { artifacts, blobs } }) => {
    for (const archive of [tarOf([]), zipOf([])])
      assert.deepEqual(await treeOf(await artifacts.unpack(await put(blobs, archive), plenty)), {});
  });

  guarantee("a workspace is an empty folder that can be written, and discarded", async ({ port: { artifacts } }) => {
    const [one, other] = [await artifacts.workspace(), await artifacts.workspace()];
    assert.notEqual(one, other);
    assert.deepEqual(await treeOf(one), {});
    await grow(one);
    await artifacts.discard(one);
    await assert.rejects(lstat(one), { code: "ENOENT" });
    await artifacts.discard(one);
    assert.deepEqual(await treeOf(other), {});
  });

  guarantee("a sealed folder is moved, counted, and read-only for everyone", async ({ port: { artifacts } }) => {
    const folder = await artifacts.workspace();
    await grow(folder);
    const tree = await treeOf(folder);
    const info = await artifacts.seal(folder);
    assert.match(info.digest, /^[0-9a-f]{64}$/);
    assert.deepEqual([info.sizeBytes, info.fileCount], [10, 5]);
    await assert.rejects(lstat(folder), { code: "ENOENT" });
    const sealed = await artifacts.locate(info.digest);
    assert.deepEqual(await treeOf(sealed), tree);
    assert.deepEqual(await artifacts.info(info.digest), info);
    for (const path of ["", ...Object.keys(tree)]) {
      const { mode } = await lstat(join(sealed, path));
      const kind = path === "" ? "folder" : tree[path]!.split(":")[0];
      if (kind !== "link") assert.equal(mode & 0o7777, kind === "file" ? 0o444 : 0o555, path);
    }
  });

  guarantee("equal folders have equal digests, whoever made them when", async ({ port: { artifacts } }) => {
    const digests = new Set<string>();
    for (let round = 0; round < 3; round++) {
      const folder = await artifacts.workspace();
      await grow(folder);
      if (round === 1) await utimes(join(folder, "a"), 1, 1);
      if (round === 2) {
        await chmod(join(folder, "a"), 0o600);
        assert.equal(spawnSync("mkfifo", [join(folder, "pipe")]).status, 0);
      }
      digests.add((await artifacts.seal(folder)).digest);
    }
    assert.equal(digests.size, 1);
  });

  guarantee("any difference makes another digest", async ({ port: { artifacts } }) => {
    const changes: ((folder: string) => Promise<unknown>)[] = [
      async () => {},
      (folder) => writeFile(join(folder, "a"), "A"),
      (folder) => writeFile(join(folder, "b"), ""),
      (folder) => chmod(join(folder, "a"), 0o755),
      (folder) => mkdir(join(folder, "empty")),
      (folder) => symlink("a", join(folder, "b")),
      (folder) => symlink("./a", join(folder, "b")),
      (folder) => link(join(folder, "a"), join(folder, "b")),
    ];
    const digests = new Set<string>();
    for (const change of changes) {
      const folder = await artifacts.workspace();
      await writeFile(join(folder, "a"), "a");
      await change(folder);
      digests.add((await artifacts.seal(folder)).digest);
    }
    assert.equal(digests.size, changes.length);
  });

  guarantee("equal folders sealed at once become one artifact that is whole at every moment", async ({ port }) => {
    const { artifacts } = port;
    const first = await artifacts.workspace();
    await grow(first);
    const tree = await treeOf(first);
    const { digest } = await artifacts.seal(first);
    const folders = await Promise.all(Array.from({ length: 6 }, () => artifacts.workspace()));
    for (const folder of folders) await grow(folder);
    await port.lose();
    const seals = Promise.all(folders.map((folder) => artifacts.seal(folder)));
    const looks = Promise.all(
      Array.from({ length: 20 }, async () => assert.deepEqual(await treeOf(await artifacts.locate(digest)), tree)),
    );
    for (const seal of await seals) assert.equal(seal.digest, digest);
    await looks;
    for (const folder of folders) await assert.rejects(lstat(folder), { code: "ENOENT" });
  });

  guarantee(
    "an artifact that this machine has lost is rebuilt from its blob, whatever a build left in it",
    async ({ port }) => {
      const { artifacts } = port;
      const folder = await artifacts.workspace();
      await grow(folder);
      // As Python's environments, npm's packages and Windows users make them.
      await symlink("/usr/bin/python3", join(folder, "python"));
      await symlink("../outside", join(folder, "outside"));
      await symlink("nowhere", join(folder, "nowhere"));
      await symlink("x".repeat(300), join(folder, "long-link"));
      await writeFile(join(folder, "back\\slash"), "");
      await writeFile(join(folder, "n".repeat(255)), "");
      const deep = join(folder, ...Array.from({ length: 30 }, () => "deep".repeat(20)));
      await mkdir(deep, { recursive: true });
      await writeFile(join(deep, "ä😀"), "deep");
      const tree = await treeOf(folder);
      const info = await artifacts.seal(folder);
      await port.lose();
      const places = await Promise.all(Array.from({ length: 5 }, () => artifacts.locate(info.digest)));
      assert.equal(new Set(places).size, 1);
      assert.deepEqual(await treeOf(places[0]!), tree);
      await port.lose();
      assert.deepEqual(await artifacts.info(info.digest), info);
      // What is rebuilt is named as it was.
      const copy = await artifacts.workspace();
      assert.equal(spawnSync("cp", ["-a", `${await artifacts.locate(info.digest)}/.`, copy]).status, 0);
      assert.equal(spawnSync("chmod", ["-R", "u+w", copy]).status, 0);
      assert.equal((await artifacts.seal(copy)).digest, info.digest);
    },
  );

  guarantee("an empty folder can be sealed, lost and found", async ({ port }) => {
    const info = await port.artifacts.seal(await port.artifacts.workspace());
    assert.deepEqual([info.sizeBytes, info.fileCount], [0, 0]);
    await port.lose();
    assert.deepEqual(await treeOf(await port.artifacts.locate(info.digest)), {});
  });

  guarantee("what was never sealed is not found", async ({ port: { artifacts } }) => {
    for (const digest of [sha256(bytes("absent")), "", "..", "../../etc", "x".repeat(64)]) {
      await rejects(artifacts.locate(digest), "not_found");
      await rejects(artifacts.info(digest), "not_found");
    }
  });

  guarantee("a sweep removes what is old and unused, here and in the blobs", async ({ port, clock }) => {
    const { artifacts, blobs } = port;
    const seal = async (content: string): Promise<string> => {
      const folder = await artifacts.workspace();
      await writeFile(join(folder, "a"), content);
      return (await artifacts.seal(folder)).digest;
    };
    const [old, used, again] = [await seal("old"), await seal("used"), await seal("again")];
    await clock.advance(10_000);
    const young = await seal("young");
    assert.equal(await seal("again"), again);
    const sourced = await put(blobs, bytes("no artifact"));
    assert.equal(await artifacts.sweep(new Set([used]), 20_000), 0);
    assert.equal(await artifacts.sweep(new Set([used]), 10_000), 1);
    await rejects(artifacts.locate(old), "not_found");
    assert.equal(await blobs.has(old), false);
    for (const digest of [used, again, young]) assert.ok((await treeOf(await artifacts.locate(digest)))["a"]);
    assert.equal(await blobs.has(sourced), true);
    assert.equal(await artifacts.sweep(new Set(), 0), 3);
    for (const digest of [used, again, young]) await rejects(artifacts.locate(digest), "not_found");
  });

  guarantee.afterReopening("artifacts are where they were; workspaces are gone", async ({ port, reopen }) => {
    const { artifacts, blobs } = port;
    const folder = await artifacts.workspace();
    await grow(folder);
    const tree = await treeOf(folder);
    const info = await artifacts.seal(folder);
    const sealed = await artifacts.locate(info.digest);
    const left = await artifacts.workspace();
    await grow(left);
    const unpacked = await artifacts.unpack(await put(blobs, tarOf([file("a")])), plenty);
    const { artifacts: again } = await reopen();
    assert.equal(await again.locate(info.digest), sealed);
    assert.deepEqual(await treeOf(sealed), tree);
    assert.deepEqual(await again.info(info.digest), info);
    for (const gone of [left, unpacked]) await assert.rejects(lstat(gone), { code: "ENOENT" });
  });
}

const victim = "../../../victim";
const tricks: Record<string, readonly ArchiveEntry[]> = {
  "a name that climbs out": [file("../evil")],
  "a name that climbs out later": [file("a/b/../../../evil")],
  "a name of dots only": [file("..")],
  "an absolute name": [file("/tmp/virga-evil")],
  "a backslash in a name": [file("..\\evil")],
  "an absolute link": [{ name: "evil", kind: "link", target: "/etc/passwd" }],
  "a link that climbs out": [{ name: "evil", kind: "link", target: victim }],
  "a link that climbs out through a folder": [
    { name: "a", kind: "folder" },
    { name: "a/evil", kind: "link", target: `a/../../${victim}` },
  ],
  "a link to nowhere": [{ name: "evil", kind: "link", target: "nowhere" }],
  "a link to nothing": [{ name: "evil", kind: "link", target: "" }],
  "a link to itself": [{ name: "evil", kind: "link", target: "evil" }],
  "links that climb out together": [
    { name: "a/b", kind: "link", target: ".." },
    { name: "evil", kind: "link", target: `a/b/${victim}` },
  ],
  "a file through a link": [{ name: "evil", kind: "link", target: victim }, file("evil/file")],
  "a file through a link that is put right later": [
    { name: "evil", kind: "link", target: "here" },
    file("evil/file"),
    { name: "here", kind: "folder" },
  ],
  "a file in the place of a link": [{ name: "evil", kind: "link", target: victim }, file("evil")],
  "a folder in the place of a link": [
    { name: "evil", kind: "link", target: victim },
    { name: "evil", kind: "folder" },
  ],
  "a folder in the place of a file": [file("evil"), { name: "evil", kind: "folder" }],
  "a file twice": [file("evil"), file("./evil")],
  "a file where a folder is": [file("evil/a"), file("evil")],
  "a name that is too long": [file("evil".repeat(64), "")],
  "a path that is too long": [file(`${"evil/".repeat(900)}x`, "")],
  "a hard link to the outside": [{ name: "evil", kind: "hardLink", target: "/etc/passwd" }],
  "a hard link that climbs out": [{ name: "evil", kind: "hardLink", target: "../../../../etc/passwd" }],
  "a hard link to a symbolic one": [
    { name: "a", kind: "link", target: "before" },
    { name: "evil", kind: "hardLink", target: "a" },
  ],
  "a hard link to a later file": [{ name: "evil", kind: "hardLink", target: "behind" }],
  "a hard link to a folder": [
    { name: "a", kind: "folder" },
    { name: "evil", kind: "hardLink", target: "a" },
  ],
  "a character device": [{ name: "evil", kind: "characterDevice" }],
  "a block device": [{ name: "evil", kind: "blockDevice" }],
  "a pipe": [{ name: "evil", kind: "pipe" }],
};

async function put(blobs: Blobs, content: Uint8Array): Promise<string> {
  return (await blobs.put(stream([content]))).digest;
}

async function grow(folder: string): Promise<void> {
  await mkdir(join(folder, "sub/empty"), { recursive: true });
  await writeFile(join(folder, "a"), "aaaa");
  await writeFile(join(folder, "sub/run"), "run", { mode: 0o755 });
  await writeFile(join(folder, "sub/ä"), "ä\0");
  await writeFile(join(folder, "none"), "");
  await symlink("sub/run", join(folder, "link"));
}

/** What lies below a folder, links not followed. */
export async function treeOf(root: string): Promise<Record<string, string>> {
  const tree: [string, string][] = [];
  const walk = async (path: string): Promise<void> => {
    for (const entry of await readdir(join(root, path), { withFileTypes: true })) {
      const below = path === "" ? entry.name : `${path}/${entry.name}`;
      const full = join(root, below);
      if (entry.isSymbolicLink()) tree.push([below, `link: ${await readlink(full)}`]);
      else if (entry.isDirectory()) {
        tree.push([below, "folder"]);
        await walk(below);
      } else if (entry.isFile()) {
        const kind = ((await lstat(full)).mode & 0o111) === 0 ? "file" : "executable";
        tree.push([below, `${kind}: ${await readFile(full, "utf8")}`]);
      } else tree.push([below, "something else"]);
    }
  };
  await walk("");
  return Object.fromEntries(tree.toSorted(([a], [b]) => (a < b ? -1 : 1)));
}
