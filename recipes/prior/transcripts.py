"""What is said in a recording, from a text file beside it."""

from __future__ import annotations

from pathlib import Path

from vqcodec.errors import ConfigError

_MOST_BYTES = 64 << 20


class Transcripts:
    """Transcripts as LibriSpeech has them, NAME.trans.txt with a line "ID text" for each file; or a file ID.txt."""

    def __init__(self) -> None:
        self._folders: dict[Path, dict[str, str]] = {}

    def of(self, sound: Path) -> str:
        """Find what is said in a sound file.

        Raises:
            ConfigError: there is no transcript of it, or it cannot be read.
        """
        folder = sound.parent
        if folder not in self._folders:
            self._folders[folder] = dict(_lines(folder))
        text = self._folders[folder].get(sound.stem)
        if text is None and (alone := sound.with_suffix(".txt")).is_file():
            text = _content(alone)
        if not text or not text.strip():
            raise ConfigError(f"{sound} has no transcript: no line in *.trans.txt beside it, and no {sound.stem}.txt")
        return " ".join(text.split())


def _lines(folder: Path) -> list[tuple[str, str]]:
    found = []
    for path in sorted(folder.glob("*.trans.txt")):
        for line in _content(path).splitlines():
            name, _, text = line.strip().partition(" ")
            found.append((name, text))
    return found


def _content(path: Path) -> str:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ConfigError(f"{path} is too large for a transcript")
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no readable transcript: {error}") from None
