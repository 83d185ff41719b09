"""Generated texts, as they grow and when they are finished."""

from __future__ import annotations

from dataclasses import dataclass, field

from wenmo.decoding.alternatives import Position
from wenmo.decoding.detokenize import Detokenizer
from wenmo.decoding.drafts.base import Speculation
from wenmo.decoding.engines.base import Event, StoppedBy
from wenmo.grammar.derivation import Derivation


@dataclass(frozen=True, slots=True)
class Output:
    """A generated text.

    Attributes:
        text: the text after the prompt, without a stop string.
        tokens: the number of tokens, including END and those of a stop string.
        logprob: the sum of the natural log-probabilities of the tokens under the model itself; of a
            combination of models, under its base.
        stopped_by: what ended the text: ``end`` (the model chose END), ``constraint`` (a constraint
            left nothing but END), ``length`` (max_tokens) or ``stop`` (a stop string).
        truncated: the model did not read all of the prompt, or of the source, for want of context.
        score: the score of a beam, the expected utility of minimum Bayes risk; of other methods,
            the log-probability.
        ids: the tokens.
        logprobs: the log-probability of each token; NaN where it cannot be computed.
        weight: the importance weight of texts that were drawn without replacement (stochastic
            beam search); None: of other methods.
        derivation: the rules that made the text, of grammars.
        seed: of the request; the same request with this seed gives the same text.
        positions: of each token, the likeliest tokens in its place, where they were asked for.
        combined_logprob: the sum of the log-probabilities under a combination of models; None:
            nothing is combined.
        speculation: what came of the draft, which is no part of the text; None: there was none.
    """

    text: str
    tokens: int
    logprob: float
    stopped_by: StoppedBy
    truncated: bool
    score: float
    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    weight: float | None = None
    derivation: Derivation | None = None
    seed: int = 0
    combined_logprob: float | None = None
    positions: tuple[Position, ...] = ()
    speculation: Speculation | None = field(default=None, compare=False)


@dataclass(slots=True)
class GrowingText:
    """A text that is being generated.

    Attributes:
        skip: how many of its next bytes are not shown.
    """

    detokenizer: Detokenizer
    skip: int = 0
    text: str = ""
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)

    def append(self, event: Event, data: bytes) -> str:
        """Add a token that spells ``data``; the text that is certain after it."""
        self.ids.append(event.token)
        self.logprobs.append(event.logprob)
        piece = self.detokenizer.feed(data[self.skip :])
        self.skip = max(0, self.skip - len(data))
        self.text += piece
        return piece

    def finish(self) -> str:
        """The rest of the text."""
        rest = self.detokenizer.rest()
        self.text += rest
        return rest

    def output(self, stopped_by: StoppedBy, truncated: bool, last: Event) -> Output:
        """The finished text, whose last event is given."""
        logprob = sum(self.logprobs)
        return Output(
            self.text,
            len(self.ids),
            logprob,
            stopped_by,
            truncated,
            logprob if last.score is None else last.score,
            tuple(self.ids),
            tuple(self.logprobs),
            last.weight,
            speculation=last.speculation,
        )
