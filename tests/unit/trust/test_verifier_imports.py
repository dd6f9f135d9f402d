"""What the way from bytes to a verified manifest depends on: the standard library, and cryptography."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.builders_releases import knows, pin, release, signer

CRYPTOGRAPHY = {"cryptography", "_openssl", "_cffi_backend", "cffi", "pycparser", "bcrypt"}
"""The package, what its wheel brings, and what it asks for itself (`bcrypt` for encrypted OpenSSH keys)."""

CODE = """
import sys
before = {name.partition(".")[0] for name in sys.modules}
from pathlib import Path
from weightshare.trust import gate
from weightshare.trust.publishers import KnownPublishers
verified = gate.verify(Path(sys.argv[1]).read_bytes(), KnownPublishers.parse(sys.argv[2]))
assert verified.release == "acme/m7b@1.0"
after = {name.partition(".")[0] for name in sys.modules}
print(*sorted(after - before - set(sys.stdlib_module_names)))
"""


def _imported(tmp_path: Path, more: str = "") -> set[str]:
    envelope = tmp_path / "weightshare.json"
    envelope.write_bytes(release().envelope)
    known = knows(pin(signer())).render()
    command = [sys.executable, "-c", CODE.replace("verified =", f"{more}\nverified ="), str(envelope), known]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(ran.stdout.split())


def test_verifying_a_release_needs_cryptography_alone(tmp_path: Path) -> None:
    imported = _imported(tmp_path)
    assert "cryptography" in imported
    assert imported - {"weightshare"} <= CRYPTOGRAPHY


def test_and_it_would_be_noticed_if_it_needed_more(tmp_path: Path) -> None:
    assert "jsonschema" in _imported(tmp_path, "import jsonschema")
