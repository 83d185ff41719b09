from __future__ import annotations

import math

import torch

from wenmo.decoding.noise import fold_in, gumbel, hash_bits, uniform
from wenmo.decoding.strategies import greedy, sample

MASK = 2**64 - 1


def chi_square_holds(counts: torch.Tensor, expected: torch.Tensor) -> bool:
    """The statistic lies within five standard deviations of what chance gives it."""
    statistic = float(((counts - expected) ** 2 / expected).sum())
    freedom = counts.numel() - 1
    return statistic < freedom + 5 * math.sqrt(2 * freedom)


def splitmix(seed: int, count: int) -> list[int]:
    """SplitMix64 on unbounded integers."""
    outputs = []
    for number in range(1, count + 1):
        z = (seed + number * 0x9E3779B97F4A7C15) & MASK
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        outputs.append(z ^ (z >> 31))
    return outputs


def test_the_noise_is_splitmix64() -> None:
    assert splitmix(1234567, 2) == [6457827717110365317, 3203168211198807973]  # published values
    for seed in (0, 1, 1234567, 2**63 - 1):
        outputs = splitmix(seed, 20)
        expected = torch.tensor([(x >> 11) / 2**53 for x in outputs])
        torch.testing.assert_close(uniform(torch.tensor([seed]), 20)[0], expected)


def test_mix_is_one_to_one_on_what_it_is_given() -> None:
    assert len(set(hash_bits(torch.arange(-500, 500)).tolist())) == 1000
    seeds, numbers = torch.meshgrid(torch.arange(30), torch.arange(30), indexing="ij")
    assert len(set(fold_in(seeds, numbers).flatten().tolist())) == 900


def test_noise_is_uniform_and_inside_the_open_interval() -> None:
    noise = uniform(fold_in(torch.tensor(7), torch.arange(200)), 500)
    assert noise.min() > 0
    assert noise.max() < 1
    counts = torch.histc(noise, bins=50, min=0, max=1)
    assert chi_square_holds(counts, torch.full((50,), noise.numel() / 50))
    assert gumbel(torch.arange(200), 500).isfinite().all()


def test_noise_at_neighbouring_places_seeds_and_tokens_is_independent() -> None:
    places = uniform(fold_in(torch.tensor(3), torch.arange(400)), 200)
    seeds = uniform(fold_in(torch.arange(400), torch.tensor(3)), 200)
    pairs = [(places[1:], places[:-1]), (seeds[1:], seeds[:-1]), (places[:, 1:], places[:, :-1])]
    for a, b in pairs:
        cells = (a * 10).long() * 10 + (b * 10).long()
        counts = torch.bincount(cells.flatten(), minlength=100).float()
        assert chi_square_holds(counts, torch.full((100,), a.numel() / 100))


def test_sampled_frequencies_are_the_probabilities() -> None:
    p = torch.tensor([0.4, 0.0, 0.3, 0.2, 0.07, 0.03])
    rows = 20_000
    keys = fold_in(torch.tensor(0), torch.arange(rows))
    counts = torch.bincount(sample(p.log().expand(rows, -1), keys), minlength=6).float()
    assert counts[1] == 0
    assert chi_square_holds(counts[p > 0], p[p > 0] * rows)


def test_a_row_draws_the_same_alone_and_among_others() -> None:
    logp = torch.randn(50, 300, generator=torch.Generator().manual_seed(1)).log_softmax(1)
    keys = fold_in(torch.arange(50), torch.arange(50))
    together = sample(logp, keys).tolist()
    alone = [int(sample(logp[[i]], keys[[i]])) for i in range(50)]
    assert together == alone


def test_greedy_takes_the_lowest_of_equal_ids() -> None:
    logp = torch.tensor([[-2.0, -1.0, -1.0], [-1.0, -1.0, -3.0]])
    assert greedy(logp, torch.zeros(2).long()).tolist() == [1, 0]
