"""Tells the engine the piece hashes of equal files, which it would neither read nor learn.

Of files with one root libtorrent gives a piece layer of a `.torrent` to the first alone (`parse_piece_layers`). It asks
peers for those of the others, once for each, and takes every answer to be of the first again (`on_hashes`). Two such
requests, never answered in its eyes, are as many as a connection may have: of the files after them it learns no hash.
Resume data has a tree for each file, so there the others can be given the first one's.
"""

from __future__ import annotations

from typing import Any

import libtorrent as lt

from weightshare.manifest import bencode
from weightshare.units import MAX_TORRENT


def share_trees(params: lt.add_torrent_params, layout: lt.file_storage) -> lt.add_torrent_params:
    """The same torrent, with the tree of each file that has one given to all files with the same root.

    Args:
        params: as loaded from a `.torrent`; nothing but what that says is kept.
        layout: its files.
    """
    equal: dict[tuple[bytes, int], list[int]] = {}
    for number in range(layout.num_files()):
        if layout.file_size(number) > layout.piece_length():
            equal.setdefault((layout.root(number).to_bytes(), layout.file_size(number)), []).append(number)
    groups = [numbers for numbers in equal.values() if len(numbers) > 1]
    if not groups:
        return params
    resume = bencode.decode(lt.write_resume_data_buf(params), limit=MAX_TORRENT, what="resume data")
    trees = resume.get(b"trees") if isinstance(resume, dict) else None
    if not isinstance(trees, list):
        return params
    for first, *others in groups:
        for number in others:
            trees[number] = trees[first]
    data = bencode.encode(resume)
    limits: Any = {"max_buffer_size": len(data) + 1}
    told = lt.read_resume_data(data, limits)
    told.flags = params.flags
    return told
