"""What the commands share: settings, and the options that several of them take.

A value comes from the flag, else from the environment (`WEIGHTSHARE_…`), else from `config.toml` in the
home folder, else from the default. click does the looking up: the configuration file is handed to it as its
map of defaults.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import click

from weightshare.progress import Progress
from weightshare_cli.pages import Command, Group, Option, write_examples
from weightshare_cli.values import address_list, addresses, duration, size, times

F = TypeVar("F", bound=Callable[..., Any])

__all__ = [
    "Command",
    "Group",
    "Option",
    "Settings",
    "address_list",
    "addresses",
    "duration",
    "size",
    "times",
    "write_examples",
]


@dataclass(slots=True)
class Settings:
    """What holds for one call of the program, wherever on the line it was said.

    Attributes:
        json: print one JSON object, and errors as JSON.
        quiet: no progress.
        verbose: say more, tracebacks of bugs included.
        home: the folder named by flag or environment, None for the default one.
        verb: the command that runs, for messages.
        last: the last progress report of a long step, so that an interruption can say how far it came.
    """

    json: bool = False
    quiet: bool = False
    verbose: bool = False
    home: Path | None = None
    verb: str = ""
    last: Progress | None = field(default=None, repr=False)


def given(ctx: click.Context, *names: str, environment: bool = True) -> dict[str, Any]:
    """The values of these parameters that this call itself says, by flag or environment; others are left out."""
    sources = {click.core.ParameterSource.COMMANDLINE}
    if environment:
        sources.add(click.core.ParameterSource.ENVIRONMENT)
    return {name: ctx.params[name] for name in names if ctx.get_parameter_source(name) in sources}


FOLDER = click.Path(file_okay=False, path_type=Path)


def _note(name: str) -> Callable[[click.Context, click.Parameter, bool], None]:
    def callback(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
        settings = ctx.find_object(Settings)
        if settings is not None and value:
            setattr(settings, name, True)

    return callback


def _home(ctx: click.Context, parameter: click.Parameter, value: Path | None) -> None:
    """Take the home folder and, for a command that will run, its configuration file as defaults."""
    settings = ctx.find_object(Settings)
    if settings is None or ctx.resilient_parsing:
        return
    said = ctx.get_parameter_source(parameter.name or "home") is click.core.ParameterSource.COMMANDLINE
    if value is not None and (said or settings.home is None):
        settings.home = value
    if isinstance(ctx.command, click.Group):
        return
    from weightshare_cli import config

    settings.verb = ctx.command.name or ""
    ctx.default_map = config.load(settings.home)


def _stack(decorators: Sequence[Callable[[F], F]]) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


def _flag(*names: str, keep: str, help_text: str) -> Callable[[F], F]:
    return click.option(
        *names,
        cls=Option,
        section="Common",
        is_flag=True,
        expose_value=False,
        callback=_note(keep),
        help=help_text,
    )


def common(function: F) -> F:
    """The options every command takes, before the verb or after it; they end up in `Settings`."""
    return _stack(
        (
            _flag("--json", keep="json", help_text="Print one JSON object on stdout; errors too."),
            _flag("--quiet", "-q", keep="quiet", help_text="No progress."),
            _flag("--verbose", "-v", keep="verbose", help_text="Say more; show the traceback of a bug."),
            click.option(
                "--home",
                cls=Option,
                section="Common",
                type=FOLDER,
                envvar="WEIGHTSHARE_HOME",
                is_eager=True,
                expose_value=False,
                callback=_home,
                help="Folder of keys, known publishers and releases.",
                show_envvar=True,
            ),
        )
    )(function)


def shared(
    *names: str, setting: str, help_text: str, section: str = "Network", **kwargs: Any
) -> Callable[[F], F]:
    """An option that the environment and `config.toml` may set too, there under the name `setting`."""
    return click.option(
        *names,
        cls=Option,
        section=section,
        envvar="WEIGHTSHARE_" + setting.upper().replace("-", "_"),
        help=help_text,
        **kwargs,
    )


def _keep_names_in(_ctx: click.Context, _parameter: click.Parameter, value: str) -> str:
    """Tell the C library to ask no name server where a question would leave the network.

    What is asked for by name is refused before. But a tracker inside may redirect the engine to a name outside, and the
    engine follows. The list of hosts is read all the same. glibc only (resolv.conf(5)); others pass it over.
    """
    from weightshare.swarm.networks import Network, looks_names_up

    if not looks_names_up(Network(value)):
        os.environ["RES_OPTIONS"] = f"{os.environ.get('RES_OPTIONS', '')} attempts:0".strip()
    return value


network = shared(
    "--network",
    setting="network",
    callback=_keep_names_in,
    type=click.Choice(["public", "lan", "local"]),
    default="public",
    show_default=True,
    help_text="How far packets may go: anywhere, private addresses, this machine.",
    metavar="public|lan|local",
    show_envvar=True,
)
port = shared(
    "--port",
    setting="port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    help_text="Listen here; 0 takes any free port.",
)
key = shared(
    "--key",
    setting="key",
    section="Options",
    metavar="KEY",
    help_text="Sign with this key: one of yours by name, a private or public key file, SHA256:… "
    "or agent for one that the ssh-agent holds. Default: the only one of yours.",
)
peers = click.option(
    "--peer",
    "peers",
    cls=Option,
    section="Network",
    callback=addresses,
    metavar="HOST:PORT",
    multiple=True,
    help="Also ask this peer, for as long as it takes. Repeatable.",
)
dht_nodes = shared(
    "--dht-nodes",
    setting="dht-nodes",
    callback=address_list,
    metavar="HOST:PORT,…",
    default="",
    help_text="Enter the DHT by these nodes, and not by the public ones.",
)
max_down = shared(
    "--max-down",
    setting="max-down",
    callback=size,
    metavar="RATE",
    default="0",
    help_text="Cap on what comes in, bytes a second: 800K, 12M. 0: none.",
)
max_up = shared(
    "--max-up",
    setting="max-up",
    callback=size,
    metavar="RATE",
    default="0",
    help_text="Cap on what goes out. 0: none.",
)
max_connections = shared(
    "--max-connections",
    setting="max-connections",
    type=click.IntRange(min=0),
    metavar="N",
    default=0,
    help_text="Cap on connections to peers, for a small router. 0: none.",
)
upload_per_day = shared(
    "--upload-per-day",
    setting="upload-per-day",
    callback=size,
    metavar="SIZE",
    default="0",
    help_text="Upload budget: give so much a day, then nothing until midnight. 0: none.",
)
ratio = shared(
    "--ratio",
    setting="ratio",
    callback=times,
    metavar="R",
    default="0",
    help_text="Ratio limit: give each release so many times its own size. 0: none.",
)
timeout = shared(
    "--timeout",
    setting="timeout",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    default=300.0,
    help_text="Give up after so long without any progress (exit 5; 6 if the disk stays full). 0 waits for ever. "
    "Default 300.",
)
require_mirrors = click.option(
    "--require-mirrors",
    cls=Option,
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="Refuse it unless N known mirrors vouch for its bytes.",
)
attestations = click.option(
    "--attestation",
    "attestations",
    cls=Option,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    multiple=True,
    help="A mirror's countersignature. Repeatable.",
)
trust = click.option(
    "--trust",
    cls=Option,
    metavar="SHA256:…",
    multiple=True,
    help="Trust this key if its publisher is unknown, and remember it. Repeatable.",
)
