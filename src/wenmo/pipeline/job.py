"""What the stages of one training share: prepare, train, finish."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wenmo.budget import TimeBudget
from wenmo.models.base import LanguageModel
from wenmo.pipeline.datasets import Dataset, PairDataset, Quick, RecordDataset, StreamDataset
from wenmo.progress import FractionCallback, ProgressCallback, fraction_callback
from wenmo.runs.recipe import Recipe
from wenmo.runs.store import Card, apply_special_tokens, load_model, save_model
from wenmo.text.corpus import Corpus
from wenmo.text.tokenizers import Tokenizer
from wenmo.train_config import TrainConfig
from wenmo.training.learners import Learner
from wenmo.training.selection import learner_for


@dataclass
class Job:
    """One training.

    Attributes:
        folder: the run folder.
        is_new: the folder held no run before.
        recipe: all settings, derived ones included.
        corpus: the text.
        card: the model card, to which results are added.
        model: the model in training.
        dataset: the text as the model is trained and evaluated on it.
        time: the wall-clock time; without bounds where the budget is a number of steps.
        on_progress: receives notes for the user, and the progress of what is not training.
        reference: ids of a text on which forgetting is measured.
        ready_seconds: seconds from the start of the command to the first step.
        counting_seconds: seconds of these that n-gram counts took.
    """

    folder: Path
    is_new: bool
    recipe: Recipe
    corpus: Corpus
    card: Card
    model: LanguageModel
    dataset: Dataset
    time: TimeBudget
    on_progress: ProgressCallback | None
    reference: NDArray[np.unsignedinteger] | None = None
    ready_seconds: float = 0.0
    counting_seconds: float = 0.0

    @property
    def tokenizer(self) -> Tokenizer:
        return self.corpus.tokenizer

    @property
    def is_timed(self) -> bool:
        """Whether the budget is given in minutes."""
        return self.recipe.train.minutes is not None

    @property
    def learner_class(self) -> type[Learner]:
        return learner_for(type(self.model))

    def note(self, text: str | None) -> None:
        """Pass a line for the user on, if there is one."""
        if self.on_progress is not None and text is not None:
            self.on_progress(text, None)

    def progress_of(self, activity: str) -> FractionCallback | None:
        """A callback for the progress of an activity."""
        return fraction_callback(self.on_progress, activity)

    def seconds_for(self, share: float) -> float | None:
        """A share of the time that is left, for something after the last step; None: no bound."""
        if not self.is_timed or self.recipe.train.full_evaluation:
            return None
        return share * self.time.remaining()

    def set_train_config(self, train: TrainConfig) -> None:
        """Change the training settings, in the card too."""
        self.recipe = self.card.recipe = replace(self.recipe, train=train)
        self.dataset = make_dataset(self.recipe, self.corpus, self.card, self.model)

    def write_card(self) -> None:
        self.card.write(self.folder)

    def save_model(self) -> None:
        """Write the current weights into the run folder, as the best so far."""
        save_model(self.folder, self.recipe, self.model, self.tokenizer, self.card.template)

    def load_best(self) -> LanguageModel:
        """The weights that the run folder holds."""
        size, end = self.tokenizer.vocab_size, self.tokenizer.end
        best = apply_special_tokens(load_model(self.folder, self.recipe, size, end), self.card)
        return best.to(self.model.device)


def make_dataset(recipe: Recipe, corpus: Corpus, card: Card, model: LanguageModel) -> Dataset:
    """The text as a model is trained and evaluated on it: pairs, records or a stream."""
    quick = Quick(recipe.train.eval_tokens)
    if recipe.task.paired:
        return PairDataset(recipe, corpus, card.longest_target, quick)
    if model.record_level:
        return RecordDataset(recipe, corpus, quick)
    return StreamDataset(recipe, corpus, card.default_prompt, quick)
