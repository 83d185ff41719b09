"""Beam search: of the texts that a model can write, look for those of the best score.

The score of a finished text is its total log-probability over a norm of its length, END counted:
length^a (``power``) or ((5 + length) / 6)^a (``gnmt``), a being ``length_penalty``. To it comes
``coverage_penalty`` times the sum over the source of log(min(attention given, 1)): Wu et al.
(2016), *Google's Neural Machine Translation System*, equation 14.

A token's share of the total is its log-probability under the model after the warps, which are
applied to log-probabilities and not normalised again. Where they only forbid, a total is therefore
the log-probability of the text under the model itself.

The search knows no model: it is given what each of its rows may write next, and says which rows go
on and with what.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from wenmo.decoding.params import Sampling
from wenmo.types import END

UNSEEN = 1e-10
"""A place of the source counts as having had so much attention at least: log 0 is no score."""


class Candidates(NamedTuple):
    """What one row may write next.

    Attributes:
        tokens: the `candidates` of the row; the first is its likeliest token.
        gains: what each adds to the text's total; −inf forbids it.
        logprobs: the log-probability of each under the model itself.
        end: gain and log-probability of END.
        coverage: the row's `covered`; 0 where nobody asks.
    """

    tokens: Sequence[int]
    gains: Sequence[float]
    logprobs: Sequence[float]
    end: tuple[float, float]
    coverage: float = 0.0


class Text(NamedTuple):
    """What was written so far, each token's own log-probability, and what it is ranked by."""

    tokens: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    total: float = 0.0

    def then(self, token: int, gain: float, logprob: float) -> Text:
        """The text with one more token."""
        return Text((*self.tokens, token), (*self.logprobs, logprob), self.total + gain)


class Hypothesis(NamedTuple):
    """A finished text and its score."""

    text: Text
    score: float


