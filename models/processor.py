"""What the processor can do, as far as that decides how to compute."""

from __future__ import annotations

from collections.abc import Iterable

import torch


def has_any(instructions: Iterable[str]) -> bool:
    """Tell whether the processor has one of these instruction sets, by the names that torch has for them."""
    known = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return any(known.get(name, False) for name in instructions)
