"""Read leases: while one is held, Linux holds back whoever would write to or truncate a file that is mapped.

A lease is refused where anybody has the file open for writing, on files of another owner, and on some file
systems; a mapping without one is loaded all the same, and says so. When somebody opens the file for writing,
the kernel makes them wait (45 s unless `/proc/sys/fs/lease-break-time` says otherwise) and tells us by a
signal. SIGIO, the default, would end a program that does not expect it; SIGURG is ignored by default, so that
signal is asked for and `Lease.held` is there to ask.

A lease lives as long as any descriptor or mapping of the opened file does.
"""

from __future__ import annotations

import errno
import os
import signal
import sys

from weightshare.load.opened import OpenFile

_REFUSED = {
    errno.EAGAIN: "it is open for writing somewhere",
    errno.EACCES: "it belongs to another user",
    errno.EINVAL: "its file system has none",
    errno.ENOLCK: "its file system has none",
}


class Lease:
    """A read lease on an open file."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    @property
    def held(self) -> bool:
        """Whether nobody has opened the file for writing since."""
        if sys.platform != "linux":
            return False
        import fcntl

        return fcntl.fcntl(self._fd, fcntl.F_GETLEASE) == fcntl.F_RDLCK


def take_lease(file: OpenFile) -> Lease | str:
    """Take a read lease on an open file, or say in words why there is none."""
    if sys.platform != "linux":
        return "this system has no read leases"
    import fcntl

    try:
        fcntl.fcntl(file.fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(file.fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        number = error.errno or 0
        return _REFUSED.get(number, os.strerror(number))
    return Lease(file.fd)
