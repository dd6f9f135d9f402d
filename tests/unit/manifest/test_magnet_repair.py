"""Links as they were really posted, and what else chats, sites, mails and shells make of one."""

from __future__ import annotations

import string
import time
from dataclasses import dataclass
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from weightshare.errors import MagnetError
from weightshare.manifest import magnet
from weightshare.manifest.magnet import MAX_LINK, Magnet
from weightshare.manifest.magnet_repair import repair

HASH = "5546272da9065eddeb6fcd7ffddeef5b75be79a7"
V2 = "ab" * 32
TRACKER = "udp://opentracker.i2p.rocks:6969/announce"
GOOD = f"magnet:?xt=urn:btih:{HASH}&dn=mixtral-8x7b-32kseqlen&tr={quote(TRACKER, safe='')}"


@dataclass(frozen=True)
class Posted:
    """A link as it stood somewhere, what can be saved of its trackers, and how many cannot."""

    where: str
    text: str
    info_hash: str
    trackers: tuple[str, ...]
    lost: int


AS_POSTED = (
    Posted(
        # A copy of the tweet of 27 September 2023 in a string constant of the program Const-me/Cgml,
        # ImportDialog.xaml.cs, which added the third tracker; a filter has broken `http` to `-tp` in it.
        "Mistral 7B",
        "magnet:?xt=urn:btih:208B101A0F51514ECF285885A8B0F6FB1A1E4D7D&dn=mistral-7B-v0.1"
        "&tr=udp%3a%2f-tp%3a%2f%2f2Ftracker.opentrackr.org%3a1337%2fannounce"
        "&tr=https%3a%2f-tps%3a%2f%2ft.co%2fHAadNvH1t0%3a443%2fannounce&tr=wss%3a%2f%2fwstracker.online",
        "208b101a0f51514ecf285885a8b0f6fb1a1e4d7d",
        ("udp://tracker.opentrackr.org:1337/announce", "wss://wstracker.online"),
        1,
    ),
    Posted(
        # The model card of mistralai/Mixtral-8x7B-v0.1, in its Markdown, and with it a hundred copies of the card.
        "Mixtral 8x7B",
        "It is based on the original Mixtral [torrent release](magnet:?xt=urn:btih:"
        "5546272da9065eddeb6fcd7ffddeef5b75be79a7&dn=mixtral-8x7b-32kseqlen"
        "&tr=udp%3A%2F%http://2Fopentracker.i2p.rocks%3A6969%2Fannounce"
        "&tr=http%3A%2F%http://2Ftracker.openbittorrent.com%3A80%2Fannounce), but the file format and parameter "
        "names are different.",
        HASH,
        (TRACKER, "http://tracker.openbittorrent.com:80/announce"),
        0,
    ),
    Posted(
        # The table of weights in Mistral's documentation, "Model weights".
        "Mixtral 8x22B",
        "[raw_weights](magnet:?xt=urn:btih:9238b09245d0d8cd915be09927769d5f7584c1c9&dn=mixtral-8x22b"
        "&tr=udp%3A%2F%http://2Fopen.demonii.com%3A1337%2Fannounce"
        "&tr=http%3A%2F%https://t.co/OdtBUsbeV5%3A1337%2Fannounce) (md5sum: `0535902c85ddbb04d4bebbf4371c6341`)",
        "9238b09245d0d8cd915be09927769d5f7584c1c9",
        ("udp://open.demonii.com:1337/announce",),
        1,
    ),
    Posted(
        # The tweet, status/1777869263778291896, as a Discord digest took its text.
        "Mixtral 8x22B, the tweet",
        "magnet:?xt=urn:btih:9238b09245d0d8cd915be09927769d5f7584c1c9&dn=mixtral-8x22b"
        "&tr=udp%3A%2F%http://2Fopen.demonii.com%3A1337%2Fannounce"
        "&tr=http%3A%2F%http://2Ftracker.opentrackr.org%3A1337%2Fannounce",
        "9238b09245d0d8cd915be09927769d5f7584c1c9",
        ("udp://open.demonii.com:1337/announce", "http://tracker.opentrackr.org:1337/announce"),
        0,
    ),
    Posted(
        # The tweet, status/1833758285167722836, copied into the test of a magnet parser on GitHub.
        "Pixtral 12B",
        "magnet:?xt=urn:btih:7278e625de2b1da598b23954c13933047126238a&dn=pixtral-12b-240910"
        "&tr=udp%3A%2F%http://2Ftracker.opentrackr.org%3A1337%2Fannounce"
        "&tr=udp%3A%2F%https://t.co/2UepcMHjvL%3A1337%2Fannounce"
        "&tr=http%3A%2F%https://t.co/NsTRgy7h8S%3A80%2Fannounce",
        "7278e625de2b1da598b23954c13933047126238a",
        ("udp://tracker.opentrackr.org:1337/announce",),
        2,
    ),
    Posted(
        # A request to support the model, on GitHub: without `magnet:?`, a slash after each host, cut at the end.
        "Pixtral 12B, an issue",
        "**Magnet link:** `xt=urn:btih:7278e625de2b1da598b23954c13933047126238a&dn=pixtral-12b-240910"
        "&tr=udp%3A%2F%http://2ftracker.opentrackr.org/%3A1337%2Fannounce"
        "&tr=udp%3A%2F%http://2fopen.demonii.com/%3A1337%2Fannounce"
        "&tr=http%3A%2F%http://2ftracker.ipv6tracker.org/%3A80\n\n[... truncated for brevity ...]",
        "7278e625de2b1da598b23954c13933047126238a",
        (
            "udp://tracker.opentrackr.org:1337/announce",
            "udp://open.demonii.com:1337/announce",
            "http://tracker.ipv6tracker.org:80",
        ),
        0,
    ),
    Posted(
        # The tweet, status/1884967826215059681, as a news digest took its text, which it cut short.
        "Mistral Small 3",
        "magnet:?xt=urn:btih:11f2d1ca613ccf5a5c60104db9f3babdfa2e6003&dn=Mistral-Small-3-Instruct"
        "&tr=udp%3A%2F%http://2Ftracker.opentrackr.org%3A1337%2Fannounce"
        "&tr=http%3A%2F%http://2Fopen.tracker.cl%3A1337%2F...",
        "11f2d1ca613ccf5a5c60104db9f3babdfa2e6003",
        ("udp://tracker.opentrackr.org:1337/announce",),
        1,
    ),
)


