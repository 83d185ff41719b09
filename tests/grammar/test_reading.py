"""The native format, and the one-line errors of invalid grammars."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from wenmo.grammar.ast import Grammar
from wenmo.grammar.chart import Chart
from wenmo.grammar.printing import to_toml
from wenmo.grammar.reading import MAX_BYTES, parse_grammar, read_grammar
from wenmo.grammar.sampler import Sampler
from wenmo.types import WenmoError

CHINESE = """
start = "句"
depth = 20

[rules]
"句" = ["我看见#数##@.量##名@#。", { text = "#人#说：“#句#”", weight = 0.5 }]
"数" = ["一", "三"]
"人" = { "小明" = 2, "老师" = 1 }

[[rules."名"]]
text = ["猫", "狗"]
"量" = "只"

[[rules."名"]]
text = "书"
"量" = "本"
weight = 2
"""

ENGLISH = """
[rules]
origin = ["the #noun@1# #verb@1# the #noun#", "#np@1# #verb@1#"]
np = ["every #noun@#", { text = "we", number = "plural" }]
noun = [
  { text = "cat", number = "singular" },
  { text = "cats", number = "plural" },
  "sheep",
]
verb = [{ text = "sees", number = "singular" }, { text = "see", number = "plural" }, "saw"]
"""

SAVED = """
[saved]
weather = "rain"

[rules]
origin = ["#today#", "[weather:sun]#today#", "[weather:snow]#today#"]
today = ["today", { text = "umbrella", when = { weather = "rain" } },
         { text = "walk", when = { weather = ["sun", "snow"] } }]
