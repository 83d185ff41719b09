"""Choosing the next token of many rows at once."""

from __future__ import annotations

import math
from collections import defaultdict

import torch
from torch import Tensor

from wenmo.decoding.constraints.base import RedirectsTokens
from wenmo.decoding.constraints.goals import advancing_tokens
from wenmo.decoding.engines.row import Row
from wenmo.decoding.history import History
from wenmo.decoding.logits import Chain, chain, forbid, gather_ends
from wenmo.decoding.noise import fold_in, gumbel, prefix_key
from wenmo.decoding.params import Sampling
from wenmo.decoding.search.base import best_candidates, coverage_score, drawn_candidates
from wenmo.decoding.search.selection import candidate_count
from wenmo.decoding.strategies import strategy_of
from wenmo.decoding.truncation import NATS_PER_BIT, next_mu
from wenmo.models.base import LanguageModel
from wenmo.types import END, State, WenmoError

MAX_CHAINS = 64  # that are cached
NO_TOKEN = (
    "the model gives no probability to any token that the constraints and the other settings "
    "allow: change them"
)


class Chooser:
    """Chooses what every row writes. Rows with the same settings are processed together."""

    def __init__(self, model: LanguageModel) -> None:
        self._special_tokens = model.special_tokens
        self._chains: dict[tuple[Sampling, int], Chain] = {}

    def choose(
        self, rows: list[Row], logits: Tensor, state: State
    ) -> dict[int, list[float] | WenmoError]:
        """For each row's slot what `_table` says of it, or why nothing can follow.

        A row with mirostat gets its next μ.

        Args:
            logits: by slot, float32 (slots, vocab_size).
            state: after the tokens read, by slot.
        """
        lines: dict[int, list[float] | WenmoError] = {}
        masks: dict[int, Tensor | None] = {}
        for row in rows:
            try:
                masks[row.slot] = None if row.constraint is None else row.constraint.allowed()
            except WenmoError as error:
                lines[row.slot] = error
        groups: dict[int, list[Row]] = defaultdict(list)
        for row in rows:
            if row.slot not in lines:
                groups[id(row.task.settings)].append(row)
        tables = [self._table(alike, logits, state, masks) for alike in groups.values()]
        if not tables:
            return lines
        numbers = torch.cat([table.flatten() for table in tables]).tolist()  # the one transfer
        start = 0
        for alike, table in zip(groups.values(), tables, strict=True):
            for row in alike:
                line = numbers[start : start + table.shape[1]]
                start += table.shape[1]
                if row.mu is not None:
                    row.mu = line.pop()
                lines[row.slot] = (
                    line if _leaves_token(line, row.task.settings) else WenmoError(NO_TOKEN)
                )
        return lines

    def _table(
        self, rows: list[Row], logits: Tensor, state: State, masks: dict[int, Tensor | None]
    ) -> Tensor:
        """What is to be known of rows with the same settings, float64 (rows, numbers).

        They are the token, its log-probability under the model, its processed one, which is −inf
        where no token is possible, and with mirostat the next μ; or of a beam what `Candidates`
        needs. Float64 holds every id exactly.
        """
        settings = rows[0].task.settings
        index = torch.tensor([row.slot for row in rows], device=logits.device)
        logp, offered, processors, history = self._offer(rows, logits, masks)
        if settings.searches or settings.method == "contrastive":
            gains, drawn = processors(offered, history), []
            if settings.method != "beam":
                gains = gains.log_softmax(1)
                possible = (offered > -math.inf).any(1, keepdim=True)
                gains = torch.where(possible, gains, offered)  # else all of it is NaN
            if settings.draws:
                noise = gumbel(_prefix_keys(rows, gains.device), gains.shape[1])
                tokens, perturbed = drawn_candidates(gains, noise, candidate_count(settings))
                drawn = [perturbed]
            elif settings.method == "contrastive":
                tokens, _ = best_candidates(gains, settings.candidates - 1)
            else:
                tokens, _ = best_candidates(gains, settings.beam_width)
                if (needed := _needed(rows, gains, settings.beam_width)) is not None:
                    tokens = torch.cat([tokens, needed], 1)
            ends = [gains[:, END, None], logp[:, END, None], _covered(settings, rows, state, index)]
            columns = [tokens, gains.gather(1, tokens), logp.gather(1, tokens), *drawn, *ends]
        else:
            uncut = offered
            if processors.steps:
                offered = processors(offered, history).log_softmax(1)
            assert history.keys is not None
            tokens = strategy_of(settings)(offered, history.keys)[:, None]
            columns = [tokens, logp.gather(1, tokens), offered.gather(1, tokens)]
            if history.mu is not None:
                columns.append(_next_mu(settings, processors, history, uncut, tokens))
        return torch.cat([column.double() for column in columns], 1)

    def distributions(self, row: Row, logits: Tensor, token: int) -> tuple[Tensor, Tensor]:
        """The log-probabilities of the next token of one row, float32 (vocab_size,): of the model,
        and after constraints and processors. With mirostat, the row gets the μ after ``token``.

        Args:
            logits: of the model, float32 (1, vocab_size).
            token: the next token.
        """
        row.slot = 0
        mask = None if row.constraint is None else row.constraint.allowed()
        logp, offered, processors, history = self._offer([row], logits, {0: mask})
        if history.mu is not None:
            tokens = torch.tensor([[token]], device=logits.device)
            row.mu = float(_next_mu(row.task.settings, processors, history, offered, tokens))
        return logp[0], processors(offered, history).log_softmax(1)[0]

    def _offer(
        self, rows: list[Row], logits: Tensor, masks: dict[int, Tensor | None]
    ) -> tuple[Tensor, Tensor, Chain, History]:
        """The log-probabilities of rows with the same settings under the model; what is offered to
        the processors; these; and what they read.
        """
        settings = rows[0].task.settings
        slots = [row.slot for row in rows]
        if slots != list(range(len(logits))):
            logits = logits[torch.tensor(slots, device=logits.device)]
        logits, logp = self._ended(logits, settings), self._ended(logits.log_softmax(1), settings)
        processors = self._chain(rows[0])
        seeds = [row.task.request.sampling.seed for row in rows]
        keys = fold_in(*torch.tensor([seeds, [row.written for row in rows]], device=logits.device))
        history = self._history(rows, processors, keys)
        offered = logits if processors.steps and settings.method != "beam" else logp
        offered = _redirected(offered, rows)
        offered = _constrained(offered, [masks[slot] for slot in slots])
        if self._special_tokens.suppressed:
            offered = forbid(offered, self._special_tokens.suppressed)
        return logp, offered, processors, history

    def _ended(self, logits: Tensor, settings: Sampling) -> Tensor:
        """The logits with END for all that ends a text."""
        if not self._special_tokens.eos:
            return logits
        return gather_ends(logits, self._special_tokens.eos, likeliest=_seeks_likeliest(settings))

    def _chain(self, row: Row) -> Chain:
        """The processors of a row; those of one vocabulary and equal settings are shared."""
        settings, characters = row.task.settings, row.task.request.characters
        table = None if characters is None else characters.table
        key = settings, id(table)  # the chain keeps the table alive where it uses it
        if key not in self._chains:
            if len(self._chains) >= MAX_CHAINS:
                self._chains.clear()
            self._chains[key] = chain(settings, table)
        return self._chains[key]

    def _history(self, rows: list[Row], processors: Chain, keys: Tensor) -> History:
        mu = [row.mu for row in rows if row.mu is not None]
        state = torch.tensor(mu, device=keys.device) if mu else None
        if not processors.looks_back:
            return History.of([], [], keys.device, keys=keys)
        starts = [len(row.task.request.prompt) for row in rows]
        heads = [len(row.task.prefix_ids) - start for row, start in zip(rows, starts, strict=True)]
        texts = [row.ids[head:] for row, head in zip(rows, heads, strict=True)]
        return History.of(texts, starts, keys.device, keys=keys, mu=state)


