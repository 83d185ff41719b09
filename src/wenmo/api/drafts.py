"""Opens what proposes tokens for a run."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from wenmo.api.combination import matching_ids
from wenmo.decoding.combination.members import Reindexed
from wenmo.decoding.drafts.base import Draft
from wenmo.decoding.drafts.model import ModelDraft
from wenmo.decoding.drafts.ngram import NgramDraft
from wenmo.decoding.drafts.prompt import PromptDraft
from wenmo.decoding.drafts.settings import NGRAM, PROMPT
from wenmo.models.base import LanguageModel
from wenmo.models.capabilities import HasMixture, HasNgrams, capability
from wenmo.models.followers import NgramTables
from wenmo.runs.preflight import other_vocabulary
from wenmo.runs.store import load_run
from wenmo.text.tokenizers import Tokenizer
from wenmo.types import WenmoError


def open_draft(name: str, folder: Path, model: LanguageModel, tokenizer: Tokenizer) -> Draft[Any]:
    """The draft of a name: ``prompt``, ``ngram``, or a run.

    Args:
        folder, model, tokenizer: of the run that the draft proposes to.

    Raises:
        WenmoError: the run has no n-gram counts, or the draft cannot be loaded or has another
            vocabulary.
    """
    if name == PROMPT:
        return PromptDraft()
    if name == NGRAM:
        return NgramDraft(_own_ngrams(folder, model))
    _, other, their_tokenizer = load_run(Path(name))
    own, others = tokenizer.table, their_tokenizer.table
    if own == others:
        ngrams = capability(other, HasNgrams)
        return ModelDraft(other) if ngrams is None else NgramDraft(ngrams.ngram_tables())
    order = matching_ids(own, others)
    if order is None:
        missing = Counter(own) - Counter(others)
        raise other_vocabulary(name, folder, sum(missing.values()), len(own))
    return ModelDraft(Reindexed(other, order))


def _own_ngrams(folder: Path, model: LanguageModel) -> NgramTables:
    """The n-grams that a network was trained with."""
    if capability(model, HasNgrams) is not None:
        raise WenmoError(
            f"draft=ngram: {folder} is an n-gram model itself, and there is nothing quicker: leave "
            "the draft out"
        )
    mixture = capability(model, HasMixture)
    for component in () if mixture is None else mixture.mixture_components().values():
        ngrams = capability(component, HasNgrams)
        if ngrams is not None:
            return ngrams.ngram_tables()
    raise WenmoError(
        f"draft=ngram: {folder} has no n-gram counts: train it with --prior ngram, or name an "
        "n-gram run over the same vocabulary"
    )
