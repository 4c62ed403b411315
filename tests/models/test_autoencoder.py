"""Encoder, decoder and the two with a quantizer between: shapes, delay, streaming, gradients."""

import dataclasses
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from synthetic import voice
from vqcodec.errors import ConfigError
from vqcodec.models.allotment import allot_mean
from vqcodec.models.autoencoder import Autoencoder
from vqcodec.models.config import ModelConfig
from vqcodec.models.encoder import features
from vqcodec.models.layers import ConvNeXtBlock, Stream, compress

TINY = ModelConfig(
    name="tiny",
    sample_rate=1000,
    mdct_hop=10,
    latent_dim=5,
    num_stages=3,
    codebook_size=8,
    kernel_size=3,
    expansion=2,
    encoder_width=12,
    encoder_blocks=2,
    decoder_width=14,
    decoder_blocks=2,
)

CONFIGS = {
    "stride 1": TINY,
    "stride 1, fast blocks": dataclasses.replace(TINY, encoder_fast_blocks=1, decoder_fast_blocks=2),
    "stride 2": dataclasses.replace(TINY, stride=2),
    "stride 2, fast blocks": dataclasses.replace(TINY, stride=2, encoder_fast_blocks=1, decoder_fast_blocks=1),
    "stride 3, more look-ahead": dataclasses.replace(TINY, stride=3, encoder_lookahead=3, decoder_lookahead=2),
    "no look-ahead": dataclasses.replace(TINY, encoder_lookahead=0, decoder_lookahead=0),
}

FRAMES = 24


@pytest.fixture(params=CONFIGS)
def model(request: pytest.FixtureRequest) -> Autoencoder:
    return make(CONFIGS[request.param])


def make(config: ModelConfig) -> Autoencoder:
    """A model with random weights, its codebooks initialised on a signal."""
    torch.manual_seed(0)
    model = Autoencoder(config).eval()
    with torch.no_grad():
        latents = model.encoder(sound(config, 2), Stream())
    model.quantizer.initialise(latents)
    return model


def sound(config: ModelConfig, batch: int = 1, frames: int = FRAMES) -> Tensor:
    """[batch, 1, sample]"""
    samples = frames * config.hop_length
    return torch.from_numpy(voice(batch * samples / 16_000))[: batch * samples].reshape(batch, 1, -1)


def unquantized(model: Autoencoder, x: Tensor) -> Tensor:
    """Encoded and decoded with nothing between [batch, 1, sample]."""
    waveform: Tensor = model.decoder(model.encoder(x, Stream()), Stream())
    return waveform


def delayed(x: Tensor, frames: int) -> Tensor:
    """The same length, `frames` zeros in front."""
    return nn.functional.pad(x, (frames, -frames)) if frames else x


def blocks_of(model: nn.Module) -> Iterator[ConvNeXtBlock]:
    return (module for module in model.modules() if isinstance(module, ConvNeXtBlock))


def test_shapes(model: Autoencoder) -> None:
    c = model.config
    out = model(sound(c, 3))
    assert out.waveform.shape == (3, 1, FRAMES * c.hop_length)
    assert out.coefficients.mean.shape == (3, c.mdct_hop, FRAMES * c.stride)
    assert out.latents.shape == (3, c.latent_dim, FRAMES)
    assert out.quantized.latents.shape == out.latents.shape
    assert out.quantized.codes.shape == (3, c.num_stages, FRAMES)
    assert model.encoder(sound(c, 3), Stream()).shape == out.latents.shape
    assert model.decoder(out.latents, Stream()).shape == out.waveform.shape
    assert len(list(blocks_of(model.encoder))) == c.encoder_blocks + c.encoder_fast_blocks
    assert len(list(blocks_of(model.decoder))) == c.decoder_blocks + c.decoder_fast_blocks


def test_forward_is_encoder_quantizer_decoder(model: Autoencoder) -> None:
    x = sound(model.config, 2)
    latents = model.encoder(x, Stream())

    coded = model(x)
    decoded = model.quantizer.decode(model.quantizer.encode(latents))
    torch.testing.assert_close(coded.waveform, model.decoder(decoded, Stream()), atol=1e-5, rtol=0)
    assert torch.equal(coded.latents, latents)


def test_forward_without_quantizer_is_noisy() -> None:
    model = make(TINY)
    x, stages = sound(TINY, 2), torch.tensor([3, 1])
    model.quantizer.generator.manual_seed(5)
    out = model(x, stages, quantize=False)
    assert out.quantized is None
    model.quantizer.generator.manual_seed(5)
    noisy = model.quantizer.substitute_noise(out.latents, stages)
    torch.testing.assert_close(out.waveform, model.decoder(noisy, Stream()), atol=1e-5, rtol=0)
    assert (out.waveform - unquantized(model, x)).abs().max() > 1e-3


