"""Grammar files, opened like a run: they write and score without any training."""

from __future__ import annotations

from pathlib import Path

from wenmo.grammar.ast import Grammar, walk
from wenmo.grammar.reading import SUFFIXES, read_grammar
from wenmo.models.grammar import GrammarModel
from wenmo.models.grammar_config import GrammarConfig
from wenmo.text.config import TokenizerConfig
from wenmo.text.tokenizers import Tokenizer


def is_grammar(path: Path) -> bool:
    """Whether a user means a grammar by this."""
    return path.suffix in SUFFIXES and not path.is_dir()


def open_grammar(path: Path) -> tuple[GrammarConfig, GrammarModel, Tokenizer]:
    """A grammar as a model, with a tokenizer of the characters it writes.

    Raises:
        WenmoError: it cannot be read; see `read_grammar`.
    """
    grammar, source = read_grammar(path)
    tokenizer = Tokenizer.train([_letters(grammar)], TokenizerConfig("characters", min_count=1))
    config = GrammarConfig(str(path))
    model = GrammarModel(config, tokenizer.vocab_size)
    model.take(grammar, source)
    model.bind_vocabulary(tokenizer.table)
    return config, model.eval(), tokenizer


def _letters(grammar: Grammar) -> str:
    """The characters of what stands in the rules; those that modifiers add are spelled in bytes if
    they are not among them.
    """
    parts = (part for rule in grammar.rules.values() for a in rule for part in walk(a.nodes))
    letters = {letter for part in parts if isinstance(part, str) for letter in part}
    letters |= {letter for text in grammar.saved.values() for letter in text}
    letters |= {other for letter in letters for other in letter.upper() + letter.lower()}
    return "".join(sorted(letters)) or " "
