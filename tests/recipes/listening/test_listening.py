"""The listening test: what its page holds, how a browser runs it, and what becomes of its results."""

import csv
import io
import json
import math
import sys
import time
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chromium import chromium
from synthetic import Sound, noise, silence, square, tone, voice
from vqcodec import audio
from vqcodec.errors import ConfigError
from vqcodec.recipes.evaluation.results import SystemFacts
from vqcodec.recipes.evaluation.store import Evaluation, EvaluationStore, RunFacts
from vqcodec.recipes.listening.page import (
    EXCERPT_S,
    KEY_NAME,
    LOW_ANCHOR,
    MID_ANCHOR,
    PAGE_VERSION,
    Key,
    Trial,
    excerpt,
    low_pass,
    read_key,
    write_listening_test,
)
from vqcodec.recipes.listening.scores import (
    COLUMNS,
    HEADINGS,
    Rating,
    quartiles,
    read_ratings,
    score_listening_test,
    screen,
    summarise,
    t_interval,
    table_rows,
    write_scores,
)

RATE = 16_000
STEP = 2.0**-15
"""Of samples of 16 bits."""
SYSTEMS = ("secret-6", "secret-9")


def evaluation_of(
    folder: Path, sounds: Mapping[str, Sound], systems: Sequence[str] = SYSTEMS, rate: int = RATE
) -> Evaluation:
    """An evaluation with kept sounds; the systems, in order, halve the sound once, twice, ..."""
    facts = [SystemFacts(name=name, codec="Secretcodec", setting=name, version="1") for name in systems]
    reference = SystemFacts(name="reference", codec="Reference", setting="", version="")
    store = EvaluationStore(folder)
    store.begin(RunFacts(sample_rate=rate, metrics=(), systems=(reference, *facts), files={name: 1 for name in sounds}))
    for file, sound in sounds.items():
        for halvings, name in enumerate(("reference", *systems)):
            store.keep_audio(file, name, sound / np.float32(2**halvings), rate)
    return store.load()


