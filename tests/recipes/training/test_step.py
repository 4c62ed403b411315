"""One step: parts of a batch, phases, refused steps, and what a state holds."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
import torch

from distributed_helpers import OF_KIND, batch_of, recipe, recipe_of, take_steps, tensors_of
from vqcodec.errors import ConfigError
from vqcodec.models import checkpoint
from vqcodec.models.autoencoder import Autoencoder
from vqcodec.recipes.config import Recipe
from vqcodec.recipes.data.batches import Example
from vqcodec.recipes.distributed import World
from vqcodec.recipes.training.checks import check
from vqcodec.recipes.training.step import Trainer

ADVERSARIAL = [
    "phases.adversarial_from=4",
    "discriminator.alone_steps=2",
    "discriminator.ramp_steps=2",
    "discriminator.every=1",
]
CPU = torch.device("cpu")


def trainer_at(step: int, *overrides: str) -> Trainer:
    """A trainer that has taken that many steps."""
    chosen = recipe(*overrides)
    trainer = Trainer(chosen, CPU, World())
    trainer.load_state(take_steps(chosen, World(), step)[0])
    return trainer


def batch_for(trainer: Trainer) -> Example:
    return batch_of(trainer.recipe, World(), trainer.step)


def copy_of(state: Any) -> Any:
    """A state whose tensors no training changes."""
    if isinstance(state, torch.Tensor):
        return state.clone()
    if isinstance(state, dict):
        return {key: copy_of(value) for key, value in state.items()}
    if isinstance(state, list):
        return [copy_of(value) for value in state]
    return state


def assert_close(found: Any, expected: Any, rtol: float = 0.0, atol: float = 0.0) -> None:
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=rtol, atol=atol, msg=lambda text, n=name: f"{n}: {text}")


# Parts


@pytest.mark.parametrize("parts", [2, 3])
def test_parts_make_the_step_of_the_whole(parts: int) -> None:
    whole, of_whole = take_steps(recipe(*ADVERSARIAL), World())
    pieces, of_pieces = take_steps(recipe(*ADVERSARIAL, f"optimizer.accumulate={parts}"), World())
    for part in ("model", "average"):
        assert_close(pieces[part], whole[part], rtol=2e-3, atol=1e-3)
    for found, expected in zip(of_pieces, of_whole, strict=True):
        assert_close(found, expected, rtol=2e-3, atol=1e-3)


def test_a_batch_of_parts_must_come_out_even() -> None:
    with pytest.raises(ConfigError, match=r"4 parts.*choose a multiple of 4"):
        Trainer(recipe("optimizer.accumulate=4"), CPU, World())


# Refused steps


@pytest.mark.parametrize("waveform", ["nan", "outlier"])
def test_a_refused_step_changes_nothing(waveform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = trainer_at(7, *ADVERSARIAL)
    before, batch = copy_of(trainer.state()), batch_for(trainer)
    if waveform == "nan":
        batch = Example(batch.waveform, torch.full_like(batch.target, torch.nan))
    else:
        monkeypatch.setattr(trainer.guard, "accepts", lambda norm: False)
    metrics = trainer.train_step(batch)
    monkeypatch.undo()
    after = trainer.state()
    for part in ("model", "average"):
        assert_close(after[part], before[part])
    moments = [dict(tensors_of([kind["state"] for kind in state["optimizers"]])) for state in (after, before)]
    assert_close(*moments)
    assert len(moments[1]) == 3 * len([*trainer.model.parameters()])
    assert_close(dict(tensors_of(after["adversary"])), dict(tensors_of(before["adversary"])))
    assert after["step"] == 8
    assert metrics["skipped"] == (1 if waveform == "nan" else 0)

    good = trainer.train_step(batch_for(trainer))
    assert good.keys() == metrics.keys()
    assert good["loss"].isfinite()
    assert not torch.equal(
        trainer.model.state_dict()["encoder.project_out.weight"], before["model"]["encoder.project_out.weight"]
    )


# Adversarial phase


def test_discriminators_come_in_alone_then_ever_louder() -> None:
    _, metrics = take_steps(recipe(*ADVERSARIAL), World())
    assert ["discriminator" in values for values in metrics] == [False] * 4 + [True] * 5
    assert ["adversarial" in values for values in metrics] == [False] * 7 + [True] * 2  # after 2 alone, from share 0
    before = Trainer(recipe(*ADVERSARIAL), CPU, World()).objective.weights(0)
    assert before["adversarial"] == before["feature"] == 0


def test_the_codec_does_not_hear_discriminators_that_learn_alone() -> None:
    alone = ["phases.adversarial_from=2", "discriminator.alone_steps=50"]
    with_them, without = take_steps(recipe(*alone), World())[0], take_steps(recipe(), World())[0]
    assert_close(with_them["model"], without["model"])
    assert with_them["adversary"] is not None
    assert without["adversary"] is None


def test_discriminators_change_what_the_codec_learns() -> None:
    loud = ["phases.adversarial_from=2", "discriminator.alone_steps=0", "discriminator.ramp_steps=1"]
    with_them, without = take_steps(recipe(*loud), World())[0], take_steps(recipe(), World())[0]
    name = "decoder.project_out.weight"
    assert (with_them["model"][name] - without["model"][name]).abs().max() > 1e-4


# Only the decoder


def test_encoder_and_codebooks_stay_from_their_step_on(tmp_path: Path) -> None:
    trainer = trainer_at(6, "phases.decoder_only_from=6", "optimizer.weight_decay=0.5")
    averaged = copy_of(trainer.averaged.state_dict())
    checkpoint.save(tmp_path / "before.safetensors", trainer.averaged)
    for _ in range(3):
        trainer.train_step(batch_for(trainer))
    kept = {name: tensor for name, tensor in averaged.items() if not name.startswith("decoder.")}
    assert_close(trainer.averaged.state_dict(), kept)
    assert_close(trainer.model.state_dict(), kept)
    changed = [name for name, tensor in trainer.model.state_dict().items() if not torch.equal(tensor, averaged[name])]
    assert set(changed) == {name for name, _ in trainer.model.decoder.named_parameters(prefix="decoder")}

    checkpoint.save(tmp_path / "after.safetensors", trainer.averaged)
    before, after = (checkpoint.load(tmp_path / f"{name}.safetensors") for name in ("before", "after"))
    assert_close(after.encoder.state_dict(), before.encoder.state_dict())
    assert_close(after.quantizer.state_dict(), before.quantizer.state_dict())


def test_the_phase_resumes() -> None:
    settings = ["phases.decoder_only_from=5"]
    whole, _ = take_steps(recipe(*settings), World())
    for stop in (5, 7):
        half, _ = take_steps(recipe(*settings), World(), stop)
        rest, _ = take_steps(recipe(*settings), World(), state=copy_of(half))
        assert_close(rest["model"], whole["model"])
        assert_close(rest["average"], whole["average"])


def test_codebooks_must_be_there_to_stay() -> None:
    trainer = Trainer(recipe("phases.decoder_only_from=2"), CPU, World())
    trainer.train_step(batch_for(trainer))
    trainer.train_step(batch_for(trainer))
    with pytest.raises(ConfigError, match="no codebooks"):
        trainer.train_step(batch_for(trainer))


# Kinds of bottlenecks

WITHOUT_CODES = ["vae", "none"]
WITH_CODEBOOKS = ["rvq", "vq", "product", "tree", "hierarchical"]
BY_GRADIENT = "quantizer.learning=gradient"


@functools.cache
def trained(kind: str, *overrides: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """State and metrics after the steps of `distributed_helpers`."""
    return take_steps(recipe_of(kind, *overrides), World())


def losses_of(kind: str, *overrides: str) -> set[str]:
    """The bottleneck's losses that the last step names."""
    return {"commitment", "codebook", "divergence"} & trained(kind, *overrides)[1][-1].keys()


