"""The chart against brute force: what every rule writes, counted up until nothing is added."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from wenmo.grammar.ast import Call, Do, Forget, Grammar, Part, Save
from wenmo.grammar.chart import Chart
from wenmo.grammar.fixpoint import components, least, paths
from wenmo.grammar.reading import parse_grammar
from wenmo.grammar.sampler import Sampler
from wenmo.types import WenmoError

LONGEST = 4  # characters of the texts that are counted up
CLOSE = 1e-13


def texts_of(grammar: Grammar, longest: int = LONGEST) -> dict[str, float]:
    """How likely each text up to a length is by the weights alone: all rules are rewritten over and
    over until nothing changes. None of what the chart does is used.
    """
    known: dict[str, dict[str, float]] = {name: {} for name in grammar.rules}
    for _ in range(2000):
        changed, before = 0.0, known
        known = {}
        for name, rule in grammar.rules.items():
            total = sum(alternative.weight for alternative in rule)
            found: dict[str, float] = {}
            for alternative in rule:
                so_far = {"": alternative.weight / total}
                for part in alternative.parts:
                    written = before[part.symbol] if isinstance(part, Call) else {part: 1.0}
                    joined: dict[str, float] = {}
                    for left, p in so_far.items():
                        for right, q in written.items():
                            if len(left + right) <= longest:
                                joined[left + right] = joined.get(left + right, 0.0) + p * q
                    so_far = joined
                for text, p in so_far.items():
                    found[text] = found.get(text, 0.0) + p
            known[name] = found
            changed = max(changed, *(abs(p - before[name].get(t, 0)) for t, p in found.items()), 0)
        if changed < CLOSE:
            return known[grammar.start]
    assume(False)
    raise AssertionError


def ends(grammar: Grammar) -> float:
    """How likely the start is to end at all, by repetition alone."""
    total = dict.fromkeys(grammar.rules, 0.0)
    for _ in range(5000):
        before = total
        total = {
            name: sum(
                a.weight * math.prod(before[p.symbol] for p in a.parts if isinstance(p, Call))
                for a in rule
            )
            / sum(a.weight for a in rule)
            for name, rule in grammar.rules.items()
        }
        if max(abs(total[name] - before[name]) for name in total) < CLOSE:
            return total[grammar.start]
    assume(False)
    raise AssertionError


PARTS = st.lists(st.sampled_from(["a", "b", "#origin#", "#x#", "#y#"]), max_size=3).map("".join)
RULE = st.dictionaries(PARTS, st.integers(1, 3), min_size=1, max_size=3)


@st.composite
def grammars(draw: st.DrawFn) -> Grammar:
    """Small ones, ambiguous, left-recursive, with empty texts and with circles of single calls."""
    rules = {name: draw(RULE) for name in ("origin", "x", "y")}
    try:
        return parse_grammar(json.dumps(rules))
    except WenmoError:
        assume(False)
        raise


def close(value: float) -> object:
    return pytest.approx(value, rel=1e-6, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(grammar=grammars())
def test_texts_are_as_likely_as_all_their_derivations(grammar):
    expected, total, chart = texts_of(grammar), ends(grammar), Chart.of(grammar)
    for text, likely in expected.items():
        assert math.exp(chart.logprob(text)) == close(likely / total)
    for text in ("abab", "aaaa", "b", "", "c"):
        if text not in expected:
            assert chart.logprob(text) == -math.inf


@settings(max_examples=30, deadline=None)
@given(grammar=grammars(), text=st.text("ab", max_size=4))
def test_what_may_follow_sums_to_one_and_goes_on(grammar, text):
    ends(grammar)  # critical ones are passed over
    chart = Chart.of(grammar)
    column = chart.start
    for character in text:
        following = chart.following(column)
        assert sum(following.values()) + column.end == close(1)
        after = chart.advance(column, character)
        assert (after is None) == (character not in following)
        if after is None:
            return
        assert after.logprob - column.logprob == close(math.log(following[character]))
        column = after


@pytest.mark.parametrize(
    "rules",
    [
        {"origin": ["#a##b#", "#b##a#"], "a": {"x": 1, "xy": 2, "": 3}, "b": ["y", "yx", "#a#"]},
        {"origin": ["#句##句#"], "句": {"春#花#": 3, "春眠": 1}, "花": ["花", "眠", "花花"]},
    ],
)
def test_prefixes_are_as_likely_as_the_texts_they_begin(rules):
    grammar = parse_grammar(json.dumps(rules))
    texts, chart = texts_of(grammar, longest=99), Chart.of(grammar)
    assert sum(texts.values()) == pytest.approx(1)
    for text in texts:
        for length in range(len(text) + 1):
            prefix = text[:length]
            column = chart.read(prefix)[-1]
            begun = sum(p for other, p in texts.items() if other.startswith(prefix))
            assert math.exp(column.logprob) == close(begun)
            assert column.end == close(texts.get(prefix, 0) / begun)
            for character, likely in chart.following(column).items():
                longer = prefix + character
                more = sum(p for other, p in texts.items() if other.startswith(longer))
                assert likely == close(more / begun)


def test_long_texts_neither_vanish_nor_overflow():
    chart = Chart.of(parse_grammar('{"origin": {"": 1, "#c##origin#": 999}, "c": ["a", "b", "c"]}'))
    text = "abc" * 100
    assert chart.logprob(text) == pytest.approx(300 * math.log(0.999 / 3) + math.log(0.001))


def test_many_empty_symbols_are_no_power_of_two():
    rules = {"origin": "#o#" * 40, "o": ["", "x"]}
    chart = Chart.of(parse_grammar(json.dumps(rules)))
    for count in (0, 1, 7, 40):
        assert chart.logprob("x" * count) == pytest.approx(
            math.log(math.comb(40, count)) - 40 * math.log(2)
        )


def test_what_rules_write_is_parted_among_them():
    grammar = parse_grammar('{"origin": ["#a#!", "a#b#"], "a": ["ax", "by"], "b": "b"}')
    chart = Chart.of(grammar)
    shares = chart.by_rule(chart.start)
    named = {chart.cfg.rules[symbol]: share for symbol, share in shares.items()}
    assert named == {"origin": {"a": 0.5}, "a": {"a": 0.25, "b": 0.25}}


# -- saved and modified ----------------------------------------------------------------------------

WRITTEN_OUT = {
    "saved": {"origin": "#[n:#name#]s#", "name": {"A": 2, "B": 1}, "s": "#n#, #n# and #name#"},
    "two": {"origin": "#[n:#w#][m:#w#,#n#]s#", "w": ["a", "bc"], "s": ["#n##m#", "#m##m##n#"]},
    "lasting": {"origin": "#[#who#]s# #they#", "who": ["[they:she]", "[they:he]"], "s": "#they#"},
    "popped": {"origin": "[n:#w#]#s#[n:POP]#s#", "w": ["a", "b"], "s": ["#n#", ""], "n": "0"},
    "nested": {"origin": "#[h:#[m:#w#]x#]s#", "w": ["1", "2"], "x": "#m##w#", "s": "#h##h#"},
    "article": {"origin": "#x.a# #y.a.capitalize#", "x": ["owl", "cat"], "y": "#x# #x#"},
    "endless": {"origin": "#s.capitalize#.", "s": {"#w# #s#": 1, "#w#": 3}, "w": ["ab", "owl"]},
    "plural": {"origin": "#p.s#", "p": ["#w# #w#", "#w#"], "w": ["fox", "baby", "toy"]},
    "short": {"origin": "#p.s#", "p": ["#w#y", "#w#"], "w": ["b", "a"]},
    "each": {"origin": "#p.uppercase.inQuotes#", "p": {"#p#é#w#": 1, "#w#": 4}, "w": ["b", "a"]},
    "whole": {"origin": "#p.replace(ab,x).s#", "p": ["#w##w#"], "w": ["a", "b"]},
    "empty": {"origin": "#p.capitalize##p.a#", "p": ["#w##w#"], "w": ["", "b"]},
    "sibling": {"origin": "#w##[w:#w##w#]v#", "v": "#w.capitalize#", "w": ["a", "b"]},
}


def ways(
    grammar: Grammar, parts: Sequence[Part], saved: dict[str, tuple], deep: int
) -> Iterator[tuple[str, float, dict[str, tuple]]]:
    """Every way to write parts: the text, how likely it is, and what is saved after it."""
    if not parts:
        yield "", 1.0, saved
        return
    for text, p, after in ways_of(grammar, parts[0], saved, deep):
        for more, q, last in ways(grammar, parts[1:], after, deep):
            yield text + more, p * q, last


def ways_of(
    grammar: Grammar, part: Part, saved: dict[str, tuple], deep: int
) -> Iterator[tuple[str, float, dict[str, tuple]]]:
    if isinstance(part, str):
        yield part, 1.0, saved
    elif isinstance(part, Do):
        for _, p, after in ways(grammar, part.parts, saved, deep):
            yield "", p, after
    elif isinstance(part, Save):
        texts: list[tuple[tuple[str, ...], float, dict[str, tuple]]] = [((), 1.0, saved)]
        for value in part.values:
            texts = [
                ((*before, text), p * q, last)
                for before, p, after in texts
                for text, q, last in ways(grammar, value, after, deep)
            ]
        for choices, p, after in texts:
            yield "", p, {**after, part.name: (*after.get(part.name, ()), choices)}
    elif isinstance(part, Forget):
        yield "", 1.0, {**saved, part.name: saved.get(part.name, ())[:-1]}
    else:
        for _, p, within in ways(grammar, part.before, saved, deep):
            for text, q, after in ways_of_call(grammar, part, within, deep):
                for modifier in part.modifiers:
                    text = modifier(text)
                for action in part.before:
                    if isinstance(action, Save):
                        after = {**after, action.name: after[action.name][:-1]}
                yield text, p * q, after


def ways_of_call(
    grammar: Grammar, call: Call, saved: dict[str, tuple], deep: int
) -> Iterator[tuple[str, float, dict[str, tuple]]]:
    if saved.get(call.symbol):
        texts = saved[call.symbol][-1]
        yield from ((text, 1 / len(texts), saved) for text in texts)
        return
    rule = grammar.rules[call.symbol]
    for alternative in rule if deep else ():
        share = alternative.weight / sum(a.weight for a in rule)
        for text, p, after in ways(grammar, alternative.parts, saved, deep - 1):
            yield text, share * p, after


@pytest.mark.parametrize("name", WRITTEN_OUT)
def test_what_is_saved_and_modified_is_scored_as_it_is_written(name):
    grammar = parse_grammar(json.dumps(WRITTEN_OUT[name]))
    chart, expected = Chart.of(grammar), dict[str, float]()
    for text, likely, _ in ways_of(grammar, Call("origin"), {}, 8):
        expected[text] = expected.get(text, 0.0) + likely
    left = 1 - sum(expected.values())  # what is longer than was looked at
    assert left < 0.01
    for text, likely in expected.items():
        scored = math.exp(chart.logprob(text))
        assert likely - 1e-12 <= scored <= likely + left + 1e-12, text
    drawn = {Sampler(grammar).draw(seed).text for seed in range(50)}
    assert drawn <= set(expected) or left


CONDITIONS = """
[rules]
origin = ["[w:sun]#a##a#", "[w:#rain#]#a#"]
rain = { rain = 2, snow = 1 }
a = ["-", { text = "s", when = { w = "sun" }, weight = 2 },
     { text = "r", when = { w = ["rain", "snow"] } }]
