"""Choice between *a* and *an* before an English word, by its first sound.

Spelling rules cover most words; short lists cover the exceptions.
"""

from __future__ import annotations

import re
import unicodedata

MAX_LOOKAHEAD = 8
"""Number of characters that the choice depends on; fewer if the first word is shorter."""

SILENT = "\"'“‘«([{¿¡*_"
"""Silent characters that may precede a word."""

_SILENT = re.escape(SILENT)
_SILENT_PREFIX = f"[{_SILENT}]*"
_WORD = re.compile(rf"{_SILENT_PREFIX}([0-9A-Za-z][0-9A-Za-z,]*)")
_COMPLETE_WORD = re.compile(
    rf"{_SILENT_PREFIX}([0-9A-Za-z][0-9A-Za-z,]*[^0-9A-Za-z,]|[^0-9A-Za-z,{_SILENT}])"
)

# Words whose first sound is "yoo". Most words in un-, up- and um- are not among them.
_YOO_SOUND = re.compile(
    r"eu|ewe|ub[iou]|u[gkrstv][aeiou]|ukr|ulys|unanim|unary|utr|uni(?!de|m[ap]|n|r|ss)"
)
_W_SOUND = re.compile(r"one($|[nstw])|once|ou[ia]|oax")  # one, once, Ouija, Oaxaca
_SILENT_H = re.compile(r"hour(?!i)|honest|honou?r|heir|hors$")
_VOWEL_Y = re.compile(r"y[^aeiouy]")  # Yves, yttrium

# Abbreviations spelled out letter by letter, and letters whose names begin with a vowel sound.
MAX_ABBREVIATION = 5
_VOWEL_LETTER_NAMES = frozenset("AEFHILMNORSX")
_READ_AS_WORD = re.compile(r"[FHLMNRSX][AEIOU][A-Z]|F[LR][AEIOU][A-Z]|S[CHKLMNPQTW]+R?[AEIOU][A-Z]")
_SPELLED_OUT = frozenset({"FAQ", "HIV", "LED", "MIT", "NIH", "SAT", "SOS", "SUV"})


def takes_an(text: str) -> bool:
    """Whether *an* precedes a text; depends on its first ``MAX_LOOKAHEAD`` characters."""
    start = _strip_accents(text[:MAX_LOOKAHEAD])
    match = _WORD.match(start)
    if match is None:
        return False
    word, rest = match[1], start[match.end() :]
    if word[0].isdigit():
        return _number_takes_an(word)
    letters = re.split("[0-9,]", word)[0]
    if _is_spelled_out(letters, rest):
        return letters[0].upper() in _VOWEL_LETTER_NAMES
    return _word_takes_an(word.lower())


def is_decided(text: str) -> bool:
    """Whether the text contains its whole first word, so that appending to it changes nothing."""
    return _COMPLETE_WORD.match(_strip_accents(text[:MAX_LOOKAHEAD])) is not None


def ends_word(character: str) -> bool:
    """Whether a word ends before this character."""
    return is_decided(f"a{character}") and character not in SILENT


def _word_takes_an(word: str) -> bool:
    if word[0] == "h":
        return _SILENT_H.match(word) is not None
    if word[0] == "y":
        return _VOWEL_Y.match(word) is not None
    return word[0] in "aeiou" and not (_YOO_SOUND.match(word) or _W_SOUND.match(word))


def _number_takes_an(word: str) -> bool:
    """Whether a number is read as eight, eleven or eighteen first: 8, 80, 11, 18,000, 1845."""
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
    if not capitals.isupper() or len(capitals) > MAX_ABBREVIATION:
        return False
    if len(capitals) == 2 or capitals in _SPELLED_OUT:
        return True
    if capitals[0] == "U":
        return len(capitals) == 3 or not re.search("[AEIOUY]", capitals[1:])
    return capitals[0] in "FHLMNRSXY" and not _READ_AS_WORD.match(capitals)


def _strip_accents(text: str) -> str:
    """The text without accents, which do not change the first sound."""
    return "".join(unicodedata.normalize("NFD", character)[:1] for character in text)
