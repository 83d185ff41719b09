"""The chart against brute force: the probabilities of all texts, by fixed-point iteration."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from wenmo.grammar.ast import Call, Evaluate, Grammar, Node, Pop, Save
from wenmo.grammar.chart import Chart
from wenmo.grammar.fixpoint import components, least_solution, path_sums
from wenmo.grammar.reading import parse_grammar
from wenmo.grammar.sampler import Sampler
from wenmo.types import WenmoError

MAX_LENGTH = 4  # characters of the enumerated texts
TOLERANCE = 1e-13


def text_probs(grammar: Grammar, max_length: int = MAX_LENGTH) -> dict[str, float]:
    """The probability of each text up to a length with plain weights, by repeated substitution. It
    uses no code of the chart.
    """
    probs: dict[str, dict[str, float]] = {name: {} for name in grammar.rules}
    for _ in range(2000):
        changed, before = 0.0, probs
        probs = {}
        for name, rule in grammar.rules.items():
            total = sum(alternative.weight for alternative in rule)
            found: dict[str, float] = {}
            for alternative in rule:
                partial = {"": alternative.weight / total}
                for node in alternative.nodes:
                    texts = before[node.symbol] if isinstance(node, Call) else {node: 1.0}
                    joined: dict[str, float] = {}
                    for left, p in partial.items():
                        for right, q in texts.items():
                            if len(left + right) <= max_length:
                                joined[left + right] = joined.get(left + right, 0.0) + p * q
                    partial = joined
                for text, p in partial.items():
                    found[text] = found.get(text, 0.0) + p
            probs[name] = found
            changed = max(changed, *(abs(p - before[name].get(t, 0)) for t, p in found.items()), 0)
        if changed < TOLERANCE:
            return probs[grammar.start]
    assume(False)
    raise AssertionError


def ending_prob(grammar: Grammar) -> float:
    """The probability that a derivation is finite, by fixed-point iteration."""
    total = dict.fromkeys(grammar.rules, 0.0)
    for _ in range(5000):
        before = total
        total = {
            name: sum(
                a.weight * math.prod(before[p.symbol] for p in a.nodes if isinstance(p, Call))
                for a in rule
            )
            / sum(a.weight for a in rule)
            for name, rule in grammar.rules.items()
        }
        if max(abs(total[name] - before[name]) for name in total) < TOLERANCE:
            return total[grammar.start]
    assume(False)
    raise AssertionError


PARTS = st.lists(st.sampled_from(["a", "b", "#origin#", "#x#", "#y#"]), max_size=3).map("".join)
RULE = st.dictionaries(PARTS, st.integers(1, 3), min_size=1, max_size=3)


@st.composite
def grammars(draw: st.DrawFn) -> Grammar:
    """Small grammars: ambiguous, left-recursive, with empty texts and with cycles of unit
    productions.
    """
    rules = {name: draw(RULE) for name in ("origin", "x", "y")}
    try:
        return parse_grammar(json.dumps(rules))
    except WenmoError:
        assume(False)
        raise


def approx(value: float) -> object:
    return pytest.approx(value, rel=1e-6, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(grammar=grammars())
def test_logprob_sums_over_derivations(grammar):
    expected, total, chart = text_probs(grammar), ending_prob(grammar), Chart.from_grammar(grammar)
    for text, prob in expected.items():
        assert math.exp(chart.logprob(text)) == approx(prob / total)
    for text in ("abab", "aaaa", "b", "", "c"):
        if text not in expected:
            assert chart.logprob(text) == -math.inf


@settings(max_examples=30, deadline=None)
@given(grammar=grammars(), text=st.text("ab", max_size=4))
def test_next_char_probs_sum_to_one_and_match_advance(grammar, text):
    ending_prob(grammar)  # skip critical grammars
    chart = Chart.from_grammar(grammar)
    column = chart.start
    for character in text:
        next_probs = chart.next_char_probs(column)
        assert sum(next_probs.values()) + column.end_prob == approx(1)
        after = chart.advance(column, character)
        assert (after is None) == (character not in next_probs)
        if after is None:
            return
        assert after.logprob - column.logprob == approx(math.log(next_probs[character]))
        column = after


@pytest.mark.parametrize(
    "rules",
    [
        {"origin": ["#a##b#", "#b##a#"], "a": {"x": 1, "xy": 2, "": 3}, "b": ["y", "yx", "#a#"]},
        {"origin": ["#句##句#"], "句": {"春#花#": 3, "春眠": 1}, "花": ["花", "眠", "花花"]},
    ],
)
def test_prefix_probs_are_sums_of_text_probs(rules):
    grammar = parse_grammar(json.dumps(rules))
    texts, chart = text_probs(grammar, max_length=99), Chart.from_grammar(grammar)
    assert sum(texts.values()) == pytest.approx(1)
    for text in texts:
        for length in range(len(text) + 1):
            prefix = text[:length]
            column = chart.parse(prefix)[-1]
            prefix_prob = sum(p for other, p in texts.items() if other.startswith(prefix))
            assert math.exp(column.logprob) == approx(prefix_prob)
            assert column.end_prob == approx(texts.get(prefix, 0) / prefix_prob)
            for character, prob in chart.next_char_probs(column).items():
                longer = prefix + character
                more = sum(p for other, p in texts.items() if other.startswith(longer))
                assert prob == approx(more / prefix_prob)


def test_long_texts_neither_underflow_nor_overflow():
    chart = Chart.from_grammar(
        parse_grammar('{"origin": {"": 1, "#c##origin#": 999}, "c": ["a", "b", "c"]}')
    )
    text = "abc" * 100
    assert chart.logprob(text) == pytest.approx(300 * math.log(0.999 / 3) + math.log(0.001))


def test_many_nullable_symbols_take_no_exponential_time():
    rules = {"origin": "#o#" * 40, "o": ["", "x"]}
    chart = Chart.from_grammar(parse_grammar(json.dumps(rules)))
    for count in (0, 1, 7, 40):
        assert chart.logprob("x" * count) == pytest.approx(
            math.log(math.comb(40, count)) - 40 * math.log(2)
        )


def test_next_char_probs_by_symbol():
    grammar = parse_grammar('{"origin": ["#a#!", "a#b#"], "a": ["ax", "by"], "b": "b"}')
    chart = Chart.from_grammar(grammar)
    probs = chart.next_char_probs_by_symbol(chart.start)
    named = {chart.cfg.rules[symbol]: row for symbol, row in probs.items()}
    assert named == {"origin": {"a": 0.5}, "a": {"a": 0.25, "b": 0.25}}


# -- saved texts and modifiers ---------------------------------------------------------------------

SAVED_AND_MODIFIED = {
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


def expansions(
    grammar: Grammar, nodes: Sequence[Node], saved: dict[str, tuple], depth: int
) -> Iterator[tuple[str, float, dict[str, tuple]]]:
    """The texts of nodes, with their probabilities and the saved texts after them."""
    if not nodes:
        yield "", 1.0, saved
        return
    for text, p, after in expansions_of(grammar, nodes[0], saved, depth):
        for more, q, last in expansions(grammar, nodes[1:], after, depth):
            yield text + more, p * q, last


def expansions_of(
    grammar: Grammar, node: Node, saved: dict[str, tuple], depth: int
) -> Iterator[tuple[str, float, dict[str, tuple]]]:
    if isinstance(node, str):
        yield node, 1.0, saved
    elif isinstance(node, Evaluate):
        for _, p, after in expansions(grammar, node.nodes, saved, depth):
            yield "", p, after
    elif isinstance(node, Save):
        texts: list[tuple[tuple[str, ...], float, dict[str, tuple]]] = [((), 1.0, saved)]
        for value in node.values:
            texts = [
                ((*before, text), p * q, last)
                for before, p, after in texts
                for text, q, last in expansions(grammar, value, after, depth)
            ]
        for choices, p, after in texts:
            yield "", p, {**after, node.name: (*after.get(node.name, ()), choices)}
    elif isinstance(node, Pop):
        yield "", 1.0, {**saved, node.name: saved.get(node.name, ())[:-1]}
    else:
        for _, p, within in expansions(grammar, node.actions, saved, depth):
            for text, q, after in expansions_of_call(grammar, node, within, depth):
                for modifier in node.modifiers:
                    text = modifier(text)
                for action in node.actions:
                    if isinstance(action, Save):
                        after = {**after, action.name: after[action.name][:-1]}
                yield text, p * q, after


def expansions_of_call(
    grammar: Grammar, call: Call, saved: dict[str, tuple], depth: int
) -> Iterator[tuple[str, float, dict[str, tuple]]]:
    if saved.get(call.symbol):
        texts = saved[call.symbol][-1]
        yield from ((text, 1 / len(texts), saved) for text in texts)
        return
    rule = grammar.rules[call.symbol]
    for alternative in rule if depth else ():
        alternative_prob = alternative.weight / sum(a.weight for a in rule)
        for text, p, after in expansions(grammar, alternative.nodes, saved, depth - 1):
            yield text, alternative_prob * p, after


@pytest.mark.parametrize("name", SAVED_AND_MODIFIED)
def test_saved_and_modified_texts_have_their_sampled_probs(name):
    grammar = parse_grammar(json.dumps(SAVED_AND_MODIFIED[name]))
    chart, expected = Chart.from_grammar(grammar), dict[str, float]()
    for text, prob, _ in expansions_of(grammar, Call("origin"), {}, 8):
        expected[text] = expected.get(text, 0.0) + prob
    missing = 1 - sum(expected.values())  # the probability of longer texts
    assert missing < 0.01
    for text, prob in expected.items():
        scored = math.exp(chart.logprob(text))
        assert prob - 1e-12 <= scored <= prob + missing + 1e-12, text
    sampled = {Sampler(grammar).sample(seed).text for seed in range(50)}
    assert sampled <= set(expected) or missing


CONDITIONS = """
[rules]
origin = ["[w:sun]#a##a#", "[w:#rain#]#a#"]
rain = { rain = 2, snow = 1 }
a = ["-", { text = "s", when = { w = "sun" }, weight = 2 },
     { text = "r", when = { w = ["rain", "snow"] } }]
