"""Several text automata at once, without the dead ends that they have together.

Each automaton knows by itself how a text can be completed; what all of them allow may still lead
nowhere, as a phrase of five characters where three are left. The product looks ahead: a character
is allowed only if a search finds a completion behind it.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Collection, Hashable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

from wenmo.text.automaton import CharacterSet, Classes, HasClasses, Redirection, TextAutomaton

MAX_SEARCH = 30_000  # states that a search looks at before it gives up
MAX_CACHED = 200_000  # states of which something is kept
OTHERS = "\ue000\uf8ff\U000f0000"  # one of them stands for the characters that no text has

State: TypeAlias = tuple[Hashable, ...]


@runtime_checkable
class HasPrompt(Protocol):
    """An automaton to which the text before its own makes a difference."""

    def start_after(self, prompt: str) -> Hashable:
        """The state at the beginning of a text that continues a prompt."""
        ...


class Branches(NamedTuple):
    """Where a text can go on.

    Attributes:
        characters: that every automaton allows.
        classes: those of them that lead to the same state each, and that state.
        others: the state after all the others; None: there are no others.
    """

    characters: CharacterSet
    classes: list[tuple[frozenset[str], State]]
    others: State | None

    def states(self) -> Iterator[State]:
        """All states that can follow."""
        yield from (state for _, state in self.classes)
        if self.others is not None:
            yield self.others


class Product:
    """A text that several automata accept.

    The search looks at one character of each class (`HasClasses`), or at every character where an
    automaton has no classes.

    Args:
        automata: at least one.
        alphabet: the characters that can be written; None: all.
    """

    def __init__(
        self, automata: Sequence[TextAutomaton], alphabet: Collection[str] | None = None
    ) -> None:
        self.automata = tuple(automata)
        self.alphabet = None if alphabet is None else frozenset(alphabet)
        self._classes_of = [
            each.classes if isinstance(each, HasClasses) else None for each in self.automata
        ]
        self.start: State = tuple(each.start for each in self.automata)
        self._distances: dict[State, float] = {}
        self._branches: dict[State, Branches] = {}

    def start_after(self, prompt: str) -> State:
        """The state at the beginning of a text that continues a prompt."""
        return tuple(
            each.start_after(prompt) if isinstance(each, HasPrompt) else each.start
            for each in self.automata
        )

    def is_possible(self, state: State) -> bool:
        """Whether a text that has come so far can be completed, and the search finds out how."""
        return self.distance(state) < math.inf

    def allowed(self, state: State) -> CharacterSet:
        """The characters after which the text can still be completed."""
        (characters, negated), classes, others = self._branch(state)
        good: frozenset[str] = frozenset()
        bad: frozenset[str] = frozenset()
        for members, after in classes:
            if self.distance(after) < math.inf:
                good |= members
            else:
                bad |= members
        if others is None or self.distance(others) == math.inf:
            return CharacterSet(good)
        if not bad:
            return CharacterSet(characters, negated)
        return CharacterSet(characters | bad if negated else characters - bad, negated)

    def advance(self, state: State, character: str) -> State:
        """The state after a character that is allowed."""
        return tuple(
            automaton.advance(own, character)
            for automaton, own in zip(self.automata, state, strict=True)
        )

    def may_end(self, state: State) -> bool:
        """Whether every automaton lets the text end."""
        return all(each.may_end(own) for each, own in zip(self.automata, state, strict=True))

    def remaining(self, state: State) -> tuple[int, float]:
        """The least and the most characters until the text may end."""
        least, most = self._bounds(state)
        distance = self.distance(state)
        return (int(distance) if distance < math.inf else least), most

    def classes(self, state: State) -> Classes:
        """The characters that lead to the same state."""
        return tuple(members for members, _ in self._branch(state).classes)

    def missing(self, state: State) -> int:
        """The least number of characters that the goals of each automaton need, summed up."""
        return sum(automaton.missing(own) for automaton, own in self._with_goals(state))

    def advancing(self, state: State) -> frozenset[str]:
        """The characters that some goal needs next."""
        return frozenset().union(*(each.advancing(own) for each, own in self._with_goals(state)))

    def _with_goals(self, state: State) -> Iterator[tuple[Any, Hashable]]:
        pairs = zip(self.automata, state, strict=True)
        return ((each, own) for each, own in pairs if hasattr(each, "advancing"))

    def redirected(self, state: State) -> Redirection | None:
        """The first redirection of an automaton to what all of them allow."""
        for automaton, own in zip(self.automata, state, strict=True):
            found = automaton.redirected(own) if hasattr(automaton, "redirected") else None
            if found is not None:
                to = found.to
                if self.allowed(state).admits(to) if to else self.may_end(state):
                    return Redirection(found.characters, to)
        return None

    def distance(self, state: State) -> float:
        """The least number of characters until the text may end; inf: no way was found.

        A* (Hart, Nilsson & Raphael 1968) with the largest of the automata's own least numbers as
        the estimate. What is found holds for all states on the way.
        """
        if state not in self._distances:
            if len(self._distances) > MAX_CACHED:
                self._distances.clear()
            self._search(state)
        return self._distances[state]

    def _search(self, start: State) -> None:
        parents: dict[State, State | None] = {start: None}
        lengths = {start: 0}
        queue = [(self._estimate(start), 0, 0, start)]  # estimate of the whole, -length, tie-break
        ties = 0
        for _ in range(MAX_SEARCH):
            if not queue:  # nothing that can be reached is an end
                self._distances.update(dict.fromkeys(parents, math.inf))
                return
            estimate, negative, _, state = heapq.heappop(queue)
            length = -negative
            if length > lengths[state] or estimate == math.inf:
                continue
            known = 0 if self.may_end(state) else self._distances.get(state)
            if known is not None:
                self._keep(state, known, parents)
                return
            for after in self._branch(state).states():
                if length + 1 < lengths.get(after, math.inf):
                    parents[after], lengths[after] = state, length + 1
                    ties += 1
                    whole = length + 1 + self._estimate(after)
                    heapq.heappush(queue, (whole, -length - 1, ties, after))
        self._distances[start] = math.inf

    def _keep(
        self, state: State | None, distance: float, parents: dict[State, State | None]
    ) -> None:
        while state is not None:
            self._distances[state] = distance
            state, distance = parents[state], distance + 1

    def _estimate(self, state: State) -> float:
        """A lower bound on the distance; inf where lengths contradict each other."""
        if state in self._distances:
            return self._distances[state]
        least, most = self._bounds(state)
        return least if least <= most else math.inf

    def _bounds(self, state: State) -> tuple[int, float]:
        own = [each.remaining(part) for each, part in zip(self.automata, state, strict=True)]
        return max(least for least, _ in own), min(most for _, most in own)

    def _branch(self, state: State) -> Branches:
        if state not in self._branches:
            if len(self._branches) > MAX_CACHED:
                self._branches.clear()
            self._branches[state] = self._find_branches(state)
        return self._branches[state]

    def _find_branches(self, state: State) -> Branches:
        pairs = zip(self.automata, state, strict=True)
        common = self._common([each.allowed(own) for each, own in pairs])
        usable = common.characters if not common.negated else self.alphabet
        given = tuple(
            tuple(map(frozenset, sorted(usable or ()))) if classes_of is None else classes_of(own)
            for classes_of, own in zip(self._classes_of, state, strict=True)
        )
        classes = []
        refined, in_classes = refine(given)
        for members in refined:
            writable = members if self.alphabet is None else members & self.alphabet
            allowed = (
                writable - common.characters if common.negated else writable & common.characters
            )
            if allowed:
                classes.append((allowed, self.advance(state, next(iter(allowed)))))
        others: Collection[str] = OTHERS if usable is None else usable
        other = next((c for c in others if c not in in_classes and common.admits(c)), None)
        return Branches(common, classes, None if other is None else self.advance(state, other))

    def _common(self, sets: Sequence[CharacterSet]) -> CharacterSet:
        """The characters in all of the sets."""
        excluded = frozenset().union(*(each.characters for each in sets if each.negated))
        included = [each.characters for each in sets if not each.negated]
        if not included:
            return CharacterSet(excluded, negated=True)
        usable = included if self.alphabet is None else [*included, self.alphabet]
        smallest, *others = sorted(usable, key=len)
        return CharacterSet(smallest.intersection(*others) - excluded)


@lru_cache(maxsize=1024)
def refine(partitions: tuple[Classes, ...]) -> tuple[Classes, frozenset[str]]:
    """The sets of characters that no partition tells apart, without those that are in no set; and
    all characters of sets.
    """
    refined: list[frozenset[str]] = []
    for members in (members for classes in partitions for members in classes):
        split: list[frozenset[str]] = []
        rest = members
        for part in refined:
            common = part & members
            split += [each for each in (common, part - common if common else part) if each]
            rest = rest - common if common else rest
        refined = [*split, rest] if rest else split
    return tuple(refined), frozenset().union(*refined)
