"""Statements that break one rule each, in envelopes whose signature holds."""

from __future__ import annotations

from collections.abc import Iterator

from cases.builders import Json, compact, file_entry, seal, subject_of, to_bytes
from cases.case import ALICE, Case, Change, adopting, both, changed, drop, put, signed
from cases.valid import full

FILES = "predicate.files"
DIGEST = "11" * 32


def statement_cases() -> Iterator[Case]:
    """M: the statement and its predicate."""
    for name, about, change, field, *schema in MANIFEST:
        yield _case(name, about, change, "manifest", field, *schema)
    for name, about, change, field in UNSUPPORTED:
        yield _case(name, about, change, "unsupported", field, True)
    listed = to_bytes(seal(compact([full()]), ALICE))
    yield Case("M1-list", "A list of statements.", listed, ("M1",), error="manifest", field="", schema=True)
    for name, about, where, text in PLACES:
        yield _case(name, about, put(where, text), "unsafe_path", None, True)


def path_cases() -> Iterator[Case]:
    """P: paths that no release may hold; each stands in place of `config.json`, alone in its release."""
    for name, about, path, schema in PATHS:
        yield _case(name, about, _alone(path), "unsafe_path", None, schema)
    for name, about, paths in SETS:
        yield _case(name, about, _files(*paths), "unsafe_path", None, name in SETS_A_SCHEMA_REFUSES)


def _case(name: str, about: str, change: Change, error: str, field: str | None, schema: bool = True) -> Case:
    data = signed(changed(change, full()))
    return Case(name, about, data, (name.partition("-")[0],), (ALICE.line,), error, field, schema)


def _files(*paths: str) -> Change:
    def change(document: Json) -> None:
        files = [file_entry(path, b"x") for path in sorted(paths, key=str.encode)]
        document["predicate"]["files"], document["subject"] = files, subject_of(files)
        for key in ("documents", "license"):
            del document["predicate"][key]

    return change


def _alone(path: str) -> Change:
    return _files(path)


def _swap(document: Json) -> None:
    for files in (document["predicate"]["files"], document["subject"]):
        files[0], files[1] = files[1], files[0]


def _utf16_order(document: Json) -> None:
    _files("\uffee", "\U0001f701")(document)
    for files in (document["predicate"]["files"], document["subject"]):
        files.reverse()


def _overflow(document: Json) -> None:
    for entry in document["predicate"]["files"]:
        entry["size"] = 2**53 - 1 if entry["size"] else 0


def _extra_file(document: Json) -> None:
    document["predicate"]["files"].append(file_entry("z", b"z"))


def _extra_subject(document: Json) -> None:
    document["subject"] += subject_of([file_entry("z", b"z")])


def _key_twice(document: Json) -> None:
    document["predicate"]["publisher"]["keys"] *= 2


