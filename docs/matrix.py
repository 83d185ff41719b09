"""Write the table of decoders and families into docs/decoding.md, by trying each with each.

    python docs/matrix.py

A cell says that the decoder writes with a small model of the family, or why it is refused. To add a
decoder, add a line to `DECODERS`; to add a family whose default is large, one to `SMALL`.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wenmo.config import override
from wenmo.decoding.combination.classifier import PrefixClassifier
from wenmo.decoding.combination.members import AfterOtherPrompt, ClassPosterior
from wenmo.decoding.combination.model import CombinedModel, Member
from wenmo.decoding.constraints.settings import ConstraintSettings
from wenmo.decoding.effects import WRITING, Writing
from wenmo.decoding.generator import TextGenerator
from wenmo.decoding.params import Sampling
from wenmo.effects import ineffective_settings
from wenmo.evaluation.utility import UTILITIES
from wenmo.models import MODELS
from wenmo.models.base import LanguageModel
from wenmo.models.capabilities import BindsVocabulary, FitsCounts, SamplesTexts, capability
from wenmo.models.ngram import Ngram
from wenmo.models.ngram_config import NgramConfig
from wenmo.text.config import TokenizerConfig
from wenmo.text.tokenizers import Tokenizer
from wenmo.types import WenmoError

PAGE = Path(__file__).parent / "decoding.md"
SECTION = re.compile(r"<!-- matrix -->\n.*?<!-- end -->", re.DOTALL)
TEXT = "the cat and the dog\n狗和猫\n"
RECURRENT = ["embedding_size=8", "hidden_size=8"]
STACK = ["hidden_size=16", "layers=1", "heads=2", "context_length=48"]
SMALL: dict[str, list[str]] = {
    "ngram": ["order=3"],
    "rnn": RECURRENT,
    "lstm": RECURRENT,
    "gru": RECURRENT,
    "seq2seq": RECURRENT,
    "gpt": STACK,
    "masked": STACK,
    "transformer": [*STACK, "encoder_layers=1"],
    "vae": [*RECURRENT, "latent_size=2", "context_length=48"],
    "gan": [*RECURRENT, "context_length=48"],
}
RULES = {"origin": ["the #animal#", "the #animal# and #origin#"], "animal": ["cat", "dog"]}


@dataclass(frozen=True)
class Decoder:
    """A way to decode.

    Attributes:
        sampling: settings of `Sampling`.
        constraints: settings of `ConstraintSettings`.
        options: further arguments of `TextGenerator.generate`.
        prompt: what is continued.
        combine: makes a combination with the model; None: the model writes alone.
    """

    sampling: Mapping[str, Any] = field(default_factory=dict)
    constraints: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    prompt: str = "the "
    combine: Callable[[LanguageModel], LanguageModel] | None = None


def experts(model: LanguageModel, **settings: Any) -> CombinedModel:
    """The model with an n-gram model as an expert, and another as an anti-expert."""
    weights = (0.5, 0.3) if settings.get("rule") == "mixture" else (1.0, -0.5)
    models = [counted(model.vocab_size, text) for text in (TEXT, TEXT[::-1])]
    members = [Member(*each) for each in zip(models, weights, strict=True)]
    return CombinedModel(model, members, **settings).eval()


def classes(model: LanguageModel) -> CombinedModel:
    """The model with the probability of a class, by an n-gram model of each class."""
    models = [counted(model.vocab_size, text) for text in (TEXT, TEXT[::-1])]
    posterior = ClassPosterior(models, (1.0, -1.0))
    return CombinedModel(model, [Member(posterior, 2.0, is_distribution=False)]).eval()


def classified(model: LanguageModel) -> CombinedModel:
    """The model with a classifier of beginnings."""
    classifier = PrefixClassifier(model.vocab_size, buckets=64)
    return CombinedModel(model, [Member(classifier, 1.0, is_distribution=False)], top_k=5).eval()


def guided(model: LanguageModel) -> CombinedModel:
    """The model away from what it writes after another prompt, or to another source."""
    other = (
        AfterOtherPrompt(model, (), [3, 0]) if needs_source(model) else AfterOtherPrompt(model, [0])
    )
    return CombinedModel(model, [Member(other, -0.5)], base_weight=1.5).eval()


def counted(vocab_size: int, text: str) -> LanguageModel:
    """An n-gram model of a text."""
    model = Ngram(NgramConfig(order=2), vocab_size)
    model.fit(np.array([0, *(ord(c) % vocab_size for c in text), 0], np.uint16))
    return model


DECODERS: dict[str, Decoder] = {
    "`method=sample`": Decoder({"method": "sample"}),
    "`method=greedy`": Decoder({"method": "greedy"}),
    "`method=beam`": Decoder({"method": "beam", "beam_width": 3}),
    "`beam_groups`": Decoder({"method": "beam", "beam_width": 4, "beam_groups": 2}),
    "`coverage_penalty`": Decoder({"method": "beam", "coverage_penalty": 0.2}),
    "`method=beam-sample`": Decoder({"method": "beam-sample", "beam_width": 3}),
    "`method=stochastic-beam`": Decoder({"method": "stochastic-beam", "beam_width": 3}),
    "`early_stopping`": Decoder({"method": "beam", "early_stopping": "never"}),
    "`method=contrastive`": Decoder({"method": "contrastive"}),
    "`mbr`": Decoder({"mbr": "chrf", "mbr_samples": 3}),
    "`method=uniform`": Decoder({"method": "uniform", "max_depth": 4}, prompt=""),
    "`temperature`": Decoder({"temperature": 0.7}),
    "`dynatemp_range`": Decoder({"temperature": 0.7, "dynatemp_range": 0.5}),
    "`top_n_sigma`": Decoder({"top_n_sigma": 1.0}),
    "`top_k`": Decoder({"top_k": 5}),
    "`tfs_z`": Decoder({"tfs_z": 0.9}),
    "`typical_p`": Decoder({"typical_p": 0.9}),
    "`top_p`": Decoder({"top_p": 0.9}),
    "`min_p`": Decoder({"min_p": 0.1}),
    "`epsilon_cutoff`": Decoder({"epsilon_cutoff": 0.01}),
    "`eta_cutoff`": Decoder({"eta_cutoff": 0.01}),
    "`xtc_probability`": Decoder({"xtc_probability": 0.5, "xtc_threshold": 0.05}),
    "`mirostat`": Decoder({"mirostat": 2, "mirostat_tau": 3.0}),
    "`logit_bias`": Decoder({"logit_bias": ((1, 2.0),)}),
    "`repetition_penalty`": Decoder({"repetition_penalty": 1.2}),
    "`presence_penalty`": Decoder({"presence_penalty": 0.5}),
    "`frequency_penalty`": Decoder({"frequency_penalty": 0.5}),
    "`dry_multiplier`": Decoder({"dry_multiplier": 0.8}),
    "`no_repeat_ngram`": Decoder({"no_repeat_ngram": 2}),
    "`min_tokens`": Decoder({"min_tokens": 3}),
    "`chain`": Decoder({"top_p": 0.9, "temperature": 0.7, "chain": ("top_p", "temperature")}),
    "`stop`": Decoder({"stop": ("e",)}),
    "`unmask_order=confidence`": Decoder({"unmask_order": "confidence", "unmask_steps": 3}),
    "`unmask_order=left`": Decoder({"unmask_order": "left", "no_repeat_ngram": 2}),
    "`--regex`": Decoder(constraints={"regex": "[a-z ]{2,4}"}),
    "`--json-schema`": Decoder(constraints={"json_schema": '{"enum": [1, 2]}'}),
    "`--choice`": Decoder(constraints={"choice": ("cat", "狗")}),
    "`--lark`": Decoder(constraints={"lark": 'start: "cat" | "dog"'}),
    "`--length`": Decoder(constraints={"length": "3c"}),
    "`--require`": Decoder({"max_tokens": 12}, {"require": ("cat",)}),
    "`--forbid`": Decoder(constraints={"forbid": ("cat",)}),
    "`--acrostic`": Decoder({"max_tokens": 12}, {"acrostic": "狗猫"}, prompt=""),
    "`--choice` in a beam": Decoder({"method": "beam"}, {"choice": ("cat", "狗")}),
    "`token_healing`": Decoder({"token_healing": True}, prompt="the c"),
    "`--alternatives`": Decoder(options={"alternatives": 3}),
    "`--alternatives` of a beam": Decoder({"method": "beam"}, options={"alternatives": 3}),
    "`--require` in a beam": Decoder({"method": "beam", "max_tokens": 12}, {"require": ("cat",)}),
    "`--expert`, `--anti`": Decoder(combine=experts),
    "`--expert` in a beam": Decoder({"method": "beam"}, combine=experts),
    "`--expert` and `--choice`": Decoder(constraints={"choice": ("cat", "狗")}, combine=experts),
    "`--combine mixture`": Decoder(combine=partial(experts, rule="mixture")),
    "`--combine bayes`": Decoder(combine=classes),
    "`--classifier`": Decoder(combine=classified),
    "`--guidance-scale`": Decoder(combine=guided),
    "a gap": Decoder({"gap_tokens": 3}, prompt="the ____ dog"),
}


def main() -> None:
    text = PAGE.read_text(encoding="utf-8")
    columns = {family: column(family) for family in MODELS}
    PAGE.write_text(SECTION.sub(lambda _: section(columns), text), encoding="utf-8")


def column(family: str) -> dict[str, str]:
    """What each decoder does with a family: "" if it writes, else why not."""
    writer = generator(family)
    return {name: outcome(writer, decoder) for name, decoder in DECODERS.items()}


def generator(family: str) -> TextGenerator:
    """A small model of a family, with weights that no training has touched."""
    torch.manual_seed(0)
    tokenizer = Tokenizer.train([TEXT], TokenizerConfig("characters"))
    with tempfile.TemporaryDirectory() as folder:
        rules = Path(folder, "rules.json")
        rules.write_text(json.dumps(RULES), encoding="utf-8")
        settings = [f"grammar={rules}"] if family == "grammar" else SMALL.get(family, [])
        model = override(MODELS[family].config, settings).build(tokenizer.vocab_size)
        if (reading := capability(model, BindsVocabulary)) is not None:
            reading.bind_vocabulary(tokenizer.table)
    counting = capability(model, FitsCounts)
    if counting is not None and family != "grammar":  # it has its rules
        counting.fit(np.array([0, *tokenizer.encode(TEXT).tolist(), 0], np.uint16))
    return TextGenerator(model, tokenizer, utilities=UTILITIES)


def outcome(writer: TextGenerator, decoder: Decoder) -> str:
    """ "" if the decoder writes with a model, else why it is refused, or has no effect."""
    settings = {"max_tokens": 6, "seed": 1, **decoder.sampling}
    if decoder.combine is not None:
        combined = decoder.combine(writer.model)
        writer = TextGenerator(combined, writer.tokenizer, utilities=UTILITIES)
    try:
        sampling = Sampling(**settings)
        for line in ineffective_settings(
            decoder.sampling, WRITING, Writing(sampling, writer.model)
        ):
            return line
        writer.generate(
            [decoder.prompt],
            sampling,
            sources=["the cat"] if needs_source(writer.model) else None,
            constraints=ConstraintSettings(**decoder.constraints),
            **decoder.options,
        )
    except (WenmoError, ValueError) as refused:
        return re.sub(r"^\w+(=\S+)?: ", "", str(refused))  # the row has the name
    return ""


def needs_source(model: LanguageModel) -> bool:
    """Whether a family is for texts that answer to a source."""
    return model.conditioning == "encoder" and capability(model, SamplesTexts) is None


def section(columns: Mapping[str, Mapping[str, str]]) -> str:
    """The table of the page, with its reasons in notes."""
    reasons = list(dict.fromkeys(r for cells in columns.values() for r in cells.values() if r))
    lines = [["", *(f"`{family}`" for family in columns)], ["---"] * (len(columns) + 1)]
    for name in DECODERS:
        cells = [columns[family][name] for family in columns]
        lines.append([name, *(str(reasons.index(c) + 1) if c else "✓" for c in cells)])
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines).replace("|  |", "| |")
    notes = "\n".join(f"{number}. {reason}" for number, reason in enumerate(reasons, 1))
    return f"<!-- matrix -->\n{table}\n\n{notes}\n<!-- end -->"


if __name__ == "__main__":
    main()
