"""docs/CONTEXT.md: its example, its table of tensors, and its rules of decoding, run as they are written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from context_reference import Reference

from vqcodec.models.context.store import ContextModel
from vqcodec.models.context.store import load as load_model
from vqcodec.payloads.context import ContextCoder

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "CONTEXT.md"

pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason="the documentation is not beside the tests")


@pytest.fixture(scope="module")
def page() -> str:
    return PAGE.read_text("utf-8")


@pytest.fixture(scope="module")
def model() -> ContextModel:
    model = load_model(ROOT / "tests" / "golden" / "context.safetensors")
    assert model is not None
    return model


def payload_of(page: str) -> bytes:
    [text] = re.findall(r"```\n([0-9a-f]+)\n```", page)
    return bytes.fromhex(text)


def decoding(payload: bytes, symbols: list[tuple[int, list[int]]]) -> Iterator[tuple[int, int, int, int, int, int]]:
    """The rules of the page for symbols with known frequencies: x, share, c, f, then x, words read."""
    body = payload[2:]
    body = b"\0" * (len(body) % 2) + body
    words = [int.from_bytes(body[i : i + 2], "big") for i in range(0, len(body), 2)]
    state, read = 0, 0

    def refill(x: int) -> int:
        nonlocal read
        if x < 1 << 32 and read < len(words):
            x, read = x << 16 | words[read], read + 1
        return x

    for _ in range(3):
        state = refill(state)
    for symbol, frequencies in symbols:
        share, c, f = state % 65536, sum(frequencies[:symbol]), frequencies[symbol]
        assert c <= share < c + f
        before, state = state, refill(f * (state // 65536) + share - c)
        yield before, share, c, f, state, read


def symbols_of(model: ContextModel, payload: bytes) -> list[tuple[int, list[int]]]:
    """The symbols of the example in their order, with their frequencies by the reference."""
    [(codes, counts)] = ContextCoder(model).decode([payload], [6], 2, 4)
    found = [list(Reference(model).frequencies(codes[channel], counts[channel])) for channel in range(2)]
    symbols = []
    for frame in range(6):
        for place in range(5):
            for channel in range(2):
                if place <= counts[channel, frame]:
                    symbol = codes[channel, place - 1, frame] if place else counts[channel, frame]
                    symbols.append((int(symbol), found[channel][frame][place].tolist()))
    return symbols


def test_the_example(page: str, model: ContextModel) -> None:
    payload = payload_of(page)
    assert f"begins with `{model.fingerprint[:8]}`" in page and payload.hex().startswith(model.fingerprint[:4])
    symbols = symbols_of(model, payload)
    steps = list(decoding(payload, symbols))
    assert f"After {len(steps)} symbols all {steps[-1][-1]} words are read, and x is {steps[-1][-2]}." in page
    assert 2 * steps[-1][-1] == len(payload) - 2
    rows = re.findall(
        r"^\| (?:count|code) (\d+).*? \| (\w+) \| (\d+) \| (\d+) \| (\d+) \| (\w+) \| (\d+) \|$", page, re.M
    )
    assert len(rows) == 5
    for row, (symbol, _), step in zip(rows, symbols, steps, strict=False):
        before, share, c, f, after, read = step
        assert row == (str(symbol), f"{before:012x}", str(share), str(c), str(f), f"{after:012x}", str(read))
    assert f"the frequencies {', '.join(map(str, symbols[0][1]))}." in page


def test_the_counts_of_the_example(page: str, model: ContextModel) -> None:
    [(_, counts)] = ContextCoder(model).decode([payload_of(page)], [6], 2, 4)
    for row in counts:
        assert f"\n    {' '.join(map(str, row))}\n" in page


def test_all_tensors_are_named(page: str, model: ContextModel) -> None:
    rows = re.findall(r"^\| (`.*?) \| (\[.*\]) \|$", page, re.M)
    named: dict[str, str] = {}
    for names, shapes in rows:
        tensors = re.findall(r"`([\w.]+)`", names)
        tensors = [tensors[0].rsplit(".", 1)[0] + name if name.startswith(".") else name for name in tensors]
        named |= dict(zip(tensors, re.findall(r"\[(.*?)\]", shapes), strict=True))
    c = model.config
    sizes = {"S": c.num_stages, "K": c.codebook_size, "D": c.latent_dim, "W": c.width, "k": c.kernel_size}
    sizes |= {"e": c.expansion, "H": c.hidden, "G": c.count_hidden}
    expected = {re.sub(r"^blocks\.\d", "blocks.b", name): shape for name, _, shape in c.tensors()}
    found = {
        name: tuple(eval(re.sub(r"(\w) (\w)", r"\1 * \2", part), {}, sizes) for part in shape.split(","))
        for name, shape in named.items()
    }
    assert found == expected
