"""Where each setting of a recipe has an effect."""

from __future__ import annotations

from dataclasses import dataclass

from wenmo.effects import Effect
from wenmo.models import MODELS
from wenmo.models.shapes import shapes_only
from wenmo.models.transformer.stack import blocks_of
from wenmo.runs.recipe import Recipe
from wenmo.training.adversarial import Adversarial
from wenmo.training.learners import Count
from wenmo.training.selection import learner_for


@dataclass(frozen=True)
class Training:
    """What decides which settings have an effect on a training.

    Attributes:
        recipe: all settings, those that were derived among them.
        has_valid: a text of its own is held out.
    """

    recipe: Recipe
    has_valid: bool

    @property
    def counts(self) -> bool:
        """Whether the model is counted, and not trained by gradients."""
        return learner_for(MODELS[self.recipe.family].model_class) is Count

    @property
    def adversarial(self) -> bool:
        """Whether a critic teaches the model."""
        return learner_for(MODELS[self.recipe.family].model_class) is Adversarial

    @property
    def on_counts(self) -> bool:
        """Whether n-gram counts stand beside the network."""
        return bool(self.recipe.ngram_prior.enabled)

    @property
    def in_windows(self) -> bool:
        """Whether the text is read as one stream, in pieces of equal length."""
        recipe = self.recipe
        whole = MODELS[recipe.family].model_class.record_level or bool(recipe.train.per_record)
        return not (self.counts or recipe.task.paired or whole)

    @property
    def by_length(self) -> bool:
        """Whether batches are made of texts of like length."""
        return not (self.counts or self.in_windows)

    @property
    def has_blocks(self) -> bool:
        """Whether any part of the model is made of Transformer blocks."""
        with shapes_only():
            return bool(blocks_of(self.recipe.generator.build(vocab_size=2)))

    @property
    def own_tokenizer(self) -> bool:
        """Whether the tokenizer is made of this text."""
        start = self.recipe.init
        return not (start.base or start.encoder or start.decoder)


ON_COUNTS = "for networks on counts (--prior ngram)"
TRAINING: tuple[Effect[Training], ...] = (
    Effect(
        "train.steps train.minutes train.gradient_accumulation train.optimizer "
        "train.learning_rate train.weight_decay train.schedule train.warmup_ratio "
        "train.weight_averaging train.label_smoothing train.max_grad_norm "
        "train.precision train.eval_count train.patience train.checkpoint_seconds",
        "for models that are trained by gradients, not counted",
        lambda t: not t.counts,
    ),
    Effect(
        "train.batch_size",
        "for text that is read as a stream (batch_tokens is for pairs and short records)",
        lambda t: t.in_windows or t.adversarial,
    ),
    Effect(
        "train.sequence_length",
        "for text that is read as a stream (batch_tokens is for pairs and short records)",
        lambda t: t.in_windows,
    ),
    Effect(
        "train.tokens_per_batch",
        "for pairs and records that are learnt one by one (rows and time are for a stream)",
        lambda t: t.by_length,
    ),
    Effect(
        "train.per_record",
        "for text without a source, by models that read a stream",
        lambda t: t.in_windows or bool(t.recipe.train.per_record and not t.recipe.task.paired),
    ),
    Effect(
        "train.momentum",
        "with optimizer=sgd, rmsprop or muon",
        lambda t: t.recipe.train.optimizer in ("sgd", "rmsprop", "muon"),
    ),
    Effect(
        "train.beta1 train.beta2",
        "with optimizer=adam, adamw or muon",
        lambda t: t.recipe.train.optimizer in ("adam", "adamw", "muon"),
    ),
    Effect(
        "train.decay_ratio",
        "with schedule=stable-decay",
        lambda t: t.recipe.train.schedule == "stable-decay",
    ),
    Effect(
        "train.min_lr_ratio",
        "with a schedule that decays",
        lambda t: t.recipe.train.schedule != "constant",
    ),
    Effect(
        "train.gradient_checkpointing",
        "for models with Transformer blocks (gpt, transformer, masked, vae:transformer)",
        lambda t: t.has_blocks,
    ),
    Effect(
        "ngram_prior.order ngram_prior.folds",
        ON_COUNTS,
        lambda t: t.on_counts,
    ),
    Effect(
        "ngram_prior.folds_used",
        f"{ON_COUNTS} that read no sources",
        lambda t: t.on_counts and not t.recipe.task.paired,
    ),
    Effect("ngram_prior.extensible", ON_COUNTS, lambda t: t.on_counts),
    Effect("ngram_prior.breaks", ON_COUNTS, lambda t: t.on_counts),
    Effect(
        "init.lora_alpha init.lora_targets",
        "with adapters (lora)",
        lambda t: t.recipe.init.lora_rank > 0,
    ),
    Effect(
        "init.lora_rank init.trainable_blocks init.gradual_unfreezing",
        "with --from another model",
        lambda t: t.recipe.init.base is not None,
    ),
    Effect("task.history", "with --task dialogue", lambda t: t.recipe.task.name == "dialogue"),
    Effect(
        "tokenizer.kind tokenizer.vocab_size tokenizer.min_count tokenizer.split",
        "where the tokenizer is made of this text, not that of another model",
        lambda t: t.own_tokenizer,
    ),
    Effect(
        "tokenizer.split", "with --tokenizer words", lambda t: t.recipe.tokenizer.kind == "words"
    ),
    Effect(
        "tokenizer.vocab_size tokenizer.min_count",
        "with a tokenizer other than bytes",
        lambda t: t.recipe.tokenizer.kind != "bytes",
    ),
    Effect("split.valid", "without --valid", lambda t: not t.has_valid),
)
ALWAYS = (
    "train.eval_tokens train.full_evaluation train.seed ngram_prior.enabled init.base "
    "init.encoder init.decoder init.word_vectors split.seed task.name task.control "
    "task.reply_speakers"
)
"""The settings of these tables that have an effect, or are refused, everywhere."""
