"""Recipes: all settings of a run, grouped in tables, and changes by the user."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wenmo.config import (
    format_value,
    from_dict,
    key_of,
    load_toml,
    override,
    split_table,
    to_dict,
    to_settings,
)
from wenmo.format1 import convert_setting
from wenmo.models import MODELS, configure, find
from wenmo.models.config import ModelConfig
from wenmo.models.hybrid_config import HybridConfig
from wenmo.models.ngram_config import NgramConfig
from wenmo.options import options_of
from wenmo.runs.config import TABLES, InitConfig, NgramPriorConfig
from wenmo.text.config import ReadConfig, SplitConfig, TaskConfig, TokenizerConfig
from wenmo.train_config import TrainConfig
from wenmo.types import WenmoError

if TYPE_CHECKING:
    from wenmo.models.base import LanguageModel

DEFAULT_MODEL = "lstm"
DEFAULT_MINUTES = 3.0
DEFAULT_ORDER = 5


@dataclass(frozen=True)
class Recipe:
    """All settings of a run, grouped in tables: ``model.hidden_size``, ``train.learning_rate``.

    Attributes:
        family: model family in the catalogue.
        model: settings of the model.
        init: initialization of the weights.
        ngram_prior: n-gram counts mixed with the network.
        task: task to train for.
        tokenizer: settings of the tokenizer.
        read: settings of reading files.
        split: train and validation split.
        train: training settings.
        given: names of the settings set by the user, such as ``model.hidden_size``; other settings
            may be derived.
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
        names = ("model", *TABLES)
        return {"family": self.family, **{name: to_dict(getattr(self, name)) for name in names}}

    @classmethod
    def from_tables(cls, tables: dict[str, Any]) -> Recipe:
        """Inverse of ``tables``."""
        return cls(
            tables["family"],
            configure(tables["family"], tables["model"]),
            # Old runs lack these three tables.
            from_dict(
                NgramPriorConfig,
                tables.get("ngram_prior", {"enabled": False}),
                prefix="ngram_prior.",
            ),
            from_dict(InitConfig, tables.get("init", {}), prefix="init."),
            from_dict(TaskConfig, tables.get("task", {}), prefix="task."),
            from_dict(TokenizerConfig, tables["tokenizer"], prefix="tokenizer."),
            from_dict(ReadConfig, tables["read"], prefix="read."),
            from_dict(SplitConfig, tables["split"], prefix="split."),
            from_dict(TrainConfig, tables["train"], prefix="train."),
        )

    @property
    def generator(self) -> ModelConfig:
        """The config of the complete model, including the n-gram counts if they are enabled."""
        if not self.ngram_prior.enabled:
            return self.model
        orders, kept = self.ngram_prior.order or DEFAULT_ORDER, bool(self.ngram_prior.extensible)
        counts = NgramConfig(orders, totals=True, counts=kept)
        parts = None if self.task.paired else self.ngram_prior.folds_used
        breaks = self.ngram_prior.breaks or ()
        return HybridConfig(self.model, counts, self.ngram_prior.folds, parts, breaks)

    def build(self, vocab_size: int) -> LanguageModel:
        """Build the model with random weights."""
        model = self.generator.build(vocab_size)
        model.record_level |= bool(self.train.per_record) and not self.task.paired
        return model

    def differences(self, other: Recipe) -> list[str]:
        """The settings that differ from another recipe, each with both values."""
        own, others = _flatten(self.tables()), _flatten(other.tables())
        return [
            f"{key} ({format_value(own.get(key))} here, {format_value(others.get(key))} there)"
            for key in {**own, **others}
            if own.get(key) != others.get(key)
        ]


def make_recipe(
    model: str, settings: Sequence[str] = (), base: tuple[str, ModelConfig] | None = None
) -> Recipe:
    """Make a recipe from a model name and changes of the defaults.

    Args:
        model: family, or family and size: ``lstm``, ``gpt:tiny``.
        settings: ``table.key=value``, or ``key=value`` if only one table has that key.
        base: family and settings of a base model, used instead of ``model``.

    Raises:
        WenmoError: an unknown model or key (the message suggests the closest match), or an invalid
            value.
    """
    family, config = base or find(model)
    train = TrainConfig() if base else from_dict(TrainConfig, MODELS[family].training)
    recipe = Recipe(family, config, train=train)
    tables = {"model": list(options_of(type(config)))}
    tables |= {table: list(options_of(declared)) for table, declared in TABLES.items()}
    changes: dict[str, list[str]] = {name: [] for name in tables}
    for setting in settings:
        _check_other_families(setting, family, tables)
        table, rest = split_table(setting, tables)
        changes[table].append(rest)
    for table, changed in changes.items():
        config = override(getattr(recipe, table), changed, prefix=f"{table}.")
        recipe = dataclasses.replace(recipe, **{table: config})
    given = {f"{table}.{key_of(change)}" for table, own in changes.items() for change in own}
    if ":" in model:
        given |= {f"model.{name}" for name in tables["model"]}
    recipe = dataclasses.replace(recipe, given=frozenset(given))
    if recipe.train.steps is None and recipe.train.minutes is None:
        train = dataclasses.replace(recipe.train, minutes=DEFAULT_MINUTES)
        recipe = dataclasses.replace(recipe, train=train)
    return recipe


def read_recipe(path: Path) -> tuple[str | None, list[str]]:
    """Read a recipe file: its model name, and its settings as ``table.key=value``.

    Raises:
        WenmoError: no such file, or not TOML. The settings are checked when they are used.
    """
    content = load_toml(path)
    family = content.pop("family", None)
    return family and str(family), [*map(convert_setting, to_settings(_flatten(content)))]


def merge_settings(recipe: Sequence[str], given: Sequence[str]) -> list[str]:
    """Append given settings, which have precedence, to those of a recipe.

    If steps or minutes are given, both are removed from the recipe.
    """

    def budget(setting: str) -> bool:
        return key_of(setting).removeprefix("train.") in ("steps", "minutes")

    kept = [setting for setting in recipe if not (any(map(budget, given)) and budget(setting))]
    return [*kept, *given]


def _check_other_families(setting: str, family: str, tables: Mapping[str, Sequence[str]]) -> None:
    """Refuse a setting of the model that other families have, and this one does not."""
    name = key_of(setting).removeprefix("model.")
    if any(name in names for names in tables.values()):
        return
    owners = [other for other, entry in MODELS.items() if name in options_of(type(entry.config))]
    if owners:
        raise WenmoError(f"{family} has no setting {name!r}: it belongs to {', '.join(owners)}")


def _flatten(tables: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tables.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = list(value) if isinstance(value, tuple) else value
    return flat
