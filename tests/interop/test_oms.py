"""OpenSSF Model Signing with its reference program at the other end, both ways.

`model_signing` is always run as its user runs it, in a process of its own. Its command line signs whole files with
SHA-256 only; shards and BLAKE2b are signed through its Python interface.
"""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.builders_checkpoints import place, tiny
from tests.builders_oms import (
    CURVES,
    FILES,
    Json,
    bundle,
    key_files,
    payload_of,
    private_key,
    private_pem,
    resource,
    root_of,
    statement,
)
from tests.builders_releases import release
from tests.cli.helpers import environment, result, weightshare
from tests.integration.releases import fetch, publish
from tests.integration.running import seeding
from weightshare.api.oms_checking import verify_oms
from weightshare.errors import (
    BadSignatureError,
    ManifestError,
    UnsafePathError,
    UnsupportedError,
    WeightshareError,
)
from weightshare.manifest.model import MANIFEST_NAME

SHARD = 1000
HOW = {
    "files": "use_file_serialization()",
    "shards": f"use_shard_serialization(shard_size={SHARD})",
    "blake2b": 'use_file_serialization(hashing_algorithm="blake2")',
    "blake2b-shards": f'use_shard_serialization(hashing_algorithm="blake2", shard_size={SHARD})',
    "blake3": 'use_file_serialization(hashing_algorithm="blake3")',
}
SIGN = """
import sys
from pathlib import Path
from model_signing import hashing, signing
here = Path(sys.argv[1])
for curve in {curves}:
    for name, how in {how}.items():
        (
            signing.Config()
            .use_elliptic_key_signer(private_key=here / f"{{curve}}-1.pem")
            .set_hashing_config(eval("hashing.Config()." + how))
            .sign(here / "m", here / f"{{curve}}-{{name}}.sig")
        )
"""


