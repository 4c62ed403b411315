"""The residual stack: search, learning, initialisation, dropout and beam."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from vqcodec.models.bottlenecks import Quantized, codebook
from vqcodec.models.bottlenecks.codebook import Codebook, perplexity
from vqcodec.models.bottlenecks.residual import ResidualVQ
from vqcodec.models.config import MAX_EFFORT

DIM = 4


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def codebook_of(vectors: Tensor, counts: Tensor | None = None) -> Codebook:
    """A codebook whose running sums belong to its vectors."""
    book = Codebook(*vectors.shape)
    book.vectors.copy_(vectors)
    book.counts.copy_(torch.ones(len(vectors)) if counts is None else counts)
    book.sums.copy_(book.vectors * book.counts[:, None])
    return book


def stack_of(*codebooks: Tensor) -> ResidualVQ:
    """A stack with these vectors [size, dim], in evaluation mode."""
    rvq = ResidualVQ(len(codebooks), *codebooks[0].shape).eval()
    for book, vectors in zip(rvq.books, codebooks, strict=True):
        book.load_state_dict(codebook_of(vectors).state_dict())
    return rvq


def random_stack(stages: int = 4, size: int = 8, dim: int = DIM, seed: int = 0) -> ResidualVQ:
    """A stack of random vectors, smaller from stage to stage."""
    return stack_of(*(torch.randn(size, dim, generator=seeded(seed + i)) * 0.6**i for i in range(stages)))


def latents_of(batch: int = 3, frames: int = 20, dim: int = DIM, seed: int = 9) -> Tensor:
    """[batch, dim, frame]"""
    return torch.randn(batch, dim, frames, generator=seeded(seed))


def vectors_of(rvq: ResidualVQ) -> list[Tensor]:
    """Each stage's vectors [size, dim]."""
    return [book.vectors for book in rvq.books]


def greedy(rvq: ResidualVQ, latents: Tensor) -> Tensor:
    """Codes [batch, stage, frame] by exhaustive search at every stage, in float64."""
    residual, codes = latents.mT.double(), []
    for vectors in vectors_of(rvq):
        code = torch.cdist(residual, vectors.double()).argmin(-1)
        residual = residual - vectors.double()[code]
        codes.append(code)
    return torch.stack(codes, 1)


def learn(rvq: ResidualVQ, latents: Tensor) -> None:
    """Let the codebooks learn from one batch [batch, dim, frame]."""
    rvq.learn(rvq.observe(latents, rvq(latents).codes))


def update(book: Codebook, x: Tensor, codes: Tensor, decay: float, usage_threshold: float) -> None:
    """Let one codebook learn from x [vector, dim] and its codes; dead codes become vectors out of x."""
    picks = torch.randperm(max(len(x), len(book.vectors)), generator=seeded()) % len(x)
    book.move(*book.assign(x, codes), decay)
    book.replace(book.counts < usage_threshold * book.counts.mean(), x[picks[: len(book.vectors)]])


def error(rvq: ResidualVQ, latents: Tensor, **options: int) -> float:
    return (rvq.decode(rvq.encode(latents, **options)) - latents).square().mean().item()


# Search


def test_nearest_code() -> None:
    book = codebook_of(torch.randn(50, 7, generator=seeded(1)) + 3)
    x = torch.randn(300, 7, generator=seeded(2)) + 3
    codes = book.nearest(x)
    assert codes.dtype == torch.int64
    assert torch.equal(codes, torch.cdist(x.double(), book.vectors.double()).argmin(1))


def test_lowest_code_on_a_tie() -> None:
    book = codebook_of(torch.tensor([[2.0, 0.0], [0.0, 1.0], [0.0, -1.0], [0.0, 1.0], [2.0, 0.0]]))
    x = torch.tensor([[2.0, 0.0], [-1.0, 0.0], [0.0, 3.0], [0.0, -3.0]])
    assert book.nearest(x).tolist() == [0, 1, 1, 2]
    assert stack_of(book.vectors).encode(x.T[None])[0, 0].tolist() == [0, 1, 1, 2]