MANIFEST: list[tuple[str, str, Change, str] | tuple[str, str, Change, str, bool]] = [
    ("M6-no-type", "No `_type`.", drop("_type"), "_type"),
    ("M6-no-predicate-type", "No `predicateType`.", drop("predicateType"), "predicateType"),
    ("M6-no-predicate", "No predicate.", drop("predicate"), "predicate"),
    ("M6-predicate-text", "A predicate that is a text.", put("predicate", "x"), "predicate"),
    ("M6-no-publisher", "No publisher.", drop("predicate.publisher"), "predicate.publisher"),
    ("M6-no-model", "No model.", drop("predicate.model"), "predicate.model"),
    ("M6-no-torrent", "No torrent.", drop("predicate.torrent"), "predicate.torrent"),
    ("M6-license-null", "A license of null, which is not the same as none.", put("predicate.license", None), "predicate.license"),
    ("M6-summary-null", "A summary of null.", put("predicate.model.summary", None), "predicate.model.summary"),
    ("M8-parameters-null", "A parameter count of null.", put("predicate.weights.parameters", None), "predicate.weights.parameters"),
    ("M6-documents-null", "Documents of null.", put("predicate.documents", None), "predicate.documents"),
    ("M6-file-text", "A file that is a text.", put(f"{FILES}.0", "config.json"), "predicate.files[0]"),
    ("M6-dtypes-text", "A text in place of a list of texts.", put("predicate.weights.dtypes", "BF16"), "predicate.weights.dtypes"),
    ("M6-hybrid-number", "A 1 in place of true.", put("predicate.torrent.hybrid", 1), "predicate.torrent.hybrid"),
    ("M7-summary-too-long", "A summary of 501 characters.", put("predicate.model.summary", "x" * 501), "predicate.model.summary"),
    ("M7-summary-escape", "A summary that clears the reader's terminal.", put("predicate.model.summary", "\u001b[2J"), "predicate.model.summary"),
    ("M7-summary-line-feed", "A summary of two lines.", put("predicate.model.summary", "a\nb"), "predicate.model.summary"),
    ("M7-reason-c1", "A control character of the C1 set.", put("predicate.revokes.0.reason", "\u009b2J"), "predicate.revokes[0].reason"),
    ("M7-spdx-override", "A license whose text runs backwards.", put("predicate.license.spdx", "MIT\u202e"), "predicate.license.spdx"),
    ("M7-dtype-tag", "An invisible tag character.", put("predicate.weights.dtypes.0", "BF16\U000e0041"), "predicate.weights.dtypes[0]"),
    ("M7-kind-separator", "A line separator.", put("predicate.documents.0.kind", "model\u2028card"), "predicate.documents[0].kind"),
    ("M7-format-bom", "A byte order mark inside a text.", put("predicate.weights.format", "safe\ufefftensors"), "predicate.weights.format"),
    ("M8-size-negative", "A size of -1.", put(f"{FILES}.2.size", -1), "predicate.files[2].size"),
    ("M8-size-true", "A size of true.", put(f"{FILES}.2.size", True), "predicate.files[2].size"),
    ("M8-size-text", "A size in quotes.", put(f"{FILES}.2.size", "2"), "predicate.files[2].size"),
    ("M8-no-size", "A file without a size.", drop(f"{FILES}.2.size"), "predicate.files[2].size"),
    ("M8-parameters-negative", "Fewer parameters than none.", put("predicate.weights.parameters", -1), "predicate.weights.parameters"),
    ("M9-digest-capitals", "A digest in capitals.", put(f"{FILES}.2.sha256", "AB" * 32), "predicate.files[2].sha256"),
    ("M9-digest-short", "A digest of 63 digits.", put(f"{FILES}.2.sha256", "a" * 63), "predicate.files[2].sha256"),
    ("M9-root-base64", "A pieces root in base64.", put(f"{FILES}.2.piecesRoot", "A" * 43 + "="), "predicate.files[2].piecesRoot"),
    ("M9-no-digest", "A file without a digest.", drop(f"{FILES}.2.sha256"), "predicate.files[2].sha256"),
    ("M10-no-files", "An empty list of files.", both(put(FILES, []), put("subject", [])), "predicate.files"),
    ("M10-files-missing", "No list of files.", both(drop(FILES), put("subject", [])), "predicate.files"),
    ("M6-files-object", "Files by name instead of a list.", put(FILES, {}), "predicate.files"),
    ("M6-no-path", "A file without a path.", drop(f"{FILES}.2.path"), "predicate.files[2].path"),
    ("M11-no-root", "A file of two bytes without a pieces root.", drop(f"{FILES}.2.piecesRoot"), "predicate.files[2].piecesRoot"),
    ("M11-root-of-nothing", "An empty file with a pieces root.", put(f"{FILES}.3.piecesRoot", DIGEST), "predicate.files[3].piecesRoot"),
    ("M12-no-slash", "A media type without a slash.", put(f"{FILES}.2.mediaType", "json"), "predicate.files[2].mediaType"),
    ("M12-parameter", "A media type with a parameter.", put(f"{FILES}.2.mediaType", "text/plain; charset=utf-8"), "predicate.files[2].mediaType"),
    ("M12-kelvin-sign", "A letter that is a k only when case is ignored.", put(f"{FILES}.2.mediaType", "text/\u212aelvin"), "predicate.files[2].mediaType"),
    ("M13-unsorted", "Two files in the wrong order.", _swap, "predicate.files", False),
    ("M13-utf-16-order", "Files in the order of UTF-16, not of UTF-8.", _utf16_order, "predicate.files", False),
    ("M14-sizes-overflow", "Sizes that add up past 2^53-1.", _overflow, "predicate.files", False),
    ("M15-no-subject", "No subject.", drop("subject"), "subject"),
    ("M15-file-not-in-subject", "A file that the subject lacks.", _extra_file, "subject", False),
    ("M15-subject-not-in-files", "A subject that the files lack.", _extra_subject, "subject", False),
    ("M15-other-name", "A subject of another name.", put("subject.2.name", "other.json"), "subject[2]", False),
    ("M15-other-digest", "A subject with another digest.", put("subject.2.digest.sha256", DIGEST), "subject[2]", False),
    ("M15-no-sha256", "A subject with another kind of digest.", put("subject.2.digest", {"sha512": "00" * 64}), "subject[2].digest.sha256"),
    ("M16-space", "A publisher's name with a space.", put("predicate.publisher.name", "ac me"), "predicate.publisher.name"),
    ("M16-look-alike", "A Cyrillic letter in the publisher's name.", put("predicate.publisher.name", "\u0430cme"), "predicate.publisher.name"),
    ("M16-dot-at-the-end", "A publisher's name that ends in a dot.", put("predicate.publisher.name", "acme."), "predicate.publisher.name"),
    ("M16-97-characters", "A publisher's name of 97 characters.", put("predicate.publisher.name", "a" * 97), "predicate.publisher.name"),
    ("M17-no-keys", "No key at all.", put("predicate.publisher.keys", []), "predicate.publisher.keys"),
    ("M17-key-twice", "A key named twice.", _key_twice, "predicate.publisher.keys"),
    ("M17-65-keys", "65 keys.", put("predicate.publisher.keys", [ALICE.fingerprint, *(f"SHA256:{n:042}A" for n in range(64))]), "predicate.publisher.keys"),
    ("M17-hex-fingerprint", "A fingerprint in hex.", put("predicate.publisher.keys.1", DIGEST), "predicate.publisher.keys"),
    ("M17-padded", "A fingerprint with base64's padding.", put("predicate.publisher.keys.1", "SHA256:" + "A" * 43 + "="), "predicate.publisher.keys"),
    ("M17-stray-bits", "A fingerprint with stray bits at its end.", put("predicate.publisher.keys.1", "SHA256:" + "A" * 42 + "B"), "predicate.publisher.keys"),
    ("M18-version-zero", "A root version of 0.", put("predicate.publisher.rootVersion", 0), "predicate.publisher.rootVersion"),
    ("M18-version-null", "A root version of null.", put("predicate.publisher.rootVersion", None), "predicate.publisher.rootVersion"),
    ("M19-no-slash", "A model id without its publisher.", put("predicate.model.id", "m7b"), "predicate.model.id"),
    ("M19-two-slashes", "A model id of three parts.", put("predicate.model.id", "acme/m/7b"), "predicate.model.id"),
    ("M19-upwards", "A model id that leads upwards.", put("predicate.model.id", "../m7b"), "predicate.model.id"),
    ("M20-space", "A version with a space.", put("predicate.model.version", "1 0"), "predicate.model.version"),
    ("M20-101-characters", "A version of 101 characters.", put("predicate.model.version", "1" * 101), "predicate.model.version"),
    ("M8-no-sequence", "A model without a sequence.", drop("predicate.model.sequence"), "predicate.model.sequence"),
    ("M8-sequence-negative", "A sequence of -1.", put("predicate.model.sequence", -1), "predicate.model.sequence"),
    ("M21-offset", "A time with an offset.", put("predicate.model.released", "2026-11-22T10:00:00+00:00"), "predicate.model.released"),
    ("M21-fraction", "A time with a fraction.", put("predicate.model.released", "2026-11-22T10:00:00.0Z"), "predicate.model.released"),
    ("M21-small-letters", "A time in small letters.", put("predicate.model.released", "2026-11-22t10:00:00z"), "predicate.model.released"),
    ("M21-30-february", "A day that no calendar has.", put("predicate.model.released", "2026-02-30T10:00:00Z"), "predicate.model.released", False),
    ("M21-24-hours", "24:00:00, on which parsers differ.", put("predicate.model.released", "2026-11-22T24:00:00Z"), "predicate.model.released"),
    ("M21-leap-second", "A leap second, on which they differ too.", put("predicate.model.released", "2016-12-31T23:59:60Z"), "predicate.model.released"),
    ("M21-year-zero", "The year 0.", put("predicate.model.released", "0000-01-01T00:00:00Z"), "predicate.model.released"),
    ("M23-not-a-power", "A piece length of 48 KiB.", put("predicate.torrent.pieceLength", 49_152), "predicate.torrent.pieceLength"),
    ("M23-8-kib", "A piece length of 8 KiB.", put("predicate.torrent.pieceLength", 8_192), "predicate.torrent.pieceLength"),
    ("M23-256-mib", "A piece length of 256 MiB.", put("predicate.torrent.pieceLength", 2**28), "predicate.torrent.pieceLength"),
    ("M23-zero", "A piece length of 0.", put("predicate.torrent.pieceLength", 0), "predicate.torrent.pieceLength"),
    ("M24-file-not-listed", "A license in a file that the release lacks.", put("predicate.license.file", "COPYING"), "predicate.license.file", False),
    ("M6-no-spdx", "A license without an expression.", drop("predicate.license.spdx"), "predicate.license.spdx"),
    ("M25-three-parts", "A Hub repository of three parts.", put("predicate.source.hub", "acme/m/7b"), "predicate.source.hub"),
    ("M25-branch", "A branch in place of a commit.", put("predicate.source.revision", "main"), "predicate.source.revision"),
    ("M25-commit-capitals", "A commit in capitals.", put("predicate.source.revision", "AB" * 20), "predicate.source.revision"),
    ("M6-no-format", "Weights of no format.", drop("predicate.weights.format"), "predicate.weights.format"),
    ("M26-not-a-file", "A document that is not among the files.", put("predicate.documents.0.path", "CARD.md"), "predicate.documents", False),
    ("M26-other-digest", "A document with another digest than the file.", put("predicate.documents.0.sha256", DIGEST), "predicate.documents", False),
    ("M9-supersedes-short", "A superseded digest of 2 digits.", put("predicate.supersedes.0", "11"), "predicate.supersedes"),
    ("M6-revokes-text", "A revocation that is a digest alone.", put("predicate.revokes.0", DIGEST), "predicate.revokes[0]"),
    ("M6-no-reason", "A revocation without a reason.", drop("predicate.revokes.0.reason"), "predicate.revokes[0].reason"),
    ("M6-ext-list", "Extensions as a list.", put("predicate.ext", []), "predicate.ext"),
    ("M27-escape-in-value", "A control character deep inside an extension.", put("predicate.ext.acme.tags.0", "\u001b"), "predicate.ext"),
    ("M27-escape-in-key", "And in the name of one.", put("predicate.ext.\u001b", 1), "predicate.ext"),
    ("M28-10001-dtypes", "10,001 entries in a list.", put("predicate.weights.dtypes", [""] * 10_001), "predicate.weights.dtypes"),
    ("M29-adopts-unsaid", "An adopted torrent that an older verifier would overlook.", put("predicate.torrent.adopts", {"infoHashV1": "ab" * 20}), "predicate.torrent.adopts"),
    ("M29-adopts-nothing", "A manifest that is said to adopt a torrent, and names none.", put("predicate.critical", ["torrent.adopts"]), "predicate.torrent.adopts"),
    ("M30-adopts-v2", "An adopted torrent by a v2 info-hash.", adopting("ab" * 32), "predicate.torrent.adopts.infoHashV1"),
    ("M30-adopts-capitals", "An info-hash in capitals.", adopting("AB" * 20), "predicate.torrent.adopts.infoHashV1"),
    ("M30-adopts-hybrid", "An adopted torrent with a v2 half.", adopting("ab" * 20, hybrid=True), "predicate.torrent.hybrid"),
    ("M6-critical-text", "One critical extension that is not in a list.", put("predicate.critical", "shards"), "predicate.critical"),
    ("M6-critical-number", "A critical extension that is a number.", put("predicate.critical", [1]), "predicate.critical[0]"),
]  # fmt: skip

