"""A GGUF release as a transformers model: the file proven, then handed by path to the reader that transformers has.

The reader unpacks the quantised weights into memory of the process, tokenizer and chat template come out of the same
file, and after that the file is not needed. It is held as it was proven until then; see `load.handed`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from weightshare.content.gguf_header import GgufHeader, read_gguf_header
from weightshare.content.workers import usable_cores
from weightshare.errors import DeviceError, LoadError, MissingExtraError, UnsupportedModelError, UsageError
from weightshare.load.handed import hand_over
from weightshare.load.loader import LoadedState, choose
from weightshare.progress import Observer, ignore

if TYPE_CHECKING:
    from weightshare.load.layouts import Layout
    from weightshare.manifest.model import FileEntry
    from weightshare.run.transformers_runner import Runner
    from weightshare.trust.gate import VerifiedManifest

NEEDED = ("torch", "transformers", "gguf", "accelerate")
"""The packages that transformers reads GGUF with."""

_NONE: Mapping[bytes, bytes] = MappingProxyType({})
_NO_LOCATIONS: Mapping[str, Path] = MappingProxyType({})


def load_gguf(
    verified: VerifiedManifest,
    folder: Path,
    layout: Layout,
    *,
    device: str = "auto",
    private: bool = False,
    dtype: str = "auto",
    layers: Mapping[bytes, bytes] = _NONE,
    locations: Mapping[str, Path] = _NO_LOCATIONS,
    workers: int | None = None,
    observe: Observer = ignore,
) -> Runner:
    """Prove a release's GGUF file and have transformers make a model of it.

    Args:
        verified: the release's manifest, from the gate.
        folder: where its files lie.
        layout: what its file names say.
        device: as for `load.loader.state_dict`.
        private: prove and read a sealed copy in memory instead of the file.
        dtype: what the weights are unpacked to: `auto` (as the file says), `bf16`, `fp16` or `fp32`.
        layers: as for `load.loader.state_dict`.
        locations: as for `load.loader.state_dict`.
        workers: as for `load.loader.state_dict`.
        observe: told how many bytes are proven.

    Raises:
        MissingExtraError: a package is not installed.
        UnsupportedModelError: several GGUF files, or a model that transformers does not read from GGUF.
        CorruptError: the bytes are not what was signed.
        GgufError: the file is as signed, but its header lies.
        DeviceError: the device is not there or too small.
    """
    _check_installed()
    import torch
    import transformers

    from weightshare.run.building import DTYPES
    from weightshare.run.quiet import quiet
    from weightshare.run.transformers_runner import Runner

    started = time.monotonic()
    if dtype != "auto" and dtype not in DTYPES:
        raise UsageError(
            f"{dtype!r} is no dtype to compute in.", hint=f"Dtypes are auto, {', '.join(DTYPES)}."
        )
    where, _ = choose(device, "private" if private else "auto")
    entry = _the_file(verified, folder, layout, locations)
    with hand_over(
        entry,
        folder,
        piece_length=verified.manifest.torrent.piece_length,
        layers=layers,
        locations=locations,
        private=private,
        workers=workers or usable_cores(),
        observe=observe,
    ) as handed:
        header = read_gguf_header(handed.path, entry.path)
        given: dict[str, Any] = {"gguf_file": handed.path.name, "local_files_only": True}
        if hasattr(transformers, "GgufConfig"):
            # Without it transformers looks for a kernel on the Hub, and runs what it finds there.
            given["quantization_config"] = transformers.GgufConfig(dequantize=True)
        if where != "cpu":
            given["device_map"] = {"": where}
        try:
            with quiet():
                model = transformers.AutoModelForCausalLM.from_pretrained(
                    handed.path.parent, dtype=DTYPES.get(dtype, "auto"), trust_remote_code=False, **given
                )
                tokenizer = transformers.AutoTokenizer.from_pretrained(
                    handed.path.parent,
                    gguf_file=handed.path.name,
                    local_files_only=True,
                    trust_remote_code=False,
                )
        except torch.cuda.OutOfMemoryError as error:
            raise DeviceError(
                f"{where} has no room for {verified.release}.",
                hint="Unpacked, it takes several times the file's size. Use a larger device, or `--device cpu`.",
                device=where,
            ) from error
        except Exception as error:  # whatever a file can make the reader raise
            raise _unusable(verified.release, header, transformers.__version__, error) from error
        finally:
            handed.check()  # first of all: of a file that changed nothing else is worth saying
        notes = handed.notes
    model.eval()
    model.config._name_or_path = tokenizer.name_or_path = verified.release
    state = LoadedState(
        tensors={},
        bytes=entry.size,
        seconds=time.monotonic() - started,
        mode="private" if private else "mapped",
        device=where,
        notes=notes,
    )
    return Runner(verified.release, model, tokenizer, state, notes)


def _check_installed() -> None:
    from importlib.util import find_spec

    for package in NEEDED:
        if find_spec(package) is None:
            raise MissingExtraError(
                f"Running a GGUF file needs the Python package {package}, which is not installed.",
                hint="Install it: pip install 'weightshare[gguf]'",
                package=package,
            )


def _the_file(
    verified: VerifiedManifest, folder: Path, layout: Layout, locations: Mapping[str, Path]
) -> FileEntry:
    """The one GGUF file to run: the only one, or the only one of several that is here."""
    entries = [
        entry
        for entry in verified.manifest.files
        if entry.path in layout.weights and not entry.path.rpartition("/")[2].startswith("mmproj")
    ]
    if len(entries) > 1:
        here = [entry for entry in entries if locations.get(entry.path, folder / entry.path).exists()]
        entries = here if len(here) == 1 else entries
    if len(entries) != 1:
        raise UnsupportedModelError(
            f"{verified.release} holds {len(entries)} GGUF files ({', '.join(e.path for e in entries[:3])}…), "
            "and just one can be run.",
            hint="Fetch the one you want into a folder of its own: weightshare fetch LINK DIR --include NAME",
            architecture="",
        )
    return entries[0]


def _unusable(release: str, header: GgufHeader, version: str, error: Exception) -> LoadError:
    reason = " ".join(str(error).split()).removesuffix(".") or type(error).__name__
    return UnsupportedModelError(
        f"{release}: transformers {version} cannot run this GGUF file ({header.architecture or 'no architecture'}): "
        f"{reason[:300]}.",
        hint="The file is proven all the same: a program such as llama.cpp may know it.",
        architecture=header.architecture,
    )
