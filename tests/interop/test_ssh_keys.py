"""Keys that people have: made by `ssh-keygen`, held by `ssh-agent`, checked by `ssh-keygen -Y verify`."""

from __future__ import annotations

import base64
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.helpers import ok, result, weightshare
from tests.cli.test_journey import make_model
from tests.interop.ssh_tools import Agent, keygen, make_key, needs_openssh, running_agent
from weightshare.api import identity, pinning, teams
from weightshare.api.checking import verify
from weightshare.api.cosigning import sign_manifest
from weightshare.api.exporting import trust_export
from weightshare.api.preparing import finish, prepare
from weightshare.api.publishing import publish
from weightshare.api.signers import open_both, open_signer
from weightshare.content.home import Home
from weightshare.errors import (
    AgentError,
    BadSignatureError,
    KeyFileError,
    RevokedError,
    TrustError,
    UnknownPublisherError,
    UsageError,
    WeightshareError,
)
from weightshare.trust import sshsig
from weightshare.trust.agent import AgentSigner, list_agent
from weightshare.trust.keys import FileSigner, PublicKey, public_path_of
from weightshare.trust.publishers import KnownPublishers, update

pytestmark = needs_openssh

SECRET = "correct horse"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `~/.ssh` with one key of each kind."""
    folder = tmp_path_factory.mktemp("ssh")
    make_key(folder / "id_ed25519")
    make_key(folder / "other")
    make_key(folder / "locked", passphrase=SECRET)
    make_key(folder / "id_rsa", "rsa")
    make_key(folder / "id_ecdsa", "ecdsa")
    keygen("-q", "-t", "ed25519", "-N", "", "-Z", "aes256-gcm@openssh.com", "-f", folder / "gcm")
    keygen("-q", "-p", "-P", "", "-N", SECRET, "-Z", "aes256-gcm@openssh.com", "-f", folder / "gcm")
    return folder


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Agent]:
    with running_agent(monkeypatch) as running:
        yield running


@pytest.fixture(autouse=True)
def no_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent of whoever runs the tests is none of their business."""
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def public(path: Path) -> PublicKey:
    return PublicKey.parse(path.with_name(f"{path.name}.pub").read_text())


def never() -> str:
    raise AssertionError("asked for a passphrase")


# ---- files


def test_a_key_file_signs(keys: Path, home: Home) -> None:
    for key in (keys / "id_ed25519", str(keys / "id_ed25519"), keys / "id_ed25519.pub"):
        signer = open_signer(key, home, never)
        assert isinstance(signer, FileSigner)
        assert public(keys / "id_ed25519").verify(signer.sign(b"m"), b"m")


@pytest.mark.parametrize("name", ["locked", "gcm"])
def test_an_encrypted_file_is_opened_with_its_passphrase(keys: Path, home: Home, name: str) -> None:
    for key in (keys / name, keys / f"{name}.pub"):
        signer = open_signer(key, home, lambda: SECRET)
        assert public(keys / name).verify(signer.sign(b"m"), b"m")
        for wrong in ("wrong", ""):
            with pytest.raises(KeyFileError, match=f"passphrase for .*{name} is wrong") as caught:
                open_signer(key, home, lambda wrong=wrong: wrong)  # type: ignore[misc]
            assert caught.value.exit_code == 3


@pytest.mark.parametrize(("name", "what"), [("id_rsa", "RSA"), ("id_ecdsa", "ECDSA")])
def test_other_types_are_refused_with_the_reason(keys: Path, home: Home, name: str, what: str) -> None:
    for key in (keys / name, keys / f"{name}.pub", (keys / f"{name}.pub").read_text()):
        with pytest.raises(KeyFileError, match=f"an? {what} key"):
            open_signer(key, home, never)
    with pytest.raises(KeyFileError, match=f"an? {what} key"):
        pinning.trust_add("acme", str(keys / f"{name}.pub"), home=home)
    pem = keys / f"{name}.pem"
    pem.write_bytes((keys / name).read_bytes())
    pem.chmod(0o600)
    keygen("-q", "-p", "-m", "PEM", "-P", "", "-N", "", "-f", pem)
    with pytest.raises(KeyFileError, match=f"an? {what} key"):
        open_signer(pem, home, never)