@pytest.mark.parametrize("kind", OF_KIND)
def test_every_kind_learns(kind: str) -> None:
    settings = ["run.steps=40", "optimizer.learning_rate=3e-3", "loss.schedule_start=100"]
    _, metrics = take_steps(recipe_of(kind, *settings), World())
    assert all(value.isfinite().all() for values in metrics for value in values.values())
    signed = torch.stack([values["signed"] for values in metrics])
    assert signed[-8:].mean() < 0.8 * signed[:4].mean()
    assert ("perplexity" in metrics[-1]) is (kind not in WITHOUT_CODES)
    if kind not in WITHOUT_CODES:
        stages = recipe_of(kind).model.num_stages
        assert metrics[-1]["perplexity"].shape == (stages,)
        assert (metrics[-1]["perplexity"] > 1.5).all()


def test_every_kind_names_its_losses() -> None:
    with_codebooks = {kind: {"commitment"} for kind in WITH_CODEBOOKS}
    expected = with_codebooks | {"lattice": set(), "vae": {"divergence"}, "none": set()}
    assert {kind: losses_of(kind) for kind in OF_KIND} == expected
    for kind in WITH_CODEBOOKS:
        assert losses_of(kind, BY_GRADIENT) == {"commitment", "codebook"}


@pytest.mark.parametrize("kind", ["lattice", *WITHOUT_CODES])
def test_what_needs_no_codebooks_is_in_from_the_first_step(kind: str) -> None:
    trainer = Trainer(recipe_of(kind), CPU, World())
    assert trainer.quantizes and trainer.has_codebooks and not trainer.needs_codebooks
    assert ("perplexity" in trainer.train_step(batch_for(trainer))) is (kind == "lattice")


