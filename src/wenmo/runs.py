"""A run folder: everything that one training made. Loading it needs nothing else.

``wenmo.json`` is the model card: family, settings, data, versions, results. ``model.safetensors``
and ``tokenizer.json`` are the best model so far. Where the model has a home in another program, the
weights lie in that program's layout and its ``config.json`` stands beside them.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wenmo import __version__
from wenmo.files import read_json, write_json
from wenmo.interchange.huggingface import layout_of, tokenizer_config
from wenmo.models import LanguageModel, ModelConfig
from wenmo.models.base import device
from wenmo.recipe import Recipe
from wenmo.text.tokenizers import Tokenizer
from wenmo.training.checkpoints import load_tensors, save_tensors
from wenmo.types import WenmoError

FORMAT = 1  # of the run folder; raised when an older program could no longer read it
LONG_DOCUMENT = 10_000  # characters
CARD, WEIGHTS, TOKENIZER = "wenmo.json", "model.safetensors", "tokenizer.json"


@dataclass
class Card:
    """The model card that a run folder carries.

    Attributes:
        recipe: all settings.
        asked: the settings before what was left open was derived; the same call makes these.
        data: where the text came from, its fingerprint, and what was counted in it.
        finished: training reached the end of its budget.
        results: figures on held-out text, seconds of training, parameters and so on.
    """

    recipe: Recipe
    data: dict[str, Any]
    finished: bool = False
    results: dict[str, Any] = field(default_factory=dict)
    asked: Recipe | None = None

    @property
    def opening(self) -> str:
        """What an empty prompt stands for.

        A model of long documents has hardly seen how a text begins, but often how a line does.
        """
        train = self.data["train"]
        return "\n" if train["characters"] > LONG_DOCUMENT * train["records"] else ""

    @property
    def longest_target(self) -> int:
        """The most tokens of a target that was trained on, END counted."""
        return int(self.data["train"]["longest_target"])

    def write(self, folder: Path) -> None:
        versions = {"python": platform.python_version(), "torch": torch.__version__}
        content = {
            "format": FORMAT,
            "wenmo": __version__,
            **self.recipe.tables(),
            "data": self.data,
            "finished": self.finished,
            "results": self.results,
            "versions": versions,
        }
        if self.asked is not None:
            content["asked"] = self.asked.tables()
        write_json(folder / CARD, content)

    @classmethod
    def read(cls, folder: Path) -> Card:
        """Read the card of a run folder.

        Raises:
            WenmoError: not a run folder, damaged, or written by a newer version.
        """
        if not folder.is_dir():
            raise WenmoError(f"{folder}: no such run folder")
        if not (folder / CARD).is_file():
            raise WenmoError(f"{folder}: not a run folder (it has no {CARD})")
        content = read_json(folder / CARD)
        if not isinstance(content.get("format"), int):
            raise WenmoError(f"{folder / CARD}: damaged, it does not name its format")
        if content["format"] > FORMAT:
            raise WenmoError(
                f"{folder}: written by a newer wenmo ({content.get('wenmo')}); "
                f"this is {__version__}: upgrade wenmo to read it"
            )
        try:
            recipe = Recipe.from_tables(content)
            asked = Recipe.from_tables(content["asked"]) if "asked" in content else None
            return cls(recipe, content["data"], content["finished"], content["results"], asked)
        except KeyError as error:
            raise WenmoError(f"{folder / CARD}: damaged, {error} is missing") from None
        except WenmoError as error:
            raise WenmoError(f"{folder / CARD}: damaged, {error}") from None


def save_model(folder: Path, config: ModelConfig, model: LanguageModel) -> None:
    """Write the weights, in the layout of the program where such a model is at home."""
    tensors: dict[str, Tensor] = dict(model.state_dict())
    layout = layout_of(config, model.vocab_size)
    if layout is not None:
        tensors = layout.outward(tensors)
        write_json(folder / "config.json", layout.config)
        write_json(folder / "tokenizer_config.json", tokenizer_config(model.context))
    save_tensors(folder / WEIGHTS, tensors, {"format": "pt"})


def load_model(folder: Path, config: ModelConfig, vocab_size: int) -> LanguageModel:
    """Build the model and read its weights.

    Raises:
        WenmoError: missing or damaged weights, or weights that do not fit the settings.
    """
    path = folder / WEIGHTS
    if not path.is_file():
        raise WenmoError(
            f"{folder}: no weights yet: training has not reached its first evaluation; "
            "run the same training command again to go on"
        )
    model = config.build(vocab_size)
    tensors = load_tensors(path)
    layout = layout_of(config, vocab_size)
    try:
        model.load_state_dict(tensors if layout is None else layout.inward(tensors))
    except (RuntimeError, WenmoError) as error:
        reason = " ".join(str(error).split())[:300]
        raise WenmoError(f"{path}: does not fit the settings in {CARD}: {reason}") from None
    return model.eval()


def load_run(folder: Path) -> tuple[Card, LanguageModel, Tokenizer]:
    """All that writing and scoring need."""
    card = Card.read(folder)
    tokenizer = Tokenizer.load(folder / TOKENIZER)
    model = load_model(folder, card.recipe.generator, tokenizer.vocab_size)
    return card, model.to(device()), tokenizer
