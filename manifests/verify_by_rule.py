"""A second verifier of `weightshare.json`, written from SPEC.md alone; it needs `cryptography` and nothing else.

    python verify_by_rule.py ENVELOPE --key 'ssh-ed25519 AAAA…' [--key SHA256:…] [--post-quantum SHA256:…]

It is long because it says by which rule of SPEC.md it refuses, as whoever writes a verifier wants to know;
`verify.py` says no more than accepted or refused, and is the one to read first. What both cannot see is the
torrent: rules G and X are the client's.
"""

import argparse
import base64
import hashlib
import json
import re
import sys
import unicodedata
from datetime import datetime

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed25519, mldsa

P = 2**255 - 19
Y8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
SMALL = {0, 1, P - 1, Y8, P - Y8}
NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_-])?"
HUB = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,95}"
HALF_A_TYPE = r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}"
FINGERPRINT = r"SHA256:[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]"
TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?!24)[0-9]{2}:[0-9]{2}:[0-9]{2}Z"
DEVICE = r"(?i:CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|CLOCK\$|(?:COM|LPT)[0-9¹²³]) *(?:\..*)?"
UNSAFE = re.compile(
    "[\0-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)


class Refused(Exception):
    """The rule of SPEC.md that the document breaks."""

    def __init__(self, rule):
        super().__init__(rule)
        self.rule = rule


def need(holds, rule):
    if not holds:
        raise Refused(rule)


# ---- J: JSON


def load(data, limit=16 * 2**20):
    need(len(data) <= limit, "J1")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused("J2") from None
    need(not text.startswith("\ufeff"), "J2")
    outside, strings = re.subn(r'"[^"\\]*(?:\\.[^"\\]*)*"', "", text, flags=re.DOTALL)
    marks, depth = re.findall(r"[][{},]", outside), 0
    need(strings + len(marks) <= 1_000_000, "J5")
    for mark in marks:
        depth += (mark in "[{") - (mark in "]}")
        need(depth <= 32, "J4")

    def pairs(items):
        need(len(dict(items)) == len(items), "J6")
        return dict(items)

    def integer(digits):
        need(len(digits) < 18 and abs(int(digits)) < 2**53, "J7")
        return int(digits)

    def refuse(rule):
        return lambda _: need(False, rule)

    hooks = {"parse_int": integer, "parse_float": refuse("J7"), "parse_constant": refuse("J3")}
    try:
        value = json.loads(text, object_pairs_hook=pairs, **hooks)
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise Refused("J8") from None
    except ValueError:
        raise Refused("J3") from None
    return value


# ---- E and S: the envelope and its signatures


def unbase64(text, rule, limit=16 * 2**20):
    try:
        data = base64.b64decode(text if isinstance(text, str) else "*", validate=True)
    except ValueError:
        raise Refused(rule) from None
    need(base64.b64encode(data).decode() == text and len(data) <= limit, rule)
    return data


def wire(kind, raw):
    return b"".join(len(part).to_bytes(4, "big") + part for part in (kind.encode(), raw))


def fingerprint(blob):
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def ed25519_holds(raw, signature, message):
    y = int.from_bytes(raw, "little") % 2**255
    if len(signature) != 64 or y >= P or y in SMALL:
        return False
    return holds(lambda: ed25519.Ed25519PublicKey.from_public_bytes(raw).verify(signature, message))


def holds(verify):
    try:
        verify()
    except (InvalidSignature, ValueError):
        return False
    return True


def signer(line, signature, message):
    """The fingerprint of the key in this line if the signature over the message is by it, else None (S3 to S6)."""
    kind, _, rest = line.strip().partition(" ")
    encoded, _, comment = rest.strip().partition(" ")
    try:
        blob = unbase64(encoded, "S4")
    except Refused:
        return None
    raw = blob[8 + len(kind) :]
    if kind == "ssh-ed25519" and len(raw) == 32 and not UNSAFE.search(comment.strip()):
        good = ed25519_holds(raw, signature, message)
    elif kind == "ml-dsa-44" and len(raw) == 1312 and len(line) <= 4096 and line.startswith(kind):
        good = holds(lambda: mldsa.MLDSA44PublicKey.from_public_bytes(raw).verify(signature, message))
    else:
        return None
    return fingerprint(blob) if good and blob == wire(kind, raw) else None


# ---- R: teams


def canonical(value):
    """OLPC canonical JSON, which TUF signs: no escapes but those of quote and backslash."""
    if isinstance(value, dict):
        return b"{" + b",".join(canonical(k) + b":" + canonical(value[k]) for k in sorted(value)) + b"}"
    if isinstance(value, list):
        return b"[" + b",".join(map(canonical, value)) + b"]"
    if isinstance(value, str):
        return b'"' + re.sub(r'(["\\])', r"\\\1", value).encode() + b'"'
    return json.dumps(value).encode()


def unhex(text):
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""


def read_root(raw):
    """The signed part, the payloads it keeps, the quorums of `root` and `targets`, the signatures by key id (R2)."""
    try:
        root = load(raw, 512_000)
        signed, ours = root["signed"], root["signed"]["x-weightshare"]
        need(signed["_type"] == "root" and type(signed["version"]) is int, "R2")
        need(re.match(r"1\.", signed["spec_version"]), "R2")
        datetime.strptime(signed["expires"], "%Y-%m-%dT%H:%M:%SZ")
        need(signed["roles"].keys() == {"root", "targets", "snapshot", "timestamp"}, "R2")
        need(re.fullmatch(NAME, ours["name"]), "R2")
        kept = {digest(item) for item in each(ours, "releases", str)}
        keys = {}
        for keyid, key in signed["keys"].items():
            need((key["keytype"], key["scheme"]) == ("ed25519", "ed25519"), "R2")
            keys[keyid] = bytes.fromhex(digest(key["keyval"]["public"]))
        need(len(set(keys.values())) == len(keys) <= 128, "R2")
        quorums = []
        for role in (signed["roles"]["root"], signed["roles"]["targets"]):
            members = {keys[keyid]: keyid for keyid in role["keyids"]}
            need(len(members) == len(role["keyids"]), "R2")
            need(type(role["threshold"]) is int and 1 <= role["threshold"] <= min(64, len(members)), "R2")
            quorums.append((members, role["threshold"]))
        signatures = {entry["keyid"]: unhex(entry["sig"]) for entry in root["signatures"]}
        need(len(signatures) == len(root["signatures"]), "R2")
    except (Refused, KeyError, TypeError, ValueError, AttributeError):
        raise Refused("R2") from None
    return signed, kept, quorums, signatures


def team(roots, known):
    """The team's identity, who of the known signed its first root, and each root's word on releases (R3 to R6)."""
    chain, name, by_previous = [], None, None
    for raw in roots:
        signed, kept, (own, releases), signatures = read_root(raw)
        message = canonical(signed)
        need(signed["version"] == len(chain) + 1, "R3")
        for members, threshold in (own, by_previous or own):
            sound = [
                key
                for key, keyid in members.items()
                if ed25519_holds(key, signatures.get(keyid, b""), message)
            ]
            need(len(sound) >= threshold, "R4")
        need(name in (None, signed["x-weightshare"]["name"]), "R5")
        if not chain:
            identity, name = fingerprint(message), signed["x-weightshare"]["name"]
            founders = {fingerprint(wire("ssh-ed25519", key)) for key in sound} & set(known)
            founders |= {signer(line, each, message) for line in known for each in signatures.values()} - {
                None
            }
        by_previous = own
        chain.append((kept, {fingerprint(wire("ssh-ed25519", key)) for key in releases[0]}, releases[1]))
    return identity, founders, chain


# ---- M and P: the statement and its paths


def text(value, limit=500):
    need(isinstance(value, str), "M6")
    need(len(value) <= limit and not UNSAFE.search(value), "M7")
    return value


def matching(pattern, value, rule):
    need(re.fullmatch(pattern, text(value)), rule)
    return value


def number(value):
    need(type(value) is int and 0 <= value < 2**53, "M8")
    return value


def digest(value, rule="M9"):
    need(isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value), rule)
    return value


