"""What several tests of training share."""

from pathlib import Path

import pytest

from synthetic import voice
from vqcodec import audio


@pytest.fixture(scope="session")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of twelve speakers, which tests only read."""
    root = tmp_path_factory.mktemp("speech")
    for speaker in range(12):
        (root / f"speaker_{speaker}").mkdir()
        audio.write(root / f"speaker_{speaker}" / "a.wav", voice(2.0, 16_000, seed=speaker)[None], 16_000)
    return root
