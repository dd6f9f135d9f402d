"""A verifier of `weightshare.json` short enough to be read: what the JSON Schemas can say, it leaves to them.

    python verify.py ENVELOPE --key 'ssh-ed25519 AAAA…' [--key SHA256:…] [--post-quantum SHA256:…]

It says accepted or refused; `verify_by_rule.py` says by which rule of SPEC.md. Needs `cryptography` alone.
"""

import argparse
import base64
import hashlib
import re
import sys
import unicodedata
from datetime import datetime
from pathlib import Path

import verify_team
from verify_json import MOST, need, read
from verify_keys import fingerprint, holds, read_key, second_holds, wire


def verify(data, known, post_quantum=""):
    """The statement in an envelope, if it is by whom we know; ValueError with the reason if not.

    `known` are public keys in one line, or fingerprints alone, all of one publisher; `post_quantum` is the
    fingerprint of the ML-DSA-44 key by which they are known too, if they are.
    """
    envelope = read(data, "envelope")
    payload = base64.b64decode(envelope["payload"])
    message = b"DSSEv1 28 application/vnd.in-toto+json %d %s" % (len(payload), payload)
    lines = [read_key(line) for line in known if not line.startswith("SHA256:")]
    trusted = {*known, *(fingerprint(wire(key)) for key in lines)}
    signers, seconds = set(), set()
    for entry in envelope["signatures"]:
        line, signature = entry.get("publicKey", ""), base64.b64decode(entry["sig"])
        keys = [key for key in (read_key(line), *lines) if holds(key, signature, message)]
        signers.update(fingerprint(wire(key)) for key in keys)
        second = read_key(line, "ml-dsa-44")
        if second_holds(second, signature, message):
            seconds.add(fingerprint(wire(second, "ml-dsa-44")))
    need(signers, "no signature holds")
    top = read(payload, "statement")
    check_statement(top)
    publisher = top["predicate"]["publisher"]
    named = signers & set(publisher["keys"])
    if "rootVersion" in publisher:
        roots = [read(base64.b64decode(root), "root") for root in envelope.get("roots", [])]
        need(len(roots) >= publisher["rootVersion"], "a root of the team is missing")
        verify_team.prove(roots)
        verify_team.check_signers(roots, named, hashlib.sha256(payload).hexdigest())
        identity, founders = verify_team.identities(roots[0], lines)
        need(identity in trusted or (founders & trusted and not post_quantum), "the team is not known")
    else:
        need(named & trusted, "no known key signed it that it names")
        both = not post_quantum or post_quantum in seconds & set(publisher["keys"])
        need(both, "the ML-DSA-44 key did not sign it, or it does not name that")
    return top


def check_statement(top):
    """Refuse what no schema can: it counts bytes, or holds one part against another."""
    predicate = top["predicate"]
    files = predicate["files"]
    paths = [file["path"] for file in files]
    for path in (*paths, predicate["model"]["version"], predicate["torrent"]["name"]):
        need(len(path.encode()) <= 1024, "a path is too long")
        need(all(len(part.encode()) <= 255 for part in path.split("/")), "a part of a path is too long")
        need(unicodedata.is_normalized("NFC", path), "a path is not in NFC")
    need(paths == sorted(paths, key=str.encode), "the files are not sorted")
    need(sum(file["size"] for file in files) < 2**53, "the sizes add up to too much")
    folders = set()
    for path in paths:
        folders.update(path[: slash.start()] for slash in re.finditer("/", path))
    folded = {fold(path) for path in (*paths, *folders)}
    need(len(folded) == len(paths) + len(folders), "two paths are one where letter case does not count")
    datetime.fromisoformat(predicate["model"]["released"])  # ValueError for a day that never was
    digests = {file["path"]: file["sha256"] for file in files}
    subject = [(entry["name"], entry["digest"]["sha256"]) for entry in top["subject"]]
    need(subject == list(digests.items()), "the subject is not the files")
    need(predicate.get("license", {}).get("file", paths[0]) in digests, "the license is no file")
    for document in predicate.get("documents", []):
        need(digests.get(document["path"]) == document["sha256"], "a document is no file, or another one")


def fold(path):
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def a_key(text):
    if not read_key(text) and not re.fullmatch("SHA256:[A-Za-z0-9+/]{43}", text):
        raise argparse.ArgumentTypeError("neither a fingerprint nor an Ed25519 key")
    return text


def main():
    parser = argparse.ArgumentParser(description="Say whether a weightshare.json is by whom you know.")
    parser.add_argument("envelope", type=Path, help="the file")
    parser.add_argument(
        "--key", type=a_key, action="append", required=True, help="public key or fingerprint; may come again"
    )
    parser.add_argument(
        "--post-quantum", type=a_key, help="fingerprint of the ML-DSA-44 key, if they have one"
    )
    asked = parser.parse_args()
    sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with asked.envelope.open("rb") as file:
            model = verify(file.read(MOST + 1), asked.key, asked.post_quantum)["predicate"]["model"]
    except OSError as error:
        parser.error(f"{asked.envelope}: {error.strerror}")
    except ValueError as reason:
        sys.exit(f"refused: {reason}")
    print(f"ok: {model['id']}@{model['version']}")


if __name__ == "__main__":
    main()
