"""Talk to callgrind from inside: its client requests, which are a sequence of instructions and no call.

See valgrind.h and callgrind.h. For x86-64 only; `callgrind_control` does not find a forked process.
"""

from __future__ import annotations

import ctypes
import mmap
import platform

START_INSTRUMENTATION = 0x43540004
DUMP_STATS = 0x43540000

# f(arguments, default): rax = arguments; rdx = default; four rotations of rdi by 128 bits in all;
# xchg rbx, rbx; return rdx. On a real processor it does nothing.
_CODE = bytes.fromhex("4889f84889f248c1c70348c1c70d48c1c73d48c1c7334887db4889d0c3")


def is_offered() -> bool:
    """Whether this machine understands the sequence."""
    return platform.machine() == "x86_64"


def request(number: int) -> None:
    """One client request without arguments; nothing happens outside of valgrind."""
    words = (ctypes.c_uint64 * 6)(number, 0, 0, 0, 0, 0)
    _call(ctypes.addressof(words), 0)


_TYPE = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_void_p, ctypes.c_uint64)
# Both stay: what is freed is unmapped, with the code in it.
_memory = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
_memory.write(_CODE)
_start = ctypes.c_char.from_buffer(_memory)
_call = _TYPE(ctypes.addressof(_start)) if is_offered() else _TYPE(lambda *_: 0)
