/** `/system/namespaces`, `/system/namespace/NAME` (contract section 2.1). */
import type { Access } from "../../engine/engine.ts";
import type { Records } from "../../ports/records.ts";
import type { FaasContext } from "./context.ts";
import { permit } from "./credential.ts";
import { FaasError } from "./errors.ts";
import type { Exchange } from "./exchange.ts";
import { deployedIn } from "./deployed.ts";
import { forgetFunction } from "./functions.ts";
import { checkLabel, defaultNamespace } from "./names.ts";

interface NamespaceDocument {
  readonly name: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** Those of the engine's namespaces that are OpenFaaS's: the default one, and what was made as such. */
export class Namespaces {
  readonly #records: Records;
  readonly #access: Pick<Access, "createNamespace" | "hasNamespace">;

  constructor(records: Records, access: Pick<Access, "createNamespace" | "hasNamespace">) {
    this.#records = records;
    this.#access = access;
  }

  async list(): Promise<NamespaceDocument[]> {
    const made = (await this.#records.list<NamespaceDocument>(prefix)).map(({ value }) => value);
    return made.some(({ name }) => name === defaultNamespace) ? made : [{ name: defaultNamespace }, ...made];
  }

  async get(name: string): Promise<NamespaceDocument | undefined> {
    const made = (await this.#records.get<NamespaceDocument>(prefix + name))?.value;
    return made ?? (name === defaultNamespace ? { name } : undefined);
  }

  async put(document: NamespaceDocument): Promise<void> {
    await this.#access.createNamespace(document.name);
    await this.#records.put(prefix + document.name, document);
  }

  /** False where there is none. */
  forget(name: string): Promise<boolean> {
    return this.#records.delete(prefix + name);
  }

  /** Before something is put into it. Rejects with 400 where it is none of OpenFaaS's. */
  async prepare(name: string): Promise<void> {
    if ((await this.get(name)) === undefined)
      throw new FaasError(400, `namespace ${name} is not there: make it with faas-cli namespace create ${name}`);
    if (!this.#access.hasNamespace(name)) await this.#access.createNamespace(name);
  }
}

export async function listNamespaces({ namespaces, engine }: FaasContext, exchange: Exchange): Promise<void> {
  const seen = (await namespaces.list()).map(({ name }) => name);
  exchange.answer(
    200,
    seen.filter((name) => engine.access.allows(exchange.token!, name, "read")),
  );
}

export async function createNamespace(context: FaasContext, exchange: Exchange): Promise<void> {
  const document = await readNamespace(exchange, undefined);
  permit(context.engine.access, exchange, document.name, "change");
  if ((await context.namespaces.get(document.name)) !== undefined)
    throw new FaasError(409, `namespace ${document.name} is there already`);
  if (context.engine.access.hasNamespace(document.name))
    throw new FaasError(409, `namespace ${document.name} is there already, and no namespace of OpenFaaS`);
  await context.namespaces.put(document);
  context.looseLines.follow(document.name);
  exchange.empty(201);
}

export async function serveNamespace(context: FaasContext, exchange: Exchange, name: string): Promise<void> {
  const { namespaces, engine } = context;
  permit(engine.access, exchange, name, exchange.method === "GET" ? "read" : "change");
  const found = await namespaces.get(name);
  if (found === undefined) throw new FaasError(404, `namespace ${name} not found`);
  if (exchange.method === "GET") {
    exchange.answer(200, {
      name,
      labels: { openfaas: "1", ...found.labels },
      annotations: { openfaas: "1", ...found.annotations },
    });
    return;
  }
  if (exchange.method === "PUT") {
    await namespaces.put(await readNamespace(exchange, name));
    exchange.empty(202);
    return;
  }
  if (name === defaultNamespace) throw new FaasError(400, `namespace ${name} is OpenFaaS's own and stays`);
  for await (const { revision } of deployedIn(context, name))
    await context.turn(`${name}/${revision.name}`, () => forgetFunction(context, revision));
  await engine.access.deleteNamespace(name);
  await namespaces.forget(name);
  context.looseLines.unfollow(name);
  exchange.empty(202);
}

/** One that says it is none of OpenFaaS's is refused. */
async function readNamespace(exchange: Exchange, inPath: string | undefined): Promise<NamespaceDocument> {
  const { name = inPath, labels, annotations } = await exchange.json();
  checkLabel(name, "name");
  if (inPath !== undefined && name !== inPath) throw new FaasError(400, `name: the path says ${inPath}`);
  const marks = { labels: textsOf(labels, "labels"), annotations: textsOf(annotations, "annotations") };
  const isMarked = marks.labels["openfaas"] !== undefined || marks.annotations["openfaas"] !== undefined;
  if (!isMarked) throw new FaasError(400, 'annotations: a namespace of OpenFaaS has the annotation openfaas: "1"');
  return { name, ...marks };
}

function textsOf(given: unknown, field: string): Record<string, string> {
  if (given === undefined || given === null) return {};
  const isMap = typeof given === "object" && Object.values(given).every((value) => typeof value === "string");
  if (isMap && !Array.isArray(given)) return given as Record<string, string>;
  throw new FaasError(400, `${field}: it is no object of texts`);
}

const prefix = "openfaas/namespaces/";
