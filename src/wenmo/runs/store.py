"""A run folder: everything that one training made. Loading it needs nothing else.

``wenmo.json`` is the model card: family, settings, data, versions, results. ``model.safetensors``
and ``tokenizer.json`` are the best model so far. Where the model has a home in another program, the
weights lie in that program's layout and its ``config.json`` stands beside them.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wenmo.config import from_dict
from wenmo.decoding.params import Sampling
from wenmo.files import write_json
from wenmo.interchange.grammars import is_grammar, open_grammar
from wenmo.interchange.huggingface import generation_config, layout_of, tokenizer_config
from wenmo.interchange.layouts import Layout
from wenmo.interchange.opened import LoadedModel
from wenmo.interchange.pretrained import locate, open_pretrained
from wenmo.interchange.vocabulary_files import read_vocabulary
from wenmo.models.base import LanguageModel, device
from wenmo.models.capabilities import network_of
from wenmo.models.freeze import train_last
from wenmo.models.lora import adapt, adapters
from wenmo.models.shapes import shapes_only
from wenmo.runs.config import NgramPriorConfig
from wenmo.runs.folders import ADAPTERS, CARD, FORMAT, TOKENIZER, WEIGHTS, read_card
from wenmo.runs.recipe import Recipe
from wenmo.tensors import load_tensors, save_tensors
from wenmo.text.chat_formatter import ChatFormatter
from wenmo.text.config import ReadConfig, TaskConfig
from wenmo.text.pairs import max_source_length
from wenmo.text.pretrained import PretrainedTokenizer
from wenmo.text.tokenizers import Tokenizer
from wenmo.text.vocabularies import END_TOKEN
from wenmo.types import END, SpecialTokens, WenmoError
from wenmo.version import __version__

LONG_DOCUMENT = 10_000  # characters
LONGEST_ANSWER = 256  # tokens that a model which others trained may answer with
UNKNOWN_TEXT = {"characters": 0, "records": 1, "longest_target": LONGEST_ANSWER}


@dataclass
class Card:
    """The model card that a run folder carries.

    Attributes:
        recipe: all settings.
        asked: the settings before what was left open was derived; the same call makes these.
        template: how the model was taught to read a conversation, in Jinja's language.
        foreign: of a tokenizer that another program made, its ``end`` mark's id there, the name of
            its ``beginning`` mark, the ``size`` of the model's vocabulary, its ``origin``, and the
            ``prefix`` of what is written.
        special_tokens: the model's, where it
            began from another.
        goes_on: a finished run is given more steps or minutes; it is not kept.
        note: what the user of a model that others trained should know; it is not kept.
        sampling: how the run writes where nothing is asked for: settings of `Sampling` by name.
        sampling_reason: where these settings come from, in one line.
        data: where the text came from, its fingerprint, and what was counted in it.
        finished: training reached the end of its budget.
        results: figures on held-out text, seconds of training, parameters and so on.
    """

    recipe: Recipe
    data: dict[str, Any]
    finished: bool = False
    results: dict[str, Any] = field(default_factory=dict)
    asked: Recipe | None = None
    template: str | None = None
    external: dict[str, Any] | None = None
    special_tokens: dict[str, list[int]] | None = None
    note: str | None = None
    continues: bool = False
    sampling: dict[str, Any] = field(default_factory=dict)
    sampling_reason: str = ""

    @property
    def opening(self) -> str:
        """What an empty prompt stands for.

        A model of long documents has hardly seen how a text begins, but often how a line does.
        """
        train = self.data["train"]
        return "\n" if train["characters"] > LONG_DOCUMENT * train["records"] else ""

    @property
    def is_chat(self) -> bool:
        """Whether the run was trained on conversations as its chat template writes them."""
        return self.has_chat_template and self.recipe.task.name == "dialogue"

    @property
    def has_chat_template(self) -> bool:
        """Whether the model was taught to read conversations by a template of its own."""
        return self.template is not None

    @property
    def alphabet(self) -> str | None:
        """The characters that the run may write unasked; None: all, as of older runs."""
        alphabet: str | None = self.data.get("alphabet")
        return alphabet

    @property
    def same_length(self) -> bool:
        """Whether targets have as many characters as their sources, as far as the pairs tell."""
        return always_same_length(self.data["train"])

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
            content["given"] = sorted(self.asked.given)
        for name in ("template", "external", "special_tokens"):
            if getattr(self, name) is not None:
                content[name] = getattr(self, name)
        if self.sampling or self.sampling_reason:
            content |= {"sampling": self.sampling, "sampling_reason": self.sampling_reason}
        write_json(folder / CARD, content)

    @classmethod
    def read(cls, folder: Path) -> Card:
        """Read the card of a run folder.

        Raises:
            WenmoError: not a run folder, damaged, or written by a newer version.
        """
        content = read_card(folder)
        try:
            recipe = Recipe.from_tables(content)
            asked = Recipe.from_tables(content["asked"]) if "asked" in content else None
            if asked is not None:
                asked = replace(asked, given=frozenset(content.get("given", ())))
            known = (content["data"], content["finished"], content["results"])
            template, external, special_tokens = map(
                content.get, ("template", "external", "special_tokens")
            )
            sampling = content.get("sampling", {})
            from_dict(Sampling, sampling, where="sampling.")
            reason = content.get("sampling_reason", "")
            more = {"sampling": sampling, "sampling_reason": reason}
            return cls(recipe, *known, asked, template, external, special_tokens, **more)
        except KeyError as error:
            raise WenmoError(f"{folder / CARD}: damaged, {error} is missing") from None
        except WenmoError as error:
            raise WenmoError(f"{folder / CARD}: damaged, {error}") from None


def always_same_length(train: Mapping[str, Any]) -> bool:
    """Whether pairs, of which this was counted, have targets as long as their sources, in
    characters: at least 99 of 100 of them, and of 20 pairs or more.
    """
    pairs = train.get("records", 0)
    return bool(pairs >= 20 and train.get("same_length", 0) >= 0.99 * pairs)


def joined_alphabet(own: str | None, teachers: Sequence[Card]) -> str | None:
    """The characters that a run may write: those of its own text, and of the runs it begins from.

    Returns:
        In order; None, all, where it is not known what one of them may write.
    """
    alphabets = [own, *(card.alphabet for card in teachers)]
    known = [alphabet for alphabet in alphabets if alphabet is not None]
    return "".join(sorted(set().union(*known))) if len(known) == len(alphabets) else None


def save_model(
    folder: Path,
    recipe: Recipe,
    model: LanguageModel,
    tokenizer: Tokenizer | None = None,
    template: str | None = None,
    sampling: Mapping[str, Any] | None = None,
) -> None:
    """Write the weights, in the layout of the program where such a model is at home; where there
    are adapters, these alone.

    Args:
        template: of its conversations, which other programs find beside the tokenizer.
        sampling: how the model writes where nothing is asked for, for other programs.
    """
    end, mark, beginning, origin, begin = END, END_TOKEN, "", "", None
    if tokenizer is not None:
        end, mark = tokenizer.end, tokenizer.eos_token
        beginning, origin = tokenizer.bos_token, tokenizer.origin
        begin = tokenizer.id_of(beginning) if beginning else None
    layout = layout_of(recipe.generator, model.vocab_size, end, begin)
    if layout is not None:
        theirs = tokenizer_config(model.context, mark, beginning, template, origin)
        write_json(folder / "tokenizer_config.json", theirs)
    if recipe.init.lora_rank:
        save_adapters(folder, recipe, model, layout)
        return
    tensors: dict[str, Tensor] = dict(model.state_dict())
    if layout is not None:
        tensors = layout.to_external(tensors)
        config = {**layout.config, **_first_there(layout, model, end)}
        write_json(folder / "config.json", config)
        generation = tokenizer and generation_config(config, model, tokenizer, sampling or {})
        if generation:
            write_json(folder / "generation_config.json", generation)
    save_tensors(folder / WEIGHTS, tensors, {"format": "pt"})


def _first_there(layout: Layout, model: LanguageModel, end: int) -> dict[str, int]:
    """For other programs, their id of what a text begins with, where they ask for it."""
    if "decoder_start_token_id" not in layout.config or not model.special_tokens.bos:
        return {}
    first = model.special_tokens.bos[0]
    return {"decoder_start_token_id": {END: end, end: END}.get(first, first)}


def load_model(folder: Path, recipe: Recipe, vocab_size: int, end: int = END) -> LanguageModel:
    """Build the model and read its weights.

    Raises:
        WenmoError: missing or damaged weights, or weights that do not fit the settings.
    """
    path = folder / (ADAPTERS if recipe.init.lora_rank else WEIGHTS)
    if not path.is_file():
        raise WenmoError(
            f"{folder}: no weights yet: training has not reached its first evaluation; "
            "run the same training command again to go on"
        )
    layout = layout_of(recipe.generator, vocab_size, end)
    tensors = load_tensors(path)
    try:
        if recipe.init.lora_rank:
            return with_adapters(open_base(recipe), recipe, tensors, layout).eval()
        model = recipe.build(vocab_size)
        model.load_state_dict(tensors if layout is None else layout.from_external(tensors))
    except (RuntimeError, WenmoError) as error:
        reason = " ".join(str(error).split())[:300]
        raise WenmoError(f"{path}: does not fit the settings in {CARD}: {reason}") from None
    return model.eval()


def load_run(folder: Path) -> tuple[Card, LanguageModel, Tokenizer]:
    """All that writing and scoring need, of a run, a grammar, or a model that others trained."""
    if is_grammar(folder):
        config, grammar, letters = open_grammar(folder)
        lines = ReadConfig(unit="line")
        recipe = Recipe("grammar", config, ngram_prior=NgramPriorConfig(enabled=False), read=lines)
        return Card(recipe, {"train": UNKNOWN_TEXT}, finished=True), grammar, letters
    pretrained = locate(folder)
    if pretrained is not None:
        opened = open_pretrained(pretrained)
        return _card_of(opened), opened.model.to(device()), opened.tokenizer
    card = Card.read(folder)
    tokenizer = load_tokenizer(folder, card)
    model = load_model(folder, card.recipe, tokenizer.vocab_size, tokenizer.end)
    return card, apply_special_tokens(model, card).to(device()), tokenizer


def special_tokens_of(model: LanguageModel) -> dict[str, list[int]]:
    """The ids around a model's texts, as a card names them."""
    return {name: list(ids) for name, ids in asdict(model.special_tokens).items()}


