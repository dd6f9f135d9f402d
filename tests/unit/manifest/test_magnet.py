from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightshare.errors import MagnetError
from weightshare.manifest import magnet
from weightshare.manifest.magnet import Magnet
from weightshare.manifest.text import unsafe_character

V2 = "1220" + "ab" * 32
LINK = f"magnet:?xt=urn:btmh:{V2}"

_URL_TAIL = st.text(string.ascii_letters + string.digits + "/?&=%+#é.-_~:@!$'()*,;", max_size=30)


def _urls(*schemes: str) -> st.SearchStrategy[tuple[str, ...]]:
    url = st.builds("{}{}".format, st.sampled_from(schemes), _URL_TAIL)
    return st.lists(url, max_size=3, unique=True).map(tuple)


_HOSTS = st.from_regex(r"[a-z0-9.-]{1,20}", fullmatch=True) | st.sampled_from(
    ["::1", "fe80::1%eth0", "::ffff:1.2.3.4"]
)

MAGNETS = st.builds(
    Magnet,
    v2_hash=st.binary(min_size=32, max_size=32),
    v1_hash=st.none() | st.binary(min_size=20, max_size=20),
    name=st.text(max_size=30).filter(lambda text: unsafe_character(text) is None),
    trackers=_urls("udp://", "http://", "https://"),
    web_seeds=_urls("http://", "https://"),
    sources=_urls("https://"),
    peers=st.lists(st.tuples(_HOSTS, st.integers(1, 65535)), max_size=3, unique=True).map(tuple),
    publisher=st.none() | st.binary(min_size=32, max_size=32),
)


@given(MAGNETS)
def test_round_trip(link: Magnet) -> None:
    text = str(link)
    assert magnet.parse(text) == link
    assert not set(text) & set(" '\"\n\\`$<>")


@given(st.text(max_size=200))
def test_any_text_parses_or_is_refused(text: str) -> None:
    message = ""
    try:
        link = magnet.parse(f"magnet:?xt=urn:btmh:{V2}&{text}")
    except MagnetError as error:
        message = error.message
    else:
        assert link.v2_hash == b"\xab" * 32
        message = link.name
    assert unsafe_character(message) is None


@pytest.mark.parametrize(
    "text",
    [
        V2,
        "AB" * 32,
        f"  {LINK}\n",
        LINK.replace("magnet", "MAGNET"),
        LINK + "&",
        LINK.replace("xt=", "xt.1="),
    ],
)
def test_forms_of_the_same_thing(text: str) -> None:
    link = magnet.parse(text)
    assert link.v2_hash == b"\xab" * 32
    assert link.bare


def test_a_v1_hash_alone_parses_and_is_not_enough() -> None:
    for text in ("cd" * 20, f"magnet:?xt=urn:btih:{'cd' * 20}", "magnet:?xt=urn:btih:" + "ZXG43TON" * 4):
        link = magnet.parse(text)
        assert (link.v2_hash, link.v1_hash) == (None, b"\xcd" * 20)
        with pytest.raises(MagnetError, match="no v2 info-hash") as caught:
            link.require_v2()
        assert "Quote" in caught.value.hint
    whole = magnet.parse(f"magnet:?xt=urn:btih:{'cd' * 20}&dn=x")
    with pytest.raises(MagnetError) as caught:
        whole.require_v2()
    assert "Quote" not in caught.value.hint
    assert magnet.parse(LINK).require_v2() == b"\xab" * 32


def test_what_nobody_here_knows_is_ignored() -> None:
    link = magnet.parse(
        f"{LINK}&so=0,2&kt=x&xs=urn:btpk:00&tr=gopher://x&x.other=1&xt=urn:sha1:x&dn=a+b%20c%2Bd"
    )
    assert link == Magnet(v2_hash=b"\xab" * 32, name="a b c+d")


def test_a_hostile_name_is_kept_escaped() -> None:
    link = magnet.parse(f"{LINK}&dn=%1b%5b2Jm7b%e2%80%aetxt%0d%0a%c2%9b")
    assert link.name == "\\x1b[2Jm7b\\u202etxt\\r\\n\\x9b"
    assert magnet.parse(str(link)) == link


