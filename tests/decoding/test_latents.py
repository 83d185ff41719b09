"""Texts written from latents: where they come from decides, and nothing else."""

from __future__ import annotations

import pytest
import torch

from wenmo.decoding.engines.autoregressive import AutoregressiveEngine
from wenmo.decoding.generator import TextGenerator
from wenmo.decoding.latents import Latents
from wenmo.decoding.params import Sampling
from wenmo.decoding.request import Request
from wenmo.models import MODELS
from wenmo.models.state import select
from wenmo.models.vae_config import VaeConfig
from wenmo.text.config import TokenizerConfig
from wenmo.text.tokenizers import Tokenizer
from wenmo.types import WenmoError

TEXTS = ["春眠不觉晓。", "The lazy dog.", "花落知多少。"]


@pytest.fixture(params=["lstm", "transformer"])
def latents(request: pytest.FixtureRequest) -> Latents:
    tokenizer = Tokenizer.train(TEXTS, TokenizerConfig("characters"))
    torch.manual_seed(0)
    sizes = {
        "embedding_size": 16,
        "hidden_size": 16,
        "latent_size": 4,
        "context_length": 24,
        "dropout": 0.0,
    }
    model = VaeConfig(decoder=request.param, **sizes).build(tokenizer.vocab_size)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.3)
    return Latents(TextGenerator(model, tokenizer))


def test_the_ends_of_a_walk_are_reconstructions(latents: Latents) -> None:
    options = {"max_tokens": 12}
    walked = latents.walk(TEXTS[0], TEXTS[1], 5, **options)
    assert len(walked) == 5
    ends = latents.reconstruct(TEXTS[:2], **options)
    assert [walked[0].text, walked[-1].text] == [end.text for end in ends]
    assert walked[0].text != walked[-1].text
    with pytest.raises(WenmoError, match="at least 2 steps"):
        latents.walk(TEXTS[0], TEXTS[1], 1)


def test_an_edit_moves_along_the_difference_of_means(latents: Latents) -> None:
    options = {"max_tokens": 12}
    [still] = latents.edit(TEXTS[:1], [TEXTS[1]], [TEXTS[2]], 0.0, **options)
    assert still.text == latents.reconstruct(TEXTS[:1], **options)[0].text
    [moved] = latents.edit(TEXTS[:1], [TEXTS[1]], TEXTS[:1], 1.0, **options)
    [there] = latents.reconstruct([TEXTS[1]], **options)
    assert moved.text == there.text  # from its own place to the other's


def test_a_draw_has_its_seed(latents: Latents) -> None:
    mean = latents.infer(TEXTS)
    drawn = [latents.infer(TEXTS, draw=seed) for seed in (1, 1, 2)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0], mean)
    sampled = latents.reconstruct(TEXTS, method="sample", seed=3, max_tokens=8)
    again = latents.reconstruct(TEXTS, method="sample", seed=3, max_tokens=8)
    assert sampled == again


def test_a_state_that_is_asked_for_is_kept_in_any_company(latents: Latents) -> None:
    model = latents.model
    with torch.no_grad():
        states = model.state_at(latents.infer(TEXTS))
    sampling = Sampling(max_tokens=30, min_tokens=30)  # outgrows the context, and begins afresh
    asked = [Request([], sampling, state=select(states, [row])) for row in range(3)]
    alone = []
    for request in asked:
        engine = AutoregressiveEngine(model)
        engine.submit(request)
        alone.append([event.token for event in engine.run()])
    engine = AutoregressiveEngine(model, rows=2)
    for request in [*asked, Request([], sampling)]:
        engine.submit(request)
    together: dict[int, list[int]] = {}
    for event in engine.run():
        together.setdefault(event.request, []).append(event.token)
    assert [together[number] for number in range(3)] == alone
    assert together[3] not in alone


def test_what_cannot_be_written_from_is_told(latents: Latents) -> None:
    with pytest.raises(WenmoError, match="give a text"):
        latents.infer([" "])
    with pytest.raises(WenmoError, match="holds 23"):
        latents.infer(["春" * 24])
    tokenizer = latents.generator.tokenizer
    plain = MODELS["ngram"].config.build(tokenizer.vocab_size)
    with pytest.raises(WenmoError, match="no latents"):
        Latents(TextGenerator(plain, tokenizer))