def test_greedy_search_takes_the_nearest_code_of_every_stage() -> None:
    rvq, latents = random_stack(), latents_of()
    expected = greedy(rvq, latents)
    assert torch.equal(rvq.encode(latents), expected)
    assert torch.equal(rvq.encode(latents, effort=1), expected)
    assert torch.equal(rvq(latents).codes, expected)


@pytest.mark.parametrize("effort", [1, 3, MAX_EFFORT])
def test_codes_are_in_range(effort: int) -> None:
    rvq, latents = random_stack(stages=3, size=6), latents_of()
    codes = rvq.encode(latents, effort=effort)
    assert codes.shape == (3, 3, 20)
    assert codes.dtype == torch.int64
    assert codes.is_contiguous()
    assert codes.min() == 0
    assert codes.max() == 5


@pytest.mark.parametrize("stages", [1, 2, 3, 4])
def test_a_prefix_of_stages_gives_a_prefix_of_codes(stages: int) -> None:
    rvq, latents = random_stack(), latents_of()
    assert torch.equal(rvq.encode(latents, stages), rvq.encode(latents)[:, :stages])


@pytest.mark.parametrize("stages", [1, 2, 4])
def test_decoding_adds_up_the_vectors(stages: int) -> None:
    rvq = random_stack()
    codes = torch.randint(8, (2, stages, 5), generator=seeded(3))
    found = rvq.decode(codes)
    assert found.shape == (2, DIM, 5)
    for item, frame in itertools.product(range(2), range(5)):
        parts = [vectors[codes[item, i, frame]] for i, vectors in enumerate(vectors_of(rvq)[:stages])]
        torch.testing.assert_close(found[item, :, frame], torch.stack(parts).sum(0))


def test_decoding_is_what_training_sees() -> None:
    rvq, latents = random_stack(), latents_of()
    torch.testing.assert_close(rvq.decode(rvq.encode(latents)), rvq(latents).latents, atol=1e-5, rtol=0)


# Beam


def test_a_wide_beam_finds_the_best_of_all() -> None:
    rvq, latents = random_stack(stages=2, size=5), latents_of(frames=40)
    first, second = vectors_of(rvq)
    sums = (first[:, None] + second[None]).flatten(0, 1)  # [pair, dim]
    best = torch.cdist(latents.mT.double(), sums.double()).argmin(-1)  # [batch, frame]
    codes = rvq.encode(latents, effort=5)
    assert torch.equal(codes[:, 0] * 5 + codes[:, 1], best)
    assert not torch.equal(codes, rvq.encode(latents))  # or the greedy search would have done


def test_a_beam_passes_by_the_nearest_first_code() -> None:
    rvq = stack_of(torch.tensor([[0.0], [3.0]]), torch.tensor([[0.0], [-2.0]]))
    latents = torch.tensor([[[1.0]]])
    assert rvq.encode(latents).flatten().tolist() == [0, 0]
    assert rvq.encode(latents, effort=2).flatten().tolist() == [1, 1]  # 3 - 2 = 1