UNSUPPORTED: list[tuple[str, str, Change, str]] = [
    ("M2-statement-v0.1", "An older kind of statement.", put("_type", "https://in-toto.io/Statement/v0.1"), "_type"),
    ("M3-later-version", "A release of version 2.", put("predicateType", "urn:weightshare:release:v2"), "predicateType"),
    ("M3-countersignature", "A verifier's summary, signed by the same key.", put("predicateType", "https://in-toto.io/attestation/svr/v0.1"), "predicateType"),
    ("M3-model-signing", "A statement of another signing tool.", put("predicateType", "https://model_signing/signature/v1.0"), "predicateType"),
    ("M4-unknown-critical", "An extension that must be understood.", put("predicate.critical", ["shards"]), "predicate.critical"),
    ("M4-unknown-beside", "And one beside another that is known.", both(adopting("ab" * 20), put("predicate.critical.0", "shards")), "predicate.critical"),
]  # fmt: skip

PLACES = [
    ("M19-device", "A model named like a Windows device.", "predicate.model.id", "acme/con"),
    ("M20-slash", "A version with a slash.", "predicate.model.version", "1/0"),
    ("M20-upwards", "A version of two dots.", "predicate.model.version", ".."),
    ("M20-empty", "An empty version.", "predicate.model.version", ""),
    ("M22-upwards", "A torrent's name that leads upwards.", "predicate.torrent.name", ".."),
    ("M22-slash", "A torrent's name of two parts.", "predicate.torrent.name", "m7b/x"),
    ("M22-empty", "An empty torrent's name.", "predicate.torrent.name", ""),
    ("M22-device", "A torrent named like a Windows device.", "predicate.torrent.name", "nul.7b"),
]