@pytest.mark.parametrize("posted", AS_POSTED, ids=lambda posted: posted.where)
def test_the_links_of_the_great_releases_as_they_were_posted(posted: Posted) -> None:
    repaired = repair(posted.text)
    link = magnet.parse(repaired.text)
    assert link.v1_hash == bytes.fromhex(posted.info_hash)
    assert link.trackers == posted.trackers
    assert len(repaired.dropped) == posted.lost
    for part in repaired.dropped:
        assert part.startswith("tr="), part
        assert "t.co" in part or "cut short" in part


@pytest.mark.parametrize(
    "text",
    [
        GOOD.replace("&", "&amp;"),
        GOOD.replace("&", "&amp;amp;"),
        GOOD.replace("&", "&#38;"),
        GOOD.replace("&", "&#x26;").replace(":", "&#58;"),
        GOOD.replace("&", "\\u0026"),
        GOOD.replace("&", "\\&").replace("?", "\\?").replace("=", "\\="),
        f"<{GOOD}>",
        f"“{GOOD}”",
        f"'{GOOD}'",
        f"`{GOOD}`",
        f"[the torrent]({GOOD})",
        f"({GOOD}).",
        f'<a href="{GOOD}">magnet</a>',
        f"Get it here: {GOOD}",
        f"{GOOD} Enjoy, everybody!",
        f"{GOOD}\n\nRELEASE a6bbd9affe0c2725c1b7410d66833e24",
        f"{GOOD}.",
        f"{GOOD}!",
        GOOD.replace("magnet:?", "magnet:"),
        GOOD.replace("magnet:?", "magnet://?"),
        GOOD.replace("magnet:?", "magnet: ?"),
        GOOD.removeprefix("magnet:"),
        GOOD.removeprefix("magnet:?"),
        GOOD.removeprefix("magnet:?xt="),
        GOOD.replace("urn:btih", "btih"),
        GOOD.replace("magnet:?", "magnet\uff1a\uff1f"),
        quote(GOOD, safe=""),
        quote(quote(GOOD, safe=""), safe=""),
        f"https://example.org/go?to={quote(GOOD, safe='')}&from=chat",
        GOOD.replace("%", "%25"),
        GOOD.replace("%", "%2525"),
        GOOD.replace("&", " &"),
        GOOD.replace("&", "\n&"),
        GOOD.replace("&", "&\r\n  "),
        GOOD.replace(HASH, f"{HASH[:20]}\n{HASH[20:]}"),
        GOOD.replace("announce", "ann\nounce"),
        GOOD.replace("%3A6969", "%3A\n6969"),
        GOOD.replace("6969", "69\u200b69").replace("magnet", "\ufeffmagnet"),
        GOOD.replace("udp%3A%2F%2F", "udp%3A%2F%http://2F"),
        GOOD.replace("udp%3A%2F%2F", "udp:/-tp://2F"),
        GOOD.replace("udp%3A%2F%2F", "udp%3A%2F%2Fhttp://"),
        GOOD.replace("udp%3A%2F%2F", "http://udp://"),
        GOOD.replace("%3A6969", "/%3A6969"),
    ],
)
def test_what_can_be_put_right(text: str) -> None:
    repaired = repair(text)
    assert magnet.parse(repaired.text) == magnet.parse(GOOD)
    assert repaired.changes
    assert not repaired.dropped
    assert all(note.startswith("the link was repaired: ") for note in repaired.notes)


