"""Every kind of bottleneck: search, learning and loss by hand, and the whole codec with it, down to the file."""

import binascii
import dataclasses
import io
import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from synthetic import voice
from vqcodec import Codec, Encoded, bitstream
from vqcodec.errors import ConfigError, CorruptFile, UnsupportedVersion
from vqcodec.models import checkpoint, registry
from vqcodec.models.autoencoder import Autoencoder
from vqcodec.models.bottlenecks import Bottleneck, Statistics
from vqcodec.models.bottlenecks.codebook import Codebook
from vqcodec.models.bottlenecks.fsq import FiniteScalarQuantizer
from vqcodec.models.bottlenecks.grouped import GroupedVQ
from vqcodec.models.bottlenecks.hierarchical import HierarchicalQuantizer
from vqcodec.models.bottlenecks.residual import ResidualVQ
from vqcodec.models.bottlenecks.tree import TreeVQ
from vqcodec.models.bottlenecks.variational import VariationalBottleneck
from vqcodec.models.bottlenecks.vector import VectorQuantizer
from vqcodec.models.config import ModelConfig
from vqcodec.models.kinds import KINDS
from vqcodec.models.layers import Stream

RATE = 2000
SMALL = ModelConfig(
    name="small",
    sample_rate=RATE,
    mdct_hop=10,
    stride=2,
    latent_dim=6,
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
    "rvq": SMALL,
    "vq": dataclasses.replace(SMALL, bottleneck="vq", num_stages=1, codebook_size=30),
    "product": dataclasses.replace(SMALL, bottleneck="product"),
    "lattice": dataclasses.replace(SMALL, bottleneck="lattice", lattice_levels=3, codebook_size=9),
    "tree": dataclasses.replace(SMALL, bottleneck="tree", codebook_size=5),
    "hierarchical": dataclasses.replace(SMALL, bottleneck="hierarchical", num_stages=6, coarse_stages=2),
    "vae": dataclasses.replace(SMALL, bottleneck="vae"),
    "none": dataclasses.replace(SMALL, bottleneck="none"),
}
CODED = [name for name, kind in KINDS.items() if kind.has_codes]
UNCODED = [name for name in KINDS if name not in CODED]
WITH_PREFIXES = [name for name, kind in KINDS.items() if kind.has_prefixes]
LEARNT = [kind for kind in CODED if kind != "lattice"]
VOICE = voice(1.5, RATE)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def latents_of(batch: int = 3, frames: int = 40, dim: int = 6, seed: int = 9) -> Tensor:
    """[batch, dim, latent frame], neighbouring frames alike."""
    x = torch.randn(batch, dim, frames + 1, generator=seeded(seed))
    return x[..., 1:] + 0.7 * x[..., :-1]


def bottleneck(kind: str) -> Bottleneck:
    """Of that kind, in training mode, its codebooks set."""
    torch.manual_seed(0)
    made = CONFIGS[kind].kind.build(CONFIGS[kind])
    made.generator.manual_seed(1)
    made.initialise(latents_of(8, 100, seed=4))
    return made


def with_vectors(made: Bottleneck, *vectors: list[list[float]]) -> Bottleneck:
    """The same with these code vectors."""
    for book, rows in zip(made.books, vectors, strict=True):
        book.vectors.copy_(torch.tensor(rows))
        book.restart()
    return made