class Scripts(HTMLParser):
    """The contents of the `<script>` elements of a page, by their id."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: dict[str, str] = {}
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._id: str | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._id = (dict(attrs).get("id") or "") if tag == "script" else None

    def handle_endtag(self, tag: str) -> None:
        self._id = None

    def handle_data(self, data: str) -> None:
        if self._id is not None:
            self.found[self._id] = self.found.get(self._id, "") + data


def sounds_of(page: Path, trial: int) -> dict[str, Sound]:
    """The sounds of a trial as the page holds them: "reference", and by opaque name."""
    coded = json.loads(Scripts(page.read_text("utf-8")).found[f"sounds-{trial}"])
    return {name: audio.read(io.BytesIO(b64decode(data)))[0][0] for name, data in coded.items()}


def by_system(page: Path, trial: int = 0) -> dict[str, Sound]:
    """The sounds to rate of a trial, by the name of the system."""
    conditions = read_key(page.parent).trials[trial].conditions
    sounds = sounds_of(page, trial)
    return {system: sounds[opaque] for opaque, system in conditions.items()}


# The page and its key.


def test_a_trial_has_every_system_the_reference_and_the_anchor(tmp_path: Path) -> None:
    evaluation = evaluation_of(tmp_path, {"a.wav": voice(1.0), "b/c.wav": voice(1.5, seed=1)})
    page = write_listening_test(evaluation, ["b/c.wav", "a.wav"], "A test")
    assert page == tmp_path / "listen.html"
    key = read_key(tmp_path)
    assert [trial.file for trial in key.trials] == ["b/c.wav", "a.wav"]
    assert [trial.duration_s for trial in key.trials] == [1.5, 1.0]
    assert list(key.systems) == ["reference", *SYSTEMS, LOW_ANCHOR.name]
    assert key.systems["secret-6"] == "Secretcodec secret-6"
    for number, trial in enumerate(key.trials):
        assert set(trial.conditions.values()) == set(key.systems)
        for system in ("reference", *SYSTEMS):
            kept, _ = audio.read(evaluation.store.audio_path(trial.file, system))
            assert np.abs(by_system(page, number)[system] - kept[0]).max() <= 1.01 * STEP


def test_the_page_does_not_tell_what_is_what(tmp_path: Path) -> None:
    files = {f"{number}.wav": voice(0.3, seed=number) for number in range(6)}
    page = write_listening_test(evaluation_of(tmp_path, files), list(files), "A test")
    text = page.read_text("utf-8").lower()
    assert "secret" not in text
    assert "anchor" not in text
    places = [list(trial.conditions.values()).index("reference") for trial in read_key(tmp_path).trials]
    assert len(set(places)) > 1


def test_nothing_about_the_page_can_be_guessed(tmp_path: Path) -> None:
    """The names of files and sounds are random, and the hidden reference is not the open one bit for bit."""
    files = {f"speaker/{number}.wav": voice(0.3, seed=number) for number in range(3)}
    pages, names = [], list[str]()
    for copy in ("one", "other"):
        page = write_listening_test(evaluation_of(tmp_path / copy, files), list(files), "A test")
        key = read_key(tmp_path / copy)
        assert "speaker" not in page.read_text("utf-8")
        names += [key.test, *(name for trial in key.trials for name in (trial.name, *trial.conditions))]
        pages.append([json.loads(Scripts(page.read_text("utf-8")).found[f"sounds-{n}"]) for n in range(3)])
    assert len(set(names)) == len(names)
    coded = [data for page in pages for sounds in page for data in sounds.values()]
    assert len(set(coded)) == len(coded)
    open_one, hidden = sounds_of(tmp_path / "one" / "listen.html", 0)["reference"], by_system(page, 0)["reference"]
    assert 0 < np.abs(open_one - hidden).max() <= 2.01 * STEP


def test_the_page_needs_nothing_else(tmp_path: Path) -> None:
    page = write_listening_test(evaluation_of(tmp_path, {"a.wav": voice(0.5)}), ["a.wav"], "A test")
    scripts = Scripts(page.read_text("utf-8"))
    linked = [value for _, attributes in scripts.tags for name in ("src", "href") if (value := attributes.get(name))]
    assert linked == ["data:,"]
    assert "http:" not in scripts.found[""] and "https:" not in scripts.found[""]
    policy = next(a["content"] for tag, a in scripts.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None and policy.startswith("default-src 'none';")


def test_the_page_is_hardly_larger_than_its_sounds(tmp_path: Path) -> None:
    sound = voice(3.0)
    page = write_listening_test(evaluation_of(tmp_path, {"a.wav": sound}), ["a.wav"], "A test")
    scripts = Scripts(page.read_text("utf-8"))
    rest = page.stat().st_size - len(scripts.found["sounds-0"])
    assert rest < 50_000
    assert len(scripts.found["sounds-0"]) < 5 * (4 / 3) * 2 * len(sound)  # five sounds of 16 bits in base64


@pytest.mark.parametrize("name", ['</script><script>alert("1")</script>', "a & 'b', \"c\".wav", "<!--.wav", "ä\n–.wav"])
def test_names_are_escaped(name: str, tmp_path: Path) -> None:
    file = name.replace("/", "|")
    evaluation = evaluation_of(tmp_path, {file: voice(0.3)})
    page = write_listening_test(evaluation, [file], name)
    scripts = Scripts(page.read_text("utf-8"))
    assert set(scripts.found) == {"test", "sounds-0", ""}
    assert read_key(tmp_path).trials[0].file == file
    assert read_key(tmp_path).title == name


def test_a_page_that_is_written_again_is_of_the_same_test(tmp_path: Path) -> None:
    files = {"a.wav": voice(0.3), "b.wav": voice(0.3, seed=1)}
    evaluation = evaluation_of(tmp_path, files)
    keys = []
    for chosen in (["a.wav", "b.wav"], ["a.wav", "b.wav"], ["a.wav"]):
        write_listening_test(evaluation, chosen, "A test")
        keys.append(read_key(tmp_path / KEY_NAME))
    assert keys[0] == keys[1]
    assert keys[0].test != keys[2].test
    assert read_key(tmp_path / f"listen_key_{keys[0].test}.json") == keys[0]  # put aside, not lost
    (tmp_path / KEY_NAME).write_text("{}")
    write_listening_test(evaluation, ["a.wav"], "A test")
    assert (tmp_path / "listen_key_former.json").read_text() == "{}"


def test_only_some_systems(tmp_path: Path) -> None:
    write_listening_test(evaluation_of(tmp_path, {"a.wav": voice(0.3)}), ["a.wav"], "A test", ["secret-9"])
    assert list(read_key(tmp_path).systems) == ["reference", "secret-9", LOW_ANCHOR.name]


@pytest.mark.parametrize(
    ("rate", "anchors"),
    [(8000, set()), (16_000, {LOW_ANCHOR.name}), (24_000, {LOW_ANCHOR.name, MID_ANCHOR.name})],
)
def test_anchors_by_sample_rate(rate: int, anchors: set[str], tmp_path: Path) -> None:
    evaluation = evaluation_of(tmp_path, {"a.wav": noise(0.5, rate)}, rate=rate)
    page = write_listening_test(evaluation, ["a.wav"], "A test")
    assert set(by_system(page)) == {"reference", *SYSTEMS, *anchors}


def test_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluation = evaluation_of(tmp_path, {"a.wav": voice(0.3), "b.wav": voice(0.3)})
    for files, systems, message in [
        (["c.wav"], None, "c.wav: no such file in the evaluation"),
        ([], None, "needs a file"),
        (["a.wav"], ["other"], "other: no such system in .* there are secret-6, secret-9"),
        (["a.wav"], [], "needs a system"),
    ]:
        with pytest.raises(ConfigError, match=message):
            write_listening_test(evaluation, files, "A test", systems)
    evaluation.store.drop_audio(["a.wav"])
    with pytest.raises(ConfigError, match=r"b\.wav: no sound of reference was kept"):
        write_listening_test(evaluation, ["b.wav"], "A test")
    evaluation.store.keep_audio("a.wav", "secret-9", voice(0.2), RATE)
    with pytest.raises(ConfigError, match=r"a\.wav: the sound of secret-9 is not as long as the reference"):
        write_listening_test(evaluation, ["a.wav"], "A test")
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ConfigError, match=r"jinja2: pip install 'vqcodec\[eval\]'"):
        write_listening_test(evaluation, ["a.wav"], "A test", ["secret-6"])
    assert not (tmp_path / "listen.html").exists()


def test_no_more_than_twelve_sounds_in_a_trial(tmp_path: Path) -> None:
    names = [f"secret-{number}" for number in range(11)]
    evaluation = evaluation_of(tmp_path, {"a.wav": voice(0.3)}, names)
    with pytest.raises(ConfigError, match=r"13 sounds in a trial.* choose fewer"):
        write_listening_test(evaluation, ["a.wav"], "A test")
    write_listening_test(evaluation, ["a.wav"], "A test", names[:10])


def test_a_key_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the key"):
        read_key(tmp_path)
    for content in ("{", "[]", "{}", '{"trials": [1]}'):
        (tmp_path / KEY_NAME).write_text(content)
        with pytest.raises(ConfigError, match="is not the key of a listening test"):
            read_key(tmp_path)


# Anchors and excerpts.


@pytest.mark.parametrize("rate", [16_000, 24_000, 44_100, 48_000])
@pytest.mark.parametrize("cutoff", [3500.0, 7000.0])
def test_the_anchors_filter_is_within_the_mask(rate: int, cutoff: float) -> None:
    click = silence(1.0, rate)
    click[rate // 2] = 1.0
    response = low_pass(click, rate, cutoff)
    assert len(response) == len(click)
    around = response[rate // 2 - 2000 : rate // 2 + 2001]
    assert np.array_equal(np.argmax(np.abs(response)), rate // 2)
    assert np.abs(around - around[::-1]).max() < 1e-6  # linear phase, no delay
    gain_db = 20 * np.log10(np.abs(np.fft.rfft(response)) + 1e-9)  # a bin a hertz
    assert np.abs(gain_db[: int(cutoff) + 1]).max() < 0.1
    assert gain_db[int(cutoff) + 500 :].max() < -50
    assert gain_db[int(cutoff) + 250 :].max() < -5


def test_nothing_of_the_anchor_lies_above_its_band(tmp_path: Path) -> None:
    page = write_listening_test(evaluation_of(tmp_path, {"a.wav": noise(2.0)}), ["a.wav"], "A test")
    sounds = by_system(page)
    anchor, reference = (np.abs(np.fft.rfft(sounds[name])) ** 2 for name in (LOW_ANCHOR.name, "reference"))
    edge = 4000 * len(anchor) // (RATE // 2)
    assert anchor[edge:].sum() < 1e-5 * reference[edge:].sum()
    passed = 3500 * len(anchor) // (RATE // 2)
    assert anchor[:passed].sum() == pytest.approx(reference[:passed].sum(), rel=0.01)
    lag = np.correlate(sounds["reference"][:4000], sounds[LOW_ANCHOR.name][:4000], "full").argmax() - 3999
    assert lag == 0


def test_full_scale_is_not_exceeded(tmp_path: Path) -> None:
    sound = square(1.0, frequency_hz=700.0)
    assert np.abs(low_pass(sound, RATE, 3500.0)).max() > 1.05
    page = write_listening_test(evaluation_of(tmp_path, {"a.wav": sound}), ["a.wav"], "A test")
    sounds = by_system(page)
    gain = 10 ** (read_key(tmp_path).trials[0].gain_db / 20)
    assert 0.5 < gain < 0.95
    assert np.allclose(sounds["reference"], gain * sound, atol=1e-4)
    assert np.allclose(sounds["secret-6"], gain * sound / 2, atol=1e-4)
    assert np.allclose(sounds[LOW_ANCHOR.name], gain * low_pass(sound, RATE, 3500.0), atol=2e-4)


@pytest.mark.parametrize("duration_s", [0.05, 3.0, 12.0])
def test_a_short_sound_is_played_whole(duration_s: float) -> None:
    sound = tone(duration_s)
    assert excerpt(sound, RATE) == slice(0, len(sound))


def test_of_a_long_sound_the_liveliest_part_is_played() -> None:
    sound = np.concatenate([0.01 * noise(20.0), silence(0.3), noise(9.5), silence(0.3), 0.01 * noise(20.0)])
    part = excerpt(sound, RATE)
    assert part.stop - part.start == EXCERPT_S * RATE
    assert 20.0 * RATE <= part.start <= 20.3 * RATE  # in the silence before the loud part


@pytest.mark.parametrize("place", ["start", "end"])
@pytest.mark.parametrize("rate", [11_025, 16_000, 44_100])
def test_an_excerpt_lies_inside(place: str, rate: int) -> None:
    loud, quiet = noise(6.0, rate), 0.01 * noise(6.5, rate)
    sound = np.concatenate([loud, quiet] if place == "start" else [quiet, loud])
    part = excerpt(sound, rate)
    assert 0 <= part.start < part.stop <= len(sound)
    assert part.stop - part.start == EXCERPT_S * rate


def test_all_sounds_are_cut_alike_and_faded(tmp_path: Path) -> None:
    sound = np.concatenate([0.1 * noise(8.0), noise(10.0, seed=1)])
    page = write_listening_test(evaluation_of(tmp_path, {"a.wav": sound}), ["a.wav"], "A test")
    sounds = by_system(page)
    assert {len(one) for one in sounds.values()} == {EXCERPT_S * RATE}
    assert np.allclose(sounds["reference"] / 2, sounds["secret-6"], atol=1e-4)
    trial = read_key(tmp_path).trials[0]
    start = round(trial.start_s * RATE)
    inside = slice(RATE, 9 * RATE)
    assert np.allclose(sounds["reference"][inside], sound[start:][inside], atol=1e-4)
    for end in (sounds["reference"][:20], sounds["reference"][-20:]):
        assert np.abs(end).max() < 0.01
    assert np.abs(sounds_of(page, 0)["reference"] - sounds["reference"]).max() <= 2.01 * STEP


# In a browser.


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with chromium(tmp_path_factory.mktemp("profile"), "--window-size=1000,1000") as driver:
        yield driver


@pytest.fixture
def page(browser: Any, tmp_path: Path) -> Path:
    """A test of two files, opened from disk by nobody yet."""
    files = {"a.wav": voice(1.5), '<b>, "c" & d.wav': voice(2.0, seed=1)}
    page = write_listening_test(evaluation_of(tmp_path, files), list(files), "A <test>")
    browser.get(page.as_uri())
    browser.execute_script("state = null; localStorage.clear()")
    browser.refresh()
    browser.get_log("browser")
    return page


class Listener:
    """Somebody in front of the page."""

    def __init__(self, browser: Any, name: str) -> None:
        self.browser, self.name = browser, name

    def find(self, selector: str) -> Any:
        return self.browser.find_element("css selector", selector)

    def wait(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline, self.find("main").text
            time.sleep(0.02)

    def begin(self) -> None:
        if self.find("#name").is_enabled() and not self.find("#name").get_property("readOnly"):
            self.find("#name").send_keys(self.name)
        self.find("#go").click()
        self.wait_for_sounds()

    def wait_for_sounds(self) -> None:
        self.wait(lambda: self.find("#missing").text != "Loading the sounds…")

    @property
    def heading(self) -> str:
        return str(self.find("section:not([hidden]) h1").text)

    def next(self) -> None:
        self.find("#next").click()
        self.wait_for_sounds()

    def slider(self, label: str) -> Any:
        return self.find(f"input[aria-label='Quality of {label}']")

    def press(self, key: str) -> None:
        self.find("body").send_keys(key)

    def rate(self, label: str, score: int) -> None:
        """Play a sound with the mouse, and move its slider with the keys."""
        from selenium.webdriver.common.keys import Keys

        self.find(f"button[aria-label='Play {label}']").click()
        slider = self.slider(label)
        slider.send_keys(Keys.HOME, Keys.PAGE_UP * (score // 10), Keys.ARROW_RIGHT * (score % 10))
        assert slider.get_property("value") == str(score)

    @property
    def order(self) -> list[list[str]]:
        """Opaque names of the sounds, as A, B, C, ... of each round, the practice round first."""
        return [one["order"] for one in self.browser.execute_script("return state.rounds")]

    def errors(self) -> list[str]:
        return [entry["message"] for entry in self.browser.get_log("browser")]


@pytest.fixture
def ann(browser: Any, page: Path) -> Listener:
    return Listener(browser, 'Ann, <b>"A"</b>')


LABELS = "ABCD"


def test_a_whole_test(ann: Listener, page: Path, tmp_path: Path) -> None:
    downloads = tmp_path / "downloads"
    ann.browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(downloads)})
    assert ann.heading == "A <test>"
    ann.begin()
    assert ann.heading == "Practice round"
    assert "do not count" in ann.find("main").text
    ann.rate("B", 12)
    ann.next()

    key = read_key(page.parent)
    wanted: dict[tuple[str, str], int] = {}
    for number in (1, 2):
        assert ann.heading == f"Round {number} of 2"
        shown = ann.browser.execute_script("return test.trials[state.rounds[state.round].trial].file")
        file, conditions = next((trial.file, trial.conditions) for trial in key.trials if trial.name == shown)
        for place, label in enumerate(LABELS):
            score = (37 * number + 29 * place) % 101
            ann.rate(label, score)
            wanted[file, conditions[ann.order[number][place]]] = score
        ann.next() if number == 1 else ann.find("#next").click()

    ann.wait(lambda: ann.heading == "Thank you!")
    ann.find("#save").click()
    ann.wait(lambda: list(downloads.glob("*.csv")))
    (saved,) = downloads.glob("*.csv")
    assert saved.name == f"listen_{key.test}_Ann_b_A_b_.csv"
    assert ann.find("#results").get_property("value") == saved.read_text("utf-8")

    ratings = read_ratings([saved], key)
    assert {(one.file, one.system): one.score for one in ratings} == wanted
    assert {one.listener for one in ratings} == {ann.name}
    assert [one.order for one in ratings] == 2 * [1, 2, 3, 4]
    assert [one.trial for one in ratings] == 4 * [1] + 4 * [2]
    assert all(0 < one.time_s < 60 for one in ratings)
    for one in summarise(ratings, key.systems):
        scores = [score for (_, system), score in wanted.items() if system == one.name]
        assert one.mean == sum(scores) / 2
    assert ann.browser.execute_script("return performance.getEntriesByType('resource').length") == 0
    assert ann.errors() == []


def test_nothing_can_be_skipped(ann: Listener) -> None:
    ann.find("#go").click()
    assert ann.heading == "A <test>"  # without a name
    ann.begin()
    ann.next()
    ann.browser.execute_script("document.getElementById('next').click()")
    assert ann.heading == "Round 1 of 2"
    assert all(not ann.slider(label).is_enabled() for label in LABELS)  # the reference is chosen, nothing played
    for place, label in enumerate(LABELS):
        assert not ann.find("#next").is_enabled()
        assert ann.find("#missing").text == f"Still to hear and rate: {', '.join(LABELS[place:])}"
        ann.find(f"button[aria-label='Play {label}']").click()
        assert not ann.find("#next").is_enabled()
        assert [one for one in LABELS if ann.slider(one).is_enabled()] == [label]
        ann.rate(label, 50)
    assert ann.find("#next").is_enabled()
    assert ann.errors() == []


def test_a_reload_loses_nothing(ann: Listener) -> None:
    ann.begin()
    ann.next()
    ann.rate("A", 71)
    ann.rate("C", 8)
    order = ann.order
    ann.browser.refresh()
    assert ann.find("#go").text == "Continue with round 1 of 2"
    assert ann.find("#name").get_property("value") == ann.name
    ann.begin()
    assert ann.order == order
    assert [ann.slider(label).get_attribute("aria-valuetext") for label in LABELS] == [
        "71, Good",
        "not rated yet",
        "8, Bad",
        "not rated yet",
    ]
    assert ann.find("#missing").text == "Still to hear and rate: B, D"
    for label in "BD":
        ann.rate(label, 100)
    ann.next()
    for label in LABELS:
        ann.rate(label, 90)
    ann.find("#next").click()
    results = ann.find("#results").get_property("value")
    ann.browser.refresh()
    ann.find("#go").click()
    assert ann.find("#results").get_property("value") == results
    assert ann.errors() == []


def test_every_listener_has_an_order_of_their_own(browser: Any, page: Path) -> None:
    orders = []
    for name in ("Ann", "Ann", "Bob"):
        browser.execute_script("state = null; localStorage.clear()")
        browser.refresh()
        listener = Listener(browser, name)
        listener.begin()
        orders.append(listener.order)
        assert sorted(map(sorted, listener.order[1:])) == sorted(
            sorted(trial.conditions) for trial in read_key(page.parent).trials
        )
    assert orders[0] != orders[1] != orders[2] != orders[0]


def test_keys_do_everything(ann: Listener) -> None:
    from selenium.webdriver.common.keys import Keys

    ann.browser.switch_to.active_element.send_keys(Keys.TAB + ann.name + Keys.ENTER)
    ann.wait(lambda: ann.heading == "Practice round")
    ann.wait_for_sounds()
    ann.press("b")
    active = ann.browser.switch_to.active_element
    assert active.get_attribute("aria-label") == "Quality of B"
    active.send_keys(Keys.END, Keys.ARROW_LEFT)
    assert active.get_attribute("aria-valuetext") == "99, Excellent"
    assert ann.find("#pause").text == "Pause"
    active.send_keys(" ")
    assert ann.find("#pause").text == "Play"
    ann.press("r")
    assert ann.find("#reference button").get_attribute("aria-pressed") == "true"
    assert ann.find("#pause").text == "Pause"
    assert not ann.slider("B").is_enabled()
    ann.find("#from").send_keys(Keys.CONTROL + "a" + Keys.NULL + "0.5" + Keys.TAB)
    assert ann.browser.execute_script("return [player.from, player.to]") == pytest.approx([0.5, 1.5], abs=0.01)
    ann.find("#to").send_keys(Keys.CONTROL + "a" + Keys.NULL + "0.6" + Keys.TAB)  # too short: half a second at least
    assert ann.browser.execute_script("return [player.from, player.to]") == pytest.approx([0.5, 1.0], abs=0.01)
    ann.find("#whole").click()
    assert ann.browser.execute_script("return [player.from, player.to]") == pytest.approx([0.0, 1.5], abs=0.01)
    assert ann.errors() == []


RENDER = """
const done = arguments[arguments.length - 1];
(async () => {
  const sounds = JSON.parse(document.getElementById("sounds-0").textContent);
  const context = new OfflineAudioContext(1, 16000, 16000);
  const go = context.resume.bind(context);
  context.resume = () => {};
  const player = new Player();
  player.context = context;
  await player.load(sounds);
  player.repeat(0.25, 0.75);
  player.play();
  const other = arguments[0];
  context.suspend(0.304).then(() => { player.choose(other); go(); });
  context.suspend(0.8).then(() => { player.pause(); go(); });
  const [output] = [await context.startRendering()];
  done(Array.from(output.getChannelData(0)));
})();
"""


def test_switching_is_in_time_and_never_mixes(browser: Any, tmp_path: Path) -> None:
    """The output of the page's player, sample by sample: the reference, then a system at half its level."""
    sound = 0.5 + 0.8 * voice(1.5)  # hardly ever zero, so that the envelope of the output can be told
    page = write_listening_test(evaluation_of(tmp_path, {"a.wav": sound.clip(0.1, 1.0)}), ["a.wav"], "A test")
    names = {system: opaque for opaque, system in read_key(tmp_path).trials[0].conditions.items()}
    browser.get(page.as_uri())
    output = np.array(browser.execute_async_script(RENDER, names["secret-6"]))

    start, samples = 320, 8000  # everything starts 20 ms after play()
    reference = by_system(page)["reference"][4000 : 4000 + samples]
    gain = output[start : start + 2 * samples] / np.tile(reference, 2)[: len(output) - start]
    begun, switched, paused = 80, 4864 - start, 12_800 - start  # what was asked for, rounded up to blocks of 128
    again = np.arange(len(gain)) % samples  # fades of 80 samples where the loop begins anew
    looping = (again >= 80) & (again < samples - 80)
    place = np.arange(len(gain))
    assert np.abs(output[:start]).max() == 0
    assert np.allclose(gain[(place >= begun) & (place < switched) & looping], 1.0, atol=2e-3)
    fall, rise = gain[switched : switched + 80], gain[switched + 80 : switched + 160]
    cosine = 0.5 + 0.5 * np.cos(np.pi * np.arange(80) / 80)
    assert np.allclose(fall, cosine, atol=0.03)
    assert np.allclose(rise, 0.5 * (1 - cosine), atol=0.03)
    assert np.allclose(gain[(place >= switched + 161) & (place < paused) & looping], 0.5, atol=2e-3)
    assert np.abs(gain[paused + 82 :]).max() == 0
    assert browser.get_log("browser") == []


