"""Constraints that leave something to chance, which a text's seed draws."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

from wenmo.decoding.constraints.automaton import AutomatonConstraint, AutomatonTable, TextState
from wenmo.decoding.constraints.product import Product
from wenmo.text.automaton import TextAutomaton
from wenmo.types import WenmoError
from wenmo.verse.form import VerseAutomaton

MAX_DRAWS = 100  # of what a form leaves open, until one fits the other constraints
STRIDE = 0x9E3779B9  # between the seeds of these draws


class FormConstraint(AutomatonConstraint):
    """A poem that is being written; its seed draws what the form leaves open.

    Args:
        table: of the form's automaton, or of a product with it.
        draw: the state of an empty poem, by the seed.
    """

    def __init__(self, table: AutomatonTable, draw: Callable[[int], Hashable]) -> None:
        super().__init__(table, TextState(draw(0)))
        self._draw = draw

    def draw(self, seed: int) -> FormConstraint:
        """The same for a poem with another seed."""
        return FormConstraint(self._table, lambda _: self._draw(seed))


class ConstrainedForm:
    """Poems of a form that meet other constraints, too.

    Args:
        form: the automaton of the form.
        others: the automata of the other constraints.
        alphabet: the characters that can be written; None: all.
        prompt: that the texts continue.

    Attributes:
        automaton: of all of them.
    """

    def __init__(
        self,
        form: VerseAutomaton,
        others: Sequence[TextAutomaton],
        alphabet: frozenset[str] | None,
        prompt: str,
    ) -> None:
        self._form = form
        self._product = Product([form, *others], alphabet) if others else None
        self._others = self._product.start_after(prompt)[1:] if self._product else ()
        self.automaton: TextAutomaton = self._product or form

    def draw(self, seed: int) -> Hashable:
        """The state of an empty text, with what the form leaves open drawn by a seed. What does not
        fit the other constraints is drawn again.

        Raises:
            WenmoError: nothing that was drawn fits.
        """
        if self._product is None:
            return self._form.draw(seed)
        for attempt in range(MAX_DRAWS):
            state = (self._form.draw(seed + attempt * STRIDE), *self._others)
            if self._product.is_possible(state):
                return state
        raise WenmoError("form: no poem meets the other constraints: change one of them")
