"""The context model once more, as docs/CONTEXT.md describes it: frame by frame, symbol by symbol, in plain integers.

With `kind` float64 the same runs in floating point, where every number is a whole one as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from vqcodec.models.context.store import ContextModel


class Reference:
    """Frequencies of the symbols of one channel."""

    def __init__(self, model: ContextModel, kind: type = np.int64) -> None:
        self.config = model.config
        self.kind = kind
        self.vectors = model.vectors
        self.tensors = {name: tensor.astype(kind) for name, tensor in model.tensors.items()}
        self.past = [
            np.zeros((self.config.kernel_size - 1, self.config.width), kind) for _ in range(self.config.blocks)
        ]

    def frequencies(self, codes: NDArray[Any], counts: NDArray[Any]) -> Iterator[list[NDArray[np.int64]]]:
        """Of each frame, the frequencies of its count and of its codes: codes [stage, frame], counts [frame]."""
        total = head = np.zeros(self.config.latent_dim, np.int64)
        before = self.config.num_stages + 1
        for frame, count in enumerate(counts):
            x = self.trunk(np.concatenate([total, head]).clip(-511, 511), before)
            found = [self.count_shares(x, len(codes))]
            total = head = np.zeros(self.config.latent_dim, np.int64)
            for stage in range(count):
                found.append(self.code_shares(stage, x, int(count), total.clip(-511, 511)))
                total = total + self.vectors[stage][codes[stage, frame]]
                if stage < 2:
                    head = total
            before = int(count)
            yield found

    def count_shares(self, x: NDArray[Any], stages: int) -> NDArray[np.int64]:
        """Frequencies of the count, up to `stages`."""
        return self._distribution(self._count_logits(x)[: stages + 1])

    def code_shares(self, stage: int, x: NDArray[Any], count: int, partial: NDArray[Any]) -> NDArray[np.int64]:
        """Frequencies of the code of a stage; `partial` is the sum of the vectors before."""
        return self._distribution(self._stage_logits(stage, x, count, partial))

    def trunk(self, sums: NDArray[Any], before: int) -> NDArray[Any]:
        t = self.tensors
        x = t["input.weight"] @ sums.astype(self.kind) + t["input.table"][before]
        x = self._shifted(x, t["input.shift"][0]).clip(-511, 511)
        for block in range(self.config.blocks):
            name = f"blocks.{block}"
            frames = np.concatenate([self.past[block], x[None]])
            self.past[block] = frames[1:]
            y = (frames * t[f"{name}.depthwise.weight"]).sum(0)
            y = self._shifted(y, t[f"{name}.depthwise.shift"][0]).clip(-511, 511)
            y = self._layer(f"{name}.expand", y).clip(0, 127)
            x = (x + self._layer(f"{name}.contract", y)).clip(-511, 511)
        return x

    def _count_logits(self, x: NDArray[Any]) -> NDArray[Any]:
        return self._layer("count.logits", self._layer("count.hidden", x).clip(0, 127))

    def _stage_logits(self, stage: int, x: NDArray[Any], count: int, partial: NDArray[Any]) -> NDArray[Any]:
        t = self.tensors
        y = t["hidden.weight"][stage] @ x + t["hidden.partial"][stage] @ partial.astype(self.kind)
        y = self._shifted(y + t["hidden.table"][stage][count], t["hidden.shift"][stage]).clip(0, 127)
        y = t["logits.weight"][stage] @ y + t["logits.bias"][stage]
        return self._shifted(y, t["logits.shift"][stage])

    def _layer(self, name: str, x: NDArray[Any]) -> NDArray[Any]:
        t = self.tensors
        return self._shifted(t[f"{name}.weight"] @ x + t[f"{name}.bias"], t[f"{name}.shift"][0])

    def _shifted(self, x: NDArray[Any], shift: Any) -> NDArray[Any]:
        if self.kind is np.int64:
            return x + (1 << int(shift) - 1) >> int(shift)
        return np.floor(x / 2**shift + 0.5)

    def _distribution(self, logits: NDArray[Any]) -> NDArray[np.int64]:
        """One Python integer after the other."""
        table = [int(value) for value in self.tensors["exponentials"]]
        whole = [int(logit) for logit in logits]
        weights = [table[min(max(whole) - logit, len(table) - 1)] for logit in whole]
        reciprocal = (65536 - len(whole) << 40) // sum(weights)
        ends, total = [0], 0
        for symbol, weight in enumerate(weights):
            total += weight
            ends.append(symbol + 1 + (total * reciprocal >> 40))
        ends[-1] = 65536
        return np.diff(ends)
