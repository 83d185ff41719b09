import subprocess
import sys

import pytest
import torch

from wenmo.models import MODELS
from wenmo.models.shapes import shapes_only


@pytest.mark.parametrize("name", MODELS)
def test_shapes_are_those_of_the_model(name):
    config = MODELS[name].config
    with shapes_only():
        hollow = config.build(50)
    shapes = {key: tensor.shape for key, tensor in config.build(50).state_dict().items()}
    assert {key: tensor.shape for key, tensor in hollow.state_dict().items()} == shapes
    assert all(weight.is_meta for weight in hollow.parameters())


def test_weights_are_drawn_again_afterwards():
    with shapes_only():
        torch.nn.Linear(3, 3)
    assert torch.nn.Linear(3, 3).weight.abs().sum() > 0


def test_the_compiler_is_not_imported():
    code = """
import sys
from wenmo.models import MODELS
from wenmo.models.shapes import shapes_only
with shapes_only():
    for name in ("lstm", "seq2seq", "gpt", "masked", "gan"):
        MODELS[name].config.build(50)
assert "torch._dynamo" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
