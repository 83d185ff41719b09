"""What a model may write under a grammar, against the list of all that the grammar writes."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wenmo.decoding.constraints.base import Conjunction, Constraint, combine
from wenmo.decoding.constraints.grammar import TokenGrammar
from wenmo.decoding.constraints.length import LengthTable
from wenmo.decoding.generator import TextGenerator
from wenmo.decoding.params import Sampling
from wenmo.grammar.chart import Chart
from wenmo.grammar.reading import parse_grammar
from wenmo.text.config import TokenizerConfig
from wenmo.text.tokenizers import Tokenizer
from wenmo.types import END, WenmoError

RULES = {
    "origin": ["#人##动#了。", "the #n##n2# ran"],
    "人": ["小明", "小猫", ""],
    "动": ["跑", "猫跑", "é走"],
    "n": ["cat", "ca", "dog"],
    "n2": ["s", "ts", ""],
}
TEXTS = {
    *(f"{who}{act}了。" for who in RULES["人"] for act in RULES["动"]),
    *(f"the {n}{m} ran" for n in RULES["n"] for m in RULES["n2"]),
}
CHART = Chart.from_grammar(parse_grammar(json.dumps(RULES)))
SPELLED = [text.encode() for text in sorted(TEXTS)]


def after(constraint: Constraint, *tokens: int) -> set[int]:
    """What is allowed after some tokens; the constraint itself stays where it is."""
    fork = constraint.fork()
    for token in tokens:
        fork.advance(token)
    mask = fork.allowed()
    assert mask is not None
    return set(mask.nonzero().flatten().tolist())


@st.composite
def cuts(draw: st.DrawFn) -> tuple[list[bytes], bytes]:
    """Tokens that are cut out of the grammar's texts anywhere, and how one of these begins."""
    pieces = st.sampled_from(SPELLED).flatmap(
        lambda text: st.tuples(st.integers(0, len(text)), st.integers(1, 7)).map(
            lambda at: text[at[0] : at[0] + at[1]]
        )
    )
    table = [b"", *dict.fromkeys(draw(st.lists(pieces, min_size=3, max_size=30))), b"\xff", b"x "]
    table += [bytes([value]) for value in range(256)]
    text = draw(st.sampled_from(SPELLED))
    return table, text[: draw(st.integers(0, len(text)))]


@settings(max_examples=60, deadline=None)
@given(cuts())
def test_what_is_allowed_is_what_some_text_goes_on_with(given_):
    table, begun = given_
    written = [table.index(bytes([byte]), 1) for byte in begun]
    grammar = TokenGrammar(CHART, table)
    state = grammar.start()
    for token in written:
        state.advance(token)
    mask = grammar.mask(state._state)
    allowed = set(mask.nonzero().flatten().tolist())
    assert state.forced() == (min(allowed) if len(allowed) == 1 and END not in allowed else None)
    for token, spelled in enumerate(table):
        if token == END:
            assert (token in allowed) == (begun in SPELLED)
        elif spelled:
            goes_on = any(text.startswith(begun + spelled) for text in SPELLED)
            assert (token in allowed) == goes_on, spelled


def test_a_first_space_that_is_not_shown_is_no_part_of_the_text():
    table = [b"", b" the", b"the", b" ", b" cat", b"t", b"  the"]
    start = TokenGrammar(CHART, table, strip_space=True).start()
    assert after(start) == {1, 2, 3, 5}
    assert after(start, 3) == {2, 5}
    assert after(start, 3, 2) == after(start, 1)
    assert after(start, 1) == {3, 4}
    assert after(TokenGrammar(CHART, table).start()) == {2, 5}


def test_a_tokenizer_that_cannot_spell_it_is_told():
    with pytest.raises(WenmoError, match="after 'the ' the model has no token"):
        after(TokenGrammar(CHART, [b"", b"the "]).start(), 1)


TEXT = "the cats ran. 小明跑了。小猫é走了。the dog ran " * 8
TOKENIZERS = {
    kind: Tokenizer.train([TEXT], TokenizerConfig(kind, vocab_size=size, min_count=1))
    for kind, size in {"characters": None, "bytes": None, "words": None, "bpe": 300}.items()
}


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize("method", ["sample", "greedy", "beam"])
@pytest.mark.parametrize("prompt", ["", "So: "])
def test_any_model_with_any_tokens_writes_texts_of_the_grammar(table, kind, method, prompt):
    tokenizer = TOKENIZERS[kind]
    size = tokenizer.vocab_size
    noise = torch.randn(size, size, generator=torch.Generator().manual_seed(0))
    writer = TextGenerator(table(noise), tokenizer)
    sampling = Sampling(method, max_tokens=60, top_p=0.9, temperature=1.5, beam_width=4)
    [outputs] = writer.generate([prompt], sampling, 4, chart=CHART)
    assert outputs
    for output in outputs:
        assert output.stopped_by in ("end", "constraint")
        assert output.text in TEXTS
    assert len({output.text for output in outputs}) > 1 or method == "greedy"
    first = "".join(writer.stream(prompt, sampling, chart=CHART))
    assert first == outputs[0].text


