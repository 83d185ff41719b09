"""Random GPT-2 and T5 models write the same texts here as in `transformers`, token for token.

Texts end by themselves, so that length penalties and the rules of stopping matter: the embedding of
the end token is large, which makes it likely in some places.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch

from wenmo.decoding.engines.autoregressive import AutoregressiveEngine
from wenmo.decoding.params import Sampling
from wenmo.decoding.request import Request
from wenmo.interchange.loaded_model import LoadedModel
from wenmo.interchange.pretrained import open_pretrained
from wenmo.text.pretrained import byte_level
from wenmo.text.vocabularies import byte_alphabet

VOCAB, EOS, PAD = 259, 258, 257
LIMIT = 14
PROMPTS = [[20, 31, 45], [7, 7, 9, 100, 7], [200], [90, 91, 92, 93]]


@dataclass
class Both:
    """A model in transformers and here."""

    reference: Any
    loaded: LoadedModel
    answers: bool

    def expected(self, prompt: list[int], **settings: Any) -> list[list[int]]:
        """The texts of transformers, without what is behind the end."""
        ids = torch.tensor([[*prompt, EOS] if self.answers else prompt])
        texts = self.reference.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            pad_token_id=PAD,
            **{"max_new_tokens": LIMIT, "do_sample": False, **settings},
        )
        start = 1 if self.answers else len(prompt)
        return [until_end(text[start:].tolist()) for text in texts]

    def found(self, sampling: Sampling, n: int = 1) -> list[list[list[int]]]:
        """The texts for all prompts, written in one batch."""
        engine = AutoregressiveEngine(self.loaded.model)
        asked = [
            Request((), sampling, prompt, n=n) if self.answers else Request(prompt, sampling, n=n)
            for prompt in PROMPTS
        ]
        texts: dict[int, dict[int, list[int]]] = {engine.submit(each): {} for each in asked}
        for event in engine.run():
            texts[event.request].setdefault(event.rank, []).append(event.token)
        external = self.loaded.tokenizer.external_ids
        return [[external(text) for text in own.values()] for own in texts.values()]

    @torch.no_grad()
    def logits(self, prompt: list[int], text: list[int]) -> torch.Tensor:
        """Of transformers, before each token of a text and after the last."""
        if self.answers:
            source, decoder = torch.tensor([[*prompt, EOS]]), torch.tensor([[PAD, *text]])
            return self.reference(input_ids=source, decoder_input_ids=decoder).logits[0]
        return self.reference(torch.tensor([[*prompt, *text]])).logits[0, len(prompt) - 1 :]

    def log_prob(self, prompt: list[int], text: list[int]) -> float:
        """The log-probability of a text."""
        logp = self.logits(prompt, text)[:-1].log_softmax(1)
        return float(logp[range(len(text)), text].sum())

    @torch.no_grad()
    def next_log_probs(self, prompt: list[int], texts: list[list[int]]) -> list[list[float]]:
        """The log-probabilities of the token after each of some texts of one length."""
        ids = torch.tensor([[*(PAD,) * self.answers, *text] for text in texts], dtype=torch.long)
        before = torch.tensor([[*prompt, EOS] if self.answers else prompt] * len(texts))
        if self.answers:
            logits = self.reference(input_ids=before, decoder_input_ids=ids).logits
        else:
            logits = self.reference(torch.cat([before, ids], 1)).logits
        return logits[:, -1].log_softmax(1).index_fill(1, torch.tensor(PAD), -math.inf).tolist()


def until_end(text: list[int]) -> list[int]:
    return text[: text.index(EOS) + 1] if EOS in text else text


@pytest.fixture(scope="module", params=["gpt2", "t5"])
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Both:
    import transformers

    folder = tmp_path_factory.mktemp(request.param)
    ids = {"vocab_size": VOCAB, "eos_token_id": EOS, "pad_token_id": PAD}
    seed, noise, scale = (0, 0.15, 3) if request.param == "gpt2" else (2, 0.6, 4)
    torch.manual_seed(seed)
    model: Any
    if request.param == "gpt2":
        shape = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "bos_token_id": EOS}
        model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**shape, **ids))
    else:
        shape = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}
        ids["decoder_start_token_id"] = PAD
        config = transformers.T5Config(**shape, **ids, tie_word_embeddings=False)
        model = transformers.T5ForConditionalGeneration(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * noise)
        model.get_output_embeddings().weight[EOS] *= scale
    model.generation_config.eos_token_id = EOS
    # It starts T5's texts and so would be a repetition for transformers, but not here.
    model.generation_config.bad_words_ids = [[PAD]]
    model.eval().save_pretrained(folder)
    letters = {letter: id_ for id_, letter in enumerate(byte_alphabet())}
    marks = {f"<{id_}>": id_ for id_ in range(len(letters), VOCAB)}
    byte_level({**letters, **marks}, [], special=marks).save(str(folder / "tokenizer.json"))
    return Both(model, open_pretrained(folder), request.param == "t5")


def test_greedy_and_sampling_with_one_candidate(both: Both) -> None:
    expected = [both.expected(prompt) for prompt in PROMPTS]
    assert len({len(text) for [text] in expected}) > 2
    assert both.found(Sampling(method="greedy", max_tokens=LIMIT)) == expected
    for sampling in (Sampling(top_k=1, seed=5), Sampling(temperature=0)):
        assert both.found(replace(sampling, max_tokens=LIMIT)) == expected


@pytest.mark.parametrize("length_penalty", [0.0, 0.6, 1.0, 2.0])
@pytest.mark.parametrize("early_stopping", ["false", "true", "never"])
def test_beams_with_each_stopping_rule(
    both: Both, early_stopping: Any, length_penalty: float
) -> None:
    """All four texts of the beam, in their order."""
    beam = Sampling(
        method="beam",
        beam_width=4,
        length_penalty=length_penalty,
        early_stopping=early_stopping,
        max_tokens=LIMIT,
    )
    rule = {"false": False, "true": True, "never": "never"}[early_stopping]
    settings = {"num_beams": 4, "num_return_sequences": 4, "length_penalty": length_penalty}
    expected = [both.expected(p, early_stopping=rule, **settings) for p in PROMPTS]
    assert both.found(beam, n=4) == expected


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"no_repeat_ngram": 2}, {"no_repeat_ngram_size": 2}),
        ({"repetition_penalty": 1.4}, {"repetition_penalty": 1.4}),
        ({"min_tokens": 6}, {"min_new_tokens": 6}),
        (
            {"no_repeat_ngram": 1, "repetition_penalty": 0.8, "min_tokens": 3},
            {"no_repeat_ngram_size": 1, "repetition_penalty": 0.8, "min_new_tokens": 3},
        ),
    ],
    ids=["n-grams", "repetition", "minimum", "together"],
)
def test_penalties_greedily_and_in_beams(
    both: Both, ours: dict[str, Any], theirs: dict[str, Any]
) -> None:
    greedy = Sampling(method="greedy", max_tokens=LIMIT, **ours)
    assert both.found(greedy) == [both.expected(prompt, **theirs) for prompt in PROMPTS]
    beam = replace(greedy, method="beam", beam_width=4, length_penalty=1, early_stopping="false")
    settings = {"num_beams": 4, "num_return_sequences": 4}
    expected = [both.expected(prompt, **settings, **theirs) for prompt in PROMPTS]
    assert both.found(beam, n=4) == expected


@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
def test_the_exact_rule_finds_no_worse_texts(both: Both, length_penalty: float) -> None:
    """The default: it stops later, and finishes texts outside of the best of a step, too."""
    beam = Sampling(method="beam", beam_width=4, length_penalty=length_penalty, max_tokens=LIMIT)
    exact, never = both.found(beam), both.found(replace(beam, early_stopping="never"))
    for prompt, [one], [other] in zip(PROMPTS, exact, never, strict=True):
        scores = [both.log_prob(prompt, t) / len(t) ** length_penalty for t in (one, other)]
        assert one == other or scores[0] > scores[1]


def test_diverse_groups_follow_the_paper(both: Both) -> None:
    """Vijayakumar et al. (2018), algorithm 1, on the logits of transformers."""
    groups = Sampling(
        method="beam",
        beam_width=4,
        beam_groups=2,
        diversity_penalty=0.8,
        length_penalty=0.0,
        early_stopping="never",
        max_tokens=LIMIT,
    )
    expected = [diverse_beams(both, prompt, 2, 2, 0.8) for prompt in PROMPTS]
    assert both.found(groups, n=4) == expected
    assert both.found(replace(groups, diversity_penalty=0.0), n=4) != expected


def diverse_beams(
    both: Both, prompt: list[int], groups: int, width: int, strength: float
) -> list[list[int]]:
    """All texts of the groups, best first. Each group is a beam whose texts pay ``strength`` for
    each text of an earlier group that has the same token at the same step.
    """
    live: list[list[tuple[list[int], float]]] = [[([], 0.0)] for _ in range(groups)]
    finished: list[list[tuple[list[int], float]]] = [[] for _ in range(groups)]
    for length in range(1, LIMIT + 1):
        taken: list[int] = []
        for number in range(groups):
            if not live[number]:
                continue
            gains = both.next_log_probs(prompt, [text for text, _ in live[number]])
            children = [
                ([*text, token], total + gain)
                for (text, total), own in zip(live[number], gains, strict=True)
                for token, gain in enumerate(own)
            ]
            children.sort(key=lambda child: strength * taken.count(child[0][-1]) - child[1])
            best, others = children[:width], [c for c in children if c[0][-1] != EOS][:width]
            ended = [child for child in best if child[0][-1] == EOS or length == LIMIT]
            finished[number] = sorted(finished[number] + ended, key=lambda each: -each[1])[:width]
            worst = finished[number][-1][1] if len(finished[number]) == width else -math.inf
            live[number] = others if others and others[0][1] > worst else []
            taken += [text[-1] for text, _ in others]
    every = {tuple(text): total for each in finished for text, total in each}
    return [list(text) for text, _ in sorted(every.items(), key=lambda each: -each[1])]