@pytest.mark.parametrize(
    ("kind", "settings"), [*((kind, ()) for kind in OF_KIND), *((kind, (BY_GRADIENT,)) for kind in WITH_CODEBOOKS)]
)
def test_every_kind_resumes_bit_for_bit(kind: str, settings: tuple[str, ...]) -> None:
    whole, metrics = trained(kind, *settings)
    chosen = recipe_of(kind, *settings)
    for stop in (2, 6):
        half, _ = take_steps(chosen, World(), stop)
        rest, others = take_steps(chosen, World(), state=copy_of(half))
        assert_close(dict(tensors_of(rest)), dict(tensors_of(whole)))
        assert_close(others[-1], metrics[-1])


@pytest.mark.parametrize("kind", OF_KIND)
def test_parts_make_the_step_of_the_whole_for_every_kind(kind: str) -> None:
    whole, of_whole = trained(kind)
    pieces, of_pieces = trained(kind, "optimizer.accumulate=2")
    assert_close(pieces["model"], whole["model"], rtol=2e-3, atol=1e-3)
    for found, expected in zip(of_pieces, of_whole, strict=True):
        assert_close(found, expected, rtol=2e-3, atol=1e-3)


@pytest.mark.parametrize("kind", WITH_CODEBOOKS)
def test_code_vectors_learn_by_gradient_under_the_same_names(kind: str) -> None:
    by_average, by_gradient = trained(kind)[0], trained(kind, BY_GRADIENT)[0]
    assert by_average["model"].keys() == by_gradient["model"].keys()
    trainer = Trainer(recipe_of(kind, BY_GRADIENT), CPU, World())
    vectors = [book.vectors for book in trainer.model.quantizer.books]
    assert {id(tensor) for tensor in vectors} <= {id(p) for p in trainer.optimizers[0].param_groups[0]["params"]}
    assert trainer.parameters == Trainer(recipe_of(kind), CPU, World()).parameters

    trainer.initialise_codebooks(batch_of(trainer.recipe, World(), number) for number in range(4))
    before = [tensor.clone() for tensor in vectors]
    metrics = trainer.train_step(batch_for(trainer))
    moved = [(tensor - old).abs().max() for tensor, old in zip(vectors, before, strict=True)]
    assert all(distance > 0 for distance in moved)
    assert metrics["codebook"] > 0
    frozen = Trainer(recipe_of(kind), CPU, World())
    assert not any(book.vectors.requires_grad for book in frozen.model.quantizer.books)


