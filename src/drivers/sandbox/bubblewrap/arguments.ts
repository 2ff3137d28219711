import type { SandboxSpec } from "../../../ports/sandbox.ts";
import { insideUser, type ViewEntry } from "./system-view.ts";

export interface View {
  /** The system's folders, the same for every program. */
  readonly system: readonly ViewEntry[];
  /** The host folder shown at `/code`, where the program will be given its code later. */
  readonly slot: string | undefined;
  readonly abilities: Abilities;
  readonly seccompDescriptor: number | undefined;
  /** Where bwrap says which process is the first of the namespace. */
  readonly infoDescriptor: number | undefined;
  /** The program begins when something is written to it. */
  readonly gateDescriptor: number | undefined;
}

/** What this host's bwrap can do. */
export interface Abilities {
  /** `--size`, from 0.7. */
  readonly tmpfsSize: boolean;
  /** `--disable-userns`, from 0.8. */
  readonly disableUserNamespaces: boolean;
}

/** Where code is shown that comes after the start. */
export const codePath = "/code";

/** What bwrap is told, but for the command. Given to it through a descriptor: a command line can be read by every user. */
export function bubblewrapArguments(spec: SandboxSpec, view: View): string[] {
  const { limits, environment, mounts } = spec;
  const { abilities } = view;
  const tmpfs = (path: string): string[] =>
    abilities.tmpfsSize ? ["--size", String(limits.tmpMb * 2 ** 20), "--tmpfs", path] : ["--tmpfs", path];
  return [
    "--unshare-user",
    "--unshare-pid",
    "--unshare-ipc",
    "--unshare-uts",
    "--unshare-cgroup-try",
    ...(spec.network === "host" ? [] : ["--unshare-net"]),
    ...(abilities.disableUserNamespaces ? ["--disable-userns"] : []),
    ...["--uid", String(insideUser), "--gid", String(insideUser)],
    ...["--hostname", "virga"],
    "--die-with-parent",
    ...["--cap-drop", "ALL"],
    ...(view.seccompDescriptor === undefined ? [] : ["--seccomp", String(view.seccompDescriptor)]),
    ...(view.infoDescriptor === undefined ? [] : ["--info-fd", String(view.infoDescriptor)]),
    ...(view.gateDescriptor === undefined ? [] : ["--block-fd", String(view.gateDescriptor)]),
    ...view.system.flatMap((entry) =>
      "link" in entry ? ["--symlink", entry.link, entry.path] : ["--ro-bind", entry.bind, entry.path],
    ),
    ...["--proc", "/proc", "--dev", "/dev"],
    ...tmpfs("/dev/shm"),
    ...tmpfs("/tmp"),
    ...(view.slot === undefined ? [] : ["--ro-bind", view.slot, codePath]),
    ...mounts.flatMap(({ source, target, writable }) => [writable ? "--bind" : "--ro-bind", source, target]),
    // Both are file systems in memory, which would take files without a limit of their own.
    ...["--remount-ro", "/dev", "--remount-ro", "/"],
    ...["--chdir", spec.workingDirectory],
    "--clearenv",
    ...Object.entries(environment).flatMap(([name, value]) => ["--setenv", name, value]),
  ];
}
