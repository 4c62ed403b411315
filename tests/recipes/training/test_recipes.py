"""Every recipe that ships is built, stepped and planned, and what would fail late in a run is refused at once."""

import math

import pytest
import torch
from typer.testing import CliRunner

from synthetic import voice
from vqcodec.cli.main import app
from vqcodec.cli.terminal.training import plan_rows
from vqcodec.errors import ConfigError
from vqcodec.recipes import config, loading
from vqcodec.recipes.data.batches import Example, crop_samples
from vqcodec.recipes.distributed import World
from vqcodec.recipes.training.checks import check
from vqcodec.recipes.training.dry_run import plan, stretches
from vqcodec.recipes.training.losses.spectral import MEL_BINS, windows
from vqcodec.recipes.training.step import Trainer

SMALL = ["data.batch_size=2", "data.crop_s=0.3", "optimizer.warmup_steps=1", "discriminator.alone_steps=0"]


def batch_of(recipe: config.Recipe) -> Example:
    rate, samples = recipe.model.sample_rate, crop_samples(recipe)
    voices = [torch.from_numpy(voice(1.0, rate, seed))[None, :samples] for seed in range(recipe.data.batch_size)]
    return Example(torch.stack(voices), torch.stack(voices))


@pytest.mark.parametrize("name", loading.names())
def test_every_recipe_steps_from_its_first_to_its_last_phase(name: str) -> None:
    recipe = loading.load(name, SMALL)
    check(recipe)
    trainer = Trainer(recipe, torch.device("cpu"), World())
    batch = batch_of(recipe)
    first = trainer.train_step(batch)
    trainer.initialise_codebooks([batch])
    before = [parameter.clone() for parameter in trainer.model.parameters()]
    for _, steps in stretches(recipe):
        trainer.step = steps[-1]
        last = trainer.train_step(batch)
    assert all(value.isfinite().all() for value in [*first.values(), *last.values()])
    spectral = {"signed", "mel", "magnitude", "complex"}
    assert {"commitment", *(["nll"] if recipe.model.decoder_kind == "wavenet" else spectral)} <= last.keys()
    assert last["skipped"] == 0
    assert any(not new.equal(old) for new, old in zip(trainer.model.parameters(), before, strict=True))


@pytest.mark.parametrize("name", loading.names())
def test_every_recipe_sets_all_of_its_model(name: str) -> None:
    recipe = loading.load(name)
    assert recipe.model.name == name
    assert recipe.model.latency_s <= 0.08
    assert recipe.quantizer.start_step < recipe.run.steps
    if recipe.model.decoder_kind == "mdct":
        assert recipe.loss.schedule_start + recipe.loss.schedule_steps < recipe.run.steps


def test_the_default_recipe_is_of_ten_million_parameters_at_most() -> None:
    trainer = Trainer(loading.load("speech_16k"), torch.device("cpu"), World())
    assert sum(trainer.parameters.values()) <= 10e6


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000])
def test_windows_last_as_long_at_every_rate(rate: int) -> None:
    scaled = windows(rate)
    assert scaled.keys() == MEL_BINS.keys()
    for at_16k, window in scaled.items():
        assert window / rate == pytest.approx(at_16k / 16_000, rel=0.23)
        assert window % 4 == 0
    if rate == 16_000:
        assert all(at_16k == window for at_16k, window in scaled.items())


def test_phases_are_stretches_of_the_run() -> None:
    def of(*settings: str) -> list[tuple[str, range]]:
        return stretches(loading.load("tiny", ["run.steps=100", *settings]))

    adversarial, frozen = "phases.adversarial_from=60", "phases.decoder_only_from=80"
    assert of() == [("reconstruction", range(100))]
    assert of(adversarial) == [("reconstruction", range(60)), ("adversarial", range(60, 100))]
    assert of(adversarial, frozen)[1:] == [
        ("adversarial", range(60, 80)),
        ("adversarial, decoder only", range(80, 100)),
    ]
    assert of("phases.adversarial_from=0") == [("adversarial", range(100))]
    assert of("phases.adversarial_from=500") == [("reconstruction", range(100))]


