"""What a model may write under a regular expression, a schema, choices or a grammar."""

from __future__ import annotations

import itertools
import json
import re

import jsonschema
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wenmo.decoding.constraints.notation import (
    compile_choice,
    compile_lark,
    compile_regex,
    compile_schema,
)
from wenmo.decoding.constraints.settings import ConstraintSettings
from wenmo.decoding.constraints.structure import Structure, StructureVocabulary
from wenmo.decoding.generator import TextGenerator
from wenmo.decoding.params import Sampling
from wenmo.text.config import TokenizerConfig
from wenmo.text.tokenizers import Tokenizer
from wenmo.types import END, WenmoError

TRAINED_ON = ['the quick brown fox, 春眠不觉晓，处处闻啼鸟。\n{"name": "value", "age": 12}\n']
KINDS = ("bytes", "characters", "bpe", "words")
CONFIGS = [TokenizerConfig(kind=kind) for kind in KINDS if kind != "bpe"]
CONFIGS.append(TokenizerConfig(kind="bpe", vocab_size=400))
TOKENIZERS = {each.kind: Tokenizer.train(TRAINED_ON * 20, each) for each in CONFIGS}
VOCABULARIES = {kind: StructureVocabulary(TOKENIZERS[kind]) for kind in KINDS}


class Cut:
    """A tokenizer with any table; its usual tokens are the longest ones."""

    def __init__(self, table: list[bytes]) -> None:
        self.table = table

    def encode_inside(self, text: str) -> list[int]:
        return []


def accepts(grammar: str, text: str | bytes, kind: str = "bytes") -> bool:
    """Whether a text may be written byte by byte, and may end."""
    data = text.encode() if isinstance(text, str) else text
    constraint = Structure(VOCABULARIES[kind], grammar, "test").start()
    for byte in data:
        token = TOKENIZERS[kind].table.index(bytes([byte]))
        if not constraint.allowed()[token]:
            return False
        constraint.advance(token)
    return bool(constraint.allowed()[END])


# -- the languages -------------------------------------------------------------------------------

PERSON = {
    "type": "object",
    "properties": {
        "名": {"type": "string", "pattern": "^[一-鿿]{2,3}$"},
        "体": {"enum": ["五绝", "七律"]},
        "n": {"type": "integer", "minimum": 1, "maximum": 12},
    },
    "required": ["名", "体"],
    "additionalProperties": False,
}
STRING = {"type": "string"}
ACCEPTED = [
    (PERSON, '{"名": "李白", "体": "五绝", "n": 12}', True),
    (PERSON, '{"名": "李白", "体": "七律"}', True),
    (PERSON, '{"名": "李", "体": "七律"}', False),
    (PERSON, '{"名": "李白", "体": "七绝"}', False),
    (PERSON, '{"名": "李白", "体": "七律", "n": 13}', False),
    (PERSON, '{"名": "\\u674e\\u767d", "体": "七律"}', False),  # Chinese is never escaped
    (PERSON, '{"名": "李白","体": "七律"}', False),  # white space is as json.dumps writes it
    (PERSON, '{"名": "李白", "体": "七律"} ', False),
    (PERSON, '{\n"名": "李白", "体": "七律"}', False),
    ({"enum": ["\u6625", "\n"]}, '"春"', True),
    ({"enum": ["\u6625", "\n"]}, '"\\n"', True),
    (STRING, '"a\\n\\"\\\\é春😀"', True),
    (STRING, '"a\nb"', False),  # raw control characters
    (STRING, '"\x00"', False),
    (STRING, b'"\xff"', False),  # no UTF-8
    (STRING, b'"\xe6\x98"', False),  # half a character
    (STRING, b'"\xed\xa0\x80"', False),  # a surrogate
    (STRING, '"\\ud800"', False),
    (STRING, '"\\x"', False),
    (STRING, '"\\u00"', False),
    ({"type": "number"}, "-1.5e+3", True),
    ({"type": "number"}, "01", False),
    ({"type": "string", "minLength": 3, "maxLength": 3}, '"春眠不"', True),
    ({"type": "string", "minLength": 3, "maxLength": 3}, '"春眠"', False),
    ({"oneOf": [{"const": "a"}, {"type": "integer"}]}, "7", True),
    ({"type": "object", "additionalProperties": {"type": "integer"}}, '{"春": 1, "夏": 2}', True),
    ({"type": "object", "properties": {"a": STRING}}, '{"b": 1, "a": 1}', False),
]