def test_without_javascript(browser: Any, page: Path) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.refresh()
        assert "needs JavaScript" in browser.find_element("css selector", "main").text
        assert not browser.find_element("css selector", "#name").is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


# Results.


def make_key(files: int, systems: Sequence[str] = ("reference", "codec", LOW_ANCHOR.name)) -> Key:
    trials = [
        Trial(
            name=f"{number}-file",
            file=f"{number}.wav",
            start_s=0.0,
            duration_s=10.0,
            gain_db=0.0,
            conditions={f"{number}-{place}": system for place, system in enumerate(systems)},
        )
        for number in range(files)
    ]
    return Key(
        test="0123456789ab",
        page_version=PAGE_VERSION,
        title="A test",
        systems={system: f"The {system}" for system in systems},
        trials=tuple(trials),
    )


Scores = Mapping[str, Sequence[float]]
"""By system, a score a file."""


def ratings_of(listener: str, scores: Scores) -> list[Rating]:
    return [
        Rating(listener=listener, file=f"{number}.wav", system=system, score=score, trial=1, order=1, time_s=1.0)
        for system, some in scores.items()
        for number, score in enumerate(some)
    ]


def write_results(path: Path, listener: str, key: Key, scores: Scores) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for number, trial in enumerate(key.trials):
            for place, (opaque, system) in enumerate(trial.conditions.items(), start=1):
                score = scores[system][number]
                row = [listener, number + 1, trial.name, opaque, score, 30.5, place, key.test, key.page_version]
                table.writerow(row)
    return path