def theirs(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run model_signing to its end."""
    return subprocess.run(
        [sys.executable, "-m", "model_signing", *map(str, words)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment(cwd),
        timeout=120,
        check=False,
    )


def they_accept(folder: Path, key: Path, signature: Path | None = None) -> bool:
    """Whether model_signing verifies a folder with a key."""
    signature = signature or folder / "model.sig"
    done = theirs("verify", "key", "--signature", signature, "--public_key", key, folder, cwd=folder.parent)
    assert done.returncode in (0, 1), done.stderr
    assert ("Verification succeeded" in done.stdout) == (done.returncode == 0)
    return done.returncode == 0


# ---- ours, checked by them


def test_a_fetched_release_verifies_with_model_signing(tmp_path: Path) -> None:
    private, public = key_files(tmp_path)
    # The names sort differently by code point and by path component; git's files are no part of a model.
    files = tiny() | {"a-b/c.txt": b"1", "a/c.txt": b"2", "empty.txt": b"", ".gitattributes": b"*.x lfs"}
    folder = place(tmp_path / "made", files)
    published = publish(tmp_path / "maintainer", folder, "--oms-key", str(private))
    assert published.facts["oms"] == str(folder / "model.sig")
    home, out = tmp_path / "user", tmp_path / "out"
    with seeding(tmp_path / "maintainer") as seeder:
        fetch(home, published, str(out), "--peer", seeder.peer)
    assert (out / MANIFEST_NAME).is_file()
    assert they_accept(out, public)
    found = result(home, "verify", str(out), "--oms", "model.sig", "--oms-key", str(public))
    assert (found["ok"], found["release"], found["warnings"]) == (True, None, [])
    assert [file["path"] for file in found["files"]] == sorted(set(files) - {".gitattributes"})
    # What the release signs is one file more: the signature itself.
    listed = [file["path"] for file in result(home, "verify", str(out))["files"]]
    assert listed == sorted([*files, "model.sig"])

    data = bytearray((out / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (out / "model.safetensors").chmod(0o644)
    (out / "model.safetensors").write_bytes(data)
    assert not they_accept(out, public)
    found = result(home, "verify", str(out), "--oms", "model.sig", "--oms-key", str(public), status=4)
    assert [(file["path"], file["problem"]) for file in found["files"] if not file["ok"]] == [
        ("model.safetensors", "corrupt")
    ]


@pytest.mark.parametrize("curve", ["P-384", "P-521"])
def test_a_published_folder_verifies_with_model_signing(tmp_path: Path, curve: str) -> None:
    private, public = key_files(tmp_path, curve)
    folder = place(tmp_path / "made", tiny())
    publish(tmp_path / "maintainer", folder, "--oms-key", str(private))
    assert (folder / MANIFEST_NAME).is_file()
    assert they_accept(folder, public)
    assert not they_accept(folder, key_files(tmp_path, curve, 2)[1])


# ---- theirs, checked by us


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the model `m`, keys, and a signature by each curve in each way."""
    here = tmp_path_factory.mktemp("theirs")
    place(here / "m", FILES)
    for curve in CURVES:
        key_files(here, curve)
    script = SIGN.format(curves=list(CURVES), how=HOW)
    subprocess.run([sys.executable, "-c", script, str(here)], check=True, timeout=120, cwd=here)
    return here


@pytest.mark.parametrize("how", ["files", "shards", "blake2b", "blake2b-shards"])
@pytest.mark.parametrize("curve", CURVES)
def test_what_model_signing_signs_verifies_here(signed: Path, curve: str, how: str) -> None:
    found = verify_oms(signed / "m", signed / f"{curve}-{how}.sig", key=signed / f"{curve}-1.pub.pem")
    assert found.ok
    assert found.oms is not None
    assert (found.oms.method, found.oms.checked_by) == ("key", "weightshare")
    assert found.oms.hash == ("blake2b" if "blake2b" in how else "sha256")
    assert found.oms.serialization == ("shards" if "shards" in how else "files")
    assert found.piece_length == (SHARD if "shards" in how else 0)
    # Their list leaves out empty files where there are shards.
    unlisted = {"empty"} if "shards" in how else set()
    assert {file.path for file in found.files} == set(FILES) - unlisted


def test_the_command_signs_and_ours_verifies(tmp_path: Path) -> None:
    home, folder = tmp_path, place(tmp_path / "m", FILES)
    private, public = key_files(tmp_path)
    words = ("--signature", folder / "model.sig", "--private_key", private)
    done = theirs("sign", "key", *words, folder, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = result(home, "verify", str(folder), "--oms", "model.sig", "--oms-key", str(public))
    assert set(found) >= {"ok", "release", "publisher", "files", "seconds", "oms"}
    assert (found["ok"], found["release"]) == (True, None)
    hint = json.loads((folder / "model.sig").read_bytes())["verificationMaterial"]["publicKey"]["hint"]
    assert found["publisher"] == hint
    assert found["oms"] == {
        "method": "key",
        "serialization": "files",
        "hash": "sha256",
        "checked_by": "weightshare",
    }
    text = weightshare(
        home, "verify", str(folder), "--oms", str(folder / "model.sig"), "--oms-key", str(public)
    )
    assert text.stdout.decode().startswith(f"ok  {folder}: 5 files")
    assert f"as signed by key {hint} (OpenSSF Model Signing, files, sha256)" in text.stdout.decode()


@pytest.mark.parametrize("how", ["files", "shards", "blake2b"])
def test_each_difference_from_what_they_signed_is_named(signed: Path, tmp_path: Path, how: str) -> None:
    folder = place(tmp_path / "m", FILES)
    data = bytearray(FILES["model.safetensors"])
    data[SHARD + 5] ^= 1
    (folder / "model.safetensors").write_bytes(data)
    (folder / "added.txt").write_bytes(b"added")
    (folder / "config.json").unlink()
    found = verify_oms(folder, signed / f"P-256-{how}.sig", key=signed / "P-256-1.pub.pem")
    assert not found.ok
    assert [(file.path, file.problem, file.bad_pieces) for file in found.files if not file.ok] == [
        ("config.json", "missing", ()),
        ("model.safetensors", "corrupt", (1,) if how == "shards" else ()),
        ("added.txt", "extra", ()),
    ]


def test_the_command_ends_with_4_and_names_the_shard(signed: Path, tmp_path: Path) -> None:
    folder = place(tmp_path / "m", FILES | {"model.safetensors": b"\1" + FILES["model.safetensors"][1:]})
    words = ("--oms", str(signed / "P-384-shards.sig"), "--oms-key", str(signed / "P-384-1.pub.pem"))
    done = weightshare(tmp_path, "verify", str(folder), *words)
    assert done.returncode == 4
    assert done.stdout.decode() == "corrupt  model.safetensors: shard 0\n"
    assert "1 file of" in done.stderr.decode()


def test_blake3_is_not_checked(signed: Path, tmp_path: Path) -> None:
    words = ("--oms", str(signed / "P-256-blake3.sig"), "--oms-key", str(signed / "P-256-1.pub.pem"))
    found = result(tmp_path, "verify", str(signed / "m"), *words, status=3)
    assert found["error"] == "not_checked"
    assert "blake3" in found["message"]


def test_another_key_ends_with_3(signed: Path, tmp_path: Path) -> None:
    for other in (key_files(tmp_path, "P-256", 2)[1], signed / "P-384-1.pub.pem"):
        words = ("--oms", str(signed / "P-256-files.sig"), "--oms-key", str(other))
        assert result(tmp_path, "verify", str(signed / "m"), *words, status=3)["error"] == "bad_signature"


@pytest.mark.parametrize("part", ["payload", "sig"])
@pytest.mark.parametrize("how", ["files", "shards", "blake2b"])
def test_a_changed_bit_in_their_signature_is_noticed(
    signed: Path, tmp_path: Path, how: str, part: str
) -> None:
    made = json.loads((signed / f"P-256-{how}.sig").read_bytes())
    envelope = made["dsseEnvelope"]
    holder = envelope if part == "payload" else envelope["signatures"][0]
    at = len(holder[part]) // 2
    holder[part] = holder[part][:at] + ("A" if holder[part][at] != "A" else "B") + holder[part][at + 1 :]
    (tmp_path / "changed.sig").write_text(json.dumps(made))
    with pytest.raises(BadSignatureError):
        verify_oms(signed / "m", tmp_path / "changed.sig", key=signed / "P-256-1.pub.pem")


def _parent(said: Json) -> None:
    said["predicate"]["resources"].insert(0, resource("../secret", b"x"))


def _two_subjects(said: Json) -> None:
    said["subject"].append(dict(said["subject"][0]))


def _reorder(said: Json) -> None:
    said["predicate"]["resources"].reverse()


def _other_predicate(said: Json) -> None:
    said["predicateType"] = "https://model_signing/Digests/v0.1"


def _drop(said: Json) -> None:
    said["predicate"]["resources"].pop()


RESIGNED: dict[str, tuple[Callable[[Json], Any], type[WeightshareError] | None]] = {
    "path with ..": (_parent, UnsafePathError),
    "two subjects": (_two_subjects, ManifestError),
    "reordered": (_reorder, ManifestError),
    "predicateType": (_other_predicate, UnsupportedError),
    "a file dropped": (_drop, None),
}


@pytest.mark.parametrize("case", RESIGNED)
@pytest.mark.parametrize("how", ["files", "shards", "blake2b"])
def test_what_they_signed_edited_and_signed_again(signed: Path, tmp_path: Path, how: str, case: str) -> None:
    edit, error = RESIGNED[case]
    said = payload_of((signed / f"P-256-{how}.sig").read_bytes())
    edit(said)
    for subject in said["subject"]:
        subject["digest"]["sha256"] = root_of(said["predicate"]["resources"])
    if how == "shards" and case == "path with ..":
        said["predicate"]["resources"][0]["name"] += ":0:1"
    if how == "blake2b" and case == "path with ..":
        said["predicate"]["resources"][0] = resource("../secret", b"x", "blake2b")
    (tmp_path / "edited.sig").write_bytes(bundle(said))
    if error is not None:
        with pytest.raises(error):
            verify_oms(signed / "m", tmp_path / "edited.sig", key=signed / "P-256-1.pub.pem")
    else:
        found = verify_oms(signed / "m", tmp_path / "edited.sig", key=signed / "P-256-1.pub.pem")
        problem = "wrong size" if how == "shards" else "extra"
        assert [(file.path, file.problem) for file in found.files if not file.ok] == [
            ("model.safetensors", problem)
        ]


# ---- certificates and Sigstore: handed over, or not checked


def _certificate(
    name: str, key: ec.EllipticCurvePrivateKey, issuer: str, by: ec.EllipticCurvePrivateKey, *, ca: bool
) -> bytes:
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)]) for text in (name, issuer)]
    usage = x509.KeyUsage(not ca, False, False, False, False, ca, ca, False, False)
    built = (
        x509.CertificateBuilder()
        .subject_name(names[0])
        .issuer_name(names[1])
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), critical=False)
        .sign(by, hashes.SHA256())
    )
    return built.public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the model `m`, signed by a certificate under `ca.pem`; `other.pem` is another authority."""
    here = tmp_path_factory.mktemp("certified")
    place(here / "m", FILES)
    root, leaf, other = (private_key("P-256", number) for number in (11, 12, 13))
    (here / "ca.pem").write_bytes(_certificate("root", root, "root", root, ca=True))
    (here / "other.pem").write_bytes(_certificate("root", other, "root", other, ca=True))
    (here / "leaf.pem").write_bytes(_certificate("leaf", leaf, "root", root, ca=False))
    (here / "leaf.key").write_bytes(private_pem(leaf))
    words = (
        "--private_key",
        "leaf.key",
        "--signing_certificate",
        "leaf.pem",
        "--certificate_chain",
        "ca.pem",
    )
    done = theirs("sign", "certificate", *words, "--signature", "m/model.sig", "m", cwd=here)
    assert done.returncode == 0, done.stderr
    return here


def _check(folder: Path, *words: str, status: int, **more: str) -> Json:
    """What `verify --oms model.sig` says of a folder."""
    done = weightshare(folder, "verify", str(folder), "--oms", "model.sig", *words, "--json", more=more)
    assert done.returncode == status, done.stderr.decode() + done.stdout.decode()
    said: Json = json.loads(done.stdout)
    return said


def test_a_certificate_is_handed_over(certified: Path, tmp_path: Path) -> None:
    chain = ("--oms-certificate-chain", str(certified / "ca.pem"))
    folder = place(tmp_path / "m", FILES | {"model.sig": (certified / "m" / "model.sig").read_bytes()})
    (folder / MANIFEST_NAME).write_bytes(release().envelope)
    found = _check(folder, *chain, status=0)
    assert (found["ok"], found["oms"]["method"], found["oms"]["checked_by"]) == (
        True,
        "certificate",
        "model_signing",
    )
    assert [file["path"] for file in found["files"]] == sorted(FILES, key=lambda path: path.split("/"))
    leaf = x509.load_pem_x509_certificate((certified / "leaf.pem").read_bytes())
    assert found["publisher"] == leaf.fingerprint(hashes.SHA256()).hex()
    assert found["warnings"] == ["weightshare.json is no part of what the OMS signature signs."]

    wrong = _check(folder, "--oms-certificate-chain", str(certified / "other.pem"), status=3)
    assert wrong["error"] == "bad_signature"
    (folder / "config.json").write_bytes(b"[]")
    corrupt = _check(folder, *chain, status=4)
    assert corrupt["error"] == "corrupt"
    assert "config.json" in corrupt["message"]


def test_nobody_is_trusted_by_default(certified: Path) -> None:
    for words in ((), ("--oms-key", str(key_files(certified)[1])), ("--oms-identity", "a@b.example")):
        assert _check(certified / "m", *words, status=2)["error"] == "usage"


BLOCKS = {
    "absent": {"sitecustomize.py": b"import sys\nsys.modules['model_signing'] = None\n"},
    "broken": {"model_signing/__init__.py": b"raise ImportError('no OpenSSL here')\n"},
    "silent": {"model_signing/__init__.py": b"", "model_signing/__main__.py": b"\n"},
}


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("method", ["certificate", "sigstore"])
def test_without_model_signing_nothing_is_checked(
    certified: Path, tmp_path: Path, method: str, block: str
) -> None:
    blocked = place(tmp_path / "blocked", BLOCKS[block])
    path = os.pathsep.join([str(blocked), environment(tmp_path)["PYTHONPATH"]])
    signature = (certified / "m" / "model.sig").read_bytes()
    words: tuple[str, ...] = ("--oms-certificate-chain", str(certified / "ca.pem"))
    if method == "sigstore":
        made = json.loads(signature)
        certificates = made["verificationMaterial"].pop("x509CertificateChain")["certificates"]
        made["verificationMaterial"] |= {"certificate": certificates[0], "tlogEntries": [{"logIndex": "1"}]}
        signature = json.dumps(made).encode()
        words = ("--oms-identity", "a@b.example", "--oms-identity-provider", "https://b.example")
    folder = place(tmp_path / "m", FILES | {"model.sig": signature})
    found = _check(folder, *words, status=3, PYTHONPATH=path)
    assert found["error"] == "not_checked"
    assert found["message"].startswith("Not checked: ")


def test_a_module_in_the_current_folder_is_not_run(certified: Path, tmp_path: Path) -> None:
    planted = {
        "model_signing/__init__.py": b"",
        "model_signing/__main__.py": b"print('Verification succeeded')",
    }
    signature = (certified / "m" / "model.sig").read_bytes()
    folder = place(tmp_path / "m", FILES | planted | {"model.sig": signature})
    chain = ("--oms-certificate-chain", str(certified / "ca.pem"))
    # It is the current folder of this command; it is also full of files that nobody signed.
    assert _check(folder, *chain, status=4)["error"] == "corrupt"


# ---- neither kind of file passes for the other


def test_ours_is_not_theirs_and_theirs_is_not_ours(tmp_path: Path) -> None:
    folder = place(tmp_path / "m", FILES)
    _, public = key_files(tmp_path)
    (folder / MANIFEST_NAME).write_bytes(bundle(statement()))
    refused = result(tmp_path, "verify", str(folder), status=4)
    assert "payloadType" in refused["message"]
    (folder / MANIFEST_NAME).write_bytes(release().envelope)
    words = ("--oms", MANIFEST_NAME, "--oms-key", str(public))
    refused = result(tmp_path, "verify", str(folder), *words, status=4)
    assert refused["error"] == "unsupported"