LONG = "/".join(["x" * 255] * 3) + "/" + "x" * 248 + "/"

PATHS = [
    ("P1-empty", "An empty path.", "", True),
    ("P1-1025-bytes", "A path of 1,025 bytes.", "/".join(["x" * 255] * 4) + "/y", True),
    ("P1-1025-bytes-of-utf-8", "A path of 1,025 bytes and fewer characters.", "/".join(["é" * 127] * 4) + "/7654321", False),
    ("P2-absolute", "An absolute path.", "/etc/passwd", True),
    ("P2-empty-part", "Two slashes.", "a//b", True),
    ("P2-slash-at-the-end", "A slash at the end.", "a/", True),
    ("P3-17-parts", "17 parts.", "/".join("abcdefghijklmnopq"), True),
    ("P4-256-characters", "A part of 256 characters.", "a/" + "x" * 256, True),
    ("P4-256-bytes", "A part of 256 bytes and 128 characters.", "é" * 128, False),
    ("P5-upwards", "A path that leads upwards.", "../config.json", True),
    ("P5-upwards-inside", "One that does so in the middle.", "a/../../b", True),
    ("P5-here", "A part of one dot.", "a/./b", True),
    ("P6-nul", "A NUL.", "a\0b", True),
    ("P6-escape", "An escape sequence.", "a\u001b[2J", True),
    ("P6-delete", "A DEL.", "a\u007f", True),
    ("P6-override", "A name that runs backwards: it looks like txt.exe.", "exe.\u202etxt", True),
    ("P6-bom", "A byte order mark inside a name.", "a\ufeffb", True),
    ("P7-backslash", "A backslash, which separates parts on Windows.", "..\\config.json", True),
    ("P7-drive", "A drive.", "C:config.json", True),
    ("P7-star", "A star.", "a*", True),
    ("P7-question-mark", "A question mark.", "a?", True),
    ("P7-quote", "A quotation mark.", 'a"', True),
    ("P7-less", "An angle bracket.", "a<b", True),
    ("P7-pipe", "A pipe.", "a|b", True),
    ("P8-dot-at-the-end", "A dot at the end, which Windows drops.", "config.json.", True),
    ("P8-space-at-the-end", "A space at the end of a folder.", "a /b", True),
    ("P9-nfd", "An e and an accent where one character does.", "cafe\u0301", False),
    ("P9-singleton", "The Ohm sign, which NFC writes as an Omega.", "\u2126", False),
    ("P10-con", "A Windows device.", "CON", True),
    ("P10-small-letters", "In small letters, with a suffix, in a folder.", "a/nul.txt", True),
    ("P10-superscript", "A superscript digit.", "COM\u00b9", True),
    ("P10-conin", "The console's input.", "conin$.x", True),
    ("P10-space-before-the-dot", "A space before the suffix, which Windows drops.", "aux .h", True),
    ("P10-folder", "A device as a folder.", "lpt0/x", True),
    ("P13-manifest", "The manifest's own name.", "weightshare.json", True),
    ("P13-manifest-in-capitals", "The same in other letters.", "WeightShare.JSON", True),
]  # fmt: skip

