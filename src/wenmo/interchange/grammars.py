"""Load grammar files as models, which generate and score text without training."""

from __future__ import annotations

from pathlib import Path

from wenmo.grammar.ast import Grammar, walk
from wenmo.grammar.reading import SUFFIXES, read_grammar
from wenmo.models.grammar import GrammarModel
from wenmo.models.grammar_config import GrammarConfig
from wenmo.text.config import TokenizerConfig
from wenmo.text.tokenizers import Tokenizer


def is_grammar(path: Path) -> bool:
    """Whether a path is a grammar file, by its suffix."""
    return path.suffix in SUFFIXES and not path.is_dir()


def open_grammar(path: Path) -> tuple[GrammarConfig, GrammarModel, Tokenizer]:
    """Load a grammar as a model, with a character tokenizer.

    Raises:
        WenmoError: the grammar cannot be read; see `read_grammar`.
    """
    grammar, source = read_grammar(path)
    tokenizer = Tokenizer.train([_characters(grammar)], TokenizerConfig("characters", min_count=1))
    config = GrammarConfig(str(path))
    model = GrammarModel(config, tokenizer.vocab_size)
    model.set_grammar(grammar, source)
    model.bind_vocabulary(tokenizer.table)
    return config, model.eval(), tokenizer


def _characters(grammar: Grammar) -> str:
    """The characters of the rules in both cases; other characters are encoded as bytes."""
    items = (
        item
        for rule in grammar.rules.values()
        for alternative in rule
        for item in walk(alternative.nodes)
    )
    characters = {character for item in items if isinstance(item, str) for character in item}
    characters |= {character for text in grammar.saved.values() for character in text}
    characters |= {
        variant for character in characters for variant in character.upper() + character.lower()
    }
    return "".join(sorted(characters)) or " "
