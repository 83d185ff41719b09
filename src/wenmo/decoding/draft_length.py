"""How many tokens a draft should propose: so many that the text is written soonest.

Nothing here decides what is written: any number gives the same text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np

Kind: TypeAlias = tuple[str, int]
"""The name of a draft, and the evidence of its proposal."""

MAX_PROPOSED = 16
DECAY = 0.995  # of what was counted and measured, at each step
PRIOR_RATE, PRIOR_TRIALS = 0.5, 2.0  # of acceptance, before anything is known
MIN_GAIN = 1.03  # in tokens a second, below which nothing is proposed
SHARED_TRIALS = 4.0  # that the rate of all texts counts as, for one text
MAX_LOSS = 0.01  # share of the time that speculation may lose
CALIBRATION = 64  # steps with a draft, after which one without is measured


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is known of a row's proposal before it is verified.

    Attributes:
        text: any object that lives as long as the text.
        kind: of the draft, and its evidence.
        length: the number of proposed tokens.
        certain: how many of the first a constraint forces, so that they are accepted.
        unread: the number of tokens that are read before them.
    """

    text: object
    kind: Kind
    length: int
    certain: int
    unread: int = 1


class DraftLength(Protocol):
    """Decides how many tokens are proposed and verified."""

    def ask(self, rows: int) -> int:
        """How many tokens drafts should propose in this step; 0: they are not asked."""
        ...

    def choose(self, rows: int, outlooks: Sequence[Outlook]) -> int:
        """How many tokens of each proposal should be verified at most."""
        ...

    def observe_proposals(self, outlooks: Sequence[Outlook], accepted: Sequence[int]) -> None:
        """Count how many tokens of each proposal, of the verified length, were accepted."""
        ...

    def observe_step(
        self, rows: int, tokens: int, written: int, seconds: float, drafting: float
    ) -> None:
        """Count a step.

        Args:
            tokens: the largest number that a row read.
            written: the number of tokens that all rows wrote.
            seconds: of the step, without the drafts.
            drafting: the seconds of the drafts.
        """
        ...


@dataclass(slots=True)
class _Rate:
    """A share of accepted tokens, of which older ones count less."""

    accepted: float = 0.0
    tried: float = 0.0
    step: int = 0

    def value(self, step: int, prior: float, trials: float) -> float:
        """The mean, with a prior that counts as so many trials."""
        weight = DECAY ** (step - self.step)
        return (self.accepted * weight + prior * trials) / (self.tried * weight + trials)

    def observe(self, step: int, accepted: int, tried: int) -> None:
        weight = DECAY ** (step - self.step)
        self.accepted = self.accepted * weight + accepted
        self.tried = self.tried * weight + tried
        self.step = step


class StepCosts:
    """The seconds of a step, by the number of rows and of tokens that each reads."""

    def __init__(self) -> None:
        self._seconds: dict[int, dict[int, float]] = {}

    def observe(self, rows: int, tokens: int, seconds: float) -> None:
        """Follow the quick steps sooner than the slow ones, which something else disturbed."""
        known = self._seconds.setdefault(rows, {})
        before = known.get(tokens, seconds)
        gain = 0.5 if seconds < before else 0.1
        known[tokens] = before + gain * (min(seconds, 2 * before) - before)

    def longest(self, rows: int) -> int:
        """The largest number of tokens that was measured; 0: none was."""
        return max(self._seconds.get(rows, {}), default=0)

    def estimate(self, rows: int, tokens: int) -> float:
        """Interpolated, without a step that takes longer than one that reads more. What is longer
        than all that were measured is taken to be as quick as the longest, so that it is tried.
        """
        lengths, seconds = zip(*sorted(self._seconds[rows].items()), strict=True)
        rising = np.minimum.accumulate(seconds[::-1])[::-1]
        return float(np.interp(tokens, lengths, rising))


