"""The facade: fit, load, generate, evaluate, compare. Apps know nothing below this."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from wenmo.config import from_dict, override, to_dict
from wenmo.decoding.engine import window
from wenmo.decoding.warp import Sampling
from wenmo.decoding.writer import Output, Writer
from wenmo.evaluation.likelihood import likelihood
from wenmo.models import MODELS, LanguageModel, conditional, find
from wenmo.recipe import as_settings, make_recipe, read_recipe
from wenmo.runs import Card, load_run
from wenmo.session import Session, Tell, check_folder, share_of
from wenmo.text import corpus as corpora
from wenmo.text.corpus import Corpus
from wenmo.text.readers import ReadConfig, Reader, has_fields
from wenmo.text.tokenizers import Tokenizer
from wenmo.training.loop import Event
from wenmo.types import WenmoError

__all__ = [
    "Event",
    "Output",
    "Run",
    "catalogue",
    "compare",
    "fit",
    "load",
    "read_prompts",
]


DEFAULT_MODEL = "lstm"


class Run:
    """A trained generator: the content of a run folder, ready to write and to score.

    Attributes:
        folder: where it lies.
        card: settings, data and results.
        model: the best weights that training found.
        tokenizer: between text and ids.
    """

    def __init__(
        self, folder: Path, card: Card, model: LanguageModel, tokenizer: Tokenizer
    ) -> None:
        self.folder, self.card, self.model, self.tokenizer = folder, card, model, tokenizer

    def __repr__(self) -> str:
        return f"<wenmo run {str(self.folder)!r}: {self.card.recipe.family}>"

    def generate(self, prompt: str = "", n: int = 1, **sampling: Any) -> list[str]:
        """Write ``n`` texts that go on from the prompt; the prompt itself is not repeated.

        Args:
            prompt: what to go on from; empty for a text from its beginning, or, where the training
                text is a few long documents, from the beginning of a line.
            n: how many.
            **sampling: any setting of ``Sampling``: temperature, top_p, max_tokens, seed and so on.
        """
        return [output.text for output in self.write([prompt], n, **sampling)[0]]

    def write(self, prompts: Sequence[str], n: int = 1, **sampling: Any) -> list[list[Output]]:
        """As ``generate``, for many prompts in one batch, with token counts and probabilities."""
        if n < 1:
            raise WenmoError(f"n must be at least 1, not {n}")
        settings = from_dict(Sampling, sampling)
        begun = [prompt or self.card.opening for prompt in prompts]
        return Writer(self.model, self.tokenizer).generate(begun, settings, n)

    def stream(self, prompt: str = "", **sampling: Any) -> Iterator[str]:
        """Write one text in pieces, as they come; never half a character."""
        begun = prompt or self.card.opening
        yield from Writer(self.model, self.tokenizer).stream(begun, from_dict(Sampling, sampling))

    def truncates(self, prompt: str) -> bool:
        """Whether a prompt is too long for the model's context, so that only its end is read."""
        length = 1 + len(self.tokenizer.encode(prompt))
        return window(length, self.model.context) < length

    def logit_bias(self, amounts: Sequence[str]) -> tuple[tuple[int, float], ...]:
        """``TEXT=AMOUNT`` strings as the ids and amounts that sampling takes.

        Raises:
            WenmoError: not of that form, or a text that is not one token of this run's.
        """
        biases = []
        for entry in amounts:
            text, equals, amount = entry.rpartition("=")
            try:
                value = float(amount)
            except ValueError:
                equals = ""
            if not equals or not text:
                raise WenmoError(f"logit bias {entry!r}: write TEXT=AMOUNT, as in 春=2.5")
            ids = [i for i, spelled in enumerate(self.tokenizer.table) if spelled == text.encode()]
            if not ids:
                raise WenmoError(f"logit bias {text!r}: not one token of {self.folder}'s tokenizer")
            biases += [(token, value) for token in ids]
        return tuple(biases)

    def evaluate(
        self,
        data: str | Path,
        *,
        stride: int | None = None,
        settings: Sequence[str] = (),
        tell: Tell | None = None,
    ) -> dict[str, float]:
        """Score a text: bits per byte, nats per token, perplexity, tokens, bytes.

        Args:
            data: a file or folder of any kind that ``fit`` reads.
            stride: how far the window of a model with a bounded context moves; ``None``: by a whole
                context.
            settings: how to read it, as ``key=value``, where it differs from the training text.
            tell: is told the share that is done.
        """
        read = self.card.recipe.read
        if not has_fields(data):  # the fields of the training text do not matter to a plain one
            read = replace(read, text_field=None, source_field=None)
        read = override(read, settings, where="read.")
        encoded = corpora.encode_text(data, read, self.tokenizer)
        score = likelihood(
            self.model,
            encoded.ids,
            self.tokenizer.count_bytes(encoded.ids),
            stride=stride,
            progress=share_of(tell, "scoring"),
        )
        return score.figures()