def test_a_plan_counts_what_there_is() -> None:
    recipe = loading.load("tiny", [*SMALL, "phases.adversarial_from=600", "run.steps=1000"])
    found = plan(recipe, "cpu")
    trainer = Trainer(recipe, torch.device("cpu"), World())
    assert found.parameters == trainer.parameters
    assert found.parameters["bottleneck"] == 8 * 256 * 32
    assert found.discriminators > 0
    assert [(phase.name, phase.steps) for phase in found.phases] == [("reconstruction", 600), ("adversarial", 400)]
    assert found.duration_s == pytest.approx(sum(phase.steps * phase.step_s for phase in found.phases))
    numbers = 4 * sum(trainer.parameters.values())  # weights, their average and two moments of each
    assert found.checkpoint_bytes > 4 * numbers
    assert found.peak_bytes is None or found.peak_bytes > found.checkpoint_bytes


def test_the_arithmetic_of_a_plan_is_that_of_its_layers() -> None:
    recipe = loading.load("tiny", SMALL)
    c, macs = recipe.model, plan(recipe, "cpu").macs_per_s
    block = c.decoder_width * (2 * c.expansion * c.decoder_width + c.kernel_size)
    least = c.frame_rate * c.decoder_blocks * block
    assert least < macs["decode"] < 2.5 * least
    search = c.frame_rate * c.num_stages * c.codebook_size * c.latent_dim
    assert macs["encode"] > search


@pytest.mark.parametrize(
    ("settings", "rates"),
    [
        (["bottleneck.kind=product"], "16000 Hz, 3.2 kbit/s"),
        (["bottleneck.kind=hierarchical"], "16000 Hz, 0.2 to 1.6 kbit/s"),
        (["bottleneck.kind=vae"], "16000 Hz, no codes (vae)"),
    ],
)
def test_every_kind_can_be_planned(settings: list[str], rates: str) -> None:
    found = plan(loading.load("tiny", [*SMALL, *settings]), "cpu")
    assert rates in dict(plan_rows(found))["model"]
    assert found.macs_per_s["decode"] > 0 and found.macs_per_s["encode"] > 0
    assert found.parameters["bottleneck"] > 0


def test_dry_run_needs_neither_data_nor_a_folder() -> None:
    settings = [part for setting in [*SMALL, "phases.adversarial_from=600"] for part in ("--set", setting)]
    result = CliRunner().invoke(app, ["train", "tiny", "--dry-run", "--device", "cpu", *settings])
    assert result.exit_code == 0, result.output
    for words in ("0.4 to 3.2 kbit/s", "encoder", "GMAC/s", "reconstruction", "adversarial", "an hour", "MB at most"):
        assert words in result.stdout


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("run.best_by=mell", "choose one of mel, magnitude"),
        ("run.best_by=si_sdr@5", "for 2, 4, 8 stages, as in si_sdr@8"),
        ("bottleneck.kind=product,run.best_by=mel@4", "for 8 stages, as in mel@8"),
        ("bottleneck.kind=none,run.best_by=perplexity_min", "choose one of mel, magnitude, complex, si_sdr"),
        ("bottleneck.kind=none,run.best_by=mel@8", "for 0 stages, as in mel@0"),
        ("bottleneck.kind=lattice,quantizer.learning=gradient", "a 'lattice' bottleneck has no codebooks"),
        ("data.crop_s=0.05", "data.crop_s = 0.05 is shorter than the losses need: at least 0.128"),
    ],
)
def test_what_would_fail_late_is_refused_at_once(setting: str, words: str) -> None:
    with pytest.raises(ConfigError, match=r"^[^\n]*$") as caught:
        check(loading.load("tiny", setting.split(",")))
    assert words in str(caught.value)


@pytest.mark.parametrize("by", ["mel", "si_sdr", "si_sdr@8", "mel@2", "perplexity_min"])
def test_scores_to_choose_by(by: str) -> None:
    check(loading.load("tiny", [f"run.best_by={by}"]))


def test_settings_are_changed_and_compared() -> None:
    before = loading.load("tiny")
    after = loading.change(before, ["run.steps=900", "optimizer.learning_rate=1e-3"])
    assert after.run.steps == 900
    assert sorted(loading.differences(before, after)) == [
        "optimizer.learning_rate 0.004 -> 0.001",
        "run.steps 800 -> 900",
    ]
    assert loading.change(before, []) == before
    assert loading.differences(before, before) == []
    with pytest.raises(ConfigError, match=r"did you mean run\.steps"):
        loading.change(before, ["run.step=7"])
    assert math.isclose(after.optimizer.learning_rate, 1e-3)
