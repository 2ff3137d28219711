// A Headers that costs little: the flat list that the link carries, and the web's interface over it (https://fetch.spec.whatwg.org/#headers-class).
import { inspect } from "node:util";
import { caught } from "./web.mjs";

/** Over a flat list of lower-case names and values that is known to be well-formed. */
export let headersOver;
/** The flat list of headers in whatever form a user may write them; of a Headers of ours, its own list. */
export let flatten;

export class Headers {
  /** name, value, name, value; names in lower case; in the order they were added. */
  #list = [];

  constructor(init) {
    if (init !== undefined) this.#list = [...flatten(init)];
  }

  static {
    headersOver = (list) => {
      const headers = new Headers();
      headers.#list = list;
      return headers;
    };
    flatten = (init) => {
      if (typeof init !== "object" || init === null)
        throw new TypeError("Headers: the init is neither a record nor a list of pairs");
      if (#list in init) return init.#list;
      const list = [];
      if (typeof init[Symbol.iterator] === "function") {
        for (const pair of init) {
          const [name, value, ...more] = pair;
          if (value === undefined || more.length > 0)
            throw new TypeError("Headers: a pair of name and value was expected");
          list.push(checkName(name), checkValue(name, value));
        }
      } else {
        for (const name of Object.keys(init)) list.push(checkName(name), checkValue(name, init[name]));
      }
      return list;
    };
  }

  static [Symbol.hasInstance](value) {
    if (Function.prototype[Symbol.hasInstance].call(this, value)) return true;
    return this === Headers && caught.Headers !== undefined && value instanceof caught.Headers;
  }

  append(name, value) {
    this.#list.push(checkName(name), checkValue(name, value));
  }

  delete(name) {
    const wanted = checkName(name);
    this.#list = this.#list.filter((_, index, list) => list[index - (index % 2)] !== wanted);
  }

  get(name) {
    const wanted = checkName(name);
    const list = this.#list;
    let found = null;
    for (let index = 0; index < list.length; index += 2) {
      if (list[index] === wanted) found = found === null ? list[index + 1] : `${found}, ${list[index + 1]}`;
    }
    return found;
  }

  getSetCookie() {
    return this.#list.filter((_, index, list) => index % 2 === 1 && list[index - 1] === "set-cookie");
  }

  has(name) {
    const wanted = checkName(name);
    for (let index = 0; index < this.#list.length; index += 2) if (this.#list[index] === wanted) return true;
    return false;
  }

  set(name, value) {
    const wanted = checkName(name);
    const content = checkValue(name, value);
    const list = this.#list;
    for (let index = 0; index < list.length; index += 2) {
      if (list[index] !== wanted) continue;
      list[index + 1] = content;
      const rest = list.slice(index + 2).filter((_, at, tail) => tail[at - (at % 2)] !== wanted);
      this.#list = [...list.slice(0, index + 2), ...rest];
      return;
    }
    list.push(wanted, content);
  }

  forEach(callback, thisArgument) {
    for (const [name, value] of this) callback.call(thisArgument, value, name, this);
  }

  *entries() {
    const list = this.#list;
    const values = new Map();
    for (let index = 0; index < list.length; index += 2) {
      const before = values.get(list[index]);
      values.set(list[index], before === undefined ? list[index + 1] : `${before}, ${list[index + 1]}`);
    }
    for (const [name, value] of [...values].sort(byName)) {
      if (name === "set-cookie") for (const cookie of this.getSetCookie()) yield [name, cookie];
      else yield [name, value];
    }
  }

  *keys() {
    for (const [name] of this.entries()) yield name;
  }

  *values() {
    for (const [, value] of this.entries()) yield value;
  }

  [Symbol.iterator]() {
    return this.entries();
  }

  get [Symbol.toStringTag]() {
    return "Headers";
  }

  [inspect.custom](_depth, options) {
    return `Headers ${inspect(Object.fromEntries(this), options)}`;
  }
}

const token = /^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/;
const notInValue = /[^\t\x20-\x7e\x80-\xff]/;
const lowerCase = new Map();

function checkName(name) {
  const known = lowerCase.get(name);
  if (known !== undefined) return known;
  const text = `${name}`;
  if (!token.test(text)) throw new TypeError(`Headers: ${JSON.stringify(text)} is not a header name`);
  const lower = text.toLowerCase();
  if (lowerCase.size < 1000) lowerCase.set(text, lower); // names are few; made-up ones must not pile up
  return lower;
}

function checkValue(name, value) {
  const text = (typeof value === "string" ? value : `${value}`).trim();
  if (notInValue.test(text))
    throw new TypeError(`Headers: the value of ${name} has a character that no header may have`);
  return text;
}

function byName([one], [other]) {
  return one < other ? -1 : 1;
}
