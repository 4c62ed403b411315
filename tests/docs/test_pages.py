"""All pages: links lead somewhere, and paths and names of the code exist."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = (".", "docs", "examples", "models/weights")
PAGES = [page for folder in FOLDERS for page in sorted((ROOT / folder).glob("*.md"))]
OF_CODE = [ROOT / "docs" / "architecture.md", ROOT / "CONTRIBUTING.md"]
"""The pages that a newcomer finds the code by."""

pytestmark = pytest.mark.skipif(not OF_CODE[0].is_file(), reason="the documentation is not beside the tests")


def text_of(page: Path) -> str:
    """A page without its code blocks."""
    return re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """What the headings of a page are called in links to them."""
    headings = re.findall(r"^#+ (.+)$", text_of(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def faults_of_links(page: Path, text: str) -> list[str]:
    """The relative links of a text on a page that lead nowhere."""
    faults = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"\w+:", link):
            continue
        place, _, anchor = link.partition("#")
        target = page.parent / place if place else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            faults.append(link)
    return faults


def names_in(source: str) -> set[str]:
    """The names that a module defines at its top."""
    names = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.add(node.name)
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


def faults_of_paths(text: str) -> list[str]:
    """The paths (and names in them) of the code in a text that do not exist."""
    faults = []
    for path, name in re.findall(r"`((?:codec|models|recipes|cli|tests|docs)/[\w/.]*)(?::(\w+))?`", text):
        place = ROOT / path
        exists = place.is_dir() if path.endswith("/") else place.is_file()
        if not exists or (name and name not in names_in(place.read_text("utf-8"))):
            faults.append(f"{path}:{name}")
    return faults


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links(page: Path) -> None:
    assert faults_of_links(page, text_of(page)) == []


@pytest.mark.parametrize("page", OF_CODE, ids=lambda page: page.name)
def test_paths_of_the_code(page: Path) -> None:
    text = text_of(page)
    assert len(re.findall(r"`\w+/[\w/]+\.py:\w+`", text)) >= 8
    assert faults_of_paths(text) == []


def test_rotten_links_and_paths_are_noticed() -> None:
    good = "[a](architecture.md#five-questions) [b](#layout) [c](https://example.org/nothing)"
    assert faults_of_links(OF_CODE[0], good + " [d](gone.md) [e](#gone)") == ["gone.md", "#gone"]
    good = "`models/bottlenecks/` `recipes/metrics/table.py:METRICS`"
    assert faults_of_paths(good + " `codec/gone.py` `recipes/metrics/table.py:gone`") == [
        "codec/gone.py:",
        "recipes/metrics/table.py:gone",
    ]


def test_the_layout_names_every_package() -> None:
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["packages"]
    inner = [package.split(".")[1:] for package in packages]
    folders = {
        "/".join(part if part[:1] in (["models"], ["recipes"], ["cli"], ["web"]) else ["codec", *part])
        for part in inner
    }
    layout = text_of(OF_CODE[0]).split("## Layout")[1].split("## Shapes")[0]
    assert set(re.findall(r"^\| `([\w/]+)/` ", layout, flags=re.MULTILINE)) - {"tests"} == folders


def test_five_questions_are_answered() -> None:
    questions = text_of(OF_CODE[0]).split("## Five questions")[1].split("## ")[0]
    rows = [line for line in questions.splitlines() if "?" in line]
    assert len(rows) == 5
    assert all(re.search(r"`(codec|models|recipes)/", row) for row in rows)
