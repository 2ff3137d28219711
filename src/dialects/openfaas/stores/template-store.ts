/** The template store: the document that names our templates, and the git repository that holds them. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { join } from "node:path";
import type { Log } from "../../../ports/log.ts";
import type { Processors } from "../../../ports/sandbox.ts";
import { hasGit, hostGit } from "./git.ts";
import { refuse, serveUploadPack } from "./git-http.ts";
import { templateDescriptions } from "./template-descriptions.ts";
import { templateNames } from "./template-files.ts";
import { templateRepository } from "./template-repository.ts";

export function openTemplateStore({
  directory,
  log,
  processors,
  templates = ownTemplates,
}: TemplateStoreOptions): TemplateStore {
  const git = hostGit(processors);
  let repository: Promise<string> | undefined;

  return {
    document(origin) {
      return templateNames(templates).map((name) => entryOf(name, origin));
    },
    get hasGit() {
      return hasGit();
    },
    async serveGit(request, response, path) {
      if (!hasGit()) {
        refuse(response, 503, "The templates are served by git, which this host does not have: install git.");
        return;
      }
      try {
        repository ??= templateRepository(directory, templates, git);
        await serveUploadPack(request, response, { path, git, repository: await repository });
      } catch (error) {
        // The next client tries again.
        repository = undefined;
        log.warn("the repository of the templates cannot be served", { error });
        refuse(response, 500, "The templates cannot be served; the server's log says why.");
      }
    },
  };
}

export interface TemplateStoreOptions {
  /** Where the repository is kept; made at first use. */
  readonly directory: string;
  readonly log: Log;
  readonly processors?: Pick<Processors, "freeing"> | undefined;
  /** A folder per template, see `templateFiles`. */
  readonly templates?: string;
}

export interface TemplateStore {
  /** As `faas-cli template store list` reads it, for clients that reach this server at `origin`. */
  document(origin: string): readonly TemplateEntry[];
  readonly hasGit: boolean;
  /** Answers a request for what lies at `path` in the repository: `/info/refs`, `/git-upload-pack`. */
  serveGit(request: IncomingMessage, response: ServerResponse, path: string): Promise<void>;
}

export interface TemplateEntry {
  readonly template: string;
  readonly platform: string;
  readonly language: string;
  readonly source: string;
  readonly description: string;
  readonly repo: string;
  /** Text in the document that clients know, unlike `recommended`. */
  readonly official: "true" | "false";
  readonly recommended: boolean;
}

const ownTemplates = join(import.meta.dirname, "../templates");

function entryOf(template: string, origin: string): TemplateEntry {
  const { language = template, description = "", recommended = false } = templateDescriptions[template] ?? {};
  return {
    template,
    platform: "x86_64",
    language,
    source: "virga",
    description,
    repo: `${origin}/stores/templates.git`,
    official: "true",
    recommended,
  };
}
