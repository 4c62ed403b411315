"""The page that codes speech in the browser gives what Python gives, and anybody can use it."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from chromium import chromium
from synthetic import voice
from vqcodec import Rate, audio
from vqcodec.cli.serve.server import open_server
from vqcodec.cli.serve.site import RUNTIME, addresses, page_folder
from vqcodec.models import registry

for package in ("onnx", "onnxscript", "onnxruntime", "selenium"):
    pytest.importorskip(package, reason=f"the package {package} is not installed")

from vqcodec import light  # noqa: E402
from vqcodec.integrations.onnx import write_folder  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden"
HELLO = ROOT / "examples" / "hello.wav"
CONTROLS = {"file", "record", "stages", "loss", "method", "live"}
RESULTS = {"original-audio", "decoded-audio", "save-vq", "save-wav"}

pytestmark = pytest.mark.skipif(
    not all((page_folder() / "vendor" / name).is_file() for name in RUNTIME),
    reason="onnxruntime-web is not there: web/vendor.sh fetches it",
)

SETTLED = """
const done = arguments[arguments.length - 1], app = document.getElementById("app");
const states = ["ready", "done", "error"];
const settled = () => states.includes(app.dataset.state) && (done(app.dataset.state), true);
if (!settled()) new MutationObserver((_, self) => settled() && self.disconnect()).observe(app, {attributes: true});
"""
SOUND = """
const [name, done] = arguments;
const base64 = (array) => {
  const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
};
import("/app.js").then(({ sound }) => done([sound[name]].flat(2).map(base64)));
"""
FRAMES = """
const [least, done] = arguments, note = document.getElementById("live-note");
const enough = () => Number(note.dataset.frames) >= least && (done(true), true);
if (!enough()) new MutationObserver((_, self) => enough() && self.disconnect()).observe(note, {attributes: true});
"""


class Page:
    """The page in a browser, with a model."""

    def __init__(self, driver: Any, folder: Path) -> None:
        self.driver = driver
        self.codec = light.Codec.load(folder)

    def element(self, name: str) -> Any:
        return self.driver.find_element("id", name)

    def text(self, name: str) -> str:
        return str(self.element(name).text)

    def open(self, path: Path) -> str:
        """Open a file; returns the state that the page comes to."""
        self.begin()
        self.element("file").send_keys(str(path))
        return self.settled()

    def choose(self, name: str, value: object) -> str:
        """Give a control a value, as its user would."""
        self.begin()
        script = """const [control, value] = arguments;
            control.value = value;
            for (const type of ["input", "change"]) control.dispatchEvent(new Event(type, { bubbles: true }));"""
        self.driver.execute_script(script, self.element(name), value)
        return self.settled()

    def begin(self) -> None:
        """Forget the state, so that `settled` waits for the next one."""
        self.driver.execute_script("document.getElementById('app').dataset.state = 'asked'")

    def settled(self) -> str:
        return str(self.driver.execute_async_script(SETTLED))

    def arrays(self, name: str, dtype: type) -> NDArray[Any]:
        """What the page works on: one row for each array."""
        found = self.driver.execute_async_script(SOUND, name)
        return np.array([np.frombuffer(base64.b64decode(row), dtype) for row in found])

    def codes(self) -> NDArray[np.int64]:
        """Codes of one channel [1, stage, frame]."""
        return self.arrays("codes", np.int32)[None].astype(np.int64)

    def file(self) -> bytes:
        """The `.vq` file that the page offers to save."""
        return self.arrays("file", np.uint8).tobytes()

    def complaints(self) -> list[str]:
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] != "INFO"]


def page_of(model: Path, folder: Path) -> Iterator[Page]:
    write_folder(model, folder / "exported")
    flags = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    with open_server(addresses(folder / "exported"), 0) as server, chromium(folder / "profile", *flags) as driver:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        driver.set_script_timeout(300)
        driver.get(f"http://127.0.0.1:{server.server_address[1]}/")
        page = Page(driver, folder / "exported")
        assert page.settled() == "ready", page.text("error")
        yield page
        assert page.complaints() == []
        server.shutdown()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """With a small model of random weights that has a context model."""
    yield from page_of(GOLDEN / "context.safetensors", tmp_path_factory.mktemp("page"))


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    audio.write(tmp_path / "speech.wav", voice(2.0)[None], 16_000)
    return tmp_path / "speech.wav"


def check_against_python(page: Page, path: Path, stages: int) -> None:
    """The page's codes, sound and file are those of Python."""
    waveform, _ = audio.read(path, page.codec.sample_rate)
    assert page.open(path) == "done", page.text("error")
    assert page.choose("stages", stages) == "done", page.text("error")
    original = page.arrays("original", np.float32)
    np.testing.assert_allclose(original, waveform, atol=2**-15)  # browsers take 32767 for 1, or 32768

    expected = page.codec.encode(original, stages=stages).codes
    found = page.codes()
    assert found.shape == expected.shape
    assert (found == expected).all(axis=(0, 1)).mean() >= 0.999

    decoded = page.arrays("decoded", np.float32)
    np.testing.assert_allclose(decoded, page.codec.decode(page.file()), atol=1e-3)
    assert np.abs(decoded).max() > 0.01


