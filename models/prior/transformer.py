"""A transformer over frames, and a small one over the stages of each frame.

After Lee et al. 2022, "Autoregressive Image Generation using Residual Quantization" (RQ-Transformer).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .base import Condition, Prior, Session
from .config import PriorConfig
from .embedding import CodeTables, StageLayers
from .layers import Block, Memory, rotary
from .slots import NONE, Slots


class TransformerPrior(Prior):
    """The probabilities of the codes of a frame, from all frames before it in the row and its own stages before.

    Args:
        config: the sizes.
    """

    can_infill = True

    def __init__(self, config: PriorConfig) -> None:
        super().__init__(config)
        stages, width, dim = config.num_stages, config.width, config.code_dim
        self.tables = CodeTables(stages, config.codebook_size, dim)
        self.frame_in = StageLayers(stages, dim, width)
        self.jump = nn.Parameter(0.5 * torch.randn(width))
        self.speakers = nn.Embedding(1 + len(config.speakers), width) if config.speakers else None
        self.characters = nn.Embedding(1 + len(config.characters), width) if config.characters else None
        self.given = GivenStages(config) if config.first_stage else None
        self.blocks = nn.ModuleList(Block(width, config.heads) for _ in range(config.layers))
        self.frame_norm = nn.RMSNorm(width, eps=1e-6)
        self.depth_in = nn.Linear(width, width, bias=False)
        self.stage_in = StageLayers(stages, dim, width)
        self.stages = nn.Parameter(0.1 * torch.randn(stages, width))
        self.depth_blocks = nn.ModuleList(Block(width, config.heads) for _ in range(config.depth_layers))
        self.depth_norm = nn.RMSNorm(width, eps=1e-6)
        self.head = nn.Parameter(torch.zeros(stages, width, config.codebook_size))
        self.head_bias = nn.Parameter(torch.zeros(stages, config.codebook_size))

    @torch.no_grad()
    def begin_with(self, vectors: Tensor | None, counts: Tensor) -> None:
        if vectors is not None:
            self.tables.begin_with(vectors)
        shares = counts.float().log()
        self.head_bias.copy_(shares - shares.mean(1, keepdim=True))

    def forward(self, slots: Slots, condition: Condition) -> Tensor:
        hidden = self.over_frames(slots.before, slots.places, condition, Memory(), first=True)
        return self.over_stages(hidden, slots.targets)

    def over_frames(
        self, before: Tensor, places: Tensor, condition: Condition, memory: Memory, first: bool = False
    ) -> Tensor:
        """What is known of the frame of each slot, before any of its codes.

        Args:
            before: as in `Slots`, int64 [item, stage, slot].
            places: as in `Slots`, int64 [slot].
            condition: what the codes are predicted from.
            memory: of the slots before; the new ones are added.
            first: these are the first slots, which the characters of a text go before.

        Returns:
            [item, slot, width]
        """
        jumps = (before[:, 0] == NONE).unsqueeze(-1)
        x = self.frame_in.total(self.tables(before)) + jumps * self.jump
        if self.speakers is not None:
            x = x + self._speaker(condition, len(x))
        if self.given is not None and condition.given is not None:
            x = x + self.given(condition.given)[:, places]
        slots = x.shape[1]
        if first and self.characters is not None and condition.characters is not None:
            text = self.characters(condition.characters)
            x = torch.cat([text, x], 1)
            back = torch.arange(-text.shape[1], 0, device=places.device)
            places = torch.cat([back, places])
        turns = rotary(places, self.config.width // self.config.heads)
        for number, block in enumerate(self.blocks):
            x = block(x, turns, memory.of(number))
        return self.frame_norm(x[:, -slots:])  # type: ignore[no-any-return]

    def over_stages(self, hidden: Tensor, codes: Tensor) -> Tensor:
        """Logits of the codes of each frame.

        Args:
            hidden: what `over_frames` returned [item, slot, width].
            codes: of the frame's first stages; of the last of them the value makes no difference, int64
                [item, stage, slot].

        Returns:
            [item, slot, stage, code]
        """
        items, slots = hidden.shape[:2]
        stages = codes.shape[1]
        x = self.stage_in.before(self.tables(codes)) + self.depth_in(hidden).unsqueeze(2) + self.stages[:stages]
        x = x.flatten(0, 1)
        for block in self.depth_blocks:
            x = block(x)
        x = self.depth_norm(x).transpose(0, 1)  # [stage, item * slot, width]
        logits = torch.bmm(x, self.head[:stages].to(x.dtype)) + self.head_bias[:stages, None]
        return logits.transpose(0, 1).view(items, slots, stages, -1)

    def begin(self, items: int, condition: Condition, cached: bool = True) -> Session:
        self.check(condition)
        return _Row(self, items, condition, cached)

    def _speaker(self, condition: Condition, items: int) -> Tensor:
        assert self.speakers is not None
        numbers = condition.speakers
        if numbers is None:
            numbers = torch.zeros(items, dtype=torch.int64, device=self.device)
        return self.speakers(numbers).unsqueeze(1)  # type: ignore[no-any-return]


class GivenStages(nn.Module):
    """Codes of stages before the first one, of frames before and behind, as activations of each frame.

    Args:
        config: of the prior.
    """

    _REACH = 4  # frames to either side

    def __init__(self, config: PriorConfig) -> None:
        super().__init__()
        self.tables = CodeTables(config.first_stage, config.codebook_size, config.code_dim)
        self.layers = StageLayers(config.first_stage, config.code_dim, config.width)
        size = 2 * self._REACH + 1
        self.around = nn.Conv1d(config.width, config.width, size, padding=self._REACH)
        self.out = nn.Linear(config.width, config.width)

    def forward(self, codes: Tensor) -> Tensor:
        """int64 [item, stage, frame] -> [item, frame + 1, width]; there may be a slot behind the last frame."""
        x = self.layers.total(self.tables(codes)).transpose(1, 2)
        x = torch.relu(self.around(nn.functional.pad(x, (0, 1))))
        return self.out(x.transpose(1, 2))  # type: ignore[no-any-return]


class _Row(Session):
    """A row of slots that grows."""

    def __init__(self, prior: TransformerPrior, items: int, condition: Condition, cached: bool) -> None:
        self._prior, self._condition, self._cached = prior, condition, cached
        self._memory = Memory()
        self._before = torch.zeros(items, prior.config.num_stages, 0, dtype=torch.int64, device=prior.device)
        self._places = torch.zeros(0, dtype=torch.int64, device=prior.device)
        self._hidden: Tensor | None = None
        self._next = 0

    def read(self, codes: Tensor, place: int) -> None:
        jump = codes.new_full((*codes.shape[:2], 1), NONE)
        self._next = place
        self._take(torch.cat([jump, codes], -1))

    def push(self, codes: Tensor) -> None:
        self._take(codes.unsqueeze(-1))

    def logits(self, begun: Tensor) -> Tensor:
        hidden = self._hidden
        if hidden is None:
            hidden = self._prior.over_frames(self._before, self._places, self._condition, Memory(), first=True)[:, -1:]
        codes = torch.cat([begun, begun.new_zeros(len(begun), 1)], 1).unsqueeze(-1)
        return self._prior.over_stages(hidden, codes)[:, 0, -1]

    def _take(self, before: Tensor) -> None:
        places = torch.arange(self._next, self._next + before.shape[-1], device=before.device)
        self._next += before.shape[-1]
        if self._cached:
            first = not self._memory.blocks
            self._hidden = self._prior.over_frames(before, places, self._condition, self._memory, first)[:, -1:]
        else:
            self._before = torch.cat([self._before, before], -1)
            self._places = torch.cat([self._places, places])
