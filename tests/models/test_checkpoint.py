"""Model files: what is written comes back, and whatever else is refused."""

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from vqcodec.errors import ConfigError, CorruptFile, ModelMismatch, VqcodecError
from vqcodec.models import checkpoint, registry
from vqcodec.models.autoencoder import Autoencoder
from vqcodec.models.config import ModelConfig
from vqcodec.recipes.metrics import METRICS

TINY = Path(__file__).parents[1] / "golden" / "tiny.safetensors"

Tensors = dict[str, torch.Tensor]
Metadata = dict[str, str]


@pytest.fixture
def model() -> Autoencoder:
    return checkpoint.load(TINY)


def rewritten(path: Path, change: Callable[[Tensors, Metadata], object]) -> Path:
    """The tiny model with something changed."""
    with safe_open(TINY, framework="pt") as file:
        tensors, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    change(tensors, metadata)
    save_file(tensors, path, metadata)
    return path


def test_round_trip(model: Autoencoder, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    fingerprint = checkpoint.save(path, model, {"steps": 7})
    again = checkpoint.load(path)
    assert again.config == model.config
    assert fingerprint == checkpoint.fingerprint_of(again) == checkpoint.fingerprint_of(model)
    for name, tensor in again.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name]), name
    assert registry.describe(path).training == {"steps": 7}
    assert list(tmp_path.iterdir()) == [path]


def test_the_scores_that_a_model_was_trained_on(model: Autoencoder, tmp_path: Path) -> None:
    """The file itself says so, or else its card; without either it is not known, which is not the same as none."""
    path, card = tmp_path / "model.safetensors", tmp_path / "model.md"
    checkpoint.save(path, model)
    assert registry.describe(path).trained_on_scores is None
    card.write_text("# A card\n\n+++\ntrained_on_scores = ['visqol']\n+++\n")
    assert registry.describe(path).trained_on_scores is None
    card.write_text("+++\ntrained_on_scores = ['visqol', 'stoi']\n+++\n\n# A card\n")
    assert registry.describe(path).trained_on_scores == ("visqol", "stoi")
    for scores in ((), ("pesq_wb",)):
        checkpoint.save(path, model, trained_on_scores=scores)
        assert registry.describe(path).trained_on_scores == scores


@pytest.mark.parametrize("matter", ["trained_on_scores = 'stoi'", "trained_on_scores = [1]", "trained_on_scores ="])
def test_a_card_that_cannot_be_understood_is_refused(model: Autoencoder, tmp_path: Path, matter: str) -> None:
    checkpoint.save(tmp_path / "model.safetensors", model)
    (tmp_path / "model.md").write_text(f"+++\n{matter}\n+++\n")
    with pytest.raises(CorruptFile, match=r"trained_on_scores|front matter"):
        registry.describe(tmp_path / "model.safetensors")


def test_a_loaded_model_is_ready_for_use(model: Autoencoder) -> None:
    assert not model.training
    assert all(not parameter.requires_grad for parameter in model.parameters())
    assert {tensor.dtype for tensor in model.state_dict().values()} == {torch.float32}
    kernel = model.decoder.inverse_mdct.kernel
    assert torch.equal(kernel, Autoencoder(model.config).decoder.inverse_mdct.kernel)


def test_a_file_holds_what_coding_needs_as_float16() -> None:
    with safe_open(TINY, framework="pt") as file:
        names = set(file.keys())
        assert {file.get_tensor(name).dtype for name in names} == {torch.float16}
    assert "quantizer.codebooks.0.vectors" in names
    assert not [name for name in names if name.endswith((".counts", ".sums", ".kernel"))]


def test_the_description(model: Autoencoder) -> None:
    info = registry.describe(TINY)
    assert info.name == "golden"
    assert info.path == TINY
    assert info.config == model.config
    assert info.fingerprint == checkpoint.fingerprint_of(model)
    assert info.bytes == TINY.stat().st_size
    state = model.state_dict()
    assert info.parameters == sum(t.numel() for n, t in state.items() if not n.endswith(("counts", "sums")))
    assert 2 * info.parameters < info.bytes < 200_000