def test_a_writer_keeps_no_grammar_of_an_earlier_call(table):
    """A run has one writer as long as it lives, and each call brings a grammar of its own."""
    tokenizer = TOKENIZERS["characters"]
    writer = TextGenerator(
        table(torch.zeros(tokenizer.vocab_size, tokenizer.vocab_size)), tokenizer
    )
    for _ in range(3):
        chart = Chart.from_grammar(parse_grammar(json.dumps(RULES)))
        writer.generate(["", "So: "], Sampling(max_tokens=2), chart=chart)
        assert {kept for kept, _ in writer._requests._constraints._grammars} == {chart}


def test_texts_are_as_likely_as_the_model_has_them(table):
    """Of two texts that the grammar leaves, the model's own preference decides."""
    chart = Chart.from_grammar(parse_grammar('{"origin": {"ab": 1000, "ac": 1}}'))
    tokenizer = Tokenizer.train(["abc"], TokenizerConfig("characters", min_count=1))
    a, b, c = tokenizer.encode("abc").tolist()
    logits = torch.zeros(tokenizer.vocab_size, tokenizer.vocab_size)
    logits[a, c] = 2.0
    logits[:, 1:257] = -torch.inf  # the letters spelled in bytes
    outputs = TextGenerator(table(logits), tokenizer).generate([""], Sampling(), 600, chart=chart)[
        0
    ]
    share = sum(output.text == "ac" for output in outputs) / 600
    assert share == pytest.approx(float(torch.tensor(2.0).sigmoid()), abs=0.05)
    assert outputs[0].ids in ((a, b, END), (a, c, END))


def test_a_text_that_is_cut_short_says_so(table):
    tokenizer = TOKENIZERS["characters"]
    noise = torch.zeros(tokenizer.vocab_size, tokenizer.vocab_size)
    [[output]] = TextGenerator(table(noise), tokenizer).generate(
        [""], Sampling(max_tokens=2), chart=CHART
    )
    assert output.stopped_by == "length"
    assert any(text.startswith(output.text) for text in TEXTS)


def test_a_length_in_characters_is_held() -> None:
    """Tokens of several characters, and of a part of one, count as what they spell."""
    start = LengthTable([b"", b"a", b"bcd", b"\xe6", b"\x98", b"\xa5"]).start(3)
    assert after(start) == {1, 2, 3, 4, 5}
    assert after(start, 1) == {1, 3, 4, 5}
    assert after(start, 2) == {0, 4, 5}
    assert after(start, 1, 3, 4, 5, 1) == {0, 4, 5}


def test_constraints_combine() -> None:
    """Texts of the grammar that have twelve characters."""
    table = [b"", *(bytes([value]) for value in range(256)), b"the ", b"cats", b"cat", b" ran"]
    grammar, lengths = TokenGrammar(CHART, table), LengthTable(table)
    both = combine(grammar.start(), None, lengths.start(12))
    assert isinstance(both, Conjunction)
    assert after(both) == after(grammar.start())
    the, cats, cat, ran = range(257, 261)
    assert after(both, the) == {ord("c") + 1, ord("d") + 1, cats, cat}
    assert after(both, the, cats) == {ord(" ") + 1, ran}
    assert after(both, the, cats, ran) == {END}
    assert combine(None, None) is None
    with pytest.raises(WenmoError, match="no token is allowed by all constraints together"):
        after(both, the, cat, ran)  # is a whole text, but has eleven characters


def test_a_fork_is_independent() -> None:
    table = [b"", *(bytes([value]) for value in range(256))]
    first = TokenGrammar(CHART, table).start()
    second = first.fork()
    first.advance(ord("t") + 1)
    assert first.forced() == ord("h") + 1
    assert second.forced() is None
    assert ord("t") + 1 in after(second)


def test_forced_tokens_are_read_at_once_and_change_nothing(table) -> None:
    """The model is called once for "he " and what follows, and the text and its figures are those
    of a constraint that forces nothing.
    """
    tokenizer = TOKENIZERS["bytes"]
    size = tokenizer.vocab_size
    noise = torch.randn(size, size, generator=torch.Generator().manual_seed(3))
    calls = {}
    outputs = {}
    for forces in (True, False):
        model = table(noise)
        read = []
        forward = model.forward
        model.forward = lambda tokens, state=None, f=forward, r=read: (
            r.append(tokens.shape[1]) or f(tokens, state)
        )
        generator = TextGenerator(model, tokenizer)
        if not forces:
            builder = generator._requests._constraints
            grammar = builder.grammar
            builder.grammar = lambda *a, g=grammar, **k: Unforced(g(*a, **k))
        asked = [Sampling(seed=seed, max_tokens=30) for seed in range(6)]
        outputs[forces] = [generator.generate([""], each, 3, chart=CHART) for each in asked]
        calls[forces] = len(read)
        assert forces == (max(read) > 1)
    assert outputs[True] == outputs[False]
    assert calls[True] < 0.8 * calls[False]


class Unforced:
    """A constraint that never forces a token."""

    def __init__(self, constraint: Constraint) -> None:
        self.constraint = constraint
        self.allowed, self.advance = constraint.allowed, constraint.advance

    def forced(self) -> None:
        return None

    def fork(self) -> Unforced:
        return Unforced(self.constraint.fork())