GOOD = {"reference": [100, 100], "codec": [40, 60], LOW_ANCHOR.name: [20, 10]}


def test_scores_by_hand(tmp_path: Path) -> None:
    key = make_key(2)
    paths = [
        write_results(tmp_path / f"{name}.csv", name, key, {**GOOD, "codec": scores})
        for name, scores in {"Ann": [40, 60], "Bob": [50, 70], "Cas": [60, 80]}.items()
    ]
    summary = score_listening_test(paths, key)
    assert summary.listeners == ("Ann", "Bob", "Cas")
    assert (summary.excluded, summary.remarks, summary.files) == ((), (), 2)
    assert [one.name for one in summary.systems] == ["reference", "codec", LOW_ANCHOR.name]
    codec = summary.systems[1]
    # The listeners' means are 50, 60, 70: deviation 10, error 10 / sqrt(3); t(2 degrees, 97.5 %) = 4.302653.
    assert codec.mean == 60
    assert codec.low == pytest.approx(60 - 4.302653 * 10 / math.sqrt(3))
    assert codec.high == pytest.approx(60 + 4.302653 * 10 / math.sqrt(3))
    assert (codec.lower_quartile, codec.median, codec.upper_quartile) == (50, 60, 70)  # of 40 50 60 60 70 80
    assert (codec.listeners, codec.ratings) == (3, 6)
    assert (summary.systems[0].low, summary.systems[0].high) == (100, 100)

    assert table_rows(summary)[1] == ("The codec", "60.0", "35.2 to 84.8", "60.0", "50.0 to 70.0", "6")
    assert {len(row) for row in table_rows(summary)} == {len(HEADINGS)}
    write_scores(summary, tmp_path)
    lines = csv.DictReader((tmp_path / "listen_scores.csv").read_text("utf-8").splitlines())
    (line,) = [row for row in lines if row["name"] == "codec"]
    assert (float(line["mean"]), float(line["low"])) == (60, pytest.approx(codec.low))
    content = json.loads((tmp_path / "listen_scores.json").read_text())
    assert content["listeners"] == ["Ann", "Bob", "Cas"]
    assert content["systems"][1]["median"] == 60


