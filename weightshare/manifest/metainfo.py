"""Torrents of version 2 and hybrids (BEP 52), all in one place: the names that other parts import.

`info_writer` and `info_reader` make and read the info dictionary, `torrent` the file around it.
"""

from __future__ import annotations

from weightshare.manifest.info import MAX_PIECE_LENGTH, PAD_FOLDER, Info, TreeFile, V1File
from weightshare.manifest.info_reader import parse_info
from weightshare.manifest.info_writer import (
    HashedFile,
    build_info,
    default_piece_length,
    lone_hash,
    tree_order,
    v1_layout,
)
from weightshare.manifest.torrent import Torrent, build_torrent, build_v1_torrent, parse_torrent, v1_paths

__all__ = [
    "MAX_PIECE_LENGTH",
    "PAD_FOLDER",
    "HashedFile",
    "Info",
    "Torrent",
    "TreeFile",
    "V1File",
    "build_info",
    "build_torrent",
    "build_v1_torrent",
    "default_piece_length",
    "lone_hash",
    "parse_info",
    "parse_torrent",
    "tree_order",
    "v1_layout",
    "v1_paths",
]