class AdaptiveLength:
    """The length that writes the most tokens a second, by measured costs and acceptance.

    A proposal of k tokens of which each is accepted with probability α gives 1 + α + ... + αᵏ
    tokens in one step (Leviathan et al. 2023, equation 1); the step costs what such steps took. α
    is counted for each text and each kind of evidence. Where drafts have lost `MAX_LOSS` of the
    time, they are not asked until it is regained.
    """

    def __init__(self) -> None:
        self._costs = StepCosts()
        self._shared: dict[Kind, _Rate] = {}
        self._own: WeakKeyDictionary[object, dict[Kind, _Rate]] = WeakKeyDictionary()
        self._step = 0
        self._asked = 0  # steps since the last without a draft
        self._length = 2
        self._spent = self._saved = 0.0  # seconds, of which older ones count less

    def ask(self, rows: int) -> int:
        """See `DraftLength.ask`."""
        self._step += 1
        loses = self._saved < -MAX_LOSS * self._spent
        if loses or self._asked >= CALIBRATION or not self._costs.longest(rows):
            self._asked = 0
            return 0
        self._asked += 1
        return min(MAX_PROPOSED, self._length + 2)

    def choose(self, rows: int, outlooks: Sequence[Outlook]) -> int:
        """See `DraftLength.choose`."""
        longest_known = self._costs.longest(rows)
        if not longest_known:
            return max((each.certain for each in outlooks), default=0)
        rates = [self._rate(each) for each in outlooks]
        unread = max((each.unread for each in outlooks), default=1)

        def speed(length: int) -> float:
            tokens = sum(
                _expected(rate, each.certain, min(length, each.length))
                for each, rate in zip(outlooks, rates, strict=True)
            )
            seconds = self._costs.estimate(rows, unread + length)
            return (tokens + rows - len(outlooks)) / seconds

        longest = max((each.length for each in outlooks), default=0)
        chosen = max(range(min(longest, 2 * longest_known) + 1), key=speed)
        if speed(chosen) < MIN_GAIN * speed(0):
            chosen = 0
        if longest:
            self._length = max(2, chosen)
        return chosen

    def observe_proposals(self, outlooks: Sequence[Outlook], accepted: Sequence[int]) -> None:
        """See `DraftLength.observe_proposals`."""
        for each, count in zip(outlooks, accepted, strict=True):
            tried = min(count + 1, each.length) - each.certain
            if tried > 0:
                own = self._own.setdefault(each.text, {})
                for rates in (self._shared, own):
                    rate = rates.setdefault(each.kind, _Rate())
                    rate.observe(self._step, count - each.certain, tried)

    def observe_step(
        self, rows: int, tokens: int, written: int, seconds: float, drafting: float
    ) -> None:
        """See `DraftLength.observe_step`."""
        self._costs.observe(rows, tokens, seconds)
        self._spent = DECAY * self._spent + seconds + drafting
        gained = self._costs.estimate(rows, 1) * written / rows - seconds - drafting
        self._saved = DECAY * self._saved + (gained if self._asked else 0.0)

    def _rate(self, outlook: Outlook) -> float:
        shared = self._shared.get(outlook.kind, _Rate())
        own = self._own.get(outlook.text, {}).get(outlook.kind, _Rate())
        prior = shared.value(self._step, PRIOR_RATE, PRIOR_TRIALS)
        return own.value(self._step, prior, SHARED_TRIALS)


@dataclass(frozen=True)
class FixedLength:
    """Always the same length."""

    length: int

    def ask(self, rows: int) -> int:
        """See `DraftLength.ask`."""
        return self.length

    def choose(self, rows: int, outlooks: Sequence[Outlook]) -> int:
        """See `DraftLength.choose`."""
        return max((each.length for each in outlooks), default=0)

    def observe_proposals(self, outlooks: Sequence[Outlook], accepted: Sequence[int]) -> None:
        """Nothing is adapted."""

    def observe_step(
        self, rows: int, tokens: int, written: int, seconds: float, drafting: float
    ) -> None:
        """Nothing is adapted."""


def _expected(rate: float, certain: int, length: int) -> float:
    """The expected number of tokens of a step with a proposal of this length."""
    certain = min(certain, length)
    return 1 + certain + sum(rate**power for power in range(1, length - certain + 1))