def _leaves_token(line: list[float], settings: Sampling) -> bool:
    """Whether a line of `Chooser._table` has a possible token; its last number is taken off.

    That the logits are not numbers is left to the engine, which says so.
    """
    if settings.searches or settings.method == "contrastive":
        return True
    processed = line.pop()
    return processed > -math.inf or math.isnan(line[1])


def _next_mu(
    settings: Sampling, processors: Chain, history: History, offered: Tensor, tokens: Tensor
) -> Tensor:
    """The next μ of each row, float32 (rows, 1), after these tokens, int64 (rows, 1)."""
    assert history.mu is not None
    assert processors.before_mirostat is not None
    logp = processors.before_mirostat(offered, history).log_softmax(1)
    bits = logp.gather(1, tokens)[:, 0] / -NATS_PER_BIT
    return next_mu(history.mu, bits, settings.mirostat_tau, settings.mirostat_eta)[:, None]


def _seeks_likeliest(settings: Sampling) -> bool:
    return settings.greedy or settings.method in ("beam", "contrastive")


def _redirected(logits: Tensor, rows: list[Row]) -> Tensor:
    """Logits in which a token has the probability of those that a row's constraint has it stand
    for, or that of the likeliest of them where the likeliest token is sought. END has its own, too.
    """
    found = [
        row.constraint.redirected() if isinstance(row.constraint, RedirectsTokens) else None
        for row in rows
    ]
    if all(each is None for each in found):
        return logits
    redirected = logits.clone()
    likeliest = _seeks_likeliest(rows[0].task.settings)
    for number, each in enumerate(found):
        if each is not None:
            every = logits[number, _on(logits, each.tokens)]
            if each.to == END:
                every = torch.cat([logits[number, END, None], every])
            if (every > -math.inf).any():
                redirected[number, each.to] = every.amax() if likeliest else every.logsumexp(0)
    return redirected


