// The global Response: the web's interface, kept in the form in which it leaves over the link.
import { flatten, headersOver } from "./headers.mjs";
import { extract, Message, setContent, shareContent, withType } from "./message.mjs";
import { caught } from "./web.mjs";

export const textHeaders = ["content-type", "text/plain;charset=UTF-8"];
export const jsonHeaders = ["content-type", "application/json"];
export const bytesHeaders = ["content-type", "application/octet-stream"];
export const noHeaders = [];

export let isLight;
/** The headers of a Response of ours, flat. The list may be one of the constants above: not to be changed. */
export let flatHeaders;

export class Response extends Message {
  #status = 200;
  #statusText = "";
  /** Headers as a flat list until somebody asks for an object. */
  #flat = noHeaders;
  #headers;
  #type = "default";

  constructor(body = null, init) {
    super();
    let given;
    if (init !== undefined && init !== null) {
      if (typeof init !== "object") throw new TypeError("Response: the second argument is an object");
      const { status, statusText, headers } = init;
      if (status !== undefined) this.#status = checkStatus(status);
      if (statusText !== undefined) this.#statusText = String(statusText);
      if (headers !== undefined && headers !== null) this.#flat = given = [...flatten(headers)];
    }
    if (body === null || body === undefined) return;
    if (nullBody(this.#status)) throw new TypeError(`Response: an answer with status ${this.#status} has no body`);
    if (typeof body === "string") {
      setContent(this, body);
      this.#flat = given === undefined ? textHeaders : withType(given, textHeaders[1]);
    } else {
      const [content, type] = extract(body);
      setContent(this, content);
      if (type !== undefined) this.#flat = withType(given ?? [], type);
    }
  }

  static {
    isLight = (value) => #flat in value;
    flatHeaders = (response) => (response.#headers === undefined ? response.#flat : flatten(response.#headers));
  }

  static [Symbol.hasInstance](value) {
    if (Function.prototype[Symbol.hasInstance].call(this, value)) return true;
    return this === Response && caught.Response !== undefined && value instanceof caught.Response;
  }

  static json(data, init) {
    const text = JSON.stringify(data);
    if (text === undefined) throw new TypeError(`Response.json: ${typeof data} is no JSON`);
    const response = new Response(text, init);
    response.#flat = init?.headers ? withType([...flatten(init.headers)], jsonHeaders[1]) : jsonHeaders;
    return response;
  }

  static error() {
    const response = new Response();
    response.#status = 0;
    response.#type = "error";
    return response;
  }

  static redirect(url, status = 302) {
    if (![301, 302, 303, 307, 308].includes(status)) {
      throw new RangeError(`Response.redirect: ${status} is no status of a redirect`);
    }
    return new Response(null, { status, headers: { location: new URL(url).href } });
  }

  get status() {
    return this.#status;
  }

  get ok() {
    return this.#status >= 200 && this.#status <= 299;
  }

  get statusText() {
    return this.#statusText;
  }

  get headers() {
    return (this.#headers ??= headersOver([...this.#flat]));
  }

  get type() {
    return this.#type;
  }

  get url() {
    return "";
  }

  get redirected() {
    return false;
  }

  clone() {
    const other = new Response(null, { statusText: this.#statusText, headers: this.headers });
    other.#status = this.#status;
    other.#type = this.#type;
    shareContent(this, other);
    return other;
  }

  get [Symbol.toStringTag]() {
    return "Response";
  }
}

function checkStatus(status) {
  const number = Number(status);
  if (!Number.isInteger(number) || number < 200 || number > 599) {
    throw new RangeError(`Response: the status is from 200 to 599, not ${status}`);
  }
  return number;
}

function nullBody(status) {
  return status === 204 || status === 205 || status === 304;
}
