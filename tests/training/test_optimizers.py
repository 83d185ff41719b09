import subprocess
import sys
from functools import partial

import pytest
import torch

from wenmo.models.hybrid_config import HybridConfig
from wenmo.models.ngram_config import NgramConfig
from wenmo.models.recurrent_config import RecurrentConfig
from wenmo.models.transformer.config import TransformerConfig
from wenmo.training.optimizers import DEFAULT_RATE, make_optimizer
from wenmo.training.updates import SGD, Adam, Muon, RMSprop, orthogonalise

SETTINGS = {"weight_decay": 0.1, "momentum": 0.0, "betas": (0.9, 0.98)}


def tiny(seed=0):
    torch.manual_seed(seed)
    return RecurrentConfig(embedding_size=16, hidden_size=16, layers=1).build(11)


def move(model, optimizer, steps, first=0):
    for step in range(first, first + steps):
        torch.manual_seed(step)
        tokens = torch.randint(0, 11, (2, 5))
        logits, _ = model(tokens[:, :-1])
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
        loss.backward()
        optimizer.step(0.5)


@pytest.mark.parametrize("name", DEFAULT_RATE)
def test_state_is_kept_and_restored_exactly(name):
    whole, first, second = tiny(), tiny(), tiny()
    make = [make_optimizer(name, model, rate=0.01, **SETTINGS) for model in (whole, first, second)]
    move(whole, make[0], 6)
    move(first, make[1], 3)
    second.load_state_dict(first.state_dict())
    make[2].restore({key: tensor.clone() for key, tensor in make[1].tensors()})
    move(second, make[2], 3, first=3)
    for a, b in zip(whole.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", DEFAULT_RATE)
def test_a_step_lowers_the_loss_of_a_quadratic(name):
    model = tiny()
    optimizer = make_optimizer(name, model, rate=1e-3, **{**SETTINGS, "weight_decay": 0.0})

    def loss():
        return sum(((p - 1) ** 2).sum() for p in model.parameters())

    before = loss()
    before.backward()
    optimizer.step(1.0)
    assert loss() < before


def test_every_weight_moves_once_and_only_matrices_decay():
    model = TransformerConfig(hidden_size=16, layers=1, heads=2, context_length=8).build(11)
    optimizer = make_optimizer("muon", model, rate=0.01, **SETTINGS)
    groups = [group for part in optimizer.rules for group in part.param_groups]
    moved = [id(p) for group in groups for p in group["params"]]
    assert sorted(moved) == sorted(id(p) for p in model.parameters())
    for group in groups:
        decayed = {p.dim() >= 2 for p in group["params"]}
        assert decayed == {group["weight_decay"] > 0}


def test_muon_takes_hidden_matrices_and_leaves_embeddings_to_adamw():
    model = TransformerConfig(
        hidden_size=16, layers=1, heads=2, context_length=8, tie_embeddings=False
    ).build(11)
    muon = make_optimizer("muon", model, rate=0.01, **SETTINGS).rules[0]
    assert isinstance(muon, Muon)
    names = {id(p): name for name, p in model.named_parameters()}
    taken = {names[id(p)] for group in muon.param_groups for p in group["params"]}
    assert len(taken) == 7
    assert not any("embedding" in name or "head" in name or "norm" in name for name in taken)


def test_muon_leaves_a_few_gates_to_adamw():
    network = TransformerConfig(hidden_size=16, layers=1, heads=2, context_length=8)
    model = HybridConfig(network, NgramConfig(3, totals=True)).build(11)
    muon, adamw = make_optimizer("muon", model, rate=0.01, **SETTINGS).rules
    taken = {id(p) for group in muon.param_groups for p in group["params"]}
    left = {id(p) for group in adamw.param_groups for p in group["params"]}
    assert id(model.gate.weight) in left
    assert len(taken) == 7


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 24, 8), (2, 8, 24)])
def test_orthogonalise_brings_singular_values_near_one(shape):
    torch.manual_seed(0)
    matrices = torch.randn(shape)
    values = torch.linalg.svdvals(orthogonalise(matrices).float())
    assert values.min() > 0.5
    assert values.max() < 1.35
    # and the singular vectors stay: U Vᵀ of the matrix, up to the rounding of bfloat16
    u, _, v = torch.linalg.svd(matrices, full_matrices=False)
    cosine = torch.nn.functional.cosine_similarity(
        orthogonalise(matrices).float().flatten(1), (u @ v).flatten(1)
    )
    assert cosine.min() > 0.95


THEIRS = torch.optim
PAIRS = {
    "sgd": (SGD, THEIRS.SGD, {"momentum": 0.0}),
    "sgd with momentum": (SGD, THEIRS.SGD, {"momentum": 0.9}),
    "rmsprop": (RMSprop, THEIRS.RMSprop, {"momentum": 0.0}),
    "rmsprop with momentum": (RMSprop, THEIRS.RMSprop, {"momentum": 0.9}),
    "adam": (Adam, THEIRS.Adam, {"betas": (0.9, 0.98)}),
    "adamw": (partial(Adam, decoupled=True), THEIRS.AdamW, {"betas": (0.9, 0.98)}),
}


@pytest.mark.parametrize("name", PAIRS)
def test_update_rules_do_what_pytorchs_optimizers_do(name):
    ours, theirs, settings = PAIRS[name]
    torch.manual_seed(0)
    weights = [torch.nn.Parameter(torch.randn(3, 4)), torch.nn.Parameter(torch.randn(5))]
    copies = [torch.nn.Parameter(weight.detach().clone()) for weight in weights]

    def groups(of):
        return [{"params": of[:1], "weight_decay": 0.1}, {"params": of[1:], "weight_decay": 0.0}]

    rule, reference = (
        ours(groups(weights), lr=0.01, **settings),
        theirs(groups(copies), lr=0.01, **settings),
    )
    for step in range(4):
        for weight, copy in zip(weights, copies, strict=True):
            if step != 2 or weight is weights[0]:  # one gradient is missing once
                weight.grad = torch.randn_like(weight)
                copy.grad = weight.grad.clone()
        rule.step()
        reference.step()
        rule.zero_grad()
        reference.zero_grad()
    for weight, copy in zip(weights, copies, strict=True):
        torch.testing.assert_close(weight, copy)


def test_training_does_not_import_pytorchs_compiler():
    code = """
import sys, torch
from wenmo.models.transformer.config import TransformerConfig
from wenmo.training.optimizers import DEFAULT_RATE, make_optimizer
for name in DEFAULT_RATE:
    model = TransformerConfig(hidden_size=16, layers=1, heads=2, context_length=8).build(11)
    settings = dict(weight_decay=0.1, momentum=0.0, betas=(0.9, 0.98))
    optimizer = make_optimizer(name, model, rate=0.01, **settings)
    sum(p.sum() for p in model.parameters()).backward()
    optimizer.step(1.0)
assert "torch._dynamo" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
