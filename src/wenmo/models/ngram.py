"""n-gram models with interpolated modified Kneser–Ney smoothing, of any order.

Counted rather than trained: Chen & Goodman (1999, "An empirical study of smoothing techniques for
language modeling", Computer Speech & Language 13, section 3 and appendix A), arranged as in KenLM's
lmplz (Heafield et al. 2013, "Scalable modified Kneser-Ney language model estimation").

What is stored is the back-off form, one probability for each n-gram and one back-off weight for
each context, so that a model counted here and one read from an ARPA file are the same thing::

    log p(w | h) = prob[h w]                      if the n-gram h w is stored,
                   backoff[h] + log p(w | h')     otherwise, where h' is h without its first id
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wenmo.models.base import LanguageModel
from wenmo.models.capabilities import ContinuesCounts, CountsParameters, FitsCounts, HasNgrams
from wenmo.models.counts import DEFAULT_MEMORY, Grams, Ids, Ints, add_grams, allocate, count_grams
from wenmo.models.followers import NgramTables
from wenmo.models.ngram_config import NgramConfig
from wenmo.models.state import NO_TOKEN, StateField, StateSchema
from wenmo.types import END, IGNORE, Batch, Logits, Score, State, Tokens, WenmoError

HISTORY = "ngram_history"  # in a state: the last tokens of each row
MISSING = NO_TOKEN  # in a history: before the first token; as an index: no such n-gram
CHUNK = 1 << 20
MAX_COUNT = 2**31 - 1  # what a count may be
TABLES = ("prob", "backoff", "total", "count")
MAX_LOGITS = 1 << 20  # log-probabilities written at once: at most about 50 MB of scratch


class Ngram(LanguageModel, FitsCounts, ContinuesCounts, CountsParameters, HasNgrams):
    """An n-gram model over ids, where ``END`` (0) is <s> as a context and </s> as a word.

    A history reaches back to the last END at most, so texts do not mix.

    Buffers, for each order n (all natural logarithms, float32; an n-gram's index is its place):
        ``keys_n``: int64, strictly increasing: ``context * vocab_size + word``, where the context
            is the index of the first n - 1 ids among the n-grams of order n - 1. The n-grams of
            order 1 are all the ids, so there is no ``keys_1``.
        ``prob_n``: log-probability of the word after the context, lower orders included.
        ``backoff_n``: log-weight of the lower orders after this n-gram, for n < order.
        ``total_n``: where they are asked for, log(1 + how often it was seen as a context), for
            n < order.
        ``count_n``: where they are asked for, how often the n-gram was seen, int32.
    """

    conditioning = "none"

    def __init__(self, config: NgramConfig, vocab_size: int) -> None:
        super().__init__()
        self.config, self.vocab_size, self.context = config, vocab_size, None
        self.previous_counts: list[Grams] | None = None
        shape, meaning = ("rows", "order - 1"), f"the last tokens, {MISSING} where there are none"
        history = StateField(HISTORY, shape, meaning, torch.long, truncation="history")
        self.state_schema = StateSchema((history,))
        for n in range(1, config.order + 1):
            size = vocab_size if n == 1 else 0
            uniform, nothing = np.full(size, -np.log(vocab_size)), np.zeros(size)
            self._store(n, np.arange(size), uniform, nothing, nothing, nothing)

    def fit(
        self,
        ids: Ids,
        *,
        memory: int = DEFAULT_MEMORY,
        progress: Callable[[float], None] | None = None,
    ) -> None:
        """Count a stream of texts, and estimate the probabilities; what was there is replaced.
        After `keep_counts` the counts of before are added to those of the stream.

        Args:
            ids: unsigned integers, shape (length,), maybe memory-mapped: END, a text, END, a text,
                ..., END.
            memory: about how many bytes counting may use beyond its result; more text than that
                allows is counted through files in a temporary folder.
            progress: told the fraction done, between 0 and 1.

        Raises:
            WenmoError: the stream holds no text, does not begin with END, or has an id that is not
                in the vocabulary.
        """
        order, prune = self.config.order, self.config.prune or (0,)
        grams = count_grams(ids, order, self.vocab_size, memory=memory, progress=progress)
        if self.previous_counts is not None:
            grams = add_grams(self.previous_counts, grams, self.vocab_size)
        cutoffs = [prune[min(n, len(prune) - 1)] for n in range(order)]
        for n, arrays in enumerate(_estimate(grams, self.vocab_size, cutoffs), 1):
            self._store(n, *arrays)
        if progress:
            progress(1.0)

    def keep_counts(self, *, extend: bool = True, seen: bool = False) -> None:
        """Let `fit` add further text to what the model has counted.

        Raises:
            WenmoError: the model has estimates alone, and no counts.
        """
        if seen or not extend:
            return
        if not self.config.counts or any(self.config.prune):
            reason = "it dropped rare n-grams" if self.config.counts else "it has estimates alone"
            raise WenmoError(
                f"no text can be added to this n-gram model, {reason}: train a new one on all of "
                "the text together (--model ngram)"
            )
        self.previous_counts = self.grams()

    def grams(self) -> list[Grams]:
        """The counts that the model was estimated from, where they are kept, as `count_grams`."""
        found: list[Grams] = []
        for n in range(1, self.config.order + 1):
            counts = self._table("count", n).cpu().numpy().astype(np.int64)
            if n == 1:
                found.append(Grams(np.arange(len(counts)), counts, np.zeros_like(counts)))
                continue
            keys = self._table("keys", n).cpu().numpy()
            context, word = np.divmod(keys, self.vocab_size)
            suffix = found[-1].suffix[context] * self.vocab_size + word
            found.append(Grams(keys, counts, np.searchsorted(found[-1].keys, suffix)))
        return found

    def initial_state(
        self,
        batch_size: int,
        *,
        source: Tokens | None = None,
        capacity: int = 0,
        generator: torch.Generator | None = None,
    ) -> State:
        """A history without tokens."""
        shape = (batch_size, self.config.order - 1)
        return {HISTORY: torch.full(shape, MISSING, dtype=torch.long, device=self.device)}

    def forward(self, tokens: Tokens, state: State | None = None) -> tuple[Logits, State]:
        contexts, after = self.contexts(tokens, state)
        flat = [context.flatten() for context in contexts]
        logits = self._table("prob", 1).new_empty(tokens.numel(), self.vocab_size)
        step = max(1, MAX_LOGITS // self.vocab_size)
        for at in range(0, len(logits), step):
            self._fill(logits[at : at + step], [context[at : at + step] for context in flat])
        return logits.view(*tokens.shape, self.vocab_size), after

    def score(self, batch: Batch, state: State | None = None) -> Score:
        """Look up the targets only, without the rest of the distribution."""
        contexts, after = self.contexts(batch.tokens, state)
        is_target = batch.targets != IGNORE
        nats = (
            -self._look_up(contexts, batch.tokens, batch.targets.where(is_target, END))[-1]
            * is_target
        )
        return Score(nats=nats.sum(1), tokens=is_target.sum(1), state=after)

    def order_log_probs(
        self, tokens: Tokens, words: Tokens, state: State | None = None
    ) -> tuple[Tensor, Tensor, State]:
        """What each order says alone of the word after each token.

        Args:
            tokens, words: int64 (rows, time).

        Returns:
            The log-probability of the word by the model of each order from 1 up, float32 (rows,
            time, order), the `context_features` of its context, and the state after the last token.
        """
        contexts, after = self.contexts(tokens, state)
        orders = self._look_up(contexts, tokens, words)
        return torch.stack(orders, 2).float(), self.context_features(contexts), after

    def word_log_probs(self, contexts: list[Tensor], tokens: Tokens, word: int) -> Tensor:
        """The log-probability of one word after each token by the model of each order from 1 up,
        float32 (rows, time, order).

        Args:
            contexts: from `contexts` of the tokens, int64 (rows, time).
        """
        orders = self._look_up(contexts, tokens, torch.full_like(tokens, word))
        return torch.stack(orders, 2).float()

    def context_features(self, contexts: list[Tensor]) -> Tensor:
        """What is known of a context, whatever follows it: float32 (..., signs).

        For each length of context, whether it was seen, the log-weight of what is shorter, and, if
        totals are kept, how often it was seen. The model's order must be above 1.

        Args:
            contexts: from `contexts`.
        """
        names = ["backoff", *(["total"] if self.config.totals else [])]
        context_features = []
        for n, context in enumerate(contexts, 1):
            known = context >= 0
            context_features.append(known.float())
            for name in names:
                values = torch.zeros_like(context_features[-1])
                values[known] = self._table(name, n)[context[known]]
                context_features.append(values)
        return torch.stack(context_features, -1)

    @property
    def context_feature_count(self) -> int:
        """The width of `context_features`."""
        return (self.config.order - 1) * (2 + self.config.totals)

    def mix_orders(self, contexts: list[Tensor], weights: Tensor) -> Tensor:
        """The sum over the orders of weight times probability, of every word.

        Args:
            contexts: from `contexts`, (positions,) each.
            weights: float32 (positions, order).

        Returns:
            float32 (positions, vocabulary).
        """
        p = self._table("prob", 1).exp().repeat(len(weights), 1)
        mixed = weights[:, :1] * p
        for n, context in enumerate(contexts, 2):
            known = context >= 0
            p[known] *= self._table("backoff", n - 1)[context[known]].exp()[:, None]
            position, word, gram = self._followers(n, context)
            p[position, word] = self._table("prob", n)[gram].exp()
            mixed.addcmul_(weights[:, n - 1 : n], p)
        return mixed

    def ngram_tables(self) -> NgramTables:
        return NgramTables(self, self.config.order, self.vocab_size)

    def log_prob(self, ids: Ids) -> NDArray[np.float64]:
        """The natural log-probability of every id of a stream after the first.

        Args:
            ids: integers, shape (length,), as for ``fit``; maybe memory-mapped.

        Returns:
            float64 (length - 1,), for each id given all before it.
        """
        state, parts = self.initial_state(1), [np.empty(0)]
        for at in range(0, len(ids) - 1, 1 << 20):
            stream = torch.from_numpy(ids[at : at + (1 << 20) + 1].astype(np.int64))
            stream = stream.to(self.device)[None]
            tokens, words = stream[:, :-1], stream[:, 1:]
            contexts, state = self.contexts(tokens, state)
            parts.append(self._look_up(contexts, tokens, words)[-1][0].cpu().numpy())
        return np.concatenate(parts)

    @property
    def device(self) -> torch.device:
        return self._table("prob", 1).device

    def parameter_count(self) -> int:
        """The number of stored n-grams, of all orders."""
        return sum(len(self._table("prob", n)) for n in range(1, self.config.order + 1))

    def _find(self, n: int, context: Tensor, word: Tensor) -> Tensor:
        """The index of n-grams of order ``n`` > 1, given their contexts' indices and last ids.

        Indices are int64 of any one shape, and -1 for an n-gram or context that is not stored.
        """
        keys, found = self._table("keys", n), torch.full_like(word, MISSING)
        if len(keys):
            known = torch.nonzero(context >= 0, as_tuple=True)
            wanted = context[known] * self.vocab_size + word[known]
            place = torch.searchsorted(keys, wanted).clamp_(max=len(keys) - 1)
            found[known] = place.where(keys[place] == wanted, MISSING)
        return found

    def contexts(self, tokens: Tokens, state: State | None) -> tuple[list[Tensor], State]:
        """The index of the context of each length from 1 up after each token (rows, time).

        The context of n tokens is that of n - 1 tokens one step before, and the token.
        """
        history = (state or self.initial_state(len(tokens)))[HISTORY]
        stream = torch.cat([history, tokens], 1)
        contexts = [stream]
        for n in range(2, self.config.order):
            before = torch.full_like(stream, MISSING)
            before[:, 1:] = contexts[-1][:, :-1]
            before[stream == END] = MISSING  # END is a context, but not the end of one
            contexts.append(self._find(n, before, stream))
        new = slice(history.shape[1], None)
        after = stream[:, tokens.shape[1] :].clone()
        return [context[:, new] for context in contexts[: self.config.order - 1]], {HISTORY: after}

    def _look_up(self, contexts: list[Tensor], tokens: Tokens, words: Tensor) -> list[Tensor]:
        """The log-probability of a word after each token by each order, float64 (rows, time)."""
        # Where the token that follows is the word itself, as it is in running text, the n-gram is
        # the context found there: half of all searches need not be made.
        follows = torch.zeros_like(words, dtype=torch.bool)
        follows[:, :-1] = (tokens[:, 1:] == words[:, :-1]) & (tokens[:, 1:] != END)
        logp = self._table("prob", 1)[words].double()
        orders = [logp]
        for n, context in enumerate(contexts, 2):
            known, logp = torch.nonzero(context >= 0, as_tuple=True), logp.clone()
            logp[known] += self._table("backoff", n - 1)[context[known]]
            if n < self.config.order:
                rest = self._find(n, context.where(~follows, MISSING), words)
                gram = contexts[n - 1].roll(-1, 1).where(follows, rest)
            else:
                gram = self._find(n, context, words)
            seen = torch.nonzero(gram >= 0, as_tuple=True)
            logp[seen] = self._table("prob", n)[gram[seen]].double()
            orders.append(logp)
        return orders

    def _fill(self, logits: Tensor, contexts: list[Tensor]) -> None:
        """Write the log-probabilities of all words (positions, vocab) after each context.

        First what the lowest order gives, with all the back-off weights, then for each order up the
        words that were seen after the context, with the weights of the contexts longer than it.
        """
        weights = [logits.new_zeros(len(logits))]  # after the longest context nothing is backed off
        for n, context in reversed(list(enumerate(contexts, 1))):
            weight = weights[-1].clone()
            known = context >= 0
            weight[known] += self._table("backoff", n)[context[known]]
            weights.append(weight)
        torch.add(self._table("prob", 1), weights.pop()[:, None], out=logits)
        for n, context in enumerate(contexts, 2):
            weight, (position, word, gram) = weights.pop(), self._followers(n, context)
            logits[position, word] = self._table("prob", n)[gram] + weight[position]

    def _followers(self, n: int, context: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """All n-grams of order ``n`` > 1 with one of the contexts (positions,), -1 for none.

        Returns:
            For each, the position of its context, its last id, and its own index.
        """
        keys = self._table("keys", n)
        begin = torch.searchsorted(keys, context * self.vocab_size)
        sizes = torch.searchsorted(keys, (context + 1) * self.vocab_size) - begin
        position = torch.repeat_interleave(sizes)
        skipped = begin - sizes.cumsum(0) + sizes
        gram = torch.arange(len(position), device=keys.device) + skipped[position]
        return position, keys[gram] % self.vocab_size, gram

    def _table(self, name: str, n: int) -> Tensor:
        return self.get_buffer(f"{name}_{n}")

    def _store(
        self,
        n: int,
        keys: Ints,
        prob: NDArray[np.float64],
        backoff: NDArray[np.float64],
        total: NDArray[np.float64],
        counts: NDArray[np.number[Any]],
    ) -> None:
        """Keep the n-grams of one order as buffers on the model's device."""
        device = self.device if "prob_1" in self._buffers else None
        tables: dict[str, tuple[NDArray[Any], type]] = {"prob": (prob, np.float32)}
        if n > 1:
            tables["keys"] = (keys, np.int64)
        if n < self.config.order:
            tables["backoff"] = (backoff, np.float32)
            if self.config.totals:
                tables["total"] = (np.log1p(total), np.float32)
        if self.config.counts:
            tables["count"] = (np.minimum(counts, MAX_COUNT), np.int32)
        for name, (values, kind) in tables.items():
            table = allocate(values.shape, kind)
            table[:] = values
            self.register_buffer(f"{name}_{n}", torch.from_numpy(table).to(device))

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Any], prefix: str, *unused: Any, **unused_too: Any
    ) -> None:
        """Take the tensors with the sizes they have, if they fit together. Those that lie in a
        mapped file stay there, and are read as they are needed.

        Raises:
            WenmoError: a tensor is missing, superfluous, or at odds with the others.
        """
        own = dict(self.named_buffers())
        new = {k.removeprefix(prefix): t for k, t in state_dict.items() if k.startswith(prefix)}
        if new.keys() != own.keys():
            unexpected = ", ".join(sorted(new.keys() ^ own.keys()))
            raise WenmoError(
                f"these are not the weights of an n-gram model of this order: {unexpected}"
            )
        for name, tensor in new.items():
            if tensor.dtype != own[name].dtype or tensor.dim() != 1:
                raise WenmoError(f"n-gram weights: {name} must be a row of {own[name].dtype}")
        contexts = len(own["prob_1"])
        for n in range(1, self.config.order + 1):
            keys = new[f"keys_{n}"] if n > 1 else torch.arange(self.vocab_size)
            others = [new.get(f"{name}_{n}", keys) for name in TABLES]
            if any(len(table) != len(keys) for table in others):
                raise WenmoError(f"n-gram weights: the tensors of order {n} differ in length")
            limit = contexts * self.vocab_size if n > 1 else self.vocab_size
            if len(keys) and not (keys[0] >= 0 and keys[-1] < limit and _is_increasing(keys)):
                raise WenmoError(f"n-gram weights: keys_{n} is not sorted or not within its order")
            contexts = len(keys)
        device = None if self.device.type == "meta" else self.device
        for name, tensor in new.items():
            self.register_buffer(name, tensor.detach().to(device))


