"""Forms of verse as constraints: what any model writes with any tokenizer has the form."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from wenmo.decoding.constraints.settings import ConstraintSettings
from wenmo.decoding.generator import TextGenerator
from wenmo.decoding.params import Sampling
from wenmo.text.config import TokenizerConfig
from wenmo.text.tokenizers import Tokenizer
from wenmo.types import WenmoError
from wenmo.verse.form import load_form

POEM = (
    "风急天高猿啸哀渚清沙白鸟飞回无边落木萧萧下不尽长江滚滚来万里悲秋常作客百年多病独登台"
    "艰难苦恨繁霜鬓潦倒新停浊酒杯春夏秋冬青天开门月落乌啼人日山水明白雪梅台栽苔才徊雷\n"
)
TOKENIZERS = {
    kind: Tokenizer.train([POEM * 3], TokenizerConfig(kind, vocab_size=size, min_count=1))
    for kind, size in {"characters": None, "bytes": None, "bpe": 420}.items()
}


@pytest.fixture
def writer(table):
    """Makes a generator of a random model."""

    def make(kind: str) -> TextGenerator:
        tokenizer = TOKENIZERS[kind]
        size = tokenizer.vocab_size
        logits = torch.randn(size, size, generator=torch.Generator().manual_seed(1))
        return TextGenerator(table(logits), tokenizer, alphabet=set(POEM))

    return make


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize("method", ["sample", "greedy", "beam"])
def test_what_is_written_has_the_form(writer, kind, method):
    generator, asked = writer(kind), ConstraintSettings(form="五绝", forbid=("月", "春天"))
    sampling = Sampling(method, seed=3, max_tokens=100, beam_width=3)
    [outputs] = generator.generate([""], sampling, 2, constraints=asked)
    for output in outputs:
        assert load_form("五绝").check(output.text).valid, output.text
        assert "月" not in output.text


def test_texts_of_one_prompt_draw_their_own_rhymes_and_are_equal_alone(writer):
    asked = ConstraintSettings(form="七绝")
    [outputs] = writer("characters").generate([""], Sampling(seed=5), 6, constraints=asked)
    [fewer] = writer("characters").generate([""], Sampling(seed=5), 2, constraints=asked)
    assert [each.text for each in outputs[:2]] == [each.text for each in fewer]
    assert len(Counter(each.text[1] for each in outputs)) > 1
    assert "".join(writer("characters").stream("", Sampling(seed=5), constraints=asked)) == (
        outputs[0].text
    )


def test_acrostics_phrases_and_the_prompt_are_kept(writer):
    asked = ConstraintSettings(form="五绝", acrostic="春夏秋冬", require=("明月",))
    [[output]] = writer("characters").generate([""], Sampling(seed=1), constraints=asked)
    lines = output.text.split("\n")
    assert "".join(line[0] for line in lines) == "春夏秋冬"
    assert "明月" in output.text
    assert load_form("五绝").check(output.text).valid
    begun = ConstraintSettings(form="五绝")
    [[rest]] = writer("characters").generate(
        ["山水\n\n白日依山"], Sampling(seed=2, unseen_characters=True), constraints=begun
    )
    assert load_form("五绝").check("白日依山" + rest.text).valid


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"form": "七律", "max_tokens": 10}, "max_tokens=10: too few for form=七律, which has 63"),
        ({"form": "五绝", "acrostic": "春夏秋冬春"}, "五绝: has 4 lines, not 5"),
        ({"form": "五绝", "acrostic": "春夏龘冬"}, "acrostic=春夏龘冬: '龘' is not in the char"),
        ({"form": "五绝", "prompt": "天天天天"}, "五绝: no tone pattern of the form has the given"),
        ({"form": "五绝", "prompt": "白日\n"}, "五绝: a poem cannot begin with '白日\\n'"),
        ({"form": "五绝", "length": "12c"}, "form: no poem meets the other constraints"),
        ({"form": "六绝"}, "no form named '六绝'; did you mean '五绝'?"),
    ],
)
def test_what_is_impossible_is_said(writer, options, message):
    options = dict(options)
    sampling = Sampling(max_tokens=options.pop("max_tokens", 100))
    prompt = options.pop("prompt", "")
    with pytest.raises(WenmoError) as error:
        writer("characters").generate([prompt], sampling, constraints=ConstraintSettings(**options))
    assert str(error.value).startswith(message)
