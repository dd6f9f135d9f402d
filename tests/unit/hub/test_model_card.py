"""The licence that a model card names, as an SPDX expression that a manifest takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from weightshare.api.asking import check_asked
from weightshare.hub.model_card import licence_in, licence_of, spdx_of


@pytest.mark.parametrize(
    ("name", "spdx"),
    [
        ("apache-2.0", "Apache-2.0"),
        ("mit", "MIT"),
        ("MIT", "MIT"),
        ("cc-by-nc-sa-4.0", "CC-BY-NC-SA-4.0"),
        ("cc0-1.0", "CC0-1.0"),
        ("gpl-3.0", "GPL-3.0-only"),
        ("bsd-3-clause", "BSD-3-Clause"),
        ("odbl", "ODbL-1.0"),
        ("etalab-2.0", "etalab-2.0"),
        ("llama3", "LicenseRef-llama3"),
        ("llama3.1", "LicenseRef-llama3.1"),
        ("gemma", "LicenseRef-gemma"),
        ("openrail++", "LicenseRef-openrail"),
        ("bigcode-openrail-m", "LicenseRef-bigcode-openrail-m"),
        ("cc", "LicenseRef-cc"),
        ("unknown", None),
        ("", None),
    ],
)
def test_a_name_of_the_hub(name: str, spdx: str | None) -> None:
    assert spdx_of(name) == spdx
    check_asked("acme/m7b", {"license": spdx})


@pytest.mark.parametrize(
    ("text", "spdx"),
    [
        ("---\nlicense: apache-2.0\n---\n# m7b\n", "Apache-2.0"),
        ("\ufeff---\r\nlanguage: en\r\nlicense: 'mit'\r\n---\r\n", "MIT"),
        ("---\nlicense:\n- mit\n---\n", "MIT"),
        ("---\nlicense: [mit, apache-2.0]\n---\n", None),
        ("---\nlicense: other\nlicense_name: Acme Research 1.0\n---\n", "LicenseRef-Acme-Research-1.0"),
        ("---\nlicense: other\n---\n", "LicenseRef-other"),
        ("---\nlicense: other\nlicense_name: '../$(rm)'\n---\n", "LicenseRef-rm"),
        ("---\nlanguage: en\n---\nlicense: mit\n", None),
        ("# no metadata\nlicense: mit\n", None),
        ("---\nlicense: 2\n---\n", None),
        ("---\n- license\n---\n", None),
        ("---\nlicense: [\n---\n", None),
        ("---\n!!python/object/apply:os.system ['true']\n---\n", None),
        ("", None),
    ],
)
def test_a_card(text: str, spdx: str | None, tmp_path: Path) -> None:
    assert licence_in(text) == spdx
    (tmp_path / "README.md").write_bytes(text.encode())
    assert licence_of(tmp_path / "README.md") == spdx
    check_asked("acme/m7b", {"license": spdx})


def test_no_card(tmp_path: Path) -> None:
    assert licence_of(tmp_path / "README.md") is None
