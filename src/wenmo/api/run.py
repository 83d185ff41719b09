"""A trained run, loaded from its folder: generates, evaluates, exports."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape
from pathlib import Path
from typing import Any

from wenmo.api.evaluator import Evaluator
from wenmo.api.generator import Generator
from wenmo.config import to_dict
from wenmo.decoding.combination.classifier import (
    MIN_TEXTS,
    ClassifierResult,
    fit_classifier,
    save_classifier,
)
from wenmo.decoding.latents import Latents
from wenmo.decoding.output import Output
from wenmo.decoding.params import Sampling
from wenmo.evaluation.results import Alignment, Evaluation, ExplainedToken
from wenmo.models.base import LanguageModel
from wenmo.runs.exports import write_export
from wenmo.runs.folders import history, samples
from wenmo.runs.store import Card, load_run
from wenmo.text.config import TaskConfig
from wenmo.text.inputs import Source
from wenmo.text.tokenizers import Tokenizer
from wenmo.types import WenmoError, string, strings


def load(folder: str | Path) -> Run:
    """Load a run folder, a grammar's file or a pretrained model.

    Raises:
        WenmoError: it is none of these, damaged, or from a newer version.
    """
    path = Path(folder)
    return Run(path, *load_run(path))


class Run:
    """A trained run.

    Attributes:
        folder: the run folder.
        card: settings, data and results.
        model: the model with the best weights of the training.
        tokenizer: the tokenizer of the model.
        generator: generates texts.
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
        """The task of the training."""
        return self.card.recipe.task

    @property
    def history(self) -> list[dict[str, Any]]:
        """The metrics of the training, a dict for each logged step.

        The keys are ``step``, ``seconds``, ``loss``, and after an evaluation
        ``heldout_bits_per_byte`` and so on; ``pandas.DataFrame(run.history)`` is a table of them.
        """
        return history(self.folder)

    @property
    def samples(self) -> list[dict[str, Any]]:
        """The samples after each evaluation of the training: ``step`` and ``text``."""
        return samples(self.folder)

    def _repr_html_(self) -> str:
        """A table for notebooks: the results of the run and its last sample."""
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
            f"<tr><th>{name}</th><td>{escape(_format_cell(value))}</td></tr>"
            for name, value in rows.items()
            if value is not None
        )
        return f"<table>{''.join(cells)}</table>"

    def __repr__(self) -> str:
        return f"<wenmo run {str(self.folder)!r}: {self.card.recipe.family}>"

    # -- generation --------------------------------------------------------------------------------

    @property
    def sampling(self) -> Sampling:
        """The default settings of generation."""
        return self.generator.defaults

    def generate(self, prompt: str = "", n: int = 1, **options: Any) -> list[str]:
        """Generate ``n`` texts: continuations of the prompt, or answers of a run trained on pairs.

        The texts do not include the prompt.

        Args:
            prompt: the text to continue, or the source to answer. An empty prompt starts a text,
                or a line if the training text consists of a few long documents.
            n: number of texts (default 1).
            **options: see ``write``.

        Raises:
            WenmoError: the prompt is not a string, or an option does not fit this run.
        """
        return self.texts([string(prompt, "prompt")], n, **options)[0]

    def texts(self, prompts: str | Iterable[str], n: int = 1, **options: Any) -> list[list[str]]:
        """As ``write``, without token counts and probabilities.

        A grammar generates a million texts in a minute.

        Args:
            prompts: see ``write``.
            n: number of texts for each prompt (default 1).
            **options: see ``write``.
        """
        return self.generator.texts(prompts, n, **options)

    def write(self, prompts: str | Iterable[str], n: int = 1, **options: Any) -> list[list[Output]]:
        """As ``generate``, for many prompts in one batch, with token counts and probabilities.

        The answer to a blank source is empty.

        Args:
            prompts: a list, an array or a pandas Series of strings; one string is one prompt.
            n: number of texts for each prompt (default 1).
            **options: ``control``, the values of control fields; ``prefix``, the beginning of
                every answer, for runs that were trained on pairs; ``grammar``, the file of a
                grammar that every text follows, without its prompt; any setting of
                ``CombinationSettings``: expert, anti and so on; of
                ``ConstraintSettings``: regex, json_schema (a dict, or a file), choice, length and
                so on; and of ``Sampling``: temperature, top_p, max_tokens, seed, chain and so
                on. Without a seed, one is drawn; every output has it. ``alternatives``, the number
                of likeliest tokens that ``positions`` of each output has.

        Raises:
            WenmoError: prompts of another type, or an option that does not fit this run.
        """
        return self.generator.write(prompts, n, **options)

    def stream(self, prompt: str = "", **options: Any) -> Iterator[str]:
        """Generate one text and yield it in pieces of complete characters.

        Args:
            prompt: see ``generate``.
            **options: see ``write``.
        """
        return self.generator.stream(prompt, **options)

    def reply(self, turns: str | Iterable[str], **options: Any) -> Iterator[str]:
        """Generate the next turn of a conversation and yield it in pieces.

        Args:
            turns: the turns so far; the last one is the user's.
            **options: ``control``, see ``write``; ``system``, an instruction before the
                conversation; and any setting of ``Sampling``.

        Raises:
            WenmoError: the run was not trained on dialogue, or does not support a system prompt.
        """
        return self.generator.reply(turns, **options)

    def explain_decoding(self, **options: Any) -> list[str]:
        """What decoding does to the probabilities of the model, one line for each step in order of
        application: constraints, logits processors, strategy, seed.

        Args:
            **options: see ``write``.
        """
        return self.generator.explain_decoding(**options)

    def logit_bias(self, amounts: str | Iterable[str]) -> tuple[tuple[int, float], ...]:
        """Parse ``TEXT=AMOUNT`` strings to the ids and amounts of ``Sampling.logit_bias``.

        Raises:
            WenmoError: a string has another form, or a text is not one token of the tokenizer.
        """
        return self.generator.logit_bias(amounts)

    @property
    def latents(self) -> Latents:
        """The latent space of the run, with ``reconstruct``, ``walk`` and ``edit``.

        Raises:
            WenmoError: the family has no latents.
        """
        return Latents(self.generator.text_generator, self.generator.defaults)

    def fit_classifier(
        self,
        toward: Iterable[str],
        away: Iterable[str],
        out: str | Path,
        *,
        seed: int = 0,
    ) -> ClassifierResult:
        """Train a classifier over the run's vocabulary, which steers it as ``classifier={out: 2}``.

        Args:
            toward: texts of the class.
            away: texts that are not of the class.
            out: the file to write, safetensors.
            seed: of the order of the texts in training (default 0).

        Returns:
            How well it classifies a tenth of the texts, which it is not trained on.

        Raises:
            WenmoError: fewer than ten texts of a class, or of the other.
        """
        classes = []
        for name, texts in (("toward", toward), ("away", away)):
            ids = [self.tokenizer.encode(text).tolist() for text in strings(texts, name)]
            classes.append([each for each in ids if each])
            if len(classes[-1]) < MIN_TEXTS:
                raise WenmoError(
                    f"{name}: {len(classes[-1])} texts: give at least {MIN_TEXTS} of each class"
                )
        model, result = fit_classifier(self.model.vocab_size, *classes, seed=seed)
        save_classifier(Path(out), model, self.tokenizer.table, result)
        return result

    # -- evaluation and export ---------------------------------------------------------------------

    def evaluate(self, data: Source | Iterable[Any], **options: Any) -> Evaluation:
        """Score a text: bits per byte, nats per token, perplexity, tokens, bytes.

        For pairs, the targets are scored, and ``metrics`` compare the run's answers with them.

        Args:
            data: a file, a folder or records in memory, in any format that ``fit`` reads.
            **options: see `Evaluator.evaluate`: ``target``, ``encoding``, ``window``, ``stride``,
                ``dynamic``, ``cache``, ``samples``, ``settings``, ``on_progress``, and any setting
                of ``Sampling``.

        Raises:
            WenmoError: the text cannot be read, or an option does not fit this run.
        """
        return self.evaluator.evaluate(data, **options)

    def explain(self, text: str) -> list[ExplainedToken]:
        """The probability, the rank and the likeliest alternative of each token of a text.

        For a network that is combined with n-gram counts, also the probabilities of both.

        Raises:
            WenmoError: the run was trained on pairs, or the text is empty or too long.
        """
        return self.evaluator.explain(text)

    def align(self, prompt: str, output: Output, **options: Any) -> Alignment:
        """The attention weights of each token of a text over the tokens of its source.

        Args:
            prompt: the prompt of the text.
            output: the text.
            **options: ``control`` and ``prefix`` that the text was generated with.

        Raises:
            WenmoError: the run's family has no attention over an encoder.
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
        """Write the model in another program's format, with merged adapters.

        Args:
            to: ``huggingface``, a folder for `transformers`; ``gguf``, a file for llama.cpp;
                ``onnx``, a folder for onnxruntime; ``arpa``, a file of an n-gram model;
                ``grammar``, rules with their weights.
            out: the folder or file to write.
            precision: data type of the matrices of GGUF: float32, float16 or q8_0 (default
                float16).
            network_only: leave out the n-gram counts of a network (default False).

        Returns:
            A note for the user, or ``None``.

        Raises:
            WenmoError: the format is unknown or does not support this model.
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


def _format_cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
