"""A second verifier of `weightshare.json`, written from SPEC.md alone; it needs `cryptography` and nothing else.

    python verify.py ENVELOPE --key 'ssh-ed25519 AAAA…' [--key SHA256:…] [--post-quantum SHA256:…] 
"""

import argparse, base64, datetime, hashlib, json, re, sys, unicodedata  # noqa: E401
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed25519, mldsa

P = 2**255 - 19
Y8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
UNSAFE = re.compile("[\0-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]")
NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_-])?"
HALF = r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}"
HUB = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,95}"
DEVICE = re.compile(r"(?i:CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|CLOCK\$|(?:COM|LPT)[0-9¹²³]) *(?:\.|\Z)")


class Refused(Exception):
    """The rule of SPEC.md that the document breaks, and what it says."""

    def __init__(self, rule, why):
        super().__init__(f"{rule}: {why}")
        self.rule = rule


def need(holds, rule, why):
    if not holds:
        raise Refused(rule, why)


def load(data, limit=16 * 2**20):
    need(len(data) <= limit, "J1", "too many bytes")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused("J2", "not UTF-8") from None
    need(not text.startswith("\ufeff"), "J2", "a byte order mark")
    outside, strings = re.subn(r'"[^"\\]*(?:\\.[^"\\]*)*"', "", text, flags=re.DOTALL)
    marks, depth = re.findall(r"[][{},]", outside), 0
    need(strings + len(marks) <= 10**6, "J5", "too many strings, brackets and commas")
    for mark in marks:
        depth += (mark in "[{") - (mark in "]}")
        need(depth <= 32, "J4", "too deep")

    def pairs(items):
        need(len(dict(items)) == len(items), "J6", "a key twice")
        return dict(items)

    def whole(digits):
        need(len(digits) < 18 and abs(int(digits)) < 2**53, "J7", "an integer past 2^53-1")
        return int(digits)

    def refuse(rule):
        return lambda text: need(False, rule, text)

    try:
        value = json.loads(text, object_pairs_hook=pairs, parse_int=whole, parse_float=refuse("J7"), parse_constant=refuse("J3"))
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise Refused("J8", "half a character") from None
    except ValueError as error:
        raise Refused("J3", str(error)) from None
    return value


def unbase64(text, rule, limit=16 * 2**20):
    try:
        data = base64.b64decode(text if isinstance(text, str) else "*", validate=True)
    except ValueError:
        raise Refused(rule, "not base64") from None
    need(base64.b64encode(data).decode() == text, rule, "not canonical base64")
    need(len(data) <= limit, rule, "too many bytes")
    return data


def fingerprint(blob):
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def ed25519_holds(raw, signature, message):
    y = int.from_bytes(raw, "little") % 2**255
    if len(signature) != 64 or y >= P or y in (0, 1, P - 1, Y8, P - Y8):
        return False
    try:
        ed25519.Ed25519PublicKey.from_public_bytes(raw).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def holds(line, signature, message):
    """The fingerprint of the key, if the signature over the message is by it (S3 to S6)."""
    kind, encoded = (line.split() + ["", ""])[:2]
    try:
        blob = unbase64(encoded, "S4")
    except Refused:
        return None
    head, raw = blob[: 8 + len(kind)], blob[8 + len(kind) :]
    size = {"ssh-ed25519": 32, "ml-dsa-44": 1312}.get(kind)
    if size != len(raw) or head != len(kind).to_bytes(4, "big") + kind.encode() + size.to_bytes(4, "big"):
        return None
    if kind == "ssh-ed25519":
        return fingerprint(blob) if ed25519_holds(raw, signature, message) else None
    try:
        mldsa.MLDSA44PublicKey.from_public_bytes(raw).verify(signature, message)
    except (InvalidSignature, ValueError):
        return None
    return fingerprint(blob)


