/** Programs of an image that mean nothing here: what they would install or set up is the host's. */
import { chmod, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** Where they are seen inside. */
export const shimsPath = "/virga/shims";

/** Writes them into a folder of its own below `place`; gives that. */
export async function placeShims(place: string): Promise<string> {
  const folder = join(place, "shims");
  await mkdir(folder);
  for (const [name, script] of Object.entries(scripts)) {
    await writeFile(join(folder, name), `#!/bin/sh\n${script}`);
    await chmod(join(folder, name), 0o755);
  }
  await chmod(folder, 0o755);
  return folder;
}

/** A program of the host by each package's name is taken for what was wanted; a library cannot be looked for. */
const packageManager = `name=\${0##*/}
missing=
verb=
skip=
for word in "$@"; do
  if [ -n "$skip" ]; then skip=; continue; fi
  case "$word" in
    -t|--virtual|-o|-c|--repository|-X) skip=1 ;;
    -*) ;;
    *)
      if [ -z "$verb" ]; then verb=$word; continue; fi
      case "$verb" in add|install|reinstall) ;; *) continue ;; esac
      package=\${word%%[=<>~@:]*}
      case "$package" in ca-certificates|tzdata) continue ;; esac
      command -v "$package" >/dev/null 2>&1 || missing="$missing $package"
      ;;
  esac
done
if [ -n "$missing" ]; then
  echo "virga: not needed here: $name $* (programs come from the host, which has none by the name of:$missing)"
else
  echo "virga: not needed here: $name $*"
fi
`;

const nothing = `echo "virga: not needed here: \${0##*/} $*"\n`;

/** A user's home is made, too. */
const newUser = `for word in "$@"; do
  case "$word" in -*|/*|*[!a-z0-9_-]*|[0-9]*) ;; *) mkdir -p "/home/$word" 2>/dev/null ;; esac
done
${nothing}`;

/** The watchdog is the platform's and lies nowhere. */
const changeMode = `count=$#
files=0
while [ "$count" -gt 0 ]; do
  word=$1
  shift
  count=$((count - 1))
  case "$word" in
    fwatchdog|*/fwatchdog) continue ;;
    -*) ;;
    *) files=$((files + 1)) ;;
  esac
  set -- "$@" "$word"
done
if [ "$files" -lt 2 ]; then exit 0; fi
exec /bin/chmod "$@"
`;

/** Folders at the root are there already, because nobody but the platform can make them. */
const makeFolder = `for word in "$@"; do
  case "$word" in
    /*/*) ;;
    /*) exec /bin/mkdir -p "$@" ;;
  esac
done
exec /bin/mkdir "$@"
`;

const scripts: Readonly<Record<string, string>> = {
  ...Object.fromEntries(
    ["apk", "apt-get", "apt", "aptitude", "yum", "dnf", "microdnf", "zypper"].map((name) => [name, packageManager]),
  ),
  ...Object.fromEntries(["adduser", "useradd"].map((name) => [name, newUser])),
  ...Object.fromEntries(
    [
      "addgroup",
      "groupadd",
      "usermod",
      "chown",
      "chgrp",
      "setcap",
      "update-ca-certificates",
      "strip",
      "license-check",
      "docker-php-ext-install",
      "docker-php-ext-enable",
      "docker-php-ext-configure",
    ].map((name) => [name, nothing]),
  ),
  chmod: changeMode,
  mkdir: makeFolder,
};
