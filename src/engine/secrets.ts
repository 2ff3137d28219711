import { createCipheriv, createDecipheriv, createHash, randomBytes } from "node:crypto";
import { chmod, link, mkdir, open, readFile, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { asVirgaError, VirgaError } from "../core/errors.ts";
import { checkName, checkVariableName, isName } from "../core/names.ts";
import type { Clock } from "../ports/clock.ts";
import type { Log } from "../ports/log.ts";
import type { Records } from "../ports/records.ts";
import type { Secrets } from "./engine.ts";

export interface SecretsOptions {
  readonly records: Records;
  /** Where the key lies: made at the first start, 0600. Back it up: without it every secret must be set again. */
  readonly keyFile: string;
  readonly clock: Clock;
  readonly log: Log;
}

export interface SecretStore extends Secrets {
  /** Removes all secrets of a namespace that is being deleted. */
  forget(namespace: string): Promise<void>;
}

/** AES-256-GCM under one key, a random nonce for each value; the value is bound to its namespace and name. */
interface Sealed {
  readonly key: string;
  readonly nonce: string;
  readonly value: string;
  readonly tag: string;
  readonly updatedAt: number;
}

/** An environment variable cannot be longer than 128 KiB on Linux; a secret is one. */
const longestValue = 64 * 1024;

export async function createSecrets({ records, keyFile, clock, log }: SecretsOptions): Promise<SecretStore> {
  const key = await loadKey(keyFile, log);
  const keyId = createHash("sha256").update("virga secrets key id\0").update(key).digest("hex").slice(0, 16);
  const listeners = new Set<(namespace: string, name: string) => void>();
  await warnOfLostKey();

  function changed(namespace: string, name: string): void {
    for (const listener of listeners) {
      try {
        listener(namespace, name);
      } catch (error) {
        log.error("a listener to changes of secrets failed", { namespace, secret: name, error });
      }
    }
  }

  return {
    async put(namespace, name, value) {
      checkName(namespace, "namespace", "namespace");
      checkVariableName(name, "name", "a secret");
      if (typeof value !== "string" || value.includes("\0") || Buffer.byteLength(value) > longestValue) {
        throw new VirgaError(
          "invalid_field",
          `the value of secret ${name} is no text of up to ${longestValue} bytes without NUL`,
          {
            field: "value",
            fix: "encode binary values as base64; keep larger ones in a file of the function",
          },
        );
      }
      const nonce = randomBytes(12);
      const cipher = createCipheriv("aes-256-gcm", key, nonce).setAAD(Buffer.from(`${namespace}/${name}`));
      const sealed: Sealed = {
        key: keyId,
        nonce: nonce.toString("base64"),
        value: Buffer.concat([cipher.update(value, "utf8"), cipher.final()]).toString("base64"),
        tag: cipher.getAuthTag().toString("base64"),
        updatedAt: clock.now(),
      };
      await records.put(secretKey(namespace, name), sealed);
      changed(namespace, name);
    },

    async delete(namespace, name) {
      checkVariableName(name, "name", "a secret");
      if (!isName(namespace) || !(await records.delete(secretKey(namespace, name)))) return false;
      changed(namespace, name);
      return true;
    },

    async list(namespace) {
      if (!isName(namespace)) return [];
      const prefix = secretKey(namespace, "");
      const entries = await records.list<Sealed>(prefix);
      return entries.map(({ key, value }) => ({ name: key.slice(prefix.length), updatedAt: value.updatedAt }));
    },

    async reveal(namespace, names) {
      const values: Record<string, string> = {};
      for (const name of names) {
        const entry = await records.get<Sealed>(secretKey(namespace, name));
        if (entry === undefined) {
          throw new VirgaError("not_found", `namespace ${namespace} has no secret ${name}`, {
            fix: `set it: virga secret set ${name}`,
          });
        }
        values[name] = unseal(namespace, name, entry.value);
      }
      return values;
    },

    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },

    async forget(namespace) {
      const entries = await records.list(secretKey(namespace, ""));
      if (entries.length > 0) await records.batch(entries.map((entry) => ({ delete: entry.key })));
    },
  };

  function unseal(namespace: string, name: string, sealed: Sealed): string {
    const fix = `put the right key back to ${keyFile} and restart, or set the secret again: virga secret set ${name}`;
    if (sealed.key !== keyId) {
      throw new VirgaError(
        "storage_corrupt",
        `secret ${name} of namespace ${namespace} was encrypted with key ${sealed.key}, but ${keyFile} holds key ${keyId}`,
        { fix },
      );
    }
    try {
      const decipher = createDecipheriv("aes-256-gcm", key, Buffer.from(sealed.nonce, "base64"), { authTagLength: 16 })
        .setAAD(Buffer.from(`${namespace}/${name}`))
        .setAuthTag(Buffer.from(sealed.tag, "base64"));
      return Buffer.concat([decipher.update(Buffer.from(sealed.value, "base64")), decipher.final()]).toString("utf8");
    } catch (cause) {
      throw new VirgaError(
        "storage_corrupt",
        `secret ${name} of namespace ${namespace} was changed outside of the platform`,
        {
          fix,
          cause,
        },
      );
    }
  }

  /** The server starts nevertheless: what needs no secret goes on, and the secrets can be set anew. */
  async function warnOfLostKey(): Promise<void> {
    let after: string | undefined;
    let lost = 0;
    for (;;) {
      const page = await records.list<Sealed>("secrets/", { limit: 500, ...(after === undefined ? {} : { after }) });
      for (const { value } of page) if (value.key !== keyId) lost++;
      after = page.at(-1)?.key;
      if (page.length < 500) break;
    }
    if (lost > 0) {
      log.error(`${lost} secrets cannot be read: ${keyFile} does not hold the key that they were encrypted with`, {
        fix: "put the right key back and restart, or set the secrets again",
      });
    }
  }
}