"""


def test_conditions_are_scored():
    chart = Chart.of(parse_grammar(CONDITIONS))
    expected = {"ss": 2 / 9, "s-": 1 / 9, "-s": 1 / 9, "--": 1 / 18, "r": 1 / 4, "-": 1 / 4}
    for text, likely in expected.items():
        assert math.exp(chart.logprob(text)) == pytest.approx(likely)


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        ({"origin": "[x:#y#]#x#", "y": ["a", "a#y#"]}, "no end of texts"),
        ({"origin": "#x.replace(a,b)#", "x": ["a", "a#x#"]}, "no end of texts"),
        ({"origin": ["#x#", "[x:1]#x#"]}, "before anything is saved"),
        ({"origin": "[x:#n##n##n##n##n#]#x#", "n": [*"abcdefghij"]}, "more than 20,000 texts"),
        ({"origin": "#x#", "x": ["a", "[y:1]#x#"]}, "again and again"),
        ({"origin": "#x#", "x": ["a", "[y:POP][y:1]#x#"]}, "comes back to itself"),
    ],
)
def test_what_cannot_be_computed_is_told(rules, reason):
    with pytest.raises(WenmoError, match=reason):
        Chart.of(parse_grammar(json.dumps(rules)))


# -- what it stands on -----------------------------------------------------------------------------


def test_components_come_after_what_they_lead_to():
    graph = {1: [2, 3], 2: [1, 4], 3: [3], 4: [5], 5: [4], 6: []}
    found = [sorted(part) for part in components(graph)]
    assert sorted(found) == [[1, 2], [3], [4, 5], [6]]
    assert found.index([4, 5]) < found.index([1, 2])
    assert found.index([3]) < found.index([1, 2])


def test_the_least_solution():
    solved = least({"x": [(0.7, ["x", "x"]), (0.3, [])], "y": [(0.5, ["x", "y"]), (0.5, ["x"])]})
    x = 3 / 7
    assert solved["x"] == pytest.approx(x)
    assert solved["y"] == pytest.approx(0.5 * x / (1 - 0.5 * x))
    assert least({"x": [(0.5, ["x", "x"]), (0.5, [])]})["x"] == pytest.approx(1, abs=1e-6)


def test_sums_over_paths_are_an_inverse():
    rows = paths({1: {2: 0.5, 1: 0.25}, 2: {1: 0.5, 3: 0.5}})
    # 1 - 1/4 - 1/4 of all circles at 1.
    assert rows[1] == {1: pytest.approx(2), 2: pytest.approx(1), 3: pytest.approx(0.5)}
    assert rows[3] == {3: 1}
