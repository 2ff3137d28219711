import { VirgaError } from "../core/errors.ts";
import type { FunctionId } from "../core/model.ts";
import { hostName, readFunctionHost } from "./address.ts";

export interface Host {
  /** Lower case, without port. */
  readonly name: string;
  /** The function that owns this host name. */
  readonly function: FunctionId | undefined;
}

/** Reads `Host` headers, remembering those seen: a server is called by few names. */
export class Hosts {
  readonly #domain: string;
  readonly #known = new Map<string, Host>();

  /** `domain` is in lower case; empty: no function has a host name. */
  constructor(domain: string) {
    this.#domain = domain;
  }

  /** Throws `bad_request` for what is no host (RFC 9112 section 3.2). */
  read(header: string): Host {
    const known = this.#known.get(header);
    if (known !== undefined) return known;
    if (!/^[\w.~:[\]-]*$/.test(header)) {
      throw new VirgaError("bad_request", "the Host header is no host name", { field: "host" });
    }
    const name = hostName(header);
    const host = { name, function: this.#domain === "" ? undefined : readFunctionHost(name, this.#domain) };
    if (this.#known.size >= mostHosts) this.#known.clear();
    this.#known.set(header, host);
    return host;
  }
}

const mostHosts = 4096;