def _is_increasing(keys: Tensor) -> bool:
    """Whether each is above the one before; looked at in pieces, for they may not fit in memory."""
    return all(
        bool((keys[at : at + CHUNK + 1].diff() > 0).all()) for at in range(0, len(keys) - 1, CHUNK)
    )


def _estimate(
    grams: list[Grams], vocab_size: int, cutoffs: list[int]
) -> list[tuple[Ints, NDArray[Any], NDArray[Any], NDArray[Any], Ints]]:
    """Modified Kneser–Ney: (keys, log prob, log backoff, total, counts) of each order.

    With a(h w) the adjusted count, D its discount and Σ over the words seen after h (Heafield et
    al. 2013, section 3)::

        p(w | h) = (a(h w) - D) / Σ a + γ(h) p(w | h'),    γ(h) = Σ D / Σ a

    and order 1 is interpolated with 1 / vocabulary. A pruned n-gram gives all of its count to γ, so
    that the probabilities still sum to one.
    """
    # Order 0 has one entry, the empty context, and gives every id the same probability.
    lower, stored, place = np.full(1, 1 / vocab_size), np.zeros(1, np.int64), np.zeros(1, np.int64)
    keys, probs = [], []
    backoffs: list[NDArray[np.float64]] = []
    totals: list[NDArray[Any]] = []
    counts: list[Ints] = []
    for n, (these, cutoff) in enumerate(zip(grams, cutoffs, strict=True), 1):
        adjusted = _adjusted_counts(n, grams, vocab_size)
        kept = these.counts > cutoff
        context = these.keys // vocab_size
        # There may be many millions of n-grams: what can be is computed in place.
        share = adjusted.astype(np.float64)
        total = np.bincount(context, share, len(lower))
        share -= _discounts(adjusted)[np.minimum(adjusted, 3)]
        share[~kept] = 0
        rest = total - np.bincount(context, share, len(lower))
        gamma = np.divide(rest, total, out=np.ones(len(lower)), where=total > 0)
        backoffs.append(np.log(gamma[stored]))
        totals.append(total[stored])
        share /= total[context]
        backed_off = gamma[context]
        backed_off *= lower[these.suffix]
        share += backed_off
        lower = share
        # Every id keeps its entry at order 1; above it, contexts are renumbered as they are stored.
        stored = np.flatnonzero(kept) if n > 1 else np.arange(vocab_size)
        keys.append(place[context[stored]] * vocab_size + these.keys[stored] % vocab_size)
        probs.append(np.log(lower[stored]))
        counts.append(these.counts[stored])
        place = np.zeros(len(these), np.int64)
        place[stored] = np.arange(len(stored))
    nothing = np.zeros(len(stored), np.float64)  # follows the longest n-grams
    backoffs.append(nothing)
    totals.append(nothing)
    return list(zip(keys, probs, backoffs[1:], totals[1:], counts, strict=True))


