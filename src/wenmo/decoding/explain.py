"""What decoding does to the model's logits for a request, step by step, in words."""

from __future__ import annotations

from collections.abc import Sequence

from wenmo.decoding.chain_text import format_chain, format_setting
from wenmo.decoding.constraints.settings import ConstraintSettings
from wenmo.decoding.logits import chain
from wenmo.decoding.params import Sampling
from wenmo.types import SpecialTokens

STRATEGIES = {
    "sample": "draw a token (Gumbel-max; noise by seed, position and token)",
    "greedy": "take the likeliest token; of equal ones, the lowest id",
    "beam": "search for the texts with the best score",
    "beam-sample": "draw the hypotheses of a beam",
    "stochastic-beam": "draw whole texts without replacement (Gumbel top-k)",
    "contrastive": "take the candidate with the best balance of probability and similarity",
    "uniform": "draw a derivation of the grammar; all are equally likely",
}
SCORING = (
    *("beam_width", "length_penalty", "length_penalty_form", "coverage_penalty"),
    "early_stopping",
)
SEARCHING: dict[str, tuple[str, ...]] = {
    "beam": (*SCORING, "beam_groups", "diversity_penalty"),
    "beam-sample": SCORING,
    "stochastic-beam": ("beam_width",),
    "contrastive": ("penalty_alpha", "candidates"),
}
"""What a method goes by, besides the processors."""


def explain_decoding(
    sampling: Sampling,
    special_tokens: SpecialTokens,
    table: Sequence[bytes],
    *,
    alphabet: int | None,
    constraints: ConstraintSettings,
    grammar: str | None = None,
    unmasks: bool = False,
    defaults: Sampling | None = None,
) -> list[str]:
    """What happens to the logits of each position, one line for each step, in order of application.

    Args:
        special_tokens: of the model.
        table: the bytes of each token.
        alphabet: the number of characters that may be written, those of the request not counted;
            None: all may be.
        constraints: of the text.
        grammar: the file of the grammar that holds the text.
        unmasks: a masked model fills tokens in an order of its own.
        defaults: of the run; see `format_chain`.
    """
    lines = []
    if special_tokens.eos:
        likeliest = not sampling.draws
        share = "the largest logit" if likeliest else "the sum of the probabilities"
        lines.append(f"end: END gets {share} of {_names(special_tokens.eos, table)}")
    lines.append("constraint: UTF-8, no token that breaks a character")
    if alphabet is not None:
        lines.append(f"constraint: {alphabet:,} characters of the training text, and the request's")
    if grammar is not None:
        lines.append(f"constraint: grammar {grammar}")
    if sampling.same_length:
        lines.append("constraint: same_length")
    for name in constraints.given:
        lines.append(f"constraint: {name}={format_setting(getattr(constraints, name))}")
    if sampling.token_healing:
        lines.append("constraint: token_healing, the text completes a token that the prompt begins")
    if special_tokens.suppressed:
        lines.append(f"suppressed: {_names(special_tokens.suppressed, table)}")
    lines += [f"processor: {step}" for step in chain(sampling, table).steps]
    lines.append(f"strategy: {_strategy(sampling, unmasks=unmasks)}")
    lines.append(f"end: max_tokens={sampling.max_tokens}")
    if sampling.stop:
        lines.append(f"end: stop={format_setting(sampling.stop)}")
    return [*lines, f"seed: {sampling.seed}", f"chain: {format_chain(sampling, defaults)}"]


def _strategy(sampling: Sampling, *, unmasks: bool) -> str:
    method = "greedy" if sampling.greedy else sampling.method
    text = f"{method}, {STRATEGIES[method]}"
    if sampling.mbr is not None:
        text += f"; of mbr_samples={sampling.mbr_samples} texts the best by mbr={sampling.mbr}"
    settings = SEARCHING.get(method, ())
    if unmasks:
        settings = ("unmask_order", "unmask_steps", "unmask_schedule", "remask")
    return "; ".join(
        [text, *(f"{name}={format_setting(getattr(sampling, name))}" for name in settings)]
    )


def _names(tokens: Sequence[int], table: Sequence[bytes]) -> str:
    """Tokens by id and text."""
    shown = [f"{token} {table[token].decode(errors='replace')!r}" for token in tokens[:8]]
    more = f" and {len(tokens) - 8} more" if len(tokens) > 8 else ""
    return f"token{'s' * (len(tokens) > 1)} {', '.join(shown)}{more}"
