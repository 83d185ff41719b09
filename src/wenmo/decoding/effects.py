"""Where each setting of `Sampling` has an effect."""

from __future__ import annotations

from dataclasses import dataclass

from wenmo.decoding.params import Sampling
from wenmo.effects import Effect
from wenmo.models.base import LanguageModel
from wenmo.models.capabilities import Infills, has_capability


@dataclass(frozen=True)
class Writing:
    """The settings and the model of a generation, which decide which settings have an effect."""

    sampling: Sampling
    model: LanguageModel

    @property
    def draws(self) -> bool:
        """Whether tokens are drawn at random."""
        return self.sampling.draws

    @property
    def beam(self) -> bool:
        """Whether the method is beam search or beam sampling, which score texts."""
        return self.sampling.method in ("beam", "beam-sample")

    @property
    def contrasts(self) -> bool:
        """Whether the method is contrastive search."""
        return self.sampling.method == "contrastive"

    @property
    def infills(self) -> bool:
        """Whether the model fills gaps."""
        return has_capability(self.model, Infills)

    @property
    def unmasks(self) -> bool:
        """Whether hidden tokens are predicted in an order of their own."""
        return self.infills and self.sampling.unmasks


WRITING: tuple[Effect[Writing], ...] = (
    Effect(
        "temperature",
        "with method=sample, beam-sample or stochastic-beam",
        lambda w: w.sampling.method in ("sample", "beam-sample", "stochastic-beam"),
    ),
    Effect(
        "top_p min_p typical_p epsilon_cutoff eta_cutoff top_n_sigma tfs_z dynatemp_range "
        "xtc_probability",
        "with method=sample, beam-sample or stochastic-beam and a temperature above 0",
        lambda w: w.sampling.cuts,
    ),
    Effect(
        "dynatemp_exponent",
        "where tokens are drawn, with a dynatemp_range",
        lambda w: w.sampling.cuts and w.sampling.dynatemp_range > 0,
    ),
    Effect(
        "xtc_threshold",
        "where tokens are drawn, with an xtc_probability",
        lambda w: w.sampling.cuts and w.sampling.xtc_probability > 0,
    ),
    Effect(
        "mirostat",
        "with method=sample and a temperature above 0",
        lambda w: w.sampling.cuts,
    ),
    Effect(
        "mirostat_tau mirostat_eta",
        "with method=sample, a temperature above 0 and mirostat",
        lambda w: w.sampling.cuts and w.sampling.mirostat > 0,
    ),
    Effect(
        "dry_base dry_allowed_length dry_sequence_breakers",
        "with a dry_multiplier",
        lambda w: w.sampling.dry_multiplier > 0,
    ),
    Effect(
        "top_k",
        "with method=contrastive, or where top_p has one",
        lambda w: w.contrasts or w.sampling.cuts,
    ),
    Effect(
        "beam_width",
        "with method=beam, beam-sample or stochastic-beam",
        lambda w: w.sampling.searches,
    ),
    Effect(
        "length_penalty coverage_penalty early_stopping",
        "with method=beam or beam-sample",
        lambda w: w.beam,
    ),
    Effect("penalty_alpha", "with method=contrastive", lambda w: w.contrasts),
    Effect("mbr_samples", "with mbr", lambda w: w.sampling.mbr is not None),
    Effect("beam_groups", "with method=beam", lambda w: w.sampling.method == "beam"),
    Effect(
        "length_penalty_form",
        "with method=beam or beam-sample and a length_penalty",
        lambda w: w.beam and w.sampling.length_penalty > 0,
    ),
    Effect(
        "diversity_penalty",
        "with method=beam and several beam_groups",
        lambda w: w.sampling.method == "beam" and w.sampling.beam_groups > 1,
    ),
    Effect(
        "unmask_order",
        "for models that fill gaps (masked), not with a beam",
        lambda w: w.infills and not w.sampling.searches,
    ),
    Effect(
        "unmask_steps remask",
        "for models that fill gaps (masked), with unmask_order=random or confidence",
        lambda w: w.unmasks,
    ),
    Effect(
        "unmask_schedule",
        "for models that fill gaps (masked), with unmask_steps",
        lambda w: w.unmasks and w.sampling.unmask_steps > 0,
    ),
    Effect("gap_tokens", "for models that fill gaps (masked)", lambda w: w.infills),
)
ALWAYS = (
    "method max_tokens min_tokens repetition_penalty presence_penalty frequency_penalty "
    "dry_multiplier no_repeat_ngram chain logit_bias stop seed max_depth unseen_characters "
    "same_length token_healing mbr"
)
"""The settings that have an effect, or are refused, everywhere. (A seed may always be named: nobody
expects one to change what is not drawn.)"""
