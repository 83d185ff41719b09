"""A recipe: all settings of a run, in small tables, and how a user changes them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wenmo.config import as_settings, from_dict, load_toml, override, shown, table_of, to_dict
from wenmo.format1 import convert_setting
from wenmo.models import MODELS, LanguageModel, ModelConfig, configure, find
from wenmo.models.hybrid import Hybrid
from wenmo.models.ngram import Ngram
from wenmo.text.corpus import SplitConfig
from wenmo.text.readers import ReadConfig
from wenmo.text.tasks import TaskConfig
from wenmo.text.tokenizers import TokenizerConfig
from wenmo.train_config import TrainConfig

DEFAULT_MINUTES = 3.0
DEFAULT_ORDERS = 5


@dataclass(frozen=True)
class NgramPriorConfig:
    """What a network stands on.

    Attributes:
        enabled: whether n-gram counts of the training text stand beside it; null: where they suit
            the text and the time.
        order: the length of the longest n-grams; null: what suits the tokens.
        folds: into how many parts the text is cut, each to be scored by the counts of the others.
        folds_used: how many of them, from the first on, the network reads; null: as many as the
            time allows for. For pairs it is always all.
        extensible: keep how often each n-gram was seen, so that a run which begins ``--from`` this
            one adds its text to the counts; null: yes. (Runs of older versions did not.)
        breaks: ids of the tokens that end a line or a text, whose weights in the mixture are their
            own; null: found in the vocabulary. (Older runs have none.)
    """

    enabled: bool | None = None
    order: int | None = None
    folds: int = 5
    folds_used: int | None = None
    extensible: bool | None = None
    breaks: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.order is not None and self.order < 2:
            raise ValueError("order must be at least 2")
        if self.folds < 2:
            raise ValueError("folds must be at least 2")
        if self.folds_used is not None and not 1 <= self.folds_used <= self.folds:
            raise ValueError("folds_used must be at least 1, and at most as many as folds")
        breaks = self.breaks or ()
        if min(breaks, default=0) < 0 or len(set(breaks)) < len(breaks):
            raise ValueError("breaks must be different token ids, from 0 on")


@dataclass(frozen=True)
class InitConfig:
    """What training begins from.

    Attributes:
        base: a model that others trained, or a run; null: nothing.
        lora_rank: the rank of adapters beside its layers, which alone are trained; 0: there are
            none, and its own weights are trained.
        lora_alpha: what adapters are scaled by, over their rank; null: twice the rank.
        lora_targets: the layers that are given adapters, by name; (): all of the blocks'.
        trainable_blocks: train only so many of the last blocks, and what follows them; null:
            everything.
        gradual_unfreezing: begin with what follows the blocks, and let one block more, from the
            last on, be trained in each equal part of the first half (Howard & Ruder 2018, section
            3.2).
        encoder, decoder: a run whose weights that side of an encoder–decoder begins with; what is
            left open of the model's settings is then as there, and the tokenizer is that run's.
        word_vectors: a file of word vectors that the embeddings of such words begin with, or a run,
            with whose embeddings those of the same tokens begin.
    """

    base: str | None = None
    lora_rank: int = 0
    lora_alpha: float | None = None
    lora_targets: tuple[str, ...] = ()
    trainable_blocks: int | None = None
    gradual_unfreezing: bool = False
    encoder: str | None = None
    decoder: str | None = None
    word_vectors: str | None = None

    def __post_init__(self) -> None:
        if self.lora_rank < 0 or (self.trainable_blocks is not None and self.trainable_blocks < 0):
            raise ValueError("lora_rank and trainable_blocks must not be negative")
        if self.lora_rank and (self.trainable_blocks is not None or self.gradual_unfreezing):
            raise ValueError(
                "adapters (lora_rank) leave the blocks as they are: without trainable_blocks or "
                "gradual_unfreezing"
            )
        if self.lora_alpha is not None and self.lora_alpha <= 0:
            raise ValueError("lora_alpha must be above 0")

    @property
    def scale(self) -> float:
        """The adapters' alpha."""
        return float(self.lora_alpha if self.lora_alpha is not None else 2 * self.lora_rank)


