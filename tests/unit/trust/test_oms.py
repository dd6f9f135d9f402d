from __future__ import annotations

import contextlib
import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders_oms import CURVES, FILES, Json, bundle, key_files, shards, statement
from tests.builders_releases import release
from weightshare.errors import (
    BadSignatureError,
    ManifestError,
    NotCheckedError,
    UnsafePathError,
    UnsupportedError,
    WeightshareError,
)
from weightshare.manifest.envelope import Envelope
from weightshare.trust import oms
from weightshare.trust.oms import Bundle, Method, VerifiedModel
from weightshare.trust.oms_keys import EcPublicKey, EcSigner
from weightshare.trust.oms_statement import Resource, Statement, whole_files


@pytest.fixture
def key(tmp_path: Path) -> EcPublicKey:
    return EcPublicKey.load(key_files(tmp_path)[1])


@pytest.mark.parametrize("curve", CURVES)
def test_what_is_signed_here_verifies_here(tmp_path: Path, curve: str) -> None:
    signer = EcSigner.load(key_files(tmp_path, curve)[0])
    data = oms.sign(whole_files("m", {"a": bytes(32)}, ()), signer)
    verified = oms.verify(Bundle.parse(data), signer.public_key)
    assert verified.statement.resources == (Resource("a", bytes(32)),)
    assert verified.signer == signer.public_key
    assert json.loads(data)["verificationMaterial"] == {
        "publicKey": {"hint": signer.public_key.hint},
        "tlogEntries": [],
    }


@pytest.mark.parametrize("curve", CURVES)
def test_what_others_sign_verifies_here(tmp_path: Path, curve: str) -> None:
    key = EcPublicKey.load(key_files(tmp_path, curve)[1])
    verified = oms.verify(Bundle.parse(bundle(statement(), curve)), key)
    assert verified.statement.paths == tuple(sorted(FILES))


def test_nothing_that_its_own_reader_refuses_is_signed(tmp_path: Path) -> None:
    signer = EcSigner.load(key_files(tmp_path)[0])
    with pytest.raises(UnsafePathError):
        oms.sign(whole_files("m", {"../a": bytes(32)}, ()), signer)


def test_only_the_verifier_makes_a_verified_model(key: EcPublicKey) -> None:
    verified = oms.verify(Bundle.parse(bundle(statement())), key)
    with pytest.raises(TypeError, match=r"only trust\.oms\.verify"):
        VerifiedModel(verified.statement, key, object())
    for duplicate in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="verify its bundle again"):
            duplicate(verified)


def _changed(edit: Callable[[Json], Any]) -> bytes:
    made = json.loads(bundle(statement()))
    edit(made)
    return json.dumps(made).encode()


def _signature(made: Json) -> Json:
    signature: Json = made["dsseEnvelope"]["signatures"][0]
    return signature


def _flip(text: str, at: int) -> str:
    return text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]


@pytest.mark.parametrize(
    "edit",
    [
        lambda made: made["dsseEnvelope"].update(payload=_flip(made["dsseEnvelope"]["payload"], 400)),
        lambda made: _signature(made).update(sig=_flip(_signature(made)["sig"], 40)),
        lambda made: _signature(made).update(sig="AAAA"),
    ],
    ids=["payload", "signature", "no DER"],
)
def test_a_changed_bit_is_noticed(key: EcPublicKey, edit: Callable[[Json], Any]) -> None:
    with pytest.raises(BadSignatureError, match="does not hold"):
        oms.verify(Bundle.parse(_changed(edit)), key)


def test_another_key_is_noticed_and_named(tmp_path: Path, key: EcPublicKey) -> None:
    other = EcPublicKey.load(key_files(tmp_path, number=2)[1])
    with pytest.raises(BadSignatureError, match=f"names the key '{key.hint}'; the one given is {other.hint}"):
        oms.verify(Bundle.parse(bundle(statement())), other)


def test_the_hint_is_not_believed(tmp_path: Path, key: EcPublicKey) -> None:
    other = EcPublicKey.load(key_files(tmp_path, number=2)[1])

    def claim(made: Json) -> None:
        made["verificationMaterial"]["publicKey"]["hint"] = other.hint

    with pytest.raises(BadSignatureError, match="does not hold"):
        oms.verify(Bundle.parse(_changed(claim)), other)
    assert oms.verify(Bundle.parse(_changed(claim)), key).signer == key


def test_nothing_is_read_before_the_signature_holds(key: EcPublicKey) -> None:
    with pytest.raises(BadSignatureError):
        oms.verify(Bundle.parse(bundle(b"no JSON at all", number=2)), key)
    with pytest.raises(ManifestError, match="OMS statement is not valid"):
        oms.verify(Bundle.parse(bundle(b"no JSON at all")), key)


