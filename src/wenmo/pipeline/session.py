"""One training, from a prepared job to a finished run folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from wenmo.evaluation.latents import collapse
from wenmo.models.base import LanguageModel
from wenmo.models.capabilities import (
    ChangesInTraining,
    HasLatents,
    ValidatesCorpus,
    capability,
    has_capability,
)
from wenmo.models.freeze import gradual_unfreeze
from wenmo.pipeline.finish import complete_evaluation, finish, reference_bits_per_byte
from wenmo.pipeline.further import fresh_start
from wenmo.pipeline.job import Job
from wenmo.pipeline.learner import make_learner
from wenmo.pipeline.pace import Pace, find_pace
from wenmo.runs.exports import describe_exports, network_exports, possible_exports
from wenmo.runs.folders import ADAPTERS, CARD, TOKENIZER, WEIGHTS
from wenmo.runs.locks import locked
from wenmo.training.checkpoints import Checkpoints
from wenmo.training.learners import Count
from wenmo.training.loop import Event, Trainer
from wenmo.training.metrics import MetricsLogger
from wenmo.training.state import TrainState
from wenmo.training.stop import Interrupted, StopRequest
from wenmo.types import WenmoError, amount

PATIENCE = 3  # evaluations
COLLAPSE_FROM = 0.5  # of the budget: earlier, latents may not have been found yet


class Session:
    """One training.

    Args:
        job: what is trained, on what, and where.
        on_event: called with every event of training.
        stop: the request to stop training, which other threads may make.
    """

    def __init__(
        self, job: Job, *, on_event: Callable[[Event], None] | None, stop: StopRequest | None
    ) -> None:
        self.job, self.on_event, self.stop = job, on_event, stop or StopRequest()
        self._is_restarted = False  # the schedule of a finished run was started again
        self._has_warned = False  # of collapsed latents

    def run(self) -> LanguageModel | None:
        """Train to the end of the budget, unless it was reached before.

        Returns:
            The best weights of this training; None where it took no step.

        Raises:
            WenmoError: another process trains in the folder, or has done so since it was read.
            Interrupted: a stop was requested; a checkpoint was saved.
        """
        folder = self.job.folder
        with locked(folder):
            if (folder / CARD).exists() == self.job.is_new:
                raise WenmoError(f"{folder}: another process trained here: run this again")
            if self._is_done():
                return None
            self._start_folder()
            return self._train()

    def _is_done(self) -> bool:
        """Whether a finished run has no use for more steps; the user is told why."""
        job, card = self.job, self.job.card
        if not card.finished:
            return False
        if not card.continues:
            if not complete_evaluation(job):
                job.note(f"{job.folder} is trained already; nothing is left to do")
            return True
        if job.learner_class is Count:
            job.note(f"{job.folder} has counted all of the text: more time changes nothing")
            return True
        return self._has_overfitted()

    def _has_overfitted(self) -> bool:
        """Whether a finished run that is given more time has overfitted; the user is told so.

        With ``patience=0`` such a run continues all the same.
        """
        results = self.job.card.results
        forecast = (results.get("verdict") or {}).get("forecast") or {}
        if not (self._patience() and forecast.get("overfits")):
            return False
        best, steps = results["best_step"], results["steps"]
        self.job.note(
            f"{self.job.folder}: more time gains nothing: held-out text was likeliest at step "
            f"{best:,} of {steps:,}, whose weights are kept; to try: "
            f"{results['verdict']['advice']} (patience=0 trains on all the same)"
        )
        return True

    def _patience(self) -> int | None:
        """Number of evaluations without improvement after which training stops; None: never."""
        job = self.job
        patience = job.recipe.train.patience
        if patience is None and job.is_timed and not has_capability(job.model, HasLatents):
            return PATIENCE  # a bound may get worse while its weights rise
        return patience

    def _start_folder(self) -> None:
        """Check the text, and write what is known before training: tokenizer and card."""
        job = self.job
        if job.learner_class is not Count:
            job.dataset.batches(job.model)  # text that is too short is refused here
        stream = job.dataset.stream(job.model)
        validated = capability(job.model, ValidatesCorpus)
        if validated is not None:
            validated.validate_corpus(stream, job.progress_of("reading the text"))
        job.tokenizer.save(job.folder / TOKENIZER)
        if job.reference is not None and "forgetting" not in job.card.results:
            before = reference_bits_per_byte(job, job.model, job.reference)
            job.card.results["forgetting"] = {"before": before}
        self._note_exports()
        if not job.card.continues:
            job.write_card()

    def _note_exports(self) -> None:
        """Say what the run can be exported to while settings can still be changed."""
        job = self.job
        exported = (job.model, job.recipe, job.tokenizer)
        job.card.results |= {
            "exports": possible_exports(*exported),
            "exports_network_only": network_exports(*exported),
        }
        for line in describe_exports(*exported):
            job.note(line)

    def _train(self) -> LanguageModel:
        job = self.job
        learner = make_learner(job)
        pace = self._pace()
        trainer = Trainer(
            learner=learner,
            config=replace(
                job.recipe.train, eval_count=pace.evaluations, patience=self._patience()
            ),
            checkpoints=Checkpoints(job.folder / "checkpoints", job.note),
            evaluate=lambda: job.dataset.quick_evaluate(job.model),
            sample=lambda: job.dataset.sample(job.model, pace.sample_tokens)[0],
            keep_best=job.save_model,
            report=self._report,
            prepare=self._advance,
            reserve=pace.reserve,
            saves=pace.saves,
            stop=self.stop,
        )
        self._resume(trainer)
        for note in job.dataset.notes(job.model):
            job.note(note)
        self.metrics_logger = MetricsLogger(job.folder, trainer.state.step)
        try:
            state = trainer.run()
        except Interrupted:
            if not any((job.folder / name).exists() for name in (WEIGHTS, ADAPTERS)):
                job.save_model()  # the run can write before its first evaluation
            raise
        finally:
            self.metrics_logger.close()
        return finish(job, state, pace)

    def _pace(self) -> Pace:
        """How the time is divided; with a number of steps nothing is cut short."""
        job = self.job
        train, results = job.recipe.train, job.card.results
        if not job.is_timed:
            return Pace(train.eval_count, job.dataset.quick)
        pace = find_pace(job.dataset, job.model, train, job.time, results.get("pace"))
        job.dataset = job.dataset.with_quick(pace.quick)
        if "pace" not in results:
            results["pace"] = pace.plain()
            job.write_card()
            count = amount(pace.evaluations, "evaluation")
            job.note(
                f"ready after {job.time.used():.1f} of {job.time.total:.0f} s; {count} on the way"
                f" of at most {amount(pace.quick.tokens, 'held-out token')}"
            )
        if not pace.saves:
            job.note("no checkpoints are kept: one takes too much of the time")
        return pace

    def _resume(self, trainer: Trainer) -> None:
        """Continue from the last checkpoint, and start a new schedule for a finished run.

        Raises:
            WenmoError: a finished run has no checkpoint.
        """
        job = self.job
        if trainer.resume() and trainer.state.step:
            job.note(f"going on from step {trainer.state.step:,}")
        elif job.card.continues:
            raise WenmoError(
                f"{job.folder}: no checkpoint to go on from: {fresh_start(job.folder)}"
            )
        self._start_clock(trainer.state)
        if job.card.continues:
            trainer.restart_schedule()
            self._reopen_card()
        self._is_restarted = trainer.state.restarts > 0

    def _start_clock(self, state: TrainState) -> None:
        """Count the seconds that this process has used so far; none of them is the schedule's."""
        job = self.job
        used = job.time.used()
        if job.card.continues:  # what followed the last step counts, too
            ended = job.card.results.get("time", {}).get("total", 0.0)
            state.seconds = max(state.seconds, ended)
        job.time.used_before = state.seconds
        state.seconds += used
        state.start_seconds += used
        job.ready_seconds = used

    def _reopen_card(self) -> None:
        """Note in the card the results of the finished run, and that it continues."""
        card = self.job.card
        kept = ("steps", "seconds", "best_step", "heldout", "time")
        ended = {name: card.results[name] for name in kept if name in card.results}
        card.results.setdefault("history", []).append(ended)
        card.finished = card.continues = False
        self.job.write_card()

    def _advance(self, progress: float, step: int) -> None:
        """Change what depends on the progress of training in the model."""
        job = self.job
        changing = capability(job.model, ChangesInTraining)
        if self._is_restarted:  # all is at its end, but for what the model says
            progress = 1.0 if changing is None else changing.further_progress(progress)
        if job.recipe.init.gradual_unfreezing:
            gradual_unfreeze(job.model, progress)
        if changing is not None:
            changing.set_progress(progress, step)

    def _report(self, event: Event) -> None:
        """Log an event, pass it on, and warn once of latents that have collapsed."""
        self.metrics_logger.record(event)
        if self.on_event is not None:
            self.on_event(event)
        if self._has_warned or event.kind != "evaluation" or event.progress < COLLAPSE_FROM:
            return
        warning = collapse(event.figures)
        if warning is not None:
            self._has_warned = True
            self._report(Event("note", event.state, event.progress, text=warning))
