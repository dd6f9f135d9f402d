"""What `verify.py` asks where the publisher is a team: a chain of TUF roots (section R of SPEC.md)."""

import json
import re
from datetime import datetime

from verify_json import need
from verify_keys import fingerprint, holds, is_sound, wire


def canonical(value):
    """What TUF signs: OLPC canonical JSON, without escapes but those of quote and backslash."""
    if isinstance(value, dict):
        pairs = [canonical(name) + b":" + canonical(value[name]) for name in sorted(value)]
        return b"{" + b",".join(pairs) + b"}"
    if isinstance(value, list):
        return b"[" + b",".join(map(canonical, value)) + b"]"
    if isinstance(value, str):
        return b'"' + re.sub(r'(["\\])', r"\\\1", value).encode() + b'"'
    return json.dumps(value).encode()


def members(root, role):
    """The keys of a role by their ids, and how many of them must sign."""
    signed, role = root["signed"], root["signed"]["roles"][role]
    need(signed["keys"].keys() >= set(role["keyids"]), "a role of a root names a key that is not there")
    need(role["threshold"] <= len(role["keyids"]), "a role of a root demands more keys than it has")
    keys = {keyid: bytes.fromhex(signed["keys"][keyid]["keyval"]["public"]) for keyid in role["keyids"]}
    return keys, role["threshold"]


def signatures(root):
    """The signatures on a root by the ids of their keys; one that is not in hex is none."""
    found = {entry["keyid"]: entry["sig"] for entry in root["signatures"]}
    need(len(found) == len(root["signatures"]), "a root has two signatures by one key")
    return {
        keyid: bytes.fromhex(sig) for keyid, sig in found.items() if re.fullmatch("([0-9a-fA-F]{2})+", sig)
    }


def prove(roots):
    """Refuse roots of which one does not follow from the one before (R2 to R5)."""
    before, team = None, roots[0]["signed"]["x-weightshare"]["name"]
    for version, root in enumerate(roots, start=1):
        signed = root["signed"]
        keys = [bytes.fromhex(key["keyval"]["public"]) for key in signed["keys"].values()]
        need(len(set(keys)) == len(keys) and all(map(is_sound, keys)), "a root has a weak key, or one twice")
        datetime.fromisoformat(signed["expires"])  # a day of the calendar; which one does not matter (R9)
        own, _ = members(root, "root"), members(root, "targets")
        found, message = signatures(root), canonical(signed)
        for keys, threshold in (own, before or own):
            good = [keyid for keyid in keys if holds(keys[keyid], found.get(keyid, b""), message)]
            need(len(good) >= threshold, f"root {version} is signed by too few")
        is_next = (signed["version"], signed["x-weightshare"]["name"]) == (version, team)
        need(is_next, "the roots are not 1, 2, 3… of one team")
        before = own


def identities(first, lines):
    """The team's fingerprint, and those of its own and the known keys that signed its first root (R6)."""
    message, found = canonical(first["signed"]), signatures(first).values()
    keys = {*lines, *members(first, "root")[0].values()}
    founders = [key for key in keys if any(holds(key, signature, message) for signature in found)]
    return fingerprint(message), {fingerprint(wire(key)) for key in founders}


def check_signers(roots, named, digest):
    """Refuse a release that too few of the newest root's keys signed, unless that root keeps it (R7, R8)."""
    keys, threshold = members(roots[-1], "targets")
    enough = len(named & {fingerprint(wire(key)) for key in keys.values()}) >= threshold
    kept = digest in roots[-1]["signed"]["x-weightshare"].get("releases", [])
    need(enough or kept, "too few of the team's keys signed it, or they are retired")
