"""The shape of a help page: options in sections, examples at the end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from click.types import OptionHelpExtra

Example = tuple[str, str]
"""What it does, and the words to type; without the first it goes on from the example before."""


class Option(click.Option):
    """An option that knows the section of the help page it belongs to."""

    def __init__(self, *args: Any, section: str = "Options", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.section = section

    def get_help_extra(self, ctx: click.Context) -> OptionHelpExtra:
        """What stands in brackets; ranges are left to the text, where they can be said in words."""
        extra = super().get_help_extra(ctx)
        extra.pop("range", None)
        return extra


class Command(click.Command):
    """A command whose help page has its options in sections and ends with examples."""

    def __init__(self, *args: Any, examples: Sequence[Example] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The command's own options first, then those it shares."""
        _write_options(self.get_params(ctx), ctx, formatter)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The examples."""
        write_examples(formatter, self.examples)


class Group(click.Group):
    """A command with commands of its own (`keys`, `trust`)."""

    command_class = Command

    def __init__(self, *args: Any, examples: Sequence[Example] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The verbs, then the shared options."""
        self.format_commands(ctx, formatter)
        _write_options(self.get_params(ctx), ctx, formatter)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The examples."""
        write_examples(formatter, self.examples)


def write_examples(formatter: click.HelpFormatter, examples: Iterable[Example]) -> None:
    """The section that ends every help page; commands are never wrapped, so they can be copied."""
    formatter.write_paragraph()
    formatter.write("Examples:\n")
    for meaning, words in examples:
        formatter.write(f"  # {meaning}\n  {words}\n" if meaning else f"  {words}\n")


def _write_options(
    parameters: Iterable[click.Parameter], ctx: click.Context, formatter: click.HelpFormatter
) -> None:
    sections: dict[str, list[tuple[str, str]]] = {"Options": [], "Launch": [], "Network": [], "Common": []}
    for parameter in parameters:
        record = None if isinstance(parameter, click.Argument) else parameter.get_help_record(ctx)
        if record is not None:
            section = parameter.section if isinstance(parameter, Option) else "Common"
            sections[section].append(record)
    wide = max(len(names) for rows in sections.values() for names, _ in rows)
    for title, rows in sections.items():
        if rows:
            with formatter.section(title):
                formatter.write_dl([(f"{names:<{wide}}", text) for names, text in rows])
