"""Tracery's documented behaviour, case by case, and where we mend what its users report."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from wenmo.grammar.modifiers import Modifier
from wenmo.grammar.reading import parse_grammar
from wenmo.grammar.sampler import Sampler
from wenmo.types import WenmoError


def write(rules: dict, seed: int = 0) -> str:
    return Sampler(parse_grammar(json.dumps(rules))).draw(seed).text


def all_of(rules: dict, draws: int = 200) -> set[str]:
    sampler = Sampler(parse_grammar(json.dumps(rules)))
    return {sampler.draw(seed).text for seed in range(draws)}


# -- symbols ---------------------------------------------------------------------------------------


def test_a_rule_is_a_list_of_texts_or_one():
    assert write({"origin": "hello"}) == "hello"
    assert all_of({"origin": ["a", "b"]}) == {"a", "b"}


def test_symbols_are_replaced_wherever_they_stand():
    rules = {"origin": "#a#, #a##b# 和#动物#", "a": "x", "b": "y", "动物": "猫"}
    assert write(rules) == "x, xy 和猫"


def test_each_call_chooses_anew():
    assert all_of({"origin": "#a##a#", "a": ["x", "y"]}) == {"xx", "xy", "yx", "yy"}


def test_a_text_that_stands_twice_is_taken_twice_as_often():
    sampler = Sampler(parse_grammar('{"origin": ["a", "a", "b"]}'))
    counts = Counter(sampler.draw(seed).text for seed in range(3000))
    assert counts["a"] / 3000 == pytest.approx(2 / 3, abs=0.03)


def test_a_number_is_its_digits():
    assert all_of({"origin": [1, "#two#"], "two": 2.5}) == {"1", "2.5"}


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
        assert write({"origin": f"#x.{modifier}#", "x": text}) == expected


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
def test_what_tracery_gets_wrong(modifier, text, expected):
    assert Modifier(modifier)(text) == expected


def test_modifiers_go_from_left_to_right():
    assert write({"origin": "#x.s.a.capitalize#", "x": "owl"}) == "An owls"
    assert write({"origin": "#x.a.s.uppercase#", "x": "owl"}) == "AN OWLS"


def test_replace_takes_two_texts():
    assert write({"origin": "#x.replace(a,oo)#", "x": "banana"}) == "boonoonoo"
    assert write({"origin": "#x.replace(.,!).capitalize#", "x": "a.b."}) == "A!b!"
    assert write({"origin": "#x.replace(\\,,;)#", "x": "a,b"}) == "a;b"
    assert write({"origin": "#x.replace(猫,狗)#", "x": "猫和猫"}) == "狗和狗"


# -- actions ---------------------------------------------------------------------------------------


def test_what_is_saved_is_the_same_each_time():
    rules = {"origin": "#[hero:#name#]story#", "name": ["A", "B"], "story": "#hero# and #hero#"}
    assert all_of(rules) == {"A and A", "B and B"}


def test_an_action_before_a_call_holds_for_that_call():
    rules = {
        "origin": "#[x:in]say# #x#",
        "say": "#x#",
        "x": "out",
    }
    assert write(rules) == "in out"


def test_an_action_by_itself_goes_on_until_it_is_popped():
    rules = {"origin": "#x#[x:1]#x#[x:2]#x#[x:POP]#x#[x:POP]#x#", "x": "0"}
    assert write(rules) == "01210"
    assert write({"origin": "[x:POP]#x#", "x": "0"}) == "0"  # there is nothing to be popped


def test_choices_are_saved_between_commas():
    rules = {"origin": "[x:a,#b#,c]#x##x#", "b": ["b", "d"]}
    written = all_of(rules)
    assert {"ab", "cc", "dd", "bb", "ca"} <= written
    assert not any("b" in text and "d" in text for text in written)  # #b# was written once


def test_saves_within_saves():
    rules = {
        "origin": "#[hero:#[mood:#m#]name#]story#",
        "m": ["sad", "glad"],
        "name": "#mood# Ann",
        "story": "#hero#, #hero.capitalize#",
    }
    assert all_of(rules) == {"sad Ann, Sad Ann", "glad Ann, Glad Ann"}


def test_a_rule_may_be_written_for_what_it_saves():
    rules = {
        "origin": "#[#who#]story#",
        "who": ["[they:she][them:her]", "[they:he][them:him]"],
        "story": "#they# saw #them#",
    }
    assert all_of(rules) == {"she saw her", "he saw him"}


def test_several_actions_before_one_call():
    rules = {"origin": "#[a:1][b:#a#2]c#", "c": "#a#-#b#"}
    assert write(rules) == "1-12"


def test_a_text_begins_with_nothing_saved():
    sampler = Sampler(parse_grammar('{"origin": "#x#[x:new]", "x": "old"}'))
    assert [sampler.draw(seed).text for seed in range(3)] == ["old"] * 3


def test_what_is_saved_is_text_and_no_rule():
    assert write({"origin": "[x:\\#a\\#]#x#", "a": "no"}) == "#a#"


def test_colons_and_commas_within_tags_are_no_signs():
    assert write({"origin": "[x:#y.replace(a,b)#:1]#x#", "y": "a,a"}) == "b,b:1"


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
def test_a_backslash_takes_the_next_sign_as_it_is(text, expected):
    assert write({"origin": text}) == expected


# -- recursion -------------------------------------------------------------------------------------


def test_a_rule_may_come_back_to_itself():
    rules = {"origin": ["#x#"], "x": ["a", "a#x#"]}
    written = all_of(rules)
    assert {"a", "aa", "aaa"} <= written
    assert all(set(text) == {"a"} for text in written)


def test_texts_end_though_most_of_the_weight_goes_on():
    """Tracery's stack overflows half of the time."""
    sampler = Sampler(parse_grammar('{"origin": ["1", "#origin#+#origin#", "#origin#-#origin#"]}'))
    texts = [sampler.draw(seed).text for seed in range(300)]
    # Given that it ends, a text is a single 1 with probability 1/3 over 1/2.
    assert texts.count("1") / 300 == pytest.approx(2 / 3, abs=0.09)


def test_depth_bounds_recursion():
    text = json.dumps({"origin": {"x": 1e-9, "(#origin#)": 1}})
    for depth in (1, 5, 40):
        assert write_at(text, depth) == "(" * depth + "x" + ")" * depth
    with pytest.raises(WenmoError, match="'loop' never ends"):
        parse_grammar('{"origin": ["a", "#b#"], "b": "#loop#", "loop": ["#loop#b", "#b#"]}')


def write_at(text: str, depth: int) -> str:
    return Sampler(parse_grammar(text), depth=depth).draw(0).text
