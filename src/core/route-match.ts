/**
 * Path templates and the tree that matches them.
 *
 * `/users/{id}` matches one segment, `/files/{path...}` the rest of the path (which may be empty) and stands last.
 * Templates are written plainly; a request's segments are percent-decoded once, each on its own, before they are compared,
 * so `%2F` never makes a new segment. A trailing slash counts.
 */
export type Segment =
  | { readonly kind: "literal"; readonly text: string }
  | { readonly kind: "parameter"; readonly name: string }
  | { readonly kind: "rest"; readonly name: string };

/** Longest template, and most segments of one; a request with more segments than this matches nothing. */
export const templateLimits = { length: 2048, segments: 64 };

/** A template's segments, or the sentence that says what is wrong with it. */
export function parseTemplate(path: string): Segment[] | string {
  if (!path.startsWith("/")) return "a path begins with '/'";
  if (path.length > templateLimits.length) return `a path has at most ${templateLimits.length} characters`;
  const texts = path.slice(1).split("/");
  if (texts.length > templateLimits.segments) return `a path has at most ${templateLimits.segments} segments`;
  const names = new Set<string>();
  const segments: Segment[] = [];
  for (const [index, text] of texts.entries()) {
    const segment = parseSegment(text);
    if (typeof segment === "string") return segment;
    if (segment.kind === "rest" && index < texts.length - 1) return `{${segment.name}...} must stand last`;
    if (segment.kind !== "literal") {
      // Parameters become headers, whose names ignore case.
      const name = segment.name.toLowerCase();
      if (names.has(name)) return `parameter ${segment.name} stands twice`;
      names.add(name);
    } else if (text === "" && index < texts.length - 1) {
      return "a path has no empty segment";
    }
    segments.push(segment);
  }
  return segments;
}

interface Leaf<T> {
  readonly value: T;
  readonly names: readonly string[];
}

interface Branch<T> {
  readonly literals: Map<string, Branch<T>>;
  parameter: Branch<T> | undefined;
  /** By method; "" is any. */
  readonly ends: Map<string, Leaf<T>>;
  readonly rests: Map<string, Leaf<T>>;
}

export interface Match<T> {
  readonly value: T;
  /** Decoded text: whoever writes it into a header encodes it again. */
  readonly parameters: Record<string, string>;
}

/** Routes of one host. Literal segments win over parameters, these over the rest; a named method over any. */
export class RouteTree<T> {
  readonly #root: Branch<T> = branch();

  /** What already holds this shape and method; parameter names make no difference. */
  find(segments: readonly Segment[], method: string | undefined): T | undefined {
    let at: Branch<T> | undefined = this.#root;
    for (const segment of segments) {
      if (segment.kind === "rest") return at.rests.get(method ?? "")?.value;
      at = segment.kind === "literal" ? at.literals.get(segment.text) : at.parameter;
      if (at === undefined) return undefined;
    }
    return at.ends.get(method ?? "")?.value;
  }

  add(segments: readonly Segment[], method: string | undefined, value: T): void {
    const names = segments.flatMap((segment) => (segment.kind === "literal" ? [] : [segment.name]));
    let at = this.#root;
    for (const segment of segments) {
      if (segment.kind === "rest") {
        at.rests.set(method ?? "", { value, names });
        return;
      }
      if (segment.kind === "parameter") {
        at = at.parameter ??= branch();
        continue;
      }
      let next = at.literals.get(segment.text);
      if (next === undefined) at.literals.set(segment.text, (next = branch()));
      at = next;
    }
    at.ends.set(method ?? "", { value, names });
  }

  /** `path` as it stands in the request, without query. */
  match(method: string, path: string): Match<T> | undefined {
    const segments = requestSegments(path);
    if (segments === undefined) return undefined;
    const values: string[] = [];
    const leaf = search(this.#root, segments, 0, method, values);
    if (leaf === undefined) return undefined;
    const parameters: Record<string, string> = {};
    for (const [index, name] of leaf.names.entries()) parameters[name] = values[index]!;
    return { value: leaf.value, parameters };
  }
}

/** A request path's decoded segments; undefined where it is no path that a route may serve (see `isPlain`). */
export function requestSegments(path: string): string[] | undefined {
  if (!path.startsWith("/")) return undefined;
  const segments = path.slice(1).split("/");
  if (segments.length > templateLimits.segments) return undefined;
  for (const [index, segment] of segments.entries()) {
    let text = segment;
    if (segment.includes("%")) {
      try {
        text = decodeURIComponent(segment);
      } catch {
        return undefined;
      }
    }
    if (!isPlain(text)) return undefined;
    segments[index] = text;
  }
  return segments;
}

/**
 * Each branch of the tree lies at one depth and is reached on one way, so a search visits each at most once:
 * going back is bounded by the number of routes, not by the path.
 */
function search<T>(
  at: Branch<T>,
  segments: readonly string[],
  depth: number,
  method: string,
  values: string[],
): Leaf<T> | undefined {
  if (depth === segments.length) return at.ends.get(method) ?? at.ends.get("");
  const segment = segments[depth]!;
  const literal = at.literals.get(segment);
  if (literal !== undefined) {
    const leaf = search(literal, segments, depth + 1, method, values);
    if (leaf !== undefined) return leaf;
  }
  if (at.parameter !== undefined && segment !== "") {
    values.push(segment);
    const leaf = search(at.parameter, segments, depth + 1, method, values);
    if (leaf !== undefined) return leaf;
    values.pop();
  }
  const rest = at.rests.get(method) ?? at.rests.get("");
  if (rest !== undefined) values.push(segments.slice(depth).join("/"));
  return rest;
}

function parseSegment(text: string): Segment | string {
  const parameter = /^\{([A-Za-z][A-Za-z0-9_-]{0,63})(\.\.\.)?\}$/.exec(text);
  if (parameter) return { kind: parameter[2] === undefined ? "parameter" : "rest", name: parameter[1]! };
  if (/[{}]/.test(text)) return `${text} is neither {name} nor {name...} nor plain text`;
  if (/[?#%]/.test(text)) return `${text} has a '?', '#' or '%', which a path template cannot`;
  if (!isPlain(text)) return `${JSON.stringify(text)} cannot be a segment`;
  return { kind: "literal", text };
}

/** No control characters, and nothing that climbs (`.`, `..`), also not behind an encoded slash or a backslash. */
function isPlain(text: string): boolean {
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if (code < 0x20 || code === 0x7f) return false;
  }
  return !text.includes(".") || !/(^|[/\\])\.{1,2}($|[/\\])/.test(text);
}

function branch<T>(): Branch<T> {
  return { literals: new Map(), parameter: undefined, ends: new Map(), rests: new Map() };
}