def test_effort_lowers_the_error() -> None:
    rvq, latents = random_stack(stages=6), latents_of(frames=100)
    errors = [error(rvq, latents, effort=effort) for effort in (1, 2, 4, 8, MAX_EFFORT)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.9 * errors[0]


def test_a_beam_may_be_wider_than_there_are_codes() -> None:
    rvq, latents = random_stack(stages=3, size=2), latents_of()
    choices = torch.tensor(list(itertools.product(range(2), repeat=3))).T[None]  # [1, stage, choice]
    sums = rvq.decode(choices)[0].T
    best = torch.cdist(latents.mT.double(), sums.double()).argmin(-1)
    assert torch.equal(rvq.encode(latents, effort=MAX_EFFORT), choices[0].T[best].mT)


@pytest.mark.parametrize("effort", [2, 8])
def test_a_beam_over_many_codes_and_frames(effort: int) -> None:
    """As many as a shipped model has: groups of codes and parts of the frames are searched by themselves."""
    rvq, latents = random_stack(stages=3, size=1024), latents_of(frames=150)
    x = latents.mT.reshape(-1, DIM).double()
    paths, sums = torch.zeros(len(x), 1, 0, dtype=torch.int64), torch.zeros(len(x), 1, DIM).double()
    for vectors in vectors_of(rvq):
        every = sums[:, :, None] + vectors.double()  # [vector, beam, code, dim]
        best = (every - x[:, None, None]).square().sum(-1).flatten(1).topk(effort, largest=False).indices
        parent, code = best // 1024, best % 1024
        sums = every.flatten(1, 2).take_along_dim(best[..., None], 1)
        paths = torch.cat([paths.take_along_dim(parent[..., None], 1), code[..., None]], dim=-1)
    assert torch.equal(rvq.encode(latents, effort=effort), paths[:, 0].reshape(len(latents), 150, 3).mT)


def test_a_beam_takes_any_prefix_of_stages() -> None:
    rvq, latents = random_stack(), latents_of()
    short = stack_of(*vectors_of(rvq)[:2])
    assert torch.equal(rvq.encode(latents, 2, effort=4), short.encode(latents, effort=4))


# Learning


def test_moving_average_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codebook, "SMOOTHING", 0.1)  # large enough to be seen
    counts = torch.tensor([4.0, 1.0, 2.0])
    book = codebook_of(torch.tensor([[1.0, 0.0], [0.0, 2.0], [-1.0, -1.0]]), counts)
    old_sums = book.sums.double().numpy().copy()
    x = torch.tensor([[1.5, 0.5], [0.5, -0.5], [3.0, 1.0], [0.0, 3.0]])
    update(book, x, torch.tensor([0, 0, 0, 1]), decay=0.75, usage_threshold=0.0)

    new_counts = 0.75 * counts.numpy() + 0.25 * np.array([3, 1, 0])
    new_sums = 0.75 * old_sums + 0.25 * np.array([[5.0, 1.0], [0.0, 3.0], [0.0, 0.0]])
    epsilon, total = 0.1 * new_counts.mean(), new_counts.sum()
    smoothed = (new_counts + epsilon) / (total + 3 * epsilon) * total
    np.testing.assert_allclose(book.counts.numpy(), new_counts, rtol=1e-6)
    np.testing.assert_allclose(book.sums.numpy(), new_sums, rtol=1e-6)
    np.testing.assert_allclose(book.vectors.numpy(), new_sums / smoothed[:, None], rtol=1e-6)


def test_smoothing_is_hardly_felt() -> None:
    book = codebook_of(torch.randn(4, DIM, generator=seeded()), torch.tensor([0.5, 1.0, 5.0, 20.0]))
    before = book.vectors.clone()
    x = before[:1]  # a vector that is where its code is already
    update(book, x, torch.tensor([0]), decay=0.99, usage_threshold=0.0)
    torch.testing.assert_close(book.vectors, before, rtol=3e-4, atol=0)


def test_an_unused_code_stays_where_it_is() -> None:
    book = codebook_of(torch.tensor([[1.0, 1.0], [5.0, 5.0], [7.0, 7.0]]), torch.tensor([3.0, 0.0, 3.0]))
    book.vectors[1] = 5.0
    update(book, torch.ones(6, 2), torch.zeros(6, dtype=torch.int64), 0.9, usage_threshold=0.0)
    assert book.vectors[1].tolist() == [5.0, 5.0]
    torch.testing.assert_close(book.vectors[2], torch.tensor([7.0, 7.0]), rtol=1e-4, atol=0)