def test_latents_all_have_the_same_length(model: Autoencoder) -> None:
    latents = model.encoder(torch.cat([sound(model.config), 0.01 * sound(model.config)]), Stream())
    torch.testing.assert_close(latents.square().mean(1), torch.ones(2, FRAMES), atol=0.01, rtol=0)


def test_items_may_use_fewer_stages() -> None:
    model = make(TINY)
    x = sound(TINY, 3)
    out = model(x, torch.tensor([1, 3, 2]))
    for item, stages in enumerate([1, 3, 2]):
        codes = out.quantized.codes[item : item + 1, :stages]
        alone = model.decoder(model.quantizer.decode(codes), Stream())
        torch.testing.assert_close(out.waveform[item : item + 1], alone, atol=1e-5, rtol=0)


def test_nothing_reaches_the_past(model: Autoencoder) -> None:
    hop = model.config.hop_length
    x = sound(model.config)
    before, coded_before = unquantized(model, x), model(x).waveform
    for sample in (10 * hop, 10 * hop + 1, 11 * hop - 1):
        changed = x.clone()
        changed[..., sample] += 0.5
        moved = (unquantized(model, changed) - before).abs()[0, 0]
        assert moved[: 10 * hop].max() < 1e-6
        assert moved[10 * hop : 11 * hop].max() > 1e-6
        moved = (model(changed).waveform - coded_before).abs()[0, 0]
        assert moved[: 10 * hop].max() < 1e-6


def test_delay_is_exact(model: Autoencoder) -> None:
    """MDCT coefficients that wait as long as the networks do come out `delay` samples after they went in."""
    c = model.config
    x = sound(c)
    coefficients = compress(model.encoder.mdct(x, Stream()), c.power)
    waited = delayed(coefficients, c.lookahead * c.stride)
    back = model.decoder.synthesise(waited, Stream())
    torch.testing.assert_close(back, delayed(x, c.delay), atol=1e-5, rtol=0)


def test_networks_wait_as_long_as_they_look_ahead(model: Autoencoder) -> None:
    """With blocks that only pass their input on, look-ahead is a pure delay of as many latent frames."""
    c = model.config
    at_once = Autoencoder(dataclasses.replace(c, encoder_lookahead=0, decoder_lookahead=0))
    at_once.load_state_dict(model.state_dict())
    for network in (model, at_once):
        for block in blocks_of(network):
            nn.init.zeros_(block.scale)
    x = sound(c)
    ahead = c.encoder_lookahead
    latents, sooner = model.encoder(x, Stream()), at_once.encoder(x, Stream())
    torch.testing.assert_close(latents[..., ahead:], sooner[..., : FRAMES - ahead], atol=1e-5, rtol=0)

    ahead, frames = c.decoder_lookahead * c.stride, FRAMES * c.stride
    found = model.decoder.coefficients(latents, Stream()).mean
    sooner = at_once.decoder.coefficients(latents, Stream()).mean
    torch.testing.assert_close(found[..., ahead:], sooner[..., : frames - ahead], atol=1e-5, rtol=0)


def test_num_frames_holds_every_sample(model: Autoencoder) -> None:
    c = model.config
    for samples in (1, c.hop_length - 1, c.hop_length, c.hop_length + 1, 7 * c.hop_length + 3):
        frames = c.num_frames(samples)
        x = sound(c)[..., :samples]
        padded = nn.functional.pad(x, (0, frames * c.hop_length - samples))
        coefficients = delayed(compress(model.encoder.mdct(padded, Stream()), c.power), c.lookahead * c.stride)
        back = model.decoder.synthesise(coefficients, Stream())[..., c.delay : c.delay + samples]
        torch.testing.assert_close(back, x, atol=1e-5, rtol=0)
        assert (frames - 1) * c.hop_length < samples + c.delay  # one frame less would not do


@pytest.mark.parametrize("size", [1, 2, 5, 7])
def test_blocks_equal_the_whole(model: Autoencoder, size: int) -> None:
    c = model.config
    x = sound(c, 2)
    latents = model.encoder(x, Stream())
    stream = Stream()
    pieces = [model.encoder(block, stream) for block in x.split(size * c.hop_length, dim=-1)]
    torch.testing.assert_close(torch.cat(pieces, dim=-1), latents, atol=1e-5, rtol=0)

    waveform = model.decoder(latents, Stream())
    stream = Stream()
    pieces = [model.decoder(block, stream) for block in latents.split(size, dim=-1)]
    torch.testing.assert_close(torch.cat(pieces, dim=-1), waveform, atol=1e-5, rtol=0)