@pytest.mark.parametrize(
    ("text", "v1", "v2"),
    [
        (f"“{HASH}”", HASH, None),
        (f" <{HASH.upper()}> ", HASH, None),
        (f"`1220{V2}`", None, V2),
        (f"urn:btih:{HASH}", HASH, None),
        (f"btmh:1220{V2}", None, V2),
        ("KVDCOLNJAZPN323PZV773XXPLN2346NH", HASH, None),
        ("kvdcolnjazpn323pzv773xxpln2346nh", HASH, None),
    ],
)
def test_a_hash_alone(text: str, v1: str | None, v2: str | None) -> None:
    link = magnet.parse(repair(text).text)
    assert (link.v1_hash and link.v1_hash.hex(), link.v2_hash and link.v2_hash.hex()) == (v1, v2)


@pytest.mark.parametrize(
    ("text", "lost"),
    [
        ("magnet:?xt=urn:btih:5546272da906…&dn=mixtral", "xt=urn:btih:5546272da906…"),
        (f"magnet:?xt=urn:btih:{HASH[:-1]}", f"xt=urn:btih:{HASH[:-1]}"),
        (f"magnet:?xt=urn:btih:{HASH}0", f"xt=urn:btih:{HASH}0"),
        (f"magnet:?xt=urn:btmh:1220{V2[:30]}...", "xt=urn:btmh:1220"),
        (f"magnet:?xt=urn:btmh:{V2}", "xt=urn:btmh:"),
    ],
)
def test_no_hash_is_guessed(text: str, lost: str) -> None:
    repaired = repair(text)
    assert any(part.startswith(lost) for part in repaired.dropped), repaired
    with pytest.raises(MagnetError, match="no info-hash"):
        magnet.parse(repaired.text)


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://t.co/OdtBUsbeV5", None),
        ("udp://t.co:1337/announce", None),
        ("udp%3A%2F%https://bit.ly/abc%3A80", None),
        ("http://tracker.example:80/ann…", None),
        ("udp://tracker.example:6969/ann…", "udp://tracker.example:6969/ann"),
        ("udp://tracker.example:69…", None),
        ("udp://tracker.exam…", None),
        ("udp%3A%2F%http://2Ftracker.example%3A99999%2Fannounce", None),
        ("udp%3A%2F%http://2Ftracker.example%2Fannounce", None),
        ("udp:/tracker.example:80/announce", "udp://tracker.example:80/announce"),
        ("udp://2fast.example:80/announce", "udp://2fast.example:80/announce"),
        ("i2p://somewhere/announce", None),
    ],
)
def test_no_tracker_is_made_up(url: str, kept: str | None) -> None:
    repaired = repair(f"magnet:?xt=urn:btih:{HASH}&tr={url}")
    assert magnet.parse(repaired.text).trackers == ((kept,) if kept else ())
    if not kept and not url.startswith("i2p"):
        assert [part.startswith("tr=") for part in repaired.dropped] == [True]


