"""What only some models can do: one small protocol for each capability.

A family names its capabilities among its base classes, as in ``class Masked(LanguageModel,
Infills)``. Whoever needs one asks `capability` for it, once, where it is used, and is given the
model itself or ``None``; `has_capability` only tells whether, and `require` is for callers that
know that the model has it. Of a whole family, before any model is built, ``issubclass`` tells the
same.

What some models of a family can do and others cannot, as a Transformer reads a source only with an
encoder, and a mixture has latents only if its network has, is a capability of the class; a model
without it says so in ``lacks``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import ClassVar, Literal, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from wenmo.grammar.sampler import SampledText
from wenmo.models.base import LanguageModel
from wenmo.models.followers import NgramTables
from wenmo.models.posterior import Posterior
from wenmo.types import Batch, Logits, State, Tokens

C = TypeVar("C")
Fraction = Callable[[float], None]
"""Called with the fraction that is done, between 0 and 1."""


def capability(model: object, protocol: type[C]) -> C | None:
    """The model as one that has a capability; ``None`` if it has not."""
    if not isinstance(model, protocol):
        return None
    return None if isinstance(model, MayLack) and model.lacks(protocol) else model


def has_capability(model: object, protocol: type) -> bool:
    """Whether a model has a capability."""
    return capability(model, protocol) is not None


def require(model: object, protocol: type[C]) -> C:
    """The model as one that has a capability.

    Raises:
        TypeError: it has not.
    """
    found = capability(model, protocol)
    if found is None:
        raise TypeError(f"{type(model).__name__} has not the capability {protocol.__name__}")
    return found


def network_of(model: LanguageModel) -> LanguageModel:
    """The network of a mixture of a network and counts; of any other model the model itself."""
    mixture = capability(model, HasMixture)
    return model if mixture is None else mixture.mixture_components().get("network", model)


def baselines_of(model: LanguageModel) -> Mapping[str, LanguageModel]:
    """The generators that a model's results are shown beside, by name."""
    own = capability(model, HasBaselines)
    return {} if own is None else own.baselines()


def parameter_count(model: LanguageModel) -> int:
    """The number of distinct trainable weights, a tied weight counted once, or of what a model
    holds in their place.
    """
    own = capability(model, CountsParameters)
    return own.parameter_count() if own else sum(p.numel() for p in model.parameters())


@runtime_checkable
class MayLack(Protocol):
    """A model that may lack a capability of its class."""

    def lacks(self, protocol: type) -> bool:
        """Whether this model lacks a capability that its class has."""
        ...


# -- reading and writing -------------------------------------------------------------------------


@runtime_checkable
class EncodesSource(Protocol):
    """Reads a source with an encoder."""

    def encode(self, source: Tokens) -> State:
        """What the rows' texts begin with, and later tokens attend to.

        Args:
            source: as in ``Batch.source``.
        """
        ...


@runtime_checkable
class HasSides(Protocol):
    """Has an encoder and a decoder that can begin with the weights of other models."""

    def side(self, name: Literal["encoder", "decoder"]) -> dict[str, Tensor]:
        """The weights of one side by the names that they have in a model which does that alone: of
        the decoder without its attention on the source. Changed in place, they change the model.
        """
        ...


@runtime_checkable
class Infills(Protocol):
    """Predicts tokens that are hidden anywhere in a text, with both sides in view."""

    def fill(self, tokens: Tokens, hidden: Tensor, positions: Tensor) -> Logits:
        """Which tokens are likely at some positions, given the tokens that are not hidden.

        Args:
            tokens: int64 (rows, time), at most one more than the model's context; what they are
                where they are hidden makes no difference.
            hidden: bool (rows, time).
            positions: those to predict, bool (rows, time).

        Returns:
            The logits of the token at each of these positions, row by row, float32 (positions,
            vocabulary), which the caller may change.
        """
        ...


@runtime_checkable
class SamplesTexts(Protocol):
    """Draws whole texts at once. Its texts can only be read from their beginning, end by
    themselves, and are written as likely as the model has them unless something else is asked for.
    """

    def sample_texts(
        self, seeds: Sequence[int], *, uniform: bool = False, depth: int | None = None
    ) -> Iterable[SampledText]:
        """A text for each seed.

        Args:
            uniform: all derivations of a text are equally likely.
            depth: how many rules may stand within one another; None: the model's own limit.

        Raises:
            WenmoError: the model cannot draw so.
        """
        ...

    def logprobs(self, ids: Sequence[int]) -> list[float] | None:
        """The natural log-probability of each id of a text, read from its beginning; None if the
        model cannot compute any.
        """
        ...


@runtime_checkable
class RestrictsPrefixes(Protocol):
    """Cannot go on from every beginning of a text."""

    def accepts_prefix(self, ids: Sequence[int]) -> bool:
        """Whether the model can write a text that begins with these ids."""
        ...


@runtime_checkable
class HasNgrams(Protocol):
    """Holds n-grams that can be looked up."""

    def ngram_tables(self) -> NgramTables:
        """The n-grams as they are now."""
        ...


@runtime_checkable
class HasGenerator(Protocol):
    """Writes and scores with a part of itself; the other parts only train that part."""

    generator: LanguageModel


# -- what can be looked at -----------------------------------------------------------------------