"""


def frequencies(grammar: Grammar, samples: int = 4000) -> dict[str, float]:
    sampler = Sampler(grammar)
    counts = Counter(sampler.sample(seed).text for seed in range(samples))
    return {text: count / samples for text, count in counts.items()}


def test_weights_in_tables_of_texts_and_of_alternatives():
    grammar = parse_grammar(CHINESE)
    assert grammar.depth == 20
    assert [a.weight for a in grammar.rules["人"]] == [2, 1]
    assert [a.weight for a in grammar.rules["句"]][-1] == 0.5


def test_measure_word_agrees_with_noun():
    shares = frequencies(parse_grammar(CHINESE))
    simple = {text: share for text, share in shares.items() if len(text) == 7}
    assert set(simple) == {f"我看见{n}{m}。" for n in "一三" for m in ("只猫", "只狗", "本书")}
    total = sum(simple.values())
    books = sum(share for text, share in simple.items() if "书" in text)
    assert books / total == pytest.approx(0.5, abs=0.04)  # by its weight


def test_calls_of_a_group_agree():
    texts = set(frequencies(parse_grammar(ENGLISH)))
    assert "the cat sees the cats" in texts
    assert "the cats see the cat" in texts
    assert {"the sheep sees the cat", "the sheep see the cat", "the cat saw the cat"} <= texts
    assert {"every cat sees", "every cats see", "we see", "we saw"} <= texts
    assert not {"the cat see the cat", "the cats sees the cat", "we sees", "every cat see"} & texts


def test_agreement_keeps_weights_of_alternatives():
    shares = frequencies(parse_grammar(ENGLISH))
    first = sum(share for text, share in shares.items() if text.startswith("the"))
    assert first == pytest.approx(0.5, abs=0.03)


def test_feature_is_inserted_and_modified():
    text = """
    [rules]
    origin = "#@x.kind.capitalize#: #thing@x#"
    thing = [{ text = "owl", kind = "bird" }, { text = "oak", kind = "tree" }]
    """
    assert set(frequencies(parse_grammar(text), 50)) == {"Bird: owl", "Tree: oak"}


def test_conditions_depend_on_saved_texts():
    shares = frequencies(parse_grammar(SAVED))
    assert set(shares) == {"today", "umbrella", "walk"}
    assert shares["umbrella"] == pytest.approx(1 / 6, abs=0.03)


@pytest.mark.parametrize("text", [CHINESE, ENGLISH, SAVED])
def test_printing_round_trip(text):
    grammar = parse_grammar(text)
    again = parse_grammar(to_toml(grammar))
    assert to_toml(again) == to_toml(grammar)
    before, after = Sampler(grammar), Sampler(again)
    assert [before.sample(n).text for n in range(99)] == [after.sample(n).text for n in range(99)]


def test_special_characters_survive_printing():
    text = r"""
    [rules]
    origin = '#[a\:b:x]c.replace(\,,\))##[n:1\,2,#d#]n# \# \[ \\ @ . [#d#]'
    c = "1,2"
    d = "\u007F\u0001\"\n"
    """
    grammar = parse_grammar(text)
    again = parse_grammar(to_toml(grammar))
    assert again.rules["origin"][0].nodes == grammar.rules["origin"][0].nodes
    assert Sampler(again).sample(5).text == Sampler(grammar).sample(5).text


INVALID = {
    '{"origin": "#nmae#", "name": "x"}': "'origin' calls #nmae#: .* did you mean 'name'",
    '{"origin": "#x.capitalise#", "x": "x"}': "unknown modifier 'capitalise'; .* 'capitalize'",
    '{"origin": "#x.replace(a)#", "x": "x"}': "'replace' takes 2 arguments, not 1",
    '{"origin": "a #x", "x": "x"}': r"# at character 3 is not closed \(write \\# ",
    '{"origin": ["a", "a [x:y"]}': r"'origin', alternative 2: \[ at character 3 is not closed",
    '{"origin": "a ] b"}': "unmatched ]",
    '{"origin": "##"}': "empty tag",
    '{"origin": "#x.#", "x": "x"}': "unknown modifier ''",
    '{"orign": "x"}': "no start rule 'origin'; did you mean 'orign'",
    '{"top": "#b#", "b": "x"}': 'no other rule calls top: add the rule "origin": "#top#"',
    '{"origin": "#a#", "a": "#b#", "b": ["#a#x", "#b#"]}': "rule 'a' never ends",
    '{"origin": ["x", "#origin#"],\n"a": 3\n"b": 4}': r":3: not valid JSON",
    '{"origin": []}': "no alternative with a weight above 0",
    '{"origin": {"a": 0}}': "no alternative with a weight above 0",
    '{"origin": {"a": -1}}': "weight -1: must be from 0 to 1e.15",
    '{"origin": {"a": "b"}}': "weight 'b': must be a number",
    '{"origin": [["a"]]}': "must be a text, or a table with a text",
    '{"origin": [true]}': "must be a text, or a table with a text",
    '{"origin": [{"text": "a", "kind": "b"}]}': "kind: a feature must be a text, and the",
    "{}": "no rules",
    "[1": "not valid TOML",
    "rules = 3": "no rules: they go in",
    "[rules]\norigin = 'x'\n[rule]": "unknown key 'rule'; did you mean 'rules'",
    "depth = 0\n[rules]\norigin = 'x'": "depth: must be an integer from 1 to 200",
    "start = 3\n[rules]\norigin = 'x'": "start: not the name of a rule",
    "saved = 3\n[rules]\norigin = 'x'": "saved: must map names to texts",
    "[rules]\norigin = {text = 'x', when = {a = 'b'}}": "has a condition on 'a'",
    "[rules]\norigin = {text = 'x', when = 'b'}": "when: must map names",
    "[rules]\norigin = '#@.kind# #x@#'\nx = 'y'": "uses the feature 'kind' in .* not every",
    "[rules]\norigin = '#@x#'": "needs the name of a feature",
    "[rules]\norigin = '[a:#x@#]#a#'\nx = 'y'": "@ is not allowed in an action",
    "[rules]\norigin = '#x@##y@#'\nx = {text='x', k='1'}\ny = {text='y', k='2'}": "never agree",
    '{"origin": "' + "[a:" * 40 + '"}': "more than 30 nested actions",
    "{" + '"a":{' * 5000: "nested too deeply",
    "a = " + "[" * 5000: "nested too deeply",
    '{"origin": "#a0#",'
    + ",".join(f'"a{n}": "#a{n + 1}#"' for n in range(300))
    + ', "a300": "x"}': "needs 302 nested rules to end",
}


@pytest.mark.parametrize("text", INVALID, ids=range(len(INVALID)))
def test_invalid_grammars_are_refused_in_one_line(text):
    with pytest.raises(WenmoError, match=INVALID[text]) as caught:
        parse_grammar(text, "my.json")
    assert str(caught.value).startswith("my.json")
    assert "\n" not in str(caught.value)


def test_unreadable_files(tmp_path):
    (tmp_path / "large.json").write_bytes(b" " * (MAX_BYTES + 1))
    (tmp_path / "latin.json").write_bytes(b'{"origin": "\xe9"}')
    (tmp_path / "bom.json").write_bytes('\ufeff{"origin": "春"}'.encode())
    with pytest.raises(WenmoError, match="no such file"):
        read_grammar(tmp_path / "none.json")
    with pytest.raises(WenmoError, match="larger than the 4 MB"):
        read_grammar(tmp_path / "large.json")
    with pytest.raises(WenmoError, match="not UTF-8"):
        read_grammar(tmp_path / "latin.json")
    assert Sampler(read_grammar(tmp_path / "bom.json")[0]).sample(0).text == "春"


BOMBS = {  # rules, and the errors of sampling and of scoring, if any
    "doubling": (
        {f"a{n}": f"#a{n + 1}##a{n + 1}#" for n in range(60)} | {"a60": "x"},
        "more than 100,000 rules",
        None,
    ),
    "saving": ({"a0": "[x:y]" + "[x:#x##x#]" * 60 + "#x#"}, "1,000,000 characters", "too long"),
    "replacing": (
        {"a0": "#b" + ".replace(x,xxxxxxxx)" * 30 + "#", "b": "x"},
        "1,000,000 characters",
        "too long",
    ),
    "choosing": (
        {"a0": "".join(f"[x{n}:#b#]" for n in range(9)) + "#x0#", "b": [*"abcdefghij"]},
        None,
        "more than 20,000 texts",
    ),
    "stacking": ({"a0": ["x", "[b:1]#a0#"]}, None, "without bound"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_exponential_grammars_are_refused(name):
    rules, sampling_error, scoring_error = BOMBS[name]
    grammar = parse_grammar(json.dumps({"origin": "#a0#", **rules}))
    actions = {
        sampling_error: lambda: Sampler(grammar).sample(0),
        scoring_error: lambda: Chart.from_grammar(grammar),
    }
    for message, action in actions.items():
        if message is None:
            assert action()
        else:
            with pytest.raises(WenmoError, match=message):
                action()
