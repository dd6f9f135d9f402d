"""What a stranger met, as checks: the link, the first bytes, the DHT, the port, mirrors with the whole release."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from weightshare.api.doctoring.checks import Check, fail, ok, skip, warn
from weightshare.api.launching.strangers import Met
from weightshare.errors import NetworkError
from weightshare.swarm.networks import Network, allowed_trackers
from weightshare.swarm.reach import Reach
from weightshare.units import format_size

_LINK, _BYTES = "link", "first bytes"


def link_check(alone: Met, told: Met | None) -> Check:
    """Whether somebody who has the link alone comes through the gate.

    Args:
        alone: the stranger with nothing but the link.
        told: one who was told our address too, sent where the first came to nothing.
    """
    step = alone.steps.get("gate")
    if step is not None and step["ok"]:
        by_url = "metadata by the .torrent's URL, and the manifest"
        how = by_url if step.get("by_url") else "metadata and manifest"
        return ok(
            _LINK,
            f"with the link alone a clean client got {how}, and the signature holds; {_seconds(step)}",
        )
    why = alone.trouble or (str(step["error"]) if step is not None else "it said nothing")
    code = int(step.get("code", NetworkError.exit_code)) if step is not None else NetworkError.exit_code
    if told is not None and told.ok("gate"):
        return fail(
            _LINK,
            f"a clean client found nobody by the link alone ({why}); told our address it came through",
            "Others are not led here: see the trackers, the DHT and the port below. Behind some routers this "
            "machine cannot reach its own outside address, though others can: try from elsewhere too.",
            code=code,
        )
    return fail(_LINK, f"a clean client did not come through the gate: {why}", _hint(step), code=code)


def bytes_check(met: Met, trial: tuple[str, int] | None) -> Check:
    """Whether file bytes move, and are proven on the other side.

    Args:
        met: the stranger who came furthest.
        trial: the file that was to be fetched.
    """
    if trial is None:
        return skip(_BYTES, "the smallest file is large; nothing was fetched")
    if not met.ok("gate"):
        return skip(_BYTES, "nobody came so far")
    step = met.steps.get("file")
    if step is not None and step["ok"]:
        return ok(_BYTES, f"{trial[0]} ({format_size(trial[1])}) fetched and proven; {_seconds(step)}")
    why = met.trouble or (str(step["error"]) if step is not None else "it said nothing")
    return fail(_BYTES, f"{trial[0]} did not come: {why}", _hint(step))


def tracker_checks(met: Met, trackers: Sequence[str], network: Network) -> Iterator[Check]:
    """Whether each tracker takes announcements of this release, and how many seeds it knows."""
    step = met.steps.get("survey")
    allowed = set(allowed_trackers(network, trackers))
    if not trackers:
        yield warn(
            "tracker",
            "none",
            "The DHT alone takes minutes to lead the first people here; name one or two with --tracker.",
        )
    for url in trackers:
        host = urlsplit(url).netloc.rpartition("@")[2]
        if url not in allowed:
            yield skip("tracker", f"{url} lies outside the network allowed ({network})")
        elif step is None:
            yield fail("tracker", f"{url} could not be asked: {met.trouble}")
        elif url in step["answered"]:
            seeds = int(step["answered"][url])
            known = f", and knows {seeds} with all of it" if seeds > 0 else ""
            yield ok("tracker", f"{url} answers{known}")
        else:
            why = str(step["failed"].get(url, "")).removeprefix(f"tracker {host}: ")
            yield fail(
                "tracker",
                f"{url} {f'failed: {why}' if why else 'did not answer in time'}",
                "Leave it out, name another with --tracker, or ask its operator; some serve listed torrents alone.",
            )


def dht_check(met: Met, network: Network, port: int | None, own: Collection[str]) -> Check:
    """Whether a second node of the DHT is told of us."""
    if network is not Network.PUBLIC:
        return skip("DHT", f"not used on this network ({network})")
    step = met.steps.get("survey")
    if step is None:
        return fail("DHT", f"it could not be asked: {met.trouble}")
    if not step["nodes"]:
        return fail(
            "DHT",
            "no node of it answered",
            "UDP may be closed here. Without it people find you by trackers and web seeds alone.",
        )
    named = [(str(host), int(number)) for host, number in step["named"]]
    known = {*own, *step["addresses"]}
    ours = [peer for peer in named if peer[1] == port]
    if any(host in known for host, _ in ours):
        return ok("DHT", f"a second node was named {len(named)} peers, this machine among them")
    if ours:
        return ok("DHT", f"a second node was named {len(named)} peers, one of them with our port {port}")
    if named:
        return warn(
            "DHT",
            f"a second node was named {len(named)} peers, none of them with our port {port}",
            "An announcement takes a minute or two after the start; run this again.",
        )
    return fail(
        "DHT",
        f"a second node, with {step['nodes']} nodes around, was named nobody",
        "An announcement takes a minute or two after the start; if it stays so, UDP may be closed here.",
    )


def port_check(reach: Reach | None, network: Network, port: int) -> Check:
    """Whether others can come to us, with what that is known by.

    Args:
        reach: what our own seeder heard; None where another process serves.
        network: how far the seeder may reach.
        port: where it listens.
    """
    if network is not Network.PUBLIC:
        return skip("port", f"{port}: nobody from outside comes by this network ({network})")
    if reach is None:
        return skip(
            "port",
            f"{port}: another process serves, and what it heard from its router is not known here",
            "Stop it and run this again to see.",
        )
    at = f"; others see us at {', '.join(reach.addresses)}" if reach.addresses else ""
    if reach.reached:
        return ok("port", f"{port}: somebody from outside came in{at}")
    if reach.mapped:
        return warn(
            "port",
            f"the router says it lets {', '.join(reach.mapped)} through{at}; nobody from outside came in yet, "
            "so it is not proven",
            "Fetch the link once from another network, a phone's say.",
        )
    why = f" ({'; '.join(reach.refused)})" if reach.refused else ""
    return warn(
        "port",
        f"{port}: no router let it through{why}{at}, and nobody from outside came in; it may be open "
        "or not: from in here that cannot be told",
        f"On a server, see that its firewall lets TCP and UDP {port} in; at home, forward it in the router. "
        "Then fetch the link once from another network.",
    )


def mirrors_check(met: Met, wanted: int | None) -> Check:
    """Whether others hold the whole release already.

    Args:
        met: the stranger who looked.
        wanted: how many there should be; None if nobody said.
    """
    step = met.steps.get("survey")
    if step is None:
        return fail("mirrors", f"nobody could look: {met.trouble}")
    found = [str(address) for address in step["mirrors"]]
    names = f": {', '.join(found[:5])}{', …' if len(found) > 5 else ''}" if found else ""
    said = f"{len(found)} beside this machine hold all of it{names}"
    if wanted is not None and len(found) < wanted:
        return fail("mirrors", f"{said}; {wanted} are wanted", _MIRRORS)
    if not found and wanted is None:
        return warn("mirrors", said, _MIRRORS)
    return ok("mirrors", said)


_MIRRORS = (
    "Let mirrors fetch all of it and seed before you post: with --embargo nobody else hears of it meanwhile."
)


def _seconds(step: Mapping[str, Any]) -> str:
    return f"{float(step['seconds']):.1f} s after its start"


def _hint(step: object) -> str:
    return str(step.get("hint", "")) if isinstance(step, dict) else ""
