import { endianness } from "node:os";
import { type SystemCalls, systemCallsOf } from "./system-calls.ts";

/**
 * The filter that the kernel runs at each system call of an instance, as the bytes that `bwrap --seccomp` reads: an array
 * of `struct sock_filter` (linux/filter.h) over `struct seccomp_data` (linux/seccomp.h).
 * Undefined where this machine type's numbers are not known.
 */
export function seccompFilter(architecture: NodeJS.Architecture = process.arch): Buffer | undefined {
  const calls = systemCallsOf(architecture);
  return calls === undefined || endianness() !== "LE" ? undefined : assemble(filter(calls));
}

/** Classic BPF: a code, two jump distances counted from the next instruction, an operand. */
type Instruction = readonly [code: number, whenTrue: number, whenFalse: number, operand: number];

function filter(calls: SystemCalls): Instruction[] {
  return [
    load(offsetOf.architecture),
    // A call by the numbers of another machine type (32-bit code) would pass by any list of these.
    ...unless(calls.architecture, [result(killProcess)]),
    load(offsetOf.number),
    [jumpIfGreater, 0, 1, calls.newest],
    result(errno(ENOSYS)),
    // Its flags lie in memory, where no filter can read; the C libraries then use `clone`.
    ...when(calls.clone3, [result(errno(ENOSYS))]),
    ...when(calls.clone, [load(offsetOf.argument(0)), [jumpIfAnyBit, 0, 1, newNamespaces], refuse, allow]),
    ...when(calls.personality, [
      load(offsetOf.argument(0)),
      ...allowedPersonalities.flatMap((value) => when(value, [allow])),
      refuse,
    ]),
    ...when(calls.socket, [
      load(offsetOf.argument(0)),
      ...refusedFamilies.flatMap((family) => when(family, [refuse])),
      [jumpIfEqual, 1, 0, AF_INET],
      [jumpIfEqual, 0, 4, AF_INET6],
      load(offsetOf.argument(1)),
      [and, 0, 0, socketTypeMask],
      [jumpIfEqual, 0, 1, SOCK_RAW],
      refuse,
      allow,
    ]),
    ...calls.refused.flatMap((number) => when(number, [refuse])),
    allow,
  ];
}

function assemble(instructions: readonly Instruction[]): Buffer {
  const bytes = Buffer.alloc(instructions.length * 8);
  for (const [index, [code, whenTrue, whenFalse, operand]] of instructions.entries()) {
    bytes.writeUInt16LE(code, index * 8);
    bytes.writeUInt8(whenTrue, index * 8 + 2);
    bytes.writeUInt8(whenFalse, index * 8 + 3);
    bytes.writeUInt32LE(operand, index * 8 + 4);
  }
  return bytes;
}

// BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_JMP|JGT|K, BPF_JMP|JSET|K, BPF_ALU|AND|K, BPF_RET|K of linux/bpf_common.h.
const loadWord = 0x20;
const jumpIfEqual = 0x15;
const jumpIfGreater = 0x25;
const jumpIfAnyBit = 0x45;
const and = 0x54;
const returnConstant = 0x06;

const offsetOf = { number: 0, architecture: 4, argument: (index: number) => 16 + 8 * index };

// SECCOMP_RET_… of linux/seccomp.h.
const killProcess = 0x8000_0000;
const allow = result(0x7fff_0000);
const errno = (number: number): number => 0x0005_0000 | number;
const EPERM = 1;
const ENOSYS = 38;
const refuse = result(errno(EPERM));

/** CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET. */
const newNamespaces = 0x7e02_0000;
/** PER_LINUX, PER_LINUX32, with UNAME26, and the question what it is: what the container engines allow. */
const allowedPersonalities = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];
const AF_INET = 2;
const AF_INET6 = 10;
/** AF_PACKET, AF_ALG, AF_VSOCK: raw frames, the kernel's ciphers, the hypervisor. */
const refusedFamilies = [17, 38, 40];
const SOCK_RAW = 3;
/** Without SOCK_NONBLOCK and SOCK_CLOEXEC. */
const socketTypeMask = 0xf;

function load(offset: number): Instruction {
  return [loadWord, 0, 0, offset];
}

function result(value: number): Instruction {
  return [returnConstant, 0, 0, value];
}

function when(value: number, then: readonly Instruction[]): Instruction[] {
  return [[jumpIfEqual, 0, then.length, value], ...then];
}

function unless(value: number, then: readonly Instruction[]): Instruction[] {
  return [[jumpIfEqual, then.length, 0, value], ...then];
}