def apply_special_tokens(model: LanguageModel, card: Card) -> LanguageModel:
    """Let a model have the ids around its texts that a card names.

    Raises:
        WenmoError: the card names what are no ids.
    """
    if card.special_tokens is None:
        return model
    try:
        own = {name: tuple(card.special_tokens[name]) for name in special_tokens_of(model)}
        sound = all(0 <= id_ < model.vocab_size for ids in own.values() for id_ in ids)
    except (KeyError, TypeError):
        sound = False
    if not sound:
        raise WenmoError(f"{CARD}: damaged, its special_tokens are no ids of the model's")
    model.special_tokens = SpecialTokens(**own)
    return model


def talk_of(card: Card, model: LanguageModel, tokenizer: Tokenizer) -> ChatFormatter | None:
    """How conversations are written for a model; None: it has no chat template."""
    if card.template is None or not isinstance(tokenizer, PretrainedTokenizer):
        return None
    room = max_source_length(model.conditioning, model.context)
    return ChatFormatter(card.template, tokenizer.for_chat_template(), room)


def load_tokenizer(folder: Path, card: Card) -> Tokenizer:
    """A run's tokenizer, whoever made it."""
    if card.external is None:
        return Tokenizer.load(folder / TOKENIZER)
    external = dict(card.external)
    vocabulary = read_vocabulary(folder, external.pop("origin", ""))
    bos_token = external.pop("beginning", None)
    try:
        return vocabulary.tokenizer(bos_token=bos_token, **external)
    except TypeError as error:
        raise WenmoError(f"{folder / CARD}: damaged, of its tokenizer: {error}") from None


