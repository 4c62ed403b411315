"""Checkpoints, and the notes of a run, that are whole but wrong: one line says so, and nothing large is built first."""

import copy
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from vqcodec.errors import ConfigError, CorruptFile, VqcodecError
from vqcodec.recipes import loading
from vqcodec.recipes.data.batches import Example
from vqcodec.recipes.distributed import World
from vqcodec.recipes.training import checkpoint_file, checkpoints
from vqcodec.recipes.training.step import Trainer

State = dict[str, Any]
CPU = torch.device("cpu")
SIZES = ["latent_dim=4", "num_stages=2", "codebook_size=4", "mdct_hop=20", "encoder_width=4", "encoder_blocks=1"]
RECIPE = loading.load(
    "speech_16k",
    [
        *(f"model.{size}" for size in [*SIZES, "decoder_width=4", "decoder_blocks=1"]),
        *("data.batch_size=2", "data.crop_s=0.2", "quantizer.start_step=0", "phases.adversarial_from=0"),
        *("discriminator.periods=[2]", "discriminator.windows=[64]", "discriminator.stft_channels=2"),
        *("discriminator.alone_steps=0", "run.precision=fp32"),
    ],
)


def step(trainer: Trainer) -> None:
    samples = RECIPE.model.latent_hop * 80 + RECIPE.model.delay // 40 * 40
    sound = torch.randn(2, 1, samples, generator=torch.Generator().manual_seed(trainer.step)) / 10
    if trainer.needs_codebooks:
        trainer.initialise_codebooks([Example(sound, sound)])
    trainer.train_step(Example(sound, sound))


@pytest.fixture(scope="module")
def whole() -> State:
    """The state of a run after two steps, with discriminators."""
    trainer = Trainer(RECIPE, CPU, World())
    step(trainer)
    step(trainer)
    return copy.deepcopy(trainer.state())


@pytest.fixture
def state(whole: State) -> State:
    return copy.deepcopy(whole)


def taken_over(state: State) -> Trainer:
    trainer = Trainer(RECIPE, CPU, World())
    with checkpoint_file.taken_over(Path("run")):
        trainer.load_state(state)
    return trainer


def test_a_state_that_is_right_goes_on_bit_for_bit(whole: State, state: State) -> None:
    one, other = taken_over(state), taken_over(copy.deepcopy(whole))
    for trainer in (one, other):
        step(trainer)
    assert all(torch.equal(a, b) for a, b in zip(one.model.parameters(), other.model.parameters(), strict=True))
    assert one.step == 3 and one.adversary is not None and one.adversary.calls == whole["adversary"]["calls"] + 1


def first(values: dict[str, Any]) -> str:
    return next(iter(values))


