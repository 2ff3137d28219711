"""The first process of a namespace when all that is left to it is to wait, as a program of its own of some hundred bytes:
a copy of this interpreter would keep more than a megabyte of what its zygote has changed since.

    do pid = wait4(-1, &status, 0, 0); while (pid != 2 && pid != -ECHILD);
    exit_group(pid < 0 ? 1 : WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));

The program is always 2: the first child in the namespace.
"""

import fcntl
import os
import struct

from . import kernel

#: By machine: ELF's number for it, that of the system call execveat, and the code above.
_MACHINES = {
    "x86_64": (
        62,
        322,
        "4883ec10"  # sub rsp, 16
        "b83d000000 83cfff 4889e6 31d2 4531d2 0f05"  # 1: wait4(-1, rsp, 0, 0)
        "83f8f6 741e"  # cmp eax, -ECHILD; je 3f
        "83f802 75e4"  # cmp eax, 2; jne 1b
        "8b3c24 89f8 83e07f 7507"  # mov edi, [rsp]; mov eax, edi; and eax, 127; jnz 2f
        "0fb67c2401 eb0d"  # movzx edi, byte [rsp + 1]; jmp 4f
        "8db880000000 eb05"  # 2: lea edi, [rax + 128]; jmp 4f
        "bf01000000"  # 3: mov edi, 1
        "b8e7000000 0f05",  # 4: exit_group(edi)
    ),
    "aarch64": (
        183,
        281,
        "ff4300d1"  # sub sp, sp, 16
        "00008092 e1030091 020080d2 030080d2 882080d2 010000d4"  # 1: wait4(-1, sp, 0, 0)
        "1f280031 40010054"  # cmn w0, ECHILD; b.eq 3f
        "1f080071 e1feff54"  # cmp w0, 2; b.ne 1b
        "e00340b9 01180072 61000054"  # ldr w0, [sp]; ands w1, w0, 127; b.ne 2f
        "003c0853 04000014"  # ubfx w0, w0, 8, 8; b 4f
        "20000211 02000014"  # 2: add w0, w1, 128; b 4f
        "20008052"  # 3: mov w0, 1
        "c80b80d2 010000d4",  # 4: exit_group(w0)
    ),
}
_ADDRESS = 0x400000
_HEADERS = 64 + 56
_F_ADD_SEALS = 1033
_ALL_SEALS = 0xF
_MFD_ALLOW_SEALING = 2
#: Linux 6.3 and newer want it said.
_MFD_EXEC = 0x10
#: No child has so many descriptors that this one would be among them.
_FIRST_DESCRIPTOR = 64


class Reaper:
    """Held open by the zygote. `descriptor` is not inherited by programs."""

    def __init__(self, call, content):
        self._call = call
        try:
            file = os.memfd_create("virga", os.MFD_CLOEXEC | _MFD_ALLOW_SEALING | _MFD_EXEC)
        except OSError:
            file = os.memfd_create("virga", os.MFD_CLOEXEC | _MFD_ALLOW_SEALING)
        try:
            os.write(file, content)
            fcntl.fcntl(file, _F_ADD_SEALS, _ALL_SEALS)
            self.descriptor = fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, _FIRST_DESCRIPTOR)
        finally:
            os.close(file)

    def replace(self, descriptor):
        """What makes a process this program, which it has at `descriptor`; the lower ones it closes."""
        calls = kernel.Calls()
        calls.close_range(0, descriptor - 1)
        calls.execute_descriptor(self._call, descriptor, ["virga"])
        return calls


def open_reaper():
    """None where there is none for this machine, or it forbids it: the first process stays what it is then."""
    known = _MACHINES.get(os.uname().machine)
    if known is None:
        return None
    machine, call, code = known
    try:
        return Reaper(call, image(machine, bytes.fromhex(code)))
    except (AttributeError, OSError):
        return None


def image(machine, code):
    """An ELF file for Linux whose one segment is itself, beginning with this code."""
    size = _HEADERS + len(code)
    head = b"\x7fELF\2\1\1" + bytes(9)
    entry = _ADDRESS + _HEADERS
    head += struct.pack("<2HI3QI6H", 2, machine, 1, entry, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    # Loaded to read and to execute.
    segment = struct.pack("<2I6Q", 1, 5, 0, _ADDRESS, _ADDRESS, size, size, 0x10000)
    return head + segment + code