def child(parent, key):
    need(isinstance(parent.get(key), dict), "M6")
    return parent[key]


def each(parent, key, kind, rule="M28"):
    value = parent.get(key, [])
    need(isinstance(value, list) and all(isinstance(item, kind) for item in value), "M6")
    need(len(value) <= 10_000, rule)
    return value


def path(value, rule=None):
    need(isinstance(value, str), "M6")
    need(0 < len(value.encode()) <= 1024, rule or "P1")
    parts = value.split("/")
    need(all(parts), rule or "P2")
    need(len(parts) <= 16, rule or "P3")
    for part in parts:
        need(len(part.encode()) <= 255, rule or "P4")
        need(part not in (".", ".."), rule or "P5")
        need(not UNSAFE.search(part), rule or "P6")
        need(not re.search(r'[\\:*?"<>|]', part), rule or "P7")
        need(part[-1] not in ". ", rule or "P8")
        need(unicodedata.normalize("NFC", part) == part, rule or "P9")
        need(not re.fullmatch(DEVICE, part), rule or "P10")


def fold(value):
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", value).casefold())


def distinct(paths):
    files, folders = set(), {}
    for value in paths:
        need(fold(value.split("/")[0]) != "weightshare.json", "P13")
        need(fold(value) not in files, "P11")
        files.add(fold(value))
        for at in (index for index, character in enumerate(value) if character == "/"):
            need(folders.setdefault(fold(value[:at]), value[:at]) == value[:at], "P12")
    need(not files & folders.keys(), "P12")


