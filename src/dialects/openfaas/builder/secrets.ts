/** Secrets of a build, for the RUN lines that ask for them and nobody else; none of them comes into the image. */
import { chmod, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Mount } from "../../../ports/sandbox.ts";
import { wrong } from "./dockerfile.ts";

export interface PlacedSecrets {
  readonly folder: string;
  readonly values: ReadonlyMap<string, Uint8Array>;
}

/** As files below the build's own folder, which goes with it. Builds run as a user that nobody else is. */
export async function placeSecrets(
  values: ReadonlyMap<string, Uint8Array>,
  workDirectory: string,
): Promise<PlacedSecrets> {
  const folder = join(workDirectory, "secrets");
  await mkdir(folder);
  // Whoever knows a name can read it; the names of the folders above are random.
  await chmod(folder, 0o711);
  for (const [id, value] of values) {
    if (!isId(id)) continue;
    await writeFile(join(folder, id), value);
    await chmod(join(folder, id), 0o444);
  }
  return { folder, values };
}

/** `--mount=type=secret,id=ID[,target=PATH][,env=NAME][,required=true]`; without target and env at `/run/secrets/ID`. */
export function secretMounts(
  line: number,
  mounts: readonly string[],
  { folder, values }: PlacedSecrets,
): { mounts: Mount[]; environment: Record<string, string> } {
  const found: Mount[] = [];
  const environment: Record<string, string> = {};
  for (const mount of mounts) {
    const options = new Map(
      mount.split(",").map((option): [string, string] => {
        const [name = "", ...value] = option.split("=");
        return [name, value.join("=")];
      }),
    );
    const path = options.get("target") ?? options.get("dst") ?? options.get("destination");
    const id = options.get("id") ?? path?.split("/").at(-1) ?? "";
    const value = values.get(id);
    if (value === undefined || !isId(id)) {
      const isRequired = options.has("required") && options.get("required") !== "false";
      if (isRequired) throw wrong(line, `the secret ${id} did not come with the build`, "Give it with --build-secret.");
      continue;
    }
    const name = options.get("env");
    if (name !== undefined) environment[name] = Buffer.from(value).toString("utf8");
    if (path !== undefined || name === undefined)
      found.push({ source: join(folder, id), target: path ?? `/run/secrets/${id}`, writable: false });
  }
  return { mounts: found, environment };
}

function isId(text: string): boolean {
  return /^[\w][\w.-]{0,127}$/.test(text);
}
