"""Beam search: look for the texts with the best score.

The score of a finished text is its total log-probability over a penalty of its length, END counted:
length^a (``power``) or ((5 + length) / 6)^a (``gnmt``), where a is ``length_penalty``. Added to it
is ``coverage_penalty`` times the sum over the source of log(min(attention received, 1)): Wu et al.
(2016), *Google's Neural Machine Translation System*, equation 14.

A token contributes its log-probability under the model after the logits processors, which are
applied to log-probabilities and not normalised again. Where they only forbid tokens, a total is the
log-probability of the text under the model itself.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from wenmo.decoding.params import Sampling
from wenmo.decoding.search.banks import share_out
from wenmo.decoding.search.base import Candidates, Hypothesis, Text
from wenmo.types import END


class Child(NamedTuple):
    """A live text with one more token, and the row of the live text."""

    row: int
    token: int
    text: Text
    missing: int = 0


class BeamSearch:
    """The beam search of one request.

    At each step END finishes a copy of every live text, and the best other continuations of all
    live texts continue, as many as the beam is wide. At ``limit`` tokens they are finished, too.
    The best finished texts are kept, as many as the beam is wide. The search is over when no live
    text can become one of them, even if all its further tokens had probability 1.

    A live text that cannot is dropped at once. This changes no result: live texts have the same
    length, so the scores they can reach depend on their totals alone, and a text that takes the
    place of a dropped one has a smaller total and is dropped as well.

    The greedy text is followed to its end even where it falls out of the beam, in an additional
    row, so the best text never has a lower score than the greedy one. A beam of width 1 writes the
    greedy text only.

    With groups (Vijayakumar et al. 2018, *Diverse Beam Search*, section 4, Hamming diversity) each
    group has a fraction of the width, its own finished texts and its own end. The groups choose in
    turn, and a token costs ``diversity_penalty`` for each time that an earlier group chose it at
    this step. The cost affects the choice, not the scores.

    Args:
        sampling: the settings of the beam.
        limit: the largest number of tokens of a text.
    """

    def __init__(self, sampling: Sampling, limit: int) -> None:
        self._sampling = sampling
        self._limit = limit
        self._max_gain = _max_gain_of(sampling, limit)
        groups = sampling.beam_groups if sampling.beam_width > 1 or sampling.draws else 0
        width = sampling.beam_width // sampling.beam_groups
        self._groups = [Group(width, self._best_possible_score) for _ in range(groups)]
        self._texts = [Text()]  # one for each row
        self._greedy: int | None = 0  # the row of the greedy text
        self._finished_greedy: list[Hypothesis] = []  # the greedy text, once it is finished

    def step(self, candidates_of: Sequence[Candidates]) -> list[tuple[int, int]]:
        """Take the candidates of each row; return each (row, token) that continues, if any does."""
        rows: list[tuple[int, int]] = []
        texts: list[Text] = []
        chosen: Counter[int] = Counter()
        for group in self._groups:
            for row in group.live:
                self._finish_with_end(group, row, candidates_of[row])
            children = self._children(group, candidates_of, chosen)
            first = len(rows)
            for row, token, text, missing in children:
                if len(text.tokens) == self._limit:
                    group.keep(self._hypothesis(text, candidates_of[row], missing))
                elif group.may_keep(text):
                    rows.append((row, token))
                    texts.append(text)
            group.live = range(first, len(rows))
            chosen.update(child.token for child in children)
        self._continue_greedy(candidates_of, rows, texts)
        self._texts = texts
        return rows

    def best(self, n: int) -> list[Hypothesis]:
        """The n best texts, best first; fewer where the search found fewer."""
        finished = [each for group in self._groups for each in group.finished]
        finished += self._finished_greedy
        finished.sort(key=_rank)
        distinct: dict[tuple[int, ...], Hypothesis] = {}
        for hypothesis in finished:
            distinct.setdefault(hypothesis.text.tokens, hypothesis)
        return list(distinct.values())[:n]

    def _finish_with_end(self, group: Group, row: int, candidates: Candidates) -> None:
        gain, logprob = candidates.end
        if gain > -math.inf:
            group.keep(self._hypothesis(self._texts[row].then(END, gain, logprob), candidates))

    def _children(
        self, group: Group, candidates_of: Sequence[Candidates], chosen: Counter[int]
    ) -> list[Child]:
        """The children that the group chooses; of equal ones, the first row and token."""
        ranked = []
        for row in group.live:
            candidates, total = candidates_of[row], self._texts[row].total
            seen = {END}  # and tokens that are there twice, since some goal needs them
            for index, token in enumerate(candidates.tokens):
                gain = candidates.gains[index]
                if token not in seen and gain > -math.inf:
                    seen.add(token)
                    cost = self._sampling.diversity_penalty * chosen[token] if chosen else 0.0
                    ranked.append((cost - (total + gain), row, token, index))
        ranked.sort()
        if any(each.missing for each in candidates_of):
            missing = [self._missing(candidates_of[row], index) for _, row, _, index in ranked]
            ranked = share_out(ranked, missing)
        return [
            self._child(row, index, candidates_of) for _, row, _, index in ranked[: group.width]
        ]

    def _child(self, row: int, index: int, candidates_of: Sequence[Candidates]) -> Child:
        """The text of a row with the candidate of an index."""
        candidates = candidates_of[row]
        token = candidates.tokens[index]
        text = self._texts[row].then(token, candidates.gains[index], candidates.logprobs[index])
        return Child(row, token, text, self._missing(candidates, index))

    @staticmethod
    def _missing(candidates: Candidates, index: int) -> int:
        return candidates.missing[index] if candidates.missing else 0

    def _continue_greedy(
        self, candidates_of: Sequence[Candidates], rows: list[tuple[int, int]], texts: list[Text]
    ) -> None:
        """Continue the greedy text: in the row that holds it, or else in an additional one."""
        if self._greedy is None:
            return
        row, self._greedy = self._greedy, None
        candidates = candidates_of[row]
        if candidates.gains[0] == -math.inf:
            return
        token = candidates.tokens[0]
        text = self._texts[row].then(token, candidates.gains[0], candidates.logprobs[0])
        best = max((each.finished[0].score for each in self._groups if each.is_met), default=None)
        if token == END or len(text.tokens) == self._limit:
            missing = 0 if token == END else self._missing(candidates, 0)
            self._finished_greedy = [self._hypothesis(text, candidates, missing)]
        elif (row, token) in rows:
            self._greedy = rows.index((row, token))
        elif best is None or self._best_possible_score(text) > best:
            self._greedy = len(rows)
            rows.append((row, token))
            texts.append(text)

    def _hypothesis(self, text: Text, candidates: Candidates, missing: int = 0) -> Hypothesis:
        score = text.total / self._length_penalty(len(text.tokens))
        score += self._sampling.coverage_penalty * candidates.coverage
        return Hypothesis(text, score, missing=missing)

    def _best_possible_score(self, text: Text) -> float:
        """An upper bound on the score of every finished text that begins with this one."""
        length = len(text.tokens)
        total = text.total + self._max_gain * (self._limit - length)
        return total / self._length_penalty(self._limit if total <= 0 else length + 1)

    def _length_penalty(self, length: int) -> float:
        base = length if self._sampling.length_penalty_form == "power" else (5 + length) / 6
        return float(base**self._sampling.length_penalty)


@dataclass(slots=True)
class Group:
    """A group of the beam: the rows of its live texts, and the best finished texts."""

    width: int
    best_possible_score: Callable[[Text], float]
    live: Sequence[int] = (0,)
    finished: list[Hypothesis] = field(default_factory=list)

    def keep(self, finished: Hypothesis) -> None:
        """Insert a finished text by its score; of equal ones, the earlier comes first."""
        self.finished.append(finished)
        self.finished.sort(key=_rank)
        del self.finished[self.width :]

    @property
    def is_met(self) -> bool:
        """Whether some finished text has met everything."""
        return bool(self.finished) and not self.finished[0].missing

    def may_keep(self, text: Text) -> bool:
        """Whether a text that begins with this one can become one of the best."""
        return (
            len(self.finished) < self.width
            or self.finished[-1].missing > 0
            or self.best_possible_score(text) > self.finished[-1].score
        )


def _rank(hypothesis: Hypothesis) -> tuple[int, float]:
    """What finished texts are sorted by: those that have met everything come first."""
    return hypothesis.missing, -hypothesis.score


def _max_gain_of(sampling: Sampling, limit: int) -> float:
    """The most that the logits processors can add to the log-probability of a token."""
    bias = max((amount for _, amount in sampling.logit_bias), default=0.0)
    reward = -sampling.presence_penalty, -sampling.frequency_penalty * limit
    raised = max(0.0, bias) / min(1.0, sampling.repetition_penalty)
    return raised + sum(max(0.0, amount) for amount in reward)
