"""A proven file for a program that takes a path and reads by itself, as those for GGUF do.

What such a program reads must be what was proven, and a path says nothing of that: somebody may put another file there
in between. So the path that is handed over leads to the very file that was opened and proven, whatever its name has
become (`/proc/self/fd/N`, Linux), and the file is kept as it is: by a read lease while the program reads, or, asked for
a private copy, by sealing a copy in memory, which nobody can write to any more.

What remains without a private copy is what remains for every mapping: a page that the system drops and reads again from
a disk that has gone bad. Elsewhere than on Linux the file's own path is handed over, and compared before and after.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from weightshare.errors import CheckpointError, DiskError, UsageError
from weightshare.load.opened import OpenFile, open_file
from weightshare.load.proof import check, proof_of
from weightshare.progress import Observer, ignore
from weightshare.units import MIB

if TYPE_CHECKING:
    from weightshare.load.mapped import Mapped
    from weightshare.manifest.model import FileEntry

_CHUNK = 4 * MIB


class Handed:
    """A file that is proven and stays so; a context manager.

    Attributes:
        path: what to give to the program, for as long as this object is not closed.
        notes: what a careful user wants to know, such as that there is no read lease.
    """

    def __init__(self, file: OpenFile, holder: Mapped, private: bool, stack: ExitStack) -> None:
        self._file = file
        self._holder = holder
        self._private = private
        self._stack = stack
        self.notes = () if private else tuple(holder.notes)
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="weightshare-file-"))
        )  # mode 0700
        self.path = folder / file.path.rpartition("/")[2]
        where = Path(f"/proc/self/fd/{file.fd}") if sys.platform == "linux" else file.location.absolute()
        self.path.symlink_to(where)
        self._compare()

    def check(self) -> None:
        """Raise if the file changed, or is about to, since it was opened, or the path leads elsewhere.

        Raises:
            CorruptError: its length changed.
            CheckpointError: it was written to, or replaced.
        """
        self._compare()
        if not self._private:
            self._holder.check()

    def _compare(self) -> None:
        try:
            there, ours = self.path.stat(), os.fstat(self._file.fd)
            same = os.path.samestat(there, ours)
        except OSError:
            same = False
        if not same:
            raise CheckpointError(
                f"{self._file.path}: another file stands in its place since it was proven.",
                hint="Load it again, or with `--private`, which works on a copy of the proven bytes.",
                path=self._file.path,
            )

    def close(self) -> None:
        """Take the path away, and give the descriptor and the lease back."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def hand_over(
    entry: FileEntry,
    folder: Path,
    *,
    piece_length: int,
    layers: Mapping[bytes, bytes],
    locations: Mapping[str, Path],
    private: bool = False,
    workers: int = 1,
    observe: Observer = ignore,
) -> Handed:
    """Prove one file of a release, and give the path under which a program finds just these bytes.

    Args:
        entry: the file, from a verified manifest; it is not empty.
        folder: where the release's files lie.
        piece_length: of the torrent, in bytes.
        layers: pieces root to piece layer; with it an error names the pieces.
        locations: where files really lie that the folder only links to.
        private: copy the file into memory first, and seal the copy; the proof is over the copy. Linux only.
        workers: threads or processes that hash.
        observe: told how many bytes are proven.

    Raises:
        CorruptError: the bytes are not what was signed.
        UsageError: no private copy can be made on this system.
        DiskError: the file cannot be read, or there is no room for the copy.
    """
    from weightshare.load.mapped import Mapped
    from weightshare.load.meter import Meter

    with ExitStack() as stack:
        file = open_file(entry, folder, locations)
        stack.callback(file.close)
        if private:
            file = _sealed(file)
            stack.callback(file.close)
        holder = Mapped([file], piece_length, workers)
        stack.callback(holder.close)
        proof, meter = proof_of(entry, 0, piece_length, layers), Meter(entry.size, observe)
        for stretch, hashes in holder.prove(list(proof.stretches(0, proof.pieces))):
            proof.accept(stretch, hashes)
            meter.add(stretch.length)
        check([proof], whole=True)
        holder.settle()
        if private and sys.platform == "linux":
            import fcntl

            with suppress(OSError):  # there is nobody to hold off, and whoever tries would wait for nothing
                fcntl.fcntl(file.fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        return Handed(file, holder, private, stack.pop_all())


def _sealed(file: OpenFile) -> OpenFile:
    """A copy in memory that nobody can change any more, ourselves included."""
    if sys.platform != "linux":
        raise UsageError(
            f"{file.path} cannot be given to its program as a private copy on this system.",
            hint="Leave out `--private`: the file is proven where it lies.",
        )
    import fcntl

    fd = os.memfd_create("weightshare", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        left = file.entry.size
        while left:
            sent = os.sendfile(fd, file.fd, file.entry.size - left, min(left, _CHUNK))
            if not sent:
                break  # cut short: the proof will say so
            left -= sent
        os.ftruncate(fd, file.entry.size)
        seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
        facts = os.fstat(fd)
    except OSError as error:
        os.close(fd)
        raise DiskError(
            f"{file.path}: cannot be copied into memory: {error.strerror}.",
            hint="Without `--private` no copy is made.",
            path=str(file.location),
        ) from error
    stamp = (facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
    return OpenFile(file.entry, file.location, fd, stamp)