def load(folder: str | Path) -> Run:
    """Open a run folder.

    Raises:
        WenmoError: not a run folder, damaged, or from a newer version.
    """
    path = Path(folder)
    return Run(path, *load_run(path))


def compare(
    runs: Sequence[Run | str | Path], data: str | Path, *, stride: int | None = None
) -> list[dict[str, Any]]:
    """Score the same text with several runs; the best (fewest bits per byte) first."""
    opened = [run if isinstance(run, Run) else load(run) for run in runs]
    rows = [
        {"run": str(run.folder), "model": run.card.recipe.family}
        | run.evaluate(data, stride=stride)
        for run in opened
    ]
    return sorted(rows, key=lambda row: row["bits_per_byte"])


def catalogue(family: str | None = None) -> list[dict[str, Any]]:
    """Every family, or one: what it is good for, its settings with their defaults, its sizes.

    Raises:
        WenmoError: no such family.
    """
    if family is not None:
        find(family)
    return [
        {
            "name": name,
            "good_for": entry.good_for,
            "settings": to_dict(entry.config),
            "sizes": list(entry.sizes),
            "size_settings": {
                size: _changes(to_dict(entry.config), to_dict(config))
                for size, config in entry.sizes.items()
            },
        }
        for name, entry in MODELS.items()
        if family in (None, name)
    ]


def read_prompts(path: str | Path) -> list[str]:
    """One prompt a line, from a plain text in any encoding, or records of another format."""
    return [record.text for record in Reader(path, ReadConfig(unit="line"))]


def fit(
    data: str | Path,
    *,
    model: str | None = None,
    out: str | Path | None = None,
    valid: str | Path | None = None,
    recipe: str | Path | None = None,
    settings: Sequence[str] | Mapping[str, Any] = (),
    watch: Callable[[Event], None] | None = None,
    tell: Tell | None = None,
    **more: Any,
) -> Run:
    """Train a generator on a text, or go on where the same call was interrupted.

    Args:
        data: a file or folder of txt, JSONL, CSV, TSV or Parquet, packed or not; ``-`` is standard
            input.
        model: a family, or a family and a size: ``lstm`` (the default), ``gpt:tiny``.
        out: the run folder; by default ``runs/NAME-MODEL``.
        valid: held-out text; by default a part of ``data`` is held out.
        recipe: a TOML file with settings; what else is given here goes before it.
        settings: what should differ from the defaults, as ``key=value`` or as a dict.
        watch: is called with every event of training.
        tell: is told of what comes before and after training.
        **more: further settings by their short names: ``minutes=2, hidden=512``.

    Raises:
        WenmoError: the user's input is at fault.
        Interrupted: the user pressed Ctrl-C; all is saved.
    """
    named, recipes = (None, []) if recipe is None else read_recipe(Path(recipe))
    model = model or named or DEFAULT_MODEL
    made = make_recipe(model, [*recipes, *as_settings(settings), *as_settings(more)])
    folder = Path(out or Path("runs") / f"{_stem(data)}-{model.replace(':', '-')}")
    if made.read.source_field is not None and not conditional(made.family):
        raise WenmoError(f"{made.family} cannot condition on a source: leave --source-field out")
    if str(data) != "-":
        Reader(data, made.read)  # a missing file is told before anything else
    before = check_folder(folder, made)
    corpus = corpora.build(
        data,
        read=made.read,
        tokenizer=made.tokenizer,
        split=made.split,
        valid_path=valid,
        progress=tell and (lambda what, share: tell(what, share)),
    )
    if tell is not None:
        for note in _about(corpus):
            tell(note, None)
    Session(folder, made, corpus, before, watch, tell).run()
    return load(folder)


def _about(corpus: Corpus) -> list[str]:
    """What the user should know of the text before training."""
    train, valid = corpus.summary["train"], corpus.summary["valid"]
    read = (
        f"{train['tokens']:,} tokens to train on ({train['bytes']:,} bytes), "
        f"{valid['tokens']:,} held out: {corpus.summary['held_out']}"
    )
    missing = corpus.summary["missing"]
    left_out = f"{missing:,} records left out: their text is missing"
    return [read, *([left_out] if missing else []), *corpus.notes]


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in after.items() if before[key] != value}


def _stem(data: str | Path) -> str:
    name = "stdin" if str(data) == "-" else Path(data).name
    return name.split(".")[0] or "run"