def test_one_listener_has_no_interval(tmp_path: Path) -> None:
    key = make_key(2)
    summary = score_listening_test([write_results(tmp_path / "a.csv", "Ann", key, GOOD)], key)
    assert (summary.systems[1].low, summary.systems[1].high) == (None, None)
    assert table_rows(summary)[1][2] == "–"
    write_scores(summary, tmp_path)
    assert json.loads((tmp_path / "listen_scores.json").read_text())["systems"][1]["low"] is None


def test_the_key_is_found_in_the_folder(tmp_path: Path) -> None:
    write_listening_test(evaluation_of(tmp_path, {"a.wav": voice(0.3)}), ["a.wav"], "A test")
    key = read_key(tmp_path)
    path = write_results(tmp_path / "a.csv", "Ann", key, {system: [95] for system in key.systems})
    summary = score_listening_test([path], tmp_path)
    assert [one.title for one in summary.systems][:2] == ["Hidden reference", "Secretcodec secret-6"]


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    covered = 0
    for _ in range(1000):
        _, low, high = t_interval(list(random.normal(60, 10, 6)))
        assert low is not None and high is not None
        covered += low <= 60 <= high
    assert 930 <= covered <= 970


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([7], (7, 7, 7)),
        ([1, 3], (1, 2, 3)),
        ([5, 1, 3, 2, 4], (2, 3, 4)),
        ([8, 1, 2, 3, 4, 5, 6, 7], (2.5, 4.5, 6.5)),
    ],
)
def test_quartiles(values: list[float], expected: tuple[float, float, float]) -> None:
    assert quartiles(values) == expected


