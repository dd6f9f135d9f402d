"""A model from weights that receipts stand for: asked for, counted apart, and never so by default."""

from __future__ import annotations

from pathlib import Path

from tests.builders_load import release_of
from tests.integration.test_run_tiny import checkpoint, logits
from weightshare.api.offering import Located
from weightshare.api.running import Release
from weightshare.content.receipts import Receipt, save_receipts


def test_receipts_are_trusted_where_the_caller_asks(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "model", "llama")
    made = release_of(folder, tmp_path / "keys")
    kept = tmp_path / "receipts.json"
    entries = made.verified.manifest.files
    save_receipts(kept, {each.path: Receipt.of(folder / each.path, each.pieces_root) for each in entries})
    release = Release(Located(made.verified, folder, made.layers, None, {}, kept))
    with (
        release.runner(device="cpu", trust_receipt=True) as trusting,
        release.runner(device="cpu") as proving,
    ):
        assert trusting.state.trusted_bytes == trusting.state.bytes > 0
        assert any("not hashed" in note for note in trusting.notes)
        assert (proving.state.trusted_bytes, proving.state.verified) == (0, True)
        assert logits(trusting.model).equal(logits(proving.model))


def test_a_release_that_the_store_does_not_know_has_no_receipts(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "model", "llama")
    made = release_of(folder, tmp_path / "keys")
    release = Release(Located(made.verified, folder, made.layers, None, {}))
    with release.runner(device="cpu", trust_receipt=True) as runner:
        assert runner.state.verified
