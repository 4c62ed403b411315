"""EnCodec, DAC and Mimi by transformers: small ones with random weights, so that only the bookkeeping can be judged."""

import json
import math
import pickle
import shutil
import socket
import sys
from pathlib import Path

import numpy as np
import pytest

from synthetic import noise, voice
from vqcodec.errors import ConfigError
from vqcodec.recipes.evaluation.systems import System, Unavailable, neural, parse

transformers = pytest.importorskip("transformers", reason="transformers is not installed")
torch = pytest.importorskip("torch")

BITS = 6  # of a code, in all of the models here


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a folder for each model."""
    folder = tmp_path_factory.mktemp("weights")
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(0)
    codes = {"codebook_size": 1 << BITS}
    encodec = {"num_filters": 2, "hidden_size": 8, "num_lstm_layers": 1, "sampling_rate": 8000, **codes}
    models = {
        # 25 frames a second, 0.15 kbit/s a quantizer
        "encodec_8khz": transformers.EncodecModel(
            transformers.EncodecConfig(target_bandwidths=[0.15, 0.6, 24.0], **encodec)
        ),
        # as the model for 48 kHz: chunks of a second, each with its loudness
        "chunks": transformers.EncodecModel(
            transformers.EncodecConfig(
                target_bandwidths=[0.3, 0.6],
                audio_channels=2,
                normalize=True,
                chunk_length_s=1.0,
                overlap=0.01,
                norm_type="time_group_norm",
                use_causal_conv=False,
                **encodec,
            )
        ),
        # 75 frames a second, 0.45 kbit/s a quantizer; an odd stride, whose decoder falls some samples short
        "dac_24khz": transformers.DacModel(
            transformers.DacConfig(
                encoder_hidden_size=4,
                decoder_hidden_size=32,
                downsampling_ratios=[2, 4, 5, 8],
                n_codebooks=8,
                sampling_rate=24_000,
                **codes,
            )
        ),
        # 12.5 frames a second, 0.075 kbit/s a quantizer
        "mimi": transformers.MimiModel(
            transformers.MimiConfig(
                num_filters=4,
                hidden_size=16,
                codebook_dim=8,
                vector_quantization_hidden_dimension=8,
                num_hidden_layers=1,
                num_attention_heads=2,
                num_key_value_heads=2,
                head_dim=8,
                intermediate_size=16,
                num_quantizers=8,
                upsample_groups=16,
                **codes,
            )
        ),
    }
    for name, model in models.items():
        for key, tensor in model.named_buffers():  # codebooks that training would fill
            if key.endswith(("codebook.embed", "codebook.embed_sum")):
                tensor.normal_()
            if key.endswith("codebook.cluster_usage"):
                tensor.fill_(1)
        model.save_pretrained(folder / name)
    return folder


def one(weights: Path, spec: str) -> System:
    """The one system of "encodec:NAME@RATE"."""
    family, _, rest = spec.partition(":")
    (system,) = parse(f"{family}:{weights / rest}")
    return system


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        ("encodec:encodec_8khz", ["encodec_8khz-0.15", "encodec_8khz-0.6"]),  # of 12 kbit/s and less
        ("encodec:encodec_8khz@24,0.6,24", ["encodec_8khz-24", "encodec_8khz-0.6"]),
        ("encodec:chunks", ["encodec_chunks-0.3", "encodec_chunks-0.6"]),
        ("dac:dac_24khz", ["dac_24khz-0.9", "dac_24khz-1.8", "dac_24khz-3.6"]),
        ("dac:dac_24khz@0.45,3.15", ["dac_24khz-0.45", "dac_24khz-3.15"]),
        ("mimi:mimi", ["mimi-0.15", "mimi-0.3", "mimi-0.6"]),
        ("mimi:mimi@0.0751,0.075", ["mimi-0.075"]),
    ],
)
def test_bitrates_that_models_have(weights: Path, spec: str, names: list[str]) -> None:
    family, _, rest = spec.partition(":")
    systems = parse(f"{family}:{weights / rest}")
    assert [system.name for system in systems] == names
    assert [system.setting for system in systems] == [f"{name.rpartition('-')[2]} kbit/s" for name in names]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("encodec:encodec_8khz@1.5", "no bitrate of 1.5 kbit/s; choose from 0.15, 0.6, 24"),
        ("dac:dac_24khz@0.5", "choose from 0.45, 0.9, 1.35, 1.8, 2.25, 2.7, 3.15, 3.6"),
        ("mimi:mimi@1.1", "choose from 0.075, 0.15, 0.225, 0.3, 0.375, 0.45, 0.525, 0.6"),
        ("mimi:mimi@nan", "no bitrate of nan"),
        ("mimi:mimi@inf", "no bitrate of inf"),
        ("mimi:mimi@-0.3", "no bitrate of -0.3"),
        ("dac:dac_24khz@", "'' should be numbers"),
    ],
)
def test_bitrates_that_models_do_not_have(weights: Path, spec: str, message: str) -> None:
    with pytest.raises(ConfigError, match=r"^[^\n]*$") as caught:
        one(weights, spec)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "sample_rate", "frame_rate", "quantizers"),
    [
        ("encodec:encodec_8khz@0.15", 8000, 25, 1),
        ("encodec:encodec_8khz@0.6", 8000, 25, 4),
        ("dac:dac_24khz@0.45", 24_000, 75, 1),
        ("dac:dac_24khz@3.6", 24_000, 75, 8),
        ("mimi:mimi@0.075", 24_000, 12.5, 1),
        ("mimi:mimi@0.6", 24_000, 12.5, 8),
    ],
)
@pytest.mark.parametrize(("samples", "rate"), [(1, 16_000), (160, 16_000), (7777, 8000), (44_101, 44_100)])
def test_lengths_and_bytes(
    weights: Path,
    tmp_path: Path,
    spec: str,
    sample_rate: int,
    frame_rate: float,
    quantizers: int,
    samples: int,
    rate: int,
) -> None:
    system = one(weights, spec)
    coded = system.run(noise(1.1, rate)[:samples], rate, tmp_path)
    assert coded.waveform.shape == (samples,)
    assert coded.waveform.dtype == np.float32
    assert np.isfinite(coded.waveform).all()
    at_model_rate = math.ceil(samples * sample_rate / rate)
    frames = math.ceil(at_model_rate / (sample_rate / frame_rate))
    assert coded.bytes == math.ceil(frames * quantizers * BITS / 8)
    assert coded.codes is None
    assert list(tmp_path.iterdir()) == []


def test_nominal_bitrates_are_the_real_ones(weights: Path, tmp_path: Path) -> None:
    for spec in ("encodec:encodec_8khz@0.6", "dac:dac_24khz@1.8", "mimi:mimi@0.6"):
        coded = one(weights, spec).run(voice(4.0, 8000), 8000, tmp_path)
        assert 8 * coded.bytes / 4.0 == pytest.approx(1000 * float(spec.partition("@")[2]), rel=0.01)


def test_chunks_cost_their_loudness(weights: Path, tmp_path: Path) -> None:
    """2.5 s are three chunks of 7920 samples and 80 more to overlap: 25 + 25 + 13 frames, 4 bytes of loudness each."""
    coded = one(weights, "encodec:chunks@0.6").run(voice(2.5, 8000), 8000, tmp_path)
    assert coded.waveform.shape == (20_000,)
    assert coded.bytes == math.ceil(4 * (25 + 25 + 13) * BITS / 8) + 3 * 4


def test_more_quantizers_are_used(weights: Path, tmp_path: Path) -> None:
    sound = voice(0.5, 24_000)
    models = ("encodec:encodec_8khz", 0.15, 0.6), ("dac:dac_24khz", 0.45, 3.6), ("mimi:mimi", 0.15, 0.6)
    for model, low, high in models:
        outputs = [one(weights, f"{model}@{rate}").run(sound, 24_000, tmp_path).waveform for rate in (low, high)]
        assert not np.array_equal(*outputs)


def test_the_model_is_loaded_once(weights: Path, tmp_path: Path) -> None:
    for rate in (0.45, 0.9):
        one(weights, f"dac:dac_24khz@{rate}").run(noise(0.1), 16_000, tmp_path)
    assert neural._model("dac", weights / "dac_24khz") is neural._model("dac", weights / "dac_24khz")
    assert neural._model.cache_info().misses <= len(list(weights.iterdir()))


def test_nothing_reaches_the_network(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments: calls.append(arguments))
    monkeypatch.setattr(socket.socket, "connect", lambda self, address: calls.append(address))
    folder = shutil.copytree(weights / "mimi", tmp_path / "mimi")  # not loaded before
    (system,) = parse(f"mimi:{folder}@0.3")
    assert system.run(noise(0.1), 16_000, tmp_path).bytes > 0
    assert calls == []


def test_systems_are_small_and_can_be_sent(weights: Path) -> None:
    for spec in ("encodec:encodec_8khz@0.6", "dac:dac_24khz@1.8", "mimi:mimi@0.6"):
        system = one(weights, spec)
        data = pickle.dumps(system)
        assert len(data) < 1000
        assert pickle.loads(data) == system


def test_versions_follow_the_weights(weights: Path, tmp_path: Path) -> None:
    system = one(weights, "mimi:mimi@0.6")
    assert system.codec == "Mimi"
    assert system.version.startswith("mimi 24000 Hz ")
    assert system.version.endswith(f"(transformers {transformers.__version__})")
    other = shutil.copytree(weights / "mimi", tmp_path / "mimi")
    (same,) = parse(f"mimi:{other}@0.6")
    assert same.version == system.version
    changed = shutil.copytree(weights / "mimi", tmp_path / "changed")
    data = bytearray((changed / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (changed / "model.safetensors").write_bytes(data)
    (different,) = parse(f"mimi:{changed}@0.6")
    assert different.version != system.version


# What is not there, or not what it should be.


def test_without_transformers(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    neural._config.cache_clear()
    with pytest.raises(Unavailable, match=r"^DAC needs the package transformers: pip install 'vqcodec\[neural\]'$"):
        one(weights, "dac:dac_24khz@1.8")


def test_without_a_folder(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"^EnCodec needs a folder with its weights .*No such file") as caught:
        parse(f"encodec:{tmp_path / 'facebook'}@1.5")
    assert "\n" not in str(caught.value)
    with pytest.raises(Unavailable, match="needs a folder"):
        parse("mimi:kyutai/mimi")  # a name in the hub is not looked up


def test_a_folder_of_something_else(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="holds a model of the type 'mimi', not 'dac'"):
        one(weights, "dac:mimi")
    for content in ("no json", "[]", '{"model_type": "encodec", "sampling_rate": "fast"}'):
        (tmp_path / "config.json").write_text(content)
        neural._config.cache_clear()
        with pytest.raises(Unavailable, match=r"^[^\n]*$"):
            parse(f"encodec:{tmp_path}")


def test_weights_that_are_missing_or_damaged(weights: Path, tmp_path: Path) -> None:
    sound = noise(0.1)
    folder = shutil.copytree(weights / "dac_24khz", tmp_path / "dac")
    model = folder / "model.safetensors"
    (system,) = parse(f"dac:{folder}@1.8")
    whole = model.read_bytes()
    for data in (whole[:1000], b"", None):
        model.unlink()
        if data is not None:
            model.write_bytes(data)
        with pytest.raises(Unavailable, match=r"^the weights of DAC in [^\n]* cannot be loaded: [^\n]*$"):
            system.run(sound, 16_000, tmp_path)
        model.write_bytes(whole)


def test_weights_that_are_incomplete(weights: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(weights / "dac_24khz", tmp_path / "dac")
    tensors = load_file(folder / "model.safetensors")
    first = min(tensors)
    save_file({name: tensor for name, tensor in tensors.items() if name != first}, folder / "model.safetensors")
    (system,) = parse(f"dac:{folder}@1.8")
    with pytest.raises(Unavailable, match=r"are incomplete: .* is missing"):
        system.run(noise(0.1), 16_000, tmp_path)


def test_a_folder_with_an_at_sign(weights: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(weights / "mimi", tmp_path / "mimi@home")
    assert [system.name for system in parse(f"mimi:{folder}")] == ["mimi_home-0.15", "mimi_home-0.3", "mimi_home-0.6"]
    assert [system.name for system in parse(f"mimi:{folder}@0.3")] == ["mimi_home-0.3"]


def test_the_configuration_decides(weights: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(weights / "encodec_8khz", tmp_path / "encodec")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "target_bandwidths": [0.3, 0.9]}))
    assert [system.name for system in parse(f"encodec:{folder}")] == ["encodec-0.3", "encodec-0.9"]
