"""One training from a corpus to a finished run folder: the loop is given all that it asks for."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from wenmo.budget import TimeBudget
from wenmo.decoding.generator import Output
from wenmo.decoding.params import Sampling
from wenmo.evaluation.evaluate import evaluate_text
from wenmo.evaluation.latents import collapse
from wenmo.evaluation.results import ChosenSampling, Tradeoff
from wenmo.evaluation.sampling_choice import COST, NO_TIME, TOKENS
from wenmo.evaluation.tradeoff import tradeoff_svg, verdict
from wenmo.evaluation.verdict import Spent
from wenmo.files import write_text
from wenmo.models import MODELS, can_stand_on_counts
from wenmo.models.base import LanguageModel, device
from wenmo.models.capabilities import (
    BindsVocabulary,
    ChangesInTraining,
    FitsPrior,
    HasGenerator,
    HasLatents,
    HasMixture,
    Infills,
    SamplesTexts,
    ValidatesCorpus,
    capability,
    has_capability,
    network_of,
    parameter_count,
    require,
)
from wenmo.models.freeze import gradual_unfreeze
from wenmo.models.transformer.stack import blocks_of
from wenmo.pipeline.assess import TEXTS, assess, choose_settings
from wenmo.pipeline.datasets import (
    SAMPLE,
    Dataset,
    PairDataset,
    Quick,
    RecordDataset,
    StreamDataset,
)
from wenmo.pipeline.further import adapted, fresh_start
from wenmo.pipeline.initialize import (
    Loaded,
    Side,
    continue_counts,
    embed_words,
    load_side,
    take_counts,
)
from wenmo.pipeline.pace import FEWEST_WRITTEN, Pace, find_pace, fitting_batch, fitting_texts
from wenmo.progress import ProgressCallback, share_of
from wenmo.runs.exports import about_exports, network_exports, possible_exports
from wenmo.runs.folders import ADAPTERS, CARD, TOKENIZER, WEIGHTS
from wenmo.runs.locks import locked
from wenmo.runs.preflight import check_out
from wenmo.runs.recipe import Recipe
from wenmo.runs.store import (
    Card,
    apply_special_tokens,
    begin_from,
    joined_alphabet,
    load_model,
    save_model,
    special_tokens_of,
)
from wenmo.text.batches import Batches, Counted
from wenmo.text.corpus import Corpus
from wenmo.text.records import Records, Shuffled
from wenmo.text.sketch import union
from wenmo.train_config import TrainConfig
from wenmo.training.adversarial import Adversarial
from wenmo.training.checkpoints import Checkpoints
from wenmo.training.learners import Count, Gradient, Learner, faster_precision
from wenmo.training.loop import Event, Trainer
from wenmo.training.metrics import METRICS, MetricsLogger
from wenmo.training.optimizers import DEFAULT_RATE, Optimizer, make_optimizer
from wenmo.training.selection import learner_for
from wenmo.training.state import TrainState
from wenmo.training.stop import Interrupted, StopRequest
from wenmo.types import WenmoError, amount

TRADEOFF = "tradeoff.svg"
SCORING = "scoring held-out text"
PATIENCE = 3  # evaluations
SHARE_OF_STEPS = 0.8  # of the time that is left before the first step
SHARE_OF_TRIALS = 0.02  # of all the time, to find the faster precision
SHARE_OF_SCORING = 0.5  # of the time that is left after the last step
SHARE_OF_CHOOSING = 0.6  # of the time that is left after scoring
SHARE_OF_SAMPLES = 0.3  # of the time that is left when they are written
FEWEST_TIMED = 100  # characters from which the speed of writing is told
LEAST_SAMPLE = 48  # tokens of the final samples; where there is no time for them, one is written
SHARE_OF_VERDICT = 0.6  # of the time that is left after all else
SHARE_OF_BASELINES = 0.6  # of the time that is left after scoring
WATCHED_FROM = 0.5  # of the budget: earlier, latents may not have been found yet


def check_folder(folder: Path, recipe: Recipe) -> Card | None:
    """The card of the run to go on with, if there is one.

    Raises:
        WenmoError: the folder holds something else, or a run with other settings.
    """
    check_out(folder)
    if not (folder / CARD).exists():
        return None
    card = Card.read(folder)
    return adapted(folder, card, recipe)


class Session:
    """One training: from a corpus to a finished run folder.

    Args:
        folder: where the run folder is, or will be.
        recipe: all settings.
        asked: the settings before what was left open was derived.
        corpus: the text.
        before: the card of the run to go on with.
        base: the card, model and tokenizer that training begins from.
        givers: those whose weights the model's sides begin with.
        reference: the ids of a text on which what is forgotten is measured.
        on_event: is called with every event of training.
        on_progress: is told of what comes before and after training.
        started: when the command started, as `time.perf_counter` tells it; None: now.
        stop: the request to stop training, which other threads may make.

    Raises:
        WenmoError: the run to go on with was trained on other text.
    """

    def __init__(
        self,
        folder: Path,
        recipe: Recipe,
        asked: Recipe,
        corpus: Corpus,
        before: Card | None,
        base: Loaded | None,
        pretrained_sides: Mapping[Side, Loaded],
        reference: NDArray[np.unsignedinteger] | None,
        on_event: Callable[[Event], None] | None,
        on_progress: ProgressCallback | None,
        started: float | None = None,
        stop: StopRequest | None = None,
    ) -> None:
        self.folder, self.recipe, self.corpus = folder, recipe, corpus
        self.on_event, self.on_progress, self.reference = on_event, on_progress, reference
        self.stop = stop or StopRequest()
        self.tokenizer = corpus.tokenizer
        teachers = [
            loaded[0] for loaded in (base, pretrained_sides.get("decoder")) if loaded is not None
        ]
        self.corpus = replace(corpus, alphabet=joined_alphabet(corpus.alphabet, teachers))
        data = {"fingerprint": corpus.fingerprint, **corpus.summary}
        data |= {"alphabet": self.corpus.alphabet}
        if before is not None and before.data["fingerprint"] != corpus.fingerprint:
            raise WenmoError(
                f"{folder}: was trained on other text (its fingerprint differs): "
                f"{fresh_start(folder)}, or choose another --out"
            )
        self._was_there = before is not None
        if base is not None:  # what a run learnt from is also what its base learnt from
            data["sketch"] = union(data["sketch"], base[0].data.get("sketch", ""))
        self.card = before or Card(recipe, data, asked=asked)
        self.model = self._begun(base, pretrained_sides).to(device())
        self._learns_by = learner_for(type(self.model))
        for block in blocks_of(self.model):
            block.recompute = recipe.train.gradient_checkpointing
        self.dataset = self._make_dataset()
        self._warned = False
        minutes, started = recipe.train.minutes, started or time.perf_counter()
        self.timed = minutes is not None
        self.time = TimeBudget(60 * minutes if minutes else math.inf, started)
        self._ready, self._counting, self._goes_on = 0.0, 0.0, False
        self._trained: LanguageModel | None = None

    def _make_dataset(self) -> Dataset:
        quick = Quick(self.recipe.train.eval_tokens)
        if self.recipe.task.paired:
            return PairDataset(self.recipe, self.corpus, self.card.longest_target, quick)
        if self.model.record_level:
            return RecordDataset(self.recipe, self.corpus, quick)
        return StreamDataset(self.recipe, self.corpus, self.card.opening, quick)

    def _begun(self, base: Loaded | None, pretrained_sides: Mapping[Side, Loaded]) -> LanguageModel:
        """The model as it is before the first step; a checkpoint, if there is one, goes before."""
        recipe, card = self.recipe, self.card
        torch.manual_seed(recipe.train.seed)
        if base is None:
            model = recipe.build(self.tokenizer.vocab_size)
            if not self.card.finished or self.card.continues:
                bound = capability(model, BindsVocabulary)
                if bound is not None:
                    bound.bind_vocabulary(self.tokenizer.table)
        else:
            card.template, card.external = base[0].template, base[0].external
            model = begin_from(base[1], recipe)
            if not card.finished:
                run = str(recipe.init.base)
                self._say(continue_counts(model, recipe, run, base[0], self.corpus.summary))
            if card.is_chat and model.conditioning == "prefix":  # all marks are the template's
                model.special_tokens = replace(model.special_tokens, bos=(), separator=())
            card.special_tokens = special_tokens_of(model)
        for side, giver in pretrained_sides.items():
            card.external = giver[0].external
            self._say(load_side(model, side, giver[1], str(getattr(recipe.init, side))))
            if side == "decoder" and not card.finished:
                self._say(take_counts(model, recipe, giver, self.corpus.summary))
        if recipe.init.word_vectors is not None:
            self._say(embed_words(model, self.tokenizer, Path(recipe.init.word_vectors)))
        return model

    def run(self) -> LanguageModel | None:
        """Train to the end of the budget, or find that it was reached before.

        Returns:
            The best weights that this training found; None where it made no step.

        Raises:
            WenmoError: another process trains in the folder, or has done so since it was read.
        """
        with locked(self.folder):
            if (self.folder / CARD).exists() != self._was_there:
                raise WenmoError(f"{self.folder}: another process trained here: run this again")
            self._run()
        return self._trained

    def _run(self) -> None:
        counts = self._learns_by is Count
        if self.card.finished and counts and self.card.continues:
            self._say(f"{self.folder} has counted all of the text: more time changes nothing")
            return
        if self.card.continues and self._gains_nothing():
            return
        if self.card.finished and not self.card.continues:
            if not self._score_the_rest():
                self._say(f"{self.folder} is trained already; nothing is left to do")
            return
        if not counts:
            self.dataset.batches(self.model)  # if there is nothing to learn, it is told now
        stream = self.dataset.stream(self.model)
        validated = capability(self.model, ValidatesCorpus)
        if validated is not None:
            validated.validate_corpus(stream, share_of(self.on_progress, "reading the text"))
        self.tokenizer.save(self.folder / TOKENIZER)
        if self.reference is not None and "forgetting" not in self.card.results:
            before = self._remembered(self.model, self.reference)
            self.card.results["forgetting"] = {"before": before}
        self._tell_exports()
        if not self.card.continues:
            self.card.write(self.folder)
        self._train()

    def _gains_nothing(self) -> bool:
        """Whether a finished run that is given more time had learnt its text by heart; it is told.

        With ``patience=0`` the run goes on all the same.
        """
        results = self.card.results
        ahead = (results.get("verdict") or {}).get("forecast") or {}
        if not (self._patience() and ahead.get("overfits")):
            return False
        best, steps = results["best_step"], results["steps"]
        self._say(
            f"{self.folder}: more time gains nothing: held-out text was likeliest at step {best:,} "
            f"of {steps:,}, whose weights are kept; to try: {results['verdict']['advice']} "
            "(patience=0 trains on all the same)"
        )
        return True

    def _patience(self) -> int | None:
        """After how many evaluations that gain nothing training stops."""
        patience = self.recipe.train.patience
        if patience is None and self.timed and not has_capability(self.model, HasLatents):
            return PATIENCE  # a bound may get worse while its weights rise
        return patience

    def _score_the_rest(self) -> bool:
        """Where a full evaluation is asked for, do what there was no time for: score all of the
        held-out text, and choose how the run writes.
        """
        results = self.card.results
        scores, chooses = "sample" in results["heldout"], self.card.sampling_reason == NO_TIME
        if not (self.recipe.train.full_evaluation and (scores or chooses)):
            return False
        model = load_model(self.folder, self.recipe, self.tokenizer.vocab_size, self.tokenizer.end)
        best = apply_special_tokens(model, self.card).to(self.model.device)
        if scores:
            heldout = self.dataset.evaluate(best, share_of(self.on_progress, SCORING))
            results["heldout"] = heldout.to_dict()
        if chooses:
            self._choose_sampling(best, results["tokens_seen"])
        self.card.write(self.folder)
        return True

    def _tell_exports(self) -> None:
        """Say what the run can be exported to, and write it down, while it can still be changed."""
        what = (self.model, self.recipe, self.tokenizer)
        self.card.results |= {
            "exports": possible_exports(*what),
            "exports_network_only": network_exports(*what),
        }
        for line in about_exports(*what):
            self._say(line)

    def _train(self) -> None:
        checkpoints = Checkpoints(self.folder / "checkpoints", self._say)
        learner = self._learner()
        pace = self._pace()
        trainer = Trainer(
            learner=learner,
            config=self._train_config(pace),
            checkpoints=checkpoints,
            evaluate=lambda: self.dataset.quick_evaluate(self.model),
            sample=lambda: self.dataset.sample(self.model, pace.sample_tokens)[0],
            keep_best=self._save,
            report=self._report,
            prepare=self._advance,
            reserve=pace.reserve,
            saves=pace.saves,
            stop=self.stop,
        )
        if trainer.resume() and trainer.state.step:
            self._say(f"going on from step {trainer.state.step:,}")
        elif self.card.continues:
            raise WenmoError(
                f"{self.folder}: no checkpoint to go on from: {fresh_start(self.folder)}"
            )
        self._start_clock(trainer.state)
        if self.card.continues:
            trainer.restart_schedule()
            self._reopen()
        self._goes_on = trainer.state.restarts > 0
        for note in self.dataset.notes(self.model):
            self._say(note)
        self.metrics_logger = MetricsLogger(self.folder, trainer.state.step)
        try:
            position = trainer.run()
        except Interrupted:
            if not any(
                (self.folder / name).exists() for name in (WEIGHTS, ADAPTERS)
            ):  # what there is can write already
                self._save()
            raise
        finally:
            self.metrics_logger.close()
        self._finish(position, pace)

    def _pace(self) -> Pace:
        """How the time is divided; where training is by steps, all is done that is asked for."""
        train, results = self.recipe.train, self.card.results
        if not self.timed:
            return Pace(train.eval_count, self.dataset.quick)
        pace = find_pace(self.dataset, self.model, train, self.time, results.get("pace"))
        self.dataset = self.dataset.with_quick(pace.quick)
        if "pace" not in results:
            results["pace"] = pace.plain()
            self.card.write(self.folder)
            count = amount(pace.evaluations, "evaluation")
            self._say(
                f"ready after {self.time.used():.1f} of {self.time.total:.0f} s; {count} on the way"
                f" of at most {amount(pace.quick.tokens, 'held-out token')}"
            )
        if not pace.saves:
            self._say("no checkpoints are kept: one takes too much of the time")
        return pace

    def _train_config(self, pace: Pace) -> TrainConfig:
        """The settings of training, with what was left open of evaluations and stopping."""
        train, patience = self.recipe.train, self._patience()
        return replace(train, eval_count=pace.evaluations, patience=patience)

    def _reopen(self) -> None:
        """Note in the card what the run had come to, and that it goes on."""
        results = self.card.results
        kept = ("steps", "seconds", "best_step", "heldout", "time")
        ended = {name: results[name] for name in kept if name in results}
        results.setdefault("history", []).append(ended)
        self.card.finished = self.card.continues = False
        self.card.write(self.folder)

    def _start_clock(self, position: TrainState) -> None:
        """Count what this process has used so far; of it nothing is for the schedule."""
        used = self.time.used()
        if self.card.continues:  # what followed the last step counts, too
            ended = self.card.results.get("time", {}).get("total", 0.0)
            position.seconds = max(position.seconds, ended)
        self.time.used_before = position.seconds
        position.seconds += used
        position.start_seconds += used
        self._ready = used

    def _seconds(self, share: float) -> float | None:
        """A share of the time that is left, for something at the end; None: all it takes."""
        if not self.timed or self.recipe.train.full_evaluation:
            return None
        return share * self.time.left()

    def _best(self, position: TrainState) -> LanguageModel:
        """The best weights that were found."""
        if position.best_step == position.step and not position.averaged_count:
            return self.model.eval()
        size, end = self.tokenizer.vocab_size, self.tokenizer.end
        best = apply_special_tokens(load_model(self.folder, self.recipe, size, end), self.card)
        return best.to(self.model.device)

    def _has_time_for_parts(self, pace: Pace) -> bool:
        """Whether an evaluation of each part of a mixture fits beside what else is to be done."""
        if not self.timed:
            return True
        mixture = capability(self.model, HasMixture)
        evaluations = 1 if mixture is None else len(mixture.mixture_components())
        return evaluations * self.time.evaluations / pace.evaluations < self.time.left()

    def _times(self, position: TrainState, final: float) -> dict[str, float]:
        """Seconds that each part of the run took."""
        return {
            "ready": self._ready,  # counting included
            "counting": self._counting,
            "steps": position.step_seconds_total,
            "evaluations": position.evaluation_seconds_total,
            "final": final,
            "total": self.time.used(),
        }

    def _finish(self, position: TrainState, pace: Pace) -> None:
        """Score the best weights on held-out text, and time the writing of one text."""
        begun_final = time.perf_counter()
        best = self._trained = self._best(position)
        heldout = self.dataset.evaluate(
            best,
            share_of(self.on_progress, SCORING),
            self._seconds(SHARE_OF_SCORING),
            self._sample_before(),
        )
        if self.reference is not None:
            self.card.results["forgetting"]["after"] = self._remembered(best, self.reference)
        parts = self.dataset.evaluate_components(best) if self._has_time_for_parts(pace) else {}
        if parts:
            self._say(about_parts(parts))
        sampling = self._choose_sampling(best, position.tokens)
        sample, outputs, seconds = self._final_samples(best, sampling)
        beside_baselines = self._beside_baselines(best)
        found = assess(
            self.dataset,
            best,
            self.tokenizer,
            [output.text for output in outputs],
            self.folder / METRICS if self._learns_by is Gradient else None,
            parts=parts,
            knows_more=self.recipe.init.base is not None,
            plain=not (self.recipe.task.paired or self.model.record_level),
            countable=can_stand_on_counts(self.recipe.family),
            seconds=self._seconds(SHARE_OF_VERDICT),
            spent=Spent(
                position.step,
                position.step_seconds_total / max(1, position.step),
                self.recipe.train.minutes,
                self.time.used() - position.step_seconds_total,
                self._passes(position),
            ),
            smaller=self._smaller(best),
        )
        self.card.results |= {
            "heldout": heldout.to_dict(),
            **({"parts": parts} if parts else {}),
            **beside_baselines,
            "steps": position.step,
            "seconds": position.seconds,
            "tokens_seen": position.tokens,
            "best_step": position.best_step,
            "rollbacks": position.rollbacks,
            "parameters": parameter_count(best),
            "characters_per_second": writing_rate([each.text for each in outputs], seconds),
            "sample": sample,
            "verdict": found.to_dict(),
            "time": self._times(position, time.perf_counter() - begun_final),
        }
        self.card.finished = True
        self.card.write(self.folder)

    def _passes(self, position: TrainState) -> float:
        """How often the steps have read the training text; infinite where they do not read it."""
        if self._learns_by is not Gradient:
            return math.inf
        return position.tokens / max(1, len(self.dataset.stream(self.model)) - 1)

    def _smaller(self, model: LanguageModel) -> str | None:
        """The smallest size of the family, if the model has more weights."""
        family = MODELS.get(self.recipe.family)
        sizes = {} if family is None else family.sizes
        if "tiny" not in sizes:
            return None
        tiny = sizes["tiny"].build(self.tokenizer.vocab_size)
        smaller = parameter_count(tiny) < parameter_count(network_of(model))
        return f"{self.recipe.family}:tiny" if smaller else None

    def _sample_before(self) -> int | None:
        """How much of the held-out text was scored when a run that goes on had ended: the same is
        scored again, so that the figures can be compared. None: all of it, or it does not go on.
        """
        for ended in self.card.results.get("history", [])[-1:]:
            count: int | None = ended.get("heldout", {}).get("sample", {}).get("count")
            return count
        return None

    def _final_samples(
        self, model: LanguageModel, sampling: Sampling | None
    ) -> tuple[str, list[Output], float]:
        """What the run writes: the first text, all texts, and the seconds that they took.

        With little time they are short, but long enough to be judged by a person.
        """

        def write(tokens: int | None, texts: int = TEXTS) -> tuple[str, list[Output], float]:
            begun = time.perf_counter()
            sample, outputs = self.dataset.sample(model, tokens, texts, sampling)
            return sample, outputs, time.perf_counter() - begun

        if not self.timed:
            return write(None)
        written = write(FEWEST_WRITTEN, 1)
        if 2 * TEXTS * written[2] > self.time.left():
            return written
        tokens, most = LEAST_SAMPLE, SAMPLE.max_tokens
        while True:
            written = write(tokens)
            times = SHARE_OF_SAMPLES * self.time.left() / max(written[2], 1e-9)
            fitting = int(tokens * times**0.5)  # the time may grow with the square
            if tokens >= most or fitting < 2 * tokens:
                return written
            tokens = min(most, fitting)

    def _choose_sampling(self, model: LanguageModel, seen: int) -> Sampling | None:
        """Choose how the run writes where nothing is asked for, and keep it in the card.

        Args:
            model: the best weights.
            seen: tokens that were trained on.

        Returns:
            None: the defaults hold.
        """
        if self.recipe.task.paired or has_capability(model, SamplesTexts):
            return None  # these have defaults of their own
        seconds, counts = self._seconds(SHARE_OF_CHOOSING), self._learns_by is Count
        if seconds is None and not counts and not self.recipe.train.full_evaluation:
            # Passes of the whole text for each token that is written.
            passes = TOKENS if has_capability(model, Infills) else 1
            seconds = 0.0 if seen < COST * passes else None  # not longer than the training itself
        choice = choose_settings(
            self.dataset,
            model,
            self.tokenizer,
            self.corpus.valid,
            seconds=seconds,
            progress=share_of(self.on_progress, "choosing temperature and top-p"),
        )
        temperature, top_p = choice.setting or (SAMPLE.temperature, SAMPLE.top_p)
        chosen = {"temperature": temperature, "top_p": top_p}
        self.card.sampling = chosen if choice.setting else {}
        self.card.sampling_reason = choice.reason
        self.card.results["sampling"] = ChosenSampling(
            **chosen,
            reason=choice.reason,
            written=choice.written,
            heldout=choice.held_out,
            tried=list(choice.tried),
        ).to_dict()
        return replace(SAMPLE, temperature=temperature, top_p=top_p)

    def _beside_baselines(self, model: LanguageModel) -> dict[str, Any]:
        """Quality and diversity beside the same generator trained otherwise, and who wins; drawn,
        too, in the run folder.
        """
        curves = self.dataset.evaluate_baselines(
            model,
            share_of(self.on_progress, "writing beside baselines"),
            self._seconds(SHARE_OF_BASELINES),
        )
        if not curves:
            return {}
        own, *others = curves
        write_text(self.folder / TRADEOFF, tradeoff_svg(curves))
        verdicts = {name: verdict(curves[own], curves[name], ("this run", name)) for name in others}
        return {"tradeoff": Tradeoff(curves, verdicts).to_dict()}

    def _remembered(self, model: LanguageModel, ids: NDArray[np.unsignedinteger]) -> float:
        """Bits per byte on the reference text."""
        progress = share_of(self.on_progress, "scoring the reference text")
        return evaluate_text(model, self.tokenizer, ids, progress=progress).bits_per_byte

    def _save(self) -> None:
        save_model(self.folder, self.recipe, self.model, self.tokenizer, self.card.template)

    def _learner(self) -> Learner:
        kinds: dict[type[Learner], Callable[[], Learner]] = {
            Gradient: self._gradient,
            Count: self._count,
            Adversarial: self._adversarial,
        }
        return kinds[self._learns_by]()

    def _count(self) -> Learner:
        return Count(self.model, self.corpus.train, share_of(self.on_progress, "counting"))

    def _gradient(self) -> Learner:
        prior, counted = capability(self.model, FitsPrior), None
        if prior is not None:
            begun, stream = time.perf_counter(), self.dataset.stream(self.model)
            counted = prior.fit_prior(stream, share_of(self.on_progress, "counting"))
            self._counting = 0.0 if counted is None else time.perf_counter() - begun

        def batches_of() -> Batches:
            batches = self.dataset.batches(self.model)
            return batches if counted is None else Counted(batches, counted)

        batches = batches_of()
        if self.timed and "precision" not in self.card.results:  # else it was done before
            train, told = fitting_batch(
                self.recipe, self.model, batches, SHARE_OF_STEPS * self.time.left()
            )
            self.recipe = self.card.recipe = replace(self.recipe, train=train)
            self.dataset = self._make_dataset()
            batches = batches_of()
            for line in told:
                self._say(line)
        return Gradient(
            self.model, batches, self._optimizer(self.model), **self._by_gradients(batches)
        )

    def _adversarial(self) -> Learner:
        batches = self.dataset.batches(self.model)
        records = Records(self.dataset.stream(self.model), self.model.context)
        train, (_, lengths) = self.recipe.train, records.widths()
        first = "precision" not in self.card.results
        learner = Adversarial(
            self.model,
            batches,
            Shuffled(records, train.batch_size, train.seed),
            self._optimizer(require(self.model, HasGenerator).generator),
            longest=int(lengths.max()),
            **self._by_gradients(batches),
        )
        if self.timed and first:
            rows, told = fitting_texts(self.recipe, learner, SHARE_OF_STEPS * self.time.left())
            train = replace(train, batch_size=rows)
            self.recipe = self.card.recipe = replace(self.recipe, train=train)
            learner.texts = Shuffled(records, rows, train.seed)
            for line in told:
                self._say(line)
        return learner

    def _by_gradients(self, batches: Batches) -> dict[str, Any]:
        """How gradients are followed, in the precision that is measured to be faster."""
        train = self.recipe.train
        if "precision" not in self.card.results:
            chosen = train.precision
            if chosen == "auto":
                seconds = SHARE_OF_TRIALS * self.time.total
                chosen = faster_precision(self.model, batches, seconds)
            self.card.results["precision"] = chosen
            self.card.write(self.folder)
        return {
            "max_grad_norm": train.max_grad_norm,
            "gradient_accumulation": train.gradient_accumulation,
            "precision": self.card.results["precision"],
            "seed": train.seed,
            "label_smoothing": train.label_smoothing,
        }

    def _optimizer(self, model: LanguageModel) -> Optimizer:
        train = self.recipe.train
        decays = train.optimizer in ("adamw", "muon")
        return make_optimizer(
            train.optimizer,
            model,
            rate=train.learning_rate or DEFAULT_RATE[train.optimizer],
            weight_decay=(0.1 if decays else 0.0)
            if train.weight_decay is None
            else train.weight_decay,
            momentum=train.momentum,
            betas=(train.beta1, train.beta2),
        )

    def _advance(self, progress: float, step: int) -> None:
        """What changes in the model as training goes on."""
        changing = capability(self.model, ChangesInTraining)
        if self._goes_on:  # all but what says otherwise is at its end
            progress = 1.0 if changing is None else changing.further_progress(progress)
        if self.recipe.init.gradual_unfreezing:
            gradual_unfreeze(self.model, progress)
        if changing is not None:
            changing.set_progress(progress, step)

    def _report(self, event: Event) -> None:
        self.metrics_logger.record(event)
        if self.on_event is not None:
            self.on_event(event)
        if event.kind == "evaluation" and event.progress >= WATCHED_FROM and not self._warned:
            warning = collapse(event.figures)
            self._warned = warning is not None
            if warning is not None:
                self._report(Event("note", event.position, event.progress, text=warning))

    def _say(self, note: str | None) -> None:
        if self.on_progress is not None and note is not None:
            self.on_progress(note, None)


def writing_rate(texts: Sequence[str], seconds: float) -> float | None:
    """Characters a second; None where too few were written to tell."""
    characters = sum(map(len, texts))
    return characters / seconds if characters >= FEWEST_TIMED else None


def about_parts(parts: Mapping[str, float]) -> str:
    """Whether the parts of a mixture are worth having, in a line for the user."""
    *others, mixture = parts.items()
    alone = ", ".join(f"{name} in it alone {bits:.3f}" for name, bits in others)
    best, bits = min(others, key=lambda part: part[1])
    told = f"held out, bits per byte: mixture {mixture[1]:.3f}, {alone}"
    if mixture[1] < bits:
        return told
    if best == "network":
        return f"{told}: standing on counts did not help here: try --prior none"
    return f"{told}: the network adds nothing to its counts yet: give it more minutes"
