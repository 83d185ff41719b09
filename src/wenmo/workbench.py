"""The facade: fit, load, generate, evaluate, compare. Apps know nothing below this."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from wenmo.config import from_dict, nearest, override, to_dict
from wenmo.decoding.warp import Sampling
from wenmo.decoding.writer import Output, Writer
from wenmo.evaluation.likelihood import likelihood
from wenmo.files import told_in_one_line
from wenmo.models import MODELS, LanguageModel, conditional, find
from wenmo.runs import CARD, TOKENIZER, Card, Recipe, load_model, load_run, save_model
from wenmo.text import corpus as corpora
from wenmo.text.batches import Batches, Streams, Windows
from wenmo.text.corpus import Corpus
from wenmo.text.readers import ReadConfig, Reader
from wenmo.text.tokenizers import Tokenizer
from wenmo.training.checkpoints import Checkpoints
from wenmo.training.journal import Journal
from wenmo.training.learners import Count, Gradient, Learner, faster_precision
from wenmo.training.loop import Event, Trainer
from wenmo.training.optimizers import DEFAULT_RATE, make_optimizer
from wenmo.types import WenmoError

__all__ = [
    "Event",
    "Output",
    "Run",
    "catalogue",
    "compare",
    "fit",
    "load",
    "make_recipe",
    "read_prompts",
]

DEFAULT_MINUTES = 3.0
STREAM_TIME = 64  # tokens of truncated back-propagation, where no time is asked for
SAMPLE = Sampling(max_tokens=160, temperature=0.8)

Tell = Callable[[str, float | None], None]
"""Told what is going on, and the share that is done (``None``: a note for the user)."""


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

    def generate(self, prompt: str = "", n: int = 1, **sampling: Any) -> list[str]:
        """Write ``n`` texts that go on from the prompt; the prompt itself is not repeated.

        Args:
            prompt: what to go on from; empty for a text from its beginning.
            n: how many.
            **sampling: any setting of ``Sampling``: temperature, top_p, max_tokens, seed and so on.
        """
        return [output.text for output in self.write([prompt], n, **sampling)[0]]

    def write(self, prompts: Sequence[str], n: int = 1, **sampling: Any) -> list[list[Output]]:
        """As ``generate``, for many prompts in one batch, with token counts and probabilities."""
        settings = from_dict(Sampling, sampling)
        return Writer(self.model, self.tokenizer).generate(prompts, settings, n)

    def stream(self, prompt: str = "", **sampling: Any) -> Iterator[str]:
        """Write one text in pieces, as they come; never half a character."""
        yield from Writer(self.model, self.tokenizer).stream(prompt, from_dict(Sampling, sampling))

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
        read = override(self.card.recipe.read, settings, where="read.")
        encoded = corpora.encode_text(data, read, self.tokenizer)
        score = likelihood(
            self.model,
            encoded.ids,
            self.tokenizer.count_bytes(encoded.ids),
            stride=stride,
            progress=_share(tell, "scoring"),
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


def make_recipe(model: str, settings: Sequence[str] | Mapping[str, Any] = ()) -> Recipe:
    """All settings of a run, from a model's name and what should differ from the defaults.

    Args:
        model: a family, or a family and a size: ``lstm``, ``gpt:tiny``.
        settings: ``table.key=value``, or ``key=value`` where only one table has that key.

    Raises:
        WenmoError: an unknown model or key (the nearest is offered), or a value that does not fit.
    """
    recipe = Recipe(*find(model))
    if isinstance(settings, Mapping):
        settings = [f"{key}={_plain(value)}" for key, value in settings.items()]
    tables = {
        field.name: [f.name for f in dataclasses.fields(getattr(recipe, field.name))]
        for field in dataclasses.fields(Recipe)
        if field.name != "family"
    }
    changes: dict[str, list[str]] = {name: [] for name in tables}
    for setting in settings:
        table, rest = _table_of(setting, tables)
        changes[table].append(rest)
    for table, changed in changes.items():
        config = override(getattr(recipe, table), changed, where=f"{table}.")
        recipe = dataclasses.replace(recipe, **{table: config})
    if recipe.train.steps is None and recipe.train.minutes is None:
        timed = dataclasses.replace(recipe.train, minutes=DEFAULT_MINUTES)
        recipe = dataclasses.replace(recipe, train=timed)
    return recipe


def fit(
    data: str | Path,
    *,
    model: str = "lstm",
    out: str | Path | None = None,
    valid: str | Path | None = None,
    settings: Sequence[str] | Mapping[str, Any] = (),
    watch: Callable[[Event], None] | None = None,
    tell: Tell | None = None,
    **more: Any,
) -> Run:
    """Train a generator on a text, or go on where the same call was interrupted.

    Args:
        data: a file or folder of txt, JSONL, CSV, TSV or Parquet, packed or not; ``-`` is standard
            input.
        model: a family, or a family and a size: ``lstm``, ``gpt:tiny``.
        out: the run folder; by default ``runs/NAME-MODEL``.
        valid: held-out text; by default a part of ``data`` is held out.
        settings: what should differ from the defaults, as ``key=value`` or as a dict.
        watch: is called with every event of training.
        tell: is told of what comes before and after training.
        **more: further settings by their short names: ``minutes=2, hidden=512``.

    Raises:
        WenmoError: the user's input is at fault.
        Interrupted: the user pressed Ctrl-C; all is saved.
    """
    if isinstance(settings, Mapping):
        settings = [f"{key}={_plain(value)}" for key, value in settings.items()]
    recipe = make_recipe(model, [*settings, *(f"{k}={_plain(v)}" for k, v in more.items())])
    folder = Path(out or Path("runs") / f"{_stem(data)}-{model.replace(':', '-')}")
    if recipe.read.source_field is not None and not conditional(recipe.family):
        raise WenmoError(f"{recipe.family} cannot condition on a source: leave --source-field out")
    before = _check_folder(folder, recipe)
    corpus = corpora.build(
        data,
        read=recipe.read,
        tokenizer=recipe.tokenizer,
        split=recipe.split,
        valid_path=valid,
        progress=tell and (lambda what, share: tell(what, share)),
    )
    if tell is not None:
        for note in _about(corpus):
            tell(note, None)
    session = _Session(folder, recipe, corpus, before, watch, tell)
    return session.run()


class _Session:
    """One call of ``fit``: from a corpus to a finished run folder."""

    def __init__(
        self,
        folder: Path,
        recipe: Recipe,
        corpus: Corpus,
        before: Card | None,
        watch: Callable[[Event], None] | None,
        tell: Tell | None,
    ) -> None:
        self.folder, self.recipe, self.corpus = folder, recipe, corpus
        self.watch, self.tell = watch, tell
        self.tokenizer = corpus.tokenizer
        data = {"fingerprint": corpus.fingerprint, **corpus.summary}
        if before is not None and before.data["fingerprint"] != corpus.fingerprint:
            raise WenmoError(
                f"{folder}: was trained on other text (its fingerprint differs): "
                "choose another --out, or remove the folder"
            )
        self.card = before or Card(recipe, data)
        torch.manual_seed(recipe.train.seed)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = recipe.model.build(self.tokenizer.vocab_size).to(device)

    def run(self) -> Run:
        if not self.card.finished:
            with told_in_one_line(self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
            self.tokenizer.save(self.folder / TOKENIZER)
            self.card.write(self.folder)
            self._train()
        else:
            self._say(f"{self.folder} is trained already; nothing is left to do")
        return load(self.folder)

    def _train(self) -> None:
        checkpoints = Checkpoints(self.folder / "checkpoints", self._say)
        trainer = Trainer(
            learner=self._learner(),
            config=self.recipe.train,
            checkpoints=checkpoints,
            evaluate=self._evaluate_some,
            sample=self._sample,
            keep_best=lambda: save_model(self.folder, self.recipe.model, self.model),
            report=self._report,
        )
        if trainer.resume() and trainer.position.step:
            self._say(f"going on from step {trainer.position.step:,}")
        self.journal = Journal(self.folder, trainer.position.step)
        try:
            position = trainer.run()
        finally:
            self.journal.close()
        self._finish(
            {
                "steps": position.step,
                "seconds": position.seconds,
                "tokens_seen": position.tokens,
                "best_step": position.best_step,
                "rollbacks": position.rollbacks,
            }
        )

    def _finish(self, results: dict[str, Any]) -> None:
        """Score the best weights on all held-out text, and time the writing of one text."""
        vocab_size = self.tokenizer.vocab_size
        best = load_model(self.folder, self.recipe.model, vocab_size).to(self.model.device)
        score = likelihood(
            best,
            self.corpus.valid,
            self.tokenizer.count_bytes(self.corpus.valid),
            progress=_share(self.tell, "scoring all held-out text"),
        )
        begun = time.perf_counter()
        [[output]] = Writer(best, self.tokenizer).generate([""], SAMPLE)
        seconds = time.perf_counter() - begun
        self.card.results |= {
            "heldout": score.figures(),
            **results,
            "parameters": best.parameter_count(),
            "characters_per_second": len(output.text) / seconds,
            "sample": output.text,
        }
        self.card.finished = True
        self.card.write(self.folder)

    def _learner(self) -> Learner:
        kinds: dict[str, Callable[[], Learner]] = {"gradient": self._gradient, "count": self._count}
        return kinds[self.model.learner]()

    def _count(self) -> Learner:
        return Count(self.model, self.corpus.train, _share(self.tell, "counting"))

    def _gradient(self) -> Learner:
        train = self.recipe.train
        ids, rows = self.corpus.train, train.rows
        batches: Batches
        if self.model.context is None:
            batches = Streams(ids, rows, train.time or STREAM_TIME)
        else:
            time = min(train.time or self.model.context, self.model.context)
            batches = Windows(ids, rows, time, train.seed)
        if "precision" not in self.card.results:
            chosen = train.precision
            if chosen == "auto":
                chosen = faster_precision(self.model, batches)
            self.card.results["precision"] = chosen
            self.card.write(self.folder)
        decays = train.optimizer in ("adamw", "muon")
        optimizer = make_optimizer(
            train.optimizer,
            self.model,
            rate=train.rate or DEFAULT_RATE[train.optimizer],
            weight_decay=(0.1 if decays else 0.0)
            if train.weight_decay is None
            else train.weight_decay,
            momentum=train.momentum,
            betas=(train.beta1, train.beta2),
        )
        return Gradient(
            self.model,
            batches,
            optimizer,
            clip=train.clip,
            accumulate=train.accumulate,
            precision=self.card.results["precision"],
            seed=train.seed,
        )

    def _evaluate_some(self) -> dict[str, float]:
        some = self.corpus.valid[: self.recipe.train.evaluation_tokens + 1]
        return likelihood(self.model, some, self.tokenizer.count_bytes(some)).figures()

    def _sample(self) -> str:
        return Writer(self.model, self.tokenizer).generate([""], SAMPLE)[0][0].text

    def _report(self, event: Event) -> None:
        self.journal.record(event)
        if self.watch is not None:
            self.watch(event)

    def _say(self, note: str) -> None:
        if self.tell is not None:
            self.tell(note, None)


def _check_folder(folder: Path, recipe: Recipe) -> Card | None:
    """The card of the run to go on with, if there is one that fits."""
    if not folder.exists():
        return None
    if not folder.is_dir():
        raise WenmoError(f"{folder}: a file stands here: choose another --out")
    if not (folder / CARD).exists():
        if any(folder.iterdir()):
            raise WenmoError(f"{folder}: not empty and not a run folder: choose another --out")
        return None
    card = Card.read(folder)
    theirs, ours = _flat(card.recipe.tables()), _flat(recipe.tables())
    differ = [key for key in {**theirs, **ours} if theirs.get(key) != ours.get(key)]
    if differ:
        shown = ", ".join(f"{k} ({theirs.get(k)} there, {ours.get(k)} here)" for k in differ[:4])
        more = f" and {len(differ) - 4} more" if len(differ) > 4 else ""
        raise WenmoError(
            f"{folder}: holds a run with other settings: {shown}{more}: "
            "choose another --out, or remove the folder"
        )
    return card


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


def _table_of(setting: str, tables: Mapping[str, list[str]]) -> tuple[str, str]:
    """Which table a setting belongs to, and the setting without the table's name."""
    key = setting.partition("=")[0].strip()
    head, dot, _ = key.partition(".")
    if dot and head in tables:
        return head, setting.partition(".")[2]
    owners = [table for table, names in tables.items() if key in names]
    if len(owners) == 1:
        return owners[0], setting
    if owners:
        choices = " or ".join(f"{owner}.{key}" for owner in owners)
        raise WenmoError(f"setting {key!r} is not clear: say {choices}")
    known = [name for names in tables.values() for name in names]
    valid = "; ".join(f"{table}: {', '.join(names)}" for table, names in tables.items())
    raise WenmoError(f"unknown setting {key!r}{nearest(key, known)} (valid: {valid})")


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in after.items() if before[key] != value}


def _flat(tables: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tables.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = list(value) if isinstance(value, tuple) else value
    return flat


def _plain(value: Any) -> str:
    """A Python value as the text that a setting would be given as."""
    import json

    return value if isinstance(value, str) else json.dumps(value)


def _stem(data: str | Path) -> str:
    name = "stdin" if str(data) == "-" else Path(data).name
    return name.split(".")[0] or "run"


def _share(tell: Tell | None, what: str) -> Callable[[float], None] | None:
    return None if tell is None else lambda share: tell(what, share)
