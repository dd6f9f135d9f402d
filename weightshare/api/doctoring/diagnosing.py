"""Which checks a source calls for: the registry.

Each kind of source has a generator of checks in a module of its own, imported when it is needed. To add checks to a
kind, add them to its module; to add a kind, add a line to `KINDS` above the one that takes everything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from weightshare.api.doctoring.checks import Asked, Check
from weightshare.content.store import Store
from weightshare.errors import AmbiguousReleaseError, ReleaseNotFoundError
from weightshare.manifest.magnet_repair import holds_link


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of source.

    Attributes:
        name: what it is.
        suits: whether a source is of this kind; asked in the order of `KINDS`, with a source that is stripped.
        module: has `checks(asked: Asked) -> Iterator[Check]`.
    """

    name: str
    suits: Callable[[Asked], bool]
    module: str

    def checks(self, asked: Asked) -> Iterator[Check]:
        """The checks, as they are made."""
        found: Iterator[Check] = import_module(self.module).checks(asked)
        return found


def examine(asked: Asked) -> Iterator[Check]:
    """Make the checks that a source calls for, each told as soon as it is made.

    Raises:
        StoreError: a record in the store is damaged.
    """
    return kind_of(asked).checks(asked)


def kind_of(asked: Asked) -> Kind:
    """What the source is."""
    return next(kind for kind in KINDS if kind.suits(asked))


def _nothing(asked: Asked) -> bool:
    return not asked.source


def _release(asked: Asked) -> bool:
    """Whether it is a folder, or the name of a release in the store; a bare info-hash that is not there is a link."""
    source = asked.source
    if source.lower().startswith(("magnet:", "http://", "https://")) or holds_link(source):
        return False
    if Path(source).expanduser().is_dir():
        return True
    try:
        Store(asked.home).find(source)
    except AmbiguousReleaseError:
        return True
    except ReleaseNotFoundError:
        return False
    return True


KINDS: tuple[Kind, ...] = (
    Kind("machine", _nothing, "weightshare.api.doctoring.machine"),
    Kind("release", _release, "weightshare.api.doctoring.release"),
    Kind("link", lambda _: True, "weightshare.api.doctoring.link"),
)