def test_items_of_a_batch_do_not_mix(model: Autoencoder) -> None:
    x = sound(model.config, 3)
    before = model(x).waveform
    x[1] = 0.3 * x[1].flip(-1)
    after = model(x).waveform
    torch.testing.assert_close(after[[0, 2]], before[[0, 2]], atol=1e-5, rtol=0)
    assert (after[1] - before[1]).abs().max() > 1e-3


@pytest.mark.parametrize("quantize", [False, True])
def test_gradient_reaches_every_parameter(model: Autoencoder, quantize: bool) -> None:
    model.train()
    out = model(sound(model.config, 2), quantize=quantize)
    out.waveform.square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


def test_gradient_in_silence_is_finite() -> None:
    model = make(TINY).train()
    out = model(torch.zeros_like(sound(TINY)))
    (out.waveform.square().sum() + out.coefficients.mean.square().sum() + out.quantized.losses["commitment"]).backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters() if parameter.grad is not None)


def test_only_learning_changes_codebooks() -> None:
    model = make(TINY)
    before = {name: tensor.clone() for name, tensor in model.quantizer.state_dict().items()}

    def unchanged() -> list[bool]:
        return [torch.equal(tensor, before[name]) for name, tensor in model.quantizer.state_dict().items()]

    x = 0.2 * sound(TINY, 3)
    model(x)
    assert all(unchanged())
    model.train()(x, quantize=False)
    out = model(x)
    assert all(unchanged())
    model.quantizer.learn(model.quantizer.observe(out.latents.detach(), out.quantized.codes))
    assert not any(unchanged())


def test_features_are_coefficients_beside_log_magnitudes() -> None:
    coefficients = torch.tensor([[[-8.0, 0.0], [1.0, 1e-4]]])
    found = features(coefficients, 1 / 3)
    assert found.shape == (1, 4, 2)
    faint = 0.046416 * 2 ** (-1 / 3)  # at the floor, energy and floor add up
    torch.testing.assert_close(found[:, :2], torch.tensor([[[-2.0, 0.0], [1.0, faint]]]), atol=1e-5, rtol=0)
    logs = torch.tensor([[8.0, 1e-4], [1.0, 1e-4 * 2**0.5]]).log()
    torch.testing.assert_close(found[0, 2:], 0.2 * logs + 1)


def test_stages_vary_only_in_the_items_that_are_to_vary() -> None:
    model, x = make(TINY), sound(TINY, 3)
    stages = torch.tensor([2, 2, 2])
    alike = model(x, stages)
    varied = model(x, stages, varying=torch.tensor([True, False, False]))
    assert torch.equal(varied.waveform[1:], alike.waveform[1:])
    assert not torch.equal(varied.waveform[0], alike.waveform[0])
    codes, (_, errors) = (
        model.quantizer.encode(alike.latents),
        model.quantizer.encode_endings(alike.latents, model.silence),
    )
    weights = model.audibility(x[:1], Stream())
    counts = allot_mean(errors[:1], weights, stages[:1])
    assert counts.unique().numel() > 1
    wanted = model.quantizer.decode_varying(codes[:1], counts, model.silence)
    torch.testing.assert_close(varied.waveform[:1], model.decoder(wanted, Stream()), atol=1e-5, rtol=0)


def test_a_frame_without_codes_is_digital_silence() -> None:
    model = make(TINY)
    model.learn_silence()
    silent = model.encoder(torch.zeros(1, 1, 80 * TINY.hop_length), Stream())[0, :, -1]
    assert torch.equal(model.silence, silent)
    assert "silence" not in model.state_dict()


def test_a_vector_of_the_decoder_stands_in_for_lost_frames() -> None:
    model, x = make(dataclasses.replace(TINY, decoder_conceals=True)), sound(TINY, 2)
    assert model.decoder.lost is not None
    nn.init.normal_(model.decoder.lost)
    lost = torch.zeros(2, FRAMES, dtype=torch.bool)
    whole = model(x, lost=lost).waveform
    assert torch.equal(whole, model(x).waveform)
    lost[0, 5:8] = True
    hit = model(x, lost=lost).waveform
    assert torch.equal(hit[1], whole[1])
    assert torch.equal(hit[0, :, : 5 * TINY.hop_length], whole[0, :, : 5 * TINY.hop_length])
    assert not torch.equal(hit[0], whole[0])
    hit.sum().backward()
    assert model.decoder.lost.grad is not None
    assert model.decoder.lost.grad.abs().max() > 0
    with pytest.raises(ConfigError, match="decoder_conceals"):
        make(TINY)(x, lost=lost)
