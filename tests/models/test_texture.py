"""Decoders that sample: the noise, what is drawn with it, and that a stream sounds the same however it is decoded."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy import stats

from synthetic import voice
from vqcodec import Codec
from vqcodec.errors import ConfigError
from vqcodec.models import checkpoint
from vqcodec.models.autoencoder import Autoencoder
from vqcodec.models.config import ModelConfig
from vqcodec.models.decoder import high_part, with_high
from vqcodec.models.layers import Stream
from vqcodec.models.texture import draws, partial_table

PLAIN = ModelConfig(
    name="tiny",
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
CONFIG = dataclasses.replace(PLAIN, decoder_stochastic=True)
CUT = 160 - CONFIG.spread_bins
CPU = torch.device("cpu")


def keys(*values: int) -> torch.Tensor:
    return torch.tensor(values)


def make(config: ModelConfig = CONFIG, seed: int = 0) -> Autoencoder:
    torch.manual_seed(seed)
    model = Autoencoder(config).eval()
    with torch.no_grad():
        model.quantizer.initialise(model.encoder(torch.from_numpy(voice(2.0))[:16_000][None, None], Stream()))
    return model


@pytest.fixture(scope="module")
def codec() -> Codec:
    return Codec(make())


def test_the_table_is_the_compressed_cosine() -> None:
    table = partial_table().double()
    assert table.mean().abs() < 1e-9
    assert table.abs().max() <= 1
    phase = 2 * np.pi * (np.arange(4096) + 0.5) / 4096
    np.testing.assert_allclose(table, np.sign(np.cos(phase)) * np.abs(np.cos(phase)) ** 0.3, atol=2**-14)
    assert torch.equal(table * 2**14, (table * 2**14).round())


def test_draws_look_like_chance() -> None:
    """Signs, runs, uniformity, and no correlation between neighbours in bin, frame or key, near or far."""
    x = draws(partial_table(), keys(0, 1, 2, 3), 0, 500, 130).double()
    assert stats.kstest(x[:, :, ::7].flatten(), partial_table().double().numpy()).pvalue > 1e-3
    for other in (x.roll(1, 0), x.roll(1, 1), x.roll(1, 2), x.roll(2, 2), x.roll(50, 2), x.roll(7, 1)):
        assert abs((x * other).mean() / x.square().mean()) < 5 / x.numel() ** 0.5


def test_draws_depend_on_frame_bin_and_key_alone() -> None:
    whole = draws(partial_table(), keys(5, 9), 0, 40, 12)
    assert torch.equal(draws(partial_table(), keys(9), 0, 40, 12)[0], whole[1])
    assert torch.equal(draws(partial_table(), keys(5, 9), 17, 5, 12), whole[..., 17:22])
    assert torch.equal(draws(partial_table(), keys(5, 9), 0, 40, 7), whole[:, :7])
    assert not torch.equal(whole[0], whole[1])


def test_draws_are_what_they_always_were() -> None:
    """Files sound the same for ever: these numbers must not change."""
    expected = [[1.0, 0.99896240234375], [0.92230224609375, 0.97662353515625]]
    assert draws(partial_table(), keys(0), 0, 2, 2)[0].tolist() == expected
    assert draws(partial_table(), keys(0), 2**31, 1, 1).isfinite().all()


def test_high_coefficients_are_replaced_and_no_others() -> None:
    mean, high = torch.randn(2, 160, 3), torch.randn(4, 2, CONFIG.spread_bins, 3)
    whole = with_high(mean, high)
    assert whole.shape == (4, 2, 160, 3)
    assert torch.equal(whole[:, :, CUT:], high)
    assert torch.equal(whole[:, :, :CUT], mean[None, :, :CUT].expand(4, -1, -1, -1))
    assert torch.equal(with_high(mean, high_part(mean, high[0])), mean)


def test_first_bin_follows_the_frequency() -> None:
    assert CUT == 30
    assert dataclasses.replace(CONFIG, decoder_spread_from_hz=0).spread_bins == 160
    assert PLAIN.spread_bins == 0
    with pytest.raises(ConfigError, match="leaves no coefficient"):
        dataclasses.replace(CONFIG, decoder_spread_from_hz=8000)


@pytest.mark.parametrize("sizes", [[1] * 40, [7, 1, 32], [40]])
def test_blocks_make_no_difference(codec: Codec, sizes: list[int]) -> None:
    latents = codec.model.quantizer.decode(torch.randint(8, (1, 3, 40), generator=torch.Generator().manual_seed(0)))
    stream = Stream()
    with torch.no_grad():
        whole = codec.model.decoder(latents, Stream())
        pieces = [codec.model.decoder(part, stream) for part in latents.split(sizes, dim=-1)]
    torch.testing.assert_close(torch.cat(pieces, -1), whole, atol=1e-5, rtol=0)


def test_decoding_is_reproducible(codec: Codec) -> None:
    encoded = codec.encode(voice(1.0))
    first = codec.decode(encoded)
    try:
        torch.set_num_threads(2)
        together = codec.decode(encoded)
    finally:
        torch.set_num_threads(1)
    assert np.array_equal(first, codec.decode(encoded))
    np.testing.assert_allclose(together, first, atol=1e-5)


def test_no_pattern_repeats(codec: Codec) -> None:
    """The same codes in every frame: what differs between frames is the noise, and it is always different."""
    codes = np.ones((1, 3, 200), np.int64)
    frames = codec.decode(codes)[0][320 * 8 : 320 * 190].reshape(-1, 320)
    distance = np.linalg.norm(frames[:, None] - frames[None], axis=-1) + 1e9 * np.eye(len(frames))
    assert distance.min() > 0.1 * np.linalg.norm(frames, axis=-1).mean()
    means = codec.decode(codes, texture=0.0)[0][320 * 8 : 320 * 190].reshape(-1, 320)
    np.testing.assert_allclose(means, means[:1].repeat(len(means), 0), atol=1e-5)


def test_texture_scales_the_noise(codec: Codec) -> None:
    encoded = codec.encode(voice(1.0))
    none, some, whole = (codec.decode(encoded, texture=share) for share in (0.0, 0.3, 1.0))
    assert 0 < np.square(some - none).mean() < np.square(whole - none).mean()
    for wrong in (-0.1, 1.1, float("nan"), True, "1"):
        with pytest.raises(ConfigError, match="texture must be a number from 0 to 1"):
            codec.decode(encoded, texture=wrong)  # type: ignore[arg-type]


def test_the_scale_is_part_of_the_model(codec: Codec) -> None:
    encoded = codec.encode(voice(1.0))
    quieter = make()
    quieter.load_state_dict(codec.model.state_dict())
    quieter.decoder.texture_scale.fill_(0.0)
    assert np.array_equal(Codec(quieter).decode(encoded.codes), codec.decode(encoded.codes, texture=0.0))
    assert Codec(quieter).fingerprint != codec.fingerprint


def test_channels_alike_stay_alike(codec: Codec) -> None:
    sound = np.stack([voice(1.0)] * 2)
    left, right = codec.decode(codec.encode(sound))
    assert np.array_equal(left, right)


def test_saved_and_loaded(codec: Codec, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    model = make(seed=3)
    model.decoder.texture_scale.fill_(0.625)
    fingerprint = checkpoint.save(path, model)
    loaded = Codec.load(path, "cpu")
    assert loaded.fingerprint == fingerprint
    assert loaded.config == CONFIG
    assert torch.equal(loaded.model.decoder.texture_scale, model.decoder.texture_scale)


def test_means_of_a_stochastic_decoder_are_those_of_a_deterministic_one(codec: Codec) -> None:
    plain = Autoencoder(PLAIN).eval()
    known = plain.state_dict().keys()
    plain.load_state_dict({name: value for name, value in codec.model.state_dict().items() if name in known})
    encoded = codec.encode(voice(1.0))
    assert np.array_equal(Codec(plain).decode(encoded.codes), codec.decode(encoded.codes, texture=0.0))


def test_draws_of_a_batch_are_independent() -> None:
    model = make().train()
    x = torch.from_numpy(voice(1.0))[:9600].reshape(1, 1, -1).repeat(2, 1, 1)
    out = model(x, keys=torch.arange(6).reshape(3, 2))
    assert out.draws.shape == (2, 2, 1, 9600)
    flat = torch.cat([out.draws.flatten(0, 1), out.waveform])[:, 0]
    assert all((flat[i] - flat[j]).abs().max() > 1e-3 for i in range(6) for j in range(i))
    again = model(x, keys=torch.arange(6).reshape(3, 2))
    assert torch.equal(again.draws, out.draws)
    out.draws.square().sum().backward()
    assert model.decoder.project_spread is not None
    assert model.decoder.project_spread.weight.grad is not None
    assert model.decoder.project_spread.weight.grad.abs().max() > 0


def test_training_draws_as_decoding_does() -> None:
    """With the same key and scale, what training calls the waveform is what decoding makes of the latents."""
    model = make()
    model.decoder.texture_scale.fill_(0.25)
    model.decoder.texture_mean.fill_(1.5)
    x = torch.from_numpy(voice(1.0))[:9600].reshape(1, 1, -1)
    with torch.no_grad():
        out = model(x, keys=torch.tensor([[5], [0]]))
        assert out.quantized is not None
        expected = model.decoder(out.quantized.latents, Stream())
    torch.testing.assert_close(out.waveform, expected, atol=1e-4, rtol=0)


def test_without_spreads_there_is_one_waveform() -> None:
    model = make(PLAIN)
    x = torch.from_numpy(voice(1.0))[:9600].reshape(1, 1, -1)
    out = model(x, keys=torch.arange(3)[:, None])
    assert torch.equal(out.draws, out.waveform[None])
