"""Forms of verse, read from TOML files: which texts a form accepts.

A form file is TOML with the key ``language``, which selects the class that reads its other keys.
The forms in ``forms/`` are known by name; any other file is given by its path.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from wenmo.config import did_you_mean
from wenmo.text.automaton import TextAutomaton
from wenmo.types import WenmoError

FORMS = Path(__file__).parent / "forms"
LANGUAGES = {
    "en": "wenmo.verse.english.form:EnglishForm",
    "zh": "wenmo.verse.chinese:ChineseForm",
}
"""The class of the forms of each language; its method ``read`` takes a `FormFile`."""


@dataclass(frozen=True)
class Verdict:
    """The judgement of one text by a form.

    Attributes:
        valid: whether the text keeps the rules of the form.
        reasons: the faults, each with its line and character, counted from 1; empty if valid.
        warnings: what a strict reader would not accept, and what could not be judged.
    """

    valid: bool
    reasons: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """A dict that can be saved as JSON; ``warnings`` only where there are any."""
        result = {"valid": self.valid, "reasons": self.reasons}
        return {**result, "warnings": self.warnings} if self.warnings else result


class VerseAutomaton(TextAutomaton, Protocol):
    """The texts of a form, behind their given beginning. Its start is that of ``draw(0)``."""

    def draw(self, seed: int) -> Hashable:
        """The first state, with what the form leaves open drawn by a seed: which of its patterns
        the text has, and what it rhymes with.
        """
        ...


class Form(Protocol):
    """A form of verse, in any language."""

    name: str
    language: str

    def check(self, text: str) -> Verdict:
        """Judge a text, with or without punctuation, one verse a line or all in one line."""
        ...

    def has_shape(self, text: str) -> bool:
        """Whether a text has the number of lines of the form, or of characters. This tells the
        texts of a file apart.
        """
        ...

    def automaton(
        self,
        alphabet: Collection[str] | None,
        *,
        fixed: Mapping[tuple[int, int], str] | None = None,
        beginning: str = "",
    ) -> VerseAutomaton:
        """The texts of the form over an alphabet.

        Args:
            alphabet: the characters that can be written; None: all.
            fixed: characters that are given, by line and index in the line, both from 0; an index
                of -1 is the last of a line.
            beginning: how the poem begins. The states are those of the text that continues it.

        Raises:
            WenmoError: no text over this alphabet has the form and what is given.
        """
        ...


@dataclass(frozen=True)
class FormFile:
    """The content of a form file; its errors name the file, the line and the character."""

    path: Path
    text: str
    values: Mapping[str, Any]

    def error(self, message: str, *, key: str = "", value: str = "", index: int = 0) -> WenmoError:
        """An error at a key, or at character ``index`` of a string value, as the file writes it."""
        for number, line in enumerate(self.text.splitlines(), start=1):
            found = line.find(value) if value else -1
            if value and found >= 0:
                return WenmoError(f"{self.path}:{number}:{found + index + 1}: {message}")
            if not value and key and line.lstrip().startswith(key):
                column = len(line) - len(line.lstrip()) + 1
                return WenmoError(f"{self.path}:{number}:{column}: {message}")
        return WenmoError(f"{self.path}: {message}")

    def only(self, known: Collection[str]) -> None:
        """Check that the file has no other keys.

        Raises:
            WenmoError: an unknown key.
        """
        for key in self.values:
            if key not in known:
                raise self.error(f"unknown key {key!r}{did_you_mean(key, known)}", key=key)

    def get(self, key: str, kind: type, default: Any = None) -> Any:
        """The value of a key.

        Args:
            kind: type of the value.
            default: value if the file has no such key; None: the key is required.

        Raises:
            WenmoError: a required key is missing, or the value has another type.
        """
        value = self.values.get(key, default)
        if value is None:
            raise self.error(f"the key {key!r} is missing")
        if not isinstance(value, kind):
            raise self.error(f"{key} is not of type {kind.__name__}", key=key)
        return value


def load_form(name_or_path: str | Path) -> Form:
    """Load a form by its name or the path of its file.

    Raises:
        WenmoError: no such form, or an error in its file; the message names line and character.
    """
    name = str(name_or_path)
    if name in _paths():
        return _load(_paths()[name])
    if not name.endswith(".toml"):
        known = ", ".join(form_names())
        hint = did_you_mean(name, _paths()) or f" (known: {known}; or the path of a .toml file)"
        raise WenmoError(f"no form named {name!r}{hint}")
    return read_form(Path(name))


def form_names() -> list[str]:
    """The names of the forms that wenmo has."""
    return sorted(path.stem for path in FORMS.glob("*.toml"))


def read_form(path: Path) -> Form:
    """Read a form file.

    Raises:
        WenmoError: no such file, or an error in it.
    """
    try:
        text = path.read_text(encoding="utf-8")
        values = tomllib.loads(text)
    except FileNotFoundError:
        raise WenmoError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise WenmoError(f"{path}: not UTF-8 at byte {error.start}") from None
    except tomllib.TOMLDecodeError as error:
        raise WenmoError(f"{path}: not valid TOML: {error}") from None
    file = FormFile(path, text, values)
    language = file.get("language", str)
    if language not in LANGUAGES:
        known = ", ".join(LANGUAGES)
        raise file.error(f"language {language!r} is not one of: {known}", key="language")
    module, _, name = LANGUAGES[language].partition(":")
    read: Callable[[FormFile], Form] = getattr(import_module(module), name).read
    return read(file)


@cache
def _load(path: Path) -> Form:
    return read_form(path)


@cache
def _paths() -> dict[str, Path]:
    """The files of the forms that wenmo has, by their names and aliases."""
    return dict(_named_paths())


def _named_paths() -> Iterator[tuple[str, Path]]:
    for path in sorted(FORMS.glob("*.toml")):
        yield path.stem, path
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        yield from ((alias, path) for alias in values.get("aliases", ()))