SETS_A_SCHEMA_REFUSES = {
    "P1-longer-in-a-known-folder",
    "P2-absolute-among-others",
    "P5-upwards-in-a-known-folder",
    "P10-device-in-a-known-folder",
    "P13-folder-named-so",
}
SETS = [
    (
        "P1-longer-in-a-known-folder",
        "A path of 1,025 bytes in a folder that an earlier path stands in.",
        (LONG + "a", LONG + "b" * 10),
    ),
    ("P2-absolute-among-others", "An absolute path behind one that is not.", ("!", "/etc")),
    (
        "P4-256-bytes-in-a-known-folder",
        "A part of 256 bytes behind a sound one.",
        ("a/a", "a/" + "\u00e9" * 128),
    ),
    ("P5-upwards-in-a-known-folder", "A path that leads upwards, behind one that does not.", ("a/!", "a/..")),
    ("P10-device-in-a-known-folder", "A Windows device behind a sound name.", ("a/a", "a/nul")),
    ("P11-twice", "The same path twice.", ("a", "a")),
    ("P11-case-twins", "Two names that differ in case.", ("README.md", "readme.md")),
    ("P11-sharp-s", "Two names that full case folding makes one.", ("STRASSE", "stra\u00dfe")),
    ("P11-sigma", "Two names that differ in a final sigma.", ("\u03c3", "\u03c2")),
    ("P12-file-and-folder", "A file that is the folder of another.", ("a", "a/b")),
    ("P12-file-and-folder-case", "The same, when case is ignored.", ("A", "a/b")),
    ("P12-two-spellings-of-a-folder", "A folder in two spellings.", ("Sub/a", "sub/b")),
    ("P13-folder-named-so", "A folder with the manifest's name.", ("weightshare.json/x",)),
]
