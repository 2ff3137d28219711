/** `/system/secrets` (contract section 2.1): values are written and never read back. */
import type { FaasContext } from "./context.ts";
import { permit } from "./credential.ts";
import { FaasError } from "./errors.ts";
import type { Exchange } from "./exchange.ts";
import { checkSecretName, secretName, secretVariable } from "./names.ts";

export async function serveSecrets(context: FaasContext, exchange: Exchange): Promise<void> {
  const { secrets, access } = context.engine;
  if (exchange.method === "GET") {
    const namespace = exchange.namespace();
    permit(access, exchange, namespace, "read");
    const names = (await secrets.list(namespace)).map(({ name }) => secretName(name));
    exchange.answer(
      200,
      names.filter((name) => name !== undefined).map((name) => ({ name, namespace })),
    );
    return;
  }
  const document = await exchange.json();
  const { name } = document;
  const namespace = exchange.namespace(document["namespace"]);
  checkSecretName(name);
  permit(access, exchange, namespace, "change");
  const variable = secretVariable(name);
  const isThere = (await secrets.list(namespace)).some((secret) => secret.name === variable);
  if (exchange.method === "POST" && isThere)
    throw new FaasError(409, `secret ${name} is there already in namespace ${namespace}`);
  if (exchange.method !== "POST" && !isThere)
    throw new FaasError(404, `secret ${name} not found in namespace ${namespace}`);
  if (exchange.method === "DELETE") {
    await secrets.delete(namespace, variable);
    exchange.empty(202);
    return;
  }
  await context.namespaces.prepare(namespace);
  await secrets.put(namespace, variable, valueOf(document).toString("base64"));
  exchange.empty(exchange.method === "POST" ? 201 : 202);
}

/** `rawValue` is Base64 and goes before `value`. */
function valueOf({ value, rawValue }: Readonly<Record<string, unknown>>): Buffer {
  const bytes =
    typeof rawValue === "string" && rawValue !== ""
      ? Buffer.from(rawValue, "base64")
      : Buffer.from(typeof value === "string" ? value : "");
  if (bytes.length === 0) throw new FaasError(400, "value: it is empty");
  if (bytes.length > mostBytes) throw new FaasError(400, `value: it is larger than ${mostBytes} bytes`);
  return bytes;
}

/** As Base64 it has to fit into 64 KiB. */
const mostBytes = 48 * 1024;