def test_codes_and_sound_are_those_of_python(page: Page, speech: Path) -> None:
    check_against_python(page, speech, 3)


@pytest.mark.parametrize(
    ("rate", "coding"),
    [
        (Rate(stages=3), 0),
        (Rate(quality=5.0, packing="plain"), 1),
        (Rate(quality=5.0, packing="context"), 2),
    ],
)
def test_files_of_python_open(page: Page, tmp_path: Path, rate: Rate, coding: int) -> None:
    sound, coded = tmp_path / "stereo.wav", tmp_path / "python.vq"
    audio.write(sound, np.stack([voice(2.0), voice(2.0)[::-1]]), 16_000)
    page.codec.encode_file(sound, coded, rate=rate)
    expected = page.codec.encode(sound, rate=rate)
    assert coded.read_bytes()[5] & 15 == coding
    assert page.open(coded) == "done", page.text("error")
    codes = page.arrays("codes", np.int32).reshape(expected.codes.shape)
    np.testing.assert_array_equal(codes, expected.codes)
    np.testing.assert_allclose(page.arrays("decoded", np.float32), page.codec.decode(expected), atol=1e-3)
    assert not page.element("original").is_displayed()
    assert page.text("size") == f"{coded.stat().st_size} bytes"


def test_a_file_of_another_rate(page: Page) -> None:
    path = GOLDEN / "rate_44100.vq"
    assert page.open(path) == "done", page.text("error")
    np.testing.assert_allclose(page.arrays("decoded", np.float32), page.codec.decode(path), atol=1e-3)


def test_damaged_files_are_refused(page: Page) -> None:
    paths = sorted((GOLDEN / "reject").glob("*.vq"))
    accepted = [path.name for path in paths if page.open(path) != "error"]
    assert len(paths) > 30 and accepted == []
    assert "could not be opened" in page.text("error")


def test_what_is_said_of_a_sound(page: Page, speech: Path) -> None:
    assert page.open(speech) == "done"
    assert page.choose("stages", 2) == "done"
    kbps = page.codec.config.bitrate_of(2) / 1000
    assert page.text("rate") == f"{kbps:g} kbit/s, 2 codes a frame"
    assert page.text("size") == f"{len(page.file())} bytes" and page.text("duration") == "2.00 s"
    assert page.text("bitrate").startswith(f"{8 * len(page.file()) / 2000:.2f} kbit/s, against 256 kbit/s")
    assert page.text("status").startswith("Done") and page.text("error") == ""


