"""*A* or *an* before an English word, by the sound that it begins with.

The rules go by spelling; words that do not follow them are in short lists.
"""

from __future__ import annotations

import re
import unicodedata

LONGEST_BEGINNING = 8
"""The characters that are looked at; fewer where the first word ends before."""

OPENING = "\"'“‘«([{¿¡*_"
"""Signs that may stand before a word and make no sound."""

_OPENING = re.escape(OPENING)
_BEFORE = f"[{_OPENING}]*"
_WORD = re.compile(rf"{_BEFORE}([0-9A-Za-z][0-9A-Za-z,]*)")
_ENDED = re.compile(rf"{_BEFORE}([0-9A-Za-z][0-9A-Za-z,]*[^0-9A-Za-z,]|[^0-9A-Za-z,{_OPENING}])")

# Words that begin with "yoo". Most with un-, up- and um- do not, nor do uber and umami.
_YOO = re.compile(
    r"eu|ewe|ub[iou]|u[gkrstv][aeiou]|ukr|ulys|unanim|unary|utr|uni(?!de|m[ap]|n|r|ss)"
)
_WITH_W = re.compile(r"one($|[nstw])|once|ou[ia]|oax")  # one, once, Ouija, Oaxaca
_SILENT_H = re.compile(r"hour(?!i)|honest|honou?r|heir|hors$")
_SOUNDED_Y = re.compile(r"y[^aeiouy]")  # Yves, yttrium

# Abbreviations that are read letter by letter, and letters whose names begin with a vowel.
LONGEST_ABBREVIATION = 5
_VOWEL_NAMES = frozenset("AEFHILMNORSX")
_AS_WORDS = re.compile(r"[FHLMNRSX][AEIOU][A-Z]|F[LR][AEIOU][A-Z]|S[CHKLMNPQTW]+R?[AEIOU][A-Z]")
_BY_LETTERS = frozenset({"FAQ", "HIV", "LED", "MIT", "NIH", "SAT", "SOS", "SUV"})


def takes_an(text: str) -> bool:
    """Whether what follows an article takes *an*: decided by at most its first
    ``LONGEST_BEGINNING`` characters.
    """
    start = _plain(text[:LONGEST_BEGINNING])
    match = _WORD.match(start)
    if match is None:
        return False
    word, rest = match[1], start[match.end() :]
    if word[0].isdigit():
        return _number_takes_an(word)
    letters = re.split("[0-9,]", word)[0]
    if _is_spelled_out(letters, rest):
        return letters[0].upper() in _VOWEL_NAMES
    return _word_takes_an(word.lower())


def is_decided(text: str) -> bool:
    """Whether the first word of a text ends in it, so that what follows does not matter."""
    return _ENDED.match(_plain(text[:LONGEST_BEGINNING])) is not None


def ends_word(character: str) -> bool:
    """Whether a word ends before a character, so that what is before it decides."""
    return is_decided(f"a{character}") and character not in OPENING


def _word_takes_an(word: str) -> bool:
    if word[0] == "h":
        return _SILENT_H.match(word) is not None
    if word[0] == "y":
        return _SOUNDED_Y.match(word) is not None
    return word[0] in "aeiou" and not (_YOO.match(word) or _WITH_W.match(word))


def _number_takes_an(word: str) -> bool:
    """Eight, eleven and eighteen, and what begins with them: 8, 80, 11, 18,000, 1845."""
    match = re.match(r"[0-9]+(?:,[0-9]+)*", word)
    digits = match[0] if match else word
    first, comma, _ = digits.partition(",")
    group = first if comma else first[: (len(first) - 1) % 3 + 1]
    hundreds = len(digits) == 4 and first[:2] in ("11", "18")  # eleven hundred, eighteen forty-five
    return first[0] == "8" or group in ("11", "18") or hundreds


def _is_spelled_out(letters: str, rest: str) -> bool:
    """Whether letters are read one by one: an FBI agent, but a NATO base and AN UNCLE."""
    if len(letters) == 1:
        return rest[:1] not in ("'", "’")
    capitals = letters.removesuffix("s")
    if not capitals.isupper() or len(capitals) > LONGEST_ABBREVIATION:
        return False
    if len(capitals) == 2 or capitals in _BY_LETTERS:
        return True
    if capitals[0] == "U":
        return len(capitals) == 3 or not re.search("[AEIOUY]", capitals[1:])
    return capitals[0] in "FHLMNRSXY" and not _AS_WORDS.match(capitals)


def _plain(text: str) -> str:
    """Each letter without its accents, which do not change how a word begins."""
    return "".join(unicodedata.normalize("NFD", character)[:1] for character in text)
