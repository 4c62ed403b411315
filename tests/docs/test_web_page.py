"""docs/web.md says what the page is made of."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vqcodec.cli.serve.server import POLICY

ROOT = Path(__file__).resolve().parents[2]
PAGE_FILE = ROOT / "docs" / "web.md"
PAGE = PAGE_FILE.read_text("utf-8") if PAGE_FILE.is_file() else ""

pytestmark = pytest.mark.skipif(not PAGE, reason="the documentation is not beside the tests")


def test_the_modules_exist() -> None:
    named = re.findall(r"`(web/[\w./-]+\.(?:js|sh))`", PAGE)
    assert len(named) >= 10
    assert [name for name in named if not (ROOT / name).is_file()] == []


def test_the_policy_is_the_one_sent() -> None:
    assert f"```\n{POLICY}\n```" in PAGE


def test_the_version_is_the_pinned_one() -> None:
    [version] = re.findall(r"^version=(.+)$", (ROOT / "web" / "vendor.sh").read_text(), flags=re.MULTILINE)
    assert f"onnxruntime-web {version}" in PAGE