def test_the_loss_of_the_textbook_is_one_setting() -> None:
    beta = 0.4
    settings = [BY_GRADIENT, f"loss.commitment={beta}", "loss.codebook=1", "loss.schedule_start=100"]
    trainer = Trainer(recipe_of("vq", *settings), CPU, World())
    trainer.initialise_codebooks(batch_of(trainer.recipe, World(), number) for number in range(4))
    values = trainer.train_step(batch_for(trainer))
    assert values["codebook"] == values["commitment"] > 0  # one distance, drawing codes and latents
    expected = 0.7 * values["signed"] + values["codebook"] + beta * values["commitment"]
    assert values["loss"] == pytest.approx(float(expected), rel=1e-5)


def test_dead_codes_are_replaced_where_codes_learn_by_gradient() -> None:
    trainer = trainer_at(6, BY_GRADIENT)
    book = trainer.model.quantizer.books[0]
    with torch.no_grad():
        book.vectors[0], book.counts[0] = 1000.0, 0.0
    trainer.train_step(batch_for(trainer))
    assert book.vectors.abs().max() < 100
    assert isinstance(book.vectors, torch.nn.Parameter)


@pytest.mark.parametrize("kind", ["tree", "hierarchical", "vae"])
def test_of_every_kind_only_the_decoder_learns_in_the_end(kind: str) -> None:
    settings = [] if kind == "vae" else [BY_GRADIENT]
    trainer = Trainer(recipe_of(kind, "phases.decoder_only_from=6", *settings), CPU, World())
    trainer.load_state(trained(kind, *settings)[0] | {"step": 6})
    averaged = copy_of(trainer.averaged.state_dict())
    for _ in range(2):
        trainer.train_step(batch_for(trainer))
    kept = {name: tensor for name, tensor in averaged.items() if not name.startswith("decoder.")}
    assert_close(trainer.model.state_dict(), kept)
    assert_close(trainer.averaged.state_dict(), kept)


@pytest.mark.parametrize("kind", ["lattice", "vae", "none"])
def test_without_codebooks_nothing_learns_by_gradient(kind: str) -> None:
    with pytest.raises(ConfigError, match="has no codebooks"):
        check(recipe_of(kind, BY_GRADIENT))


def test_a_variational_bottleneck_samples_alike_in_all_parts() -> None:
    (_, first), (_, second) = trained("vae"), trained("vae", "optimizer.accumulate=3")
    assert first[0]["signed"] == pytest.approx(float(second[0]["signed"]), rel=1e-3)


# State and start


def test_states_of_before_the_phases_load() -> None:
    state, _ = take_steps(recipe(), World(), 5)
    for name in ("guard", "adversary"):
        del state[name]
    trainer = Trainer(recipe(*ADVERSARIAL), CPU, World())
    trainer.load_state(state)
    metrics = trainer.train_step(batch_for(trainer))
    assert metrics["skipped"] == 0
    assert trainer.has_codebooks


def test_trained_weights_quantize_at_once(tmp_path: Path) -> None:
    chosen = recipe("quantizer.start_step=100")
    weights = tmp_path / "weights.safetensors"
    codebooks = Trainer(chosen, CPU, World())
    codebooks.initialise_codebooks(batch_of(chosen, World(), number) for number in range(4))
    checkpoint.save(weights, codebooks.averaged)
    trainer = Trainer(chosen, CPU, World(), weights)
    assert trainer.quantizes
    assert not trainer.needs_codebooks
    assert "commitment" in trainer.train_step(batch_for(trainer))


def test_weights_of_other_sizes_are_no_beginning(tmp_path: Path) -> None:
    other: Recipe = recipe("model.latent_dim=8")
    checkpoint.save(tmp_path / "other.safetensors", Autoencoder(other.model))
    with pytest.raises(ConfigError, match="other sizes"):
        Trainer(recipe(), CPU, World(), tmp_path / "other.safetensors")


@pytest.mark.parametrize("samples", ["false", "true"])
def test_a_compiled_model_takes_the_same_steps(samples: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))  # nothing to build
    kind = f"model.decoder_stochastic={samples}"
    expected, found = (take_steps(recipe(kind, f"run.compile={on}"), World())[0] for on in ("false", "true"))
    assert found["model"].keys() == expected["model"].keys()
    assert_close(found["model"], expected["model"], rtol=1e-4, atol=1e-5)
