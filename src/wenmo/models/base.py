"""The one interface that everything stands on: tokens in, logits out, a state between calls."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from wenmo.grammar.sampler import Drawn
from wenmo.models.posterior import DIVERGENCE, Posterior
from wenmo.types import END, IGNORE, Batch, Logits, Loss, Score, SpecialTokens, State, Tokens

Hidden: TypeAlias = "tuple[Tensor, ...]"
"""What a network makes of the tokens it reads, before the softmax: tensors (rows, time, width). The
first is the hidden state."""

SHARE_OF_SPEED = 0.5  # about what training reaches of the speed of matrix products alone
LOGITS_AT_ONCE = 1 << 26  # more in a loss are made and forgotten in pieces: 256 MB in float32
LEAST_OTHERS = 1e-6  # the least probability that a token is none of some


@dataclass(frozen=True, slots=True)
class Budget:
    """What there is to train a model with.

    Attributes:
        tokens: of the text.
        seconds: of the machine's time.
        speed: multiplications and additions a second, in products of float32 matrices.
    """

    tokens: int
    seconds: float
    speed: float

    def trainable_tokens(self, weights: int) -> float:
        """About how many tokens a model with so many weights in matrices is trained on: each takes
        one product forward and two backward.
        """
        return SHARE_OF_SPEED * self.seconds * self.speed / (3 * weights)


class LanguageModel(nn.Module, ABC):
    """A distribution over the next token, given the tokens before it.

    One method, ``forward``, serves training (a whole batch, no state), prefill (many tokens),
    decoding (one token) and the verification of a draft (a few). A state is a value: an older one
    may be continued again. Two states that both go on must first be parted by ``select``, because a
    key–value cache is written in place behind what an older state can see.

    Attributes:
        vocab_size: the number of distinct ids.
        context: the largest number of tokens that a state can hold; ``None`` if unbounded, in which
            case text may be streamed through the model for as long as one likes.
        learner: how it is trained.
        conditioning: how it is given a text to answer to. ``prefix``: before its own text, as in
            bos, source, separator, text, END. ``encoder``: in ``initial_state``, or as
            ``source`` of a batch; then its state may hold ``coverage``, the attention that each
            position of the source has been given so far, float32 (rows, source time). ``none``: not
            at all.
        samples_texts: its texts are wholes by rule: they can only be read from their beginning, end
            by themselves, and are written as likely as the model has them unless something else is
            asked for.
        has_hidden_states: it has hidden states, which ``hidden_states`` gives.
        fixed: how the names begin of what gradients do not change, and ``fit_prior`` makes again.
        special_tokens: the ids around its texts.
        record_level: it learns whole records, each from its beginning to its end, and is scored by
            them; others go on from one record to the next.
        latents: how many numbers each text is written from, which ``initial_state`` draws from
            N(0, 1) and keeps in the state; ``infer`` tells where they lie for a text that is given.
        fills: it predicts tokens that are hidden anywhere in a text, with both sides in view, by
            ``fill``; then text is written so, too, and not from left to right.
        counts_text: it holds counts of its training text, which `keep_counts` continues from.
    """

    vocab_size: int
    context: int | None
    learner: ClassVar[Literal["gradient", "count", "adversarial"]] = "gradient"
    conditioning: Literal["none", "prefix", "encoder"] = "prefix"
    samples_texts: ClassVar[bool] = False
    has_hidden_states: ClassVar[bool] = False
    fixed: ClassVar[tuple[str, ...]] = ()
    record_level: bool = False
    latents: int = 0
    special_tokens: SpecialTokens = SpecialTokens()
    fills: ClassVar[bool] = False
    counts_text: ClassVar[bool] = False

    @abstractmethod
    def initial_state(
        self,
        rows: int,
        *,
        source: Tokens | None = None,
        capacity: int = 0,
        rng: torch.Generator | None = None,
    ) -> State:
        """Make the state of ``rows`` empty texts.

        Args:
            rows: how many texts are written side by side.
            source: for models with an encoder, what to condition on, as in ``Batch.source``; where
                there is none, the source is empty.
            capacity: how many tokens the state should have room for. It is a hint: a state grows.
            rng: the source of randomness for models that draw something before they write.
        """

    @abstractmethod
    def forward(self, tokens: Tokens, state: State | None = None) -> tuple[Logits, State]:
        """Read ``tokens`` (rows, time) after what ``state`` holds.

        Returns:
            The logits of the token after each one read, float32 (rows, time, vocabulary), and the
            state after the last. The state that was passed in stays valid and unchanged. Without a
            state the text is taken to begin here, and a bounded model may return an empty state.
        """

    def fill(self, tokens: Tokens, hidden: Tensor, places: Tensor) -> Logits:
        """For models that fill gaps: which tokens are likely at some places, given the others.

        Args:
            tokens: int64 (rows, time); what they are where ``hidden``, bool (rows, time), is true
                makes no difference. At most one more than the model's context.
            places: the places to predict, bool (rows, time).

        Returns:
            The logits of the token at each of these places, row by row, float32 (places,
            vocabulary), which the caller may change.
        """
        raise TypeError(f"{type(self).__name__} fills no gaps")

    def encode(self, source: Tokens) -> State:
        """For models with an encoder: what the rows' texts begin with, and later tokens look at.

        Args:
            source: as in ``Batch.source``.
        """
        raise TypeError(f"{type(self).__name__} has no encoder")

    def infer(self, batch: Batch) -> Posterior:
        """For models with latents: where they lie, given each row's targets, IGNORE left out."""
        raise TypeError(f"{type(self).__name__} has no latents")

    def state_at(self, latents: Tensor, *, capacity: int = 0) -> State:
        """As ``initial_state``, for models with latents: from these, float32 (rows, latents)."""
        raise TypeError(f"{type(self).__name__} has no latents")

    def advance(self, progress: float, step: int) -> None:
        """Told before each step of training where it stands, for models whose loss changes on the
        way. What follows must depend on these two alone, so that training resumes exactly.

        Args:
            progress: the share of the budget that is used, 0 to 1.
            step: the number of the step.
        """

    def progress_again(self, progress: float) -> float:
        """What ``advance`` is told where a finished run is trained further: that it is at its end.

        Args:
            progress: the share of the further training that is done, 0 to 1.
        """
        return 1.0

    def bind_vocabulary(self, table: Sequence[bytes]) -> None:
        """Be told what bytes each id stands for, before anything is learnt; for models that look at
        letters.

        Raises:
            WenmoError: the model cannot read such tokens, or is not set up well.
        """

    def validate_corpus(
        self, ids: NDArray[np.unsignedinteger], progress: Callable[[float], None] | None = None
    ) -> None:
        """See, before anything is written, that the model can learn from a text.

        Args:
            ids: END, a text, END, a text, ..., END.
            progress: told the fraction done, between 0 and 1.

        Raises:
            WenmoError: it cannot.
        """

    @property
    def scores(self) -> bool:
        """Whether it can be computed how likely a text is; of nearly all models it can."""
        return True

    @torch.inference_mode()
    def logprobs(self, ids: Sequence[int]) -> list[float]:
        """The natural log-probability of each id of a text, read from its beginning."""
        stream = torch.tensor([[END, *ids]], device=self.device)
        logits, _ = self(stream[:, :-1])
        found: list[float] = logits[0].log_softmax(-1).gather(1, stream[0, 1:, None])[:, 0].tolist()
        return found

    def accepts_prefix(self, ids: Sequence[int]) -> bool:
        """Whether the model can write a text that begins with these ids; most go on from any."""
        return True

    def sample_texts(
        self, seeds: Sequence[int], *, uniform: bool = False, depth: int | None = None
    ) -> Iterable[Drawn] | None:
        """Whole texts, one for each seed, from models that draw them at once, and not token by
        token; None from those that do not.

        Args:
            uniform: all ways to make a text as likely as each other.
            depth: how many rules may stand within one another.
        """
        return None

    def fit_prior(
        self, ids: NDArray[np.unsignedinteger], progress: Callable[[float], None] | None = None
    ) -> NDArray[np.floating] | None:
        """Look at the text before gradients are followed, for models that want to.

        Args:
            ids: the text, or of pairs the targets: END, a text, END, a text, ..., END.
            progress: told the fraction done, between 0 and 1.

        Returns:
            What ``Batch.prior_probs`` should hold of each token, (length - 1, columns), if any.
        """
        return None

    def keep_counts(self, *, extend: bool, seen: bool) -> None:
        """For models that hold counts: continue from those they have, in place of counting anew.

        Args:
            extend: add the counts of the text that is trained on; otherwise they stay as they are.
            seen: that text holds all that was counted, so that nothing is added twice: what is
                counted anew is this text alone, and a network learns beside cross-fitted counts.

        Raises:
            WenmoError: nothing can be added to them.
        """

    def trainable_length(self, length: int) -> int:
        """How many of a text's ids, from the first on, it can be trained on after ``fit_prior``."""
        return length

    def loss(
        self, batch: Batch, state: State | None = None, *, label_smoothing: float = 0.0
    ) -> Loss:
        """Cross-entropy in nats per target token: what training minimises.

        Args:
            state: what the rows go on from; a batch with a source begins with that.
            label_smoothing: the share of the target's probability that is spread evenly over the
                vocabulary (Szegedy et al. 2016, section 7), by models that gradients train.
        """
        score = self.score(batch, state)
        nats = (score.nats.sum() / score.tokens.sum()).float()
        return Loss(total=nats, parts={"nats": nats.detach()}, state=score.state)

    def side(self, name: Literal["encoder", "decoder"]) -> dict[str, Tensor]:
        """The weights of what reads a source, or of what writes the text, by the names that they
        have in a model which does that alone: of the latter without its attention on the source.
        Changed in place, they change the model. Without an encoder the whole model is what writes.
        """
        return dict(self.named_parameters()) if name == "decoder" else {}

    def mixture_components(self) -> Mapping[str, LanguageModel]:
        """The models that this one is a mixture of, by name, if it is one."""
        return {}

    @property
    def writer(self) -> LanguageModel:
        """The part of the model that writes; nearly always the whole."""
        return self

    def baselines(self) -> Mapping[str, LanguageModel]:
        """The same generator trained in other ways, by name, if there are such: results are shown
        beside theirs.
        """
        return {}

    def voices(
        self, tokens: Tokens, state: State | None = None
    ) -> tuple[list[str], Tensor, Tensor]:
        """Who says what of a text, for models that are mixtures: names, weights, and what they say.

        Args:
            tokens: int64 (1, time), the text from its beginning.
            state: what it begins in.

        Returns:
            The name of each voice; the weight it has after each token but the last, and the
            probability it gives to the token that follows, float32 (time - 1, voices) both.
        """
        return [], torch.zeros(tokens.shape[1] - 1, 0), torch.zeros(tokens.shape[1] - 1, 0)

    def hidden_states(
        self, batch: Batch, state: State | None = None
    ) -> tuple[Tensor, Tensor, State]:
        """For models with hidden states: the one that each target is predicted from, float32
        (targets, width), the nats of each target (targets,), and the state after the last token.
        """
        raise TypeError(f"{type(self).__name__} has no hidden state")

    def score(self, batch: Batch, state: State | None = None) -> Score:
        """The negative log-likelihood of each row's targets: exact, but for latents that were
        inferred from them, whose divergence from the prior makes it a bound.
        """
        before = self.batch_state(batch, state)
        logits, after = self(batch.tokens, before)
        nats = F.cross_entropy(
            logits.flatten(0, 1), batch.targets.flatten(), ignore_index=IGNORE, reduction="none"
        ).view(batch.targets.shape)
        exact = nats.sum(1, dtype=torch.float64)
        return bounded(Score(exact, (batch.targets != IGNORE).sum(1), state=after), before)

    def batch_state(self, batch: Batch, state: State | None) -> State | None:
        """The state that the rows of a batch begin with, where ``state`` is what they go on from.

        A model with latents infers them from rows that go on from nothing; such a state also holds
        their ``divergence`` from the prior, float32 (rows, latents), in nats.
        """
        return state if batch.source is None else self.encode(batch.source)

    def penalty(self, before: State | None, targets: int) -> tuple[Tensor, dict[str, Tensor]]:
        """What training adds to the cross-entropy for the state that a batch begins with: nats per
        target, and figures to watch.
        """
        return torch.zeros((), device=self.device), {}

    @property
    def device(self) -> torch.device:
        """Where the weights live; the CPU for a model without any."""
        tensor = next(self.parameters(), None)
        return tensor.device if tensor is not None else torch.device("cpu")

    def parameter_count(self) -> int:
        """The number of distinct trainable weights; a tied weight is counted once."""
        return sum(p.numel() for p in self.parameters())


