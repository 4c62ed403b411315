"""Discriminators and the adversarial phase: they learn, they teach the codec and only it, and they resume exactly."""

import functools
import io
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from synthetic import voice
from vqcodec.errors import ConfigError
from vqcodec.recipes import config, loading
from vqcodec.recipes.distributed import World
from vqcodec.recipes.training.adversary.adversary import (
    Adversary,
    codec_loss,
    discriminator_accuracy,
    discriminator_loss,
    feature_loss,
)
from vqcodec.recipes.training.adversary.discriminators import (
    DiscriminatorOutput,
    Discriminators,
    PeriodDiscriminator,
    compressed_spectrum,
)

CPU = torch.device("cpu")
SAMPLES = 8000


def recipe(*overrides: str) -> config.Recipe:
    small = ["discriminator.period_channels=4", "discriminator.stft_channels=16", "discriminator.every=1"]
    return loading.load("speech_16k", [*small, *overrides])


def adversary(*overrides: str, world: World = World()) -> Adversary:  # noqa: B008 - frozen
    return Adversary(recipe(*overrides), CPU, world)


@functools.cache
def voices(seed: int = 0, batch: int = 4) -> Tensor:
    """[batch, 1, sample]"""
    return torch.from_numpy(
        np.stack([voice(SAMPLES / 16_000, seed=batch * seed + item)[None] for item in range(batch)])
    )


def noises(seed: int = 0, batch: int = 4) -> Tensor:
    """[batch, 1, sample]"""
    return 0.1 * torch.randn(batch, 1, SAMPLES, generator=torch.Generator().manual_seed(seed))


def judgement(*logits: float) -> list[DiscriminatorOutput]:
    """Of one discriminator without features, batch 1."""
    return [DiscriminatorOutput(torch.tensor([logits]), [])]


@pytest.mark.parametrize("samples", [1, 97, 2047, SAMPLES + 1])
def test_any_length_is_judged_item_by_item(samples: int) -> None:
    torch.manual_seed(0)
    discriminators = Discriminators(
        recipe("discriminator.periods=[2, 3]", "discriminator.windows=[64, 2048]").discriminator
    )
    waveform = torch.randn(3, 1, samples, generator=torch.Generator().manual_seed(0))
    together, alone = discriminators(waveform), discriminators(waveform[1:2])
    assert len(together) == 4
    for whole, single in zip(together, alone, strict=True):
        assert whole.logits.ndim == 2
        assert len(whole.features) == 4
        for a, b in zip([whole.logits, *whole.features], [single.logits, *single.features], strict=True):
            assert len(a) == 3
            torch.testing.assert_close(a[1:2], b, rtol=1e-4, atol=1e-5)


def test_each_phase_of_a_period_is_judged_apart() -> None:
    torch.manual_seed(0)
    discriminator = PeriodDiscriminator(5, 4)
    waveform = torch.randn(1, 1, 503)
    changed = waveform.clone()
    changed[0, 0, 5 * 20 + 3] += 1
    difference = (discriminator(changed).logits - discriminator(waveform).logits).unflatten(1, (5, -1))
    assert (difference[0].abs().amax(1) > 0).tolist() == [False, False, False, True, False]


def test_spectra_are_compressed_and_keep_their_phase() -> None:
    times = torch.arange(4000) / 16_000
    loud = 0.9 * torch.sin(2 * torch.pi * 1000 * times)[None]
    spectrum, softer = compressed_spectrum(loud, 256), compressed_spectrum(loud / 10, 256)
    assert spectrum.shape == (1, 2 * 129, 60)  # 3840 + 160 samples: the last window is filled up with zeros
    inner = spectrum[..., 5:-5].square().sum(-1).max().sqrt() / softer[..., 5:-5].square().sum(-1).max().sqrt()
    assert float(inner) == pytest.approx(10**0.3, rel=0.02)
    assert torch.allclose(compressed_spectrum(-loud, 256), -spectrum)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(compressed_spectrum(loud, 256), spectrum)


