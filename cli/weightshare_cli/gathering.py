"""Options that belong together, handed to a command as one value: it has one parameter for all of them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def gathered(
    name: str,
    kind: type[Any],
    options: Sequence[Callable[[Any], Any]],
    taken: Mapping[str, str] | Sequence[str] | None = None,
) -> Callable[[F], F]:
    """A decorator that gives a command these options, and their values as one.

    Args:
        name: the command's parameter that takes it.
        kind: a frozen dataclass.
        options: click's, in the order of the help page.
        taken: the options' parameters, with the field that each becomes where it has another name; by default every
            field of `kind` is an option.
    """
    chosen = taken if taken is not None else [field.name for field in fields(kind)]
    into = dict(chosen) if isinstance(chosen, Mapping) else {one: one for one in chosen}

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def collect(*args: Any, **kwargs: Any) -> Any:
            said = {field: kwargs.pop(option) for option, field in into.items()}
            return function(*args, **{name: kind(**said)}, **kwargs)

        decorated: Any = collect
        for option in reversed(options):
            decorated = option(decorated)
        return decorated  # type: ignore[no-any-return]

    return decorate