WRONG: dict[str, Callable[[State], object]] = {
    "no model": lambda s: s.pop("model"),
    "model None": lambda s: s.update(model=None),
    "tensor missing": lambda s: s["model"].pop(first(s["model"])),
    "tensor of another shape": lambda s: s["model"].update({first(s["model"]): torch.zeros(3)}),
    "no tensor": lambda s: s["model"].update({first(s["model"]): 7}),
    "average of another shape": lambda s: s["average"].update({"module." + first(s["model"]): torch.zeros(3)}),
    "average list": lambda s: s.update(average=[]),
    "no optimizers": lambda s: s.update(optimizers=[]),
    "optimizers None": lambda s: s.update(optimizers=None),
    "moments of another shape": lambda s: s["optimizers"][0]["state"][0].update(exp_avg=torch.zeros(3)),
    "moments without memory": lambda s: s["optimizers"][0]["state"][0].update(exp_avg=torch.zeros(9, device="meta")),
    "moments missing": lambda s: s["optimizers"][0]["state"][0].pop("exp_avg"),
    "moments of nothing": lambda s: s["optimizers"][0]["state"].update({-1: s["optimizers"][0]["state"][0]}),
    "steps of text": lambda s: s["optimizers"][0]["state"][0].update(step="x"),
    "steps infinite": lambda s: s["optimizers"][0]["state"][0].update(step=torch.tensor(float("inf"))),
    "states in a list": lambda s: s["optimizers"][0].update(state=[1]),
    "groups missing": lambda s: s["optimizers"][0].update(param_groups=[]),
    "guard of text": lambda s: s.update(guard="x"),
    "guard empty": lambda s: s.update(guard={}),
    "guard counts": lambda s: s["guard"].update(seen="x"),
    "guard norm": lambda s: s["guard"].update(log_usual=1e9),
    "adversary 1": lambda s: s.update(adversary=1),
    "discriminators": lambda s: s["adversary"].update(discriminators={}),
    "calls": lambda s: s["adversary"].update(calls="x"),
    "metrics": lambda s: s["adversary"]["metrics"].update(discriminator=torch.zeros(5)),
    "metrics missing": lambda s: s["adversary"].update(metrics={}),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_state_that_does_not_fit_its_recipe(state: State, name: str) -> None:
    WRONG[name](state)
    with pytest.raises(CorruptFile, match=r"^run: the checkpoint does not fit its recipe \([^\n]{4,200}\)$"):
        taken_over(state)


def test_averages_that_share_memory_get_their_own(state: State) -> None:
    averages = state["optimizers"][0]["state"][0]
    averages["exp_avg"] = torch.zeros(1).expand(averages["exp_avg"].shape)
    step(taken_over(state))


def kept(run: Path, state: object) -> Path:
    (run / "checkpoints").mkdir(parents=True)
    torch.save(state, run / "checkpoints" / "step_00000002.pt")
    return run


@pytest.mark.parametrize(
    "change",
    [
        {"step": "x"},
        {"step": -1},
        {"step": True},
        {"step": None},
        {"decodes": 7},
        {"decodes": [7]},
        {"trained_on_scores": 3},
    ],
)
def test_a_checkpoint_that_says_nonsense_of_its_run(state: State, tmp_path: Path, change: State) -> None:
    told: list[str] = []
    with pytest.raises(CorruptFile, match="not one of its 1 checkpoints can be read"):
        checkpoints.load(kept(tmp_path / "run", state | change), told.append)
    assert len(told) == 1 and "is not a readable checkpoint" in told[0] and "\n" not in told[0]


@pytest.mark.parametrize("state", [[1, 2], {}, 3, None])
def test_a_checkpoint_of_something_else(tmp_path: Path, state: object) -> None:
    with pytest.raises(CorruptFile, match="can be read"):
        checkpoints.load(kept(tmp_path / "run", state), lambda _: None)


EXPORT: dict[str, tuple[Callable[[State], object], str]] = {
    "no recipe": (lambda s: s.pop("recipe"), "holds no recipe"),
    "recipe list": (lambda s: s.update(recipe=[1]), "a recipe is made of sections, not list"),
    "recipe unknown": (lambda s: s["recipe"].update(x=1), "x is not a known setting"),
    "name": (lambda s: s["recipe"]["model"].update(name="../../x"), "cannot name a file"),
    "huge": (lambda s: s["recipe"]["model"].update(encoder_width=9000, encoder_blocks=99), "cannot hold the model"),
    "no average": (lambda s: s.pop("average"), "there is no 'average'"),
    "shape": (lambda s: s["average"].update({"module." + first(s["model"]): torch.zeros(3)}), "size mismatch"),
}


@pytest.mark.parametrize("name", EXPORT)
def test_a_checkpoint_that_cannot_be_exported(state: State, tmp_path: Path, name: str) -> None:
    change, message = EXPORT[name]
    change(state)
    run, target = kept(tmp_path / "run", state), tmp_path / "x.safetensors"
    with pytest.raises(VqcodecError, match=rf"^[^\n]*step_00000002\.pt\b[^\n]*{message}[^\n]*$"):
        checkpoints.export(run, target, report=lambda _: None)
    assert not target.exists()


def test_a_packed_archive_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data/0", bytes(1 << 24))
    monkeypatch.setattr(zipfile.ZipFile, "open", None)  # reading a member fails
    with pytest.raises(CorruptFile, match=r"\(it is packed, as no checkpoint is\)"):
        checkpoint_file.read(path)


def test_the_recipe_is_taken_from_a_checkpoint_where_its_file_is_missing(state: State, tmp_path: Path) -> None:
    run = kept(tmp_path / "run", state)
    assert checkpoints.recorded(run) == RECIPE
    checkpoints.prepare_folder(run, RECIPE, resume=True)
    assert (run / "recipe.json").is_file()
    (run / "checkpoints" / "step_00000002.pt").unlink()
    (run / "recipe.json").unlink()
    with pytest.raises(ConfigError, match="holds no checkpoint to resume from"):
        checkpoints.recorded(run)


@pytest.mark.parametrize("text", ["[1]", "{", "[" * 100_000, "3", '{"run": 3}', '{"model": []}'])
def test_a_recipe_file_that_is_none(state: State, tmp_path: Path, text: str) -> None:
    run = kept(tmp_path / "run", state)
    (run / "recipe.json").write_text(text)
    with pytest.raises(ConfigError, match=r"^[^\n]*recipe\.json[^\n]*$"):
        checkpoints.recorded(run)


@pytest.mark.parametrize("noted", [[], {}, {"value": "x", "by": "mel"}, {"value": 1}, {"value": None, "by": "mel"}, 7])
def test_a_note_of_the_best_checkpoint_that_is_none(state: State, tmp_path: Path, noted: object) -> None:
    run = kept(tmp_path / "run", state)
    path = run / "checkpoints" / "best.json"
    path.write_text(json.dumps(noted))
    with pytest.raises(CorruptFile, match=r"best\.json does not say how good .*; remove it"):
        checkpoints.prepare_folder(run, RECIPE, resume=True)
    path.write_text('{"value": NaN, "by": "mel"}')
    assert checkpoints.BestCheckpoint(run, "mel").value is None
