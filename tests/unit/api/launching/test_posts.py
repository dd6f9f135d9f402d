"""The texts that announce a release, and what becomes of them on the way."""

from __future__ import annotations

import html
import re
import shlex
from dataclasses import replace

import pytest

from weightshare.api.launching.posts import LIMIT, Facts, length_of, markdown, post
from weightshare.manifest import magnet as magnets
from weightshare.manifest.magnet import Magnet
from weightshare.manifest.magnet_repair import repair

V2, V1 = "3f" * 32, "a1" * 20
LINK = Magnet(
    v2_hash=bytes.fromhex(V2),
    v1_hash=bytes.fromhex(V1),
    name="m7b",
    trackers=("udp://tracker.opentrackr.org:1337/announce", "https://tracker.example.org/announce"),
    publisher=b"\3" * 32,
)
FACTS = Facts(
    release="acme/m7b@1",
    size=14_500_000_000,
    files=9,
    publisher="SHA256:" + "A" * 43,
    v2=V2,
    v1=V1,
    magnet=str(LINK),
    page="https://acme.example/releases/m7b.torrent",
    license="Apache-2.0",
)


def mangled(text: str) -> str:
    """What X makes of a post, and a chat of that: links shortened, entities escaped, spaces at will."""
    text = re.sub(r"https?://\S+", "https://t.co/HAadNvH1t0", text)
    text = re.sub(r"udp://", "udp%3A%2F%http://2F", text)
    return re.sub(r"\n+", "  \n", html.escape(text))


def test_a_post_holds_all_that_matters() -> None:
    text = post(FACTS)
    assert length_of(text) <= LIMIT
    for part in (FACTS.release, FACTS.publisher, V2, V1, FACTS.page):
        assert part in text
    assert "magnet:" not in text
    assert "udp:" not in text


def test_each_hash_survives_being_mangled() -> None:
    found = {}
    for word in mangled(post(FACTS)).split():
        if re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", word):
            found[len(word)] = magnets.parse(repair(word).text)
    assert found[64].v2_hash == LINK.v2_hash
    assert found[40].v1_hash == LINK.v1_hash


def test_the_line_to_fetch_it_can_be_copied_whole() -> None:
    """It is a command, and the hash in it needs no quotes."""
    line = next(line for line in mangled(post(FACTS)).splitlines() if V2 in line)
    command, verb, source = shlex.split(line)
    assert (command, verb) == ("weightshare", "fetch")
    assert magnets.parse(repair(source).text).v2_hash == LINK.v2_hash


@pytest.mark.parametrize(
    "facts",
    [
        replace(FACTS, release="a" * 90 + "/" + "b" * 96 + "@" + "1" * 20),
        replace(FACTS, release="meta.ai/llama.cpp@1.0"),
        replace(FACTS, release="acme/" + "x" * 60 + "@2026-11-22", page="https://e.example/" + "y" * 900),
        replace(FACTS, page="", v1=""),
    ],
)
def test_whatever_the_name_it_fits_and_the_hash_is_whole(facts: Facts) -> None:
    text = post(facts)
    assert length_of(text) <= LIMIT, length_of(text)
    assert V2 in text


def test_lengths_are_counted_as_x_counts_them() -> None:
    assert length_of("plain") == 5
    assert length_of("https://example.org/" + "x" * 500) == 23
    assert length_of("see https://e.org now") == 4 + 23 + 4
    assert length_of("模型") == 4
    assert length_of("example.com") == 23, "a bare domain is taken for a link"
    assert length_of("Llama-3.1") == 9


def test_the_readme_block_quotes_the_link_whole() -> None:
    block = markdown(FACTS)
    command = block.partition("```sh\n")[2].partition("```")[0].replace("\\\n", "")
    words = shlex.split(next(line for line in command.splitlines() if " fetch " in line))
    assert magnets.parse(words[2]) == LINK
    assert words[3:] == ["--trust", FACTS.publisher]
    assert "weightshare verify acme/m7b" in block
    assert "v1" not in markdown(replace(FACTS, v1="")).partition("|---|")[2]
