"""Values of options as they are typed: sizes, durations, ratios, addresses."""

from __future__ import annotations

from collections.abc import Sequence

import click

from weightshare.errors import UsageError
from weightshare.units import parse_duration, parse_size


def size(ctx: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    """Bytes, or bytes a second: `800K`, `12M`; a callback of options that take one.

    Raises:
        click.BadParameter: the text is no size.
    """
    if value is None:
        return None
    try:
        return parse_size(value)
    except UsageError as error:
        raise click.BadParameter(f"{error.message} {error.hint}", ctx, parameter) from error


def times(ctx: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """A ratio: `2` or `1.5`; a callback of options that take one.

    Raises:
        click.BadParameter: the text is no such number.
    """
    if value is None:
        return None
    try:
        ratio = float(value)
    except ValueError:
        ratio = -1.0
    if not 0 <= ratio < float("inf"):
        raise click.BadParameter(f"{value!r} is no ratio, such as 2 or 1.5.", ctx, parameter)
    return ratio


def duration(ctx: click.Context, parameter: click.Parameter, value: str) -> float:
    """Seconds: `90`, `10m`, `2h`; a callback of options that take a duration.

    Raises:
        click.BadParameter: the text is no duration.
    """
    try:
        return parse_duration(value)
    except UsageError as error:
        raise click.BadParameter(f"{error.message} {error.hint}", ctx, parameter) from error


def addresses(
    ctx: click.Context, parameter: click.Parameter, values: Sequence[str]
) -> tuple[tuple[str, int], ...]:
    """`HOST:PORT` each, with IPv6 addresses in brackets; a callback of options that take some.

    Raises:
        click.BadParameter: a text is no address.
    """
    return tuple(_address(ctx, parameter, value) for value in values)


def address_list(
    ctx: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[tuple[str, int], ...]:
    """`HOST:PORT,HOST:PORT`; a callback of options whose value may come from a file, where there are no repetitions.

    Raises:
        click.BadParameter: one of them is no address.
    """
    return addresses(ctx, parameter, [text.strip() for text in (value or "").split(",") if text.strip()])


def _address(ctx: click.Context, parameter: click.Parameter, value: str) -> tuple[str, int]:
    host, colon, port = value.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not host or (":" in host and not bracketed):
        raise click.BadParameter(
            f"{value!r} is no HOST:PORT, such as 192.0.2.7:6881 or [2001:db8::7]:6881.", ctx, parameter
        )
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise click.BadParameter(f"{port!r} is no port; expected 1 to 65535.", ctx, parameter)
    return (host[1:-1] if bracketed else host), int(port)
