import { readFileSync } from "node:fs";
import { once } from "../../../core/once.ts";
import type { WhiskContext } from "../context.ts";
import { nextPatch } from "../document-body.ts";
import type { KeyValues } from "../entities.ts";
import type { StoredAction } from "../entity-store.ts";
import { limitRanges } from "../limits.ts";
import { type SystemAction, type SystemPackage, systemPackages } from "./packages.ts";

export const systemNamespace = "whisk.system";

/** Makes what is missing of the system's packages, and changes what an older release of the platform has left. */
export async function installSystemPackages(context: WhiskContext): Promise<void> {
  const { access } = context.engine;
  if (!access.hasNamespace("whisk-system")) await access.createNamespace("whisk-system");
  for (const wanted of systemPackages) {
    await installPackage(context, wanted);
    for (const action of wanted.actions) await installAction(context, wanted, action);
  }
}

async function installPackage({ entities, clock }: WhiskContext, { name, description }: SystemPackage): Promise<void> {
  const place = { namespace: systemNamespace, name };
  const before = await entities.find("package", place);
  const annotations = [{ key: "description", value: description }];
  if (before !== undefined && isSame(before.document.annotations, annotations)) return;
  await entities.put(
    "package",
    place,
    {
      ...place,
      version: before?.document.version ?? "0.0.1",
      publish: true,
      annotations,
      parameters: [],
      updated: clock.now(),
    },
    before,
  );
}

async function installAction(
  { engine, entities, deployments, blobs, clock }: WhiskContext,
  { name: inPackage }: SystemPackage,
  { name, file, description, parameters = {}, isFeed, needsKey }: SystemAction,
): Promise<void> {
  const place = { namespace: systemNamespace, package: inPackage, name };
  const before = await entities.find("action", place);
  const content = readFileSync(new URL(`guest/${file}`, import.meta.url));
  const code = await blobs.put(once(content));
  await engine.deployer.adopt(code.digest);
  const annotations: KeyValues = [
    { key: "description", value: description },
    ...(isFeed === true ? [{ key: "feed", value: true }] : []),
    { key: "provide-api-key", value: needsKey === true },
    { key: "exec", value: "nodejs:20" },
  ];
  const own = Object.entries(parameters).map(([key, value]) => ({ key, value }));
  const known = before?.document;
  const isCurrent =
    known?.code?.digest === code.digest && isSame(known.annotations, annotations) && isSame(known.parameters, own);
  if (isCurrent) return;
  const action: StoredAction = {
    namespace: `${systemNamespace}/${inPackage}`,
    name,
    version: known === undefined ? "0.0.1" : nextPatch(known.version),
    publish: false,
    exec: { kind: "nodejs:20", binary: false },
    parameters: own,
    annotations,
    limits: {
      timeout: limitRanges.timeout.default,
      memory: limitRanges.memory.default,
      logs: limitRanges.logs.default,
      concurrency: limitRanges.concurrency.default,
    },
    updated: clock.now(),
    code: { digest: code.digest, size: code.size },
  };
  // Deployed when it is first called: a start of the platform has no time for what nobody may use.
  await entities.put("action", place, action, before);
  if (known !== undefined) await deployments.refresh(place);
}

function isSame(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
