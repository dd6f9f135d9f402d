"""What a fetch says when it breaks off."""

from __future__ import annotations

import pytest

from weightshare.api.transferring import explain
from weightshare.errors import NoPeersError
from weightshare.manifest.metainfo import Info, TreeFile
from weightshare.units import KIB

HINT = "The same command resumes."


@pytest.mark.parametrize(
    ("pieces", "named"), [(513, True), (1025, True), (1, False), (512, False), (514, False), (1024, False)]
)
def test_a_hash_that_libtorrent_cannot_ask_for_is_named(pieces: int, named: bool) -> None:
    size = (pieces - 1) * 32 * KIB + 1
    info = Info("m", 32 * KIB, (TreeFile("a", 5, bytes(32)), TreeFile("b", size, bytes(32))), None, b"d")
    error = NoPeersError("The last peer has been gone for 5 s.", hint=HINT)
    explain(error, info)
    assert error.hint.endswith(HINT)
    assert (".torrent" in error.hint) is named
    assert ("one piece hash more than a multiple of 512" in error.hint) is named