def test_of_two_links_the_first_is_taken_and_the_other_is_said() -> None:
    other = f"magnet:?xt=urn:btih:{'00' * 20}"
    repaired = repair(f"{GOOD} and {other}")
    assert repaired.text == GOOD
    assert repaired.dropped == ("a second link that stood after it",)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "acme/m7b",
        "./model",
        "hello world",
        "1faa9bc9b20fcfe81fcd4eb7166a79e6",
        "magnet",
        "consolidated.00.pth",
        "a" * 32,
        "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF",
        "abcdef22" * 4,
        V2 + "0",
        HASH + HASH,
    ],
)
def test_what_is_no_link_is_left_alone(text: str) -> None:
    assert repair(text) == repair(repair(text).text)
    assert repair(text).text == text


_LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
_HOST = st.lists(_LABEL, min_size=2, max_size=3).map(".".join)
_PATH = st.text(string.ascii_letters + string.digits + "/=&?%25-_~é ", max_size=12).map(
    lambda text: quote(text, safe="/=")
)
_URL = st.builds(
    "{}://{}:{}/{}".format, st.sampled_from(["udp", "http", "https"]), _HOST, st.integers(1, 65535), _PATH
)
_WEB = st.builds("https://{}/{}".format, _HOST, _PATH)
LINKS = st.builds(
    Magnet,
    v2_hash=st.binary(min_size=32, max_size=32),
    v1_hash=st.none() | st.binary(min_size=20, max_size=20),
    name=st.text(max_size=30),
    trackers=st.lists(_URL, max_size=3).map(tuple),
    web_seeds=st.lists(_WEB, max_size=2).map(tuple),
    sources=st.lists(_WEB, max_size=1).map(tuple),
    peers=st.lists(st.tuples(_HOST | st.just("::1"), st.integers(1, 65535)), max_size=2).map(tuple),
    publisher=st.none() | st.binary(min_size=32, max_size=32),
)


@given(LINKS)
@settings(max_examples=50)
def test_a_good_link_is_left_as_it_is(link: Magnet) -> None:
    repaired = repair(str(link))
    assert (repaired.text, repaired.changes, repaired.dropped) == (str(link), (), ())


_NOISE = st.sampled_from(
    [
        "magnet:",
        "?",
        "xt=",
        "urn:btih:",
        HASH,
        "&",
        "&amp;",
        "tr=",
        "%3A%2F%http://2F",
        "udp",
        "t.co/x",
        "\n",
        " ",
        "…",
        "dn=",
        "%25",
        "%",
        ":",
        "/",
        ">",
        "<",
        "“",
        "\u200b",
        "\\",
        "...",
        "magnet%3A%3F",
        "ws=",
        "=",
        "announce",
        "..",
        ".",
    ]
) | st.text(max_size=4)


@example("urn:btih:&urn:btih:")
@example("urn:btih:&?urn:btih:?")
@given(
    st.lists(_NOISE, max_size=25).map("".join)
    | st.builds("magnet:?xt=urn:btih:{}{}".format, st.just(HASH), st.lists(_NOISE, max_size=20).map("".join))
)
def test_repairing_twice_is_repairing_once_and_nothing_is_made_up(text: str) -> None:
    once = repair(text)
    again = repair(once.text)
    assert again.text == once.text
    assert not again.dropped
    try:
        link = magnet.parse(once.text)
    except MagnetError:
        return
    if link.v1_hash is not None:
        assert link.v1_hash.hex() == HASH


def test_long_and_odd_texts_take_no_time() -> None:
    began = time.process_time()
    for piece in (
        ")",
        ".",
        "%25",
        "a ",
        "&dn=x ",
        "<",
        "magnet:?xt=",
        "&tr=udp%3A%2F%http://2F",
        "&amp;",
        "urn:btih:",
        "\\&",
    ):
        start = f"magnet:?xt=urn:btih:{HASH}&tr="
        repair((start + piece * MAX_LINK)[:MAX_LINK])
        repair((start + piece * MAX_LINK)[: MAX_LINK - 1] + "a")
    assert time.process_time() - began < 10
