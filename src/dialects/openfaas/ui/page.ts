import { readFileSync } from "node:fs";

/** The functions of the gateway, to look at and to call. */
export function page(version: string): string {
  text ??= readFileSync(new URL("page.html", import.meta.url), "utf8");
  return text.replace("{{version}}", version);
}

let text: string | undefined;
