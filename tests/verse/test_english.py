"""English verse: pronunciation, rhyme, metre, and verdicts on known poems."""

from __future__ import annotations

from pathlib import Path

import pytest

from wenmo.types import WenmoError
from wenmo.verse.english import pronunciation
from wenmo.verse.english.pronunciation import count_syllables, dictionary, pronounce, words_of
from wenmo.verse.form import load_form

SONNET_18 = """\
Shall I compare thee to a summer's day?
Thou art more lovely and more temperate:
Rough winds do shake the darling buds of May,
And summer's lease hath all too short a date;
Sometime too hot the eye of heaven shines,
And often is his gold complexion dimm'd;
And every fair from fair sometime declines,
By chance or nature's changing course untrimm'd;
But thy eternal summer shall not fade,
Nor lose possession of that fair thou ow'st;
Nor shall death brag thou wander'st in his shade,
When in eternal lines to time thou grow'st:
So long as men can breathe or eyes can see,
So long lives this, and this gives life to thee."""

BRIGHT = """\
There was a young lady named Bright
Whose speed was far faster than light;
She set out one day
In a relative way
And returned on the previous night."""

BEARD = """\
There was an Old Man with a beard,
Who said, 'It is just as I feared!
Two Owls and a Hen,
Four Larks and a Wren,
Have all built their nests in my beard!'"""

QUATRAIN = 'language = "en"\nrhyme = "ABAB"\nmetre = "x/x/x/x/x/"\n'
COUPLET = 'language = "en"\nrhyme = "AA"\nmetre = "x/x/x/x/x/"\n'


@pytest.mark.parametrize(
    ("word", "phones"),
    [
        ("Thee", "DH IY1"),
        ("call'd", "K AO1 L D"),
        ("dimm’d", "D IH1 M D"),
        ("untrimm'd", "AH0 N T R IH1 M D"),
        ("lov'd", "L AH1 V D"),
        ("o'er", "AO1 R"),
        ("thir", "DH EH1 R"),
        ("heav'n", "HH EH1 V N"),
        ("ev'ry", "EH1 V R IY0"),
        ("pow'r", "P AW1 R"),
        ("carrieth", "K AE1 R IY0 AH0 TH"),
        ("speaketh", "S P IY1 K AH0 TH"),
        ("comest", "K AH1 M AH0 S T"),
        ("seest", "S IY1 AH0 S T"),
        ("wander'st", "W AA1 N D ER0 S T"),
        ("know't", "N OW1 T"),
        ("lovers'", "L AH1 V ER0 Z"),
        ("vice's", "V AY1 S AH0 Z"),
        ("valour", "V AE1 L ER0"),
        ("honour'd", "AA1 N ER0 D"),
        ("devour'd", "D IH0 V AW1 ER0 D"),
        ("walkin'", "W AO1 K IH0 N"),
    ],
)
def test_what_the_dictionary_lacks_is_derived(word: str, phones: str) -> None:
    found = pronounce(word)
    assert found is not None
    assert found.phones == phones


@pytest.mark.parametrize("word", ["", "3", "xyzzy", "want'd", "春", "zz'd"])
def test_what_cannot_be_derived_is_unknown(word: str) -> None:
    assert pronounce(word) is None


def test_a_word_has_the_first_pronunciation_of_the_dictionary() -> None:
    assert dictionary()["live"] == "L AY1 V"  # the verb is its second
    assert dictionary()["read"] == "R EH1 D"


@pytest.mark.parametrize(
    ("word", "rhyme"),
    [
        ("day", ("D", "EY")),
        ("delay", ("L", "EY")),
        ("bright", ("B R", "AY T")),
        ("untrimmed", ("T R", "IH M D")),  # not N T R
        ("singing", ("S", "IH NG IH NG")),
        ("eternity", ("T", "ER N AH T IY")),
        ("sunshine", ("SH", "AY N")),  # a secondary stress counts
        ("eyes", ("", "AY Z")),
        ("the", None),
    ],
)
def test_a_rhyme_begins_with_the_last_stressed_vowel(
    word: str, rhyme: tuple[str, str] | None
) -> None:
    found = pronounce(word)
    assert found is not None
    assert found.rhyme == rhyme


def test_words_are_found_within_quotation_marks_and_compounds() -> None:
    text = "'Tis 'well-known,' said th' other: 'lovers' heart'"
    words = [word for _, word in words_of(text)]
    assert words == ["'Tis", "well", "known", "said", "th'", "other", "lovers'", "heart"]
    assert all(text[start : start + len(word)] == word for start, word in words_of(text))


def test_syllables_are_counted_and_unknown_words_named() -> None:
    assert count_syllables("An old silent pond: xyzzy") == (5, ["xyzzy"])


def test_a_missing_dictionary_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pronunciation, "find_spec", lambda name: None)
    dictionary.cache_clear()
    with pytest.raises(WenmoError, match=r"English verse needs the CMU .* pip install"):
        dictionary()


