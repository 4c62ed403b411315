"""A job: its plan, which of its parts are done, and how a part is made."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from vqcodec import Codec
from vqcodec.files import atomic_output

from . import outputs
from .encoder import Failure, TokenEncoder, Tokens
from .items import Item, unicode
from .plan import Part, Plan

PARTS = "data"
"""Folder of the parts that are done."""
FAILED = "failed"
"""Folder of the lists of the items of each part that have no codes."""
ALL_FAILED = "failed.jsonl"
"""All of these lists."""


@dataclass(frozen=True)
class Outcome:
    """A part that is done."""

    part: Part
    failed: int
    """Items without codes."""
    audio_s: float
    """Seconds of audio that have codes."""


@dataclass(frozen=True)
class Job:
    """A plan, and the model that its parts are made with; it can be pickled."""

    plan: Plan
    model: str
    """Name or path."""
    device: str

    def encoder(self) -> TokenEncoder:
        """Load the model.

        Raises:
            ModelMismatch: it is not the one that the job was planned with.
        """
        codec = Codec.load(self.model, self.device, self.plan.settings.precision)
        return TokenEncoder(codec, self.plan.settings)

    def missing(self, shard: tuple[int, int] = (0, 1)) -> list[Part]:
        """List the parts that are not done, of those whose number is `shard[0]` modulo `shard[1]`."""
        index, count = shard
        suffix = outputs.FORMS[self.plan.settings.form]
        folder = self.plan.folder / PARTS
        done = {path.name for path in folder.iterdir()} if folder.exists() else set()
        return [part for part in self.plan.parts[index::count] if f"{part.name}{suffix}" not in done]

    def make(self, part: Part, encoder: TokenEncoder, report: Callable[[float], None] = lambda done_s: None) -> Outcome:
        """Encode a part and write it.

        Args:
            part: one of the plan's.
            encoder: what `encoder` returned.
            report: called now and then with the seconds of audio that are done.

        Raises:
            VqcodecError: it cannot be written.
        """
        found: list[Tokens] = []
        failures: list[Failure] = []
        audio_s = 0.0
        for result in encoder.encode(self.plan.items_of(part)):
            if isinstance(result, Failure):
                failures.append(result)
                continue
            found.append(result)
            audio_s += result.num_samples / encoder.codec.sample_rate
            report(audio_s)
        found.sort(key=lambda tokens: tokens.number)
        self._list(part, sorted(failures, key=lambda failure: failure.number))
        folder = self.plan.folder / PARTS
        folder.mkdir(exist_ok=True)
        entries = [(_facts(tokens, encoder.codec), tokens.codes) for tokens in found]
        outputs.write(folder, part.name, self.plan.settings.form, entries)
        return Outcome(part, len(failures), audio_s)

    def gather_failures(self) -> int:
        """Put the lists of all parts together into one file, and count the items in it."""
        lists = sorted((self.plan.folder / FAILED).glob("*.jsonl"))
        lines = list(itertools.chain.from_iterable(path.read_bytes().splitlines(True) for path in lists))
        with atomic_output(self.plan.folder / ALL_FAILED, force=True) as output:
            output.writelines(lines)
        return len(lines)

    def _list(self, part: Part, failures: Sequence[Failure]) -> None:
        folder = self.plan.folder / FAILED
        folder.mkdir(exist_ok=True)
        path = folder / f"{part.name}.jsonl"
        if not failures:
            path.unlink(missing_ok=True)  # an earlier try may have been out of luck
            return
        with atomic_output(path, force=True) as output:
            for failure in failures:
                facts = {**_named(failure.number, failure.item), "reason": unicode(failure.reason)}
                output.write((json.dumps(facts, ensure_ascii=False) + "\n").encode())


def _named(number: int, item: Item) -> dict[str, Any]:
    return {"key": f"{number:09}", "id": unicode(item.id), "path": unicode(item.source)}


def _facts(tokens: Tokens, codec: Codec) -> dict[str, Any]:
    item = tokens.item
    return {
        **_named(tokens.number, item),
        "start_s": item.start_s or 0.0,
        "duration_s": tokens.num_samples / codec.sample_rate,
        "speaker": None if item.speaker is None else unicode(item.speaker),
        "text": None if item.text is None else unicode(item.text),
        "channels": len(tokens.codes),
        "sample_rate": codec.sample_rate,
        "source_sample_rate": tokens.source_sample_rate,
        "num_samples": tokens.num_samples,
        "num_frames": tokens.codes.shape[-1],
        "bitrate_bps": codec.config.bitrate_of(tokens.codes.shape[1]),
        "fingerprint": codec.fingerprint,
    }
