"""`doctor` as it is typed."""

from __future__ import annotations

from pathlib import Path

from tests.cli.helpers import result, weightshare

MANGLED = (
    "magnet:?xt=urn:btih:9238b09245d0d8cd915be09927769d5f7584c1c9&amp;dn=mixtral-8x22b"
    "&amp;tr=udp%3A%2F%http://2Fopen.demonii.com%3A1337%2Fannounce"
    "&amp;tr=http%3A%2F%https://t.co/OdtBUsbeV5%3A1337%2Fannounce"
)
WHOLE = (
    "magnet:?xt=urn:btih:9238b09245d0d8cd915be09927769d5f7584c1c9&dn=mixtral-8x22b"
    "&tr=udp%3A%2F%2Fopen.demonii.com%3A1337%2Fannounce"
)


def test_this_machine(tmp_path: Path) -> None:
    told = result(tmp_path, "doctor")
    checks = {check["name"]: check for check in told["checks"]}
    assert told["ok"] is True
    assert {"weightshare", "clock", "store", "copies", "memory", "port", "GPU", "HF cache"} <= checks.keys()
    assert checks["port"]["facts"]["port"] > 0
    assert checks["DHT"]["outcome"] == checks["reachable"]["outcome"] == "skip"
    assert not any(check["outcome"] == "fail" for check in told["checks"])


def test_a_port_that_is_taken_fails(tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        told = result(tmp_path, "doctor", "--port", str(port), status=5)
    assert told["ok"] is False
    assert [check["name"] for check in told["checks"] if check["outcome"] == "fail"] == ["port"]


def test_a_mangled_link_is_shown_repaired_and_nothing_leaves_the_machine(tmp_path: Path) -> None:
    done = weightshare(tmp_path, "doctor", MANGLED)
    lines = done.stdout.decode().splitlines()
    assert done.returncode == 0, done.stdout.decode()
    assert f"'{WHOLE}'" in lines
    assert all(len(line) <= 80 for line in lines if line != f"'{WHOLE}'")
    assert any(line.startswith("warn  lost          tr=http:/%https://t.co/") for line in lines)
    assert any(line.startswith("skip  tracker       udp://open.demonii.com") for line in lines)
    assert lines[-1].startswith("9 checks: ")


def test_a_link_wrapped_by_a_mail_comes_in_on_stdin(tmp_path: Path) -> None:
    done = weightshare(tmp_path, "doctor", "-", "--json", typed=MANGLED.replace("&amp;", "\n &").encode())
    assert f"'{WHOLE}'".encode() in done.stdout


def test_fetch_says_what_a_mangled_link_has_lost(tmp_path: Path) -> None:
    done = weightshare(tmp_path, "fetch", "magnet:?xt=urn:btmh:1220abc…")
    assert done.returncode == 2
    said = " ".join(done.stderr.decode().split())
    assert "cannot be repaired: it has lost xt=urn:btmh:1220abc…: no whole info-hash" in said
