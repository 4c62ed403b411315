"""vqcodec as a model of transformers: what scripts for EnCodec and Mimi ask of it, with the codec's own codes."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import wavenets
from torch import Tensor

import synthetic
from vqcodec import Codec
from vqcodec.errors import AudioError, ConfigError, CorruptFile
from vqcodec.models import registry
from vqcodec.models.autoencoder import Autoencoder
from vqcodec.models.config import ModelConfig

try:
    from transformers import AutoConfig, AutoFeatureExtractor, AutoModel

    from vqcodec.integrations.transformers import VqCodecConfig, VqCodecFeatureExtractor, VqCodecModel, write_folder
except (ImportError, OSError) as error:  # OSError: a torchaudio of another build than torch, which transformers imports
    pytest.skip(f"transformers cannot be imported: {error}", allow_module_level=True)

TINY = Path(__file__).parents[2] / "golden" / "tiny.safetensors"
CODEC = Codec.load(TINY, "cpu", "float32")
MODEL = VqCodecModel.from_autoencoder(CODEC.model)
EXTRACT = VqCodecFeatureExtractor()
LENGTHS = (16_000, 1, 320, 7_777, 319)
ITEMS = [synthetic.voice(1.0, seed=seed)[:length] for seed, length in enumerate(LENGTHS)]


@pytest.fixture(scope="module")
def inputs() -> dict[str, Tensor]:
    return dict(EXTRACT(ITEMS, sampling_rate=16_000, return_tensors="pt"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("model")
    MODEL.save_pretrained(folder)
    EXTRACT.save_pretrained(folder)
    return folder


def batch_of(codec: Codec, stages: int | None = None) -> Tensor:
    """Codes of the items as the codec itself gives them [batch, stage, frame]."""
    return codec.encode_batch([torch.from_numpy(item) for item in ITEMS], stages=stages or codec.num_stages).codes[:, 0]


# What the codec does.


def test_codes_and_sound_are_those_of_the_codec(inputs: dict[str, Tensor]) -> None:
    codes = MODEL.encode(**inputs).audio_codes
    assert torch.equal(codes, batch_of(CODEC))
    sound = MODEL.decode(codes, padding_mask=inputs["padding_mask"]).audio_values
    assert sound.shape == inputs["input_values"].shape
    for row, item in zip(sound, ITEMS, strict=True):
        alone = CODEC.encode(item, stages=4)
        assert torch.equal(row[:, : len(item)], torch.from_numpy(CODEC.decode(alone)))
        assert (row[:, len(item) :] == 0).all()


def test_a_wavenet_decoder_comes_back_and_draws_the_same_sound(tmp_path: Path) -> None:
    model = wavenets.model()
    VqCodecModel.from_autoencoder(model).save_pretrained(tmp_path)
    codes = torch.randint(16, (1, 2, 12), generator=torch.Generator().manual_seed(0))
    sound = VqCodecModel.from_pretrained(tmp_path).decode(codes).audio_values
    assert torch.equal(sound[0], Codec(model).decode(codes))


@pytest.mark.parametrize("value", [0.5, float("nan"), 1e30])
def test_padding_is_not_looked_at(inputs: dict[str, Tensor], value: float) -> None:
    padding = inputs["padding_mask"][:, None] == 0
    filled = inputs["input_values"].masked_fill(padding, value)
    assert torch.equal(MODEL.encode(filled, inputs["padding_mask"]).audio_codes, MODEL.encode(**inputs).audio_codes)
    expected = MODEL(**inputs).audio_values
    assert torch.equal(MODEL(filled, inputs["padding_mask"][:, None].bool()).audio_values, expected)


def test_a_batch_gives_what_its_rows_give_alone(inputs: dict[str, Tensor]) -> None:
    together = MODEL(**inputs)
    for row, mask in enumerate(inputs["padding_mask"]):
        alone = MODEL(inputs["input_values"][row : row + 1], mask[None])
        frames = alone.audio_codes.shape[-1]
        assert torch.equal(together.audio_codes[row, :, :frames], alone.audio_codes[0])
        assert torch.equal(together.audio_values[row], alone.audio_values[0])


def test_the_mask_of_the_frames(inputs: dict[str, Tensor]) -> None:
    mask = MODEL.get_audio_codes_mask(inputs["padding_mask"])
    assert torch.equal(mask, (batch_of(CODEC) >= 0).all(1))
    assert MODEL.get_encoded_length(torch.tensor([0, 1, 16_000])).tolist() == [
        0,
        *map(CODEC.config.num_frames, (1, 16_000)),
    ]


def test_without_a_mask_all_is_sound() -> None:
    waveform = torch.from_numpy(ITEMS[0])[None, None]
    codes = MODEL.encode(waveform).audio_codes
    assert torch.equal(codes[0], CODEC.encode(waveform[0], stages=4).codes[0])
    assert MODEL.decode(codes).audio_values.shape == (1, 1, CODEC.config.num_samples(codes.shape[-1]))
    assert MODEL(waveform).audio_values.shape == waveform.shape


def test_items_of_nothing(inputs: dict[str, Tensor]) -> None:
    mask = inputs["padding_mask"].clone()
    mask[1] = 0
    found = MODEL(inputs["input_values"], mask)
    assert (found.audio_codes[1] == -1).all() and (found.audio_values[1] == 0).all()
    assert torch.equal(found.audio_codes[2], MODEL.encode(**inputs).audio_codes[2])
    nothing = MODEL(torch.zeros(2, 1, 0))
    assert nothing.audio_codes.shape == (2, 4, 0) and nothing.audio_values.shape == (2, 1, 0)


@pytest.mark.parametrize("stages", [1, 2, 4])
def test_bitrates(inputs: dict[str, Tensor], stages: int) -> None:
    expected = batch_of(CODEC, stages)
    kbps = MODEL.config.target_bandwidths[stages - 1]
    assert kbps == CODEC.config.bitrate_of(stages) / 1000
    for asked in ({"bandwidth": kbps}, {"bandwidth": kbps * 1.02}, {"num_quantizers": stages}):
        assert torch.equal(MODEL.encode(**inputs, **asked).audio_codes, expected)
        assert torch.equal(MODEL(**inputs, **asked).audio_codes, expected)


# What scripts written for others do.


def test_the_example_of_encodec() -> None:
    """As the documentation of transformers has it, the names of the classes changed."""
    model, processor = MODEL, EXTRACT
    audio_sample = ITEMS[0]
    inputs = processor(raw_audio=audio_sample, sampling_rate=processor.sampling_rate, return_tensors="pt")
    inputs = inputs.to(model.device)

    encoder_outputs = model.encode(inputs["input_values"], inputs["padding_mask"])
    audio_values = model.decode(**encoder_outputs, padding_mask=inputs["padding_mask"])[0]
    again = model.decode(encoder_outputs.audio_codes, encoder_outputs.audio_scales, inputs["padding_mask"])[0]
    audio_values_of_both = model(inputs["input_values"], inputs["padding_mask"]).audio_values

    assert audio_values.shape == (1, 1, len(audio_sample))
    assert torch.equal(audio_values, again) and torch.equal(audio_values, audio_values_of_both)


def test_the_example_of_mimi(inputs: dict[str, Tensor]) -> None:
    encoder_outputs = MODEL.encode(inputs["input_values"], inputs["padding_mask"])
    audio_values = MODEL.decode(encoder_outputs.audio_codes, inputs["padding_mask"])[0]
    assert torch.equal(audio_values, MODEL(inputs["input_values"], inputs["padding_mask"]).audio_values)
    assert torch.equal(audio_values, MODEL(**inputs, audio_codes=encoder_outputs.audio_codes).audio_values)


def test_signatures() -> None:
    def names(method: Any) -> list[str]:
        return list(inspect.signature(method).parameters)

    assert names(MODEL.forward)[:4] == ["input_values", "padding_mask", "bandwidth", "audio_codes"]
    assert names(MODEL.encode)[:4] == ["input_values", "padding_mask", "bandwidth", "num_quantizers"]
    assert names(MODEL.decode)[:3] == ["audio_codes", "audio_scales", "padding_mask"]


def test_tuples_instead_of_names(inputs: dict[str, Tensor]) -> None:
    named = MODEL(**inputs)
    for one, other in zip(MODEL(**inputs, return_dict=False), (named.audio_codes, named.audio_values), strict=True):
        assert torch.equal(one, other)
    [codes] = MODEL.encode(**inputs, return_dict=False)
    assert torch.equal(codes, named.audio_codes)


# What common tests of transformers ask of any model.


def test_saved_and_loaded_it_is_the_same(folder: Path, inputs: dict[str, Tensor]) -> None:
    expected = MODEL(**inputs)
    for loaded in (VqCodecModel.from_pretrained(folder), AutoModel.from_pretrained(folder)):
        assert isinstance(loaded, VqCodecModel) and not loaded.training
        found = loaded(**inputs)
        assert torch.equal(found.audio_codes, expected.audio_codes)
        assert torch.equal(found.audio_values, expected.audio_values)
        for name, buffer in MODEL.named_buffers():
            assert torch.equal(loaded.get_buffer(name), buffer), name


@pytest.mark.parametrize(
    "sizes",
    [
        {"decoder_stochastic": True, "decoder_conceals": True},
        {"bottleneck": "vq", "num_stages": 1},
        {"bottleneck": "product"},
        {"bottleneck": "lattice", "codebook_size": 16, "lattice_levels": 2, "latent_dim": 16},
        {"bottleneck": "tree", "num_stages": 2},
        {"bottleneck": "hierarchical", "num_stages": 4, "coarse_stages": 2},
    ],
    ids=lambda sizes: sizes.get("bottleneck", "stochastic"),
)
def test_every_kind_of_model_is_saved_whole(sizes: dict[str, Any], tmp_path: Path) -> None:
    small = {"latent_dim": 8, "num_stages": 4, "codebook_size": 16, "encoder_width": 16, "encoder_blocks": 1}
    torch.manual_seed(0)
    model = Autoencoder(ModelConfig(**{**small, "decoder_width": 16, "decoder_blocks": 1, **sizes})).eval()
    for buffer in model.buffers():
        buffer.add_(0.1 * torch.randn(buffer.shape))  # nothing keeps the value of a new model
    fresh = Autoencoder(model.config)
    computed = {name for name, _ in fresh.named_buffers()} - set(fresh.state_dict()) - {"silence"}
    for name in computed:
        model.get_buffer(name).copy_(fresh.get_buffer(name))
    VqCodecModel.from_autoencoder(model).save_pretrained(tmp_path)
    loaded = VqCodecModel.from_pretrained(tmp_path).autoencoder
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if not name.endswith((".counts", ".sums")):
            assert torch.equal(dict([*loaded.named_parameters(), *loaded.named_buffers()])[name], tensor), name
    codec = Codec(model)
    waveform = torch.from_numpy(ITEMS[0])[None]
    expected = codec.encode(waveform, stages=codec.num_stages)
    found = VqCodecModel.from_pretrained(tmp_path)(waveform[None])
    assert torch.equal(found.audio_codes, expected.codes)
    assert torch.equal(found.audio_values[0], codec.decode(expected))


def test_a_new_model_is_like_a_new_autoencoder() -> None:
    torch.manual_seed(1)
    model = VqCodecModel(VqCodecConfig())
    new = Autoencoder(ModelConfig())
    assert {name: tensor.shape for name, tensor in model.autoencoder.named_parameters()} == {
        name: tensor.shape for name, tensor in new.named_parameters()
    }
    assert torch.equal(model.autoencoder.encoder.mdct.kernel, new.encoder.mdct.kernel)
    weights = [each.encoder.project_out.weight for each in (model.autoencoder, new)]
    assert abs(weights[0].std() / weights[1].std() - 1) < 0.1


def test_configuration_there_and_back(tmp_path: Path) -> None:
    config = MODEL.config
    assert config.sizes == CODEC.config
    assert (config.sampling_rate, config.hop_length, config.frame_rate) == (16_000, 320, 50.0)
    assert (config.num_quantizers, config.codebook_size, config.hidden_size) == (4, 60, 16)
    config.save_pretrained(tmp_path)
    again = AutoConfig.from_pretrained(tmp_path)
    assert isinstance(again, VqCodecConfig)
    assert again.to_diff_dict() == config.to_diff_dict() and again.codec_config == config.codec_config
    assert VqCodecConfig().sizes == ModelConfig()
    with pytest.raises(ConfigError, match="latent_dim"):
        VqCodecConfig(codec_config={"latent_dims": 4})
    with pytest.raises(ConfigError, match="no codes"):
        VqCodecModel(VqCodecConfig(codec_config={"bottleneck": "none"}))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(folder: Path, inputs: dict[str, Tensor], dtype: torch.dtype) -> None:
    """Weights stay in float32 when half precision is asked for; a model that was made half is refused."""
    loaded = AutoModel.from_pretrained(folder, dtype=dtype)
    assert torch.equal(loaded(**inputs).audio_codes, batch_of(CODEC))
    halved = loaded.to(dtype)
    for use in (lambda: halved.encode(**inputs), lambda: halved.decode(batch_of(CODEC))):
        with pytest.raises(ConfigError, match="float32"):
            use()
    low = inputs["input_values"].to(dtype)
    assert torch.equal(
        MODEL.encode(low, inputs["padding_mask"]).audio_codes,
        MODEL.encode(low.float(), inputs["padding_mask"]).audio_codes,
    )


def test_results_have_no_gradients_and_can_be_worked_with(inputs: dict[str, Tensor]) -> None:
    waveforms = inputs["input_values"].clone().requires_grad_()
    result = MODEL(waveforms, inputs["padding_mask"])
    assert not result.audio_values.requires_grad
    weight = torch.ones(1, requires_grad=True)
    (result.audio_values * weight).sum().backward()  # refused for tensors of inference mode
    assert weight.grad is not None


@pytest.mark.skipif("TRANSFORMERS_SOURCE" not in os.environ, reason="the source of transformers is not at hand")
def test_the_common_tests_of_transformers() -> None:
    command = [sys.executable, "-W", "ignore", str(Path(__file__).with_name("library_checks.py"))]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    [count] = re.findall(r"^Ran (\d+) tests", done.stderr, re.MULTILINE)
    assert int(count) > 100


# What is refused.


def test_bad_waveforms_and_masks(inputs: dict[str, Tensor]) -> None:
    waveforms, mask = inputs["input_values"], inputs["padding_mask"]
    for wrong in (waveforms[0], waveforms.expand(-1, 2, -1), waveforms[:0], waveforms.int()):
        with pytest.raises(AudioError, match="waveforms"):
            MODEL.encode(wrong)
    for bad in (mask[:2], mask[0], mask[:, None].expand(-1, 2, -1)):
        with pytest.raises(AudioError, match="mask"):
            MODEL.encode(waveforms, bad)
    with pytest.raises(AudioError, match="behind the sound"):
        MODEL.encode(waveforms, mask.flip(-1))
    with pytest.raises(AudioError, match="NaN"):
        MODEL.encode(torch.full((1, 1, 400), float("nan")))


def test_bad_settings_and_codes(inputs: dict[str, Tensor]) -> None:
    for wrong, words in (
        ({"bandwidth": 24.0}, "kbit/s"),
        ({"num_quantizers": 5}, "1 to 4 stages"),
        ({"bandwidth": 1.0, "num_quantizers": 1}, "not both"),
    ):
        with pytest.raises(ConfigError, match=words):
            MODEL.encode(**inputs, **wrong)
    with pytest.raises(ConfigError, match=r"\[batch, stage, frame\]"):
        MODEL.decode(batch_of(CODEC)[0])
    with pytest.raises(CorruptFile):
        MODEL.decode(torch.full((1, 2, 5), 60))
    with pytest.raises(CorruptFile):
        MODEL.decode(torch.zeros(1, 2, 5))


# The feature extractor.


def test_features_have_a_mask(inputs: dict[str, Tensor]) -> None:
    assert inputs["input_values"].shape == (len(ITEMS), 1, max(LENGTHS))
    assert inputs["input_values"].dtype == torch.float32
    assert inputs["padding_mask"].sum(-1).tolist() == list(LENGTHS)
    for row, item in zip(inputs["input_values"][:, 0], ITEMS, strict=True):
        assert np.array_equal(row[: len(item)], item) and (row[len(item) :] == 0).all()


def test_ways_to_give_waveforms() -> None:
    expected = EXTRACT(ITEMS[0], return_tensors="np")["input_values"]
    assert expected.shape == (1, 1, 16_000)
    for same in (ITEMS[0].tolist(), [ITEMS[0]], [ITEMS[0].tolist()], ITEMS[0].astype(np.float64)):
        found = EXTRACT(same, return_tensors="np")
        assert np.array_equal(found["input_values"], expected) and found["padding_mask"].shape == (1, 16_000)
    cut = EXTRACT(ITEMS[0], truncation=True, max_length=100, return_tensors="np")
    assert cut["input_values"].shape == (1, 1, 100) and "padding_mask" not in cut
    longer = EXTRACT(ITEMS, padding="max_length", max_length=20_000, return_tensors="np")
    assert longer["input_values"].shape == (len(ITEMS), 1, 20_000)
    bare = EXTRACT(ITEMS, padding=False)
    assert [item.shape for item in bare["input_values"]] == [(1, length) for length in LENGTHS]


def test_bad_features() -> None:
    with pytest.raises(AudioError, match="16000 Hz"):
        EXTRACT(ITEMS, sampling_rate=24_000)
    with pytest.raises(AudioError, match="shape"):
        EXTRACT(np.zeros((2, 400), np.float32))
    with pytest.raises(AudioError, match="either padding"):
        EXTRACT(ITEMS, padding=True, truncation=True, max_length=4)
    for wrong in ({"feature_size": 2}, {"padding_side": "left"}):
        with pytest.raises(AudioError, match="one channel"):
            VqCodecFeatureExtractor(**wrong)


def test_the_feature_extractor_is_saved(folder: Path, tmp_path: Path) -> None:
    loaded = AutoFeatureExtractor.from_pretrained(folder)
    assert isinstance(loaded, VqCodecFeatureExtractor)
    assert loaded.to_dict() == EXTRACT.to_dict()
    VqCodecFeatureExtractor(sampling_rate=24_000, padding_value=0.5).save_pretrained(tmp_path)
    again = VqCodecFeatureExtractor.from_pretrained(tmp_path)
    assert (again.sampling_rate, again.padding_value) == (24_000, 0.5)


def test_the_model_that_ships(tmp_path: Path) -> None:
    if registry.DEFAULT not in registry.names():
        pytest.skip("no trained weights in this build")
    codec = Codec.load(device="cpu", precision="float32")
    write_folder(codec.model, tmp_path)
    model = AutoModel.from_pretrained(tmp_path)
    inputs = AutoFeatureExtractor.from_pretrained(tmp_path)(ITEMS, return_tensors="pt")
    found = model(**inputs, bandwidth=3.0)
    for codes, sound, item in zip(found.audio_codes, found.audio_values, ITEMS, strict=True):
        alone = codec.encode(item, bitrate_bps=3000)
        assert np.array_equal(codes[:, : alone.codes.shape[-1]], alone.codes[0])
        assert np.array_equal(sound[:, : len(item)], codec.decode(alone))
