"""The automaton of English verse: what it allows is exactly what can be completed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wenmo.text.automaton import TextAutomaton
from wenmo.types import WenmoError
from wenmo.verse.english.form import EnglishForm
from wenmo.verse.english.pronunciation import pronounce
from wenmo.verse.form import load_form, read_form

SMALL = "abcdefghijklmnopqrstuvwxyz' \n"
PRINTABLE = [*map(chr, range(32, 127)), "\n"]
COMMON = """
    a an the and of i'm i in to we he she it is was my thy day way may say away today delay
    night light bright delight tonight sea see thee tree agree free love dove above glove sun one
    done son heart part art apart depart sweet feet meet complete repeat rose those close suppose
    summer winter golden silver lovely happy never ever over under water river garden morning
    beautiful remember december wandering yesterday eternal forever silence silent singing
    ringing bringing call'd o'er heav'n wander'd
"""


@pytest.fixture(scope="module")
def checker() -> ModuleType:
    """The judge of the benchmark, which shares no code with the automaton."""
    path = Path(__file__).parents[2] / "benchmarks" / "english_checker.py"
    spec = spec_from_file_location("english_checker", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def form(tmp_path: Path, text: str) -> EnglishForm:
    path = tmp_path / "form.toml"
    path.write_text('language = "en"\n' + text)
    found = read_form(path)
    assert isinstance(found, EnglishForm)
    return found


def line_texts(patterns: list[str], words: list[str]) -> Iterator[str]:
    """All lines of words, separated by spaces, whose syllables fit one of the patterns."""

    def extend(begun: str, left: set[str]) -> Iterator[str]:
        if begun and "" in left:
            yield begun
        for word in words:
            sound = pronounce(word)
            assert sound is not None
            stresses = sound.stresses.replace("2", "1")
            after = {
                pattern[len(stresses) :]
                for pattern in left
                if len(pattern) >= len(stresses)
                and (len(stresses) == 1 or all(map(fits, stresses, pattern)))
            }
            if after:
                yield from extend(f"{begun} {word}" if begun else word, after)

    yield from extend("", set(patterns))


def fits(stress: str, place: str) -> bool:
    return place == "?" or (stress == "1") == (place == "/")


def rhyming(lines: tuple[str, ...], scheme: str) -> bool:
    ends = [pronounce(line.split()[-1]) for line in lines]
    rhymes = [sound.rhyme if sound else None for sound in ends]
    for letter in set(scheme) - {"."}:
        group = [rhyme for rhyme, own in zip(rhymes, scheme, strict=True) if own == letter]
        if None in group or len(set(group)) < len(group):
            return False
        if len({tail for _, tail in group if tail}) > 1:
            return False
    return True


WORDS = ["a", "the", "dim", "him", "day", "may", "away", "delay", "hasty", "tasty"]
CASES: list[tuple[str, str, list[list[str]], dict[tuple[int, int], str]]] = [
    # keys of the form, rhymes, patterns of each line, first letters
    ('rhyme = "AA"\nmetre = "x/x"\n', "AA", [["x/x"]] * 2, {}),
    ('rhyme = "AA"\nmetre = "x/ | x/x"\n', "AA", [["x/", "x/x"]] * 2, {}),
    ('rhyme = "AAA"\nmetre = "x/"\n', "AAA", [["x/"]] * 3, {}),
    ("syllables = [1, 2, 1]\n", "...", [["?"], ["??"], ["?"]], {}),
    ('rhyme = "A.A"\nsyllables = [2, 1, 2]\n', "A.A", [["??"], ["?"], ["??"]], {}),
    ('rhyme = "AA"\nmetre = "x/ | /x/"\n', "AA", [["x/", "/x/"]] * 2, {(0, 0): "d", (1, 0): "A"}),
    ('rhyme = "AA"\nsyllables = 2\n', "AA", [["??"]] * 2, {(0, -1): "m", (1, 0): "t"}),
]


def poems(scheme: str, patterns: list[list[str]], fixed: dict[tuple[int, int], str]) -> set[str]:
    """All poems over the words of `WORDS`."""
    lines = []
    for number, (letter, alternatives) in enumerate(zip(scheme, patterns, strict=True)):
        first = fixed.get((number, 0), "").lower()
        last = fixed.get((number, -1), "")
        texts = {
            text
            for text in line_texts(alternatives, WORDS)
            if text.startswith(first) and text.endswith(last)
        }
        if letter != ".":
            texts = {text for text in texts if any(on_beat(text, each) for each in alternatives)}
        lines.append(texts)
    return {"\n".join(each) for each in product(*lines) if rhyming(each, scheme)}


def on_beat(text: str, pattern: str) -> bool:
    """Whether a line fits a pattern such that a last word of one syllable is on a beat."""
    words = text.split()
    fit = text in set(line_texts([pattern], words))
    last = pronounce(words[-1])
    return fit and last is not None and (last.syllables > 1 or pattern[-1] != "x")


@pytest.mark.parametrize(("text", "scheme", "patterns", "fixed"), CASES)
def test_allowed_is_exactly_what_can_be_completed(
    text: str,
    scheme: str,
    patterns: list[list[str]],
    fixed: dict[tuple[int, int], str],
    tmp_path: Path,
) -> None:
    automaton = form(tmp_path, text).automaton(SMALL, fixed=fixed, words=WORDS)
    expected = poems(scheme, patterns, fixed)
    assert expected
    prefixes: dict[str, set[str]] = {}
    for poem in expected:
        for end in range(len(poem)):
            prefixes.setdefault(poem[:end], set()).add(poem[end])
    shortest = min(map(len, expected))
    least, most = automaton.remaining(automaton.start)
    assert least <= shortest <= max(map(len, expected)) <= most

    checked = 0

    def walk(state: Any, text: str) -> None:
        nonlocal checked
        checked += 1
        allowed = automaton.allowed(state)
        assert not allowed.negated
        assert allowed.characters == prefixes.get(text, set()), text
        assert automaton.may_end(state) == (text in expected), text
        for character in allowed.characters:
            walk(automaton.advance(state, character), text + character)

    walk(automaton.start, "")
    assert checked > len(expected)


def sample(automaton: TextAutomaton, rng: random.Random) -> str:
    """A random text of an automaton."""
    state, text = automaton.start, ""
    while True:
        choices = sorted(automaton.allowed(state).characters)
        least, most = automaton.remaining(state)
        assert (least == 0) == automaton.may_end(state)
        assert least <= most
        if automaton.may_end(state) and (not choices or rng.random() < 0.7):
            return text
        assert choices, text
        weights = [rng.random() ** 2 + 1e-9 for _ in choices]
        character = rng.choices(choices, weights)[0]
        state, text = automaton.advance(state, character), text + character


@pytest.mark.parametrize("name", ["sonnet", "limerick", "haiku", "rhymed-couplet"])
@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_whatever_is_written_keeps_the_form(name: str, checker: ModuleType, seed: int) -> None:
    found = load_form(name)
    assert isinstance(found, EnglishForm)
    text = sample(found.automaton(PRINTABLE, words=frozenset(COMMON.split())), random.Random(seed))
    verdict = found.check(text)
    assert verdict.valid, (text, verdict.reasons)
    faults, _, _ = checker.judge(name, text)
    assert faults == [], text


def test_lines_may_have_given_first_letters() -> None:
    haiku = load_form("haiku")
    assert isinstance(haiku, EnglishForm)
    automaton = haiku.automaton(
        PRINTABLE, fixed={(0, 0): "S", (1, 0): "e", (2, 0): "A"}, words=frozenset(COMMON.split())
    )
    text = sample(automaton, random.Random(1))
    assert [line[0].lower() for line in text.split("\n")] == ["s", "e", "a"]


def test_i_is_always_a_capital(tmp_path: Path) -> None:
    found = form(tmp_path, "syllables = [1]\n")
    automaton = found.automaton("iI n", words=["i", "in", "i'm"])
    assert automaton.allowed(automaton.start).characters == {"i", "I"}
    small = automaton.advance(automaton.start, "i")
    assert automaton.allowed(small).characters == {"n"}
    assert not automaton.may_end(small)
    capital = automaton.advance(automaton.start, "I")
    assert automaton.may_end(capital)


def test_marks_hyphens_and_dashes_stand_between_words(tmp_path: Path) -> None:
    automaton = form(tmp_path, "syllables = [2, 1]\n").automaton("ab-, \n", words=["a", "ab"])

    def follow(text: str) -> frozenset[str]:
        state = automaton.start
        for character in text:
            assert character in automaton.allowed(state).characters
            state = automaton.advance(state, character)
        return automaton.allowed(state).characters

    assert follow("a") == {"b", ",", "-", " "}  # the line has another syllable
    assert follow("a,") == {" "}
    assert follow("a-") == {"a", "-"}
    assert follow("a--") == {"a"}
    assert follow("a a") == {"b", ",", "-", "\n"}
    assert follow("a a-") == {"-"}
    assert follow("a a--") == follow("a a,") == {"\n"}
    assert follow("a a\na") == {"b", ",", "-"}
    assert follow("a a\na--") == follow("a a\na,") == frozenset()


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ('rhyme = "AA"\nsyllables = 1\n', {"words": {"day", "night"}}, "lines 1, 2: no words"),
        ('rhyme = "AA"\nsyllables = 1\n', {"words": {"sea", "see"}}, "lines 1, 2: no words"),
        ('rhyme = "A"\nmetre = "x/"\n', {"words": {"happy"}}, "line 1: no words have its metre"),
        ('rhyme = "A"\nsyllables = 3\n', {"words": {"xyzzy"}}, "spells no English word"),
        ('rhyme = "AA"\n', {}, "form: writing needs a metre or a number of syllables"),
        (
            'rhyme = "A"\nsyllables = 3\n',
            {"fixed": {(0, 0): "春"}},
            "line 1: no English word begins with '春'",
        ),
        (
            'rhyme = "A"\nsyllables = 1\n',
            {"fixed": {(0, 0): "q"}, "words": {"day"}},
            "line 1: no words that begin with 'q'",
        ),
        ('rhyme = "A"\nsyllables = 1\n', {"fixed": {(1, 0): "q"}}, "has 1 line: line 2"),
    ],
)
def test_what_cannot_be_written_is_refused(
    text: str, options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(WenmoError, match=message):
        form(tmp_path, text).automaton(SMALL, **options)


def test_a_vocabulary_without_line_breaks_has_no_sonnet() -> None:
    with pytest.raises(WenmoError, match=r"sonnet: the vocabulary has no '\\n'"):
        load_form("sonnet").automaton("abc ")


def test_a_prompt_begins_the_poem(tmp_path: Path) -> None:
    found = form(tmp_path, 'rhyme = "AA"\nmetre = "x/"\n')
    whole = found.automaton(SMALL, words=WORDS)
    state = whole.start
    for character in "the day\na":
        state = whole.advance(state, character)
    begun = found.automaton(SMALL, beginning="the day\na", words=WORDS)
    assert begun.start == state
    with pytest.raises(WenmoError, match="'x' cannot follow after 'the ' in line 1; an empty"):
        found.automaton(SMALL, beginning="the x", words=WORDS)


def test_a_form_may_name_the_file_of_its_words(tmp_path: Path) -> None:
    (tmp_path / "my.txt").write_text("The night, the light; bright xyzzy")
    found = form(tmp_path, 'rhyme = "AA"\nsyllables = 1\nwords = "my.txt"\n')
    automaton = found.automaton(None)
    assert automaton.allowed(automaton.start).characters == set("BLNbln")
    with pytest.raises(WenmoError, match=r"form\.toml:2:1: words: .*none\.txt cannot be read"):
        form(tmp_path, 'words = "none.txt"\nsyllables = [1]\n')
