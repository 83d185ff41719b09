"""Rules as a model: a grammar of which texts are drawn whole, and a distribution over what follows.

The model reads characters. A token stands for one, or for one byte of a character that the
tokenizer does not know.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wenmo.grammar.ast import Grammar
from wenmo.grammar.chart import Chart
from wenmo.grammar.forests import Forests
from wenmo.grammar.learning import build_forests, learn_weights
from wenmo.grammar.reading import parse_grammar, read_grammar
from wenmo.grammar.sampler import SampledText, Sampler
from wenmo.grammar.tokens import FIRST_BYTE, NO_TOKEN, TokenChart
from wenmo.grammar.weights import weights_of, with_weights
from wenmo.models.base import LanguageModel
from wenmo.models.capabilities import (
    BindsVocabulary,
    CountsParameters,
    ExplainsTokens,
    FitsCounts,
    RestrictsPrefixes,
    SamplesTexts,
    ValidatesCorpus,
)
from wenmo.models.grammar_config import GrammarConfig
from wenmo.models.state import READ_STATE, empty_read_state, extend_read_state
from wenmo.text.vocabularies import CODE_POINTS
from wenmo.types import END, IGNORE, Batch, Logits, Score, State, Tokens, WenmoError


class GrammarModel(
    LanguageModel,
    SamplesTexts,
    RestrictsPrefixes,
    ExplainsTokens,
    CountsParameters,
    BindsVocabulary,
    ValidatesCorpus,
    FitsCounts,
):
    """A grammar over the texts that a tokenizer of characters or bytes spells.

    Buffers:
        ``source``: uint8, the text of the grammar's file.
        ``weights``: float64, of all alternatives, rule after rule.
        ``codes``: int64 (vocabulary,), what each id stands for; see `TokenChart`.
    """

    conditioning = "none"

    def __init__(self, config: GrammarConfig, vocab_size: int) -> None:
        super().__init__()
        self.config, self.vocab_size, self.context = config, vocab_size, None
        self.state_schema = READ_STATE
        self._grammar: Grammar | None = None
        self._forests: Forests | None = None
        self._samplers: dict[tuple[bool, int | None], Sampler] = {}
        self._store("source", np.zeros(0, np.uint8))
        self._store("weights", np.zeros(0))
        self._store("codes", np.array([NO_TOKEN, *range(1, vocab_size)]))

    # -- the grammar -----------------------------------------------------------------------------

    @property
    def grammar(self) -> Grammar:
        """The grammar with its present weights; its file is read when it is first asked for.

        Raises:
            WenmoError: there is none, or it is wrong.
        """
        if self._grammar is None:
            if not self.config.grammar:
                raise WenmoError("no grammar: say which, as in grammar=rules.toml")
            self.set_grammar(*read_grammar(Path(self.config.grammar)))
        return self._grammar  # type: ignore[return-value]

    def set_grammar(self, grammar: Grammar, source: str) -> None:
        """Take a grammar, and the text of its file."""
        self._grammar = grammar
        self._store("source", np.frombuffer(source.encode(), np.uint8).copy())
        self._store("weights", np.array(weights_of(grammar)))
        self._clear_caches()

    def bind_vocabulary(self, table: Sequence[bytes]) -> None:
        codes, seen = [NO_TOKEN], set()
        for spelled in table[1:]:
            if len(spelled) == 1 and spelled not in seen:
                seen.add(spelled)
                codes.append(FIRST_BYTE - spelled[0])
                continue
            try:
                codes.append(ord(spelled.decode()))
            except (TypeError, UnicodeDecodeError):
                raise WenmoError(
                    "a grammar reads single characters: train it with --tokenizer characters "
                    "or bytes"
                ) from None
        self._store("codes", np.array(codes))
        self._clear_caches()
        _ = self.grammar  # what is wrong with it is told now

    @property
    def chart(self) -> Chart:
        """The grammar as it is parsed.

        Raises:
            WenmoError: it cannot be, for what it saves or modifies.
        """
        if isinstance(self._chart, WenmoError):
            raise self._chart
        return self._chart

    @cached_property
    def _chart(self) -> Chart | WenmoError:
        grammar = self.grammar
        try:
            return Chart.from_grammar(grammar)
        except WenmoError as reason:
            return reason

    def validate_corpus(
        self, ids: NDArray[np.unsignedinteger], progress: Callable[[float], None] | None = None
    ) -> None:
        """See that the grammar can write every text of a stream; the ways in which it can are kept
        for `fit`.
        """
        self._forests = self._parse_corpus(ids, progress)

    def _parse_corpus(
        self, ids: NDArray[np.unsignedinteger], progress: Callable[[float], None] | None
    ) -> Forests:
        texts = Counter(self._texts(ids))
        try:
            return build_forests(self.chart, texts, progress)
        except WenmoError as error:
            lined = isinstance(self._chart, Chart) and any("\n" in text for text in texts)
            hint = "; if each line is a text, say --unit line" if lined else ""
            raise WenmoError(f"{error}{hint}") from None

    @cached_property
    def _token_chart(self) -> TokenChart:
        return TokenChart(self.chart, self.get_buffer("codes").tolist())

    def fit(
        self,
        ids: NDArray[np.unsignedinteger],
        *,
        progress: Callable[[float], None] | None = None,
    ) -> None:
        """Learn the weights from a stream of texts by inside–outside.

        Args:
            ids: END, a text, END, a text, ..., END.
            progress: told the fraction done, between 0 and 1.

        Raises:
            WenmoError: the grammar cannot write one of the texts, or cannot be parsed.
        """
        forests = self._forests
        if forests is None:
            forests = self._parse_corpus(ids, None)
        rounds, prior = self.config.rounds, self.config.prior
        *_, last = learn_weights(
            self.grammar, forests, rounds=rounds, prior=prior, progress=progress
        )
        self._grammar, self._forests = last.grammar, None
        self._store("weights", np.array(weights_of(last.grammar)))
        self._clear_caches()

    def sample_texts(
        self, seeds: Sequence[int], *, uniform: bool = False, depth: int | None = None
    ) -> Iterable[SampledText]:
        if (uniform, depth) not in self._samplers:
            self._samplers[uniform, depth] = Sampler(self.grammar, uniform=uniform, depth=depth)
        return map(self._samplers[uniform, depth].sample, seeds)

    # -- as a language model ---------------------------------------------------------------------

    def initial_state(
        self,
        batch_size: int,
        *,
        source: Tokens | None = None,
        capacity: int = 0,
        generator: torch.Generator | None = None,
    ) -> State:
        return empty_read_state(batch_size, self.device)

    def forward(self, tokens: Tokens, state: State | None = None) -> tuple[Logits, State]:
        state = state or self.initial_state(len(tokens))
        rows = _ids(state)
        logits = torch.full((*tokens.shape, self.vocab_size), -math.inf)
        for row, (ids, new) in enumerate(zip(rows, tokens.tolist(), strict=True)):
            prefix = self._token_chart.state_after(ids)
            for time, token in enumerate(new):
                prefix = self._token_chart.advance(prefix, token)
                probs = self._token_chart.next_token_probs(prefix)
                logits[row, time, list(probs)] = torch.tensor(list(probs.values())).log()
        return logits, extend_read_state(state, tokens)[0]

    def score(self, batch: Batch, state: State | None = None) -> Score:
        """Look up the targets only, without the rest of the distribution."""
        state = state or self.initial_state(len(batch.tokens))
        rows = _ids(state)
        nats = torch.zeros(len(rows), dtype=torch.float64)
        read = zip(batch.tokens.tolist(), batch.targets.tolist(), strict=True)
        for row, (tokens, targets) in enumerate(read):
            prefix = self._token_chart.state_after(rows[row])
            for token, target in zip(tokens, targets, strict=True):
                prefix = self._token_chart.advance(prefix, token)
                if target != IGNORE:
                    nats[row] -= self._token_chart.logprob(prefix, target)
        counted = (batch.targets != IGNORE).sum(1)
        return Score(nats, counted, state=extend_read_state(state, batch.tokens)[0])

    def logprobs(self, ids: Sequence[int]) -> list[float] | None:
        if not isinstance(self._chart, Chart):
            return None
        prefix, found = self._token_chart.root, []
        for token in ids:
            found.append(self._token_chart.logprob(prefix, token))
            prefix = self._token_chart.advance(prefix, token)
        return found

    def accepts_prefix(self, ids: Sequence[int]) -> bool:
        return self._token_chart.state_after(ids).column is not None

    def explain_tokens(
        self, tokens: Tokens, state: State | None = None
    ) -> tuple[list[str], Tensor, Tensor]:
        """The rules: the weight of each is how likely it is to write the next character, or to be
        the start and end the text.
        """
        names = list(dict.fromkeys(self.chart.cfg.rules))
        numbers = {name: number for number, name in enumerate(names)}
        ids = tokens[0].tolist()
        weights = torch.zeros(len(ids) - 1, len(names))
        said = torch.zeros(len(ids) - 1, len(names))
        prefix = self._token_chart.root
        for time, (token, target) in enumerate(pairwise(ids)):
            prefix = self._token_chart.advance(prefix, token)
            for name, probs in self._token_chart.next_token_probs_by_rule(prefix):
                weights[time, numbers[name]] += sum(probs.values())
                said[time, numbers[name]] += probs.get(target, 0.0)
        said = said / weights.clamp_min(1e-30)
        return names, weights / weights.sum(1, keepdim=True).clamp_min(1e-30), said

    @property
    def device(self) -> torch.device:
        """Grammars are read on the CPU."""
        return torch.device("cpu")

    def parameter_count(self) -> int:
        """The number of weights."""
        return len(self.get_buffer("weights"))

    # -- helpers -----------------------------------------------------------------------------------

    def _texts(self, ids: NDArray[np.unsignedinteger]) -> Iterator[str]:
        """The texts of a stream."""
        codes = self.get_buffer("codes").cpu().numpy()[np.asarray(ids, np.int64)]
        ends = np.flatnonzero(codes == NO_TOKEN)
        for start, stop in zip(ends[:-1] + 1, ends[1:], strict=True):
            own = codes[start:stop]
            spelled = [
                chr(code).encode("utf-8", "surrogatepass")
                if code >= 0
                else bytes([FIRST_BYTE - code])
                for code in own.tolist()
            ]
            yield b"".join(spelled).decode("utf-8", "replace")

    def _clear_caches(self) -> None:
        """Drop what was made for other weights, or other tokens."""
        self._samplers.clear()
        for name in ("_chart", "_token_chart"):
            self.__dict__.pop(name, None)

    def _store(self, name: str, values: NDArray[Any]) -> None:
        self.register_buffer(name, torch.from_numpy(values))

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Any], prefix: str, *unused: Any, **unused_too: Any
    ) -> None:
        """Take the tensors with the sizes they have, if they fit together.

        Raises:
            WenmoError: a tensor is missing, or at odds with the others.
        """
        new = {k.removeprefix(prefix): t for k, t in state_dict.items() if k.startswith(prefix)}
        own = dict(self.named_buffers())
        if new.keys() != own.keys() or any(new[n].dtype != t.dtype for n, t in own.items()):
            raise WenmoError("these are not the weights of a grammar")
        if len(new["codes"]) != self.vocab_size:
            raise WenmoError("the grammar was made for another vocabulary")
        try:
            grammar = parse_grammar(bytes(new["source"].tolist()).decode(), "the kept grammar")
        except UnicodeDecodeError:
            raise WenmoError("the kept grammar is damaged") from None
        weights, codes = new["weights"].tolist(), new["codes"].tolist()
        if len(weights) != len(weights_of(grammar)) or not all(0 <= w < math.inf for w in weights):
            raise WenmoError("the weights do not fit the kept grammar")
        if any(not FIRST_BYTE - 255 <= code < CODE_POINTS for code in codes):
            raise WenmoError("the kept grammar's characters are none")
        for name, tensor in new.items():
            self.register_buffer(name, tensor.detach().clone())
        self._clear_caches()
        self._grammar = with_weights(grammar, weights)
        if not all(any(a.weight for a in rule) for rule in self._grammar.rules.values()):
            raise WenmoError("a rule of the kept grammar has lost all its weights")


def _ids(state: State) -> list[list[int]]:
    """What each row has read since the last END."""
    rows = []
    for ids, length in zip(state["read_ids"], state["read_length"].tolist(), strict=True):
        ends = (ids[:length] == END).nonzero()
        begin = int(ends[-1]) + 1 if len(ends) else 0
        rows.append(ids[begin:length].tolist())
    return rows
