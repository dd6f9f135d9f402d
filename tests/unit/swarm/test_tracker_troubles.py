"""What the trackers had to say last."""

from __future__ import annotations

from weightshare.swarm.events import Checked, TrackerFailed, TrackerReplied
from weightshare.swarm.tracker_troubles import TrackerTroubles


def _url(name: str) -> str:
    return f"https://user:secret@{name}.example.org:443/passkey/announce"


def test_names_two_by_their_host_and_counts_the_rest() -> None:
    troubles = TrackerTroubles()
    assert str(troubles) == ""
    for name in ("a", "b", "b", "c", "d"):
        troubles.hear(TrackerFailed("", _url(name), "timed out"))
    troubles.hear(Checked(""))
    assert str(troubles) == (
        "tracker a.example.org:443: timed out; tracker b.example.org:443: timed out; and 2 more"
    )


def test_one_that_answers_is_no_trouble_any_more() -> None:
    troubles = TrackerTroubles()
    troubles.hear(TrackerFailed("", _url("a"), "refused"))
    troubles.hear(TrackerReplied("", _url("a")))
    assert str(troubles) == ""