# Screening, at the very thresholds: 3 of 20 are 15 %.


def many(times: int, score: float, otherwise: float) -> list[float]:
    return [score] * times + [otherwise] * (20 - times)


@pytest.mark.parametrize(
    ("scores", "excluded"),
    [
        (many(20, 90, 0), False),
        (many(3, 89, 90), False),
        (many(4, 89, 90), True),
        (many(4, 89.9, 100), True),
        (many(20, 0, 0), True),
    ],
)
def test_who_does_not_hear_the_reference_is_excluded(scores: list[float], excluded: bool) -> None:
    ratings = ratings_of("Ann", {"reference": scores, "codec": [50.0] * 20})
    found, remarks = screen(ratings)
    assert [one.listener for one in found] == (["Ann"] if excluded else [])
    assert remarks == []
    if excluded:
        count = sum(score < 90 for score in scores)
        assert (
            f"hidden reference below 90 for {count} of 20 files (more than 15 %: BS.1534-3, 4.1.2)" in found[0].reason
        )


@pytest.mark.parametrize(
    ("scores", "remarked"), [(many(20, 90, 0), False), (many(3, 91, 10), False), (many(4, 91, 10), True)]
)
def test_who_does_not_hear_the_low_anchor_is_remarked_upon(scores: list[float], remarked: bool) -> None:
    found, remarks = screen(ratings_of("Ann", {"reference": [100.0] * 20, LOW_ANCHOR.name: scores}))
    assert found == []
    assert [one.listener for one in remarks] == (["Ann"] if remarked else [])
    if remarked:
        assert "rated the low anchor above 90 for 4 of 20 files" in remarks[0].reason