"""


def test_logprob_respects_conditions():
    chart = Chart.from_grammar(parse_grammar(CONDITIONS))
    expected = {"ss": 2 / 9, "s-": 1 / 9, "-s": 1 / 9, "--": 1 / 18, "r": 1 / 4, "-": 1 / 4}
    for text, prob in expected.items():
        assert math.exp(chart.logprob(text)) == pytest.approx(prob)


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        ({"origin": "[x:#y#]#x#", "y": ["a", "a#y#"]}, "infinitely many texts"),
        ({"origin": "#x.replace(a,b)#", "x": ["a", "a#x#"]}, "infinitely many texts"),
        ({"origin": ["#x#", "[x:1]#x#"]}, "before anything is saved"),
        ({"origin": "[x:#n##n##n##n##n#]#x#", "n": [*"abcdefghij"]}, "more than 20,000 texts"),
        ({"origin": "#x#", "x": ["a", "[y:1]#x#"]}, "without bound"),
        ({"origin": "#x#", "x": ["a", "[y:POP][y:1]#x#"]}, "is recursive"),
    ],
)
def test_intractable_grammars_are_refused_with_a_reason(rules, reason):
    with pytest.raises(WenmoError, match=reason):
        Chart.from_grammar(parse_grammar(json.dumps(rules)))


# -- fixed points ----------------------------------------------------------------------------------


def test_components_are_in_reverse_topological_order():
    graph = {1: [2, 3], 2: [1, 4], 3: [3], 4: [5], 5: [4], 6: []}
    found = [sorted(node) for node in components(graph)]
    assert sorted(found) == [[1, 2], [3], [4, 5], [6]]
    assert found.index([4, 5]) < found.index([1, 2])
    assert found.index([3]) < found.index([1, 2])


def test_least_solution():
    solved = least_solution(
        {"x": [(0.7, ["x", "x"]), (0.3, [])], "y": [(0.5, ["x", "y"]), (0.5, ["x"])]}
    )
    x = 3 / 7
    assert solved["x"] == pytest.approx(x)
    assert solved["y"] == pytest.approx(0.5 * x / (1 - 0.5 * x))
    assert least_solution({"x": [(0.5, ["x", "x"]), (0.5, [])]})["x"] == pytest.approx(1, abs=1e-6)


def test_path_sums_are_a_matrix_inverse():
    rows = path_sums({1: {2: 0.5, 1: 0.25}, 2: {1: 0.5, 3: 0.5}})
    # 1 / (1 - 1/4 - 1/4) from the cycles at node 1.
    assert rows[1] == {1: pytest.approx(2), 2: pytest.approx(1), 3: pytest.approx(0.5)}
    assert rows[3] == {3: 1}