def test_a_security_devices_key_is_refused_before_any_passphrase(
    keys: Path, home: Home, tmp_path: Path
) -> None:
    """The files that `ssh-keygen -t ed25519-sk` leaves, as far as they say what they are."""
    data = base64.b64decode("".join((keys / "locked").read_text().splitlines()[1:-1]))
    inside = public(keys / "locked").wire
    token = b"\0\0\0\x1ask-ssh-ed25519@openssh.com" + inside[15:] + b"\0\0\0\4ssh:"
    for wire, reason in (
        (token, "security device"),
        (inside[:15] + inside[15:] + token[-8:], "follow its end"),
    ):
        changed = data.replace(
            len(inside).to_bytes(4, "big") + inside, len(wire).to_bytes(4, "big") + wire, 1
        )
        body = base64.b64encode(changed).decode()
        file = tmp_path / "sk"
        file.write_text(f"-----BEGIN OPENSSH PRIVATE KEY-----\n{body}\n-----END OPENSSH PRIVATE KEY-----\n")
        with pytest.raises(KeyFileError, match=reason):
            open_signer(file, home, never)
        line = tmp_path / "sk.pub"
        line.write_text(f"ssh-ed25519 {base64.b64encode(wire).decode()} relabelled\n")
        with pytest.raises(KeyFileError, match=reason):
            open_signer(line, home, never)


