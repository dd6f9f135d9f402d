"""Where a key's passphrase comes from: the environment or a terminal, never the command line."""

from __future__ import annotations

import os
import sys

import click

from weightshare.errors import KeyFileError
from weightshare_cli.output import clean

ENVIRONMENT = "WEIGHTSHARE_KEY_PASSPHRASE"


def known(key: str = "the key") -> str:
    """The passphrase of a key that exists.

    Args:
        key: which one, for the question.

    Raises:
        KeyFileError: nothing in the environment, and nobody to ask.
    """
    passphrase = os.environ.get(ENVIRONMENT)
    if passphrase:
        return passphrase
    if not sys.stdin.isatty():
        raise KeyFileError(
            "The key is protected by a passphrase, and there is no terminal to ask for it.", hint=_HINT
        )
    answer: str = click.prompt(f"Passphrase of {clean(key)}", hide_input=True, err=True)
    return answer


def ask_new() -> str:
    """A passphrase for a new key, typed twice.

    Raises:
        KeyFileError: nobody to ask.
    """
    if not sys.stdin.isatty():
        raise KeyFileError("There is no terminal to ask for a passphrase.", hint=_HINT)
    answer: str = click.prompt("New passphrase", hide_input=True, confirmation_prompt=True, err=True)
    return answer


_HINT = f"Set {ENVIRONMENT} in the environment."