def _constrained(logits: Tensor, masks: list[Tensor | None]) -> Tensor:
    """Logits (rows, vocab_size) without the tokens that each row's mask forbids."""
    alike: dict[int, list[int]] = defaultdict(list)
    for number, mask in enumerate(masks):
        if mask is not None:
            alike[id(mask)].append(number)
    if not alike:
        return logits
    [(_, numbers), *others] = alike.items()
    if not others and len(numbers) == len(masks):  # most often: all between two characters
        return logits.masked_fill(~_on(logits, masks[0]), -math.inf)
    constrained = logits.clone()
    for numbers in alike.values():
        mask = _on(logits, masks[numbers[0]])
        constrained[numbers] = logits[numbers].masked_fill(~mask, -math.inf)
    return constrained


def _on(logits: Tensor, mask: Tensor | None) -> Tensor:
    assert mask is not None
    return mask.to(logits.device)


def _needed(rows: list[Row], gains: Tensor, count: int) -> Tensor | None:
    """The best tokens that the goals of each row's constraint need, int64 (rows, at most count),
    filled up with its likeliest token; None: no row has unmet goals.
    """
    masks = [advancing_tokens(row.constraint) for row in rows]
    if all(mask is None for mask in masks):
        return None
    none = torch.zeros(gains.shape[1], dtype=torch.bool)
    allowed = torch.stack([none if mask is None else mask for mask in masks]).to(gains.device)
    most = min(count, int(allowed.sum(1).max()))
    best = gains.masked_fill(~allowed, -math.inf).topk(most, dim=1)
    return best.indices.where(best.values > -math.inf, gains.argmax(1, keepdim=True))


def _prefix_keys(rows: list[Row], device: torch.device) -> Tensor:
    """The noise key of each row, of the user's seed and what the row has written, int64 (rows,)."""
    keys = [prefix_key(row.task.request.sampling.seed, row.output.tobytes()) for row in rows]
    return torch.tensor(keys, device=device)


def _covered(settings: Sampling, rows: list[Row], state: State, index: Tensor) -> Tensor:
    """How well each row has covered its source, float64 (rows, 1)."""
    if not settings.coverage_penalty:
        return torch.zeros(len(rows), 1, device=index.device)
    lengths = [len(row.task.request.source or ()) + 1 for row in rows]
    coverage = state["coverage"][index]
    return coverage_score(coverage, torch.tensor(lengths, device=index.device))[:, None]
