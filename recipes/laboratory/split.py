"""Recordings -> those that quantizers are fitted on, and those that they are measured on: of other speakers."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vqcodec.errors import AudioError

from ..data.corpora import Recording, find

_TEST_EVERY = 4
"""One in this many speakers is measured on where one folder serves for both parts."""


@dataclass(frozen=True, kw_only=True)
class RecordingSplit:
    """Two lists of recordings that have neither a file nor a known speaker in common.

    Both are in a fixed order that goes round the speakers, so that any beginning of a list has many of them.
    """

    fit: tuple[Recording, ...]
    test: tuple[Recording, ...]
    notes: tuple[str, ...]


def divide(data: Sequence[Path], fit: Sequence[Path]) -> RecordingSplit:
    """Find the recordings of both parts.

    Args:
        data: folders to measure on; and to fit on, if `fit` is empty: every fourth speaker is measured on then, or
            every fourth file, where there are no two known speakers.
        fit: folders to fit on. Recordings of speakers who are also in `data` are left out.

    Raises:
        AudioError: a folder is missing or has no audio, or nothing is left for one of the parts.
    """
    found = find(data)
    if fit:
        return _apart(find(fit), found)
    groups = _by_voice(found)
    notes = []
    if len(groups) < 2:
        groups = [[recording] for recording in found]
        notes.append("All recordings are of one speaker, so quantizers were fitted on the voice they are measured on.")
    elif not any(_known(recording) for recording in found):
        notes.append("Who speaks is not known, so a voice may be in both parts: folders of files are speakers.")
    if len(groups) < 2:
        raise AudioError(f"{_names(data)}: one recording cannot be fitted on and measured on as well; add others")
    groups.sort(key=lambda group: _mixed(group[0]))
    test = [recording for group in groups[::_TEST_EVERY] for recording in group]
    held = {recording.path for recording in test}
    rest = [recording for recording in found if recording.path not in held]
    return RecordingSplit(fit=_round_robin(rest), test=_round_robin(test), notes=tuple(notes))


def _apart(fit: Sequence[Recording], test: Sequence[Recording]) -> RecordingSplit:
    voices = {_voice(recording) for recording in test}
    files = {recording.path.resolve() for recording in test}
    chosen = [one for one in fit if _voice(one) not in voices and one.path.resolve() not in files]
    if not chosen:
        raise AudioError("every recording to fit on is of a speaker who is measured on; name other folders")
    left_out = len(fit) - len(chosen)
    notes = [f"{left_out} recordings were not fitted on: their speakers are measured on."] if left_out else []
    return RecordingSplit(fit=_round_robin(chosen), test=_round_robin(test), notes=tuple(notes))


def _known(recording: Recording) -> bool:
    """Whether it is known who speaks: in a folder without folders it is not."""
    return "/" in recording.speaker


def _voice(recording: Recording) -> str:
    """A key that two recordings have in common only if they are of one speaker, as far as is known."""
    return recording.speaker if _known(recording) else str(recording.path.resolve())


def _by_voice(recordings: Iterable[Recording]) -> list[list[Recording]]:
    groups: defaultdict[str, list[Recording]] = defaultdict(list)
    for recording in recordings:
        groups[_voice(recording)].append(recording)
    return list(groups.values())


def _round_robin(recordings: Iterable[Recording]) -> tuple[Recording, ...]:
    """One recording of every speaker, then a second one of those who have it, and so on, speakers and files mixed."""
    placed = [
        (place, _mixed(recording), recording)
        for group in _by_voice(recordings)
        for place, recording in enumerate(sorted(group, key=_mixed))
    ]
    return tuple(recording for *_, recording in sorted(placed, key=lambda one: one[:2]))


def _mixed(recording: Recording) -> bytes:
    """A sort key that mixes files up, by their own and their folder's name wherever the corpus lies."""
    return hashlib.sha256("/".join(recording.path.parts[-2:]).encode()).digest()


def _names(folders: Sequence[Path]) -> str:
    return ", ".join(map(str, folders))
