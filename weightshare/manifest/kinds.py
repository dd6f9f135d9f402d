"""What a file of a checkpoint is, told by its name alone: its media type, and whether it could run code."""

from __future__ import annotations

from pathlib import PurePosixPath

PICKLE_SUFFIXES = frozenset({".bin", ".ckpt", ".dill", ".joblib", ".pickle", ".pkl", ".pt", ".pth"})
"""Suffixes under which Python pickles are found: loading one may run anything that its author wrote."""

CODE_SUFFIXES = frozenset(
    {
        *(".bat", ".cmd", ".cu", ".dll", ".dylib", ".exe", ".ipynb", ".jar", ".js", ".ps1"),
        *(".py", ".pyc", ".pyd", ".sh", ".so", ".wasm"),
    }
)
"""Suffixes of programs: carried, marked in every listing, never run."""

_MEDIA_TYPES = {
    ".csv": "text/csv",
    ".gguf": "application/x-gguf",
    ".html": "text/html",
    ".jinja": "text/x-jinja",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".md": "text/markdown",
    ".model": "application/x-sentencepiece",
    ".onnx": "application/x-onnx",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".py": "text/x-python",
    ".safetensors": "application/x-safetensors",
    ".sig": "application/vnd.dev.sigstore.bundle.v0.3+json",
    ".svg": "image/svg+xml",
    ".toml": "application/toml",
    ".txt": "text/plain",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
}
_PLAIN_NAMES = frozenset({"license", "notice", "readme", "copying", "authors"})


def _suffix(path: str) -> str:
    return PurePosixPath(path).suffix.lower()


def is_pickle(path: str) -> bool:
    """Whether a file of this name is, or may be, a pickle."""
    return _suffix(path) in PICKLE_SUFFIXES


def is_code(path: str) -> bool:
    """Whether a file of this name is a program of some sort."""
    return _suffix(path) in CODE_SUFFIXES


def media_type(path: str) -> str:
    """The media type (RFC 6838) for a file of this name; from a table of our own, the same anywhere."""
    if is_pickle(path):
        return "application/x-pickle"
    if PurePosixPath(path).name.lower() in _PLAIN_NAMES:
        return "text/plain"
    return _MEDIA_TYPES.get(_suffix(path), "application/octet-stream")