@pytest.mark.parametrize(
    ("lines", "reasons"),
    [
        (
            slice(0, 4),
            [
                "line 2, character 1: has 9 syllables, not 10",
                "line 4, character 41: 'date' does not rhyme with 'temperate' (line 2)",
            ],
        ),
        (
            slice(4, 8),
            [
                "line 1, character 1: syllable 1 of 'Sometime' is stressed, but not on a beat",
                "line 3, character 1: has 11 syllables, not 10",
            ],
        ),
        (slice(8, 12), []),
    ],
)
def test_sonnet_18_by_quatrains(lines: slice, reasons: list[str], tmp_path: Path) -> None:
    (tmp_path / "quatrain.toml").write_text(QUATRAIN)
    form = load_form(tmp_path / "quatrain.toml")
    verdict = form.check("\n".join(SONNET_18.splitlines()[lines]))
    assert verdict.reasons == reasons
    assert verdict.valid == (not reasons)


def test_the_couplet_of_sonnet_18_is_a_rhymed_couplet() -> None:
    lines = SONNET_18.splitlines()[-2:]
    assert load_form("rhymed-couplet").check("\n".join(lines)).valid
    assert load_form("heroic-couplet").check(" / ".join(lines)).valid
    assert not load_form("sonnet").check(SONNET_18).valid


def test_licences_are_accepted_with_a_warning() -> None:
    verdict = load_form("rhymed-couplet").check(
        "Ever the night, in sad eternity,\nRemember me, and all modernity."
    )
    assert verdict.valid, verdict.reasons
    assert [warning.partition(": ")[2] for warning in verdict.warnings] == [
        "a stressed syllable before the unstressed one in the first foot",
        "syllable 4 of 'eternity' is unstressed, but on a beat",
        "syllable 4 of 'modernity' is unstressed, but on a beat",
    ]


def test_a_limerick_scans_and_rhymes() -> None:
    assert load_form("limerick").check(BRIGHT).valid
    assert load_form("limerick").check(BEARD).reasons == [
        "line 5, character 34: 'beard' sounds the same as 'beard' (line 1), which is no rhyme"
    ]


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ("the sea", "to see", "'see' sounds the same as 'sea' (line 1), which is no rhyme"),
        (
            "I leave",
            "believe",
            "'believe' has the same stressed syllable as 'leave' (line 1), which is no rhyme",
        ),
        ("the day", "and the", "'the' has no stressed vowel, so it rhymes with nothing"),
        ("the day", "a dog", "'dog' does not rhyme with 'day' (line 1)"),
        ("the day", "a zzyzx", "the pronunciation of 'zzyzx' is unknown"),
    ],
)
def test_what_is_no_rhyme(first: str, second: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "dimeter.toml"
    path.write_text('language = "en"\nrhyme = "AA"\nmetre = "x/"\n')
    assert [r.partition(": ")[2] for r in load_form(path).check(f"{first}\n{second}").reasons] == [
        reason
    ]


def test_a_haiku_is_judged_by_its_syllables() -> None:
    haiku = load_form("haiku")
    assert haiku.check(
        "An old silent pond\nA frog jumps into the pond\nSplash! Silence again"
    ).valid
    assert haiku.check("An old silent pond").reasons == ["has 1 line, not 3"]
    verdict = haiku.check("An old silent pond\nA frog jumps into xyzzy\nSplash! Silence again")
    assert verdict.reasons == ["line 2, character 19: the pronunciation of 'xyzzy' is unknown"]


def test_unknown_words_do_not_matter_where_only_ends_count(tmp_path: Path) -> None:
    path = tmp_path / "rhyme.toml"
    path.write_text('language = "en"\nrhyme = "AA"\n')
    verdict = load_form(path).check("xyzzy day\nthe way")
    assert verdict.valid
    assert verdict.warnings == ["line 1, character 1: the pronunciation of 'xyzzy' is unknown"]


def test_equal_rhymes_of_different_letters_are_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "two.toml"
    path.write_text('language = "en"\nrhyme = "AABB"\n')
    verdict = load_form(path).check("day\nway\nsay\nplay")
    assert verdict.warnings == ["the rhymes A and B are the same"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('rhyme = "AA"\nmetre = "x/o/"\n', ":3:12: 'o' is no syllable: write x"),
        ('rhyme = "A#"\n', ":2:11: '#' is no rhyme: write a letter for each line"),
        ("syllables = [5, 0]\n", ":2:1: 0: a line has 1 to 40 syllables"),
        ('rhyme = "AAA"\nsyllables = [5, 7]\n', ":3:1: syllables has 2 values for 3 lines"),
        ('rhyme = "AA"\nmetre = {B = "x/"}\n', ": no line has the rhyme 'B'"),
        ('rhyme = "AA"\nmeter = "x/"\n', ":3:1: unknown key 'meter'; did you mean 'metre'"),
        ("syllables = 5\n", ": how many lines has a poem?"),
        ('rhyme = "A"\nlicences = ["rhyme"]\n', ":3:1: licence 'rhyme' is not one of: promotion"),
        ('rhyme = "A"\nmetre = "x/"\nsyllables = 2\n', ":4:1: lines have a metre or a number"),
        ('rhyme = "A"\nmetre = 3\n', ":3:1: a metre is a string"),
    ],
)
def test_an_error_in_a_form_names_line_and_character(
    text: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "my.toml"
    path.write_text('language = "en"\n' + text)
    with pytest.raises(WenmoError) as error:
        load_form(path)
    assert str(error.value).startswith(f"{path}{message}")