def read_root(raw):
    """The signed part, its keys by id, the quorums of `root` and `targets`, and the signatures by key id (R2)."""
    try:
        root = load(raw, 512_000)
        signed, ours = root["signed"], root["signed"]["x-weightshare"]
        need(signed["_type"] == "root" and type(signed["version"]) is int, "R2", "no root")
        need(signed["spec_version"].startswith("1."), "R2", "another version of TUF")
        need(datetime.datetime.strptime(signed["expires"], "%Y-%m-%dT%H:%M:%SZ"), "R2", "no time")
        need(signed["roles"].keys() == {"root", "targets", "snapshot", "timestamp"}, "R2", "other roles")
        need(re.fullmatch(NAME, ours["name"]), "R2", "no name")
        kept = {digest(item, "R2") for item in each(ours, "releases", str)}
        need(all((k["keytype"], k["scheme"]) == ("ed25519",) * 2 for k in signed["keys"].values()), "R2", "another key")
        keys = {i: bytes.fromhex(digest(k["keyval"]["public"], "R2")) for i, k in signed["keys"].items()}
        need(len(set(keys.values())) == len(keys) <= 128, "R2", "a key under two ids, or more than 128")
        quorums = [({keys[i]: i for i in r["keyids"]}, r["threshold"]) for r in map(signed["roles"].get, ("root", "targets"))]
        need(all(type(n) is int and 1 <= n <= min(64, len(members)) for members, n in quorums), "R2", "a bad threshold")
        signatures = {entry["keyid"]: bytes.fromhex(entry["sig"]) for entry in root["signatures"]}
        need(len(signatures) == len(root["signatures"]), "R2", "two signatures under one key id")
    except (Refused, KeyError, TypeError, ValueError, AttributeError) as error:
        raise Refused("R2", repr(error)) from None
    return signed, kept, quorums, signatures


def team(roots, keys):
    """The identity, what each root says, and the known keys that signed the first (R3 to R6)."""
    chain = []
    for raw in roots:
        signed, kept, (own, releases), signatures = read_root(raw)
        need(signed["version"] == len(chain) + 1, "R3", "a version is missing")
        message = canonical(signed)
        for members, threshold in (own, chain[-1][2] if chain else own):
            sound = [key for key, i in members.items() if ed25519_holds(key, signatures.get(i, b""), message)]
            need(len(sound) >= threshold, "R4", "too few signatures by this root's keys, or by those of the one before")
        need(not chain or chain[0][0] == signed["x-weightshare"]["name"], "R5", "another name")
        if not chain:
            identity, founders = fingerprint(message), {key_fingerprint(key) for key in sound} & set(keys)
            founders |= {by for key in keys for sig in signatures.values() if (by := holds(key, sig, message))}
        chain.append((signed["x-weightshare"]["name"], kept, own, releases))
    return identity, chain, founders


def canonical(value):
    """OLPC canonical JSON, which TUF signs: no escapes but those of the quote and the backslash."""
    if isinstance(value, dict):
        return b"{" + b",".join(canonical(k) + b":" + canonical(value[k]) for k in sorted(value)) + b"}"
    if isinstance(value, list):
        return b"[" + b",".join(map(canonical, value)) + b"]"
    if isinstance(value, str):
        return b'"' + re.sub(r'(["\\])', r"\\\1", value).encode() + b'"'
    return json.dumps(value).encode()


def key_fingerprint(raw):
    return fingerprint(b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + raw)


def text(value, limit=500):
    need(isinstance(value, str), "M6", "a text is expected")
    need(len(value) <= limit and not UNSAFE.search(value), "M7", "too long, or a character not to be shown")
    return value


def number(value):
    need(type(value) is int and 0 <= value < 2**53, "M8", "an integer from 0 to 2^53-1 is expected")
    return value


def digest(value, rule="M9"):
    need(isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value), rule, "64 small hex digits are expected")
    return value


def each(parent, key, kind):
    value = parent.get(key, [])
    need(isinstance(value, list) and all(isinstance(item, kind) for item in value), "M6", f"{key} is no such list")
    need(len(value) <= 10_000, "M10" if key == "files" else "M15" if key == "subject" else "M28", "too many entries")
    return value


def child(parent, key, required=True):
    value = parent.get(key) if required or key in parent else {}
    need(isinstance(value, dict), "M6", f"{key} is no object")
    return value


def path(value, rule=None):
    need(isinstance(value, str), "M6", "a path is a text")
    need(0 < len(value.encode()) <= 1024, rule or "P1", "1 to 1,024 bytes are expected")
    parts = value.split("/")
    need(all(parts), rule or "P2", "absolute, or an empty part")
    need(len(parts) <= 16, rule or "P3", "more than 16 parts")
    for part in parts:
        need(part not in (".", ".."), rule or "P5", "it leads elsewhere")
        need(len(part.encode()) <= 255, rule or "P4", "a part of more than 255 bytes")
        need(not UNSAFE.search(part), rule or "P6", "a control character")
        need(not re.search(r'[\\:*?"<>|]', part), rule or "P7", "a character that Windows refuses")
        need(part[-1] not in ". ", rule or "P8", "a dot or a space at the end")
        need(unicodedata.normalize("NFC", part) == part, rule or "P9", "not NFC")
        need(not DEVICE.match(part), rule or "P10", "a Windows device")