class Network(LanguageModel):
    """A model that is trained by gradients: it reads into hidden states, and predicts from those.

    Where its state holds ``steering``, float32 (rows, width of the embeddings), that is added to
    the embedding of each token.

    Attributes:
        hidden_width: the width of the hidden state.
    """

    has_hidden_states = True
    hidden_width: int

    @abstractmethod
    def encode_tokens(self, tokens: Tokens, state: State | None = None) -> tuple[Hidden, State]:
        """Read tokens as ``forward`` does, up to what the softmax is given."""

    @abstractmethod
    def lm_head(self, reading: Hidden) -> Logits:
        """The logits, float32 (..., vocabulary), of any part of a reading, (..., width) each."""

    def forward(self, tokens: Tokens, state: State | None = None) -> tuple[Logits, State]:
        reading, after = self.encode_tokens(tokens, state)
        return self.lm_head(reading), after

    def loss(
        self, batch: Batch, state: State | None = None, *, label_smoothing: float = 0.0
    ) -> Loss:
        before = self.batch_state(batch, state)
        reading, after = self.encode_tokens(batch.tokens, before)
        smoothed = label_smoothing > 0
        nats, evenly, _ = self.costs(*select_targets(reading, batch.targets), smoothed=smoothed)
        extra, watched = self.penalty(before, len(nats))
        total = label_smoothed(nats, evenly, label_smoothing) + extra
        return Loss(total, {"nats": nats.detach().mean(), **watched}, after)

    def hidden_states(
        self, batch: Batch, state: State | None = None
    ) -> tuple[Tensor, Tensor, State]:
        reading, after = self.encode_tokens(batch.tokens, self.batch_state(batch, state))
        flat, targets = select_targets(reading, batch.targets)
        return flat[0].float(), self.costs(flat, targets)[0], after

    def costs(
        self,
        reading: Hidden,
        targets: Tokens,
        *,
        smoothed: bool = False,
        breaks: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What each target costs, (targets,): the nats of it; where ``smoothed``, the mean nats of
        all the vocabulary in its place; and where there are ``breaks``, the log-probability that
        none of those tokens stands there.

        Logits that would not fit in memory at once are made in pieces, and a second time for the
        gradient.

        Args:
            reading: of each target, (targets, width).
            targets: int64 (targets,).
            breaks: ids, int64.
        """
        return costs(
            self.lm_head, reading, targets, self.vocab_size, smoothed=smoothed, breaks=breaks
        )


def costs(
    lm_head: Callable[[Hidden], Logits],
    reading: Hidden,
    targets: Tokens,
    vocab_size: int,
    *,
    smoothed: bool = False,
    breaks: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """What ``Network.costs`` tells, of anything that predicts."""

    def priced(targets: Tokens, *reading: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logp = lm_head(reading).log_softmax(-1)
        nats = F.nll_loss(logp, targets, reduction="none")
        others = nats if breaks is None else log_of_others(logp[:, breaks])
        return nats, -logp.mean(-1) if smoothed else nats, others

    pieces = -(-len(targets) * vocab_size // LOGITS_AT_ONCE)
    if pieces < 2:
        return priced(targets, *reading)
    parts = zip(*(tensor.chunk(pieces) for tensor in (targets, *reading)), strict=True)
    each = [checkpoint(priced, *part, use_reentrant=False) for part in parts]
    nats, evenly, others = (torch.cat(all_) for all_ in zip(*each, strict=True))
    return nats, evenly, others


def log_of_others(logp: Tensor) -> Tensor:
    """The log-probability (...,) that none of some tokens stands at a place, from the
    log-probability of each of them (..., tokens).
    """
    return torch.log1p(-logp.exp().sum(-1).clamp(max=1 - LEAST_OTHERS))


def bounded(score: Score, before: State | None) -> Score:
    """A score of texts that began with ``before``, with the divergence of its latents added."""
    divergence = None if before is None else before.get(DIVERGENCE)
    if divergence is None:
        return score
    return replace(score, nats=score.nats + divergence.sum(1), bound=True)


def steered(x: Tensor, state: State) -> Tensor:
    """Embedded tokens (rows, time, width) and, where a state holds ``steering`` (rows, width), that
    added to each of them.
    """
    return x + state["steering"][:, None] if "steering" in state else x


def label_smoothed(nats: Tensor, evenly: Tensor, label_smoothing: float) -> Tensor:
    """The mean cost of targets, of which a share is spread evenly; see `LanguageModel.loss`."""
    return (1 - label_smoothing) * nats.mean() + label_smoothing * evenly.mean()


def select_targets(reading: Hidden, targets: Tokens) -> tuple[Hidden, Tokens]:
    """The places that a target is asked of, one under another."""
    mask = targets != IGNORE
    if mask.all():
        return tuple(tensor.flatten(0, 1) for tensor in reading), targets.flatten()
    return tuple(tensor[mask] for tensor in reading), targets[mask]


def device() -> torch.device:
    """Where models are trained and run: the GPU that PyTorch finds, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
