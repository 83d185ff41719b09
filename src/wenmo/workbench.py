"""The facade: fit, load, generate, evaluate, compare. Apps know nothing below this."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wenmo.config import from_dict, override, to_dict
from wenmo.decoding.engine import window
from wenmo.decoding.warp import Sampling
from wenmo.decoding.writer import Output, Writer
from wenmo.derive import derive
from wenmo.evaluation.alignment import alignment, alignment_svg
from wenmo.evaluation.dynamic import dynamic_likelihood
from wenmo.files import atomic
from wenmo.material import judge_pairs, judge_text, kept, readable, sampling_for
from wenmo.models import MODELS, LanguageModel, can_stand_on_counts, conditional, find
from wenmo.recipe import as_settings, make_recipe, over, read_recipe
from wenmo.runs import Card, load_run
from wenmo.session import Session, Tell, check_folder, share_of
from wenmo.text import corpus as corpora
from wenmo.text.corpus import Corpus
from wenmo.text.pairs import Keep, source_room
from wenmo.text.readers import ReadConfig, Reader, has_fields
from wenmo.text.tasks import GAP, TaskConfig, choose_fields, open_records, source_of, turns_source
from wenmo.text.tokenizers import Tokenizer
from wenmo.training.loop import Event
from wenmo.types import WenmoError

__all__ = [
    "Event",
    "Output",
    "Run",
    "alignment_svg",
    "catalogue",
    "compare",
    "fit",
    "load",
    "read_prompts",
    "write_file",
]


DEFAULT_MODEL = "lstm"
UNASKED = Output("", 0, 0.0, "end", False, 0.0, (), ())
"""What answers a blank line among sources."""


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

    @property
    def task(self) -> TaskConfig:
        """What the run was trained to do."""
        return self.card.recipe.task

    def generate(self, prompt: str = "", n: int = 1, **options: Any) -> list[str]:
        """Write ``n`` texts for a prompt: what goes on from it, or, where the run was trained on
        pairs, what answers it. The prompt itself is not repeated.

        Args:
            prompt: what to go on from; empty for a text from its beginning, or, where the training
                text is a few long documents, from the beginning of a line. For pairs: the source.
            n: how many.
            **options: as of ``write``.
        """
        return [output.text for output in self.write([prompt], n, **options)[0]]

    def write(
        self,
        prompts: Sequence[str],
        n: int = 1,
        *,
        control: Mapping[str, str] | None = None,
        prefix: str = "",
        **sampling: Any,
    ) -> list[list[Output]]:
        """As ``generate``, for many prompts in one batch, with token counts and probabilities.

        Among sources to answer, a blank one is answered by nothing.

        Args:
            control: values of the fields that were trained on as control codes.
            prefix: how every answer must begin; for runs that were trained on pairs.
            **sampling: any setting of ``Sampling``: temperature, top_p, max_tokens, seed and so on.
        """
        if n < 1:
            raise WenmoError(f"n must be at least 1, not {n}")
        answers = self.task.paired and self.task.name != "completion"
        asked = [p for p in prompts if p.strip()] if answers else list(prompts)
        begun, sources = self._requests(asked or prompts, control or {}, prefix)
        written = self._writer().generate(begun, self._sampling(sampling), n, sources=sources)
        if len(asked) == len(prompts):
            return written
        following = iter(written)
        return [next(following) if prompt.strip() else [UNASKED] * n for prompt in prompts]

    def stream(
        self,
        prompt: str = "",
        *,
        control: Mapping[str, str] | None = None,
        prefix: str = "",
        **sampling: Any,
    ) -> Iterator[str]:
        """Write one text in pieces, as they come; never half a character."""
        [begun], sources = self._requests([prompt], control or {}, prefix)
        source = None if sources is None else sources[0]
        yield from self._writer().stream(begun, self._sampling(sampling), source=source)

    def reply(
        self, turns: Sequence[str], *, control: Mapping[str, str] | None = None, **sampling: Any
    ) -> Iterator[str]:
        """The next turn of a conversation, in pieces, as they come.

        Args:
            turns: what was said so far, by turns; the last is what is replied to.

        Raises:
            WenmoError: the run was not trained on dialogue.
        """
        self.require("dialogue")
        source = turns_source(turns, self.task, control or {})
        return self._writer().stream("", self._sampling(sampling), source=source)

    def require(self, task: str) -> None:
        """Make sure that the run was trained for a task.

        Raises:
            WenmoError: it was trained for another.
        """
        if self.task.name != task:
            raise WenmoError(
                f"{self.folder}: was trained for {self.task.name}: train a run with --task {task}"
            )

    def around(self, prompt: str, prefix: str = "") -> tuple[str, str]:
        """What of prompt and prefix belongs before and after a text that a person is shown."""
        if self.task.name == "infilling":
            before, _, after = prompt.partition(GAP)
            return before + prefix, after
        return prefix + prompt if self.task.name == "completion" else prefix, ""

    def align(
        self,
        prompt: str,
        output: Output,
        *,
        control: Mapping[str, str] | None = None,
        prefix: str = "",
    ) -> dict[str, Any]:
        """How much each token of a text attended to each of its source.

        Args:
            prompt, control, prefix: what the text was written for.
            output: the text.

        Returns:
            ``source`` and ``target``, the tokens as text, and ``weights``, a row for each of the
            target's.

        Raises:
            WenmoError: the run's family has no encoder to attend to.
        """
        [begun], sources = self._requests([prompt], control or {}, prefix)
        source = self._writer().encode_source("" if sources is None else sources[0])
        before = self.tokenizer.encode(begun).tolist() if begun else []
        weights = alignment(self.model, source, [*before, *output.ids])[len(before) :]
        return {
            "source": [*map(self._spelled, source), "<end>"],
            "target": [self._spelled(token) for token in output.ids],
            "weights": weights.tolist(),
        }

    def _spelled(self, token: int) -> str:
        """A token as text, or as bytes where it is no whole character."""
        spelled = self.tokenizer.table[token]
        try:
            return spelled.decode() if token else "<end>"
        except UnicodeDecodeError:
            return f"<{spelled.hex(' ').upper()}>"

    def _requests(
        self, prompts: Sequence[str], control: Mapping[str, str], prefix: str
    ) -> tuple[list[str], list[str] | None]:
        """How each text begins, and the source it is to answer."""
        if not self.task.paired:
            if control or prefix:
                wrong = "--control" if control else "--prefix"
                raise WenmoError(
                    f"{self.folder}: {wrong} is for runs trained on pairs; leave it out"
                )
            return [prompt or self.card.opening for prompt in prompts], None
        sources = [source_of(self.task, prompt, control) for prompt in prompts]
        if self.task.name == "completion":
            return [prefix + prompt for prompt in prompts], sources
        return [prefix] * len(prompts), sources

    def _sampling(self, options: Mapping[str, Any]) -> Sampling:
        defaults = to_dict(sampling_for(self.task))
        if self.task.paired:
            defaults["max_tokens"] = self.card.longest_target
        return from_dict(Sampling, {**defaults, **options})

    def _writer(self) -> Writer:
        return Writer(self.model, self.tokenizer, keep=kept(self.task))

    def truncates(self, prompt: str) -> Keep | None:
        """Which end alone is read of a prompt that is too long for the model; None if all of it."""
        length = len(self.tokenizer.encode(prompt))
        if self.task.paired and self.task.name != "completion":
            room = source_room(self.model.conditioning, self.model.context)
            too_long = room is not None and length > room
        else:
            too_long = window(1 + length, self.model.context) < 1 + length
        return kept(self.task) if too_long else None

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
        target: str | Path | None = None,
        window: int | None = None,
        stride: int | None = None,
        dynamic: float | None = None,
        settings: Sequence[str] = (),
        tell: Tell | None = None,
        **sampling: Any,
    ) -> dict[str, Any]:
        """Score a text: bits per byte, nats per token, perplexity, tokens, bytes. Of pairs, the
        targets are scored, and ``metrics`` measure what the run answers beside them.

        Args:
            data: a file or folder of any kind that ``fit`` reads.
            target: the texts that answer the lines of ``data``, a line each.
            window: read the text in windows of so many tokens, each with nothing before it;
                ``None``: in windows of the model's context, or, where that is unbounded, as one.
            stride: how far windows move; ``None``: by a whole one.
            dynamic: go on learning from the text while it is scored, at this rate of gradient
                descent; for networks without bounds.
            settings: how to read it, as ``key=value``, where it differs from the training text.
            tell: is told the share that is done.
            **sampling: how answers are written, where it differs from the task's own way.
        """
        read = self.card.recipe.read
        if not has_fields(data):  # the fields of the training text do not matter to a plain one
            read = replace(read, text_field=None, source_field=None)
        read, _ = choose_fields(data, override(read, settings, where="read."), self.task, target)
        encoded = corpora.encode_text(data, read, self.tokenizer, task=self.task, target=target)
        progress = share_of(tell, "scoring")
        if not self.task.paired:
            if dynamic is not None:
                return self._judge_dynamically(encoded.ids, dynamic, progress)
            windows = {"window": window, "stride": stride}
            return judge_text(self.model, self.tokenizer, encoded.ids, **windows, progress=progress)
        pairs = readable(encoded.ids, self.model, self.task)
        return judge_pairs(self._writer(), pairs, self.task, self._sampling(sampling), progress)

    def _judge_dynamically(
        self,
        ids: NDArray[np.unsignedinteger],
        rate: float,
        progress: Callable[[float], None] | None,
    ) -> dict[str, Any]:
        if self.model.learner != "gradient" or self.model.context is not None:
            raise WenmoError(
                f"{self.folder}: dynamic evaluation is for networks without bounds (rnn, lstm, gru)"
            )
        bytes_ = self.tokenizer.count_bytes(ids)
        return dynamic_likelihood(self.model, ids, bytes_, rate, progress=progress).figures()


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


def read_prompts(path: str | Path, run: Run) -> list[str]:
    """What to write for: a line each of a plain text in any encoding, or records of another format.

    For a run that was trained on pairs these are the sources, and an empty line stays in its place.
    """
    paired = run.task.paired and run.task.name != "completion"
    if paired and not has_fields(path):
        text = "".join(record.text for record in Reader(path))
        return text.removesuffix("\n").split("\n")
    field = run.card.recipe.read.source_field if paired else None
    return [record.text for record in Reader(path, ReadConfig(unit="line", text_field=field))]


def write_file(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def fit(
    data: str | Path,
    *,
    model: str | None = None,
    task: str | None = None,
    out: str | Path | None = None,
    target: str | Path | None = None,
    valid: str | Path | None = None,
    valid_target: str | Path | None = None,
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
        task: what to learn: ``completion`` (the default), ``translation``, ``dialogue`` and so on.
        out: the run folder; by default ``runs/NAME-MODEL``.
        target: the texts that answer the lines of ``data``, a line each.
        valid: held-out text; by default a part of ``data`` is held out.
        valid_target: the same as ``target``, for ``valid``.
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
    given = [*as_settings(settings), *as_settings(more), *([f"task.name={task}"] if task else [])]
    made = make_recipe(model, over(recipes, given))
    folder = Path(out or Path("runs") / f"{_stem(data)}-{model.replace(':', '-')}")
    if made.task.paired and not conditional(made.family):
        raise WenmoError(
            f"{made.family} cannot answer to a source: leave --task and --control out, or choose "
            "another --model"
        )
    if made.prior.counts == "ngram" and not can_stand_on_counts(made.family):
        raise WenmoError(f"{made.family} cannot stand on counts: leave --prior out")
    read, note = choose_fields(data, made.read, made.task, target)
    made = replace(made, read=read)
    if str(data) != "-":
        open_records(data, read, made.task, target)  # what is amiss is told before anything else
    before = check_folder(folder, made)
    corpus = corpora.build(
        data,
        read=made.read,
        tokenizer=made.tokenizer,
        split=made.split,
        task=made.task,
        target=target,
        valid_path=valid,
        valid_target=valid_target,
        progress=tell and (lambda what, share: tell(what, share)),
    )
    derived, chosen = derive(made, corpus) if before is None else (before.recipe, [])
    if tell is not None:
        for line in [*([note] if note else []), *_about(corpus), *chosen]:
            tell(line, None)
    Session(folder, derived, made, corpus, before, watch, tell).run()
    return load(folder)


def _about(corpus: Corpus) -> list[str]:
    """What the user should know of the text before training."""
    train, valid = corpus.summary["train"], corpus.summary["valid"]
    read = (
        f"{train['tokens']:,} tokens to train on ({train['bytes']:,} bytes), "
        f"{valid['tokens']:,} held out: {corpus.summary['held_out']}"
    )
    missing = corpus.summary["missing"]
    left_out = f"{missing:,} records left out: their text is missing, or gives no example"
    return [read, *([left_out] if missing else []), *corpus.notes]


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in after.items() if before[key] != value}


def _stem(data: str | Path) -> str:
    name = "stdin" if str(data) == "-" else Path(data).name
    return name.split(".")[0] or "run"