def test_the_description_needs_no_torch() -> None:
    code = f"""
import sys
from vqcodec.models import registry
registry.names(), registry.describe({str(TINY)!r}), registry.by_fingerprint(bytes(8))
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def change_of(name: str) -> Callable[[Autoencoder], None]:
    def change(model: Autoencoder) -> None:
        with torch.no_grad():
            model.state_dict()[name].view(-1)[0] += 0.25

    return change


@pytest.mark.parametrize(
    ("name", "matters"),
    [
        ("encoder.project_in.weight", False),
        ("encoder.blocks.0.scale", False),
        ("decoder.project_out.bias", True),
        ("decoder.blocks.1.norm.weight", True),
        ("quantizer.codebooks.3.vectors", True),
        ("quantizer.codebooks.3.counts", False),
    ],
)
def test_the_fingerprint_covers_decoding_only(model: Autoencoder, name: str, matters: bool) -> None:
    before = checkpoint.fingerprint_of(model)
    change_of(name)(model)
    assert (checkpoint.fingerprint_of(model) != before) == matters


@pytest.mark.parametrize(
    ("field", "value", "matters"),
    [
        ("name", "other", False),
        ("encoder_blocks", 3, False),
        ("encoder_width", 16, False),
        ("encoder_lookahead", 0, True),
        ("decoder_lookahead", 0, True),
        ("power", 0.5, True),
        ("sample_rate", 8000, True),
    ],
)
def test_the_fingerprint_covers_the_settings_of_decoding(
    model: Autoencoder, field: str, value: Any, matters: bool
) -> None:
    changes: dict[str, Any] = {field: value}
    other = Autoencoder(dataclasses.replace(model.config, **changes))
    other.decoder.load_state_dict(model.decoder.state_dict())
    other.quantizer.load_state_dict(model.quantizer.state_dict())
    assert (checkpoint.fingerprint_of(other) != checkpoint.fingerprint_of(model)) == matters


def test_an_integer_power_is_the_same_power() -> None:
    fingerprints = []
    for power in (1, 1.0):
        torch.manual_seed(0)
        model = Autoencoder(ModelConfig(power=power, encoder_width=8, decoder_width=8, codebook_size=2))
        fingerprints.append(checkpoint.fingerprint_of(model))
    assert fingerprints[0] == fingerprints[1]


def with_config(**values: Any) -> Callable[[Tensors, Metadata], object]:
    def change(_: Tensors, metadata: Metadata) -> None:
        metadata["config"] = json.dumps(json.loads(metadata["config"]) | values)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, m: m.pop("config"), "no 'config'"),
        (lambda t, m: m.clear(), "not a model of vqcodec"),
        (lambda t, m: m.update(format="2"), "model format '2' is unknown"),
        (lambda t, m: m.update(config="{"), "not JSON"),
        (lambda t, m: m.update(config="[" * 100_000), "not JSON"),
        (lambda t, m: m.update(config="[]"), "not a JSON object"),
        (lambda t, m: m.update(training="7"), "not a JSON object"),
        (lambda t, m: m.update(fingerprint="00" * 32), "do not match the fingerprint"),
        (lambda t, m: m.update(fingerprint="xyz"), "not a SHA-256"),
        (lambda t, m: m.update(parameters="12"), "parameters instead of the 12"),
        (lambda t, m: m.update(parameters="-1"), "'-1'"),
        (lambda t, m: t.pop("decoder.norm_in.bias"), "decoder.norm_in.bias"),
        (lambda t, m: t.update(surprise=torch.zeros(1).half()), "surprise"),
        (lambda t, m: t.update({"decoder.norm_in.bias": torch.zeros(3).half()}), r"\[3\], not \[32\]"),
        (lambda t, m: t.update({"decoder.norm_in.bias": torch.zeros(32)}), r"is F32, not F16 \(float16\)"),
        (lambda t, m: t["decoder.norm_in.bias"].fill_(float("nan")), "NaN"),
        (lambda t, m: t["encoder.norm_in.bias"].fill_(float("inf")), "NaN or beyond float16"),
        (lambda t, m: t["decoder.norm_in.bias"].add_(1), "do not match the fingerprint"),
        (with_config(decoder_blocks=1), "not of this model"),
        (with_config(power=0.5), "do not match the fingerprint"),
        (with_config(latent_dim=10_000), "cannot hold"),
        (with_config(decoder_width=10_000), "cannot hold"),
        (with_config(encoder_blocks=200), "cannot hold"),
        (with_config(kernel_size=1000), "cannot hold"),
        (with_config(mdct_hop=2048), "cannot hold"),
        (with_config(mdct_hop=2, stride=32_767), "cannot hold"),
        (with_config(num_stages=255), "cannot hold"),
    ],
)
def test_damage(change: Callable[[Tensors, Metadata], object], message: str, tmp_path: Path) -> None:
    path = rewritten(tmp_path / "model.safetensors", change)
    with pytest.raises(CorruptFile, match=message) as caught:
        checkpoint.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_config(latent_dims=16), r"latent_dims is not a setting of a model; did you mean model.latent_dim\?"),
        (with_config(num_stages=0), "model.num_stages"),
        (with_config(encoder_blocks=10**9), "model.encoder_blocks"),
        (with_config(kernel_size=10**9), "model.kernel_size"),
        (with_config(name="../../x"), "model.name"),
        (with_config(codebook_size="many"), "model.codebook_size"),
    ],
)
def test_impossible_settings(change: Callable[[Tensors, Metadata], object], message: str, tmp_path: Path) -> None:
    path = rewritten(tmp_path / "model.safetensors", change)
    with pytest.raises(ConfigError, match=message):
        checkpoint.load(path)


@pytest.mark.parametrize("length", [0, 5, 8, 100, 2000, -1])
def test_cut_short(length: int, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(TINY.read_bytes()[:length])
    with pytest.raises(CorruptFile, match=re.escape(str(path))):
        checkpoint.load(path)


@pytest.mark.parametrize("content", [b"\xff" * 1000, b"hello " * 100, bytes(1000)])
def test_no_model_at_all(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    for read in (checkpoint.load, registry.describe):
        with pytest.raises(CorruptFile, match="model"):
            read(path)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.safetensors", tmp_path):
        with pytest.raises(CorruptFile, match="cannot be read"):
            checkpoint.load(path)


def test_weights_that_have_diverged_are_not_saved(model: Autoencoder, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"old")
    model.decoder.norm_in.bias.fill_(1e6)
    with pytest.raises(VqcodecError, match=r"decoder\.norm_in\.bias"):
        checkpoint.save(path, model)
    assert path.read_bytes() == b"old"


def test_a_failed_save_leaves_nothing(model: Autoencoder, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").mkdir()
    with pytest.raises(VqcodecError, match="is a folder"):
        checkpoint.save(tmp_path / "model.safetensors", model)
    with pytest.raises(VqcodecError, match="cannot write"):
        checkpoint.save(tmp_path / "nowhere" / "model.safetensors", model)
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


# The registry.


@pytest.fixture
def shipped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder of weights with one model in it."""
    monkeypatch.setattr(registry, "_WEIGHTS", tmp_path)
    shutil.copy(TINY, tmp_path / "golden.safetensors")
    return tmp_path