@pytest.mark.parametrize(
    ("listeners", "times", "deaf", "excluded"),
    [
        (4, 4, 1, 1),  # 25 % of the listeners are not more than 25 %
        (4, 3, 1, 0),
        (5, 4, 2, 0),  # 40 %: the anchor is hardly an impairment of these files
        (3, 20, 1, 0),  # a third: of any file
    ],
)
def test_who_does_not_hear_the_mid_range_anchor_is_excluded(
    listeners: int, times: int, deaf: int, excluded: int
) -> None:
    ratings = []
    for number in range(listeners):
        scores = many(times, 91, 90) if number < deaf else [90.0] * 20
        ratings += ratings_of(str(number), {"reference": [100.0] * 20, MID_ANCHOR.name: scores})
    found, _ = screen(ratings)
    assert [one.listener for one in found] == [str(number) for number in range(excluded)]
    if excluded:
        assert "mid-range anchor above 90 for 4 of 20 files" in found[0].reason


def test_the_excluded_do_not_count(tmp_path: Path) -> None:
    key = make_key(2)
    paths = [
        write_results(tmp_path / "a.csv", "Ann", key, GOOD),
        write_results(tmp_path / "b.csv", "Bob", key, {**GOOD, "codec": [50, 50]}),
        write_results(
            tmp_path / "c.csv", "Cas", key, {"reference": [89, 100], "codec": [0, 0], LOW_ANCHOR.name: [99, 0]}
        ),
    ]
    summary = score_listening_test(paths, key)
    assert summary.listeners == ("Ann", "Bob")
    assert [one.listener for one in summary.excluded] == ["Cas"]
    assert [one.listener for one in summary.remarks] == ["Cas"]
    assert (summary.systems[1].mean, summary.systems[1].ratings) == (50, 4)
    with pytest.raises(ConfigError, match="no listener is left after the screening: Cas rated the hidden reference"):
        score_listening_test(paths[2:], key)


