"""How the tokens of a text are chosen: the settings of a request."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from wenmo.config import shown

DRAWING = {"temperature", "top_k", "top_p", "min_p", "typical_p"}
"""Settings that only drawing heeds: who asks for one without a method asks to draw."""


@dataclass(frozen=True)
class Sampling:
    """What a request may ask of the way its text is chosen. The defaults leave the model as it is.

    Attributes:
        method: ``sample`` draws each token, ``greedy`` takes the likeliest, ``beam`` searches for
            the text of the best score (see `wenmo.decoding.beam`). Only ``sample`` heeds the
            settings from temperature to typical_p and the seed. ``uniform`` is for grammars: every
            way to make a text is as likely as any other.
        max_tokens: the most tokens to write.
        min_tokens: the text may not end before it has so many.
        temperature: below 1 the likely becomes likelier; to sample at 0 is greedy.
        top_k: keep the k likeliest tokens; 0 keeps all.
        top_p: keep the likeliest tokens that together have probability p; 1 keeps all.
        min_p: keep the tokens at least so likely as this share of the likeliest; 0 keeps all.
        typical_p: keep the tokens of most typical information that together have probability p.
        repetition_penalty: divides the logits of what the prompt or the output holds; 1 is none. A
            beam applies it, as the other penalties and the bias, to log-probabilities.
        presence_penalty: lowers, once, the logits of what was written.
        frequency_penalty: lowers the logits of what was written, each time it was.
        no_repeat_ngram: no n tokens of prompt and output occur twice; 0 allows it.
        logit_bias: (id, amount) pairs, added to the logits; −inf forbids the token.
        stop: the text ends before the first of these strings.
        seed: the same seed and request give the same text, alone or among others.
        same_length: an answer has as many characters as its source; for models with a source.
        unseen_characters: also write characters that neither the training text nor the prompt has.
        beam_width: how many texts a beam follows at once; a beam of one writes the greedy text.
        length_penalty: how strongly a beam makes up for the cost of length; 0 does not, 1 compares
            the log-probability of a token.
        length_penalty_form: what a beam divides a log-probability by: with ``power``, the length to
            the power of length_penalty; with ``gnmt``, equation 14 of Wu et al. (2016).
        coverage_penalty: how much a beam minds places of the source that got little attention
            (Wu et al. 2016, equation 14); for models whose state holds ``coverage``.
        beam_groups: into how many groups a beam is parted, which keep away from each other
            (Vijayakumar et al. 2018); 1 is the plain search.
        unmask_order: in which order models that fill gaps write: ``random`` (Sahoo et al. 2024), by
            ``confidence``, the surest first (Ghazvininejad et al. 2019; Chang et al. 2022), or from
            the ``left``, as all others do, with every setting that looks back.
        unmask_steps: in how many steps all tokens appear; 0: one by one.
        unmask_schedule: as many at each step (``linear``), or few at first (``cosine``).
        remask: what has appeared may be hidden again and chosen anew.
        gap_tokens: how many tokens a gap has; 0: what suits it best.
        diversity_penalty: what a token costs a group for each time that a group before it chose it
            at the same step.
        max_depth: of a grammar's text, so many rules may stand within one another; None: as the
            grammar says.

    Raises:
        ValueError: a value out of range; the message names the field.
    """

    method: Literal["sample", "greedy", "beam", "uniform"] = "sample"
    max_tokens: int = 256
    min_tokens: int = 0
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    typical_p: float = 1.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    no_repeat_ngram: int = 0
    logit_bias: tuple[tuple[int, float], ...] = ()
    stop: tuple[str, ...] = ()
    seed: int = 0
    same_length: bool = False
    unseen_characters: bool = False
    beam_width: int = 5
    length_penalty: float = 0.6
    length_penalty_form: Literal["power", "gnmt"] = "power"
    coverage_penalty: float = 0.0
    beam_groups: int = 1
    diversity_penalty: float = 0.5
    unmask_order: Literal["random", "confidence", "left"] = "random"
    unmask_steps: int = 0
    unmask_schedule: Literal["linear", "cosine"] = "linear"
    remask: bool = False
    gap_tokens: int = 0
    max_depth: int | None = None

    def __post_init__(self) -> None:
        valid = {  # every test is false for NaN
            "method": (
                self.method in ("sample", "greedy", "beam", "uniform"),
                "sample, greedy, beam or uniform",
            ),
            "max_tokens": (self.max_tokens >= 1, "at least 1"),
            "min_tokens": (0 <= self.min_tokens <= self.max_tokens, "from 0 to max_tokens"),
            "temperature": (0 <= self.temperature < math.inf, "0 or more"),
            "top_k": (self.top_k >= 0, "0 or more"),
            "top_p": (0 < self.top_p <= 1, "above 0 and at most 1"),
            "min_p": (0 <= self.min_p <= 1, "from 0 to 1"),
            "typical_p": (0 < self.typical_p <= 1, "above 0 and at most 1"),
            "repetition_penalty": (0.01 <= self.repetition_penalty <= 100, "from 0.01 to 100"),
            "presence_penalty": (abs(self.presence_penalty) <= 100, "from -100 to 100"),
            "frequency_penalty": (abs(self.frequency_penalty) <= 100, "from -100 to 100"),
            "no_repeat_ngram": (self.no_repeat_ngram >= 0, "0 or more"),
            "logit_bias": (
                all(token >= 0 and amount <= 1e4 for token, amount in self.logit_bias),
                "pairs of a token id and an amount of at most 10000",
            ),
            "stop": (all(self.stop), "strings that are not empty"),
            "seed": (0 <= self.seed < 2**63, "from 0 to 2**63 - 1"),
            "beam_width": (1 <= self.beam_width <= 1000, "from 1 to 1000"),
            "length_penalty": (0 <= self.length_penalty <= 10, "from 0 to 10"),
            "length_penalty_form": (self.length_penalty_form in ("power", "gnmt"), "power or gnmt"),
            "coverage_penalty": (0 <= self.coverage_penalty <= 100, "from 0 to 100"),
            "beam_groups": (
                self.beam_groups >= 1 and self.beam_width % self.beam_groups == 0,
                f"at least 1, and divide the beam_width of {self.beam_width}",
            ),
            "diversity_penalty": (0 <= self.diversity_penalty <= 100, "from 0 to 100"),
            "unmask_order": (
                self.unmask_order in ("random", "confidence", "left"),
                "random, confidence or left",
            ),
            "unmask_steps": (self.unmask_steps >= 0, "0 or more"),
            "unmask_schedule": (self.unmask_schedule in ("linear", "cosine"), "linear or cosine"),
            "gap_tokens": (self.gap_tokens >= 0, "0 or more"),
            "max_depth": (self.max_depth is None or 1 <= self.max_depth <= 200, "from 1 to 200"),
        }
        for name, (holds, wanted) in valid.items():
            if not holds:
                raise ValueError(f"{name}={shown(getattr(self, name))}: must be {wanted}")

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is always taken."""
        return self.method == "greedy" or (self.method == "sample" and self.temperature == 0)

    @property
    def unmasks(self) -> bool:
        """Whether a model that fills gaps writes in its own way, and not from left to right."""
        return self.method != "beam" and self.unmask_order != "left"
