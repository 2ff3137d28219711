import { createHash } from "node:crypto";
import { VirgaError } from "../core/errors.ts";
import type { Namespace, Token } from "../core/model.ts";
import { checkName, isName, quote } from "../core/names.ts";
import type { Chance, Clock } from "../ports/clock.ts";
import type { Records } from "../ports/records.ts";
import type { Access } from "./engine.ts";

export interface AccessOptions {
  readonly records: Records;
  readonly clock: Clock;
  /** Makes the credentials: must be unpredictable. */
  readonly chance: Chance;
  /** What else knows of namespaces and lets go of one that is deleted: secrets, routes, history, usage. */
  readonly belongings?: readonly { forget(namespace: string): Promise<void> }[];
}

interface StoredToken extends Token {
  /** SHA-256 (hex) of the credential. */
  readonly hash: string;
}

/** Credentials whose hash is known: on the way of every call. A miss costs one SHA-256. */
const rememberedSecrets = 1024;
const longestSecret = 512;
const namespaceForAll = "default";

/** Namespaces and credentials, all of them in memory; the first start makes the namespace `default`. */
export async function createAccess({ records, clock, chance, belongings = [] }: AccessOptions): Promise<Access> {
  const namespaces = new Map<string, Namespace>();
  const byHash = new Map<string, StoredToken>();
  /**
   * By the credential itself, so that a warm call hashes nothing. What a lookup in a map tells about its keys by its timing is
   * whether a keyed hash of the whole text was the same, never how much of it was.
   */
  const bySecret = new Map<string, StoredToken>();

  for (const { value } of await records.list<Namespace>("namespaces/")) namespaces.set(value.name, value);
  for (const { value } of await records.list<StoredToken>("tokens/")) byHash.set(value.hash, value);
  if (namespaces.size === 0) await createNamespace(namespaceForAll);

  async function createNamespace(name: string): Promise<Namespace> {
    checkName(name, "namespace", "namespace");
    const known = namespaces.get(name);
    if (known !== undefined) return known;
    const namespace: Namespace = { name, createdAt: clock.now() };
    await records.put(`namespaces/${name}`, namespace);
    namespaces.set(name, namespace);
    return namespace;
  }

  function expired(token: Token): boolean {
    return token.expiresAt !== undefined && token.expiresAt <= clock.now();
  }

  function opensAll(token: Token): boolean {
    return token.namespaces === "*" && token.role === "admin" && !expired(token);
  }

  return {
    authenticate(secret) {
      let token = bySecret.get(secret);
      if (token === undefined) {
        if (typeof secret !== "string" || secret.length > longestSecret) return undefined;
        token = byHash.get(hashOf(secret));
        if (token === undefined) return undefined;
        if (bySecret.size >= rememberedSecrets) bySecret.clear();
        bySecret.set(secret, token);
      }
      return expired(token) ? undefined : token;
    },

    allows(token, namespace, action) {
      if (token.role === "invoke" && action !== "invoke") return false;
      return token.namespaces === "*" || token.namespaces.includes(namespace);
    },

    async createToken(wanted) {
      checkToken(wanted);
      const secret = `vrg_${Buffer.from(chance.bytes(32)).toString("base64url")}`;
      const token: Token = {
        id: `tok-${Buffer.from(chance.bytes(8)).toString("hex")}`,
        description: wanted.description,
        namespaces: wanted.namespaces === "*" ? "*" : [...new Set(wanted.namespaces)],
        role: wanted.role,
        createdAt: clock.now(),
        ...(wanted.expiresAt === undefined ? {} : { expiresAt: wanted.expiresAt }),
      };
      const stored: StoredToken = { ...token, hash: hashOf(secret) };
      await records.put(`tokens/${token.id}`, stored, { expect: 0 });
      byHash.set(stored.hash, stored);
      return { token, secret };
    },

    async revokeToken(id) {
      const stored = byHash.values().find((token) => token.id === id);
      if (stored === undefined) return false;
      if (opensAll(stored) && !byHash.values().some((other) => other !== stored && opensAll(other))) {
        throw new VirgaError("conflict", "this is the last credential of an administrator", {
          fix: "make another one first: virga token create --admin",
        });
      }
      // Refused from now on, whether the disk is quick or not.
      byHash.delete(stored.hash);
      bySecret.clear();
      try {
        await records.delete(`tokens/${id}`);
      } catch (error) {
        byHash.set(stored.hash, stored);
        throw error;
      }
      return true;
    },

    async tokens() {
      return [...byHash.values()]
        .sort((a, b) => a.createdAt - b.createdAt || (a.id < b.id ? -1 : 1))
        .map(({ hash: _hash, ...token }) => token);
    },

    async namespaces() {
      return [...namespaces.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
    },

    hasNamespace(name) {
      return namespaces.has(name);
    },

    createNamespace,

    async deleteNamespace(name) {
      if (!isName(name) || !namespaces.has(name)) return false;
      const [left] = await records.list(`functions/${name}/`, { limit: 1 });
      if (left !== undefined) {
        throw new VirgaError("conflict", `namespace ${name} still has functions`, {
          fix: `delete them first; they are listed by: virga list --namespace ${name}`,
        });
      }
      // Hidden at once, so that nothing new comes into it while its belongings go.
      const namespace = namespaces.get(name)!;
      namespaces.delete(name);
      try {
        for (const holder of belongings) await holder.forget(name);
        await records.delete(`namespaces/${name}`);
      } catch (error) {
        namespaces.set(name, namespace);
        throw error;
      }
      return true;
    },
  };

  function checkToken(wanted: Pick<Token, "description" | "namespaces" | "role" | "expiresAt">): void {
    if (typeof wanted.description !== "string" || wanted.description.length > 256) {
      throw new VirgaError("invalid_field", "a description is a text of up to 256 characters", {
        field: "description",
        fix: "say in a few words who uses the token",
      });
    }
    if (wanted.role !== "admin" && wanted.role !== "invoke") {
      throw new VirgaError("invalid_field", `${quote(wanted.role)} is no role`, {
        field: "role",
        fix: 'use "admin" (may change) or "invoke" (may only call functions)',
      });
    }
    if (wanted.expiresAt !== undefined && !(wanted.expiresAt > clock.now())) {
      throw new VirgaError("invalid_field", "a token cannot expire in the past", {
        field: "expiresAt",
        fix: "give a later time, in milliseconds since 1970, or none",
      });
    }
    if (wanted.namespaces === "*") return;
    if (!Array.isArray(wanted.namespaces) || wanted.namespaces.length === 0) {
      throw new VirgaError("invalid_field", "a token opens at least one namespace", {
        field: "namespaces",
        fix: 'name namespaces, or "*" for all',
      });
    }
    for (const [index, name] of wanted.namespaces.entries()) {
      if (namespaces.has(name)) continue;
      throw new VirgaError("invalid_field", `there is no namespace ${quote(name)}`, {
        field: `namespaces.${index}`,
        fix: `make it first: virga namespace create ${isName(name) ? name : "NAME"}`,
      });
    }
  }
}

function hashOf(secret: string): string {
  return createHash("sha256").update(secret).digest("hex");
}