@pytest.mark.parametrize(
    "edit",
    [
        lambda made: made.update(more={"a": 1}),
        lambda made: made["verificationMaterial"].pop("tlogEntries"),
        lambda made: made["verificationMaterial"]["publicKey"].pop("hint"),
        lambda made: _signature(made).pop("keyid"),
        lambda made: _signature(made).update(keyid=None),
    ],
    ids=["more", "no log", "no hint", "no keyid", "null keyid"],
)
def test_what_other_versions_write_is_read(key: EcPublicKey, edit: Callable[[Json], Any]) -> None:
    assert oms.verify(Bundle.parse(_changed(edit)), key).statement.paths == tuple(sorted(FILES))


@pytest.mark.parametrize(
    ("edit", "error", "problem"),
    [
        (lambda made: made.pop("mediaType"), ManifestError, "mediaType"),
        (
            lambda made: made.update(mediaType=made["mediaType"].replace("0.3", "0.4")),
            UnsupportedError,
            "v0.4",
        ),
        (lambda made: made.pop("verificationMaterial"), ManifestError, "verificationMaterial"),
        (lambda made: made.pop("dsseEnvelope"), ManifestError, "dsseEnvelope"),
        (lambda made: made["dsseEnvelope"].update(payloadType="text/plain"), UnsupportedError, "text/plain"),
        (lambda made: made["dsseEnvelope"].update(payload="!"), ManifestError, "not base64"),
        (lambda made: made["dsseEnvelope"].update(payload="QR=="), ManifestError, "stray bits"),
        (lambda made: made["dsseEnvelope"].update(signatures=[]), ManifestError, "exactly one"),
        (
            lambda made: made["dsseEnvelope"]["signatures"].append(_signature(made)),
            ManifestError,
            "exactly one",
        ),
        (
            lambda made: made["verificationMaterial"].update(certificate={"rawBytes": "AAAA"}),
            ManifestError,
            "publicKey and certificate",
        ),
        (lambda made: made.update(verificationMaterial={}), NotCheckedError, "none named"),
        (
            lambda made: made.update(verificationMaterial={"mlDsaKey": {"hint": "x"}}),
            NotCheckedError,
            "'mlDsaKey'",
        ),
    ],
)
def test_broken_and_unknown_bundles_are_refused(
    edit: Callable[[Json], Any], error: type[WeightshareError], problem: str
) -> None:
    with pytest.raises(error, match=problem):
        Bundle.parse(_changed(edit))


@pytest.mark.parametrize(
    ("material", "method"),
    [
        ({"x509CertificateChain": {"certificates": [{"rawBytes": "AAAA"}]}}, Method.CERTIFICATE),
        ({"certificate": {"rawBytes": "AAAA"}, "tlogEntries": [{}]}, Method.SIGSTORE),
    ],
)
def test_a_key_does_not_answer_for_other_methods(key: EcPublicKey, material: Json, method: Method) -> None:
    parsed = Bundle.parse(_changed(lambda made: made.update(verificationMaterial=material)))
    assert parsed.method is method
    with pytest.raises(NotCheckedError, match=f"is by {method}"):
        oms.verify(parsed, key)


# ---- neither passes for the other


def test_a_release_is_no_oms_signature(key: EcPublicKey) -> None:
    made = release()
    with pytest.raises(UnsupportedError, match="bare DSSE envelope"):
        Bundle.parse(made.envelope)
    # Nor is what it says, signed as one.
    with pytest.raises(UnsupportedError, match="predicateType"):
        oms.verify(Bundle.parse(bundle(made.parsed.payload)), key)


def test_an_oms_signature_is_no_release() -> None:
    data = bundle(statement())
    with pytest.raises(ManifestError, match="payloadType"):
        Envelope.parse(data)
    with pytest.raises(ManifestError):
        Statement.parse(release().parsed.payload)


# ---- whatever stands in a bundle, the answer is an error that was meant


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def _places(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    inner: list[tuple[str | int, object]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    return [path, *(place for key, item in inner for place in _places(item, (*path, key)))]


def _replaced(value: Any, path: tuple[str | int, ...], new: object) -> Any:
    if not path:
        return new
    made = copy.copy(value)
    made[path[0]] = _replaced(value[path[0]], path[1:], new)
    return made


_BUNDLE: Json = json.loads(bundle(statement()))
_SHARDS = statement(shards(FILES, 1000), method="shards", shard_size=1000, ignore_paths=["a"])


@given(st.sampled_from(_places(_BUNDLE)), _JSON)
def test_any_bundle_is_read_or_refused(place: tuple[str | int, ...], new: object) -> None:
    with contextlib.suppress(WeightshareError):
        Bundle.parse(json.dumps(_replaced(_BUNDLE, place, new)).encode())


@given(
    st.sampled_from([statement(), _SHARDS]).flatmap(
        lambda said: st.tuples(st.just(said), st.sampled_from(_places(said)))
    ),
    _JSON,
)
def test_any_statement_is_read_or_refused(case: tuple[Json, tuple[str | int, ...]], new: object) -> None:
    said, place = case
    with contextlib.suppress(WeightshareError):
        Statement.parse(json.dumps(_replaced(said, place, new)).encode())
