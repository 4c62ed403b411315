"""The WaveNet decoder: it sees no future, sampling is exact, and blocks make no difference."""

from __future__ import annotations

import pytest
import torch
import wavenets
from torch import Tensor

from vqcodec.models.layers import Stream
from vqcodec.models.texture import uniforms
from vqcodec.models.wavenet.decoder import WaveNetDecoder
from vqcodec.models.wavenet.network import direct_form

FRAMES = 12


def decoder(**sizes: object) -> WaveNetDecoder:
    made = wavenets.model(**sizes).decoder
    assert isinstance(made, WaveNetDecoder)
    return made


def latents(batch: int = 1) -> Tensor:
    return torch.randn(batch, 8, FRAMES, generator=torch.Generator().manual_seed(1))


def target() -> Tensor:
    return 0.1 * torch.randn(1, 1, FRAMES * 80, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def parameters(network: WaveNetDecoder, latents: Tensor, target: Tensor) -> Tensor:
    """Of the distributions of all samples [sample, parameter], in float64."""
    mixture, _ = network.double().teacher_forced(latents.double(), target, Stream())
    return torch.cat([*mixture], -1)[0]


def drawn_without_memory(network: WaveNetDecoder, latents: Tensor, texture: float) -> Tensor:
    """What the decoder draws [sample], each sample from the distribution that training computes, all of it anew."""
    random, samples = uniforms(0, 0, FRAMES * 80, 2), torch.zeros(1, 1, FRAMES * 80, dtype=torch.float64)
    for index in range(network.delay, FRAMES * 80):
        mixture, _ = network.teacher_forced(latents.double(), samples, Stream())
        place = index - network.delay  # in a target that is not late
        samples[..., place] = mixture.draw(random[None], texture)[0, index]
    return torch.nn.functional.pad(samples, (network.delay, 0))[0, 0, : FRAMES * 80]


def test_a_sample_does_not_depend_on_itself_or_later_ones() -> None:
    network, changed = decoder(), target()
    changed[..., 300:] += 0.2
    before, after = parameters(network, latents(), target()), parameters(network, latents(), changed)
    place = 300 + network.delay
    assert torch.equal(before[: place + 1], after[: place + 1])
    assert not torch.equal(before[place + 1], after[place + 1])


def test_it_sees_as_far_as_dilations_reach() -> None:
    """Layers of dilations 1, 2, 4, 8, 1, 2 look 18 samples back beyond the sample before, whose error has 4 more."""
    network, changed = decoder(), target()
    changed[..., 300] += 0.2
    before, after = parameters(network, latents(), target()), parameters(network, latents(), changed)
    moved = (before != after).any(-1).nonzero().flatten() - (300 + network.delay)
    assert moved.min() == 1 and moved.max() == 1 + 18 + 4


def test_a_sample_does_not_depend_on_later_frames() -> None:
    network, changed = decoder(), latents()
    changed[..., 6:] += 1.0
    before, after = parameters(network, latents(), target()), parameters(network, changed, target())
    assert torch.equal(before[: 6 * 80], after[: 6 * 80])
    assert not torch.equal(before[6 * 80], after[6 * 80])


@pytest.mark.parametrize("texture", [1.0, 0.5])
def test_sampling_with_memory_is_sampling_without(texture: float) -> None:
    network = decoder()
    with torch.no_grad():
        fast = network(latents(), Stream(), texture)[0, 0].double()
        slow = drawn_without_memory(network.double(), latents(), texture)
    assert fast.std() > 1e-3
    assert torch.equal(fast, slow)


@pytest.mark.parametrize("sizes", [{}, {"wavenet_mixtures": 1}, {"wavenet_order": 1}, {"stride": 1, "mdct_hop": 80}])
def test_drawn_samples_are_drawn_from_the_distributions_of_training(sizes: dict[str, object]) -> None:
    """Told the samples that were drawn, training finds distributions which, with the same numbers, draw them again."""
    network = decoder(**sizes)
    fast = network(latents(), Stream())
    told = torch.nn.functional.pad(fast[..., network.delay :], (0, network.delay)).double()
    mixture, samples = network.double().teacher_forced(latents().double(), told, Stream())
    assert torch.equal(samples, fast[0].double())
    again = mixture.draw(uniforms(0, 0, FRAMES * 80, 2)[None])
    assert torch.equal(again[:, network.delay :], samples[:, network.delay :])


def test_blocks_are_the_whole() -> None:
    network = decoder(decoder_lookahead=2, decoder_fast_blocks=1)
    whole, stream = network(latents(), Stream()), Stream()
    parts = torch.cat([network(part, stream) for part in latents().split([1, 1, 7, 3], -1)], -1)
    assert torch.equal(whole, parts)


def test_items_that_are_alike_stay_alike() -> None:
    one, two = latents(), latents(2)[1:]
    network = decoder()
    together = network(torch.cat([one, two, one]), Stream())
    assert torch.equal(together[0], together[2]) and not torch.equal(together[0], together[1])
    assert torch.equal(together[:1], network(one, Stream()))


def test_it_begins_with_silence() -> None:
    network = decoder()
    waveform = network(latents(), Stream())
    assert waveform[..., : network.delay].abs().max() == 0
    assert waveform[..., network.delay].abs() > 0


def test_a_linear_predictor_is_stable() -> None:
    """Whatever the reflection coefficients, the roots of its filter lie inside the unit circle."""
    reflections = torch.tanh(2 * torch.randn(20, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    for weights in direct_form(reflections):
        companion = torch.diag(torch.ones(7, dtype=torch.float64), -1)
        companion[0] = weights
        assert torch.linalg.eigvals(companion).abs().max() < 1
    assert direct_form(torch.tensor([0.5])).tolist() == [0.5]
    assert direct_form(torch.tensor([0.5, -0.25])).tolist() == [0.625, -0.25]
