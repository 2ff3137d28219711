import type { Enforcement } from "../../../ports/sandbox.ts";
import type { CgroupControls } from "../cgroup.ts";
import { cgroupRemedy, userRemedy } from "../remedies.ts";

export interface Means {
  /** Undefined where no control group can be made. */
  readonly cgroups: CgroupControls | undefined;
  readonly ownUser: boolean;
  readonly tmpfsSize: boolean;
  readonly seccomp: boolean;
  readonly outbound: boolean;
}

/** What bubblewrap promises with the means of this host. */
export function enforcement({ cgroups, ownUser, tmpfsSize, seccomp, outbound }: Means): Enforcement {
  const remarks: { promise: keyof Enforcement; why: string; fix: string }[] = [];
  const remark = (promise: keyof Enforcement, why: string, fix: string): void =>
    void remarks.push({ promise, why, fix });
  if (cgroups?.memory !== true) {
    remark("memory", "this server may not make control groups: memory is looked at ten times a second", cgroupRemedy);
  }
  if (cgroups?.cpu !== true)
    remark("cpu", "this server may not make control groups: functions share the processors freely", cgroupRemedy);
  if (!ownUser) {
    remark(
      "ownUser",
      "all functions are the server's user on the host, kept apart by their namespaces alone",
      userRemedy,
    );
  }
  if (!tmpfsSize) remark("tmp", "this bubblewrap cannot limit the size of /tmp", "install bubblewrap 0.7 or newer");
  if (!seccomp) {
    remark("systemCalls", `no list of system calls is known for ${process.arch}`, "run the server on x86-64 or arm64");
  }
  if (!outbound) {
    remark("networkOwn", "functions with network `own` have no way out of it", "apt-get install slirp4netns");
  }
  return {
    memory: cgroups?.memory === true ? "enforced" : "watched",
    cpu: cgroups?.cpu === true ? "enforced" : "absent",
    // Else by RLIMIT_NPROC, inside the program's own user namespace.
    processes: "enforced",
    openFiles: "enforced",
    fileSize: "enforced",
    tmp: tmpfsSize ? "enforced" : "absent",
    filesystem: "enforced",
    processIsolation: "enforced",
    networkNone: "enforced",
    networkOwn: outbound ? "enforced" : "absent",
    systemCalls: seccomp ? "enforced" : "absent",
    ownUser: ownUser ? "enforced" : "absent",
    remarks,
  };
}
