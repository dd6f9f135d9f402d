from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightshare.errors import UnsafePathError
from weightshare.manifest import kinds
from weightshare.manifest.paths import check_part, check_path, check_paths
from weightshare.manifest.text import escape, quoted, unsafe_character

GOOD = [
    "model.safetensors",
    "a/b/c.json",
    "模型/é.bin",
    ".gitattributes",
    "a b",
    "console.log",
    "COM10",
    "auxiliary/x",
    "a..b",
    "x" * 255,
    "/".join(["d"] * 16),
]

BAD = {
    "": "empty",
    "/etc/passwd": "absolute",
    "../up": "`..`",
    "a/../b": "`..`",
    "a/./b": "`.`",
    "..": "`..`",
    "a//b": "part is empty",
    "a/": "part is empty",
    "a\\b": "`\\`",
    "C:/x": "`:`",
    "a*": "`*`",
    "a?": "`?`",
    'a"': '`"`',
    "a<b": "`<`",
    "a>b": "`>`",
    "a|b": "`|`",
    "a\x00b": "U+0000",
    "a\nb": "U+000A",
    "a\x1b[2Jb": "U+001B",
    "a\x7f": "U+007F",
    "a\x9b": "U+009B",
    "gpj.\u202eexe": "U+202E",
    "a\u2028b": "U+2028",
    "a\ud800b": "U+D800",
    "a.": "dot or a space",
    "a /b": "dot or a space",
    "CON": "device",
    "con.txt": "device",
    "a/nul": "device",
    "AUX.tar.gz": "device",
    "com1": "device",
    "lpt9.x": "device",
    "COM¹": "device",
    "conin$": "device",
    "nul .txt": "device",
    "e\u0301.bin": "NFC",
    "x" * 256: "255 bytes",
    "é" * 128: "255 bytes",
    "/".join(["x" * 200] * 6): "1024 bytes",
    "/".join(["d"] * 17): "16 at most",
}


@pytest.mark.parametrize("path", GOOD)
def test_good_paths_pass(path: str) -> None:
    check_path(path)


@pytest.mark.parametrize(("path", "reason"), BAD.items(), ids=range(len(BAD)))
def test_bad_paths_are_refused_with_their_reason(path: str, reason: str) -> None:
    with pytest.raises(UnsafePathError) as caught:
        check_path(path)
    assert reason in str(caught.value.facts["reason"])
    assert caught.value.facts["path"] == path
    assert caught.value.exit_code == 4
    assert unsafe_character(caught.value.message) is None


@pytest.mark.parametrize(
    "paths",
    [
        ["a", "a"],
        ["Model.bin", "model.bin"],
        ["Straße", "STRASSE"],
        ["ﬁle", "FILE"],
        ["a", "a/b"],
        ["a/b/c", "a/b"],
        ["a/b/c", "A"],
        ["Sub/a", "sub/b"],
        ["x/Sub/a", "x/y", "x/sub/b"],
    ],
)
def test_paths_that_collide_somewhere_are_refused(paths: list[str]) -> None:
    for order in (paths, paths[::-1]):
        with pytest.raises(UnsafePathError):
            check_paths(order)


def test_paths_that_do_not_collide_pass() -> None:
    check_paths(["a/b/c", "a/b/d", "a/e/f", "ab", "b/a"])


PIECES = st.sampled_from(
    [
        "a",
        "b",
        "A",
        ".",
        "..",
        "",
        "é",
        "e\u0301",
        "nul",
        "NUL.x",
        "a.",
        "a ",
        "x" * 255,
        "x" * 256,
        "ß",
        "ss",
        "\x1b",
        ":",
    ]
)
TREES = st.lists(st.lists(PIECES, min_size=1, max_size=5).map("/".join), max_size=6)


@given(TREES)
def test_a_path_is_refused_wherever_it_stands(paths: list[str]) -> None:
    for path in paths:
        try:
            check_path(path)
        except UnsafePathError:
            with pytest.raises(UnsafePathError):
                check_paths(paths)


@given(TREES)
def test_the_order_of_paths_does_not_matter(paths: list[str]) -> None:
    def refused(order: list[str]) -> bool:
        try:
            check_paths(order)
        except UnsafePathError:
            return True
        return False

    assert refused(paths) == refused(paths[::-1])


def test_an_absolute_path_is_refused_behind_one_that_is_not() -> None:
    with pytest.raises(UnsafePathError, match="absolute"):
        check_paths(["x", "/y"])


def test_a_part_holds_no_slash() -> None:
    check_part("m7b")
    with pytest.raises(UnsafePathError):
        check_part("a/b")


def test_escape_leaves_nothing_a_terminal_obeys() -> None:
    hostile = "m\x1b[2J\u202etxt\x9b\U000e0041\nend"
    assert escape(hostile) == "m\\x1b[2J\\u202etxt\\x9b\\U000e0041\\nend"
    assert quoted("a\x07") == "'a\\x07'"
    assert len(quoted("x" * 5000)) < 200


@pytest.mark.parametrize("text", ["日本語\u3000モデル", "👩\u200d💻", "ক্\u200cষ", "naïve"])
def test_ordinary_text_of_any_language_is_safe(text: str) -> None:
    assert unsafe_character(text) is None


@pytest.mark.parametrize(
    ("path", "pickle", "code", "media"),
    [
        ("pytorch_model.bin", True, False, "application/x-pickle"),
        ("sub/a.PT", True, False, "application/x-pickle"),
        ("training_args.pkl", True, False, "application/x-pickle"),
        ("modeling.py", False, True, "text/x-python"),
        ("model.safetensors", False, False, "application/x-safetensors"),
        ("pytorch_model.bin.index.json", False, False, "application/json"),
        ("LICENSE", False, False, "text/plain"),
        ("bin", False, False, "application/octet-stream"),
    ],
)
def test_kinds_by_name(path: str, pickle: bool, code: bool, media: str) -> None:
    assert (kinds.is_pickle(path), kinds.is_code(path), kinds.media_type(path)) == (pickle, code, media)
