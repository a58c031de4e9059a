"""Runs a program for which the kernel has no `pidfd_open`, as an old one or a strict filter."""

import ctypes
import errno
import os
import struct
import sys

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, MODE_FILTER = 38, 22, 2
PIDFD_OPEN = 434  # on every architecture
LOAD_NUMBER, SKIP_UNLESS, RETURN = 0x20, 0x15, 0x06
REFUSE, ALLOW = 0x00050000 | errno.ENOSYS, 0x7FFF0000


class Program(ctypes.Structure):
    """struct sock_fprog"""

    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_char_p))


steps = b"".join(
    struct.pack("HBBI", *step)
    for step in (
        (LOAD_NUMBER, 0, 0, 0),
        (SKIP_UNLESS, 0, 1, PIDFD_OPEN),
        (RETURN, 0, 0, REFUSE),
        (RETURN, 0, 0, ALLOW),
    )
)
libc = ctypes.CDLL(None, use_errno=True)
program = Program(len(steps) // 8, steps)
if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(
    PR_SET_SECCOMP, MODE_FILTER, ctypes.byref(program), 0, 0
):
    print("no filter can be set here", file=sys.stderr)
    sys.exit(77)
os.execvp(sys.argv[1], sys.argv[1:])
