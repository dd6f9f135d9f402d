"""Torrents that are older than the format: fetched unsigned, adopted by a signer, proven by a detached manifest."""
