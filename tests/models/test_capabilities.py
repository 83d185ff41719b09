"""The contract that every model keeps is small; what only some can do is asked for."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest
import torch
from torch import nn

from wenmo.models import MODELS, base, capabilities, find
from wenmo.models.base import LanguageModel
from wenmo.models.capabilities import (
    ChangesInTraining,
    EncodesSource,
    FitsCounts,
    HasLatents,
    HasMixture,
    HasSides,
    Infills,
    capability,
    has_capability,
    network_of,
    parameter_count,
    require,
)
from wenmo.models.hybrid import Hybrid
from wenmo.models.hybrid_config import HybridConfig
from wenmo.models.ngram_config import NgramConfig
from wenmo.models.recurrent import Recurrent
from wenmo.models.recurrent_config import RecurrentConfig
from wenmo.models.transformer.config import TransformerConfig
from wenmo.models.transformer.masked import Masked
from wenmo.models.vae_config import VaeConfig
from wenmo.training.adversarial import Adversarial
from wenmo.training.learners import Count, Gradient
from wenmo.training.selection import learner_for

METHODS = {"initial_state", "forward", "loss", "score"}
ATTRIBUTES = {
    "vocab_size",
    "context",
    "conditioning",
    "record_level",
    "special_tokens",
    "state_schema",
    "device",
}
CAPABILITIES = [
    kind
    for _, kind in inspect.getmembers(capabilities, inspect.isclass)
    if kind.__module__ == capabilities.__name__ and kind is not capabilities.MayLack
]
VOCAB = 9
SMALL = {"hidden_size": 8, "embedding_size": 8}
TRANSFORMER = {"hidden_size": 8, "heads": 2, "layers": 1, "context_length": 16}


def on_counts(config: object) -> Hybrid:
    return HybridConfig(config, NgramConfig(order=3)).build(VOCAB)  # type: ignore[arg-type]


def test_the_contract_has_so_many_members_and_no_more() -> None:
    members = {name for name in vars(LanguageModel) if not name.startswith("_")}
    members |= set(LanguageModel.__annotations__)
    assert {name for name in members if inspect.isfunction(getattr(LanguageModel, name, 0))} == (
        METHODS
    )
    assert members - METHODS == ATTRIBUTES


def test_the_contract_knows_no_family() -> None:
    imports = {
        node.module
        for node in ast.walk(ast.parse(Path(base.__file__).read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("wenmo.")
    }
    assert imports <= {"wenmo.models.state", "wenmo.types"}


def test_no_capability_belongs_to_the_contract() -> None:
    contract = {*dir(nn.Module), *METHODS, *ATTRIBUTES}
    for kind in CAPABILITIES:
        names = {name for name in vars(kind) if not name.startswith("_")} | {
            *vars(kind).get("__annotations__", {})
        }
        assert names
        assert not names & contract, kind.__name__


@pytest.mark.parametrize("kind", CAPABILITIES, ids=lambda kind: kind.__name__)
def test_every_capability_is_that_of_a_family(kind: type) -> None:
    classes = [*(family.model_class for family in MODELS.values()), Hybrid]
    assert any(kind in family.__mro__ for family in classes)
    assert not all(kind in family.__mro__ for family in classes)


def test_a_transformer_reads_a_source_only_with_an_encoder() -> None:
    plain = TransformerConfig(**TRANSFORMER).build(VOCAB)
    encoding = TransformerConfig(**TRANSFORMER, encoder_layers=1).build(VOCAB)
    for kind in (EncodesSource, HasSides):
        assert capability(plain, kind) is None
        assert capability(encoding, kind) is encoding
    with pytest.raises(TypeError, match="Transformer has not the capability EncodesSource"):
        require(plain, EncodesSource)


def test_a_mixture_can_do_what_its_network_can() -> None:
    """Of what its network can do, it passes on what is true of the mixture, too."""
    plain = on_counts(RecurrentConfig(**SMALL))
    latent = on_counts(VaeConfig(**SMALL, latent_size=3))
    encoding = on_counts(TransformerConfig(**TRANSFORMER, encoder_layers=1))
    for kind in (HasLatents, EncodesSource, ChangesInTraining):
        assert not has_capability(plain, kind)
    latents = require(latent, HasLatents)
    assert latents.latent_size == 3
    assert latents.state_at(torch.zeros(2, 3)).keys() > {"steering", "ngram_history"}
    assert has_capability(latent, ChangesInTraining)
    state = require(encoding, EncodesSource).encode(torch.ones(2, 3, dtype=torch.long))
    assert state.keys() > {"source_mask", "ngram_history"}


def test_a_mixture_does_not_fill_gaps() -> None:
    class FillingNetwork(Recurrent, Infills):
        def fill(self, tokens, hidden, positions):
            raise AssertionError("not asked for")

    class FillingConfig(RecurrentConfig):
        @classmethod
        def model_class(cls):
            return FillingNetwork

    mixture = HybridConfig(FillingConfig(**SMALL), NgramConfig(order=3)).build(VOCAB)
    assert has_capability(mixture.network, Infills)
    assert not has_capability(mixture, Infills)


def test_the_network_of_a_mixture_is_a_part_of_it() -> None:
    mixture = on_counts(RecurrentConfig(**SMALL))
    assert network_of(mixture) is mixture.network
    assert network_of(mixture.network) is mixture.network
    assert has_capability(mixture, HasMixture)
    assert not has_capability(mixture.network, HasMixture)


def test_parameters_are_what_a_model_writes_with() -> None:
    gan = find("gan:tiny")[1].build(VOCAB)
    assert parameter_count(gan) == sum(p.numel() for p in gan.generator.parameters())
    assert parameter_count(gan.generator) < sum(p.numel() for p in gan.parameters())
    assert parameter_count(NgramConfig().build(VOCAB)) == VOCAB


@pytest.mark.parametrize("family", MODELS)
def test_each_family_has_its_learner(family: str) -> None:
    kind = MODELS[family].model_class
    expected = {"ngram": Count, "grammar": Count, "gan": Adversarial}.get(family, Gradient)
    assert learner_for(kind) is expected
    assert issubclass(kind, FitsCounts) == (expected is Count)
    assert issubclass(kind, Infills) == issubclass(kind, Masked)
