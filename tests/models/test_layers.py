"""The causal layers: the past only, the same in any blocks, and a transform that loses nothing."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from synthetic import voice
from vqcodec.models.layers import (
    MDCT,
    CausalConv1d,
    ConvNeXtBlock,
    InverseMDCT,
    Stream,
    compress,
    conv_next_stack,
    expand,
    mdct_basis,
)

Layer = Callable[[Tensor, Stream], Tensor]

WIDTH = 6
FRAMES = 36


class Turned(nn.Module):
    """A layer of networks, for signals [batch, channel, frame] like those of the transforms."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor, stream: Stream) -> Tensor:
        y: Tensor = self.layer(x.mT, stream).mT
        return y


# (layer, input channels, input frames per output frame)
LAYERS: dict[str, tuple[Callable[[], nn.Module], int, int]] = {
    "pointwise": (lambda: Turned(CausalConv1d(WIDTH, 4, 1)), WIDTH, 1),
    "convolution": (lambda: Turned(CausalConv1d(WIDTH, 4, 7)), WIDTH, 1),
    "stride 2": (lambda: Turned(CausalConv1d(WIDTH, 4, 4, 2)), WIDTH, 2),
    "stride 3": (lambda: Turned(CausalConv1d(WIDTH, 4, 7, 3)), WIDTH, 3),
    "kernel = stride": (lambda: Turned(CausalConv1d(WIDTH, 4, 3, 3)), WIDTH, 3),
    "block": (lambda: Turned(ConvNeXtBlock(WIDTH, 7, 3)), WIDTH, 1),
    "block, look-ahead 2": (lambda: Turned(ConvNeXtBlock(WIDTH, 7, 3, lookahead=2)), WIDTH, 1),
    "block, all look-ahead": (lambda: Turned(ConvNeXtBlock(WIDTH, 5, 2, lookahead=4)), WIDTH, 1),
    "MDCT": (lambda: MDCT(3), 1, 3),
    "inverse MDCT": (lambda: InverseMDCT(WIDTH), WIDTH, 1),
}


@pytest.fixture(params=LAYERS)
def case(request: pytest.FixtureRequest) -> tuple[nn.Module, Tensor, int]:
    """A layer, an input for it and its stride."""
    make, channels, stride = LAYERS[request.param]
    torch.manual_seed(1)
    return make(), torch.randn(2, channels, FRAMES), stride


def blocks(layer: Layer, x: Tensor, sizes: Sequence[int]) -> Tensor:
    """The layer's output for x [..., frame] given to one stream in blocks of these sizes."""
    stream = Stream()
    return torch.cat([layer(block, stream) for block in x.split(list(sizes), dim=-1)], dim=-1)


def by_frame(output: Tensor, frames: int) -> Tensor:
    """[..., frames * samples] -> [..., frame, sample]"""
    return output.reshape(*output.shape[:-1], frames, -1)


def direct_mdct(signal: np.ndarray, hop: int) -> np.ndarray:
    """The definition, in sums: [sample] -> [coefficient, frame], a hop of silence before the first sample."""
    padded = np.concatenate([np.zeros(hop), signal])
    frames = len(signal) // hop
    result = np.zeros((hop, frames))
    for frame in range(frames):
        for k in range(hop):
            for n in range(2 * hop):
                window = math.sin(math.pi * (n + 0.5) / (2 * hop))
                angle = math.pi / hop * (n + 0.5 + hop / 2) * (k + 0.5)
                result[k, frame] += window * padded[frame * hop + n] * math.cos(angle)
    return math.sqrt(2 / hop) * result


@pytest.mark.parametrize("hop", [2, 5, 8])
def test_mdct_is_as_defined(hop: int) -> None:
    signal = np.random.default_rng(0).uniform(-1, 1, 6 * hop)
    found = MDCT(hop)(torch.from_numpy(signal).float()[None, None], Stream())[0]
    np.testing.assert_allclose(found.numpy(), direct_mdct(signal, hop), atol=1e-5)


@pytest.mark.parametrize("hop", [1, 2, 15, 160])
def test_mdct_and_back_is_the_signal_one_hop_late(hop: int) -> None:
    signal = torch.from_numpy(voice(0.3))[None, None, : 20 * hop]
    back = InverseMDCT(hop)(MDCT(hop)(signal, Stream()), Stream())
    assert back.shape == signal.shape
    torch.testing.assert_close(back[..., hop:], signal[..., :-hop], atol=1e-5, rtol=0)
    assert back[..., :hop].abs().max() < 1e-5


@pytest.mark.parametrize("hop", [3, 16])
def test_mdct_basis_is_orthonormal(hop: int) -> None:
    basis = mdct_basis(hop)
    torch.testing.assert_close(basis @ basis.T, torch.eye(hop), atol=1e-5, rtol=0)
    torch.testing.assert_close(basis[:, hop:] @ basis[:, :hop].T, torch.zeros(hop, hop), atol=1e-5, rtol=0)


def test_mdct_keeps_the_energy() -> None:
    signal = torch.from_numpy(voice(0.5))[None, None, : 40 * 160].clone()
    signal[..., -160:] = 0  # the last hop lies in one frame only
    energy = MDCT(160)(signal, Stream()).square().sum()
    torch.testing.assert_close(energy, signal.square().sum(), rtol=1e-4, atol=0)


def test_transforms_have_no_weights() -> None:
    for layer in (MDCT(4), InverseMDCT(4)):
        assert not list(layer.parameters())
        assert not layer.state_dict()


