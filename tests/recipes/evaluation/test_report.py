"""The report: what its page says, that it needs nothing else, and how a browser shows it."""

import base64
import dataclasses
import itertools
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chromium import chromium
from synthetic import noise, tone, voice
from vqcodec.errors import ConfigError
from vqcodec.recipes.evaluation.analysis import best_systems, needed_bitrate, rank_files
from vqcodec.recipes.evaluation.report import PAGE_NAME, featured_files, write_report
from vqcodec.recipes.evaluation.results import EvaluationResult, SystemFacts, SystemSummary
from vqcodec.recipes.evaluation.store import Evaluation, EvaluationFailure, EvaluationStore, RunFacts
from vqcodec.recipes.metrics import METRICS
from vqcodec.recipes.reporting import charts
from vqcodec.recipes.statistics import Interval

for package in ("jinja2", "matplotlib", "plotly"):
    pytest.importorskip(package, reason="the eval extra is not installed")

RATE = 16_000
TITLE = 'A <b>report</b> & "more"'
PESQ, STOI, MCD = METRICS["pesq_wb"], METRICS["stoi"], METRICS["mcd"]


def system(name: str, codec: str, setting: str) -> SystemFacts:
    return SystemFacts(name=name, codec=codec, setting=setting, version=f"{codec} 1.0")


REFERENCE = system("reference", "Reference", "")
BAND = system("band-4", "Band limit", "4 kHz")
OURS = tuple(system(f"vqcodec-{rate}", "vqcodec test", f"{rate} kbit/s") for rate in (1.5, 3, 6))
OPUS = tuple(system(f"opus-{rate}", "Opus", f"{rate} kbit/s") for rate in (6, 9, 16))
SYSTEMS = (REFERENCE, *OURS, *OPUS, BAND)

# Bitrate in kbit/s and the scores of the middle file.
QUALITY = {
    "reference": (256.0, {"pesq_wb": 4.64, "stoi": 1.0, "mcd": 0.0}),
    "vqcodec-1.5": (1.6, {"pesq_wb": 1.6, "stoi": 0.82, "mcd": 6.0}),
    "vqcodec-3": (3.1, {"pesq_wb": 2.2, "stoi": 0.88, "mcd": 5.0}),
    "vqcodec-6": (6.1, {"pesq_wb": 2.7, "stoi": 0.92, "mcd": 4.0}),
    "opus-6": (6.4, {"pesq_wb": 2.0, "stoi": 0.90, "mcd": 7.0}),
    "opus-9": (9.6, {"pesq_wb": 2.8, "stoi": 0.93, "mcd": 6.0}),
    "opus-16": (16.0, {"pesq_wb": 3.6, "stoi": 0.97, "mcd": 5.5}),
    "band-4": (128.0, {"pesq_wb": 3.9, "stoi": 0.99, "mcd": 3.0}),
}
FILES = ("a/plain.wav", "b/worst.wav", "<script>alert(1)</script>&\"'é.flac", "best.wav")
# Added to the score of the middle file; the lower, the worse.
GOODNESS = dict(zip(FILES, (0.0, -0.4, 0.1, 0.3), strict=True))


def evaluation_of(
    folder: Path,
    *,
    files: Mapping[str, float] = GOODNESS,
    systems: Sequence[SystemFacts] = SYSTEMS,
    metrics: Sequence[str] = ("pesq_wb", "stoi", "mcd"),
    quality: Mapping[str, tuple[float, Mapping[str, float]]] = QUALITY,
    codes_of: str | None = "vqcodec-6",
    sounds: bool = True,
    failures: Sequence[EvaluationFailure] = (),
    notes: Sequence[str] = (),
    trained_on_scores: Sequence[str] = (),
) -> Evaluation:
    """An evaluation as a run leaves it, with made-up scores."""
    store = EvaluationStore(folder)
    store.begin(
        RunFacts(
            sample_rate=RATE,
            metrics=tuple(metrics),
            systems=tuple(systems),
            files=dict.fromkeys(files, 1000),
            model={
                "name": "test",
                "codebook_size": 16,
                "parameters": 1234567,
                "trained_on_scores": list(trained_on_scores),
            }
            if codes_of
            else {},
            codes_of=codes_of,
            notes=tuple(notes),
        )
    )
    for number, (file, goodness) in enumerate(files.items()):
        duration_s = 1.0 + 0.1 * (number % 5)
        for one in systems:
            if any(failure.file == file and failure.system in (one.name, None) for failure in failures):
                continue
            kbps, scores = quality[one.name]
            sign = {name: 1 if METRICS[name].higher_is_better else -1 for name in metrics}
            ceiling = one in (REFERENCE, BAND)
            store.append(
                EvaluationResult(
                    file=file,
                    system=one.name,
                    duration_s=duration_s,
                    bytes=round(kbps * 125 * duration_s),
                    encode_s=0.0 if ceiling else 0.01 * duration_s,
                    decode_s=0.0 if ceiling else 0.3 * duration_s,
                    scores={
                        name: scores[name] + (0.0 if ceiling else sign[name] * goodness * scores[name] / 4)
                        for name in metrics
                        if name in scores
                    },
                )
            )
            if sounds:
                sound = voice(duration_s, seed=number) + 0.02 * noise(duration_s, seed=len(one.name))
                store.keep_audio(file, one.name, sound.astype(np.float32), RATE)
        if codes_of:
            store.keep_codes(file, codes_of, np.random.default_rng(number).integers(0, 13, (3, 60)))
    for failure in failures:
        store.append(failure)
    return store.load()