def open_base(recipe: Recipe) -> LanguageModel:
    """What a run began from, with the settings of the run.

    Raises:
        WenmoError: it is not there any more, or is another.
    """
    _, base, _ = load_run(Path(str(recipe.init.base)))
    return begin_from(base, recipe)


def begin_from(base: LanguageModel, recipe: Recipe) -> LanguageModel:
    """A model with a base's weights and the recipe's settings, of which dropout may differ. Of a
    network on counts it is the network alone, where the recipe asks for no counts.

    Raises:
        WenmoError: the weights do not fit.
    """
    if recipe.ngram_prior.enabled is False:
        base = network_of(base)
    with shapes_only():
        model = recipe.build(base.vocab_size)
    try:
        model.load_state_dict(base.state_dict(), assign=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise WenmoError(f"{recipe.init.base}: does not fit the settings: {reason}") from None
    for weight in model.parameters():
        weight.requires_grad_(True)
    own = model.special_tokens.separator
    model.special_tokens = replace(base.special_tokens, separator=own)
    if recipe.init.lora_rank:
        adapt(model, recipe.init.lora_targets, rank=recipe.init.lora_rank, alpha=recipe.init.scale)
    elif recipe.init.trainable_blocks is not None:
        train_last(model, recipe.init.trainable_blocks)
    return model


def with_adapters(
    model: LanguageModel, recipe: Recipe, tensors: dict[str, Tensor], layout: Layout | None
) -> LanguageModel:
    """Put saved adapters into a base."""
    names = adapter_names(model, layout)
    if tensors.keys() != set(names.values()):
        odd = sorted(tensors.keys() ^ set(names.values()))
        raise WenmoError(f"the adapters are those of other layers: {odd[0]}")
    for name, layer in adapters(model):
        own = {letter: tensors[names[f"{name}.{letter}"]] for letter in ("a", "b")}
        layer.load_state_dict(own, strict=False)
    return model


def save_adapters(
    folder: Path, recipe: Recipe, model: LanguageModel, layout: Layout | None
) -> None:
    """Write adapters in the format of the `peft` package."""
    names, weights = adapter_names(model, layout), model.state_dict()
    tensors = {theirs: weights[ours] for ours, theirs in names.items()}
    targets = sorted({name.split(".lora_")[0].rpartition(".")[2] for name in tensors})
    config = {
        "peft_type": "LORA",
        "task_type": "SEQ_2_SEQ_LM" if model.conditioning == "encoder" else "CAUSAL_LM",
        "base_model_name_or_path": recipe.init.base,
        "r": recipe.init.lora_rank,
        "lora_alpha": recipe.init.scale,
        "target_modules": targets,
        "bias": "none",
        "lora_dropout": 0.0,
        "fan_in_fan_out": False,
        "inference_mode": True,
    }
    write_json(folder / "adapter_config.json", config)
    save_tensors(folder / ADAPTERS, tensors, {"format": "pt"})


def adapter_names(model: LanguageModel, layout: Layout | None) -> dict[str, str]:
    """The name in `peft`'s format of each weight of the adapters."""
    theirs = {} if layout is None else layout.names
    single = {name for name in theirs.values() if list(theirs.values()).count(name) == 1}
    names = {}
    for name, _ in adapters(model):
        known = theirs.get(f"{name}.weight", "")
        stem = known.removesuffix(".weight") if known in single else name
        for ours, letter in (("a", "A"), ("b", "B")):
            names[f"{name}.{ours}"] = f"base_model.model.{stem}.lora_{letter}.weight"
    return names


def _card_of(opened: LoadedModel) -> Card:
    """A card for a model that others trained."""
    answers, tokenizer = opened.model.conditioning == "encoder", opened.tokenizer
    task = TaskConfig(name="translation" if answers else "completion")
    recipe = Recipe(
        opened.family, opened.config, ngram_prior=NgramPriorConfig(enabled=False), task=task
    )
    return Card(
        recipe,
        {"train": UNKNOWN_TEXT},
        finished=True,
        template=opened.template,
        external={
            "end": tokenizer.end,
            "size": tokenizer.vocab_size,
            "beginning": tokenizer.bos_token,
            "origin": tokenizer.origin,
            "prefix": tokenizer.prefix,
        },
        note=opened.note,
        sampling=dict(opened.sampling),
        sampling_reason=opened.sampling_reason if opened.sampling else "",
    )
