"""Rollouts: texts sampled from a model in training, and the expected reward of their prefixes."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wenmo.models.base import LanguageModel
from wenmo.models.state import select
from wenmo.types import END, Logits, Tokens

JUDGE_BATCH = 2048  # texts


@torch.no_grad()
def write(model: LanguageModel, rows: int, longest: int) -> Tokens:
    """Texts sampled from a model with PyTorch's random generator.

    Args:
        rows: number of texts.
        longest: the most tokens of a text, END included; a text may be cut there.

    Returns:
        int64 (rows, longest), padded with END.
    """
    texts = torch.full((rows, longest), END, device=model.device)
    active = torch.arange(rows, device=model.device)
    state, read = model.initial_state(rows, capacity=longest), texts[:, 0]
    for place in range(longest):
        logits, state = model(read[:, None], state)
        read = draw(logits[:, 0], model.special_tokens.suppressed)
        texts[active, place] = read
        going = (read != END).nonzero()[:, 0]
        if not len(going):
            break
        if len(going) < len(active):
            active, read, state = active[going], read[going], select(state, going)
    return texts


@torch.no_grad()
def values(
    model: LanguageModel, texts: Tokens, samples: int, judge: Callable[[Tokens], Tensor]
) -> Tensor:
    """The expected reward of each token, by Monte-Carlo search (Yu et al. 2017, equation 4): the
    mean reward of ``samples`` texts that the model writes from the prefix up to it; of the last
    token of a text, the reward of the text.

    All prefixes are continued in one batch, so that the model is called once for each position.

    Args:
        texts: int64 (rows, time), padded with END.
        judge: the reward of texts, float32 (rows,).

    Returns:
        float32 (rows, time); zero after a text's END.
    """
    rows, longest = texts.shape
    slots = rows + rows * samples * (longest - 1)
    written = texts.new_full((slots, longest), END)
    written[:rows] = texts
    beginnings = torch.arange(rows * samples, device=texts.device).view(rows, samples)
    # The texts that are still being written, the given ones first, and the state of each.
    active = torch.arange(rows, device=texts.device)
    opening = torch.full((rows, 1), END, device=texts.device)
    _, state = model(opening, model.initial_state(rows, capacity=longest))
    begun = torch.zeros(rows, longest, dtype=torch.bool, device=texts.device)
    for place in range(longest - 1):
        read = written[active, place]
        logits, state = model(read[:, None], state)
        going = (read != END).nonzero()[:, 0]
        given = going[active[going] < rows]
        index = torch.cat([going, given.repeat_interleave(samples)])
        if not len(index):
            break
        begun[active[given], place] = True
        new = (rows + place * rows * samples + beginnings[active[given]]).flatten()
        written[new, : place + 1] = texts[active[given], : place + 1].repeat_interleave(samples, 0)
        active, state = torch.cat([active[going], new]), select(state, index)
        drawn = draw(logits[index, 0], model.special_tokens.suppressed)
        kept = active < rows
        drawn[kept] = texts[active[kept], place + 1]
        written[active, place + 1] = drawn
    finished = begun[:, :-1].T.repeat_interleave(samples, 1).flatten()
    used = torch.cat([torch.ones_like(begun[:, 0]), finished])
    verdicts = texts.new_zeros(slots, dtype=torch.float32)
    verdicts[used] = torch.cat([judge(some) for some in torch.split(written[used], JUDGE_BATCH)])
    found = torch.zeros(rows, longest, device=texts.device)
    found[:, :-1] = verdicts[rows:].view(longest - 1, rows, samples).mean(2).T
    last = (texts != END).sum(1).clamp_max(longest - 1)
    found[torch.arange(rows, device=texts.device), last] = verdicts[:rows]
    return found


def draw(logits: Logits, suppressed: tuple[int, ...]) -> Tensor:
    """Sample a token of each row of logits, (rows, vocabulary), by inversion of the cumulative
    distribution.
    """
    if suppressed:
        logits[:, list(suppressed)] = -torch.inf
    shares = logits.softmax(1).cumsum(1)
    below = (1 - torch.rand(len(logits), 1, device=logits.device)) * shares[:, -1:]  # above 0
    return torch.searchsorted(shares, below)[:, 0]


def relax(
    model: LanguageModel,
    embedding: nn.Embedding,
    rows: int,
    longest: int,
    sharpness: float,
) -> tuple[Tokens, Tensor]:
    """Texts of relaxed tokens, through which gradients pass to the model: at each position
    softmax((logits + Gumbel noise) · sharpness), which is the next input (Jang et al. 2017; RelGAN:
    Nie et al. 2019, section 2.2).

    Args:
        embedding: the token embeddings of the model.
        rows: number of texts.
        longest: the most tokens of a text, END included.
        sharpness: the inverse temperature.

    Returns:
        The most probable tokens, int64 (rows, longest), padded with END, which are samples of the
        model; and the relaxed tokens, float32 (rows, longest, vocabulary).
    """
    state = model.initial_state(rows)
    read = torch.full((rows,), END, device=model.device)
    ended = torch.zeros(rows, dtype=torch.bool, device=model.device)
    nothing = F.one_hot(read, model.vocab_size).float()
    texts, mixtures = [], []
    for _ in range(longest):
        logits, state = model(read[:, None], state)
        scores = logits[:, 0].log_softmax(1)
        if model.special_tokens.suppressed:
            scores = scores.index_fill(
                1, read.new_tensor(model.special_tokens.suppressed), -torch.inf
            )
        noise = -torch.empty_like(scores).exponential_().log()
        shares = ((scores + noise) * sharpness).softmax(1)
        shares = torch.where(ended[:, None], nothing, shares)
        read = shares.argmax(1)
        state = {**state, "steering": shares @ embedding.weight - embedding(read)}
        ended = ended | (read == END)
        texts.append(read)
        mixtures.append(shares)
    return torch.stack(texts, 1), torch.stack(mixtures, 1)