@pytest.mark.parametrize("power", [0.3, 0.5, 1.0])
def test_expand_inverts_compress(power: float) -> None:
    x = torch.tensor([-20.0, -1.0, -0.03, -1e-4, 0.0, 1e-4, 0.03, 1.0, 20.0])
    torch.testing.assert_close(expand(compress(x, power), power), x, rtol=1e-5, atol=1e-9)
    torch.testing.assert_close(compress(expand(x, power), power), x, rtol=1e-5, atol=1e-9)


def test_compress_is_the_signed_power_law() -> None:
    torch.testing.assert_close(compress(torch.tensor([-16.0, 0.0, 81.0]), 0.25), torch.tensor([-2.0, 0.0, 3.0]))


def test_expand_has_a_gradient_at_zero() -> None:
    x = torch.tensor([0.0, 2.0], requires_grad=True)
    expand(x, 0.5).sum().backward()
    torch.testing.assert_close(x.grad, torch.tensor([0.0, 4.0]))


def test_nothing_depends_on_the_future(case: tuple[nn.Module, Tensor, int]) -> None:
    layer, x, stride = case
    before = by_frame(layer(x, Stream()), FRAMES // stride)
    for frame in range(12, 12 + stride):
        changed = x.clone()
        changed[..., frame:] = torch.randn_like(changed[..., frame:])
        change = (by_frame(layer(changed, Stream()), FRAMES // stride) - before).abs()
        assert change[..., : frame // stride, :].max() < 1e-6
        assert change[..., frame // stride, :].max() > 1e-3  # the newest frame is in use


@pytest.mark.parametrize("size", [1, 2, 5, 12, FRAMES])
def test_blocks_equal_the_whole(case: tuple[nn.Module, Tensor, int], size: int) -> None:
    layer, x, stride = case
    frames = FRAMES // stride
    sizes = [stride * min(size, frames - start) for start in range(0, frames, size)]
    torch.testing.assert_close(blocks(layer, x, sizes), layer(x, Stream()), atol=1e-5, rtol=0)


def test_uneven_blocks_equal_the_whole(case: tuple[nn.Module, Tensor, int]) -> None:
    layer, x, stride = case
    sizes = [stride * count for count in (1, 4, 2, 3)]
    sizes.append(FRAMES - sum(sizes))
    torch.testing.assert_close(blocks(layer, x, sizes), layer(x, Stream()), atol=1e-5, rtol=0)


def test_a_stream_begins_in_silence(case: tuple[nn.Module, Tensor, int]) -> None:
    layer, x, stride = case
    lead = 8  # output frames
    led = layer(torch.cat([torch.zeros_like(x[..., : lead * stride]), x], dim=-1), Stream())
    found = by_frame(led, lead + FRAMES // stride)[..., lead:, :]
    expected = by_frame(layer(x, Stream()), FRAMES // stride)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_streams_and_layers_do_not_mix() -> None:
    torch.manual_seed(1)
    layers = [Turned(CausalConv1d(WIDTH, WIDTH, 5)), Turned(CausalConv1d(WIDTH, WIDTH, 5))]
    streams = [Stream(), Stream()]
    signals = torch.randn(2, 1, WIDTH, 12)
    outputs: list[list[Tensor]] = [[], []]
    for start in range(0, 12, 3):  # the two signals take turns
        for index in range(2):
            x = signals[index][..., start : start + 3]
            for layer in layers:
                x = layer(x, streams[index])
            outputs[index].append(x)
    for index in range(2):
        whole = layers[1](layers[0](signals[index], Stream()), Stream())
        torch.testing.assert_close(torch.cat(outputs[index], dim=-1), whole, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (7, 1), (4, 2), (7, 3), (3, 3)])
def test_convolution_pads_the_past_only(kernel: int, stride: int) -> None:
    torch.manual_seed(1)
    layer = CausalConv1d(WIDTH, 4, kernel, stride)
    x = torch.randn(2, WIDTH, 12)
    padded = nn.functional.pad(x, (kernel - stride, 0))
    found = Turned(layer)(x, Stream())
    assert found.shape == (2, 4, 12 // stride)
    torch.testing.assert_close(found, nn.functional.conv1d(padded, layer.weight, layer.bias, stride))


@pytest.mark.parametrize("lookahead", [0, 1, 4])
def test_lookahead_delays_the_residual(lookahead: int) -> None:
    block = ConvNeXtBlock(WIDTH, 5, 2, lookahead)
    nn.init.zeros_(block.scale)
    x = torch.randn(2, WIDTH, 12)
    expected = torch.cat([torch.zeros(2, WIDTH, lookahead), x], dim=-1)[..., :12]
    assert torch.equal(Turned(block)(x, Stream()), expected)


def test_block_is_as_described() -> None:
    torch.manual_seed(1)
    block = ConvNeXtBlock(WIDTH, 3, 2, lookahead=1)
    x = torch.randn(1, WIDTH, 9)
    mixed = nn.functional.conv1d(nn.functional.pad(x, (2, 0)), block.depthwise.weight, block.depthwise.bias, groups=6)
    normed = nn.functional.layer_norm(mixed.mT, (WIDTH,), block.norm.weight, block.norm.bias)
    change = block.contract(nn.functional.gelu(block.expand(normed))).mT
    delayed = nn.functional.pad(x, (1, -1))
    torch.testing.assert_close(Turned(block)(x, Stream()), delayed + block.scale * change)


def test_a_stack_looks_ahead_as_early_as_it_can() -> None:
    def lookaheads(total: int) -> list[int]:
        stack = conv_next_stack(WIDTH, 3, 3, 2, total)
        return [block.lookahead for block in stack if isinstance(block, ConvNeXtBlock)]

    assert lookaheads(0) == [0, 0, 0]
    assert lookaheads(1) == [1, 0, 0]
    assert lookaheads(3) == [2, 1, 0]
    assert lookaheads(6) == [2, 2, 2]
