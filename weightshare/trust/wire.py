"""SSH's wire encoding, read strictly: numbers, and strings with their length in front (RFC 4251, section 5)."""

from __future__ import annotations


class WireError(ValueError):
    """Bytes that break the encoding. The text says how; whoever reads a file or an answer names it."""


def uint32(number: int) -> bytes:
    """A number of 32 bits, the highest byte first."""
    return number.to_bytes(4, "big")


def string(data: bytes) -> bytes:
    """Bytes with their length in front."""
    return uint32(len(data)) + data


class Reader:
    """Takes one value after another; whoever reads to the end says so with `end`."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        """The next bytes, which must all be there.

        Raises:
            WireError: they are not.
        """
        if count > len(self._data) - self._at:
            raise WireError(
                f"it ends early: {count:,} bytes are expected, {len(self._data) - self._at:,} left"
            )
        self._at += count
        return self._data[self._at - count : self._at]

    def uint32(self) -> int:
        """A number of 32 bits.

        Raises:
            WireError: the data ends early.
        """
        return int.from_bytes(self.take(4), "big")

    def string(self) -> bytes:
        """Bytes with their length in front.

        Raises:
            WireError: the data ends early.
        """
        return self.take(self.uint32())

    def end(self) -> None:
        """Nothing may follow.

        Raises:
            WireError: something does.
        """
        if self._at != len(self._data):
            raise WireError(f"{len(self._data) - self._at:,} bytes follow its end")
