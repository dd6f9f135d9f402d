"""What `inspect` saw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from weightshare.content.self_description import SelfDescription
    from weightshare.load.layouts import Layout


@dataclass(frozen=True, slots=True)
class InspectedFile:
    """A file as the manifest describes it; `note` marks what deserves a look (`code`, `pickle`)."""

    path: str
    size: int
    sha256: str
    pieces_root: str | None
    media_type: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class InspectedTensor:
    """A tensor as the header of its file describes it."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: str


@dataclass(frozen=True, slots=True)
class Inspected:
    """What a manifest says. `trusted` says whether the signer is a publisher this user knows.

    `says` is what the release's small files say of the model, from proven bytes; None where they were not to be had.
    `layout` is what the file names say of how it is laid out, and `hindrances` what stands in the way of `run`.
    """

    release: str
    publisher: str
    publisher_name: str | None
    claimed_name: str
    trusted: bool
    info_hash_v2: str | None
    info_hash_v1: str | None
    torrent_name: str
    piece_length: int
    hybrid: bool
    sequence: int
    released: str
    summary: str
    license: str | None
    source: str | None
    weights_format: str | None
    parameters: int | None
    dtypes: tuple[str, ...]
    files: tuple[InspectedFile, ...]
    bytes: int
    tensors: tuple[InspectedTensor, ...] = ()
    warnings: tuple[str, ...] = ()
    team: str | None = None
    says: SelfDescription | None = None
    layout: Layout | None = None
    hindrances: tuple[str, ...] = ()

    @property
    def code(self) -> tuple[str, ...]:
        """The files that are programs, by their names; carried and never run."""
        return tuple(file.path for file in self.files if file.note == "code")

    def to_json(self) -> dict[str, object]:
        """The JSON result."""
        return {
            "release": self.release,
            "publisher": self.publisher,
            "publisher_name": self.publisher_name,
            "claimed_name": self.claimed_name,
            "trusted": self.trusted,
            "team": self.team,
            "info_hash_v2": self.info_hash_v2,
            "info_hash_v1": self.info_hash_v1,
            "torrent_name": self.torrent_name,
            "piece_length": self.piece_length,
            "hybrid": self.hybrid,
            "sequence": self.sequence,
            "released": self.released,
            "summary": self.summary,
            "license": self.license,
            "source": self.source,
            "weights": {
                "format": self.weights_format,
                "parameters": self.parameters,
                "dtypes": list(self.dtypes),
            },
            "files": [
                {
                    "path": file.path,
                    "size": file.size,
                    "sha256": file.sha256,
                    "pieces_root": file.pieces_root,
                    "media_type": file.media_type,
                    "note": file.note,
                }
                for file in self.files
            ],
            "bytes": self.bytes,
            "tensors": [
                {"name": tensor.name, "dtype": tensor.dtype, "shape": list(tensor.shape), "file": tensor.file}
                for tensor in self.tensors
            ],
            "layout": None
            if self.layout is None
            else {
                "kind": self.layout.kind,
                "weights": list(self.layout.weights),
                "pickles": self.layout.pickles,
                "lacks": list(self.layout.lacks),
                "extra": self.layout.extra or None,
            },
            "hindrances": list(self.hindrances),
            "code": list(self.code),
            "model": None if self.says is None else _model(self.says),
            "chat_templates": [
                {"name": template.name, "file": template.path, "text": template.text}
                for template in (self.says.templates if self.says else ())
            ],
            "warnings": list(self.warnings),
        }


def _model(says: SelfDescription) -> dict[str, object]:
    return {
        "architectures": list(says.architectures),
        "model_type": says.model_type or None,
        "auto_map": [{"what": code.what, "code": code.where, "file": code.path} for code in says.code],
        "kernel": says.kernel or None,
        "read": list(says.read),
    }
