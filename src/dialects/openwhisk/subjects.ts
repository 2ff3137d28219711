/** Users and their keys: `uuid:key` opens one namespace, of the user's name. */
import { createHash, randomBytes, randomUUID, timingSafeEqual } from "node:crypto";
import type { Access, Secrets } from "../../engine/engine.ts";
import type { Clock } from "../../ports/clock.ts";
import type { Records } from "../../ports/records.ts";
import { VirgaError } from "../../core/errors.ts";
import { engineNamespace, whiskNamespace } from "./names.ts";
import type { MaybeSoon } from "./resolution.ts";

export interface Subject {
  /** The namespace, which is also the user's name. */
  readonly namespace: string;
  readonly uuid: string;
  readonly createdAt: number;
  /** Over the platform's; see `throttle.ts`. */
  readonly limits?: SubjectLimits;
}

export interface SubjectLimits {
  readonly invocationsPerMinute?: number;
  readonly concurrentInvocations?: number;
  readonly firesPerMinute?: number;
}

interface StoredSubject extends Subject {
  /** SHA-256 (hex) of the key. */
  readonly digest: string;
}

export interface SubjectsOptions {
  readonly records: Records;
  readonly secrets: Pick<Secrets, "put" | "reveal" | "delete">;
  readonly access: Pick<Access, "createNamespace" | "hasNamespace">;
  readonly clock: Clock;
}

const prefix = "openwhisk/subjects/";
/** Also what a function of the native API may name to have the key in its environment. */
const secretName = "OPENWHISK_API_KEY";

export class Subjects {
  readonly #options: SubjectsOptions;
  readonly #byUuid = new Map<string, StoredSubject>();
  readonly #byNamespace = new Map<string, StoredSubject>();
  /** What has been verified, so that a busy client's key is not hashed at each request. */
  readonly #verified = new Map<string, Subject>();
  readonly #keys = new Map<string, string>();

  private constructor(options: SubjectsOptions) {
    this.#options = options;
  }

  static async open(options: SubjectsOptions): Promise<Subjects> {
    const subjects = new Subjects(options);
    for (const { value } of await options.records.list<StoredSubject>(prefix)) subjects.#keep(value);
    return subjects;
  }

  /** By the `Authorization` header; undefined where it is none of a user's. */
  authenticate(authorization: string | undefined): Subject | undefined {
    if (authorization === undefined) return undefined;
    const known = this.#verified.get(authorization);
    if (known !== undefined) return known;
    const match = /^basic +([A-Za-z0-9+/=]+)$/i.exec(authorization);
    if (match === null) return undefined;
    const pair = Buffer.from(match[1]!, "base64").toString("utf8");
    const colon = pair.indexOf(":");
    const subject = this.#byUuid.get(pair.slice(0, colon));
    if (colon < 0 || subject === undefined) return undefined;
    const given = createHash("sha256")
      .update(pair.slice(colon + 1))
      .digest();
    if (!timingSafeEqual(given, Buffer.from(subject.digest, "hex"))) return undefined;
    if (this.#verified.size >= mostVerified) this.#verified.clear();
    this.#verified.set(authorization, subject);
    return subject;
  }

  /** `uuid:key` of a namespace's user, for actions that call back; undefined where it has none. */
  apiKeyOf(namespace: string): MaybeSoon<string | undefined> {
    const known = this.#keys.get(namespace);
    return known !== undefined || this.get(namespace) === undefined ? known : this.#revealKey(namespace);
  }

  async #revealKey(namespace: string): Promise<string | undefined> {
    const revealed = await this.#options.secrets.reveal(engineNamespace(namespace), [secretName]);
    const key = revealed[secretName];
    if (key !== undefined) this.#keys.set(namespace, key);
    return key;
  }

  get(namespace: string): Subject | undefined {
    return this.#byNamespace.get(namespace);
  }

  list(): Subject[] {
    return [...this.#byUuid.values()].map(shown).sort((a, b) => (a.namespace < b.namespace ? -1 : 1));
  }

  /**
   * Makes a user with a namespace of its name, or gives an existing one another key. `credential` (`uuid:key`) is for those who
   * move here from another OpenWhisk; absent: a new one. Resolves to it.
   */
  async create(namespace: string, options: { credential?: string; limits?: SubjectLimits } = {}): Promise<string> {
    const credential = options.credential ?? `${randomUUID()}:${randomBytes(32).toString("hex")}`;
    const match = /^([0-9a-f-]{36}):([!-~]{32,256})$/.exec(credential);
    if (match === null) {
      throw new VirgaError("invalid_field", "the credential is no uuid:key", {
        field: "credential",
        fix: "give a UUID, a colon and a key of 32 to 256 characters, or leave it out for a new one",
      });
    }
    const [, uuid = "", key = ""] = match;
    const other = this.#byUuid.get(uuid);
    if (other !== undefined && other.namespace !== namespace) {
      throw new VirgaError("conflict", `the UUID belongs to ${other.namespace}`, { field: "credential" });
    }
    const { access, secrets, records, clock } = this.#options;
    const inEngine = engineNamespace(namespace);
    if (!access.hasNamespace(inEngine)) await access.createNamespace(inEngine);
    const before = this.get(namespace);
    const limits = options.limits ?? before?.limits;
    const subject: StoredSubject = {
      namespace,
      uuid,
      createdAt: before?.createdAt ?? clock.now(),
      digest: createHash("sha256").update(key).digest("hex"),
      ...(limits === undefined ? {} : { limits }),
    };
    await secrets.put(inEngine, secretName, credential);
    await records.put(prefix + namespace, subject);
    this.#drop(namespace);
    this.#keep(subject);
    this.#keys.set(namespace, credential);
    return credential;
  }

  /** The credential of a namespace's user, which is made where it is not there. */
  async ensure(namespace: string): Promise<string> {
    return (await this.apiKeyOf(namespace)) ?? this.create(namespace);
  }

  /** The namespace and what is in it stay. False where there was no such user. */
  async delete(namespace: string): Promise<boolean> {
    const { secrets, records } = this.#options;
    if (!(await records.delete(prefix + namespace))) return false;
    this.#drop(namespace);
    await secrets.delete(engineNamespace(namespace), secretName);
    return true;
  }

  /** For the platform: an engine namespace is being deleted. */
  async forget(inEngine: string): Promise<void> {
    const namespace = whiskNamespace(inEngine);
    await this.#options.records.delete(prefix + namespace);
    this.#drop(namespace);
  }

  #keep(subject: StoredSubject): void {
    this.#byUuid.set(subject.uuid, subject);
    this.#byNamespace.set(subject.namespace, subject);
  }

  #drop(namespace: string): void {
    const subject = this.#byNamespace.get(namespace);
    if (subject !== undefined) this.#byUuid.delete(subject.uuid);
    this.#byNamespace.delete(namespace);
    this.#verified.clear();
    this.#keys.delete(namespace);
  }
}

function shown({ digest: _digest, ...subject }: StoredSubject): Subject {
  return subject;
}

const mostVerified = 10_000;
