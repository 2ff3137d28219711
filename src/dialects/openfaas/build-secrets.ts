/** Secrets of builds: sealed by the client for this platform's key, so that the tar that they travel in tells nobody (contract section 3.4). */
import nacl from "tweetnacl";
import { parse } from "yaml";
import { VirgaError } from "../../core/errors.ts";
import { keptSecret } from "./kept-secret.ts";

export interface BuildKey {
  /** What `GET /publickey` answers. */
  readonly document: { readonly key_id: string; readonly algorithm: "nacl/box"; readonly public_key: string };
  /** Values by name. Throws `bad_request` for what is no envelope, or was sealed for another key. */
  unseal(envelope: string): ReadonlyMap<string, Uint8Array>;
}

/** The key lies in `file`, made at the first start (0600). */
export function openBuildKey(file: string): BuildKey {
  const secret = keptSecret(file, () => Buffer.from(nacl.box.keyPair().secretKey).toString("base64"));
  const { publicKey, secretKey } = nacl.box.keyPair.fromSecretKey(Buffer.from(secret, "base64"));
  const text = Buffer.from(publicKey).toString("base64");
  return {
    document: { key_id: text.slice(0, 8), algorithm: "nacl/box", public_key: text },
    unseal(envelope) {
      const { sender, secrets } = readEnvelope(envelope);
      return new Map(
        Object.entries(secrets).map(([name, sealed]) => {
          const bytes = Buffer.from(String(sealed), "base64");
          const nonce = bytes.subarray(0, nacl.box.nonceLength);
          const opened =
            nonce.length === nacl.box.nonceLength
              ? nacl.box.open(bytes.subarray(nonce.length), nonce, sender, secretKey)
              : null;
          if (opened === null)
            throw refused(`${name} cannot be opened: it was sealed for another key than ${text.slice(0, 8)}`);
          return [name, opened] as const;
        }),
      );
    },
  };
}

function readEnvelope(envelope: string): { sender: Uint8Array; secrets: Readonly<Record<string, unknown>> } {
  let document: unknown;
  try {
    document = parse(envelope);
  } catch (thrown) {
    throw refused(`it is no YAML: ${(thrown as Error).message}`);
  }
  const { version, algorithm, public_key, secrets } = Object(document) as Record<string, unknown>;
  if (version !== "v1") throw refused(`version ${JSON.stringify(version)} is not "v1"`);
  if (algorithm !== "nacl/box") throw refused(`algorithm ${JSON.stringify(algorithm)} is not "nacl/box"`);
  const sender = typeof public_key === "string" ? Buffer.from(public_key, "base64") : Buffer.alloc(0);
  if (sender.length !== nacl.box.publicKeyLength) throw refused("public_key is no key of 32 bytes in Base64");
  if (typeof secrets !== "object" || secrets === null) throw refused("secrets is no object");
  return { sender, secrets: secrets as Record<string, unknown> };
}

function refused(why: string): VirgaError {
  return new VirgaError("bad_request", `com.openfaas.secrets: ${why}`, { fix: "seal it for the key at /publickey" });
}
