"""Which learner trains a model."""

from __future__ import annotations

from collections.abc import Mapping

from wenmo.models.base import LanguageModel
from wenmo.models.capabilities import FitsCounts
from wenmo.models.gan import Gan
from wenmo.training.adversarial import Adversarial
from wenmo.training.learners import Count, Gradient, Learner

LEARNERS: Mapping[type, type[Learner]] = {FitsCounts: Count, Gan: Adversarial}
"""The learners of models that are not trained by the gradient of their loss alone."""


def learner_for(model: type[LanguageModel]) -> type[Learner]:
    """The class of the learner that trains models of a class."""
    return next((LEARNERS[base] for base in LEARNERS if issubclass(model, base)), Gradient)
