"""The conditions under which the settings of a recipe have an effect."""

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
class TrainingSituation:
    """What determines which settings have an effect in training.

    Attributes:
        recipe: all settings, including derived ones.
        has_valid: a separate validation text is given.
    """

    recipe: Recipe
    has_valid: bool

    @property
    def is_counted(self) -> bool:
        """Whether the model is fitted by counting instead of gradients."""
        return learner_for(MODELS[self.recipe.family].model_class) is Count

    @property
    def is_adversarial(self) -> bool:
        """Whether the model is trained with a critic."""
        return learner_for(MODELS[self.recipe.family].model_class) is Adversarial

    @property
    def has_ngram_prior(self) -> bool:
        """Whether the network is mixed with n-gram counts."""
        return bool(self.recipe.ngram_prior.enabled)

    @property
    def is_stream(self) -> bool:
        """Whether the text is read as one stream, in sequences of equal length."""
        recipe = self.recipe
        record_level = MODELS[recipe.family].model_class.record_level or bool(
            recipe.train.per_record
        )
        return not (self.is_counted or recipe.task.paired or record_level)

    @property
    def is_bucketed(self) -> bool:
        """Whether batches consist of texts of similar length."""
        return not (self.is_counted or self.is_stream)

    @property
    def has_blocks(self) -> bool:
        """Whether the model has Transformer blocks."""
        with shapes_only():
            return bool(blocks_of(self.recipe.generator.build(vocab_size=2)))

    @property
    def trains_tokenizer(self) -> bool:
        """Whether the tokenizer is trained on this text."""
        return not (self.is_pretrained or self.recipe.tokenizer.run)

    @property
    def is_pretrained(self) -> bool:
        """Whether the weights, and so the tokenizer, are another model's."""
        init = self.recipe.init
        return bool(init.base or init.encoder or init.decoder)


WITH_NGRAM_PRIOR = "for networks on counts (--prior ngram)"
TRAINING_EFFECTS: tuple[Effect[TrainingSituation], ...] = (
    Effect(
        "train.steps train.minutes train.gradient_accumulation train.optimizer "
        "train.learning_rate train.weight_decay train.schedule train.warmup_ratio "
        "train.weight_averaging train.label_smoothing train.max_grad_norm "
        "train.precision train.eval_count train.patience train.checkpoint_seconds",
        "for models that are trained by gradients, not counted",
        lambda t: not t.is_counted,
    ),
    Effect(
        "train.batch_size",
        "for text that is read as a stream (batch_tokens is for pairs and short records)",
        lambda t: t.is_stream or t.is_adversarial,
    ),
    Effect(
        "train.sequence_length",
        "for text that is read as a stream (batch_tokens is for pairs and short records)",
        lambda t: t.is_stream,
    ),
    Effect(
        "train.tokens_per_batch",
        "for pairs and records that are learnt one by one (rows and time are for a stream)",
        lambda t: t.is_bucketed,
    ),
    Effect(
        "train.per_record",
        "for text without a source, by models that read a stream",
        lambda t: t.is_stream or bool(t.recipe.train.per_record and not t.recipe.task.paired),
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
        WITH_NGRAM_PRIOR,
        lambda t: t.has_ngram_prior,
    ),
    Effect(
        "ngram_prior.folds_used",
        f"{WITH_NGRAM_PRIOR} that read no sources",
        lambda t: t.has_ngram_prior and not t.recipe.task.paired,
    ),
    Effect("ngram_prior.extensible", WITH_NGRAM_PRIOR, lambda t: t.has_ngram_prior),
    Effect("ngram_prior.breaks", WITH_NGRAM_PRIOR, lambda t: t.has_ngram_prior),
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
        lambda t: t.trains_tokenizer,
    ),
    Effect("tokenizer.run", "without --from another model", lambda t: not t.is_pretrained),
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
ALWAYS_EFFECTIVE = (
    "train.eval_tokens train.full_evaluation train.seed ngram_prior.enabled init.base "
    "init.encoder init.decoder init.word_vectors split.seed task.name task.control "
    "task.reply_speakers"
)
"""Settings that always have an effect, or are refused."""
