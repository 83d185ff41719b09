"""How the next tokens are chosen: each strategy is one function of the same form.

``choose(logp, keys)`` is given, for the rows of one kind of request,

- ``logp``: the warped log-probabilities, float32 (rows, vocabulary),
- ``keys``: what each row's noise is drawn from at this place in its text, int64 (rows,),

and returns the token that each row writes, int64 (rows,). Randomness has no hidden state: the noise
is a pure function of seed, place, and token, so a request gets the same text alone, in any batch,
and when it is taken up again. A beam, which looks at several rows at once, is in `beam`.
"""

from __future__ import annotations

from torch import Tensor

from wenmo.decoding.noise import gumbel


def greedy(logp: Tensor, keys: Tensor) -> Tensor:
    """Take the likeliest token; of equal ones, the lowest id."""
    return logp.argmax(1)  # argmax returns the first of equal values


def sample(logp: Tensor, keys: Tensor) -> Tensor:
    """Draw from the distribution: the largest of log-probability plus Gumbel noise.

    The Gumbel-max trick: Gumbel (1954); see Maddison et al. (2014), *A\\* Sampling*, section 2.
    """
    return (logp + gumbel(keys, logp.shape[1])).argmax(1)