def check_files(files, subject):
    need(files, "M10")
    for entry in files:
        size = number(entry.get("size"))
        need((size > 0) == ("piecesRoot" in entry), "M11")
        digest(entry["piecesRoot"] if size else "0" * 64)
        digest(entry.get("sha256"))
        matching(f"{HALF_A_TYPE}/{HALF_A_TYPE}", entry.get("mediaType", "a/b"), "M12")
        path(entry.get("path"))
    paths = [entry["path"] for entry in files]
    distinct(paths)
    need(paths == sorted(paths, key=str.encode), "M13")
    need(sum(entry["size"] for entry in files) < 2**53, "M14")
    named = [(entry.get("name"), child(entry, "digest").get("sha256")) for entry in subject]
    need(named == [(entry["path"], entry["sha256"]) for entry in files], "M15")


def statement(payload):
    """The statement in a payload whose signature holds."""
    top = load(payload)
    need(isinstance(top, dict), "M1")
    matching("https://in-toto\\.io/Statement/v1", top.get("_type"), "M2")
    matching("urn:weightshare:release:v1", top.get("predicateType"), "M3")
    predicate = child(top, "predicate")
    critical = {text(name) for name in each(predicate, "critical", str)}
    need(critical <= {"torrent.adopts"}, "M4")
    files = each(predicate, "files", dict, "M10")
    check_files(files, each(top, "subject", dict, "M15"))

    publisher = child(predicate, "publisher")
    matching(NAME, publisher.get("name"), "M16")
    keys = [matching(FINGERPRINT, key, "M17") for key in each(publisher, "keys", str)]
    need(0 < len(set(keys)) == len(keys) <= 64, "M17")
    if "rootVersion" in publisher:
        need(type(publisher["rootVersion"]) is int and 0 < publisher["rootVersion"] < 2**53, "M18")

    model = child(predicate, "model")
    path(matching(f"{NAME}/{NAME}", model.get("id"), "M19"), "M19")
    path(matching("[^ /]{0,100}", model.get("version"), "M20"), "M20")
    number(model.get("sequence"))
    released = matching(TIME, model.get("released"), "M21")
    need(holds(lambda: datetime.fromisoformat(released)), "M21")
    text(model.get("summary", ""))

    torrent = child(predicate, "torrent")
    path(torrent.get("name"), "M22")
    need("/" not in torrent["name"], "M22")
    need(number(torrent.get("pieceLength")) in [2**power for power in range(14, 28)], "M23")
    need(isinstance(torrent.get("hybrid"), bool), "M6")
    need(("adopts" in torrent) == bool(critical), "M29")
    if critical:
        matching("[0-9a-f]{40}", child(torrent, "adopts").get("infoHashV1"), "M30")
        need(not torrent["hybrid"], "M30")

    digests = {entry["path"]: entry["sha256"] for entry in files}
    if "license" in predicate:
        text(child(predicate, "license").get("spdx"))
        file = predicate["license"].get("file", files[0]["path"])
        need(isinstance(file, str), "M6")
        need(file in digests, "M24")
    if "source" in predicate:
        matching(f"{HUB}(?:/{HUB})?", child(predicate, "source").get("hub"), "M25")
        matching("[0-9a-f]{40}", predicate["source"].get("revision"), "M25")
    if "weights" in predicate:
        text(child(predicate, "weights").get("format"))
        number(predicate["weights"].get("parameters", 0))
        for dtype in each(predicate["weights"], "dtypes", str):
            text(dtype)
    for entry in each(predicate, "documents", dict):
        text(entry.get("kind"))
        need(isinstance(entry.get("path"), str), "M6")
        need(digests.get(entry["path"]) == digest(entry.get("sha256")), "M26")
    for entry in each(predicate, "supersedes", str):
        digest(entry)
    for entry in each(predicate, "revokes", dict):
        digest(entry.get("manifest"))
        text(entry.get("reason"))
    pending = [child(predicate, "ext")] if "ext" in predicate else []
    for item in pending:
        need(not isinstance(item, str) or not UNSAFE.search(item), "M27")
        if isinstance(item, dict):
            pending += [*item, *item.values()]
        elif isinstance(item, list):
            pending += item
    return top


