/** The bare git repository that holds the templates as `template/<language>/`, since that is what clients clone. */
import { createHash } from "node:crypto";
import { cp, mkdir, mkdtemp, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Git } from "./git.ts";
import { templateFiles, templateNames } from "./template-files.ts";

/**
 * Its path below `directory`; made where it is not there or holds other templates. It is moved to its place when it is
 * whole, and its name tells its content, so two servers that make it at once do not meet.
 */
export async function templateRepository(directory: string, templates: string, git: Git): Promise<string> {
  const files = filesOf(templates);
  const name = `templates-${(await hashOf(files)).slice(0, 16)}.git`;
  const path = join(directory, name);
  if (await exists(path)) return path;

  await mkdir(directory, { recursive: true });
  const temporary = await mkdtemp(join(directory, "templates-new-"));
  try {
    const made = await make(temporary, files, git);
    await rename(made, path).catch(async (error: unknown) => {
      if (!(await exists(path))) throw error;
    });
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
  await removeOthers(directory, name);
  return path;
}

/** Always the same commit for the same templates: a clone that was made before can be compared. */
const identity = {
  GIT_AUTHOR_NAME: "Virga",
  GIT_AUTHOR_EMAIL: "templates@virga.invalid",
  GIT_AUTHOR_DATE: "2025-01-01T00:00:00Z",
  GIT_COMMITTER_NAME: "Virga",
  GIT_COMMITTER_EMAIL: "templates@virga.invalid",
  GIT_COMMITTER_DATE: "2025-01-01T00:00:00Z",
};

async function make(temporary: string, files: ReadonlyMap<string, string>, git: Git): Promise<string> {
  const tree = join(temporary, "tree");
  const repository = join(temporary, "repository.git");
  for (const [path, source] of files) await cp(source, join(tree, "template", path));

  const at = (...parameters: string[]): Promise<string> =>
    git.run(["--git-dir", repository, "--work-tree", tree, ...parameters], { cwd: tree, env: identity });
  // No template of git's own: hooks and exclusions of the host would come along with it.
  await git.run(["init", "--quiet", "--bare", "--template=", repository], { cwd: tree });
  await at("symbolic-ref", "HEAD", "refs/heads/master");
  await at("config", "core.fileMode", "false");
  await at("config", "core.autocrlf", "false");
  // A template's own .gitignore is for the functions that are made of it.
  await at("add", "--all", "--force");
  await at("commit", "--quiet", "--no-verify", "--message", "Templates");
  return repository;
}

/** By their paths below `template/`. */
function filesOf(templates: string): ReadonlyMap<string, string> {
  const files = new Map<string, string>();
  for (const name of templateNames(templates))
    for (const [path, source] of templateFiles(templates, name)) files.set(`${name}/${path}`, source);
  return files;
}

async function hashOf(files: ReadonlyMap<string, string>): Promise<string> {
  const hash = createHash("sha256");
  for (const [path, source] of files) {
    const content = await readFile(source);
    hash.update(`${path}\0${content.length}\0`).update(content);
  }
  return hash.digest("hex");
}

/** Those of other versions, and what a crash left. A fresh one may be another server's work in hand. */
async function removeOthers(directory: string, kept: string): Promise<void> {
  const hourAgo = Date.now() - 3_600_000;
  for (const name of await readdir(directory)) {
    if (!name.startsWith("templates-") || name === kept) continue;
    const path = join(directory, name);
    const modified = (await stat(path).catch(() => undefined))?.mtimeMs ?? Infinity;
    if (name.endsWith(".git") || modified < hourAgo) await rm(path, { recursive: true, force: true });
  }
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}