BAD = {
    "": "no magnet link and no info-hash",
    "hello": "no magnet link and no info-hash",
    "\x1b[2J": "no magnet link and no info-hash",
    "http://x/?xt=urn:btmh:1220": "no magnet link and no info-hash",
    "ab" * 31: "no magnet link and no info-hash",
    "magnet:?": "no info-hash",
    "magnet:?dn=m7b": "no info-hash",
    "magnet:?xt=": "no info-hash",
    "magnet:?xt=urn:sha1:x": "no info-hash",
    LINK[:-1]: "is damaged",
    LINK + "0": "is damaged",
    LINK.replace("1220", "1114"): "is damaged",
    f"magnet:?xt=urn:btmh:{'ab' * 32}": "is damaged",
    "magnet:?xt=urn:btih:xyz": "is damaged",
    "magnet:?xt=urn:btih:" + "\u212a" * 32: "is damaged",
    "magnet:?xt=urn:btih:" + "\u017f" * 32: "is damaged",
    f"{LINK}&xt=urn:btmh:1220{'cd' * 32}": "two different torrents",
    f"magnet:?xt=urn:btih:{'cd' * 20}&xt=urn:btih:{'ab' * 20}": "two different torrents",
    f"{LINK}&dn=%ff": "not UTF-8",
    f"{LINK}&tr=http://a%0d%0aHost:%20b": "no URL",
    f"{LINK}&tr=http://a%20b": "no URL",
    f"{LINK}&ws=http://%1b%5b2J": "no URL",
    f"{LINK}&xs=https://a%e2%80%ae": "no URL",
    f"{LINK}&x.pe=host": "HOST:PORT",
    f"{LINK}&x.pe=host:0": "HOST:PORT",
    f"{LINK}&x.pe=host:65536": "HOST:PORT",
    f"{LINK}&x.pe=host:-1": "HOST:PORT",
    f"{LINK}&x.pe=fe80::1:5": "HOST:PORT",
    f"{LINK}&x.pe=a%0ab:5": "HOST:PORT",
    f"{LINK}&x.wsk=AAAA": "fingerprint",
    f"{LINK}&x.wsk={'A' * 42}B": "fingerprint",
    f"{LINK}&x.wsk={'A' * 43}%3D": "fingerprint",
    f"{LINK}&x.wsk={'*' * 43}": "fingerprint",
    f"{LINK}&x.wsk={'A' * 43}&x.wsk={'A' * 42}E": "fingerprint",
    LINK + "&dn=" + "x" * 70_000: "characters",
}


@pytest.mark.parametrize(("text", "problem"), BAD.items(), ids=range(len(BAD)))
def test_refuses(text: str, problem: str) -> None:
    with pytest.raises(MagnetError, match=problem) as caught:
        magnet.parse(text)
    assert caught.value.exit_code == 2
    assert unsafe_character(caught.value.message) is None


@pytest.mark.parametrize("text", ["magnet:?dn=m7b", LINK[:-1], "magnet:?xt="])
def test_says_quote_it_where_only_the_part_before_an_ampersand_is_there(text: str) -> None:
    with pytest.raises(MagnetError) as caught:
        magnet.parse(text)
    assert magnet.QUOTE_HINT in caught.value.hint
    with pytest.raises(MagnetError) as caught:
        magnet.parse(f"{text}&tr=http://a")
    assert magnet.QUOTE_HINT not in caught.value.hint


def test_the_publisher_is_base64url_without_padding() -> None:
    link = Magnet(v2_hash=bytes(32), publisher=b"\xfb\xff" * 16)
    assert str(link).endswith("&x.wsk=-__7__v_-__7__v_-__7__v_-__7__v_-__7__v_-_8")


def test_an_embargo_is_read_and_written() -> None:
    for seconds in (0, 1_796_140_800):
        link = Magnet(v2_hash=b"\1" * 32, embargo=seconds)
        assert str(link).endswith(f"&x.wse={seconds}")
        assert magnet.parse(str(link)) == link
        assert not link.bare
    assert magnet.parse("magnet:?xt=urn:btmh:1220" + "01" * 32).embargo is None


@pytest.mark.parametrize("value", ["-1", "soon", "1e9", "9" * 12, "\u0661"])
def test_an_embargo_that_is_no_time_is_refused(value: str) -> None:
    with pytest.raises(MagnetError, match="wse"):
        magnet.parse("magnet:?xt=urn:btmh:1220" + "01" * 32 + f"&x.wse={value}")
