import { existsSync, lstatSync, readlinkSync, realpathSync } from "node:fs";
import { join } from "node:path";
import { outboundAddresses } from "./outbound.ts";

/** A folder or file of the host, read-only, or a symbolic link, at a path inside. */
export type ViewEntry =
  | { readonly bind: string; readonly path: string }
  | { readonly link: string; readonly path: string };

/**
 * The system that a program runs in, read-only: programs and libraries, and of `/etc` what those read.
 * The host's users, passwords, keys and services' settings are not among it.
 */
export function systemView(accounts: { readonly passwd: string; readonly group: string }): ViewEntry[] {
  const entries: ViewEntry[] = [{ bind: "/usr", path: "/usr" }];
  for (const folder of ["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"]) {
    if (!existsSync(folder)) continue;
    // Where /usr is merged these are links into it; else folders of their own.
    if (lstatSync(folder).isSymbolicLink()) entries.push({ link: readlinkSync(folder), path: folder });
    else entries.push({ bind: folder, path: folder });
  }
  for (const name of publicSettings) {
    const file = join("/etc", name);
    const found = target(file);
    if (found !== undefined) entries.push({ bind: found, path: file });
  }
  entries.push({ bind: accounts.passwd, path: "/etc/passwd" }, { bind: accounts.group, path: "/etc/group" });
  return entries;
}

/** The one account that a program sees beside root's name. */
export const insideUser = 1000;

export const passwdText = `root:x:0:0:root:/:/usr/sbin/nologin
virga:x:${insideUser}:${insideUser}:virga:/tmp:/bin/sh
nobody:x:65534:65534:nobody:/:/usr/sbin/nologin
`;
export const groupText = `root:x:0:\nvirga:x:${insideUser}:\nnogroup:x:65534:\n`;

/** `/etc/hosts` of programs with a network of their own: on loopback is only what they bring there themselves. */
export function ownHostsText(names: readonly string[]): string {
  return `127.0.0.1 ${["localhost", ...names].join(" ")}\n::1 localhost\n${outboundAddresses.host} host.virga.internal\n`;
}

export const ownResolverText = `nameserver ${outboundAddresses.resolver}\n`;

/** What the C library, TLS, language runtimes and Debian's `alternatives` read. A missing one is left out. */
const publicSettings = [
  "alternatives",
  "ca-certificates.conf",
  "ca-certificates",
  "crypto-policies",
  "fonts",
  "gai.conf",
  "ghostscript",
  "host.conf",
  "hosts",
  "ImageMagick-6",
  "ImageMagick-7",
  "java-11-openjdk",
  "java-17-openjdk",
  "java-21-openjdk",
  "java-25-openjdk",
  "ld.so.cache",
  "ld.so.conf",
  "ld.so.conf.d",
  "localtime",
  "magic",
  "mime.types",
  "nsswitch.conf",
  "perl",
  "php",
  "pki",
  "protocols",
  "python3",
  "R",
  "resolv.conf",
  "services",
  "ssl/certs",
  "ssl/openssl.cnf",
  "terminfo",
  "timezone",
];

/** Links such as resolv.conf's lead to where nothing is inside. */
function target(file: string): string | undefined {
  try {
    return realpathSync(file);
  } catch {
    return undefined; // not on this host, or a link to what is not
  }
}