def test_a_file_is_dropped(page: Page, speech: Path) -> None:
    script = """const [text, name] = arguments, transfer = new DataTransfer();
        const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
        transfer.items.add(new File([bytes], name));
        const event = new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true });
        return document.body.dispatchEvent(event);"""
    page.begin()
    text = base64.b64encode(speech.read_bytes()).decode()
    assert not page.driver.execute_script(script, text, "dropped.wav")  # the browser does not open it itself
    assert page.settled() == "done" and page.arrays("original", np.float32).shape == (1, 32_000)


def test_lost_frames(page: Page, speech: Path) -> None:
    assert page.open(speech) == "done"
    whole, file = page.arrays("decoded", np.float32), page.file()
    assert page.text("lost").startswith("0 frames")
    assert page.choose("loss", 20) == "done"
    repeated = page.arrays("decoded", np.float32)
    lost, _, _, total = page.text("lost").split()
    assert 0.1 < int(lost) / int(total) < 0.3
    assert page.choose("method", "absent") == "done"
    absent = page.arrays("decoded", np.float32)
    assert page.file() == file  # the file is whole, whatever is lost on the way
    assert np.abs(repeated - whole).max() > 1e-3 and np.abs(absent - repeated).max() > 1e-3
    assert page.choose("loss", 0) == "done"
    np.testing.assert_array_equal(page.arrays("decoded", np.float32), whole)
    assert page.choose("method", "repeat") == "done"


def test_the_keyboard_reaches_every_control(page: Page, speech: Path) -> None:
    from selenium.webdriver import ActionChains, Keys

    assert page.open(speech) == "done"
    page.driver.execute_script("document.activeElement.blur()")
    reached = set()
    for _ in range(60):
        ActionChains(page.driver).send_keys(Keys.TAB).perform()
        reached.add(page.driver.switch_to.active_element.get_attribute("id"))
    assert reached >= CONTROLS | RESULTS
    before = page.codes().shape[1]
    page.begin()
    page.element("stages").send_keys(Keys.ARROW_LEFT)
    assert page.settled() == "done" and page.codes().shape[1] == before - 1


def test_a_screen_reader_is_told(page: Page, speech: Path) -> None:
    assert page.open(speech) == "done"
    for name in CONTROLS | RESULTS:
        assert page.element(name).accessible_name, name
    assert page.element("status").aria_role == "status" and page.element("error").aria_role == "alert"
    for canvas in page.driver.find_elements("tag name", "canvas"):
        assert "Spectrogram" in canvas.accessible_name
        drawn = "return new Set(arguments[0].getContext('2d').getImageData(0, 0, 640, 128).data).size"
        assert page.driver.execute_script(drawn, canvas) > 50


def test_a_small_screen(page: Page, speech: Path) -> None:
    assert page.open(speech) == "done"
    size = {"width": 320, "height": 640, "deviceScaleFactor": 2, "mobile": True}
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        assert page.driver.execute_script("return innerWidth") == 320
        assert page.driver.execute_script("return document.documentElement.scrollWidth") == 320
    finally:
        page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_microphone_to_loudspeaker(page: Page) -> None:
    page.element("live").click()
    assert page.driver.execute_async_script(FRAMES, 10), page.text("error")
    assert page.element("live").get_attribute("aria-pressed") == "true"
    page.begin()
    page.element("record").click()
    frames = int(page.element("live-note").get_attribute("data-frames"))
    page.driver.execute_async_script(FRAMES, frames + 50)
    page.element("live").click()
    page.element("record").click()
    assert page.settled() == "done", page.text("error")
    assert page.arrays("original", np.float32).size > 1600
    assert "s of computing" in page.text("live-note")


@pytest.mark.skipif(registry.DEFAULT not in registry.names(), reason="no trained weights in this build")
def test_the_shipped_model(tmp_path: Path) -> None:
    for page in page_of(registry.find(registry.DEFAULT), tmp_path):
        check_against_python(page, HELLO, 6)
