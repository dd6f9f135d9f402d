"""What `run` will say to a release, told by its file names before any weight of it is brought over.

A name is a hint: the bytes decide again when they are loaded. But gigabytes that cannot be used here need not be
fetched first to learn so.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from weightshare.errors import MissingExtraError, PickleError, UnsupportedModelError
from weightshare.load.layouts import Layout, layout_of

EXTRAS = {
    "run": ("torch", "transformers"),
    "gguf": ("torch", "transformers", "gguf", "accelerate"),
    "mistral": ("torch", "transformers", "mistral_common"),
    "adapters": ("torch", "transformers", "peft"),
}
"""The packages that each extra brings to those who run models."""

BASE = "the base model"


@dataclass(frozen=True, slots=True)
class Forecast:
    """What stands in the way of running a release.

    Attributes:
        layout: what its file names say.
        missing: packages that are needed and not installed here.
    """

    layout: Layout
    missing: tuple[str, ...] = ()

    def notes(self, *, allow_pickle: bool = False, plainly: bool = True) -> tuple[str, ...]:
        """One sentence for each thing that stands in the way; none if `run` should work.

        Args:
            allow_pickle: whether pickles may be read.
            plainly: say too that nothing is installed to run any model with.
        """
        layout = self.layout
        notes = []
        if layout.lacks:
            notes.append(f"It is {layout.what}; to be run it lacks {'; '.join(layout.lacks)}.")
        if layout.pickles and not allow_pickle:
            notes.append(
                f"Its weights are pickles ({layout.weights[0]}); `run` needs --allow-pickle to read them."
            )
        if self.missing and (plainly or layout.extra != "run"):
            notes.append(
                f"Running {layout.what} needs the Python package {self.missing[0]}, which is not installed: "
                f"pip install 'weightshare[{layout.extra}]'."
            )
        return tuple(notes)


def forecast(paths: Sequence[str]) -> Forecast:
    """Look at file names, and at what is installed; imports nothing."""
    layout = layout_of(paths)
    needed = EXTRAS.get(layout.extra, ())
    return Forecast(layout, tuple(package for package in needed if not installed(package)))


def installed(package: str) -> bool:
    """Whether a top-level package could be imported, without importing it."""
    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):
        return False


def check_runnable(
    release: str, paths: Sequence[str], *, allow_pickle: bool = False, given: Collection[str] = ()
) -> None:
    """Refuse what `run` could not use, before a weight byte of it is asked for.

    Args:
        release: what messages call it.
        paths: the files that will be here.
        allow_pickle: whether pickles may be read.
        given: what is there from elsewhere: `base`, the model that an adapter was made for.

    Raises:
        UnsupportedModelError: its files are not those of a model that can be run. Facts: `lacks`.
        PickleError: its weights are pickles.
        MissingExtraError: a package is not installed.
    """
    seen = forecast(paths)
    layout = seen.layout
    lacks = [gap for gap in layout.lacks if not ("base" in given and gap.startswith(BASE))]
    if lacks:
        raise UnsupportedModelError(
            f"{release} is {layout.what}; to be run it lacks {'; '.join(lacks)}.",
            hint="Nothing of its weights was fetched. `weightshare fetch` without running brings it all the same.",
            architecture="",
            layout=layout.kind,
            lacks=lacks,
        )
    if layout.pickles and not allow_pickle:
        raise PickleError(
            f"The weights of {release} are pickles: {', '.join(layout.weights[:3])}.",
            hint="Ask the publisher for safetensors, or read them with --allow-pickle: no code in them is run.",
            paths=list(layout.weights),
        )
    if seen.missing:
        raise MissingExtraError(
            f"Running {layout.what} needs the Python package {seen.missing[0]}, which is not installed.",
            hint=f"Install it: pip install 'weightshare[{layout.extra}]'",
            package=seen.missing[0],
        )