@pytest.mark.parametrize(("schema", "text", "accepted"), ACCEPTED)
def test_json(schema, text, accepted):
    assert accepts(compile_schema(schema), text) == accepted
    if accepted:
        jsonschema.validate(json.loads(text), schema)


@pytest.mark.parametrize(
    ("pattern", "text", "accepted"),
    [
        (r"[一-鿿]{5}，", "春眠不觉晓，", True),
        (r"[一-鿿]{5}，", "春眠不觉，", False),
        (r"^a|b$", "b", True),  # anchors at both ends say what holds anyway
        (r"\p{Han}+\d", "春3", True),
        (r"(?i)yes", "yEs", True),
        (r"a.b", "a\nb", False),
        (r"", "", True),
        (r"a/b\\", "a/b\\", True),
    ],
)
def test_regular_expressions_match_whole_texts(pattern, text, accepted):
    assert accepts(compile_regex(pattern), text) == accepted


GBNF = 'root ::= "hi " name "!"  # greets\nname ::= [一-鿿]{1,3} | "Bob"\n'
LARK = 'start: "hi " name "!"\nname: /[一-鿿]{1,3}/ | "Bob"\n'


@pytest.mark.parametrize("text", [LARK, GBNF])
def test_grammars_in_both_notations(text):
    grammar = compile_lark(text)
    for good in ("hi 春眠!", "hi Bob!"):
        assert accepts(grammar, good)
    for bad in ("hi !", "hi 春Bob!", "hi Bob", "Hi Bob!"):
        assert not accepts(grammar, bad)


def test_choices():
    choices = ["yes", "yes, sir", '"quoted"\\', "不", "two\nlines\t\x7f", " "]
    grammar = compile_choice(choices)
    for text in choices:
        assert accepts(grammar, text)
    for text in ("", "yes,", "ye", "不不"):
        assert not accepts(grammar, text)


# -- any tokens ----------------------------------------------------------------------------------

WORDS = ["春眠不觉晓", "春眠", "the fox", "the foxes ran", "é\n", "\n"]
PATTERN = "|".join(map(re.escape, WORDS)).replace("\\\n", "\\n").replace("\\ ", " ")
SPELLED = [text.encode() for text in WORDS]


@st.composite
def cuts(draw: st.DrawFn) -> tuple[list[bytes], bytes]:
    """Tokens that are cut out of the texts anywhere, and how one of these begins."""
    pieces = st.sampled_from(SPELLED).flatmap(
        lambda text: st.tuples(st.integers(0, len(text)), st.integers(1, 7)).map(
            lambda at: text[at[0] : at[0] + at[1]]
        )
    )
    table = [b"", *dict.fromkeys(draw(st.lists(pieces, min_size=3, max_size=20))), b"\xff", b"x "]
    table = [each for index, each in enumerate(table) if each or not index]
    table += [bytes([value]) for value in range(256)]
    text = draw(st.sampled_from(SPELLED))
    return table, text[: draw(st.integers(0, len(text)))]


@settings(max_examples=20, deadline=None)
@given(cuts(), st.sampled_from([compile_regex(PATTERN), compile_choice(WORDS)]))
def test_what_is_allowed_is_what_some_text_goes_on_with(cut, grammar):
    """Except where one text is left: there only the token of its usual encoding is allowed."""
    table, begun = cut
    constraint = Structure(StructureVocabulary(Cut(table)), grammar, "test").start()
    for byte in begun:
        token = table.index(bytes([byte]), 1)
        if not constraint.allowed()[token]:
            return  # it is spelled otherwise
        constraint.advance(token)
    allowed = set(constraint.allowed().nonzero().flatten().tolist())
    continuing = {
        token
        for token, spelled in enumerate(table)
        if token != END and any(text.startswith(begun + spelled) for text in SPELLED)
    } | ({END} if begun in SPELLED else set())
    forced = constraint.forced()
    if forced is None:
        assert {table[token] for token in allowed} == {table[token] for token in continuing}
    else:
        assert allowed == {forced}
        assert forced in continuing


