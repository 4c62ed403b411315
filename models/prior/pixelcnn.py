"""A gated PixelCNN over the plane of stages and frames, the kind of prior that the authors of the VQ-VAE used.

After van den Oord et al. 2016, "Conditional Image Generation with PixelCNN Decoders": one stack of convolutions sees
all codes of the frames before, another one the codes before in the same frame, and takes in what the first one found.
The convolutions are dilated over frames, as in WaveNet, to reach further back.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import Condition, Prior, Session
from .config import PriorConfig
from .embedding import CodeTables
from .slots import Slots

_FRAMES = 3  # of a convolution
_DILATIONS = (1, 2, 4, 8)  # of the layers in turn


class PixelPrior(Prior):
    """The probabilities of a code from those in a field of frames before it, and its own stages before.

    Args:
        config: the sizes.
    """

    def __init__(self, config: PriorConfig) -> None:
        super().__init__(config)
        stages, width = config.num_stages, config.width
        self.tables = CodeTables(stages, config.codebook_size, config.code_dim)
        self.bring = nn.Linear(config.code_dim, width, bias=False)
        self.places = nn.Parameter(0.1 * torch.randn(width, stages, 1))
        self.speakers = nn.Embedding(1 + len(config.speakers), width) if config.speakers else None
        dilations = [_DILATIONS[layer % len(_DILATIONS)] for layer in range(config.layers)]
        self.layers = nn.ModuleList(_Layer(width, stages, dilation) for dilation in dilations)
        self.out = nn.Linear(width, width)
        self.head = nn.Parameter(torch.zeros(stages, width, config.codebook_size))
        self.head_bias = nn.Parameter(torch.zeros(stages, config.codebook_size))
        self.field = 1 + sum((_FRAMES - 1) * dilation for dilation in dilations)
        """Frames that a code depends on, its own one aside."""

    @torch.no_grad()
    def begin_with(self, vectors: Tensor | None, counts: Tensor) -> None:
        if vectors is not None:
            self.tables.begin_with(vectors)
        shares = counts.float().log()
        self.head_bias.copy_(shares - shares.mean(1, keepdim=True))

    def forward(self, slots: Slots, condition: Condition) -> Tensor:
        return self._logits(slots.targets, condition)

    def _logits(self, codes: Tensor, condition: Condition) -> Tensor:
        """int64 [item, stage, frame] -> [item, frame, stage, code]."""
        x = self.bring(self.tables(codes)).permute(0, 3, 2, 1)  # [item, width, stage, frame]
        before = F.pad(x, (1, 0))[..., :-1]  # the frame before
        beside = F.pad(x, (0, 0, 1, 0))[:, :, :-1] + self.places  # the stage before
        before = before + self.places
        if self.speakers is not None:
            numbers = condition.speakers
            if numbers is None:
                numbers = torch.zeros(len(codes), dtype=torch.int64, device=codes.device)
            before = before + self.speakers(numbers)[:, :, None, None]
        found = torch.zeros_like(beside)
        for layer in self.layers:
            before, beside, skipped = layer(before, beside)
            found = found + skipped
        x = F.relu(self.out(F.relu(found.permute(2, 0, 3, 1))))  # [stage, item, frame, width]
        logits = torch.bmm(x.flatten(1, 2), self.head.to(x.dtype)) + self.head_bias[:, None]
        return logits.view(*x.shape[:3], -1).permute(1, 2, 0, 3)

    def begin(self, items: int, condition: Condition, cached: bool = True) -> Session:
        self.check(condition)
        return _Field(self, items, condition, self.field if cached else None)


class _Layer(nn.Module):
    """A layer of both stacks."""

    def __init__(self, width: int, stages: int, dilation: int) -> None:
        super().__init__()
        self.reach = (_FRAMES - 1) * dilation
        height = 2 * min(stages, 2) - 1
        self.before = nn.Conv2d(width, 2 * width, (height, _FRAMES), dilation=(1, dilation), padding=(height // 2, 0))
        self.before_out = nn.Conv2d(width, width, 1)
        self.beside = nn.Conv2d(width, 2 * width, (2, 1))
        self.take_in = nn.Conv2d(2 * width, 2 * width, 1)
        self.beside_out = nn.Conv2d(width, 2 * width, 1)

    def forward(self, before: Tensor, beside: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Both stacks [item, width, stage, frame] -> both of them, and what goes straight to the logits."""
        seen = self.before(F.pad(before, (self.reach, 0)))
        own = self.beside(F.pad(beside, (0, 0, 1, 0))) + self.take_in(seen)
        residual, skipped = self.beside_out(_gated(own)).chunk(2, 1)
        return before + self.before_out(_gated(seen)), beside + residual, skipped


def _gated(x: Tensor) -> Tensor:
    signal, gate = x.chunk(2, 1)
    return signal.tanh() * gate.sigmoid()


class _Field(Session):
    """The last frames, from which everything is computed."""

    def __init__(self, prior: PixelPrior, items: int, condition: Condition, field: int | None) -> None:
        self._prior, self._condition, self._field = prior, condition, field
        self._codes = torch.zeros(items, prior.config.num_stages, 0, dtype=torch.int64, device=prior.device)

    def read(self, codes: Tensor, place: int) -> None:
        assert place == self._codes.shape[-1], "frames can only follow each other"
        self._codes = torch.cat([self._codes, codes], -1)

    def push(self, codes: Tensor) -> None:
        self._codes = torch.cat([self._codes, codes.unsqueeze(-1)], -1)

    def logits(self, begun: Tensor) -> Tensor:
        stage = begun.shape[1]
        frame = F.pad(begun, (0, self._codes.shape[1] - stage)).unsqueeze(-1)
        known = self._codes if self._field is None else self._codes[..., -self._field :]
        return self._prior._logits(torch.cat([known, frame], -1), self._condition)[:, -1, stage]
