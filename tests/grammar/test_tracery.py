"""Tracery's documented behaviour, case by case, and fixes of what its users report."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from wenmo.grammar.modifiers import Modifier
from wenmo.grammar.reading import parse_grammar
from wenmo.grammar.sampler import Sampler
from wenmo.types import WenmoError


def generate(rules: dict, seed: int = 0) -> str:
    return Sampler(parse_grammar(json.dumps(rules))).sample(seed).text


def sample_set(rules: dict, count: int = 200) -> set[str]:
    sampler = Sampler(parse_grammar(json.dumps(rules)))
    return {sampler.sample(seed).text for seed in range(count)}


# -- symbols ---------------------------------------------------------------------------------------


def test_rule_is_a_text_or_a_list_of_texts():
    assert generate({"origin": "hello"}) == "hello"
    assert sample_set({"origin": ["a", "b"]}) == {"a", "b"}


def test_calls_are_expanded_anywhere_in_a_text():
    rules = {"origin": "#a#, #a##b# 和#动物#", "a": "x", "b": "y", "动物": "猫"}
    assert generate(rules) == "x, xy 和猫"


def test_calls_choose_independently():
    assert sample_set({"origin": "#a##a#", "a": ["x", "y"]}) == {"xx", "xy", "yx", "yy"}


def test_repeated_alternative_is_twice_as_frequent():
    sampler = Sampler(parse_grammar('{"origin": ["a", "a", "b"]}'))
    counts = Counter(sampler.sample(seed).text for seed in range(3000))
    assert counts["a"] / 3000 == pytest.approx(2 / 3, abs=0.03)


def test_numbers_are_texts():
    assert sample_set({"origin": [1, "#two#"], "two": 2.5}) == {"1", "2.5"}


# -- modifiers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("modifier", "cases"),
    [
        ("capitalize", {"word": "Word", "two words": "Two words", "éa": "Éa", "": ""}),
        ("capitalizeAll", {"two small words": "Two Small Words", "a-b": "A-B"}),
        ("a", {"owl": "an owl", "cat": "a cat", "Emu": "an Emu", "unicorn": "a unicorn"}),
        ("s", {"cat": "cats", "fox": "foxes", "boss": "bosses", "fly": "flies", "day": "days"}),
        ("ed", {"walk": "walked", "bake": "baked", "cry": "cried", "wish": "wished"}),
        ("firstS", {"king of frogs": "kings of frogs", "cat": "cats"}),
        ("uppercase", {"aé1": "AÉ1"}),
        ("lowercase", {"AÉ1": "aé1"}),
        ("inQuotes", {"so": '"so"'}),
        ("comma", {"so": "so,", "so.": "so.", "好。": "好。"}),
    ],
)
def test_modifiers(modifier, cases):
    assert {text: Modifier(modifier)(text) for text in cases} == cases
    for text, expected in cases.items():
        assert generate({"origin": f"#x.{modifier}#", "x": text}) == expected


@pytest.mark.parametrize(
    ("modifier", "text", "expected"),
    [
        ("a", "unimportant thing", "an unimportant thing"),  # Tracery: a unimportant
        ("a", "hour", "an hour"),  # a hour
        ("a", "user", "a user"),  # an user
        ("a", "one-eyed cat", "a one-eyed cat"),  # an one-eyed cat
        ("s", "month", "months"),  # monthes
        ("s", "quiz", "quizes"),  # quizs
        ("ed", "play", "played"),  # playd
        ("capitalizeAll", "don't stop", "Don't Stop"),  # Don'T Stop
    ],
)
def test_modifiers_that_tracery_gets_wrong(modifier, text, expected):
    assert Modifier(modifier)(text) == expected


def test_modifiers_apply_from_left_to_right():
    assert generate({"origin": "#x.s.a.capitalize#", "x": "owl"}) == "An owls"
    assert generate({"origin": "#x.a.s.uppercase#", "x": "owl"}) == "AN OWLS"


def test_replace():
    assert generate({"origin": "#x.replace(a,oo)#", "x": "banana"}) == "boonoonoo"
    assert generate({"origin": "#x.replace(.,!).capitalize#", "x": "a.b."}) == "A!b!"
    assert generate({"origin": "#x.replace(\\,,;)#", "x": "a,b"}) == "a;b"
    assert generate({"origin": "#x.replace(猫,狗)#", "x": "猫和猫"}) == "狗和狗"


# -- actions ---------------------------------------------------------------------------------------


def test_saved_text_is_the_same_at_each_call():
    rules = {"origin": "#[hero:#name#]story#", "name": ["A", "B"], "story": "#hero# and #hero#"}
    assert sample_set(rules) == {"A and A", "B and B"}


def test_action_in_a_call_lasts_for_that_call():
    rules = {
        "origin": "#[x:in]say# #x#",
        "say": "#x#",
        "x": "out",
    }
    assert generate(rules) == "in out"


def test_separate_action_lasts_until_popped():
    rules = {"origin": "#x#[x:1]#x#[x:2]#x#[x:POP]#x#[x:POP]#x#", "x": "0"}
    assert generate(rules) == "01210"
    assert generate({"origin": "[x:POP]#x#", "x": "0"}) == "0"  # the stack is empty


def test_save_of_several_texts():
    rules = {"origin": "[x:a,#b#,c]#x##x#", "b": ["b", "d"]}
    texts = sample_set(rules)
    assert {"ab", "cc", "dd", "bb", "ca"} <= texts
    assert not any("b" in text and "d" in text for text in texts)  # #b# was expanded once


def test_nested_saves():
    rules = {
        "origin": "#[hero:#[mood:#m#]name#]story#",
        "m": ["sad", "glad"],
        "name": "#mood# Ann",
        "story": "#hero#, #hero.capitalize#",
    }
    assert sample_set(rules) == {"sad Ann, Sad Ann", "glad Ann, Glad Ann"}


def test_rule_expanded_for_its_saved_texts():
    rules = {
        "origin": "#[#who#]story#",
        "who": ["[they:she][them:her]", "[they:he][them:him]"],
        "story": "#they# saw #them#",
    }
    assert sample_set(rules) == {"she saw her", "he saw him"}


def test_several_actions_in_a_call():
    rules = {"origin": "#[a:1][b:#a#2]c#", "c": "#a#-#b#"}
    assert generate(rules) == "1-12"


def test_saved_texts_do_not_outlast_a_text():
    sampler = Sampler(parse_grammar('{"origin": "#x#[x:new]", "x": "old"}'))
    assert [sampler.sample(seed).text for seed in range(3)] == ["old"] * 3


def test_saved_text_is_not_expanded_again():
    assert generate({"origin": "[x:\\#a\\#]#x#", "a": "no"}) == "#a#"


def test_colons_and_commas_in_tags_are_literal():
    assert generate({"origin": "[x:#y.replace(a,b)#:1]#x#", "y": "a,a"}) == "b,b:1"


# -- escapes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\\#a\\#", "#a#"),
        ("\\[a:b\\]", "[a:b]"),
        ("a\\\\b", "a\\b"),
        ("[x:a\\,b]#x#", "a,b"),
        ("100 % (so.) @home", "100 % (so.) @home"),
        ("email@example.com", "email@example.com"),
    ],
)
def test_backslash_escapes_the_next_character(text, expected):
    assert generate({"origin": text}) == expected


# -- recursion -------------------------------------------------------------------------------------


def test_recursive_rules():
    rules = {"origin": ["#x#"], "x": ["a", "a#x#"]}
    texts = sample_set(rules)
    assert {"a", "aa", "aaa"} <= texts
    assert all(set(text) == {"a"} for text in texts)


def test_recursion_ends_for_any_weights():
    """Tracery overflows the stack half of the time."""
    sampler = Sampler(parse_grammar('{"origin": ["1", "#origin#+#origin#", "#origin#-#origin#"]}'))
    texts = [sampler.sample(seed).text for seed in range(300)]
    # The probability of a single 1, given a finite derivation, is 1/3 over 1/2.
    assert texts.count("1") / 300 == pytest.approx(2 / 3, abs=0.09)


def test_depth_bounds_recursion():
    text = json.dumps({"origin": {"x": 1e-9, "(#origin#)": 1}})
    for depth in (1, 5, 40):
        assert generate_at_depth(text, depth) == "(" * depth + "x" + ")" * depth
    with pytest.raises(WenmoError, match="'loop' never ends"):
        parse_grammar('{"origin": ["a", "#b#"], "b": "#loop#", "loop": ["#loop#b", "#b#"]}')


def generate_at_depth(text: str, depth: int) -> str:
    return Sampler(parse_grammar(text), depth=depth).sample(0).text