def noise(size: int, seed: int) -> torch.Tensor:
    return 3 * torch.randn(size, size, generator=torch.Generator().manual_seed(seed))


REQUESTS = [
    ConstraintSettings(json_schema=json.dumps(PERSON)),
    ConstraintSettings(regex=r"[a-z]{2,5} (春|眠){3}[.!]?"),
    ConstraintSettings(choice=("yes", "no, never", "春眠不觉晓")),
    ConstraintSettings(lark=GBNF),
]


def obeys(constraints: ConstraintSettings, text: str) -> bool:
    if constraints.json_schema is not None:
        value = json.loads(text)
        jsonschema.validate(value, json.loads(constraints.json_schema))
        return text == json.dumps(value, ensure_ascii=False)
    pattern = constraints.regex or "hi ([一-鿿]{1,3}|Bob)!"
    return text in constraints.choice or bool(re.fullmatch(pattern, text))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["sample", "greedy", "beam"])
def test_any_model_with_any_tokenizer_writes_what_is_asked(table, kind, method):
    tokenizer = TOKENIZERS[kind]
    writer = TextGenerator(table(noise(tokenizer.vocab_size, 1)), tokenizer)
    for constraints in REQUESTS:
        sampling = Sampling(method=method, seed=7, max_tokens=200, beam_width=3, temperature=2.0)
        [outputs] = writer.generate([""], sampling, 2, constraints=constraints)
        for output in outputs:
            assert output.stopped_by in ("end", "constraint")
            assert obeys(constraints, output.text)


# -- what is never written -----------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(KINDS),
    st.sampled_from(REQUESTS),
    st.fixed_dictionaries(
        {
            "method": st.sampled_from(
                ["sample", "greedy", "beam", "beam-sample", "stochastic-beam"]
            ),
            "seed": st.integers(0, 9),
            "temperature": st.sampled_from([1e-6, 1.0, 1000.0]),
            "top_k": st.sampled_from([0, 1, 3]),
            "top_p": st.sampled_from([1.0, 1e-9]),
            "min_p": st.sampled_from([0.0, 1.0]),
            "typical_p": st.sampled_from([1.0, 1e-9]),
            "repetition_penalty": st.sampled_from([0.01, 1.0, 100.0]),
            "no_repeat_ngram": st.sampled_from([0, 1, 2]),
            "min_tokens": st.sampled_from([0, 100]),
            "beam_width": st.sampled_from([1, 4]),
            "logit_bias": st.sampled_from(
                [(), ((END, -torch.inf),), tuple((token, -torch.inf) for token in range(200))]
            ),
        }
    ),
)
def test_what_is_forbidden_is_never_written_whatever_else_is_asked(
    writers, kind, constraints, options
):
    sampling = Sampling(max_tokens=150, **options)
    n = min(2, sampling.beam_width)
    [outputs] = writers[kind].generate([""], sampling, n, constraints=constraints)
    assert outputs
    for output in outputs:
        assert output.stopped_by in ("end", "constraint")
        assert obeys(constraints, output.text)


@pytest.fixture(scope="module")
def writers(table):
    return {
        kind: TextGenerator(table(noise(tokenizer.vocab_size, 2)), tokenizer)
        for kind, tokenizer in TOKENIZERS.items()
    }