def candidates(gains: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """What of each row a beam of this width must look at: tokens, int64 (rows, width + 1), and the
    gain of each, float32, which is −inf where there are not so many.

    They are the likeliest, the first of which is the one that a greedy choice would take. More are
    not needed: at most one of them is END, which leaves ``width`` others, and no row has more
    children than that. Nor do groups need more: each takes its share of the width, and the groups
    before it have made at most the rest of the width's tokens worse.
    """
    best = gains.argmax(1, keepdim=True)
    others = gains.scatter(1, best, -math.inf).topk(min(width, gains.shape[1] - 1), dim=1)
    tokens = torch.cat([best, others.indices], 1)
    return tokens, torch.cat([gains.gather(1, best), others.values], 1)


def covered(coverage: Tensor, lengths: Tensor) -> Tensor:
    """The sum over the source of log(min(attention given, 1)), float64 (rows,); never above 0.

    Args:
        coverage: the attention that each place was given, float32 (rows, source time).
        lengths: how many places of each row hold a token of its source, int64 (rows,).
    """
    places = torch.arange(coverage.shape[1], device=coverage.device)
    given = coverage.double().clamp(UNSEEN, 1.0).masked_fill(places >= lengths[:, None], 1.0)
    return given.log().sum(1)


class Search:
    """The beam search of one request.

    At each step the END of every live text makes a finished one, and the best other continuations
    of all live texts, as many as the beam is wide, go on. At ``limit`` tokens they are finished,
    too. The best finished texts are kept, as many as the beam is wide. The search is over when no
    live text could come to be among them, even if it were to write on at no cost.

    A live text for which that holds is dropped at once, which changes no result: the live texts
    are of one length, so what they could reach depends on their totals alone, and whatever would
    take the place of one that is dropped has a smaller total, and is dropped as well.

    The greedy text is followed to its end even where it falls out of the beam, in a row of its own
    that takes no other's place. The best text found never has a smaller score. A beam of one writes
    the greedy text and nothing else.

    With groups (Vijayakumar et al. 2018, *Diverse Beam Search*, section 4, Hamming diversity) each
    has its share of the width, its own finished texts and its own end. They choose in turn, and a
    token costs ``diversity`` for each time that a group before chose it at this step. Only the
    choice heeds that cost; scores do not.

    Args:
        sampling: the settings of the beam.
        limit: the most tokens of a text.
    """

    def __init__(self, sampling: Sampling, limit: int) -> None:
        self._sampling = sampling
        self._limit = limit
        self._most = _most_gain(sampling, limit)
        groups = sampling.beam_groups if sampling.beam_width > 1 else 0
        share = sampling.beam_width // sampling.beam_groups
        self._groups = [_Group(share, self._reach) for _ in range(groups)]
        self._texts = [Text()]  # one for each row
        self._greedy: int | None = 0  # the row of the greedy text
        self._escorted: list[Hypothesis] = []  # the greedy text, once it is finished

    def step(self, offers: Sequence[Candidates]) -> list[tuple[int, int]]:
        """Take what each row may write; return the (row, token) that go on, none at the end."""
        rows: list[tuple[int, int]] = []
        texts: list[Text] = []
        chosen: Counter[int] = Counter()
        for group in self._groups:
            for row in group.live:
                self._finish_with_end(group, row, offers[row])
            children = self._children(group, offers, chosen)
            first = len(rows)
            for row, token, text in children:
                if len(text.tokens) == self._limit:
                    group.keep(self._found(text, offers[row]))
                elif group.may_keep(text):
                    rows.append((row, token))
                    texts.append(text)
            group.live = range(first, len(rows))
            chosen.update(token for _, token, _ in children)
        self._escort(offers, rows, texts)
        self._texts = texts
        return rows

    def best(self, n: int) -> list[Hypothesis]:
        """The n best texts, the best first; fewer where the search found fewer."""
        found = [found for group in self._groups for found in group.found] + self._escorted
        found.sort(key=lambda one: -one.score)
        distinct = {one.text.tokens: one for one in reversed(found)}
        return [one for one in found if distinct[one.text.tokens] is one][:n]

    def _finish_with_end(self, group: _Group, row: int, offer: Candidates) -> None:
        gain, logprob = offer.end
        if gain > -math.inf:
            group.keep(self._found(self._texts[row].then(END, gain, logprob), offer))

    def _children(
        self, group: _Group, offers: Sequence[Candidates], chosen: Counter[int]
    ) -> list[tuple[int, int, Text]]:
        """The (row, token, text) that the group chooses; of equal ones, the first row and token."""
        ranked = []
        for row in group.live:
            offer, total = offers[row], self._texts[row].total
            for place, token in enumerate(offer.tokens):
                gain = offer.gains[place]
                if token != END and gain > -math.inf:
                    cost = self._sampling.diversity_penalty * chosen[token] if chosen else 0.0
                    ranked.append((cost - (total + gain), row, token, place))
        ranked.sort()
        children = []
        for _, row, token, place in ranked[: group.width]:
            offer = offers[row]
            text = self._texts[row].then(token, offer.gains[place], offer.logprobs[place])
            children.append((row, token, text))
        return children

    def _escort(
        self, offers: Sequence[Candidates], rows: list[tuple[int, int]], texts: list[Text]
    ) -> None:
        """Let the greedy text go on: with the row that holds it, or else in one of its own."""
        if self._greedy is None:
            return
        row, self._greedy = self._greedy, None
        offer = offers[row]
        token = offer.tokens[0]
        text = self._texts[row].then(token, offer.gains[0], offer.logprobs[0])
        best = max((group.found[0].score for group in self._groups if group.found), default=None)
        if token == END or len(text.tokens) == self._limit:
            self._escorted = [self._found(text, offer)]
        elif (row, token) in rows:
            self._greedy = rows.index((row, token))
        elif best is None or self._reach(text) > best:
            self._greedy = len(rows)
            rows.append((row, token))
            texts.append(text)

    def _found(self, text: Text, offer: Candidates) -> Hypothesis:
        score = text.total / self._length_penalty(len(text.tokens))
        return Hypothesis(text, score + self._sampling.coverage_penalty * offer.coverage)

    def _reach(self, text: Text) -> float:
        """No finished text that begins with this one has a score above."""
        length = len(text.tokens)
        total = text.total + self._most * (self._limit - length)
        return total / self._length_penalty(self._limit if total <= 0 else length + 1)

    def _length_penalty(self, length: int) -> float:
        base = length if self._sampling.length_penalty_form == "power" else (5 + length) / 6
        return float(base**self._sampling.length_penalty)


@dataclass(slots=True)
class _Group:
    """A share of the beam: the rows of its live texts, and the best of those finished."""

    width: int
    reach: Callable[[Text], float]
    live: Sequence[int] = (0,)
    found: list[Hypothesis] = field(default_factory=list)

    def keep(self, found: Hypothesis) -> None:
        """Put a finished text in its place; of equal ones, the earlier is the better."""
        self.found.append(found)
        self.found.sort(key=lambda one: -one.score)
        del self.found[self.width :]

    def may_keep(self, text: Text) -> bool:
        """Whether a text that begins with this one could come to be kept."""
        return len(self.found) < self.width or self.reach(text) > self.found[-1].score


def _most_gain(sampling: Sampling, limit: int) -> float:
    """The most that the warps can add to the log-probability of one token."""
    bias = max((amount for _, amount in sampling.logit_bias), default=0.0)
    reward = -sampling.presence_penalty, -sampling.frequency_penalty * limit
    raised = max(0.0, bias) / min(1.0, sampling.repetition_penalty)
    return raised + sum(max(0.0, amount) for amount in reward)