def test_hinge_losses_by_hand() -> None:
    real, fake = judgement(2.0, 0.5, -1.0), judgement(-3.0, 0.0, 1.0)
    assert float(discriminator_loss(real, fake, "hinge")) == pytest.approx((0 + 0.5 + 2) / 3 + (0 + 1 + 2) / 3)
    assert float(codec_loss(fake, "hinge")) == pytest.approx((4 + 1 + 0) / 3)
    assert float(discriminator_accuracy(real, fake, "hinge")) == pytest.approx((2 / 3 + 1 / 3) / 2)


def test_least_squares_losses_by_hand() -> None:
    real, fake = judgement(1.0, 0.4, -1.0), judgement(0.0, 0.4, 2.0)
    assert float(discriminator_loss(real, fake, "least_squares")) == pytest.approx((0.36 + 4 + 0.16 + 4) / 3)
    assert float(codec_loss(fake, "least_squares")) == pytest.approx((1 + 0.36 + 1) / 3)
    assert float(discriminator_accuracy(real, fake, "least_squares")) == pytest.approx((1 / 3 + 2 / 3) / 2)


def test_every_discriminator_counts_alike_whatever_its_size() -> None:
    real = [*judgement(1.0), *judgement(*[-1.0] * 9)]
    fake = [*judgement(-1.0), *judgement(*[1.0] * 9)]
    assert float(discriminator_loss(real, fake, "hinge")) == pytest.approx((0 + 4) / 2)
    assert float(codec_loss(fake, "hinge")) == pytest.approx((2 + 0) / 2)


def test_feature_loss_is_relative_to_each_item() -> None:
    wanted = torch.tensor([[[1.0, 3.0]], [[100.0, 300.0]]])  # [batch, channel, position]
    real, fake, silent = ([DiscriminatorOutput(torch.zeros(2, 1), [gain * wanted])] for gain in (1.0, 1.5, 0.0))
    assert float(feature_loss(real, real)) == 0
    assert float(feature_loss(fake, real)) == pytest.approx(0.5 / 1.25, rel=0.01)
    assert float(feature_loss(fake, silent)) == pytest.approx(2, rel=0.01)


@pytest.mark.parametrize("loss", ["hinge", "least_squares"])
def test_they_learn_to_tell_noise_from_voice(loss: str) -> None:
    judge = adversary(f"discriminator.loss={loss}", "discriminator.learning_rate=3e-3")
    first = judge.learn(voices(0), noises(0))
    for step in range(1, 36):
        last = judge.learn(voices(step % 8), noises(step))
    assert float(last["discriminator"]) < 0.4 * float(first["discriminator"])
    assert float(last["discriminator_accuracy"]) > 0.85
    new_voices = judge.terms(voices(90), voices(91))
    new_noises = judge.terms(voices(90), noises(91))
    assert float(new_voices["adversarial"]) < 0.5 * float(new_noises["adversarial"])
    assert float(new_voices["feature"]) < float(new_noises["feature"])


def test_the_state_of_an_earlier_version_has_the_same_metrics_by_their_names_of_now() -> None:
    before, after = adversary(), adversary()
    metrics = before.learn(voices(0), noises(0))
    state = before.state()
    state["metrics"] = {name.replace("discriminator_accuracy", "told_apart"): value for name, value in metrics.items()}
    assert "told_apart" in state["metrics"]
    after.load_state(state)
    assert after.metrics == metrics


def test_the_codec_learns_to_be_taken_for_real() -> None:
    judge = adversary("discriminator.learning_rate=3e-3")
    for step in range(8):
        judge.learn(voices(step), noises(step))
    real, fake = voices(50), noises(50).requires_grad_()
    before = judge.terms(real, fake)
    gradient = torch.autograd.grad(torch.stack(list(before.values())).sum(), fake)[0]
    after = judge.terms(real, fake.detach() - 0.01 * gradient / gradient.std())
    for name in ("adversarial", "feature"):
        assert after[name] < before[name]


def test_terms_leave_no_gradients_in_the_discriminators() -> None:
    judge = adversary()
    real, fake = voices().clone().requires_grad_(), noises().requires_grad_()
    terms = judge.terms(real, fake)
    assert set(terms) == {"adversarial", "feature"}
    torch.stack(list(terms.values())).sum().backward()
    assert fake.grad is not None
    assert 0 < float(fake.grad.norm()) < float("inf")
    assert real.grad is None
    assert all(parameter.grad is None for parameter in judge.discriminators.parameters())
    assert all(parameter.requires_grad for parameter in judge.discriminators.parameters())


