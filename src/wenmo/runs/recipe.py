"""A recipe: all settings of a run, in small tables, and how a user changes them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wenmo.config import (
    as_settings,
    from_dict,
    key_of,
    load_toml,
    override,
    shown,
    table_of,
    to_dict,
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
DEFAULT_ORDERS = 5


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
        names = ("model", *TABLES)
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
        counts = NgramConfig(orders, totals=True, counts=kept)
        parts = None if self.task.paired else self.ngram_prior.folds_used
        breaks = self.ngram_prior.breaks or ()
        return HybridConfig(self.model, counts, self.ngram_prior.folds, parts, breaks)

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
    tables = {"model": list(options_of(type(config)))}
    tables |= {table: list(options_of(declared)) for table, declared in TABLES.items()}
    changes: dict[str, list[str]] = {name: [] for name in tables}
    for setting in settings:
        _check_other_families(setting, family, tables)
        table, rest = table_of(setting, tables)
        changes[table].append(rest)
    for table, changed in changes.items():
        config = override(getattr(recipe, table), changed, where=f"{table}.")
        recipe = dataclasses.replace(recipe, **{table: config})
    given = {f"{table}.{key_of(change)}" for table, own in changes.items() for change in own}
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


def _flat(tables: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tables.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = list(value) if isinstance(value, tuple) else value
    return flat
