"""Trust in receipts instead of a proof: only where the user asks for it."""

from __future__ import annotations

import os
from collections.abc import Mapping

from weightshare.content.receipts import Receipt
from weightshare.load.opened import OpenFile


def has_receipt(file: OpenFile, receipts: Mapping[str, Receipt]) -> bool:
    """Whether a receipt says that this very open file was proven to be what is signed, and is unchanged since.

    Device, inode, size, modification and status-change time are compared with those of the descriptor, so no file
    that was put in the place of the right one is taken for it; the root in the receipt must be the signed one.
    """
    receipt = receipts.get(file.path)
    root = file.entry.pieces_root
    if receipt is None or root is None or receipt.root != root.hex():
        return False
    return receipt.still_holds(os.fstat(file.fd))