def test_codes_move_to_the_means_of_their_vectors() -> None:
    rvq = stack_of(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
    centres = torch.tensor([[3.0, 1.0], [-3.0, 1.0]])
    for step in range(60):
        noise = 0.1 * torch.randn(64, 2, generator=seeded(step))
        rvq.decay = 0.9
        learn(rvq, (centres.repeat(32, 1) + noise).T[None])
    torch.testing.assert_close(vectors_of(rvq)[0], centres, atol=0.05, rtol=0)


def test_a_dead_code_becomes_a_live_vector_for_good() -> None:
    book = codebook_of(torch.tensor([[1.0, 0.0], [0.0, 1.0], [50.0, 50.0]]), torch.tensor([20.0, 20.0, 0.5]))
    x = torch.tensor([[1.0, 0.2], [1.2, -0.2], [0.1, 1.0], [-0.2, 0.9]])
    update(book, x, book.nearest(x), decay=0.99, usage_threshold=0.1)
    live = book.vectors[2].clone()
    assert (x == live).all(1).any()
    torch.testing.assert_close(book.sums[2], live * book.counts[2])
    assert book.counts[2] > 0.5 * book.counts.mean()

    far = torch.tensor([[0.0, 9.0]])  # the next steps give it nothing, and leave it where it is
    for _ in range(3):
        update(book, far, book.nearest(far), decay=0.99, usage_threshold=0.1)
    torch.testing.assert_close(book.vectors[2], live, rtol=1e-3, atol=1e-4)


def test_only_dead_codes_are_replaced() -> None:
    counts = torch.tensor([10.0, 1.2, 0.8, 0.0])  # a tenth of the mean, 3, is 0.3
    book = codebook_of(torch.arange(8.0).reshape(4, 2), counts)
    before = book.vectors.clone()
    book.replace(counts < 0.1 * counts.mean(), torch.full((4, 2), 99.0))
    assert torch.equal(book.vectors[:3], before[:3])
    assert torch.equal(book.counts, torch.tensor([10.0, 1.2, 0.8, 3.0]))
    assert torch.equal(book.vectors[3], torch.tensor([99.0, 99.0]))
    assert torch.equal(book.sums[3], torch.tensor([297.0, 297.0]))


@pytest.mark.parametrize(("count", "dies"), [(1.0, False), (0.15, True)])
def test_the_threshold_is_a_share_of_the_mean(count: float, dies: bool) -> None:
    book = codebook_of(torch.tensor([[0.0], [10.0], [20.0]]), torch.tensor([3.0, 3.0, count]))
    x = torch.tensor([[0.0], [10.0]])
    update(book, x, book.nearest(x), decay=0.999, usage_threshold=0.1)
    assert (book.vectors[2] < 15).item() is dies


def test_every_stage_learns_from_what_is_left() -> None:
    first, second = torch.tensor([[10.0, 0.0], [20.0, 0.0]]), torch.tensor([[0.0, 1.0], [0.0, -1.0]])
    rvq = stack_of(first, second)
    rvq.decay = 0.5
    for _ in range(20):
        learn(rvq, torch.tensor([[10.0, 3.0], [10.0, -3.0], [20.0, 3.0], [20.0, -3.0]]).T[None])
    torch.testing.assert_close(vectors_of(rvq)[0], first, atol=1e-2, rtol=0)
    torch.testing.assert_close(vectors_of(rvq)[1], 3 * second, atol=1e-2, rtol=0)


def test_the_same_seed_draws_the_same() -> None:
    def trained(seed: int) -> list[Tensor]:
        rvq = random_stack(size=32)  # more codes than get used
        rvq.usage_threshold = 1.0
        rvq.generator.manual_seed(seed)
        learn(rvq, latents_of())
        return list(rvq.state_dict().values())

    assert all(map(torch.equal, trained(1), trained(1)))
    assert not all(map(torch.equal, trained(1), trained(2)))


def test_codebooks_have_no_gradients() -> None:
    rvq = random_stack().train()
    assert not list(rvq.parameters())
    learn(rvq, latents_of().requires_grad_())
    assert not any(buffer.requires_grad for buffer in rvq.buffers())


def test_quantizing_changes_no_codebook() -> None:
    rvq, before = random_stack().train(), random_stack()
    rvq(latents_of())
    rvq.observe(latents_of(), rvq(latents_of()).codes)
    assert all(map(torch.equal, rvq.state_dict().values(), before.state_dict().values()))


def test_statistics_by_hand() -> None:
    rvq, latents = random_stack(size=5), latents_of()
    seen = rvq.observe(latents, rvq(latents).codes)
    residual = latents.mT.flatten(0, 1)
    assert torch.equal(seen.used, seen.counts.reshape(4, 5))
    for stage, vectors in enumerate(vectors_of(rvq)):
        code = torch.cdist(residual, vectors).argmin(1)
        for index in range(5):
            assert seen.used[stage, index] == (code == index).sum()
            torch.testing.assert_close(
                seen.sums[5 * stage + index], residual[code == index].sum(0), rtol=1e-4, atol=1e-4
            )
        drawn = (seen.live[5 * stage : 5 * stage + 5, None] == residual).all(-1)  # [code, vector]
        assert drawn.any(1).all()
        assert drawn.any(0).sum() == 5  # none of them twice
        residual = residual - vectors[code]


@pytest.mark.parametrize("parts", [2, 3, 6])
def test_statistics_of_parts_add_up(parts: int) -> None:
    rvq, latents = random_stack(size=32), latents_of(6)
    codes = rvq(latents).codes
    rvq.generator.manual_seed(3)
    whole = rvq.observe(latents, codes)
    sums = [torch.zeros_like(tensor) for tensor in whole]
    for part, (x, y) in enumerate(zip(latents.chunk(parts), codes.chunk(parts), strict=True)):
        rvq.generator.manual_seed(3)
        sums = [a + b for a, b in zip(sums, rvq.observe(x, y, part, parts), strict=True)]
    used, counts, totals, live = sums
    assert torch.equal(used, whole.used)
    assert torch.equal(counts, whole.counts)
    assert torch.equal(live, whole.live)  # one part has each of them, so nothing is rounded
    torch.testing.assert_close(totals, whole.sums, rtol=1e-5, atol=1e-5)


def test_fewer_vectors_than_codes_are_drawn_in_turn() -> None:
    rvq, latents = random_stack(size=8), latents_of(1, 3)
    live = rvq.observe(latents, rvq(latents).codes).live[:8]
    times = (live[:, None] == latents[0].T).all(-1).sum(0)
    assert sorted(times.tolist()) == [2, 3, 3]


# Initialisation


def test_k_means_finds_the_clusters() -> None:
    centres = 10 * torch.randn(4, DIM, generator=seeded(1))
    x = centres.repeat_interleave(50, 0) + 0.1 * torch.randn(200, DIM, generator=seeded(2))
    book = Codebook(16, DIM)
    book.initialise(x, seeded(3))
    assert torch.cdist(centres, book.vectors).min(1).values.max() < 0.3
    assert (x - book.vectors[book.nearest(x)]).norm(dim=1).max() < 0.5


def test_k_means_ends_in_means() -> None:
    x = torch.randn(300, DIM, generator=seeded(1))
    book = Codebook(5, DIM)
    book.initialise(x, seeded(2), iterations=100)
    codes = book.nearest(x)
    for code in range(5):
        torch.testing.assert_close(book.vectors[code], x[codes == code].mean(0), rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(book.sums[code], x[codes == code].sum(0), rtol=1e-3, atol=1e-3)
        assert book.counts[code] == (codes == code).sum()


def test_k_means_improves_with_every_iteration() -> None:
    x = torch.randn(400, DIM, generator=seeded(1))
    errors = []
    for iterations in (0, 1, 2, 4, 8):
        book = Codebook(12, DIM)
        book.initialise(x, seeded(2), iterations)
        errors.append((x - book.vectors[book.nearest(x)]).square().mean().item())
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.9 * errors[0]


def test_k_means_repairs_empty_clusters() -> None:
    x = torch.tensor([[0.0, 0.0], [5.0, 0.0], [0.0, 7.0], [9.0, 9.0]]).repeat(20, 1)
    for seed in range(5):  # four draws out of four points hit all of them once in ten times
        book = Codebook(4, 2)
        book.initialise(x, seeded(seed), iterations=40)
        torch.testing.assert_close(book.vectors[book.nearest(x)], x, rtol=1e-4, atol=1e-4)
        assert book.counts.tolist() == [20.0] * 4


def test_k_means_with_fewer_vectors_than_codes() -> None:
    x = torch.randn(5, DIM, generator=seeded(1))
    book = Codebook(8, DIM)
    book.initialise(x, seeded(2))
    torch.testing.assert_close(book.vectors[book.nearest(x)], x, rtol=1e-4, atol=1e-4)
    assert torch.cdist(book.vectors, x).min(1).values.max() < 1e-3
    assert (book.counts > 0).all()


def test_initialisation_lowers_the_error_stage_by_stage() -> None:
    latents = latents_of(4, 150)
    rvq = ResidualVQ(4, 16, DIM).eval()
    rvq.generator.manual_seed(1)
    rvq.initialise(latents)
    errors = [latents.square().mean().item(), *(error(rvq, latents, stages=stages) for stages in (1, 2, 3, 4))]
    assert all(after < 0.7 * before for before, after in itertools.pairwise(errors))


def test_initialisation_uses_true_residuals() -> None:
    x = torch.randn(300, DIM, generator=seeded(1))
    rvq = ResidualVQ(3, 6, DIM)
    rvq.generator.manual_seed(7)
    rvq.initialise(x.T[None], 5)
    generator, residual = seeded(7), x
    for vectors in vectors_of(rvq):
        book = Codebook(6, DIM)
        book.initialise(residual, generator, 5)
        assert torch.equal(vectors, book.vectors)
        residual = residual - vectors[torch.cdist(residual, vectors).argmin(1)]


def test_two_stages_on_four_points() -> None:
    x = torch.tensor([[2.0, 3.0], [3.0, 3.5], [4.0, 5.0], [5.0, 4.5]])
    for seed in range(6):
        rvq = ResidualVQ(2, 2, 2).eval()
        rvq.generator.manual_seed(seed)
        rvq.initialise(x.T[None])
        first, second = (torch.stack(sorted(vectors, key=lambda v: v.tolist())) for vectors in vectors_of(rvq))
        torch.testing.assert_close(first, torch.tensor([[2.5, 3.25], [4.5, 4.75]]), atol=1e-3, rtol=0)
        # What is left are the corners (±0.5, ±0.25); k-means pairs them one way or the other.
        pairings = torch.tensor([[[-0.5, 0.0], [0.5, 0.0]], [[0.0, -0.25], [0.0, 0.25]]])
        assert (pairings - second).abs().amax((1, 2)).min() < 1e-3


# Gradients and dropout


def test_gradients_pass_straight_through() -> None:
    latents = latents_of().requires_grad_()
    out = random_stack()(latents, torch.tensor([1, 4, 2]))
    weights = torch.randn(latents.shape, generator=seeded(4))
    (out.latents * weights).sum().backward()
    torch.testing.assert_close(latents.grad, weights, rtol=0, atol=0)


def test_items_use_their_own_number_of_stages() -> None:
    rvq, latents = random_stack(), latents_of()
    whole = greedy(rvq, latents)
    out: Quantized = rvq(latents, torch.tensor([1, 4, 2]))
    assert torch.equal(out.codes, whole)
    for item, stages in enumerate([1, 4, 2]):
        expected = rvq.decode(whole[item : item + 1, :stages])
        torch.testing.assert_close(out.latents[item : item + 1], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("stages", [None, [1, 4, 2], [4, 4, 4], [1, 1, 1]])
def test_commitment_loss_by_hand(stages: list[int] | None) -> None:
    rvq, latents = random_stack(), latents_of().requires_grad_()
    out = rvq(latents, None if stages is None else torch.tensor(stages))
    out.losses["commitment"].backward()

    x = latents.detach().double()
    loss, gradient, terms = 0.0, torch.zeros_like(x), 0
    for item, used in enumerate(stages or [4, 4, 4]):
        left = x[item].T.clone()  # [frame, dim]
        for vectors, codes in zip(vectors_of(rvq)[:used], out.codes[item], strict=False):
            left = left - vectors[codes].double()
            loss += left.square().sum().item()
            gradient[item] += 2 * left.T
            terms += left.numel()
    assert out.losses["commitment"].item() == pytest.approx(loss / terms, rel=1e-5)
    torch.testing.assert_close(latents.grad, (gradient / terms).float(), rtol=1e-4, atol=1e-7)


# Imitation


def test_substituted_noise_has_the_power_of_the_bits() -> None:
    rvq = ResidualVQ(4, 16, 8)  # half a bit a dimension each
    latents = 3 * latents_of(3, 4000, 8)
    stages = torch.tensor([1, 2, 4])
    noise = rvq.substitute_noise(latents, stages) - latents
    expected = 9 / (2 ** (2 * 0.5 * stages) - 1.0)
    torch.testing.assert_close(noise.square().mean((1, 2)), expected, rtol=0.05, atol=0)
    assert noise.mean((1, 2)).abs().max() < 0.1


def test_substituted_noise_may_be_given() -> None:
    rvq, latents, stages = random_stack(), latents_of(), torch.tensor([1, 4, 2])
    noise = torch.randn(latents.shape, generator=seeded(5))
    rvq.generator.manual_seed(5)
    assert torch.equal(rvq.substitute_noise(latents, stages, noise), rvq.substitute_noise(latents, stages))


def test_substituted_noise_is_drawn_from_the_generator() -> None:
    def drawn(seed: int) -> Tensor:
        rvq = random_stack()
        rvq.generator.manual_seed(seed)
        return rvq.substitute_noise(latents_of(), torch.tensor([1, 4, 2]))

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))


# Perplexity


def test_perplexity_bounds() -> None:
    assert perplexity(torch.full((3, 9), 5), 8).item() == pytest.approx(1)
    assert perplexity(torch.arange(8).repeat(3), 8).item() == pytest.approx(8, rel=1e-5)
    assert perplexity(torch.tensor([[2, 7], [7, 2]]), 8).item() == pytest.approx(2, rel=1e-5)
    skewed = math.exp(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))
    assert perplexity(torch.tensor([0, 0, 0, 1]), 8).item() == pytest.approx(skewed, rel=1e-5)