def verify(data, known, post_quantum=""):
    """The statement, if it is by whom we know.

    `known` are public keys in one line, or fingerprints alone, all of one publisher; `post_quantum` is the
    fingerprint of the ML-DSA-44 key by which they are known too.
    """
    envelope = load(data)
    need(isinstance(envelope, dict), "E1")
    kind, entries, roots = envelope.get("payloadType"), envelope.get("signatures"), envelope.get("roots", [])
    need(kind == "application/vnd.in-toto+json", "E2")
    payload = unbase64(envelope.get("payload"), "E3")
    need(isinstance(entries, list) and len(entries) <= 64, "E4")
    message = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)
    signatures = []
    for entry in entries:
        need(isinstance(entry, dict), "E4")
        line = entry.get("publicKey", "")
        need(isinstance(line, str) and len(line) <= 16_384 and isinstance(entry.get("keyid", ""), str), "E6")
        signatures.append((line, unbase64(entry.get("sig"), "E5", 16_384)))
    need(isinstance(roots, list) and len(roots) <= 256, "E7")
    roots = [unbase64(root, "E7", 512_000) for root in roots]

    need(signatures, "S1")
    lines = {line for line in known if not line.startswith("SHA256:")}
    signers = {
        signer(line, sig, message) for own, sig in signatures for line in (own, *lines) if len(sig) == 64
    }
    seconds = {signer(line, sig, message) for line, sig in signatures if len(sig) == 2420}
    need(signers - {None}, "S10")
    top = statement(payload)
    publisher = top["predicate"]["publisher"]
    named = signers & set(publisher["keys"])
    trusted = {fingerprint(base64.b64decode(key.split()[1])) if key in lines else key for key in known}
    if "rootVersion" in publisher:
        need(len(roots) >= publisher["rootVersion"], "R1")
        identity, founders, chain = team(roots, known)
        enough = [len(members & named) >= threshold for _, members, threshold in chain]
        if hashlib.sha256(payload).hexdigest() not in chain[-1][0]:
            need(enough[-1] or not any(enough), "R8")
            need(enough[-1], "R7")
        need(identity in trusted or (founders and not post_quantum), "R6")
        return top
    need((signers & trusted or signers) & named, "S11")
    need(named & trusted, "S12")
    need(not post_quantum or post_quantum in seconds & set(publisher["keys"]), "S13")
    return top


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("envelope", type=argparse.FileType("rb"))
    parser.add_argument(
        "--key", action="append", default=[], help="a public key, or a fingerprint; may come again"
    )
    parser.add_argument(
        "--post-quantum", default="", help="fingerprint of the ML-DSA-44 key that must sign too"
    )
    asked = parser.parse_args()
    try:
        model = verify(asked.envelope.read(), asked.key, asked.post_quantum)["predicate"]["model"]
    except Refused as refused:
        print(f"refused by {refused}")
        return 1
    print(f"ok: {model['id']}@{model['version']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