@runtime_checkable
class HasLatents(Protocol):
    """Writes each text from latents, which ``initial_state`` draws from N(0, 1).

    Attributes:
        latent_size: the number of latents of a text.
    """

    latent_size: int

    def infer(self, batch: Batch) -> Posterior:
        """The posterior of each row's latents, given its targets, IGNORE left out."""
        ...

    def state_at(self, latents: Tensor, *, capacity: int = 0) -> State:
        """As ``initial_state``, from these latents, float32 (rows, latents)."""
        ...


@runtime_checkable
class HasHiddenStates(Protocol):
    """Predicts tokens from hidden states."""

    def hidden_states(
        self, batch: Batch, state: State | None = None
    ) -> tuple[Tensor, Tensor, State]:
        """The hidden state that each target is predicted from, float32 (targets, width), the nats
        of each target, float32 (targets,), and the state after the last token.
        """
        ...

    def forward_hidden(
        self, tokens: Tokens, state: State | None = None
    ) -> tuple[Logits, Tensor, State]:
        """As `LanguageModel.forward`, with the hidden state after each token, (rows, time, width),
        as the second.
        """
        ...


@runtime_checkable
class HasMixture(Protocol):
    """Is a mixture of models."""

    def mixture_components(self) -> Mapping[str, LanguageModel]:
        """These models by name; a network is called ``network``, n-gram counts ``counts``."""
        ...


@runtime_checkable
class ExplainsTokens(Protocol):
    """Predicts each token by a weighted sum of named predictions."""

    def explain_tokens(
        self, tokens: Tokens, state: State | None = None
    ) -> tuple[list[str], Tensor, Tensor]:
        """What the predictions are of a text.

        Args:
            tokens: int64 (1, time), the text from its beginning.
            state: what it begins in.

        Returns:
            The name of each prediction; its weight after each token but the last, and the
            probability that it gives to the token that follows, float32 (time - 1, names) both.
        """
        ...


@runtime_checkable
class HasBaselines(Protocol):
    """Keeps generators that results are shown beside."""

    def baselines(self) -> Mapping[str, LanguageModel]:
        """The same generator trained in other ways, by name; empty if there are none yet."""
        ...


@runtime_checkable
class CountsParameters(Protocol):
    """Holds something else than trainable weights, or more weights than those that write."""

    def parameter_count(self) -> int:
        """The number of what the model predicts with."""
        ...


# -- training ------------------------------------------------------------------------------------


@runtime_checkable
class BindsVocabulary(Protocol):
    """Looks at the letters of tokens."""

    def bind_vocabulary(self, table: Sequence[bytes]) -> None:
        """Take the bytes that each id stands for, before anything is learnt.

        Raises:
            WenmoError: the model cannot read such tokens, or is not set up well.
        """
        ...


@runtime_checkable
class ValidatesCorpus(Protocol):
    """Cannot learn from every text."""

    def validate_corpus(
        self, ids: NDArray[np.unsignedinteger], progress: Fraction | None = None
    ) -> None:
        """Check, before anything is written, that the model can learn from a text.

        Args:
            ids: END, a text, END, a text, ..., END.

        Raises:
            WenmoError: it cannot.
        """
        ...


@runtime_checkable
class FitsCounts(Protocol):
    """Is trained by counting, in one step over all of the text."""

    def fit(self, ids: NDArray[np.unsignedinteger], *, progress: Fraction | None = None) -> None:
        """Learn from a text; what was learnt before is replaced.

        Args:
            ids: END, a text, END, a text, ..., END.

        Raises:
            WenmoError: the model cannot learn from it.
        """
        ...


@runtime_checkable
class ContinuesCounts(Protocol):
    """Holds counts of its training text that further training can continue from."""

    def keep_counts(self, *, extend: bool, seen: bool) -> None:
        """Continue from the counts there are, in place of counting anew.

        Args:
            extend: add the counts of the text that is trained on; otherwise they stay as they are.
            seen: that text holds all that was counted, so that nothing is added twice: what is
                counted anew is this text alone, and a network learns beside cross-fitted counts.

        Raises:
            WenmoError: nothing can be added to them.
        """
        ...


@runtime_checkable
class FitsPrior(Protocol):
    """Counts the text before gradients are followed.

    Attributes:
        prior_prefix: how the names of the counts' tensors begin in ``state_dict``: gradients do not
            change these, and ``fit_prior`` makes them again.
    """

    prior_prefix: ClassVar[str]

    def fit_prior(
        self, ids: NDArray[np.unsignedinteger], progress: Fraction | None = None
    ) -> NDArray[np.floating] | None:
        """Count a text.

        Args:
            ids: the text, or of pairs the targets: END, a text, END, a text, ..., END.

        Returns:
            What ``Batch.prior_probs`` should hold of each id after the first, (ids, columns); None:
            training asks the counts themselves.
        """
        ...

    def trainable_length(self, length: int) -> int:
        """How many of a text's ids, from the first on, can be trained on after ``fit_prior``."""
        ...


@runtime_checkable
class ChangesInTraining(Protocol):
    """Has a loss that changes as training goes on."""

    def set_progress(self, progress: float, step: int) -> None:
        """Called before each step. What follows depends on these two alone, so that training
        resumes exactly.

        Args:
            progress: the share of the budget that is used, 0 to 1.
            step: the number of the step.
        """
        ...

    def further_progress(self, progress: float) -> float:
        """What ``set_progress`` is called with where a finished run is trained further.

        Args:
            progress: the share of the further training that is done, 0 to 1.
        """
        ...
