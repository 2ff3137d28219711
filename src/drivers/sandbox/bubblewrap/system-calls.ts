/** Numbers of system calls for one machine type. */
export interface SystemCalls {
  /** AUDIT_ARCH_… of linux/audit.h. */
  readonly architecture: number;
  /** All numbers up to here are known to this list; what the kernel has beyond them is answered with ENOSYS. */
  readonly newest: number;
  readonly clone: number;
  readonly clone3: number;
  readonly personality: number;
  readonly socket: number;
  readonly pivotRoot: number;
  /** Refused with EPERM. */
  readonly refused: readonly number[];
}

/** Undefined where the machine type is not listed. */
export function systemCallsOf(architecture: NodeJS.Architecture): SystemCalls | undefined {
  const column = columns.indexOf(architecture);
  if (column < 0) return undefined;
  const number = (name: keyof typeof named): number => named[name][column]!;
  return {
    architecture: audited[column]!,
    newest: 462,
    clone: number("clone"),
    clone3: number("clone3"),
    personality: number("personality"),
    socket: number("socket"),
    pivotRoot: refused.pivot_root[column]!,
    refused: Object.values(refused).flatMap((numbers) => numbers[column] ?? []),
  };
}

const columns: readonly string[] = ["x64", "arm64"];
/** x86-64; AArch64, little endian. */
const audited = [0xc000_003e, 0xc000_00b7];

/** Numbers on x86-64 and on AArch64. */
type Numbers = readonly [x64: number | undefined, arm64: number | undefined];

const named = {
  clone: [56, 220],
  clone3: [435, 435],
  personality: [135, 92],
  socket: [41, 198],
} as const;

/**
 * What the container engines' default profile refuses to a process without capabilities, and io_uring, whose requests
 * no filter sees: https://docs.docker.com/engine/security/seccomp. Names by theme; the numbers are the kernel's ABI.
 */
const refused = {
  // The keyring is not divided by namespaces.
  add_key: [248, 217],
  keyctl: [250, 219],
  request_key: [249, 218],
  // Large, often attacked parts of the kernel.
  bpf: [321, 280],
  io_uring_setup: [425, 425],
  io_uring_enter: [426, 426],
  io_uring_register: [427, 427],
  perf_event_open: [298, 241],
  userfaultfd: [323, 282],
  fanotify_init: [300, 262],
  // Mounts and namespaces.
  mount: [165, 40],
  umount2: [166, 39],
  pivot_root: [155, 41],
  chroot: [161, 51],
  setns: [308, 268],
  unshare: [272, 97],
  open_tree: [428, 428],
  move_mount: [429, 429],
  fsopen: [430, 430],
  fsconfig: [431, 431],
  fsmount: [432, 432],
  fspick: [433, 433],
  mount_setattr: [442, 442],
  open_by_handle_at: [304, 265],
  quotactl: [179, 60],
  quotactl_fd: [443, 443],
  // Other processes.
  ptrace: [101, 117],
  process_vm_readv: [310, 270],
  process_vm_writev: [311, 271],
  process_madvise: [440, 440],
  kcmp: [312, 272],
  pidfd_getfd: [438, 438],
  // The machine.
  acct: [163, 89],
  clock_adjtime: [305, 266],
  clock_settime: [227, 112],
  delete_module: [176, 106],
  finit_module: [313, 273],
  init_module: [175, 105],
  kexec_file_load: [320, 294],
  kexec_load: [246, 104],
  lookup_dcookie: [212, 18],
  reboot: [169, 142],
  setdomainname: [171, 162],
  sethostname: [170, 161],
  settimeofday: [164, 170],
  swapoff: [168, 225],
  swapon: [167, 224],
  syslog: [103, 116],
  vhangup: [153, 58],
  // Where memory lies on machines with several nodes.
  get_mempolicy: [239, 236],
  mbind: [237, 235],
  migrate_pages: [256, 238],
  move_pages: [279, 239],
  set_mempolicy: [238, 237],
  set_mempolicy_home_node: [450, 450],
  // Long obsolete, or hardware ports; on x86-64 alone, but for the last.
  _sysctl: [156, undefined],
  create_module: [174, undefined],
  get_kernel_syms: [177, undefined],
  ioperm: [173, undefined],
  iopl: [172, undefined],
  query_module: [178, undefined],
  sysfs: [139, undefined],
  uselib: [134, undefined],
  ustat: [136, undefined],
  nfsservctl: [180, 42],
} satisfies Readonly<Record<string, Numbers>>;
