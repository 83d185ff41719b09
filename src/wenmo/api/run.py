"""A trained run: what a run folder holds, ready to write and to be evaluated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape
from pathlib import Path
from typing import Any

from wenmo.api.evaluator import Evaluator
from wenmo.api.generator import Generator
from wenmo.config import to_dict
from wenmo.decoding.generator import Output
from wenmo.decoding.latents import Latents
from wenmo.decoding.params import Sampling
from wenmo.evaluation.results import Alignment, Evaluation, ExplainedToken
from wenmo.models.base import LanguageModel
from wenmo.runs.exports import write_export
from wenmo.runs.folders import history, samples
from wenmo.runs.store import Card, load_run
from wenmo.text.config import TaskConfig
from wenmo.text.inputs import Source
from wenmo.text.tokenizers import Tokenizer
from wenmo.types import string


def load(folder: str | Path) -> Run:
    """Open a run folder.

    Raises:
        WenmoError: not a run folder, damaged, or from a newer version.
    """
    path = Path(folder)
    return Run(path, *load_run(path))


class Run:
    """A trained run: the content of a run folder, ready to write and to be evaluated.

    Attributes:
        folder: where it lies.
        card: settings, data and results.
        model: the best weights that training found.
        tokenizer: between text and ids.
        generator: writes texts.
        evaluator: scores texts.
    """

    def __init__(
        self, folder: Path, card: Card, model: LanguageModel, tokenizer: Tokenizer
    ) -> None:
        self.folder, self.card, self.model = folder, card, model
        self.generator = Generator(folder, card, model, tokenizer)
        self.evaluator = Evaluator(self.generator)
        self.tokenizer = self.generator.tokenizer

    @property
    def task(self) -> TaskConfig:
        """What the run was trained to do."""
        return self.card.recipe.task

    @property
    def history(self) -> list[dict[str, Any]]:
        """The figures of training, a dict each: ``step``, ``seconds``, ``loss``, and after an
        evaluation ``heldout_bits_per_byte`` and so on; ``pandas.DataFrame(run.history)`` makes a
        table of it.
        """
        return history(self.folder)

    @property
    def samples(self) -> list[dict[str, Any]]:
        """What the run wrote after each evaluation of its training: ``step`` and ``text``."""
        return samples(self.folder)

    def _repr_html_(self) -> str:
        """A table for notebooks: the figures of the run and its last sample."""
        results = self.card.results
        heldout = results.get("heldout", {})
        rows = {
            "run": self.folder,
            "model": self.card.recipe.family,
            "task": self.task.name,
            "bits per byte": heldout.get("bits_per_byte"),
            "perplexity": heldout.get("perplexity"),
            "minutes": results["seconds"] / 60 if "seconds" in results else None,
            "parameters": results.get("parameters"),
            "sample": results.get("sample"),
        }
        cells = (
            f"<tr><th>{name}</th><td>{escape(_cell(value))}</td></tr>"
            for name, value in rows.items()
            if value is not None
        )
        return f"<table>{''.join(cells)}</table>"

    def __repr__(self) -> str:
        return f"<wenmo run {str(self.folder)!r}: {self.card.recipe.family}>"

    # -- writing -----------------------------------------------------------------------------------

    @property
    def sampling(self) -> Sampling:
        """How the run writes where nothing is asked for."""
        return self.generator.defaults

    def generate(self, prompt: str = "", n: int = 1, **options: Any) -> list[str]:
        """Write ``n`` texts for a prompt: what goes on from it, or, where the run was trained on
        pairs, what answers it. The prompt itself is not repeated.

        Args:
            prompt: what to go on from; empty for a text from its beginning, or, where the training
                text is a few long documents, from the beginning of a line. For pairs: the source.
            n: how many.
            **options: as of ``write``.

        Raises:
            WenmoError: the prompt is not one string, or an option makes no sense.
        """
        return self.texts([string(prompt, "prompt")], n, **options)[0]

    def texts(self, prompts: str | Iterable[str], n: int = 1, **options: Any) -> list[list[str]]:
        """As ``write``, but the texts alone. Rules draw a million of them in a minute.

        Args:
            **options: as of ``write``.
        """
        return self.generator.texts(prompts, n, **options)

    def write(self, prompts: str | Iterable[str], n: int = 1, **options: Any) -> list[list[Output]]:
        """As ``generate``, for many prompts in one batch, with token counts and probabilities.

        Among sources to answer, a blank one is answered by nothing.

        Args:
            prompts: a list, an array or a pandas Series of strings; one string is one prompt.
            **options: ``control``, values of the fields that were trained on as control codes;
                ``prefix``, how every answer must begin, for runs that were trained on pairs;
                ``grammar``, the file of a grammar of which every text is to be one, the prompt not
                counted; and any setting of ``Sampling``: temperature, top_p, max_tokens, seed and
                so on. Where no seed is given, one is drawn, which every output tells.

        Raises:
            WenmoError: prompts of another kind, or an option that makes no sense.
        """
        return self.generator.write(prompts, n, **options)

    def stream(self, prompt: str = "", **options: Any) -> Iterator[str]:
        """Write one text in pieces, as they come; never half a character.

        Args:
            **options: as of ``write``.
        """
        return self.generator.stream(prompt, **options)

    def reply(self, turns: str | Iterable[str], **options: Any) -> Iterator[str]:
        """The next turn of a conversation, in pieces, as they come.

        Args:
            turns: what was said so far, by turns; the last is what is replied to.
            **options: ``control``, as of ``write``; ``system``, an instruction that stands before
                the conversation; and any setting of ``Sampling``.

        Raises:
            WenmoError: the run was not trained on dialogue, or has no place for an instruction.
        """
        return self.generator.reply(turns, **options)

    def logit_bias(self, amounts: str | Iterable[str]) -> tuple[tuple[int, float], ...]:
        """``TEXT=AMOUNT`` strings as the ids and amounts that ``logit_bias`` of ``Sampling`` takes.

        Raises:
            WenmoError: not of that form, or a text that is not one token of this run's.
        """
        return self.generator.logit_bias(amounts)

    @property
    def latents(self) -> Latents:
        """The space that the run writes from: ``reconstruct``, ``walk`` and ``edit`` texts in it.

        Raises:
            WenmoError: its family has none.
        """
        return Latents(self.generator.text_generator, self.generator.defaults)

    # -- evaluating --------------------------------------------------------------------------------

    def evaluate(self, data: Source | Iterable[Any], **options: Any) -> Evaluation:
        """Score a text: bits per byte, nats per token, perplexity, tokens, bytes. Of pairs, the
        targets are scored, and ``metrics`` measure what the run answers beside them.

        Args:
            data: a file, a folder or records in memory, of any kind that ``fit`` reads.
            **options: as of `Evaluator.evaluate`: ``target``, ``encoding``, ``window``, ``stride``,
                ``dynamic``, ``cache``, ``samples``, ``settings``, ``on_progress``, and any setting
                of ``Sampling``.

        Raises:
            WenmoError: the text cannot be read, or an option makes no sense for this run.
        """
        return self.evaluator.evaluate(data, **options)

    def explain(self, text: str) -> list[ExplainedToken]:
        """Token by token, how likely a text is, what was expected, and, where the run stands on
        counts, which of the counts or the network said so.

        Raises:
            WenmoError: the run answers to sources, or the text is empty or too long.
        """
        return self.evaluator.explain(text)

    def align(self, prompt: str, output: Output, **options: Any) -> Alignment:
        """How much each token of a text attended to each of its source.

        Args:
            prompt: what the text was written for.
            output: the text.
            **options: ``control`` and ``prefix``, where it was written with these.

        Raises:
            WenmoError: the run's family has no encoder to attend to.
        """
        return self.evaluator.align(prompt, output, **options)

    def export(
        self,
        to: str,
        out: str | Path,
        *,
        precision: str | None = None,
        network_only: bool = False,
    ) -> str | None:
        """Write the model for other programs; adapters are added into its weights first.

        Args:
            to: ``huggingface``, a folder that `transformers` opens; ``gguf``, a file that llama.cpp
                runs; ``onnx``, a folder that onnxruntime runs; ``arpa``, a file of an n-gram model;
                ``grammar``, rules with their weights.
            out: the folder or file.
            precision: of GGUF's matrices: float32, float16 (the default) or q8_0.
            network_only: write the network of a run on counts without them.

        Returns:
            What the user should know of what was written; ``None``: nothing.

        Raises:
            WenmoError: the format cannot hold this model, or there is no such format.
        """
        return write_export(
            to,
            Path(out),
            self.model,
            self.card,
            self.tokenizer,
            precision=precision,
            network_only=network_only,
            sampling=to_dict(self.sampling),
        )


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
