/** `/api/v1/web/{namespace}/{package|default}/{action}[.ext][/path]` (contract section 2.4). */

export interface WebAddress {
  readonly namespace: string;
  readonly package?: string;
  readonly name: string;
  readonly extension: Extension;
  /** What stands behind the action, beginning with `/`; empty where nothing does. */
  readonly path: string;
}

export type Extension = "http" | "json" | "html" | "svg" | "text";

/** `path` is what stands behind `/api/v1/web/`, still percent-encoded. Undefined for what is no address of an action. */
export function readWebAddress(path: string): WebAddress | undefined {
  const [namespace, inPackage, action, ...rest] = path.split("/");
  if (!namespace || !inPackage || !action) return undefined;
  try {
    const whole = decodeURIComponent(action);
    const dot = whole.lastIndexOf(".");
    const extension = dot > 0 ? extensions.find((one) => one === whole.slice(dot + 1)) : undefined;
    const name = extension === undefined ? whole : whole.slice(0, dot);
    return {
      namespace: decodeURIComponent(namespace),
      ...(inPackage === "default" ? {} : { package: decodeURIComponent(inPackage) }),
      name,
      extension: extension ?? "http",
      path: rest.length === 0 ? "" : `/${rest.map(decodeURIComponent).join("/")}`,
    };
  } catch {
    // A percent sign that begins no character.
    return undefined;
  }
}

const extensions: readonly Extension[] = ["http", "json", "html", "svg", "text"];
