"""`run`, whole, on files that are cut short while the model answers: exit 4 with the file named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders_load import release_of
from tests.integration.test_run_tiny import checkpoint, words

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the handler is for Linux")

PROGRAM = """
import sys
from pathlib import Path
from weightshare.run import generation
from weightshare_cli.main import main

# Open for writing already, so that no lease is to be had.
files = [path.open("r+b") for path in Path(sys.argv[1]).glob("*.safetensors")]
generate = generation.generate

def cut_first(*arguments, **more):
    for file in files:
        file.truncate(0)
    return generate(*arguments, **more)

generation.generate = cut_first
sys.exit(main(["run", sys.argv[1], "w3 w4", "--trust", sys.argv[2], "--device", "cpu", *sys.argv[3:]]))
"""


@pytest.mark.parametrize("json_wanted", [True, False])
def test_files_cut_short_while_the_model_answers(tmp_path: Path, json_wanted: bool) -> None:
    folder = checkpoint(tmp_path / "model", "llama")
    words(folder)
    release = release_of(folder, tmp_path / "keys")
    (folder / "weightshare.json").write_bytes(release.verified.envelope)
    done = subprocess.run(
        [
            *(sys.executable, "-c", PROGRAM, str(folder), release.verified.fingerprint),
            *(["--json"] if json_wanted else []),
        ],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env={**os.environ, "WEIGHTSHARE_HOME": str(tmp_path / "home")},
    )
    assert done.returncode == 4, done.stdout + done.stderr
    if json_wanted:
        told = json.loads(done.stdout)
        assert (told["error"], told["exit_code"], told["found"]) == ("corrupt", 4, 0)
        assert told["path"] in {path.name for path in folder.glob("*.safetensors")}
        assert "changed while it was used" in told["message"]
    else:
        assert "model-0000" in done.stderr
        assert "changed while" in done.stderr