def test_a_key_of_ones_own_comes_before_what_lies_in_the_working_folder(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, _ = identity.new_key("acme", home=home)
    work = tmp_path / "work"
    (work / "acme").mkdir(parents=True)
    (work / "acme.pub").write_text("no key at all\n")
    monkeypatch.chdir(work)
    assert open_signer("acme", home, never).public_key == made


def test_names_in_the_home_folder(keys: Path, home: Home) -> None:
    with pytest.raises(KeyFileError, match="no key to sign with"):
        open_signer(None, home)
    made, path = identity.new_key("acme", home=home)
    for key in (None, "acme", path, made.fingerprint):
        assert open_signer(key, home, never).public_key == made
    with pytest.raises(UsageError, match="ssh-agent"):
        identity.new_key("agent", home=home)
    with pytest.raises(KeyFileError, match="no key 'nobody'"):
        open_signer("nobody", home)
    with pytest.raises(UsageError, match="no fingerprint"):
        open_signer("SHA256:abc", home)


# ---- the agent


def ways(keys: Path, name: str) -> list[str | Path]:
    """How the key may be named when an agent holds it."""
    line = (keys / f"{name}.pub").read_text()
    return [public(keys / name).fingerprint, keys / f"{name}.pub", line, f"key::{line}", "agent"]


def test_the_agent_signs_and_nobody_is_asked(keys: Path, home: Home, agent: Agent) -> None:
    agent.add(keys / "locked", passphrase=SECRET)
    same = FileSigner.load(keys / "locked", lambda: SECRET).sign(b"m")
    for key in (*ways(keys, "locked"), keys / "locked"):
        signer = open_signer(key, home, never)
        assert isinstance(signer, AgentSigner)
        assert signer.sign(b"m") == same


def test_a_private_file_that_is_gone_leaves_its_public_half(
    keys: Path, home: Home, agent: Agent, tmp_path: Path
) -> None:
    (tmp_path / "id.pub").write_bytes((keys / "id_ed25519.pub").read_bytes())
    with pytest.raises(AgentError, match=r"id\.pub is a public key") as caught:
        open_signer(tmp_path / "id", home, never)
    assert "ssh-add" in caught.value.hint
    agent.add(keys / "id_ed25519")
    assert open_signer(tmp_path / "id", home, never).sign(b"m")


def test_which_of_several_keys(keys: Path, home: Home, agent: Agent) -> None:
    agent.add(keys / "id_rsa", keys / "id_ecdsa")
    with pytest.raises(AgentError, match="no key to sign with") as caught:
        open_signer("agent", home)
    assert "RSA" in caught.value.message
    assert "ECDSA" in caught.value.message
    agent.add(keys / "id_ed25519", keys / "other")
    assert len(list_agent().others) == 2
    with pytest.raises(AgentError, match="Which key") as caught:
        open_signer("agent", home)
    for name in ("id_ed25519", "other"):
        assert f"{public(keys / name).fingerprint} ({name} at home)" in caught.value.message
        assert open_signer(public(keys / name).fingerprint, home).sign(b"m")
    with pytest.raises(AgentError, match="does not hold"):
        open_signer(public(keys / "locked").fingerprint, home)


def test_an_agent_that_will_not(keys: Path, home: Home, agent: Agent) -> None:
    agent.add(keys / "id_ed25519")
    agent.add("-c", keys / "other")
    signer = open_signer(public(keys / "id_ed25519").fingerprint, home)

    with pytest.raises(AgentError, match="declines to sign") as caught:
        open_signer(public(keys / "other").fingerprint, home).sign(b"m")
    assert "confirmation" in caught.value.hint

    agent.add("-x", passphrase="lock")
    with pytest.raises(AgentError, match="declines to sign") as caught:
        signer.sign(b"m")
    assert "ssh-add -X" in caught.value.hint
    with pytest.raises(AgentError, match=r"a locked one .*ssh-add -X"):
        open_signer("agent", home)
    agent.add("-X", passphrase="lock")
    assert signer.sign(b"m")

    agent.add("-d", keys / "id_ed25519")
    with pytest.raises(AgentError, match="declines to sign"):
        signer.sign(b"m")
    agent.end()
    with pytest.raises(AgentError, match=r"No ssh-agent answers|broke off"):
        signer.sign(b"m")
    with pytest.raises(AgentError, match="No ssh-agent answers") as caught:
        open_signer("agent", home)
    assert caught.value.exit_code == 3


def test_publish_with_the_agent(keys: Path, home: Home, agent: Agent, tmp_path: Path) -> None:
    agent.add(keys / "locked", passphrase=SECRET)
    folder = make_model(tmp_path / "model")
    made = publish(folder, "acme/tiny", key=keys / "locked.pub", detached=True, home=home)
    assert made.publisher == public(keys / "locked").fingerprint
    assert made.sshsig is not None
    found = verify("acme/tiny", detached=made.sshsig, home=home)
    assert (found.ok, found.publisher, found.sshsig) == (True, made.publisher, made.publisher)
    assert {path.name for path in folder.iterdir()} == {
        "weightshare.json",
        "model.safetensors",
        "config.json",
        "modèle 1.txt",
    }


def test_publish_that_the_agent_declines_leaves_nothing(
    keys: Path, home: Home, agent: Agent, tmp_path: Path
) -> None:
    agent.add("-c", keys / "id_ed25519")
    folder = make_model(tmp_path / "model")
    before = sorted(folder.iterdir())
    with pytest.raises(AgentError, match="declines"):
        publish(folder, "acme/tiny", key="agent", home=home, out=tmp_path / "out")
    assert sorted(folder.iterdir()) == before
    assert not home.releases.exists()
    assert not (tmp_path / "out").exists()
    assert KnownPublishers.load(home.known_publishers).pins == ()


def test_the_command_line(keys: Path, agent: Agent, tmp_path: Path) -> None:
    agent.add(keys / "id_ed25519")
    make_model(tmp_path / "model")
    words = ("publish", "model", "--name", "acme/tiny", "--license", "MIT", "--sshsig", "--out", "my post")
    done = weightshare(tmp_path, *words, "--key", "agent")
    assert done.returncode == 0, done.stderr.decode()
    assert shlex.split(done.stdout.decode().splitlines()[-1])[0].startswith("magnet:")

    # The lines it prints are for copying: run them as they are.
    notes = done.stderr.decode().splitlines()
    (export,) = (shlex.split(line)[1:] for line in notes if "trust export" in line)
    (check,) = (line for line in notes if "ssh-keygen" in line)
    ok(tmp_path, *export)
    line, _, manifest = check.partition(" < ")
    (path,) = shlex.split(manifest)
    program, *rest = shlex.split(line)
    assert program == "ssh-keygen"
    rest[rest.index("allowed_signers")] = str(tmp_path / "allowed_signers")
    rest[rest.index("-s") + 1] = str(tmp_path / rest[rest.index("-s") + 1])
    checked = keygen(*rest, stdin=(tmp_path / path).read_bytes())
    assert b"Good" in checked.stdout

    facts = result(tmp_path, *words, "--key", str(keys / "id_ed25519"))
    assert Path(str(facts["sshsig"])).name == "tiny.weightshare.json.sig"
    assert (
        result(tmp_path, "verify", "acme/tiny", "--sshsig", str(facts["sshsig"]))["sshsig"]
        == facts["publisher"]
    )
    agent.end()
    refused = result(tmp_path, *words, "--key", "agent", status=3)
    assert (refused["error"], refused["exit_code"]) == ("agent", 3)


def test_the_passphrase_comes_from_the_environment_or_not_at_all(keys: Path, tmp_path: Path) -> None:
    make_model(tmp_path / "model")
    words = ("publish", "model", "--name", "acme/tiny", "--key", str(keys / "locked"))
    variable = "WEIGHTSHARE_KEY_PASSPHRASE"
    assert weightshare(tmp_path, *words, more={variable: SECRET}).returncode == 0
    wrong = weightshare(tmp_path, *words, more={variable: "wrong"})
    assert wrong.returncode == 3
    assert b"passphrase for" in wrong.stderr
    assert b"locked" in wrong.stderr
    none = weightshare(tmp_path, *words)
    assert none.returncode == 3
    assert variable.encode() in none.stderr


# ---- their ssh-keygen on our signatures


@dataclass(frozen=True)
class Posted:
    """A release's manifest and its detached signature, with what stock OpenSSH needs to check it."""

    home: Home
    manifest: Path
    signature: Path
    signers: Path

    def accepts(
        self,
        *,
        name: str = "acme",
        namespace: str = "weightshare",
        revoked: Path | None = None,
        message: bytes | None = None,
    ) -> bool:
        words: list[str | Path] = ["-Y", "verify", "-f", self.signers, "-I", name, "-n", namespace]
        words += ["-s", self.signature, *(("-r", revoked) if revoked else ())]
        done = keygen(*words, stdin=self.manifest.read_bytes() if message is None else message, check=False)
        assert (b"Good" in done.stdout) == (done.returncode == 0)
        return done.returncode == 0


@pytest.fixture
def posted(keys: Path, home: Home, tmp_path: Path) -> Posted:
    made = publish(
        make_model(tmp_path / "model"),
        "acme/tiny",
        key=keys / "id_ed25519",
        detached=True,
        out=tmp_path / "post",
        home=home,
    )
    pinning.trust_add("globex", str(keys / "other.pub"), home=home)
    signers = tmp_path / "allowed_signers"
    trust_export(out=signers, home=home)
    assert made.sshsig == tmp_path / "post" / "tiny.weightshare.json.sig"
    return Posted(home, made.manifest, made.sshsig, signers)


def test_stock_openssh_checks_a_release(posted: Posted, keys: Path, tmp_path: Path) -> None:
    assert posted.accepts()
    data = posted.manifest.read_bytes()
    for position in (0, len(data) // 2, len(data) - 1):
        changed = bytearray(data)
        changed[position] ^= 1
        assert not posted.accepts(message=bytes(changed))
    assert not posted.accepts(name="globex")
    assert not posted.accepts(name="nobody")
    assert not posted.accepts(namespace="file")
    stored = next(posted.home.releases.glob("*/weightshare.json.sig"))
    assert stored.read_bytes() == posted.signature.read_bytes()

    damaged = bytearray(posted.signature.read_bytes())
    damaged[200] ^= 1
    posted.signature.write_bytes(damaged)
    assert not posted.accepts()
    assert signed_by(posted, keys / "other") == posted.signature
    assert posted.accepts(name="globex")
    assert not posted.accepts()


def test_what_is_revoked_is_not_exported(posted: Posted, keys: Path, tmp_path: Path) -> None:
    key = public(keys / "id_ed25519")
    revoked = tmp_path / "revoked_keys"
    trust_export(revoked=revoked, home=posted.home)
    assert revoked.read_text() == ""

    def revoke(known: KnownPublishers) -> KnownPublishers:
        return KnownPublishers.parse(known.render() + f"@revoked {key.openssh}\n")

    update(posted.home.known_publishers, revoke)
    found = trust_export(out=tmp_path / "fewer", revoked=revoked, home=posted.home)
    assert [pin.name for pin in found.exported] == ["globex"]
    assert {(pin.name, reason) for pin, reason in found.left_out} == {("acme", "revoked"), ("", "revoked")}
    assert posted.accepts()
    assert not posted.accepts(revoked=revoked)
    assert not Posted(posted.home, posted.manifest, posted.signature, tmp_path / "fewer").accepts()


# ---- our verify on their signatures


def signed_by(posted: Posted, key: Path, *options: str, namespace: str = "weightshare") -> Path:
    """What `ssh-keygen -Y sign` makes of the manifest."""
    signature = posted.manifest.with_name(f"{posted.manifest.name}.sig")
    signature.unlink(missing_ok=True)
    keygen("-Y", "sign", "-n", namespace, *options, "-f", key, posted.manifest)
    return signature


@pytest.mark.parametrize("options", [(), ("-O", "hashalg=sha256"), ("-O", "hashalg=sha512")])
def test_we_accept_what_ssh_keygen_signed(posted: Posted, keys: Path, options: tuple[str, ...]) -> None:
    signature = signed_by(posted, keys / "id_ed25519", *options)
    assert sshsig.verify(signature.read_bytes(), posted.manifest.read_bytes()) == public(keys / "id_ed25519")
    found = verify("acme/tiny", detached=signature, home=posted.home)
    assert found.sshsig == public(keys / "id_ed25519").fingerprint


def test_ed25519_signatures_are_the_same_whoever_makes_them(posted: Posted, keys: Path) -> None:
    ours = posted.signature.read_bytes()
    assert signed_by(posted, keys / "id_ed25519").read_bytes() == ours


REFUSED: dict[str, tuple[str, str, type[TrustError], str]] = {
    "other namespace": ("id_ed25519", "file", BadSignatureError, "namespace 'file'"),
    "git's namespace": ("id_ed25519", "git", BadSignatureError, "namespace 'git'"),
    "a stranger's key": ("locked", "weightshare", UnknownPublisherError, "not pinned"),
    "another publisher's key": ("other", "weightshare", UnknownPublisherError, "you know it as globex"),
    "rsa": ("id_rsa", "weightshare", BadSignatureError, "RSA"),
    "ecdsa": ("id_ecdsa", "weightshare", BadSignatureError, "ECDSA"),
}


@pytest.mark.parametrize(("name", "namespace", "kind", "problem"), REFUSED.values(), ids=REFUSED)
def test_we_refuse(
    posted: Posted, keys: Path, agent: Agent, name: str, namespace: str, kind: type[TrustError], problem: str
) -> None:
    agent.add(keys / name, passphrase=SECRET)  # ssh-keygen asks it, as we do
    signature = signed_by(posted, keys / name, namespace=namespace)
    with pytest.raises(kind, match=problem) as caught:
        verify("acme/tiny", detached=signature, home=posted.home)
    assert caught.value.exit_code == 3


def test_we_refuse_changed_and_revoked(posted: Posted, keys: Path, tmp_path: Path) -> None:
    home = posted.home
    with pytest.raises(BadSignatureError, match="cannot be read"):
        verify("acme/tiny", detached=tmp_path / "gone", home=home)
    signature = signed_by(posted, keys / "id_ed25519")
    manifest = bytearray(posted.manifest.read_bytes())
    manifest[10] ^= 1
    with pytest.raises(BadSignatureError, match="does not hold"):
        sshsig.verify(signature.read_bytes(), bytes(manifest))
    lines = signature.read_text().splitlines()
    damaged = [
        lines[0],
        lines[1],
        lines[2][:-5] + ("A" if lines[2][-5] != "A" else "B") + lines[2][-4:],
        *lines[3:],
    ]
    (tmp_path / "damaged").write_text("\n".join(damaged) + "\n")
    with pytest.raises(BadSignatureError):
        verify("acme/tiny", detached=tmp_path / "damaged", home=home)
    pinning.trust_add("acme", str(keys / "id_ed25519.pub"), models=("acme/tiny",), home=home)
    update(home.known_publishers, lambda known: _revoked(known, keys / "other"))
    with pytest.raises(RevokedError, match="which was revoked"):
        verify("acme/tiny", detached=signed_by(posted, keys / "other"), home=home)


def _revoked(known: KnownPublishers, key: Path) -> KnownPublishers:
    return KnownPublishers.parse(known.render() + f"@revoked {public(key).openssh}\n")


def test_a_second_key_of_the_publisher_counts_for_the_models_it_is_for(posted: Posted, keys: Path) -> None:
    home, both = posted.home, posted.manifest.with_name("acme.keys")
    both.write_text((keys / "id_ed25519.pub").read_text() + (keys / "locked.pub").read_text())
    with pytest.raises(WeightshareError, match="another set of keys"):
        pinning.trust_add("acme", str(both), home=home)
    pinning.trust_add("acme", str(both), replace=True, home=home)
    signature = posted.manifest.with_name("second.sig")
    signature.write_bytes(
        sshsig.make(posted.manifest.read_bytes(), FileSigner.load(keys / "locked", lambda: SECRET))
    )
    assert verify("acme/tiny", detached=signature, home=home).sshsig == public(keys / "locked").fingerprint
    text = home.known_publishers.read_text()
    lines = [
        line.replace('models="*"', 'models="acme/other"')
        if public(keys / "locked").openssh[:80] in line
        else line
        for line in text.splitlines()
    ]
    home.known_publishers.write_text("\n".join(lines) + "\n")
    with pytest.raises(UnknownPublisherError, match="not for acme/tiny"):
        verify("acme/tiny", detached=signature, home=home)


def test_a_mirrors_key_makes_no_publishers_signature(posted: Posted, keys: Path) -> None:
    pinning.trust_add("cdn", str(keys / "locked.pub"), mirror=True, home=posted.home)
    pinning.trust_remove("globex", posted.home)
    pinning.trust_add("acme", str(keys / "other.pub"), mirror=True, home=posted.home)
    signature = signed_by(posted, keys / "other")
    with pytest.raises(UnknownPublisherError, match="not pinned"):
        verify("acme/tiny", detached=signature, home=posted.home)
    assert {pin.name for pin in trust_export(home=posted.home).exported} == {"acme"}


def test_a_mirror_signs_with_its_agent(posted: Posted, keys: Path, agent: Agent, tmp_path: Path) -> None:
    agent.add(keys / "locked", passphrase=SECRET)
    pinning.trust_add("cdn", str(keys / "locked.pub"), mirror=True, home=posted.home)
    out = tmp_path / "cdn.countersig.json"
    verify("acme/tiny", sign_as=keys / "locked.pub", passphrase=never, out=out, home=posted.home)
    found = verify("acme/tiny", attestations=[out], require_mirrors=1, home=posted.home)
    assert [mirror.name for mirror in found.mirrors] == ["cdn"]


# ---- teams, and a second kind of key


def test_a_team_signs_with_its_members_agents(keys: Path, home: Home, agent: Agent, tmp_path: Path) -> None:
    agent.add(keys / "id_ed25519", keys / "other")
    agent.add(keys / "locked", passphrase=SECRET)
    members = ("id_ed25519", "other", "locked")
    root = teams.new_team("acme", [str(keys / f"{name}.pub") for name in members], 2, out=tmp_path, home=home)
    assert root.path is not None
    teams.sign_root(root.path, key=keys / "other.pub", home=home)
    signed = teams.sign_root(root.path, key=public(keys / "locked").fingerprint, passphrase=never, home=home)
    assert signed.complete
    pinning.trust_add("acme", str(root.path), home=home)

    folder = make_model(tmp_path / "model")
    drafted = prepare(folder, "acme/tiny", key=keys / "id_ed25519.pub", out=tmp_path, home=home)
    done = sign_manifest(drafted.manifest, key=keys / "locked", passphrase=never, home=home)
    assert done.tally.missing == 0
    made = finish(drafted.manifest, home=home)
    assert made.publisher == signed.fingerprint

    # A member's detached signature counts beside the team's; anybody else's does not.
    signature = tmp_path / "detached.sig"
    envelope = made.manifest.read_bytes()
    signature.write_bytes(sshsig.make(envelope, open_signer(keys / "other.pub", home)))
    assert verify("acme/tiny", detached=signature, home=home).sshsig == public(keys / "other").fingerprint
    make_key(tmp_path / "stranger")
    signature.write_bytes(sshsig.make(envelope, open_signer(tmp_path / "stranger", home)))
    with pytest.raises(UnknownPublisherError, match="not by a key pinned for acme"):
        verify("acme/tiny", detached=signature, home=home)
    ((pin, reason),) = trust_export(home=home).left_out
    assert (pin.name, reason[:6]) == ("acme", "a team")


def test_the_agent_signs_beside_a_second_key_in_a_file(home: Home, agent: Agent, tmp_path: Path) -> None:
    pytest.importorskip("cryptography.hazmat.primitives.asymmetric.mldsa", reason="needs ML-DSA")
    made, path = identity.new_key("nova", passphrase=SECRET, home=home)
    second = identity.new_second_key(path)
    agent.add(path, passphrase=SECRET)
    for key in ("nova", path, public_path_of(path), made.fingerprint):
        signer, half = open_both(key, home, never)
        assert isinstance(signer, AgentSigner)
        assert half is not None
        assert half.public_key == second
    assert open_both("agent", home, never)[1] is None
    published = publish(make_model(tmp_path / "model"), "nova/tiny", key="nova", passphrase=never, home=home)
    assert published.publisher == made.fingerprint
    (note,) = trust_export(home=home).notes
    assert "ML-DSA-44" in note
