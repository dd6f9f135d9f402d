"""A mapped file that is cut short while a model runs: exit 4 with its name, where the system would end us by SIGBUS."""

from __future__ import annotations

from weightshare_cli.options import Settings


def guard(settings: Settings) -> None:
    """From now on report a page of a mapped weight file that is missing as an error, and end with its exit status."""
    from weightshare.errors import WeightshareError
    from weightshare.load import faults
    from weightshare_cli import errors

    def report(error: WeightshareError) -> int:
        return errors.report(error, settings)

    faults.arm(report)