def test_a_model_without_probability_for_what_is_allowed_says_so(table):
    """Greedy and sampling would otherwise take the first token, END."""
    tokenizer = TOKENIZERS["characters"]
    logits = torch.zeros(tokenizer.vocab_size, tokenizer.vocab_size)
    spells_q = torch.tensor([spelled == b"q" for spelled in tokenizer.table])
    logits[:, spells_q] = -torch.inf
    writer = TextGenerator(table(logits), tokenizer)
    for method in ("greedy", "sample", "beam", "beam-sample", "stochastic-beam"):
        sampling = Sampling(method=method, seed=1)
        with pytest.raises(WenmoError, match="the model gives no probability to any token"):
            writer.generate([""], sampling, constraints=ConstraintSettings(regex="aq|bq"))


def test_what_ended_a_text_is_said(table):
    tokenizer = TOKENIZERS["bytes"]
    writer = TextGenerator(table(torch.zeros(257, 257)), tokenizer)
    for method in ("sample", "beam"):
        for pattern, tokens, reasons in (
            ("[ab]{3}", 9, {"constraint"}),
            ("[ab]{3}", 2, {"length"}),
            ("[ab]?", 9, {"constraint", "end"}),
        ):
            sampling = Sampling(method=method, max_tokens=tokens, beam_width=8, length_penalty=0.0)
            asked = ConstraintSettings(regex=pattern)
            [outputs] = writer.generate([""], sampling, 8, constraints=asked)
            assert {output.stopped_by for output in outputs} == reasons
            for output in outputs:
                assert output.stopped_by != "end" or output.text == ""


JOINED = ConstraintSettings(
    regex="[ab]{2,}c*", length="4-5c", require=("ba|bb", "ac"), forbid=("aa", "cc")
)


def test_a_regular_expression_foresees_length_and_phrases(writers):
    """No text comes to a dead end, and every text that meets all of them can be written."""
    every = {
        "".join(letters)
        for length in (4, 5)
        for letters in itertools.product("abc", repeat=length)
        if re.fullmatch("[ab]{2,}c*", text := "".join(letters))
        and ("ba" in text or "bb" in text)
        and "ac" in text
        and not re.search("aa|cc", text)
    }
    [outputs] = writers["bytes"].generate([""], Sampling(seed=1), 80, constraints=JOINED)
    assert {output.text for output in outputs} <= every
    wide = Sampling(method="beam", beam_width=40)
    [outputs] = writers["bytes"].generate([""], wide, 40, constraints=JOINED)
    assert {output.text for output in outputs} == every


# -- company, and what ends a text ---------------------------------------------------------------


@pytest.mark.parametrize("method", ["sample", "beam"])
def test_in_any_company_a_text_is_what_it_is_alone(writers, method):
    """Eight constraints in one batch of the engine; and n texts begin with the texts of fewer."""
    writer = writers["bpe"]
    asked = [*REQUESTS, JOINED]
    asked += [ConstraintSettings(regex=f"[ab]{{{n}}}春?") for n in (1, 2, 9)]
    sampling = Sampling(method=method, beam_width=4, seed=5, max_tokens=60)
    count = 4 if method == "beam" else 1
    jobs = [writer._requests.build("the ", None, sampling, count, None, each) for each in asked]
    together: dict[int, list[tuple[str, str]]] = {index: [] for index in range(len(asked))}
    for index, _, output in writer._run(jobs):
        if output is not None:
            together[index].append((output.text, output.stopped_by))
    for index, job in enumerate(jobs):
        alone = [output for _, _, output in writer._run([job]) if output is not None]
        assert [(each.text, each.stopped_by) for each in alone] == together[index]
    five, two = (
        writer.generate(["the "], sampling, n, constraints=REQUESTS[0])[0]
        for n in (min(5, sampling.beam_width), 2)
    )
    assert five[:2] == two


class Unforced:
    """A constraint that never forces a token."""

    def __init__(self, constraint) -> None:
        self.constraint = constraint
        self.allowed, self.advance = constraint.allowed, constraint.advance

    def forced(self) -> None:
        return None

    def fork(self) -> Unforced:
        return Unforced(self.constraint.fork())


