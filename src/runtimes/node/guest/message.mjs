// What Request and Response have in common: a body and the ways to read it (https://fetch.spec.whatwg.org/#body-mixin).
import { Readable } from "node:stream";
import { decode, encode, gather, IncomingBody, isBytes, isStream, toArrayBuffer, toBytes } from "./body.mjs";
import { responseOfNode } from "./web.mjs";

/** Gives a message its body: null, a string, bytes, a stream or an IncomingBody. */
export let setContent;
/** Takes the body out of a message, as it is; from then on it counts as read. */
export let takeContent;
/** Gives a message's body to another one too. */
export let shareContent;

export class Message {
  #content = null;
  #stream;
  #used = false;

  static {
    setContent = (message, content) => {
      message.#content = content;
    };
    takeContent = (message) => {
      message.#checkUnread();
      message.#used = true;
      return message.#stream ?? message.#content;
    };
    shareContent = (from, to) => {
      from.#checkUnread();
      const content = from.#content;
      if (from.#stream !== undefined || content instanceof IncomingBody || isStream(content)) {
        [from.#stream, to.#stream] = from.body.tee();
      }
      to.#content = content;
    };
  }

  get body() {
    if (this.#stream !== undefined) return this.#stream;
    const content = this.#content;
    if (content === null) return null;
    return (this.#stream = this.#used ? streamOf(empty) : streamOf(content));
  }

  get bodyUsed() {
    return this.#content !== null && (this.#used || (this.#stream !== undefined && Readable.isDisturbed(this.#stream)));
  }

  async text() {
    const content = takeContent(this);
    return typeof content === "string" ? content.toWellFormed() : decode(await read(content));
  }

  async json() {
    return JSON.parse(await this.text());
  }

  async arrayBuffer() {
    return toArrayBuffer(await read(takeContent(this)));
  }

  async bytes() {
    return new Uint8Array(await this.arrayBuffer());
  }

  async blob() {
    return new Blob([await this.arrayBuffer()], { type: this.headers.get("content-type") ?? "" });
  }

  async formData() {
    const headers = { "content-type": this.headers.get("content-type") ?? "" };
    const bytes = await this.arrayBuffer();
    const Response = await responseOfNode();
    return new Response(bytes, { headers }).formData();
  }

  #checkUnread() {
    if (this.bodyUsed || this.#stream?.locked) throw new TypeError("The body has been read already");
  }
}

/** A body in the form in which a message keeps it, and the content type that it implies (undefined: none). */
export function extract(body) {
  if (typeof body === "string") return [body, "text/plain;charset=UTF-8"];
  if (isBytes(body)) return [toBytes(body), undefined];
  if (body instanceof URLSearchParams) return [`${body}`, "application/x-www-form-urlencoded;charset=UTF-8"];
  if (body instanceof Blob) return [body.stream(), body.type === "" ? undefined : body.type];
  if (Object.prototype.toString.call(body) === "[object FormData]") return multipart(body);
  if (isStream(body)) {
    if (body.locked === true || Readable.isDisturbed(body) === true)
      throw new TypeError("The stream is in use already");
    return [body, undefined];
  }
  return [`${body}`, "text/plain;charset=UTF-8"];
}

/** Adds a content type to a flat list of headers that has none. */
export function withType(flat, type) {
  if (type === undefined) return flat;
  for (let index = 0; index < flat.length; index += 2) if (flat[index] === "content-type") return flat;
  flat.push("content-type", type);
  return flat;
}

const empty = new Uint8Array(0);

function read(content) {
  if (content === null) return empty;
  if (typeof content === "string") return encode(content);
  if (content instanceof IncomingBody) return content.bytes();
  return isStream(content) ? gather(content) : content;
}

function streamOf(content) {
  if (content instanceof IncomingBody) return content.stream();
  if (typeof content.getReader === "function") return content;
  if (isStream(content)) return ReadableStream.from(pieces(content));
  const bytes = typeof content === "string" ? encode(content) : content;
  return new ReadableStream({
    pull(controller) {
      if (bytes.length > 0) controller.enqueue(bytes);
      controller.close();
    },
  });
}

async function* pieces(source) {
  for await (const chunk of source) yield toBytes(chunk);
}

/** RFC 7578, with the escapes of https://html.spec.whatwg.org/#multipart-form-data. */
function multipart(form) {
  const boundary = `----formdata-${crypto.randomUUID()}`;
  async function* parts() {
    for (const [name, value] of form) {
      const head = `--${boundary}\r\ncontent-disposition: form-data; name="${quote(name)}"`;
      if (typeof value === "string") {
        yield encode(`${head}\r\n\r\n${value.replace(/\r\n|\r|\n/g, "\r\n")}\r\n`);
        continue;
      }
      yield encode(
        `${head}; filename="${quote(value.name)}"\r\ncontent-type: ${value.type || "application/octet-stream"}\r\n\r\n`,
      );
      yield* value.stream();
      yield encode("\r\n");
    }
    yield encode(`--${boundary}--\r\n`);
  }
  return [parts(), `multipart/form-data; boundary=${boundary}`];
}

function quote(text) {
  return text.replace(/\r\n|\r|\n/g, "%0D%0A").replaceAll('"', "%22");
}