def codec_of(kind: str) -> Codec:
    """A codec of random weights, its codebooks set on a sound."""
    torch.manual_seed(0)
    model = Autoencoder(CONFIGS[kind]).eval()
    hop, samples = model.config.hop_length, torch.from_numpy(voice(6.0, RATE, seed=3))
    with torch.no_grad():
        latents = model.encoder(samples[None, None, : len(samples) // hop * hop], Stream())
    model.quantizer.initialise(latents)
    return Codec(model)


@pytest.fixture(params=CODED)
def codec(request: pytest.FixtureRequest) -> Codec:
    return codec_of(request.param)


def distortion(made: Bottleneck, latents: Tensor, stages: int | None = None, effort: int = 1) -> float:
    return float((made.decode(made.encode(latents, stages, effort)) - latents).square().mean())


# What all have in common


def test_every_kind_has_a_configuration() -> None:
    assert set(KINDS) == set(CONFIGS)
    for kind, config in CONFIGS.items():
        made = config.kind.build(config)
        assert made.kind == kind
        assert made.needs_codebooks is bool(made.books) is (kind in LEARNT)
        assert made.code_vectors == config.code_vectors


@pytest.mark.parametrize("kind", KINDS)
def test_shapes(kind: str) -> None:
    made, config, latents = bottleneck(kind), CONFIGS[kind], latents_of().requires_grad_()
    out = made(latents, torch.full((3,), config.num_stages))
    assert out.latents.shape == latents.shape
    assert all(loss.ndim == 0 and loss >= 0 for loss in out.losses.values())
    names = {"commitment"} if kind in LEARNT else {"divergence"} if kind == "vae" else set()
    assert set(out.losses) == names
    if config.has_codes:
        frames = latents.shape[-1] // config.frames_per_code
        assert out.codes.shape == (3, config.num_stages, frames)
        assert out.codes.dtype == torch.int64
        assert 0 <= out.codes.min() <= out.codes.max() < config.codebook_size
        assert len(out.codes.unique()) > config.codebook_size // 2
        assert torch.equal(out.codes, made.encode(latents.detach()))
        torch.testing.assert_close(made.decode(out.codes), out.latents, atol=1e-5, rtol=0)
    else:
        assert out.codes is None
    (out.latents.sum() + sum(out.losses.values())).backward()
    assert latents.grad.isfinite().all() and latents.grad.abs().min() > 0


@pytest.mark.parametrize("kind", CODED)
def test_prefixes(kind: str) -> None:
    made, config, latents = bottleneck(kind), CONFIGS[kind], latents_of()
    codes = made.encode(latents)
    errors = []
    for stages in config.stage_choices:
        assert torch.equal(made.encode(latents, stages), codes[:, :stages])
        errors.append(distortion(made, latents, stages))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < latents.square().mean()
    if kind in WITH_PREFIXES:
        assert errors[-1] < 0.7 * errors[0]
        used = torch.tensor([1, config.num_stages, 2])
        out = made(latents, used)
        for item, stages in enumerate(used.tolist()):
            alone = made.decode(codes[item : item + 1, :stages])
            torch.testing.assert_close(out.latents[item : item + 1], alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", WITH_PREFIXES)
def test_effort_lowers_the_error(kind: str) -> None:
    made, latents = bottleneck(kind), latents_of(4, 100)
    errors = [distortion(made, latents, effort=effort) for effort in (1, 4, 16)]
    assert errors[2] < errors[1] < errors[0]


@pytest.mark.parametrize("kind", ["vae", "none"])
def test_no_codes(kind: str) -> None:
    made, latents = bottleneck(kind), latents_of()
    codes = torch.zeros(3, 3, 40, dtype=torch.int64)
    for refused in (
        lambda: made.encode(latents),
        lambda: made.decode(codes),
        lambda: made.observe(latents, codes),
    ):
        with pytest.raises(ConfigError, match=f"'{kind}' bottleneck has no codes"):
            refused()


@pytest.mark.parametrize("kind", ["lattice", "vae", "none"])
def test_nothing_to_wait_for_has_no_substitute(kind: str) -> None:
    made, latents = bottleneck(kind), latents_of()
    noise = torch.randn(latents.shape, generator=seeded(2))
    stages = torch.tensor([1, 2, 3])
    assert torch.equal(made.substitute_noise(latents, stages, noise), made(latents, stages, noise).latents)


@pytest.mark.parametrize(
    ("kind", "stages", "bits"),  # a value of latents
    [
        ("rvq", 2, 2 * 3 / 6),
        ("product", 1, 3 * 3 / 6),
        ("tree", 3, 3 * math.log2(5) / 6),
        ("hierarchical", 4, 4 * 3 / 12),
    ],
)
def test_substituted_noise_has_the_power_of_the_bits(kind: str, stages: int, bits: float) -> None:
    latents = latents_of(2, 4000)
    noise = bottleneck(kind).substitute_noise(latents, torch.tensor([stages, stages])) - latents
    expected = latents.square().mean() / (2 ** (2 * bits) - 1)
    torch.testing.assert_close(noise.square().mean(), expected, rtol=0.03, atol=0)


# Learning


@pytest.mark.parametrize("kind", CODED)
def test_statistics_of_parts_add_up(kind: str) -> None:
    made, latents = bottleneck(kind), latents_of(6)
    codes = made(latents).codes
    made.generator.manual_seed(3)
    whole = made.observe(latents, codes)
    sums = [torch.zeros_like(tensor) for tensor in whole]
    for part, (x, y) in enumerate(zip(latents.chunk(3), codes.chunk(3), strict=True)):
        made.generator.manual_seed(3)
        sums = [a + b for a, b in zip(sums, made.observe(x, y, part, 3), strict=True)]
    for added, all_at_once in zip(sums, whole, strict=True):
        torch.testing.assert_close(added, all_at_once, rtol=1e-5, atol=1e-5)
    assert whole.used.sum() == codes.numel()
    assert torch.equal(whole.perplexity, Statistics(*sums).perplexity)
    assert whole.perplexity.shape == (CONFIGS[kind].num_stages,)


@pytest.mark.parametrize("kind", LEARNT)
def test_codebooks_follow_the_latents(kind: str) -> None:
    made, latents = bottleneck(kind), 1.5 * latents_of(6, 80)
    made.decay = 0.8
    before = distortion(made, latents)
    for step in range(30):
        made.generator.manual_seed(step)
        made.learn(made.observe(latents, made(latents).codes))
    assert distortion(made, latents) < 0.9 * before


@pytest.mark.parametrize("kind", LEARNT)
def test_initialisation_is_drawn_from_the_generator(kind: str) -> None:
    first, again = bottleneck(kind), bottleneck(kind)
    assert all(map(torch.equal, first.state_dict().values(), again.state_dict().values()))
    assert all((book.counts.sum() > 0) and book.vectors.isfinite().all() for book in first.books)


@pytest.mark.parametrize("kind", KINDS)
def test_learning_by_gradient(kind: str) -> None:
    made, plain, latents = bottleneck(kind), bottleneck(kind), latents_of()
    names = set(made.state_dict())
    made.learn_by_gradient()
    made.learn_by_gradient()  # which changes nothing any more
    assert set(made.state_dict()) == names
    assert made.code_vectors == plain.code_vectors
    out, expected = made(latents.requires_grad_(), None, torch.zeros_like(latents)), plain(latents)
    if kind not in LEARNT:
        assert out.losses.keys() == expected.losses.keys()
        return
    assert torch.equal(out.codes, expected.codes)
    torch.testing.assert_close(out.losses["commitment"], expected.losses["commitment"])
    [gradient] = torch.autograd.grad(out.losses["codebook"], latents, retain_graph=True, allow_unused=True)
    if kind != "hierarchical":  # whose codebooks learn from what its linear layers make of the latents
        torch.testing.assert_close(out.losses["codebook"], expected.losses["commitment"])
    assert gradient is None
    vectors = [book.vectors for book in made.books]
    grads = torch.autograd.grad(out.losses["commitment"], vectors, retain_graph=True, allow_unused=True)
    assert all(gradient is None for gradient in grads)
    out.losses["codebook"].backward()
    for book in made.books:
        used = book.vectors.grad.abs().sum(1) > 0
        assert used.any()
    stepped = torch.optim.SGD(vectors, lr=1.0)
    before = made(latents).losses["codebook"].item()
    stepped.step()
    assert made(latents).losses["codebook"].item() < before


def test_gradients_leave_counting_and_replacing_to_statistics() -> None:
    made = with_vectors(ResidualVQ(1, 3, 1), [[0.0], [1.0], [100.0]])
    made.learn_by_gradient()
    latents = torch.tensor([[[0.2, 0.3, 0.9]]])
    made.decay, made.usage_threshold = 0.5, 0.6
    made.learn(made.observe(latents, made(latents).codes))
    [book] = made.books
    assert book.vectors[:2].flatten().tolist() == [0.0, 1.0]
    assert book.vectors[2].item() in latents.flatten().tolist()
    assert isinstance(book.vectors, torch.nn.Parameter)
    torch.testing.assert_close(book.counts[:2], torch.tensor([1.5, 1.0]))


# Worked examples


def test_a_worked_example_of_vq_vae() -> None:
    made = with_vectors(VectorQuantizer(2, 2), [[1.0, 2.0], [2.0, 3.0]])
    made.learn_by_gradient()
    out = made(torch.tensor([[[1.5], [2.7]]]))
    assert out.codes.tolist() == [[[1]]]
    torch.testing.assert_close(out.latents, torch.tensor([[[2.0], [3.0]]]))
    sums = {name: 2 * loss.item() for name, loss in out.losses.items()}  # of two dimensions, where ours are means
    assert sums["codebook"] == pytest.approx(0.34, abs=1e-6)
    assert 0.25 * sums["commitment"] == pytest.approx(0.085, abs=1e-6)


def test_a_worked_example_of_a_residual_quantized_vae() -> None:
    made = with_vectors(ResidualVQ(2, 2, 2), [[2.0, 3.0], [3.0, 4.0]], [[0.2, 0.5], [0.5, 0.7]])
    made.learn_by_gradient()
    latents = torch.tensor([[[2.3], [3.7]]])
    codes = made.encode(latents)
    assert codes.flatten().tolist() == [0, 1]  # the first stage is a tie: the lower index
    torch.testing.assert_close(made.decode(codes), torch.tensor([[[2.5], [3.7]]]))
    first = made(latents, torch.tensor([1]))
    both = made(latents, torch.tensor([2]))
    torch.testing.assert_close(both.latents, torch.tensor([[[2.5], [3.7]]]))
    for name, weight, expected in (("codebook", 1.0, (0.58, 0.04)), ("commitment", 0.25, (0.145, 0.01))):
        one = 2 * first.losses[name].item()  # of two dimensions, where ours are means
        two = 4 * both.losses[name].item() - one  # of two dimensions and two stages
        assert (weight * one, weight * two) == pytest.approx(expected, abs=1e-6)


# Product


def test_product_groups_are_quantized_alone() -> None:
    made = GroupedVQ(2, 2, 4)
    with_vectors(made, [[2.0, 3.0], [4.0, 5.0]], [[6.0, 6.0], [8.0, 8.0]])
    latents = torch.tensor([[2.1, 3.4, 8.1, 7.7], [4.2, 5.1, 5.7, 6.2]]).T[None]
    out = made(latents, torch.tensor([1]))  # all groups, whatever is asked for
    assert out.codes.tolist() == [[[0, 1], [1, 0]]]
    torch.testing.assert_close(out.latents[0].T, torch.tensor([[2.0, 3.0, 8.0, 8.0], [4.0, 5.0, 6.0, 6.0]]))
    assert out.losses["commitment"].item() == pytest.approx((0.17 + 0.1 + 0.05 + 0.13) / 8, rel=1e-4)


# Lattice


@pytest.mark.parametrize("levels", [2, 3, 4, 5, 8])
def test_lattice_reaches_every_level_and_no_other(levels: int) -> None:
    made = FiniteScalarQuantizer(1, levels, 1)
    latents = torch.linspace(-9, 9, 1000)[None, None]
    out = made(latents)
    assert out.codes.unique().tolist() == list(range(levels))
    torch.testing.assert_close(out.latents.unique(), torch.linspace(-1, 1, levels), atol=1e-6, rtol=0)
    assert (out.codes.flatten().diff() >= 0).all()
    torch.testing.assert_close(-out.latents.flip(-1), out.latents)


def test_lattice_rounds_to_the_nearest_level() -> None:
    made, latents = bottleneck("lattice"), latents_of()
    points = torch.tensor([-1.0, 0.0, 1.0])
    nearest = (1.001 * latents.tanh()[..., None] - points).abs().argmin(-1)
    torch.testing.assert_close(made(latents).latents, points[nearest])


def test_lattice_packs_the_first_value_highest() -> None:
    made = FiniteScalarQuantizer(2, 3, 4)
    levels = torch.tensor(list(itertools.product(range(3), repeat=4)))  # [vector, dim]
    latents = (5.0 * (levels - 1)).T[None]
    codes = made.encode(latents)
    assert torch.equal(codes[0].T, torch.stack([3 * levels[:, 0] + levels[:, 1], 3 * levels[:, 2] + levels[:, 3]], 1))
    torch.testing.assert_close(made.decode(codes)[0].T, levels - 1.0)


def test_lattice_gradients_are_those_of_the_bound() -> None:
    made, latents = bottleneck("lattice"), latents_of().requires_grad_()
    made(latents).latents.sum().backward()
    torch.testing.assert_close(latents.grad, 1.001 * (1 - latents.detach().tanh().square()))
    assert not list(made.parameters()) and not made.state_dict()


# Tree


def tree() -> TreeVQ:
    """Two levels of two children on a line; greedy search errs where a leaf reaches over the middle."""
    made = TreeVQ(2, 2, 1)
    with_vectors(made, [[-1.0], [1.0]], [[-2.0], [0.6], [0.9], [2.0]])
    return made


def test_tree_goes_down_from_child_to_child() -> None:
    latents = torch.tensor([[[-3.0, -0.1, 0.5, 3.0]]])
    codes = tree().encode(latents)
    assert codes.tolist() == [[[0, 0, 1, 1], [0, 1, 0, 1]]]
    torch.testing.assert_close(tree().decode(codes), torch.tensor([[[-2.0, 0.6, 0.9, 2.0]]]))
    torch.testing.assert_close(tree().decode(codes[:, :1]), torch.tensor([[[-1.0, -1.0, 1.0, 1.0]]]))


def test_tree_search_is_full_with_a_wide_beam() -> None:
    assert tree().encode(torch.tensor([[[0.5]]]), effort=2).flatten().tolist() == [0, 1]
    made, latents = bottleneck("tree"), latents_of()
    leaves = made.books[-1].vectors
    best = torch.cdist(latents.mT.double(), leaves.double()).argmin(-1)  # [batch, frame]
    made_wide = made._search(latents.mT.flatten(0, 1), None, 25)[:, -1]
    assert torch.equal(made_wide.reshape(best.shape), best)
    assert not torch.equal(made.encode(latents), made.encode(latents, effort=16))


def test_tree_nodes_are_means_of_what_passes() -> None:
    made, latents = bottleneck("tree"), latents_of()
    made.decay, made.usage_threshold = 0.0, 0.0
    codes = made(latents).codes
    made.learn(made.observe(latents, codes))
    x, path = latents.mT.flatten(0, 1), codes.mT.flatten(0, 1)
    for level, book in enumerate(made.books):
        for node in range(0, 5 ** (level + 1), 7):
            digits = [node // 5**place % 5 for place in range(level, -1, -1)]
            members = x[(path[:, : level + 1] == torch.tensor(digits)).all(1)]
            if len(members):
                torch.testing.assert_close(book.vectors[node], members.mean(0), rtol=1e-3, atol=1e-4)


def test_a_dead_node_splits_its_most_used_sibling() -> None:
    made = tree()
    made.books[1].counts.copy_(torch.tensor([0.0, 8.0, 3.0, 3.0]))
    made._replace_dead(made.books[1], torch.full((4, 1), 10.0))
    torch.testing.assert_close(made.books[1].vectors, torch.tensor([[0.6 + 0.02 * 9.4], [0.6], [0.9], [2.0]]))
    assert made.books[1].counts.tolist() == [4.0, 4.0, 3.0, 3.0]
    torch.testing.assert_close(made.books[1].sums[:2], 4 * made.books[1].vectors[:2])


def test_a_tree_grows_where_few_vectors_come() -> None:
    made = TreeVQ(3, 4, 2)
    made.initialise(latents_of(1, 10, 2))  # ten vectors for 64 leaves
    assert all(book.vectors.isfinite().all() for book in made.books)
    assert distortion(made, latents_of(1, 10, 2)) < 1e-3


def test_a_tree_of_one_level_is_a_codebook() -> None:
    made, plain = TreeVQ(1, 20, 6), VectorQuantizer(20, 6)
    for quantizer in (made, plain):
        quantizer.initialise(latents_of(8, 100))
    assert torch.equal(made.encode(latents_of()), plain.encode(latents_of()))


# Two time scales


def two_scales() -> HierarchicalQuantizer:
    made = bottleneck("hierarchical")
    assert isinstance(made, HierarchicalQuantizer)
    return made


def test_coarse_codes_stand_for_both_frames() -> None:
    made, latents = two_scales(), latents_of()
    pairs = torch.cat([latents[..., 0::2], latents[..., 1::2]], dim=1)  # [batch, 2 * dim, pair]
    coarse = made.down(pairs.mT).mT
    codes = made.encode(latents)
    assert torch.equal(codes[:, :2], made.coarse.encode(coarse))
    predicted = made.up(made.coarse.decode(codes[:, :2]).mT).mT
    for half in (0, 1):
        left = latents[..., half::2] - predicted[:, 6 * half : 6 * half + 6]
        assert torch.equal(codes[:, 2 + half :: 2], made.fine.encode(left))
        found = made.decode(codes)[..., half::2]
        expected = predicted[:, 6 * half : 6 * half + 6] + made.fine.decode(codes[:, 2 + half :: 2])
        torch.testing.assert_close(found, expected)


def test_linear_layers_begin_as_principal_components() -> None:
    made, latents = two_scales(), latents_of(8, 100, seed=4)
    pairs = latents.mT.reshape(-1, 12)
    torch.testing.assert_close(made.down.weight @ made.down.weight.T, torch.eye(6), atol=1e-5, rtol=0)
    left = (made.up(made.down(pairs)) - pairs).square().sum(1).mean()
    variances = torch.linalg.eigvalsh(torch.cov(pairs.T, correction=0))
    torch.testing.assert_close(left, variances[:6].sum(), rtol=1e-4, atol=0)


def test_gradients_reach_the_linear_layers_and_the_latents() -> None:
    made = two_scales()
    for stages, straight in ((1, False), (2, False), (6, True)):
        latents = latents_of().requires_grad_()
        out = made(latents, torch.full((3,), stages))
        weights = torch.randn(latents.shape, generator=seeded(1))
        down, x = torch.autograd.grad((out.latents * weights).sum(), [made.down.weight, latents], retain_graph=True)
        assert torch.allclose(x, weights, atol=1e-5) is straight  # nothing between them once fine stages are in use
        assert (down.abs().max() > 1e-3) is not straight or straight
        for gradient in torch.autograd.grad(out.losses["commitment"], [made.down.weight, made.up.weight]):
            assert gradient.abs().max() > 0


# Gaussian


def test_divergence_by_hand() -> None:
    made, latents = VariationalBottleneck(6), latents_of()
    x = latents.mT.flatten(0, 1)
    mean, log_variance = made.mean(x), made.log_variance(x)
    normal = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    expected = torch.distributions.kl_divergence(normal, torch.distributions.Normal(0.0, 1.0)).mean()
    torch.testing.assert_close(made(latents).losses["divergence"], expected)


def test_samples_in_training_and_the_mean_otherwise() -> None:
    made, latents = VariationalBottleneck(6), latents_of(2, 8000)
    mean = made.mean(latents.mT).mT
    deviation = (0.5 * made.log_variance(latents.mT)).exp().mT
    made.generator.manual_seed(2)
    white = (made(latents).latents - mean) / deviation
    assert white.mean().abs() < 0.02
    torch.testing.assert_close(white.std(), torch.tensor(1.0), rtol=0.02, atol=0)
    noise = torch.randn(latents.shape, generator=seeded(3))
    torch.testing.assert_close(made(latents, None, noise).latents, mean + deviation * noise)
    torch.testing.assert_close(made.eval()(latents).latents, mean)


def test_extreme_variances_stay_finite() -> None:
    made = VariationalBottleneck(2)
    torch.nn.init.constant_(made.log_variance.bias, 1e4)
    out = made(torch.zeros(1, 2, 5))
    assert out.latents.isfinite().all() and out.losses["divergence"].isfinite()


# The whole model


@pytest.mark.parametrize("kind", KINDS)
def test_the_model_trains(kind: str) -> None:
    torch.manual_seed(0)
    model = codec_of(kind).model.train().requires_grad_()
    model.quantizer.learn_by_gradient()
    waveform = torch.from_numpy(voice(1.2, RATE, seed=2))[None, None].repeat(4, 1, 1)
    stages = torch.tensor([1, model.config.num_stages, 2, model.config.num_stages]).clamp_max(model.config.num_stages)
    out = model(waveform, stages)
    losses = sum(out.quantized.losses.values(), torch.zeros(()))
    (out.waveform.square().sum() + losses).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


# Files and streams


def test_a_file_comes_back(codec: Codec, tmp_path: Path) -> None:
    encoded = codec.encode(VOICE, stages=codec.num_stages)
    kind = codec.config.bottleneck
    assert encoded.kind == encoded.header.kind == kind
    assert encoded.codes.shape == (1, codec.num_stages, codec.config.num_frames(len(VOICE)))
    encoded.save(tmp_path / "sound.vq")
    again = Encoded.load(tmp_path / "sound.vq")
    assert again.kind == kind
    assert np.array_equal(again.codes, encoded.codes)
    sound = codec.decode(again)
    assert sound.shape == (1, len(VOICE))
    assert np.array_equal(sound, codec.decode(encoded))
    bits = codec.num_stages * codec.config.bits_per_code * encoded.codes.shape[-1]
    assert 0 <= len(encoded.to_bytes()) - bits / 8 < 70


@pytest.mark.parametrize("samples", [1, 19, 20, 21, 39, 40, 41, 777])
def test_lengths(codec: Codec, samples: int) -> None:
    assert codec.decode(codec.encode(VOICE[:samples])).shape == (1, samples)


@pytest.mark.parametrize("block_frames", [1, 3, 50])
def test_streams_equal_the_whole(codec: Codec, block_frames: int) -> None:
    whole = codec.encode(VOICE, stages=codec.num_stages)
    waveform = codec.decode(whole)
    encoder = codec.encoder(stages=codec.num_stages, block_frames=block_frames)
    pieces = [encoder.push(piece[None]) for piece in np.array_split(VOICE, 7)]
    codes = np.concatenate([*pieces, encoder.flush()], axis=-1)
    assert codes.shape == whole.codes.shape
    assert np.mean(codes == whole.codes) > 0.99  # another size of blocks may round differently
    decoder = codec.decoder(block_frames=block_frames, num_samples=len(VOICE))
    parts = [decoder.push(part) for part in np.array_split(whole.codes, 9, axis=-1)]
    np.testing.assert_allclose(np.concatenate([*parts, decoder.flush()], -1), waveform, atol=1e-4)


def test_the_same_blocks_give_the_same_codes(codec: Codec) -> None:
    whole = codec.encode(VOICE, stages=codec.num_stages).codes
    encoder = codec.encoder(stages=codec.num_stages)
    pieces = [encoder.push(piece[None]) for piece in np.array_split(VOICE, 11)]
    assert np.array_equal(np.concatenate([*pieces, encoder.flush()], axis=-1), whole)


def test_latency_is_what_the_stream_takes(codec: Codec) -> None:
    encoder = codec.encoder(block_frames=1)
    assert encoder.push(VOICE[None, : codec.hop_length - 1]).shape[-1] == 0
    assert encoder.push(VOICE[None, codec.hop_length - 1 : codec.hop_length]).shape[-1] == 1
    assert codec.latency == pytest.approx((codec.config.delay + codec.hop_length) / RATE)


def test_peeling(codec: Codec) -> None:
    encoded = codec.encode(VOICE, stages=codec.num_stages, effort=1)
    data, most = encoded.to_bytes(), codec.num_stages
    for stages in range(1, most):
        out = io.BytesIO()
        reader = bitstream.Reader(io.BytesIO(data), "in.vq")
        if codec.config.bottleneck in WITH_PREFIXES:
            bitstream.peel(reader, out, stages)
            assert out.getvalue() == codec.encode(VOICE, stages=stages, effort=1).to_bytes()
            assert encoded.with_stages(stages).to_bytes() == out.getvalue()
            assert np.array_equal(codec.decode(out.getvalue()), codec.decode(data, stages=stages))
        else:
            with pytest.raises(ConfigError, match="stand side by side"):
                bitstream.peel(reader, out, stages)
            with pytest.raises(ConfigError, match="stand side by side"):
                encoded.with_stages(stages)
            for refused in (
                lambda stages=stages: codec.encode(VOICE, stages=stages),
                lambda: codec.decode(data, stages=1),
            ):
                with pytest.raises(ConfigError, match=f"{most} stages, always all of them"):
                    refused()
            with pytest.raises(CorruptFile, match=f"{most} to {most} stages"):
                codec.decode(encoded.codes[:, :stages])
    assert np.array_equal(encoded.with_stages(most).codes, encoded.codes)


def test_bad_codes(codec: Codec) -> None:
    codes = codec.encode(VOICE, stages=codec.num_stages).codes.copy()
    for wrong in (-2, codec.codebook_size):
        codes[0, -1, 5] = wrong
        with pytest.raises(CorruptFile, match=f"have {codec.codebook_size} entries"):
            codec.decode(codes)


def test_a_header_of_another_kind(codec: Codec) -> None:
    encoded = codec.encode(VOICE, stages=codec.num_stages)
    own = codec.config.bottleneck
    for kind in set(CODED) - {own}:
        with pytest.raises(CorruptFile, match=f"codes of kind {kind}, but those of its model are of kind {own}"):
            header = dataclasses.replace(encoded.header, kind=kind)
            codec.decode(dataclasses.replace(encoded, header=header).to_bytes())
    start = bytearray(encoded.to_bytes())
    start[5] = 0xF0
    start[30:32] = binascii.crc_hqx(bytes(start[:30]), 0xFFFF).to_bytes(2, "little")
    with pytest.raises(UnsupportedVersion, match="codes of kind 15"):
        codec.decode(bytes(start))


def test_a_header_of_too_few_stages() -> None:
    codec = codec_of("product")
    encoded = codec.encode(VOICE)
    header = dataclasses.replace(encoded.header, stages=2)
    fewer = Encoded(codes=encoded.codes[:, :2], header=header)
    with pytest.raises(CorruptFile, match="2 stages, but the model has 3"):
        codec.decode(fewer.to_bytes())


@pytest.mark.parametrize("kind", UNCODED)
def test_a_model_without_codes_refuses(kind: str, tmp_path: Path) -> None:
    codec = codec_of(kind)
    message = rf"the model small has no codes: its bottleneck is '{kind}'; it cannot write .vq files"
    for refused in (
        lambda: codec.encode(VOICE),
        lambda: codec.encode(VOICE, stages=1),
        lambda: codec.encode_file(tmp_path / "in.wav", tmp_path / "out.vq"),
        lambda: codec.decode(np.zeros((1, 3, 9), np.int64)),
        codec.encoder,
        codec.decoder,
    ):
        with pytest.raises(ConfigError, match=message):
            refused()
    assert codec.bitrates == ()
    assert not list(tmp_path.iterdir())


# Model files


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_file_comes_back(kind: str, tmp_path: Path) -> None:
    codec, path = codec_of(kind), tmp_path / "model.safetensors"
    codec.model.quantizer.learn_by_gradient()
    fingerprint = checkpoint.save(path, codec.model)
    again = checkpoint.load(path)
    assert again.config == codec.config
    assert registry.describe(path).fingerprint == fingerprint == checkpoint.fingerprint_of(again)
    stored = {name: tensor.half().float() for name, tensor in codec.model.state_dict().items()}
    for name, tensor in again.state_dict().items():
        assert name.endswith((".counts", ".sums")) or torch.equal(tensor, stored[name]), name
    if codec.config.has_codes:
        encoded = Codec(again).encode(VOICE)
        assert np.array_equal(Codec.load(path, "cpu", "float32").decode(encoded), Codec(again).decode(encoded))


def test_fingerprints_tell_kinds_apart() -> None:
    models = {kind: codec_of(kind).model for kind in KINDS}
    assert len({checkpoint.fingerprint_of(model) for model in models.values()}) == len(models)
    lattice = models["lattice"]
    other = Autoencoder(dataclasses.replace(lattice.config, lattice_levels=9, num_stages=6))
    other.load_state_dict(lattice.state_dict())
    assert checkpoint.fingerprint_of(other) != checkpoint.fingerprint_of(lattice)


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_file_that_cannot_hold_its_configuration(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    checkpoint.save(path, codec_of(kind).model)
    config = registry.describe(path).config
    checkpoint._check_size(config, path.stat().st_size, path)
    field = "encoder_width" if kind == "lattice" else "latent_dim"  # which codes of 16 bits keep small there
    huge = dataclasses.replace(config, **{field: 15_360})
    with pytest.raises(CorruptFile, match="cannot hold"):
        checkpoint._check_size(huge, path.stat().st_size, path)


def test_large_codebooks_are_searched_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    book = Codebook(50, 4)
    book.vectors.copy_(torch.randn(50, 4, generator=seeded(1)))
    x = torch.randn(33, 4, generator=seeded(2))
    whole = book.nearest(x)
    monkeypatch.setattr("vqcodec.models.search._CPU_SCORES", 350)
    assert torch.equal(book.nearest(x), whole)