def test_find(shipped: Path) -> None:
    assert registry.names() == ("golden",)
    assert registry.find("golden") == shipped / "golden.safetensors"
    assert registry.find(TINY) == TINY
    assert registry.find(str(TINY)) == TINY


@pytest.mark.parametrize("name", ["nothing", "../golden", "", "golden.safetensors"])
def test_find_nothing(shipped: Path, name: str) -> None:
    with pytest.raises(ModelMismatch, match=r"unknown model .*choose golden or"):
        registry.find(name)


def test_by_fingerprint(shipped: Path) -> None:
    start = bytes.fromhex(registry.describe(TINY).fingerprint)[: registry.SHORT_FINGERPRINT_BYTES]
    found = registry.by_fingerprint(start)
    assert found is not None
    assert found.name == "golden"
    assert registry.by_fingerprint(bytes(8)) is None


def test_whereabouts_of_a_model_that_ships_that_shipped_and_of_a_stranger(shipped: Path) -> None:
    golden = bytes.fromhex(registry.describe(TINY).fingerprint)[:8]
    assert "golden" in registry.whereabouts(golden) and golden.hex() in registry.whereabouts(golden)
    for former in json.loads(registry._FORMER.read_text()):
        start = bytes.fromhex(former["fingerprint"])[:8]
        text = registry.whereabouts(start)
        assert former["name"] in text and start.hex() in text and former["where"] in text
        assert registry.by_fingerprint(start) is None
    assert "0000000000000000" in registry.whereabouts(bytes(8))


def test_fingerprints_that_are_none_are_refused(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "model.safetensors", checkpoint.load(TINY), decodes=["no fingerprint"])
    with pytest.raises(CorruptFile, match="not a SHA-256"):
        registry.describe(tmp_path / "model.safetensors")


def test_every_shipped_model_is_whole() -> None:
    for name in registry.names():
        info = registry.describe(registry.find(name))
        assert info.name == name
        assert info.trained_on_scores is not None
        assert set(info.trained_on_scores) <= set(METRICS)
        assert checkpoint.load(info.path).config == info.config