# Files that are not as they should be.


def changed(line: int, **values: str) -> Callable[[list[list[str]]], None]:
    def change(rows: list[list[str]]) -> None:
        for column, value in values.items():
            rows[line - 1][COLUMNS.index(column)] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changed(3, score="101"), "line 3: score is a number from 0 to 100, not '101'"),
        (changed(3, score="-1"), "line 3: score is a number"),
        (changed(4, score="high"), "line 4: score is a number"),
        (changed(4, score="nan"), "line 4: score is a number"),
        (changed(4, score=""), "line 4: score is a number"),
        (changed(4, trial="0"), "line 4: trial is a whole number from 1 on, not '0'"),
        (changed(4, order="1.5"), "line 4: order is a whole number"),
        (changed(4, time_s="inf"), "line 4: time_s is a number from 0 on"),
        (changed(2, listener=" "), "line 2: the listener has no name"),
        (changed(2, condition="x"), "line 2: this test has no sound 'x'"),
        (changed(2, file="x.wav"), r"line 2: the sound '0-0' belongs to '0-file', not to 'x\.wav'"),
        (changed(5, test="f00"), "line 5: the result is of the test 'f00', but the key is of '0123456789ab'"),
        (changed(5, page_version="1"), "line 5: the page had version 1 and the key has 2"),
        (changed(3, condition="0-0"), "line 3: 'Ann' has rated this sound on line 2 already"),
        (changed(3, listener="Bob"), "1 of the 6 ratings of 'Ann' are missing"),
        (lambda rows: rows.pop(), "1 of the 6 ratings of 'Ann' are missing"),
        (lambda rows: rows[3].pop(), "line 4: 8 values, not 9"),
        (lambda rows: rows[0].pop(), "line 1: this is not the result of a listening test"),
        (lambda rows: rows.pop(0), "line 1: this is not the result of a listening test"),
        (lambda rows: rows.clear(), "line 1: this is not the result of a listening test.* not none"),
        (lambda rows: rows.__delitem__(slice(1, None)), "holds no ratings"),
        (lambda rows: rows.insert(2, list(COLUMNS)), "line 3: the result is of the test 'test'"),
    ],
)
def test_damaged_results(change: Callable[[list[list[str]]], None], message: str, tmp_path: Path) -> None:
    key = make_key(2)
    path = write_results(tmp_path / "a.csv", "Ann", key, GOOD)
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    change(rows)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    with pytest.raises(ConfigError, match=message) as caught:
        score_listening_test([path], key)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "line 1: this is not the result"),
        (b"\xff\xfe\x00", "is not UTF-8 text"),
        (
            b'listener,trial,file,condition,score,time_s,order,test,page_version\n"Ann,1',
            "line 2: unexpected end of data",
        ),
        (
            b"listener;trial;file\nAnn;1;a",
            "line 1: this is not the result of a listening test.* not listener;trial;file",
        ),
    ],
)
def test_files_that_are_no_results(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        score_listening_test([path], make_key(2))


def test_a_listener_counts_once(tmp_path: Path) -> None:
    key = make_key(2)
    paths = [write_results(tmp_path / name, "Ann", key, GOOD) for name in ("a.csv", "b.csv")]
    with pytest.raises(ConfigError, match=r"b\.csv: the listener 'Ann' is in .*a\.csv already"):
        score_listening_test(paths, key)
    with pytest.raises(ConfigError, match=r"is in .* already"):
        score_listening_test([paths[0], paths[0]], key)


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*none\.csv: No such file"):
        score_listening_test([tmp_path / "none.csv"], make_key(2))
    with pytest.raises(ConfigError, match="the results of a listener at least"):
        score_listening_test([], make_key(2))


def test_a_spreadsheets_mark_and_several_listeners_in_a_file(tmp_path: Path) -> None:
    key = make_key(2)
    one, two = (write_results(tmp_path / f"{name}.csv", name, key, GOOD) for name in ("Ann", "Zoë"))
    both = tmp_path / "both.csv"
    body = two.read_text("utf-8").split("\n", 1)[1]
    both.write_text("\ufeff" + one.read_text("utf-8") + body, encoding="utf-8")
    assert score_listening_test([both], key).listeners == ("Ann", "Zoë")