@dataclass(frozen=True)
class Recipe:
    """All settings of a run, in small tables: ``model.hidden_size=512``,
    ``train.learning_rate=0.001``.

    Attributes:
        family: which entry of the catalogue.
        model: its settings.
        init: what training begins from.
        ngram_prior: the counts that it stands on.
        task: what is learnt from each record.
        tokenizer: how text becomes tokens.
        read: how text is read.
        split: what is held out.
        train: how the model is trained.
        given: the settings that the user chose, as ``model.hidden_size``; the others are open.
    """

    family: str
    model: ModelConfig
    ngram_prior: NgramPriorConfig = NgramPriorConfig()
    init: InitConfig = InitConfig()
    task: TaskConfig = TaskConfig()
    tokenizer: TokenizerConfig = TokenizerConfig()
    read: ReadConfig = ReadConfig()
    split: SplitConfig = SplitConfig()
    train: TrainConfig = TrainConfig()
    given: frozenset[str] = frozenset()

    def tables(self) -> dict[str, Any]:
        """The settings as plain dicts."""
        names = ("model", "ngram_prior", "init", "task", "tokenizer", "read", "split", "train")
        return {"family": self.family, **{name: to_dict(getattr(self, name)) for name in names}}

    @classmethod
    def from_tables(cls, tables: dict[str, Any]) -> Recipe:
        """Take back what ``tables`` gave."""
        return cls(
            tables["family"],
            configure(tables["family"], tables["model"]),
            # Older runs lack these three tables.
            from_dict(
                NgramPriorConfig,
                tables.get("ngram_prior", {"enabled": False}),
                where="ngram_prior.",
            ),
            from_dict(InitConfig, tables.get("init", {}), where="init."),
            from_dict(TaskConfig, tables.get("task", {}), where="task."),
            from_dict(TokenizerConfig, tables["tokenizer"], where="tokenizer."),
            from_dict(ReadConfig, tables["read"], where="read."),
            from_dict(SplitConfig, tables["split"], where="split."),
            from_dict(TrainConfig, tables["train"], where="train."),
        )

    @property
    def generator(self) -> ModelConfig:
        """What builds the whole model: the family's settings, maybe on those of counts."""
        if not self.ngram_prior.enabled:
            return self.model
        orders, kept = self.ngram_prior.order or DEFAULT_ORDERS, bool(self.ngram_prior.extensible)
        counts = Ngram.Config(orders, totals=True, counts=kept)
        parts = None if self.task.paired else self.ngram_prior.folds_used
        breaks = self.ngram_prior.breaks or ()
        return Hybrid.Config(self.model, counts, self.ngram_prior.folds, parts, breaks)

    def build(self, vocab_size: int) -> LanguageModel:
        """The whole model, with weights drawn at random."""
        model = self.generator.build(vocab_size)
        model.record_level |= bool(self.train.per_record) and not self.task.paired
        return model

    def differences(self, other: Recipe) -> list[str]:
        """The settings that are not the same in the other, each with both values."""
        ours, theirs = _flat(self.tables()), _flat(other.tables())
        return [
            f"{key} ({shown(ours.get(key))} here, {shown(theirs.get(key))} there)"
            for key in {**ours, **theirs}
            if ours.get(key) != theirs.get(key)
        ]


def make_recipe(
    model: str, settings: Sequence[str] = (), base: tuple[str, ModelConfig] | None = None
) -> Recipe:
    """All settings of a run, from a model's name and what should differ from the defaults.

    Args:
        model: a family, or a family and a size: ``lstm``, ``gpt:tiny``.
        settings: ``table.key=value``, or ``key=value`` where only one table has that key.
        base: in place of ``model``, the family and settings of a model to begin from.

    Raises:
        WenmoError: an unknown model or key (the nearest is offered), or a value that does not fit.
    """
    family, config = base or find(model)
    train = TrainConfig() if base else from_dict(TrainConfig, MODELS[family].training)
    recipe = Recipe(family, config, train=train)
    tables = {
        field.name: [f.name for f in dataclasses.fields(getattr(recipe, field.name))]
        for field in dataclasses.fields(Recipe)
        if field.name not in ("family", "given")
    }
    changes: dict[str, list[str]] = {name: [] for name in tables}
    for setting in settings:
        table, rest = table_of(setting, tables)
        changes[table].append(rest)
    for table, changed in changes.items():
        config = override(getattr(recipe, table), changed, where=f"{table}.")
        recipe = dataclasses.replace(recipe, **{table: config})
    given = {f"{table}.{_name(change)}" for table, own in changes.items() for change in own}
    if ":" in model:
        given |= {f"model.{name}" for name in tables["model"]}
    recipe = dataclasses.replace(recipe, given=frozenset(given))
    if recipe.train.steps is None and recipe.train.minutes is None:
        timed = dataclasses.replace(recipe.train, minutes=DEFAULT_MINUTES)
        recipe = dataclasses.replace(recipe, train=timed)
    return recipe


def read_recipe(path: Path) -> tuple[str | None, list[str]]:
    """A recipe file: the model it names, and its settings as ``table.key=value``.

    Raises:
        WenmoError: no such file, or not TOML. What the settings say is checked when they are used.
    """
    content = load_toml(path)
    family = content.pop("family", None)
    return family and str(family), [*map(convert_setting, as_settings(_flat(content)))]


def over(recipe: Sequence[str], given: Sequence[str]) -> list[str]:
    """A recipe's settings and those that go before it; a budget replaces one of either kind."""

    def budget(setting: str) -> bool:
        return _name(setting).removeprefix("train.") in ("steps", "minutes")

    kept = [setting for setting in recipe if not (any(map(budget, given)) and budget(setting))]
    return [*kept, *given]


def _name(setting: str) -> str:
    return setting.partition("=")[0].strip()


def _flat(tables: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tables.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = list(value) if isinstance(value, tuple) else value
    return flat