def fold(value):
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", value).casefold())


def distinct(paths):
    files, folders = {}, {}
    for value in paths:
        need(fold(value.split("/")[0]) != "weightshare.json", "P13", "the manifest's own name")
        need(fold(value) not in files, "P11", "two paths are one where case is ignored")
        files[fold(value)] = value
        for at in (i for i, c in enumerate(value) if c == "/"):
            need(folders.setdefault(fold(value[:at]), value[:at]) == value[:at], "P12", "two spellings of a folder")
    need(not files.keys() & folders.keys(), "P12", "a file and a folder")


def statement(payload):
    """The statement in a payload whose signature holds (J, M and P)."""
    top = load(payload)
    need(isinstance(top, dict), "M1", "no object")
    need(text(top.get("_type")) == "https://in-toto.io/Statement/v1", "M2", "another type")
    need(text(top.get("predicateType")) == "urn:weightshare:release:v1", "M3", "another predicate")
    predicate = child(top, "predicate")
    need(not [text(name) for name in each(predicate, "critical", str)], "M4", "an unknown critical extension")
    files, subject = each(predicate, "files", dict), each(top, "subject", dict)
    need(files, "M10", "no file")
    for entry in files:
        need((number(entry.get("size")) > 0) == ("piecesRoot" in entry), "M11", "a pieces root if and only if not empty")
        digest(entry.get("sha256")), digest(entry.get("piecesRoot", "0" * 64))
        media_type = text(entry.get("mediaType", "a/b"))
        need(re.fullmatch(f"{HALF}/{HALF}", media_type), "M12", "no media type")
        path(entry.get("path"))
    paths = [entry["path"] for entry in files]
    distinct(paths)
    need(paths == sorted(paths, key=str.encode), "M13", "not in the order of UTF-8's bytes")
    need(sum(entry["size"] for entry in files) < 2**53, "M14", "too large in all")
    named = [(entry.get("name"), child(entry, "digest").get("sha256")) for entry in subject]
    need(named == [(entry["path"], entry["sha256"]) for entry in files], "M15", "subject and files differ")
    publisher, model, torrent = child(predicate, "publisher"), child(predicate, "model"), child(predicate, "torrent")
    keys = [text(key) for key in each(publisher, "keys", str)]
    canonical_key = re.compile("SHA256:[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]")
    need(0 < len(keys) == len(set(keys)) <= 64 and all(map(canonical_key.fullmatch, keys)), "M17", "1 to 64 fingerprints")
    need(re.fullmatch(NAME, text(publisher.get("name"))), "M16", "no name")
    need(type(publisher.get("rootVersion", 1)) is int and 0 < publisher.get("rootVersion", 1) < 2**53, "M18", "no version")
    need(re.fullmatch(f"{NAME}/{NAME}", text(model.get("id"))), "M19", "no ORG/MODEL")
    path(model["id"], "M19")
    need(" " not in text(model.get("version")) and "/" not in model["version"] and len(model["version"]) <= 100, "M20", "no version")
    path(model["version"], "M20")
    number(model.get("sequence")), text(model.get("summary", ""))
    need(re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z", text(model.get("released"))), "M21", "no time")
    try:
        need(model["released"][11:13] != "24" and datetime.datetime.fromisoformat(model["released"]), "M21", "no time")
    except ValueError:
        raise Refused("M21", "no point in time") from None
    path(torrent.get("name"), "M22")
    need("/" not in torrent["name"], "M22", "two parts")
    need(number(torrent.get("pieceLength")) in [2**power for power in range(14, 28)], "M23", "no piece length")
    need(isinstance(torrent.get("hybrid"), bool), "M6", "true or false is expected")
    digests = {entry["path"]: entry["sha256"] for entry in files}
    if "license" in predicate:
        text(child(predicate, "license").get("spdx"))
        need(predicate["license"].get("file", paths[0]) in paths, "M24", "not among the files")
    if "source" in predicate:
        need(re.fullmatch(f"{HUB}(?:/{HUB})?", text(child(predicate, "source").get("hub"))), "M25", "no repository")
        need(re.fullmatch("[0-9a-f]{40}", text(predicate["source"].get("revision"))), "M25", "no commit")
    if "weights" in predicate:
        text(child(predicate, "weights").get("format")), number(predicate["weights"].get("parameters", 0))
        [text(dtype) for dtype in each(predicate["weights"], "dtypes", str)]
    for entry in each(predicate, "documents", dict):
        text(entry.get("kind")), digest(entry.get("sha256"))
        need(isinstance(entry.get("path"), str) and digests.get(entry["path"]) == entry["sha256"], "M26", "no such file")
    for entry in each(predicate, "supersedes", str):
        digest(entry)
    for entry in each(predicate, "revokes", dict):
        digest(entry.get("manifest")), text(entry.get("reason"))
    pending = [child(predicate, "ext", required=False)]
    for item in pending:
        need(not isinstance(item, str) or not UNSAFE.search(item), "M27", "a control character")
        pending += [*item, *item.values()] if isinstance(item, dict) else item if isinstance(item, list) else []
    return top


def verify(data, keys, post_quantum=""):
    """The statement, if it is by whom we know: `keys` are public key lines, or fingerprints alone."""
    envelope = load(data)
    need(isinstance(envelope, dict), "E1", "no object")
    kind, entries, roots = envelope.get("payloadType"), envelope.get("signatures"), envelope.get("roots", [])
    need(kind == "application/vnd.in-toto+json", "E2", "another payload type")
    payload = unbase64(envelope.get("payload"), "E3")
    need(isinstance(entries, list) and len(entries) <= 64, "E4", "no list of at most 64 signatures")
    message = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)
    parsed = []
    for entry in entries:
        need(isinstance(entry, dict), "E4", "no object")
        line, keyid = entry.get("publicKey", ""), entry.get("keyid", "")
        need(isinstance(line, str) and len(line) <= 16_384 and isinstance(keyid, str), "E6", "no text")
        parsed.append((unbase64(entry.get("sig"), "E5", 16_384), line))
    need(isinstance(roots, list) and len(roots) <= 256, "E7", "no list of at most 256 roots")
    roots = [unbase64(root, "E7", 512_000) for root in roots]
    need(entries, "S1", "no signature")
    known = [key_line for key_line in keys if not key_line.startswith("SHA256:")]
    signers = {fp for sig, line in parsed for key in (line, *known) if (fp := holds(key, sig, message))}
    second = {fp for sig, line in parsed if line.startswith("ml-dsa-44 ") and (fp := holds(line, sig, message))}
    need(signers - second, "S10", "no signature holds")
    top = statement(payload)
    publisher = top["predicate"]["publisher"]
    named = signers & set(publisher["keys"])
    trusted = {key if key.startswith("SHA256:") else fingerprint(unbase64(key.split()[1], "S4")) for key in keys}
    if "rootVersion" in publisher:
        need(len(roots) >= publisher["rootVersion"], "R1", "a root is missing")
        identity, chain, founders = team(roots, keys)
        enough = [len({key_fingerprint(key) for key in quorum} & named) >= count for *_, (quorum, count) in chain]
        if hashlib.sha256(payload).hexdigest() not in chain[-1][1]:
            need(enough[-1] or not any(enough), "R8", "signed by keys that were retired")
            need(enough[-1], "R7", "too few keys of the team signed")
        need(identity in trusted or founders, "R6", "an unknown team")
        return top
    need((signers & trusted or signers) & set(publisher["keys"]), "S11", "the statement names other keys")
    need(named & trusted, "S12", "an unknown publisher")
    need(not post_quantum or post_quantum in second & named, "S13", "the second signature is missing")
    return top


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("envelope", type=argparse.FileType("rb"))
    parser.add_argument("--key", action="append", default=[], help="a public key in one line, or a fingerprint; again for more")
    parser.add_argument("--post-quantum", default="", help="fingerprint of the ML-DSA-44 key that must sign too")
    asked = parser.parse_args()
    try:
        model = verify(asked.envelope.read(), asked.key, asked.post_quantum)["predicate"]["model"]
    except Refused as error:
        print(f"refused by {error}")
        return 1
    print(f"ok: {model['id']}@{model['version']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