def test_forced_tokens_change_nothing(writers, monkeypatch):
    writer = writers["bpe"]
    sampling = Sampling(seed=4, max_tokens=100)
    forced = writer.generate(["", "the "], sampling, 3, constraints=REQUESTS[0])
    start = Structure.start
    monkeypatch.setattr(Structure, "start", lambda *given: Unforced(start(*given)))
    assert writer.generate(["", "the "], sampling, 3, constraints=REQUESTS[0]) == forced


def test_a_text_that_is_cut_ends_within_no_escape(script):
    text = '"a\\n\\"b\\u0001\\\\c"'
    tokenizer = TOKENIZERS["bytes"]
    ids = tokenizer.encode(text).tolist()
    writer = TextGenerator(script(ids, tokenizer.vocab_size), tokenizer)
    asked = ConstraintSettings(json_schema='{"type": "string"}')
    wholes = {
        '"',
        '"a',
        '"a\\n',
        '"a\\n\\"',
        '"a\\n\\"b',
        '"a\\n\\"b\\u0001',
        text[:-2],
        text[:-1],
        text,
    }
    wholes.add(text[:-3])
    for limit in range(1, len(ids) + 2):
        sampling = Sampling(method="greedy", max_tokens=limit)
        [[output]] = writer.generate([""], sampling, constraints=asked)
        assert output.text in wholes
        assert output.text.startswith('"')
        assert output.stopped_by == ("constraint" if limit > len(ids) else "length")
        assert "".join(writer.stream("", sampling, constraints=asked)) == output.text


def test_a_space_that_is_not_shown_is_no_part_of_the_text(writers):
    """Words begin with a space, which is not shown at the beginning of a text."""
    for pattern, text in (
        ("春眠", "春眠"),
        ("the fox", "the fox"),
        (" ?the", None),
        ("  a", "  a"),
    ):
        for seed in range(4):
            asked = ConstraintSettings(regex=pattern)
            [[output]] = writers["words"].generate([""], Sampling(seed=seed), constraints=asked)
            assert re.fullmatch(pattern, output.text)
            assert text in (None, output.text)


def test_characters_that_are_missing_are_named(table):
    tokenizer = TOKENIZERS["characters"]
    logits = table(torch.zeros(tokenizer.vocab_size, tokenizer.vocab_size))
    writer = TextGenerator(logits, tokenizer, alphabet="春眠不觉晓ab")
    for constraints, message in (
        (REQUESTS[0], r"json_schema: the training text has no '\{' '\"' '名'"),
        (ConstraintSettings(choice=("春", "夏")), "choice: the training text has no '夏': train"),
        (ConstraintSettings(regex="[α-ω]"), "no character that such a text begins with"),
    ):
        with pytest.raises(WenmoError, match=message):
            writer.generate([""], constraints=constraints)
        free = Sampling(unseen_characters=True, seed=1)
        [[output]] = writer.generate([""], free, constraints=constraints)
        assert output.stopped_by == "constraint"
    [outputs] = writer.generate(
        [""], Sampling(seed=2), 9, constraints=ConstraintSettings(regex=".{4}")
    )
    assert set("".join(output.text for output in outputs)) <= set("春眠不觉晓ab")


def test_a_vocabulary_that_cannot_spell_a_text_is_told():
    vocabulary = StructureVocabulary(Cut([b"", b"a", b"b", "春".encode()]))
    assert [each for each in "a春{é" if vocabulary.lacks(each)] == ["{", "é"]
    with pytest.raises(WenmoError, match=r"regex: the vocabulary has no token for '\{'"):
        Structure(vocabulary, compile_regex("\\{b"), "regex")
    constraint = Structure(vocabulary, compile_regex("[ab](b|\\{c)"), "regex").start()
    constraint.advance(1)
    assert constraint.allowed().nonzero().flatten().tolist() == [2]


def test_special_tokens_are_never_written():
    """Their names may be written as text, by other tokens."""
    table = [b"", b"", *(bytes([value]) for value in range(256))]
    constraint = Structure(
        StructureVocabulary(Cut(table)), compile_regex("(?s:.*)"), "regex"
    ).start()
    assert not constraint.allowed()[1]
    assert constraint.allowed()[END]
    assert constraint.allowed()[2 + ord("<")]
