"""How the next tokens are chosen from their distribution: one pure function each, in one table.

A strategy looks at each row alone. Beam search, which compares rows, is in `beam`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from torch import Tensor

from wenmo.decoding.noise import gumbel
from wenmo.decoding.params import Sampling

Strategy: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""``strategy(logp, keys)``: from processed log-probabilities, float32 (rows, vocab_size), and a key
for each row's noise at this position of its text, int64 (rows,), the token that each row writes,
int64 (rows,).
"""


def greedy(logp: Tensor, keys: Tensor) -> Tensor:
    """Take the likeliest token; of equal ones, the lowest id."""
    return logp.argmax(1)  # argmax returns the first of equal values


def sample(logp: Tensor, keys: Tensor) -> Tensor:
    """Draw from the distribution: the largest of log-probability plus Gumbel noise.

    The Gumbel-max trick: Gumbel (1954); see Maddison et al. (2014), *A\\* Sampling*, section 2.
    """
    return (logp + gumbel(keys, logp.shape[1])).argmax(1)


STRATEGIES: dict[str, Strategy] = {"greedy": greedy, "sample": sample}
"""By the ``method`` of `Sampling`."""


def strategy_of(sampling: Sampling) -> Strategy:
    """The strategy of a request; to sample at temperature 0 is greedy."""
    return STRATEGIES["greedy" if sampling.greedy else sampling.method]