def test_learning_leaves_no_gradients_in_the_codec() -> None:
    judge = adversary("discriminator.loss=least_squares")  # a hinge can leave a bias where it is
    output = noises().requires_grad_()
    before = [parameter.clone() for parameter in judge.discriminators.parameters()]
    judge.learn(voices(), 2 * output)
    assert output.grad is None
    after = list(judge.discriminators.parameters())
    assert all(parameter.grad is None for parameter in after)
    assert not any(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_what_equals_the_original_has_no_feature_loss() -> None:
    assert float(adversary().terms(voices(), voices())["feature"]) == 0


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_silence_keeps_everything_finite(precision: str) -> None:
    judge = adversary(f"run.precision={precision}")
    silence = torch.zeros(2, 1, SAMPLES)
    for _ in range(3):
        assert all(value.isfinite() for value in judge.learn(silence, silence).values())
    fake = silence.clone().requires_grad_()
    terms = judge.terms(silence, fake)
    torch.stack(list(terms.values())).sum().backward()
    assert all(value.isfinite() for value in terms.values())
    assert fake.grad is not None
    assert fake.grad.isfinite().all()
    assert all(parameter.isfinite().all() for parameter in judge.discriminators.parameters())


def test_a_broken_batch_is_not_learnt_from() -> None:
    judge = adversary()
    judge.learn(voices(), noises())
    before = [parameter.clone() for parameter in judge.discriminators.parameters()]
    metrics = judge.learn(voices(), torch.full((4, 1, SAMPLES), torch.nan))
    assert not metrics["discriminator_norm"].isfinite()
    after = judge.discriminators.parameters()
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert judge.learn(voices(), noises())["discriminator_norm"].isfinite()


def test_they_learn_every_so_often() -> None:
    judge = adversary("discriminator.every=3")
    losses = [float(judge.learn(voices(step), noises(step))["discriminator"]) for step in range(7)]
    assert losses[0] == losses[1] == losses[2] != losses[3] == losses[4] == losses[5] != losses[6]


def test_their_weight_waits_and_then_rises() -> None:
    judge = adversary("discriminator.alone_steps=10", "discriminator.ramp_steps=20")
    assert [judge.weight(step) for step in (0, 9, 10, 15, 20, 30, 31, 1000)] == [0, 0, 0, 0.25, 0.5, 1, 1, 1]


def test_they_go_on_exactly_where_they_were() -> None:
    judge, other = adversary("discriminator.every=2"), adversary("discriminator.every=2", "run.seed=1")
    for step in range(3):
        judge.learn(voices(step), noises(step))
    file = io.BytesIO()
    torch.save(judge.state(), file)
    file.seek(0)
    other.load_state(torch.load(file, weights_only=True))
    assert other.metrics == judge.metrics
    for step in range(3, 6):
        assert judge.learn(voices(step), noises(step)) == other.learn(voices(step), noises(step))
    for a, b in zip(judge.discriminators.parameters(), other.discriminators.parameters(), strict=True):
        assert torch.equal(a, b)


def test_they_begin_alike_for_a_seed_and_draw_nothing_from_others() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = adversary()
    assert torch.equal(torch.rand(3), expected)
    second, third = adversary(), adversary("run.seed=1")
    flat = [nn.utils.parameters_to_vector(judge.discriminators.parameters()) for judge in (first, second, third)]
    assert torch.equal(flat[0], flat[1])
    assert not torch.equal(flat[0], flat[2])


def test_gradients_are_those_of_all_processes() -> None:
    @dataclass(frozen=True)
    class Silenced(World):
        def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
            for parameter in parameters:
                assert parameter.grad is not None
                parameter.grad.zero_()

    metrics = adversary(world=Silenced()).learn(voices(), noises())
    assert float(metrics["discriminator_norm"]) == 0


def test_a_recipe_without_discriminators_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"discriminator\.periods and discriminator\.windows are both empty"):
        adversary("discriminator.periods=[]", "discriminator.windows=[]")
    assert float(adversary("discriminator.periods=[]").learn(voices(), noises())["discriminator"]) > 0
    with pytest.raises(ConfigError, match=r"discriminator\.windows"):
        recipe("discriminator.windows=[8]")
