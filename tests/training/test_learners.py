"""How a learner reaches the loss of its model."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from wenmo.models.recurrent_config import RecurrentConfig
from wenmo.training.learners import Gradient, LossModule
from wenmo.training.optimizers import make_optimizer
from wenmo.types import Batch, Loss

VOCAB, STEPS = 9, 3


class Repeated:
    """Batches that are all the same."""

    def __getitem__(self, number: int) -> Batch:
        ids = torch.randint(VOCAB, (4, 11), generator=torch.Generator().manual_seed(0))
        return Batch(ids[:, :-1], ids[:, 1:])


def learner(**options: float) -> Gradient:
    torch.manual_seed(0)
    model = RecurrentConfig("lstm", embedding_size=8, hidden_size=8, dropout=0.2).build(VOCAB)
    settings = {"rate": 0.01, "weight_decay": 0.0, "momentum": 0.0, "betas": (0.9, 0.99)}
    return Gradient(
        model,
        Repeated(),  # type: ignore[arg-type]
        make_optimizer("adam", model, **settings),  # type: ignore[arg-type]
        max_grad_norm=1.0,
        gradient_accumulation=2,
        precision="float32",
        seed=0,
        **options,
    )


def test_every_loss_passes_through_the_hooks_of_a_module() -> None:
    hooked, seen = learner(label_smoothing=0.1), []
    hooked.loss.register_forward_pre_hook(
        lambda _, given, options: seen.append((type(given[0]), options)), with_kwargs=True
    )
    hooked.learn(0, 1.0)
    assert seen == [(Batch, {"label_smoothing": 0.1})] * 2


def test_the_loss_as_a_module_is_the_loss() -> None:
    model, batch = learner().model, Repeated()[0]
    torch.manual_seed(1)
    own = model.loss(batch, label_smoothing=0.1)
    torch.manual_seed(1)
    called: Loss = LossModule(model)(batch, label_smoothing=0.1)
    assert torch.equal(own.total, called.total)
    assert own.state.keys() == called.state.keys()


@pytest.fixture
def one_process() -> Iterator[None]:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("one_process")
def test_a_data_parallel_wrapper_sees_every_gradient() -> None:
    """Its hooks average the gradients of all processes; of one alone they are what they were."""
    alone, wrapped = learner(), learner()
    wrapped.loss = DistributedDataParallel(wrapped.loss)  # type: ignore[assignment]
    for step in range(STEPS):
        assert wrapped.learn(step, 1.0) == alone.learn(step, 1.0)

    def weights(of: Gradient) -> list[Tensor]:
        return [weight.detach() for weight in of.model.parameters()]

    for one, other in zip(weights(alone), weights(wrapped), strict=True):
        assert torch.equal(one, other)