class Page(HTMLParser):
    """A page, read as strictly as its template is written: whatever is opened is closed."""

    VOID = frozenset({"meta", "link", "img", "br"})

    def __init__(self, source: str) -> None:
        super().__init__()
        self.source = source
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: dict[str, list[str]] = {}  # by the innermost element
        self.rows: dict[str, list[list[tuple[dict[str, str], str]]]] = {}  # by the section's identifier
        self._open: list[str] = []
        self._section = ""
        self.feed(source)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.elements.append((tag, attributes))
        if tag == "section":
            self._section = attributes["id"]
        if tag == "tr":
            self.rows.setdefault(self._section, []).append([])
        if tag in ("td", "th"):
            self.rows[self._section][-1].append((attributes, ""))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, self.getpos()

    def handle_data(self, data: str) -> None:
        if not self._open:
            assert not data.strip()
            return
        self.texts.setdefault(self._open[-1], []).append(data)
        if "td" in self._open or "th" in self._open:
            attributes, text = self.rows[self._section][-1][-1]
            self.rows[self._section][-1][-1] = (attributes, text + data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        """All that is to be read, in order, with single spaces."""
        visible = re.sub(r"<(script|style|svg)\b.*?</\1>", "", self.source, flags=re.DOTALL)
        plain = Plain()
        plain.feed(visible)
        return " ".join("".join(plain.parts).split())


class Plain(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []

    def handle_data(self, data: str) -> None:
        self.parts.append(data)


def page_of(evaluation: Evaluation, featured: Sequence[str] = ()) -> Page:
    return Page(write_report(evaluation, TITLE, featured).read_text("utf-8"))


FAILURES = (EvaluationFailure(file="a/plain.wav", system="opus-6", reason="opusenc said </td> & died"),)
NOTES = ("left out: Speex needs the package <speex>",)


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    return evaluation_of(tmp_path_factory.mktemp("evaluation") / "out", notes=NOTES)


@pytest.fixture(scope="module")
def page(evaluation: Evaluation) -> Page:
    return page_of(evaluation, featured_files(evaluation, 3))


# The page as a file.


def test_page_lies_in_the_folder_and_is_replaced(evaluation: Evaluation, page: Page) -> None:
    path = evaluation.store.folder / PAGE_NAME
    path.write_text("older", "utf-8")
    assert write_report(evaluation, TITLE, []) == path
    assert path.read_text("utf-8").startswith("<!doctype html>")
    assert [one.name for one in path.parent.iterdir() if one.name.startswith(PAGE_NAME)] == [PAGE_NAME]


def test_page_loads_nothing(page: Page) -> None:
    for tag, attributes in page.elements:
        for name, value in attributes.items():
            if name in ("src", "href", "xlink:href", "action", "poster", "data", "srcset"):
                assert value.startswith(("#", "data:")), (tag, name, value[:80])
            elif name not in ("xmlns", "xmlns:xlink"):
                assert "//" not in value, (tag, name, value[:80])
            assert all(found.startswith("#") for found in re.findall(r"url\(([^)]*)", value))
    styles = "".join(page.texts["style"])
    assert "url(" not in styles
    assert "@import" not in styles
    (policy,) = [one["content"] for one in page.all("meta") if one.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "http" not in policy


def test_identifiers_are_unique(page: Page) -> None:
    identifiers = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    targets = [one["href"][1:] for one in page.all("a")]
    assert set(targets) <= set(identifiers)


def test_names_are_escaped(evaluation: Evaluation, page: Page) -> None:
    assert "".join(page.texts["title"]) == TITLE
    assert TITLE in page.texts["h1"]
    assert len(page.all("script")) == 3
    assert [one for one in page.all("b") if one] == []
    assert FILES[2] in page.text
    assert NOTES[0] in page.text


def test_data_for_scripts_are_safe(tmp_path: Path) -> None:
    nasty = "</script><script>alert(1)</script><!--"
    ours = [dataclasses.replace(one, codec=nasty) for one in OURS]
    page = page_of(evaluation_of(tmp_path / "out", systems=[REFERENCE, *ours], sounds=False))
    assert len(page.all("script")) == 3
    (data,) = [text for text in page.texts["script"] if text.startswith("[")]
    assert json.loads(data)[0]["curves"][0]["label"] == nasty


def test_page_follows_the_theme(page: Page) -> None:
    style = "".join(page.texts["style"])
    light, dark = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    assert re.search(r"@media \(prefers-color-scheme: dark\) \{\s*:root", style)
    themes = [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", text)) for text in (light, dark)]
    assert themes[0].keys() == themes[1].keys()
    assert {f"codec-{number}" for number in range(charts.COLOURS)} < themes[0].keys()
    for theme in themes:
        for background in ("page", "card", "tint"):
            assert contrast(theme["text"], theme[background]) >= 7
            assert contrast(theme["soft"], theme[background]) >= 4.5  # WCAG 2.1, 1.4.3
        for number in range(charts.COLOURS):
            assert contrast(theme[f"codec-{number}"], theme["card"]) >= 3  # 1.4.11: graphics, and bold names
    assert {one["content"] for one in page.all("meta") if one.get("name") == "color-scheme"} == {"light dark"}


def contrast(first: str, second: str) -> float:
    """WCAG 2.1, contrast ratio."""

    def luminance(colour: str) -> float:
        values = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


# What it says.


def test_answer_is_made_of_the_numbers(evaluation: Evaluation, page: Page) -> None:
    summaries = {one.system.name: one for one in evaluation.summaries}
    ours, below, above = (summaries[name] for name in ("vqcodec-3", "opus-6", "opus-9"))
    score = ours.scores["pesq_wb"]
    assert (
        f"At {kbps(ours)} kbit/s on disk, vqcodec test scores {score.value:.2f} ± {score.half_width:.2f}" in page.text
    )
    share = (score.value - below.scores["pesq_wb"].value) / (
        above.scores["pesq_wb"].value - below.scores["pesq_wb"].value
    )
    needed = below.bitrate_bps.value * (above.bitrate_bps.value / below.bitrate_bps.value) ** share
    assert f"Opus needs about {needed / 1000:.3g} kbit/s" in page.text
    assert f"{needed / ours.bitrate_bps.value:.2g} times the bits" in page.text
    assert f"at {kbps(below)} kbit/s and" in page.text
    assert "Reference scores 4.64" in page.text
    # At its lowest bitrate Opus has a better STOI already; its best MCD is not as good as ours.
    rows = {cells[0][1].split()[0]: cells for cells in page.rows["short"] if cells[0][0].get("scope") == "row"}
    assert rows["STOI"][2][1] == f"≤ {kbps(below)}"
    assert rows["MCD"][2][1] == f"> {kbps(summaries['opus-16'])}"


def test_scores_that_the_model_was_trained_on_are_marked(tmp_path: Path, page: Page) -> None:
    assert "†" not in page.text
    scores = ["stoi", "mcd"]
    marked = page_of(evaluation_of(tmp_path / "out", trained_on_scores=scores, sounds=False))
    heads = [text for attributes, text in marked.rows["table"][0]]
    assert [("†" in text) for text in heads if any(word in text for word in ("PESQ", "STOI", "MCD"))] == [
        False,
        True,
        True,
    ]
    assert "†: the model was trained on a loss that imitates this score" in marked.text
    assert ["trained on scores", "stoi, mcd"] in [[text for _, text in row] for row in marked.rows["method"]]
    assert {one["axis"] for one in charts_of(marked)} == {one["axis"] for one in charts_of(page)}


def charts_of(page: Page) -> list[dict[str, Any]]:
    (data,) = [text for text in page.texts["script"] if text.startswith("[")]
    found: list[dict[str, Any]] = json.loads(data)
    return found


def kbps(summary: SystemSummary) -> str:
    return f"{summary.bitrate_bps.value / 1000:#.3g}"


def test_table_has_the_summaries(evaluation: Evaluation, page: Page) -> None:
    rows = [cells for cells in page.rows["table"] if cells[0][0].get("scope") == "row"]
    shown = dict(zip([one["data-system"] for one in page.all("tr") if "data-system" in one], rows, strict=True))
    assert list(shown) == [*(one.name for one in OURS), *(one.name for one in OPUS), "reference", "band-4"]
    for summary in evaluation.summaries:
        cells = shown[summary.system.name]
        assert summary.system.title in cells[0][1]
        assert float(cells[1][1]) == pytest.approx(summary.bitrate_bps.value / 1000, rel=0.005)
        scores = {attributes["data-score"]: text for attributes, text in cells if "data-score" in attributes}
        assert scores.keys() == summary.scores.keys()
        for name, text in scores.items():
            value, half_width = text.split(" ± ")
            tolerance = 0.5000001 * 10.0 ** -len(value.partition(".")[2])
            assert float(value) == pytest.approx(summary.scores[name].value, abs=tolerance)
            assert float(half_width) == pytest.approx(summary.scores[name].half_width, abs=tolerance)
    assert [text for _, text in shown["opus-9"][-2:]] == ["100", "3.33"]
    assert [text for _, text in shown["reference"][-2:]] == ["–", "–"]


def test_bold_is_what_the_intervals_allow(evaluation: Evaluation, page: Page) -> None:
    rows = [cells for cells in page.rows["table"] if cells[0][0].get("scope") == "row"]
    for metric in (PESQ, STOI, MCD):
        bold = {
            name
            for name, cells in zip([one.name for one in (*OURS, *OPUS, REFERENCE, BAND)], rows, strict=True)
            for attributes, _ in cells
            if attributes.get("data-score") == metric.name and attributes.get("class") == "best"
        }
        coded = [one for one in evaluation.summaries if one.system not in (REFERENCE, BAND)]
        assert bold == best_systems(coded, metric)
    assert "opus-16" in best_systems(evaluation.summaries[1:-1], PESQ)
    assert "vqcodec-6" in best_systems(evaluation.summaries[1:-1], MCD)


def test_every_file_is_listed_worst_first(page: Page) -> None:
    names = [cells[0][1] for cells in page.rows["files"] if cells[0][0].get("scope") == "row"]
    assert names == sorted(FILES, key=GOODNESS.__getitem__)


def test_featured_files_can_be_heard(evaluation: Evaluation, page: Page) -> None:
    featured = featured_files(evaluation, 3)
    heard = {(one["data-file"], one["data-system"]): one for one in page.all("audio")}
    assert list(heard) == list(itertools.product(featured, [one.name for one in SYSTEMS]))
    for (file, name), player in heard.items():
        assert "controls" in player
        assert player["preload"] == "none"
        assert file in player["aria-label"]
        kind, _, content = player["src"].partition(",")
        assert kind == "data:audio/flac;base64"
        assert base64.b64decode(content) == evaluation.store.audio_path(file, name).read_bytes()


def test_featured_files_can_be_seen(evaluation: Evaluation, page: Page) -> None:
    from PIL import Image

    images = page.all("img")
    assert len(images) == 3 * len(SYSTEMS)
    for file in featured_files(evaluation, 3):
        assert len([one for one in images if one["alt"].startswith(f"Spectrogram of {file}, ")]) == len(SYSTEMS)
    for one in images:
        kind, _, content = one["src"].partition(",")
        assert kind == "data:image/webp;base64"
        with Image.open(BytesIO(base64.b64decode(content))) as image:
            assert image.format == "WEBP"
            assert image.height == 257


def test_featured_files_say_why(page: Page) -> None:
    for reason in ("worst of 4", "median of 4", "best of 4"):
        assert reason in page.text
    assert "by PESQ-WB of vqcodec test 3 kbit/s" in page.text


def test_pictures_have_words(evaluation: Evaluation, page: Page) -> None:
    labels = [one["aria-label"] for one in page.all("div") if one.get("role") == "img"]
    assert len(labels) == 2 * 3 + 1  # each chart twice, the codebooks once
    assert any(label.startswith("PESQ-WB against bitrate. vqcodec test: ") for label in labels)
    assert all(one.get("alt") for one in page.all("img"))
    assert all("scope" in one for one in page.all("th"))


def test_codebooks_are_told(page: Page) -> None:
    rows = [[text for _, text in cells] for cells in page.rows["codebooks"]]
    assert [row[0] for row in rows] == ["Stage", "1", "2", "3"]
    assert [row[3] for row in rows[1:]] == ["81.2"] * 3  # 13 of 16
    assert all(3.6 < float(row[1]) < np.log2(13) for row in rows[1:])
    assert "240 frames" in page.text
    assert "few frames" not in page.text


def test_method_is_told(page: Page) -> None:
    for words in ("ITU-T P.862.2", "Taal et al. 2011", "Kubichek 1993", "Opus 1.0", "whole .vq file", "2000 resamples"):
        assert words in page.text


def test_sizes_are_told(evaluation: Evaluation, page: Page) -> None:
    told = re.search(r"sounds (\d+\.\d), spectrograms (\d+\.\d), plotly.js \D*(\d+\.\d)", page.text)
    assert told
    assert sum(map(float, told.groups())) == pytest.approx(len(page.source) / 1e6, abs=0.4)


def test_failures_are_told(tmp_path: Path) -> None:
    evaluation = evaluation_of(tmp_path / "out", failures=FAILURES, sounds=False)
    page = page_of(evaluation, FILES[:1])
    assert [text for _, text in page.rows["problems"][1]] == ["a/plain.wav", "opus-6", FAILURES[0].reason]
    assert "3 recordings," in page.text
    assert "Of 4 recordings these are the ones that were measured with every system." in page.text
    assert page.text.count(FAILURES[0].reason) == 2  # among the problems, and in place of a player


def test_far_ceilings_are_told_not_drawn(tmp_path: Path) -> None:
    quality = {name: (kbps, {"si_sdr": 100.0 if name == "reference" else kbps}) for name, (kbps, _) in QUALITY.items()}
    systems = [one for one in SYSTEMS if one is not BAND]
    page = page_of(evaluation_of(tmp_path / "out", systems=systems, metrics=["si_sdr"], quality=quality, sounds=False))
    assert "Too far away to be drawn: Reference 100.0." in page.text


# What it can be made of.


def test_one_system(tmp_path: Path) -> None:
    page = page_of(evaluation_of(tmp_path / "out", systems=OURS[:1], codes_of="vqcodec-1.5"), FILES[:1])
    assert "At 1.60 kbit/s on disk, vqcodec test scores" in page.text
    assert "No other codec was measured" in page.text
    assert len(page.all("audio")) == 1


def test_one_file_has_no_intervals(tmp_path: Path) -> None:
    page = page_of(evaluation_of(tmp_path / "out", files={"only.wav": 0.0}), ["only.wav"])
    assert "vqcodec test scores 2.20 PESQ-WB" in page.text
    assert not [text for cells in page.rows["table"] for _, text in cells if "±" in text]
    assert "1 recording, 1.0 s of sound" in page.text
    assert [one for one in page.all("td") if one.get("class") == "best"] == []


def test_missing_scores(tmp_path: Path) -> None:
    quality = dict(QUALITY)
    for name in ("opus-6", "opus-9", "opus-16"):
        quality[name] = (QUALITY[name][0], {"stoi": QUALITY[name][1]["stoi"]})
    page = page_of(evaluation_of(tmp_path / "out", metrics=["mcd", "stoi", "lsd"], quality=quality, sounds=False))
    assert "Opus cannot be judged: it has no MCD" in page.text
    cells = [cells for cells in page.rows["table"] if "Opus" in cells[0][1]]
    assert [text for attributes, text in cells[0] if attributes.get("data-score") == "mcd"] == ["–"]
    assert "LSD" not in page.text


def test_a_score_that_some_files_lack(tmp_path: Path) -> None:
    evaluation = evaluation_of(tmp_path / "out", sounds=False)
    results = tuple(
        dataclasses.replace(one, scores={name: value for name, value in one.scores.items() if name != "pesq_wb"})
        if one.file == "b/worst.wav"
        else one
        for one in evaluation.results
    )
    evaluation = dataclasses.replace(evaluation, results=results)
    page = page_of(evaluation, FILES)
    assert "without PESQ-WB for vqcodec test 3 kbit/s" in page.text
    assert page.rows["table"][1][2][1].endswith(" (3)")
    names = [cells[0][1] for cells in page.rows["files"] if cells[0][0].get("scope") == "row"]
    assert names[-1] == "b/worst.wav"


def test_without_a_model(tmp_path: Path) -> None:
    evaluation = evaluation_of(tmp_path / "out", systems=[REFERENCE, *OPUS], codes_of=None, sounds=False)
    page = page_of(evaluation, featured_files(evaluation))
    assert "At 9.60 kbit/s on disk, Opus scores" in page.text
    assert "codebooks" not in page.rows
    assert len(page.all("audio")) == 0
    assert "This sound was not kept." in page.text


def test_nothing_but_the_reference(tmp_path: Path) -> None:
    evaluation = evaluation_of(tmp_path / "out", systems=[REFERENCE], codes_of=None)
    assert rank_files(evaluation) is None
    page = page_of(evaluation, featured_files(evaluation, 1))
    assert "there is no answer to give" in page.text
    assert len(page.all("audio")) == 1


def test_nothing_at_all(tmp_path: Path) -> None:
    failures = [EvaluationFailure(file=file, reason="no sound file") for file in FILES]
    evaluation = evaluation_of(tmp_path / "out", failures=failures, codes_of=None, sounds=False)
    page = page_of(evaluation, featured_files(evaluation, 2))
    assert "Nothing can be said" in page.text
    assert len([cells for cells in page.rows["problems"] if cells[-1][1] == "no sound file"]) == 4


def test_nothing_in_common(tmp_path: Path) -> None:
    failures = [EvaluationFailure(file=file, system="opus-9", reason="died") for file in FILES[:2]]
    failures += [EvaluationFailure(file=file, system="vqcodec-3", reason="died") for file in FILES[2:]]
    page = page_of(evaluation_of(tmp_path / "out", failures=failures, sounds=False))
    assert "Nothing can be said" in page.text
    assert len([cells for cells in page.rows["files"] if cells[0][0].get("scope") == "row"]) == 4


def test_low_is_good_as_the_first_score(tmp_path: Path) -> None:
    evaluation = evaluation_of(tmp_path / "out", metrics=["mcd", "pesq_wb"], sounds=False)
    assert featured_files(evaluation, 2) == ["b/worst.wav", FILES[2]]
    assert "MCD (lower is better)" in page_of(evaluation).text


def test_many_systems_and_files(tmp_path: Path) -> None:
    """500 files and 12 systems: the list is folded away, colours and symbols begin again."""
    codecs = [system(f"codec{number}-1", f"Codec {number}", "1 kbit/s") for number in range(9)]
    quality = QUALITY | {one.name: (4.0 + place, {"pesq_wb": 2.0 + 0.1 * place}) for place, one in enumerate(codecs)}
    random = np.random.default_rng(0)
    files = {f"folder/file {number}.wav": float(random.normal(0, 0.2)) for number in range(500)}
    evaluation = evaluation_of(
        tmp_path / "out",
        files=files,
        systems=[*OURS, *codecs],
        metrics=["pesq_wb"],
        quality=quality,
        codes_of=None,
        sounds=False,
    )
    page = page_of(evaluation)
    assert len([cells for cells in page.rows["files"] if cells[0][0].get("scope") == "row"]) == 500
    section = page.source.partition('<section id="files">')[2]
    assert section.index("<details>") < section.index("<table>") < section.index("</details>")
    assert len(page.source) - len(max(page.texts["script"], key=len)) < 1_000_000
    assert "var(--codec-1)" in page.source


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (1, ["b/worst.wav"]),
        (2, ["b/worst.wav", FILES[2]]),
        (3, ["b/worst.wav", FILES[2], "best.wav"]),
        (4, ["b/worst.wav", "a/plain.wav", FILES[2], "best.wav"]),
        (9, ["b/worst.wav", "a/plain.wav", FILES[2], "best.wav"]),
    ],
)
def test_featured_are_the_worst_then_a_median_and_the_best(
    evaluation: Evaluation, count: int, expected: list[str]
) -> None:
    assert featured_files(evaluation, count) == expected


def test_errors(evaluation: Evaluation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.wav is not a file of the evaluation"):
        write_report(evaluation, TITLE, ["nowhere.wav"])
    facts = dataclasses.replace(evaluation.facts, metrics=("taste",))
    with pytest.raises(ConfigError, match="the score 'taste', unknown to this version"):
        write_report(dataclasses.replace(evaluation, facts=facts), TITLE, [])
    monkeypatch.setitem(sys.modules, "plotly", None)
    with pytest.raises(ConfigError, match=r"needs the package plotly.*'vqcodec\[eval\]'"):
        write_report(evaluation, TITLE, [])


# The arithmetic.


def summary(
    name: str, kbps: float, value: float, half: float = 0.1, files: int = 9, metric: str = "pesq_wb"
) -> SystemSummary:
    nothing = Interval(0.0, 0.0, 0.0, files)
    return SystemSummary(
        system=system(name, "Any", name),
        files=files,
        duration_s=10.0,
        bitrate_bps=Interval(1000 * kbps, 1000 * kbps, 1000 * kbps, files),
        encode_s=nothing,
        decode_s=nothing,
        scores={metric: Interval(value, value - half, value + half, files)},
    )


def test_needed_bitrate_between_two_settings() -> None:
    curve = [summary("a", 4, 2.0), summary("b", 16, 3.0), summary("c", 32, 3.5)]
    found = needed_bitrate(curve, PESQ, 2.5)
    assert found.bitrate_bps == pytest.approx(8000)  # half-way on a logarithmic axis
    assert (found.below, found.above) == (curve[0], curve[1])
    assert needed_bitrate(curve, PESQ, 3.0).bitrate_bps == pytest.approx(16_000)


def test_needed_bitrate_claims_nothing_beyond_what_was_measured() -> None:
    curve = [summary("a", 4, 2.0), summary("b", 16, 3.0)]
    above = needed_bitrate(curve, PESQ, 3.01)
    assert (above.bitrate_bps, above.below, above.above) == (None, curve[1], None)
    below = needed_bitrate(curve, PESQ, 1.99)
    assert (below.bitrate_bps, below.below, below.above) == (None, None, curve[0])


def test_needed_bitrate_where_low_is_good() -> None:
    curve = [summary("a", 4, 6.0, metric="mcd"), summary("b", 16, 4.0, metric="mcd")]
    assert needed_bitrate(curve, MCD, 5.0).bitrate_bps == pytest.approx(8000)
    assert needed_bitrate(curve, MCD, 7.0).above is curve[0]
    assert needed_bitrate(curve, MCD, 3.0).below is curve[1]


def test_needed_bitrate_is_the_lowest_of_several() -> None:
    curve = [summary("a", 4, 2.0), summary("b", 16, 3.0), summary("c", 20, 2.0), summary("d", 40, 3.5)]
    assert needed_bitrate(curve, PESQ, 2.5).bitrate_bps == pytest.approx(8000)


def test_best_systems_are_those_that_intervals_do_not_tell_apart() -> None:
    some = [summary("a", 4, 3.0), summary("b", 5, 2.9), summary("c", 6, 2.7)]
    assert best_systems(some, PESQ) == {"a", "b"}
    low = [summary("a", 4, 3.0, metric="mcd"), summary("b", 5, 2.9, metric="mcd"), summary("c", 6, 2.5, metric="mcd")]
    assert best_systems(low, MCD) == {"c"}
    assert best_systems(some[:2], PESQ) == frozenset()  # all alike
    assert best_systems(some[:1], PESQ) == frozenset()
    assert best_systems([summary("a", 4, 3.0, 0.0, files=1), summary("b", 4, 1.0, 0.0, files=1)], PESQ) == frozenset()
    assert best_systems(some, STOI) == frozenset()


# The pictures.


def chart_of(bitrates_kbps: Sequence[float], values: Sequence[float], ceilings: Sequence[float] = ()) -> charts.Chart:
    points = tuple(
        charts.Point(label=f"{x}", rate=x, value=y, low=y - 0.1, high=y + 0.1)
        for x, y in zip(bitrates_kbps, values, strict=True)
    )
    curve = charts.Curve(label="Any", number=0, points=points)
    return charts.Chart(
        name="any",
        title="Any",
        axis="dB",
        curves=(curve,),
        ceilings=tuple(charts.Ceiling(label="High", value=value) for value in ceilings),
    )


@pytest.mark.parametrize(
    ("bitrates_kbps", "logarithmic"), [([1.5, 3, 5.9], False), ([1.5, 3, 6], True), ([0.5, 256], True), ([3], False)]
)
def test_bitrate_axis(bitrates_kbps: list[float], logarithmic: bool) -> None:
    chart = chart_of(bitrates_kbps, [1.0] * len(bitrates_kbps))
    assert chart.logarithmic == logarithmic
    low, high = chart.rate_range
    assert low < min(bitrates_kbps) <= max(bitrates_kbps) < high
    assert 2 <= len(chart.rate_ticks) <= 8
    assert all(low <= tick <= high for tick in chart.rate_ticks)


def test_ceilings_do_not_squash_the_curves() -> None:
    near = chart_of([1, 2], [2.0, 3.0], [4.64])
    assert [one.value for one in near.drawn_ceilings] == [4.64]
    assert near.score_range[1] > 4.64
    far = chart_of([1, 2], [2.0, 3.0], [4.64, 100.0])
    assert [one.value for one in far.drawn_ceilings] == [4.64]
    assert [one.value for one in far.far_ceilings] == [100.0]
    assert far.score_range == near.score_range


def test_chart_has_the_colours_of_the_page_and_changes_nothing_global() -> None:
    from matplotlib import rcParams

    before = dict(rcParams)
    svg = charts.draw_chart(chart_of([1.5, 3, 6], [1.0, 2.0, 3.0], [4.0]))
    assert dict(rcParams) == before
    assert {"var(--codec-0)", "var(--text)", "var(--soft)", "var(--line)"} <= set(re.findall(r"var\(--[\w-]+\)", svg))
    assert re.findall(r"#[0-9a-f]{6}", svg) == []
    assert "<style" not in svg
    assert "kbit/s" in svg
    assert "High 4" in svg


def test_spectrogram_levels() -> None:
    levels = charts.levels_db(tone(2.0, RATE, 1000.0), RATE)
    assert levels.shape[0] == 257
    assert 300 < levels.shape[1] <= 610
    middle = levels[:, levels.shape[1] // 2]
    assert int(middle.argmax()) == 32  # of 8 kHz / 256
    assert middle.max() == pytest.approx(-6.0, abs=0.1)  # half of full scale
    assert charts.levels_db(tone(60.0, RATE), RATE).shape[1] <= 610
    assert np.isfinite(charts.levels_db(np.zeros(10, np.float32), RATE)).all()


def test_spectrogram_is_small() -> None:
    levels = charts.levels_db(voice(10.0), RATE)
    assert len(charts.draw_spectrogram(levels, float(levels.max()))) < 60_000


# In a browser.


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with chromium(tmp_path_factory.mktemp("profile")) as driver:
        driver.set_script_timeout(60)
        yield driver


def show(
    browser: Any, evaluation: Evaluation, *, width: int = 1280, scheme: str = "light", scripts: bool = True
) -> None:
    """Open the page, and wait until its charts are drawn if they are going to be."""
    from selenium.webdriver.support.ui import WebDriverWait

    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not scripts})
    browser.get((evaluation.store.folder / PAGE_NAME).as_uri())
    if scripts:
        drawn = "return document.querySelectorAll('.chart[data-chart]:not(.drawn)').length === 0"
        WebDriverWait(browser, 60).until(lambda one: one.execute_script(drawn))


@pytest.fixture(scope="module")
def written(evaluation: Evaluation, page: Page) -> Evaluation:
    """The evaluation, with its page on the disk."""
    (evaluation.store.folder / PAGE_NAME).write_text(page.source, "utf-8")
    return evaluation


def test_browser_has_no_complaints(browser: Any, written: Evaluation) -> None:
    browser.get_log("browser")
    show(browser, written)
    assert browser.get_log("browser") == []


def test_browser_draws_the_curves(browser: Any, written: Evaluation) -> None:
    show(browser, written)
    assert browser.execute_script("return document.querySelectorAll('.drawing .trace.scatter').length") == 2 * 3
    points = browser.execute_script("return document.querySelectorAll('.drawing')[0].querySelectorAll('.point').length")
    assert points == len(OURS) + len(OPUS)
    assert browser.execute_script("return document.querySelector('.static').offsetHeight") == 0


def test_browser_hides_a_codec(browser: Any, written: Evaluation) -> None:
    show(browser, written)
    browser.execute_script("document.querySelector('[data-codec=Opus]').click()")
    assert browser.execute_script("return document.querySelectorAll('.drawing .trace.scatter').length") == 3
    pressed = "return [...document.querySelectorAll('[data-codec=Opus]')].map(one => one.ariaPressed)"
    assert set(browser.execute_script(pressed)) == {"false"}


def test_browser_without_scripts_shows_all_the_same(browser: Any, written: Evaluation) -> None:
    show(browser, written, scripts=False)
    count = "return [...document.querySelectorAll(arguments[0])].filter(one => one.checkVisibility()).length"
    assert browser.execute_script(count, ".static svg") == 3
    assert browser.execute_script(count, ".drawing") == 0
    assert browser.execute_script(count, "#systems td") > 0
    assert browser.execute_script(count, "audio") == len(SYSTEMS)  # of the first file, which is unfolded
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_browser_plays_one_sound_at_a_time(browser: Any, written: Evaluation) -> None:
    show(browser, written)
    played = browser.execute_async_script(
        """
        const done = arguments[0], [first, second] = document.querySelectorAll("audio");
        const play = sound => new Promise((resolve, reject) => {
            sound.muted = true;
            sound.addEventListener("timeupdate", () => { if (sound.currentTime > 0) resolve(); });
            sound.addEventListener("error", () => reject(sound.error.message));
            sound.play().catch(reject);
        });
        play(first).then(() => play(second)).then(
            () => done([first.duration, first.paused, second.currentTime > 0]), error => done(String(error)));
        """
    )
    assert played == [pytest.approx(1.1, abs=0.05), True, True]


def test_browser_shows_the_spectrograms(browser: Any, written: Evaluation) -> None:
    show(browser, written)
    sizes = browser.execute_async_script(
        """
        const done = arguments[0];
        Promise.all([...document.querySelectorAll("img")].map(one => one.decode().then(() => one.naturalHeight)))
            .then(done, error => done(String(error)));
        """
    )
    assert sizes == [257] * 3 * len(SYSTEMS)


@pytest.mark.parametrize("scripts", [True, False])
@pytest.mark.parametrize("width", [320, 390, 800])
def test_browser_never_scrolls_sideways(browser: Any, written: Evaluation, width: int, scripts: bool) -> None:
    show(browser, written, width=width, scripts=scripts)
    browser.execute_script("for (const one of document.querySelectorAll('details')) one.open = true")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_browser_goes_dark(browser: Any, written: Evaluation) -> None:
    seen = []
    for scheme in ("light", "dark"):
        show(browser, written, scheme=scheme)
        seen.append(
            browser.execute_script(
                "return [getComputedStyle(document.body).backgroundColor,"
                " getComputedStyle(document.querySelector('.drawing .xtick text')).fill,"
                " getComputedStyle(document.querySelector('.drawing .scatter path')).stroke]"
            )
        )
    assert all(light != dark for light, dark in zip(*seen, strict=True))


def test_browser_opens_a_file_that_is_linked(browser: Any, written: Evaluation) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    show(browser, written)
    assert not browser.execute_script("return document.getElementById('file-3').open")
    browser.execute_script("document.querySelector('#files a[href=\"#file-3\"]').click()")
    opened = "return document.getElementById('file-3').open"
    WebDriverWait(browser, 60).until(lambda one: one.execute_script(opened))


def test_stages_that_vary_stand_below_the_spectrogram(tmp_path: Path) -> None:
    evaluation = evaluation_of(tmp_path / "out")
    file = next(iter(evaluation.facts.files))
    page = page_of(evaluation, [file])
    assert not [attributes for _, attributes in page.elements if attributes.get("class") == "stages"]
    codes = np.zeros((3, 4), np.int64)
    codes[1:, 1], codes[:, 2] = -1, -1
    evaluation.store.keep_codes(file, "vqcodec-6", codes)
    page = page_of(evaluation, [file])
    [drawn] = [
        attributes for tag, attributes in page.elements if tag == "svg" and "Stages" in attributes.get("aria-label", "")
    ]
    assert drawn["aria-label"] == "Stages of the frames, 0 to 3 of 3"
    [path] = [one["d"] for one in page.all("path") if one.get("fill") == "currentColor"]
    assert path == "M0 3V0h1 V2h1 V3h1 V0h1V3z"