function secretKey(namespace: string, name: string): string {
  return `secrets/${namespace}/${name}`;
}

async function loadKey(file: string, log: Log): Promise<Buffer> {
  let text = await readKey(file);
  if (text === undefined) {
    await makeKey(file);
    log.info(`made a new key for secrets: ${file}`);
    text = (await readKey(file)) ?? "";
  }
  const key = /^[0-9a-f]{64}\s*$/.test(text) ? Buffer.from(text.trim(), "hex") : undefined;
  if (key === undefined) {
    throw new VirgaError("storage_corrupt", `${file} holds no key for secrets: 64 hexadecimal digits`, {
      fix: "put the right file back from a backup; or move it away, start, and set every secret again",
    });
  }
  const { mode } = await stat(file);
  if ((mode & 0o077) !== 0) {
    log.warn(`others could read ${file}; made it private again`, { mode: (mode & 0o777).toString(8) });
    await chmod(file, 0o600);
  }
  return key;
}

async function readKey(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw new VirgaError("unavailable", `cannot read the key for secrets: ${asVirgaError(error).message}`, {
      fix: `make ${file} readable for the server's user`,
      cause: error,
    });
  }
}

/** Whole or not at all, also when the machine stops meanwhile; `link` never replaces a key that another process made first. */
async function makeKey(file: string): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  const draft = `${file}.${randomBytes(6).toString("hex")}.new`;
  const handle = await open(draft, "wx", 0o600);
  try {
    await handle.writeFile(`${randomBytes(32).toString("hex")}\n`);
    await handle.sync();
  } finally {
    await handle.close();
  }
  try {
    await link(draft, file);
  } catch (error) {
    if (codeOf(error) !== "EEXIST") throw error;
  } finally {
    await rm(draft, { force: true });
  }
  const folder = await open(dirname(file), "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && "code" in error ? error.code : undefined;
}
