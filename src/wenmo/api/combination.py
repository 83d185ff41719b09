"""Opens the runs that steer another run, and combines their models with its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from wenmo.decoding.combination.classifier import load_classifier
from wenmo.decoding.combination.members import AfterOtherPrompt, ClassPosterior, Reindexed
from wenmo.decoding.combination.model import CombinedModel, Member
from wenmo.decoding.combination.settings import CombinationSettings
from wenmo.models.base import LanguageModel
from wenmo.runs.preflight import other_vocabulary
from wenmo.runs.store import Card, load_run
from wenmo.text.pairs import max_source_length
from wenmo.text.tokenizers import Tokenizer
from wenmo.types import END, WenmoError


class _Opened(NamedTuple):
    """The model of a run, and whether it was trained on pairs."""

    model: LanguageModel
    reads_source: bool


class Combiner:
    """Combines the model of a run with those of others, which are opened once.

    Args:
        folder, card, model, tokenizer: of the run that is steered.
    """

    def __init__(
        self, folder: Path, card: Card, model: LanguageModel, tokenizer: Tokenizer
    ) -> None:
        self.folder, self.card, self.model, self.tokenizer = folder, card, model, tokenizer
        self._opened: dict[str, _Opened] = {}

    def combine(self, settings: CombinationSettings) -> CombinedModel:
        """The model of the run, steered by the others that the settings name.

        Raises:
            WenmoError: a run cannot be loaded, has another vocabulary, or reads its source in
                another way; or a negative prompt is too long.
        """
        weights = [weight for _, weight in settings.experts]
        opened = [self._open(path) for path, _ in settings.experts]
        if settings.combine == "bayes":
            if len({each.reads_source for each in opened}) > 1:
                raise WenmoError(
                    "combine=bayes: some of the runs were trained on pairs and others on plain "
                    "text: choose runs of one kind"
                )
            classes = ClassPosterior([each.model for each in opened], weights)
            reading = self._reading(classes, reads_source=opened[0].reads_source)
            members = [Member(reading, settings.class_weight, is_distribution=False)]
        else:
            models = (self._reading(*each) for each in opened)
            members = [Member(*each) for each in zip(models, weights, strict=True)]
        for path, weight in settings.classifiers:
            classifier = load_classifier(Path(path), self.tokenizer.table).to(self.model.device)
            reading = self._reading(classifier, reads_source=False)
            members.append(Member(reading, weight, is_distribution=False))
        scale = settings.guidance_scale
        if scale != 1:
            members.append(Member(self._unguided(settings.negative_prompt or ""), 1 - scale))
        return CombinedModel(
            self.model,
            members,
            rule="mixture" if settings.combine == "mixture" else "product",
            base_weight=scale,
            top_k=settings.top_k,
            top_p=settings.top_p,
            min_p=settings.min_p,
        ).eval()

    def _open(self, path: str) -> _Opened:
        """The model of a run, over the ids of the run that is steered."""
        if path not in self._opened:
            card, model, tokenizer = load_run(Path(path))
            own, paired = self.card.recipe.task, card.recipe.task.paired
            if paired and (not own.paired or model.conditioning != self.model.conditioning):
                raise WenmoError(
                    f"{path}: was trained to answer a source, which {self.folder} does not read "
                    "in the same way: steer it by a run trained on plain text, or on the same pairs"
                )
            self._opened[path] = _Opened(self._aligned(path, model, tokenizer), paired)
        return self._opened[path]

    def _reading(self, model: LanguageModel, reads_source: bool) -> LanguageModel:
        """The model as it reads a request: what knows no sources reads the answer alone."""
        has_prefix = self.card.recipe.task.paired and self.model.conditioning == "prefix"
        if reads_source or not has_prefix:
            return model
        return AfterOtherPrompt(model, model.special_tokens.bos or (END,))

    def _aligned(self, path: str, model: LanguageModel, tokenizer: Tokenizer) -> LanguageModel:
        own, others = self.tokenizer.table, tokenizer.table
        if own == others:
            return model
        order = matching_ids(own, others)
        if order is None:
            missing = Counter(own) - Counter(others)
            raise other_vocabulary(path, self.folder, sum(missing.values()), len(own))
        return Reindexed(model, order)

    def _unguided(self, negative: str) -> LanguageModel:
        """The run's model after the negative prompt, or with it as its source."""
        tokens = self.model.special_tokens
        bos = tokens.bos or (END,)
        if not self.card.recipe.task.paired:
            text = negative or self.card.default_prompt
            return AfterOtherPrompt(self.model, [*bos, *self.tokenizer.encode(text).tolist()])
        source = self.tokenizer.encode_source(negative).tolist() if negative else []
        room = max_source_length(self.model.conditioning, self.model.context)
        if room is not None and len(source) > room:
            raise WenmoError(
                f"negative_prompt: has {len(source)} tokens, but the model reads a source of at "
                f"most {room}: shorten it"
            )
        if self.model.conditioning == "encoder":
            return AfterOtherPrompt(self.model, (), [*source, *tokens.source_suffix])
        return AfterOtherPrompt(self.model, [*tokens.bos, *source, *tokens.separator] or [END])


def matching_ids(own: Sequence[bytes], others: Sequence[bytes]) -> Tensor | None:
    """The other id of each of our ids, if both have the same tokens; else None.

    Several tokens may be spelled alike, as a byte and a character: they are matched in order.
    """
    if own[END] != others[END] or Counter(own) != Counter(others):
        return None
    ids: dict[bytes, list[int]] = {}
    for id_, spelled in enumerate(others):
        ids.setdefault(spelled, []).append(id_)
    remaining = {spelled: iter(found) for spelled, found in ids.items()}
    return torch.tensor([next(remaining[spelled]) for spelled in own])
