"""The folder of a laboratory: the latents, a line for each result, and the tables made of them.

OUT/latents.safetensors   both parts of the latents, and what they are of; see `latents`
OUT/results.jsonl         one JSON object per line: a result, a failure, or the scores of the unquantized latents
OUT/results.csv           the results as a table
OUT/results.json          all that was found
OUT/report.html           the report
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from vqcodec.codec import Codec
from vqcodec.models.quantizers.bounds import covariance, principal_variances

from ..data.corpora import Recording
from ..result_store import ResultStore
from . import latents
from .latents import Latents
from .results import Findings, QuantizerFailure, QuantizerResult, Unquantized

FORMAT = 1

Record: TypeAlias = QuantizerResult | QuantizerFailure | Unquantized

_KINDS: Mapping[str, type[Record]] = {
    "result": QuantizerResult,
    "failure": QuantizerFailure,
    "unquantized": Unquantized,
}
_DIFFERENCES = {
    "format": "another version of vqcodec",
    "model": "another model",
    "fingerprint": "other weights of the model",
    "recordings": "other recordings",
    "minutes": "another number of minutes",
}


def facts_of(codec: Codec, fit: Iterable[Recording], test: Iterable[Recording], minutes: float) -> dict[str, Any]:
    """Collect what determines the latents, to notice a folder with others.

    Args:
        fit: the recordings that may be fitted on, in order.
        test: those that may be measured on.
        minutes: of sound to fit on.
    """
    recordings = [[str(one.path.absolute()) for one in part] for part in (fit, test)]
    return {
        "format": FORMAT,
        "model": codec.name,
        "fingerprint": codec.fingerprint,
        "recordings": hashlib.sha256(json.dumps(recordings).encode()).hexdigest(),
        "minutes": minutes,
        "sample_rate": codec.sample_rate,
        "vectors_per_s": codec.sample_rate / codec.config.latent_hop,
    }


class LaboratoryStore(ResultStore):
    """The folder of one laboratory.

    Args:
        folder: `OUT`; made when something is written.
    """

    @property
    def latents_path(self) -> Path:
        """Path of the latents."""
        return self.folder / "latents.safetensors"

    def begin(self, facts: Mapping[str, Any], force: bool) -> bool:
        """Make the folder ready, keeping what an earlier run on the same latents has done.

        Args:
            facts: as from `facts_of`.
            force: forget all that an earlier run has done.

        Returns:
            whether the latents are there already.

        Raises:
            ConfigError: the folder holds something else, or the results of other latents, and `force` is false.
            CorruptFile: the latents in it are damaged, and `force` is false.
        """
        if force:
            for path in (self._lines, self.latents_path):  # results never outlive their latents
                path.unlink(missing_ok=True)
        self._drop_torn_line()
        if self.latents_path.exists():
            old = latents.load(self.latents_path)[1]
            if different := [words for name, words in _DIFFERENCES.items() if old.get(name) != facts[name]]:
                raise self._mismatch(" and ".join(different))
            return True
        if not force:
            self._check_unused("results of quantizers")
        self.folder.mkdir(parents=True, exist_ok=True)
        return False

    def append(self, record: Record) -> None:
        """Add a record as one line."""
        kind = next(name for name, made in _KINDS.items() if isinstance(record, made))
        self._append_line({"record": kind, **dataclasses.asdict(record)})

    def records(self) -> list[Record]:
        """Read what was appended so far, in order.

        Raises:
            ConfigError: a line is damaged.
        """
        return self._read_lines(_record)

    def load_latents(self) -> Latents:
        """The latents of both parts."""
        return latents.load(self.latents_path)[0]

    def save_latents(self, found: Latents, facts: Mapping[str, Any], notes: Sequence[str]) -> None:
        """Keep the latents, with the facts and with notes on how they came about."""
        more = {
            "notes": list(notes),
            "dim": found.fit.vectors.shape[1],
            "fit": _amount(found.fit),
            "test": _amount(found.test),
        }
        latents.save(self.latents_path, found, {**facts, **more})

    def load(self, order: Sequence[str], notes: Sequence[str] = ()) -> Findings:
        """Read all that this folder holds, the last word on each quantizer and number of bits.

        Args:
            order: names of the quantizers, as they are to come.
            notes: what was left out of a run, and why.
        """
        found, facts = latents.load(self.latents_path)
        records = self.records()
        results: dict[tuple[str, int], QuantizerResult | QuantizerFailure] = {}
        unquantized = None
        for record in records:
            if isinstance(record, Unquantized):
                unquantized = record
            else:
                results[record.key] = record
        place = {name: index for index, name in enumerate(order)}
        ordered = sorted(results.values(), key=lambda one: (place.get(one.name, len(place)), one.budget))
        return Findings(
            facts=facts,
            results=[one for one in ordered if isinstance(one, QuantizerResult)],
            failures=[one for one in ordered if isinstance(one, QuantizerFailure)],
            unquantized=unquantized,
            notes=[*facts["notes"], *notes],
            variances=principal_variances(covariance(found.test.vectors)).tolist(),
        )

    def write_tables(self, findings: Findings) -> None:
        """Write `results.csv` and `results.json`."""
        rows = [_row(findings, one) for one in findings.results]
        self._write_csv("results.csv", list(rows[0]) if rows else ["quantizer"], rows)
        self._write_json("results.json", _summary(findings))


def _amount(part: latents.LatentSet) -> dict[str, Any]:
    return {
        "recordings": len(part.files),
        "speakers": len(set(part.speakers)),
        "vectors": len(part.vectors),
        "seconds": part.seconds,
    }


def _record(content: dict[str, Any]) -> Record:
    return _KINDS[content.pop("record")](**content)


def _row(findings: Findings, one: QuantizerResult) -> dict[str, Any]:
    """A result in numbers, scores as means."""
    means = {name: findings.mean(one.scores, name) for name in findings.scores}
    return {
        "quantizer": one.title,
        "kind": one.kind,
        "budget": one.budget,
        "bits": one.bits,
        "mse": one.mse,
        "snr_db": one.snr_db,
        "below_bound_db": findings.gap_db(one),
        "entropy_bits": one.entropy_bits,
        "entropy_bias_bits": one.entropy_bias_bits,
        "used_share": one.used_share,
        "fit_s": one.fit_s,
        "encode_vectors_per_s": one.encode_speed,
        "decode_vectors_per_s": one.decode_speed,
        "table_bytes": one.table_bytes,
        **{name: None if mean is None else mean.value for name, mean in means.items()},
        "note": one.note,
    }


def _summary(findings: Findings) -> dict[str, Any]:
    unquantized = findings.unquantized
    means = {name: findings.mean(unquantized.scores, name) for name in findings.scores} if unquantized else {}
    return {
        **findings.facts,
        "notes": list(findings.notes),
        "variances": list(findings.variances),
        "unquantized": {name: mean.value for name, mean in means.items() if mean},
        "results": [_row(findings, one) | {"settings": dict(one.settings)} for one in findings.results],
        "failures": [dataclasses.asdict(one) for one in findings.failures],
    }