def test_perplexity_of_every_stage() -> None:
    rvq = stack_of(torch.tensor([[0.0], [10.0]]), torch.tensor([[-1.0], [1.0]]))
    latents = torch.tensor([[[9.0, 11.0, 9.0, 11.0]]])
    seen = rvq.observe(latents, rvq(latents).codes)
    torch.testing.assert_close(seen.perplexity, torch.tensor([1.0, 2.0]))


def test_autocast_changes_no_code() -> None:
    rvq, latents = random_stack(size=64), latents_of(frames=200)
    codes, searched = rvq(latents).codes, rvq.encode(latents, effort=4)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(rvq(latents).codes, codes)
        assert torch.equal(rvq.encode(latents, effort=4), searched)


def test_frames_may_have_their_own_numbers_of_stages() -> None:
    rvq, latents = random_stack(), latents_of()
    counts = torch.randint(0, 5, (3, 20), generator=seeded(3))
    codes, silence = rvq.encode(latents), torch.full((DIM,), 0.5)
    decoded = rvq.decode_varying(codes, counts, silence)
    for item, frame in itertools.product(range(3), range(20)):
        kept = int(counts[item, frame])
        alone = rvq.decode(codes[item : item + 1, :kept, frame : frame + 1]) if kept else silence[None, :, None]
        assert torch.allclose(decoded[item, :, frame], alone[0, :, 0], atol=1e-6)
    without = rvq.decode_varying(codes, counts, torch.zeros(DIM))
    assert torch.equal(rvq(latents, counts).latents, latents + (without - latents))


