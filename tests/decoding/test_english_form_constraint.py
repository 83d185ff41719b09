"""English forms as constraints: what any model writes with any tokenizer has the form."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from wenmo.decoding.constraints.forms import check_form
from wenmo.decoding.constraints.settings import ConstraintSettings
from wenmo.decoding.generator import TextGenerator
from wenmo.decoding.params import Sampling
from wenmo.text.config import TokenizerConfig
from wenmo.text.tokenizers import Tokenizer
from wenmo.types import WenmoError
from wenmo.verse.form import load_form

TRAINING = (
    "The night is bright, and all the light is mine;\n"
    "I sing of summer's day, of love and wine.\n"
    "My lovely sun, 'tis gone: remember me!\n"
    "The golden river wanders to the sea - o'er thee.\n"
) * 3
TOKENIZERS = {
    kind: Tokenizer.train([TRAINING], TokenizerConfig(kind, vocab_size=size, min_count=1))
    for kind, size in {"characters": None, "bytes": None, "words": None, "bpe": 330}.items()
}


@pytest.fixture(scope="module")
def couplet(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A short form, with the words of the training text."""
    folder = tmp_path_factory.mktemp("forms")
    (folder / "words.txt").write_text(TRAINING)
    path: Path = folder / "couplet.toml"
    path.write_text('language = "en"\nrhyme = "AA"\nmetre = "x/x/x/"\nwords = "words.txt"\n')
    return str(path)


@pytest.mark.parametrize("kind", TOKENIZERS)
@settings(max_examples=2, deadline=None, phases=[Phase.generate])
@given(
    method=st.sampled_from(["sample", "greedy", "beam"]),
    temperature=st.sampled_from([0.5, 1.0, 2.0]),
    cut=st.sampled_from([{}, {"top_k": 3}, {"top_p": 0.5}, {"no_repeat_ngram": 2}]),
    seed=st.integers(0, 99),
)
def test_what_is_written_has_the_form(table, couplet, kind, method, temperature, cut, seed):
    tokenizer = TOKENIZERS[kind]
    size = tokenizer.vocab_size
    logits = 3 * torch.randn(size, size, generator=torch.Generator().manual_seed(seed))
    generator = TextGenerator(table(logits), tokenizer, alphabet=set(TRAINING))
    asked = ConstraintSettings(form=couplet, acrostic="st")
    sampling = Sampling(
        method, max_tokens=200, temperature=temperature, seed=seed, beam_width=2, **cut
    )
    [outputs] = generator.generate([""], sampling, 2, constraints=asked)
    for output in outputs:
        verdict = load_form(couplet).check(output.text)
        assert verdict.valid, (output.text, verdict.reasons)
        assert [line[0].lower() for line in output.text.split("\n")] == ["s", "t"]


@pytest.mark.parametrize("options", [{"require": ("summer",)}, {"length": "30c"}])
def test_what_takes_too_long_to_find_is_refused(couplet, options):
    [name] = options
    with pytest.raises(WenmoError, match=f"{name}: cannot be combined with the English form"):
        check_form(ConstraintSettings(form=couplet, **options))