def _adjusted_counts(n: int, grams: list[Grams], vocab_size: int) -> Ints:
    """How many distinct ids stand before an n-gram; the plain count where none can.

    None can at the highest order, by definition, and where the n-gram begins with <s>. Those are
    the first of their order, since END is the smallest id. As a word of order 1, END is </s>.
    """
    counts = grams[n - 1].counts
    if n == len(grams):
        return counts
    adjusted = np.bincount(grams[n].suffix, minlength=len(counts))
    if n > 1:
        initial = 1
        for order in range(2, n + 1):
            initial = int(np.searchsorted(grams[order - 1].keys, initial * vocab_size))
        adjusted[:initial] = counts[:initial]
    return adjusted


def _discounts(adjusted: Ints) -> NDArray[np.float64]:
    """What is taken off counts of 0, 1, 2, and 3 or more (Chen & Goodman 1999, equation 26).

    Where a small or odd text gives no usable estimate, lmplz's fallback: 0, 0.5, 1, 1.5.
    """
    number = np.bincount(np.minimum(adjusted, 5), minlength=6).astype(np.float64)
    if (number[1:4] > 0).all():
        y = number[1] / (number[1] + 2 * number[2])
        k = np.arange(1, 4)
        discounts = k - (k + 1) * y * number[2:5] / number[1:4]
        if (discounts > 0).all():
            return np.array([0, *discounts])
    return np.array([0, 0.5, 1, 1.5])