def test_the_loss_of_varying_frames_is_a_mean_over_the_stages_in_use() -> None:
    rvq, latents = random_stack(), latents_of()
    alike = rvq(latents, torch.tensor([2, 3, 4])).losses["commitment"]
    by_frame = rvq(latents, torch.tensor([2, 3, 4])[:, None].expand(3, 20)).losses["commitment"]
    assert torch.equal(alike, by_frame)
    assert rvq(latents, torch.zeros(3, 20, dtype=torch.int64)).losses["commitment"] == 0


@pytest.mark.parametrize("effort", [1, 3])
def test_endings_are_searched_for_each_number_of_stages(effort: int) -> None:
    rvq, latents = random_stack(), latents_of()
    silence = torch.full((DIM,), 0.5)
    codes, errors = rvq.encode_endings(latents, silence, effort=effort)
    assert codes.shape == (3, 20, 5, 4)
    assert errors.shape == (3, 20, 5)
    assert torch.allclose(errors[..., 0], (latents - silence[:, None]).square().mean(1))
    for ending in range(1, 5):
        found = codes[:, :, ending].mT
        assert torch.equal(found[:, :ending], rvq.encode(latents, ending, effort))
        assert found[:, ending:].eq(0).all()
        assert torch.allclose(
            errors[..., ending], (latents - rvq.decode(found[:, :ending])).square().mean(1), atol=1e-6
        )
    assert torch.equal(rvq.encode_endings(latents, silence, 2, effort)[0], codes[:, :, :3, :2])
