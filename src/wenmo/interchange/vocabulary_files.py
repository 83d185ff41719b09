"""Tokenizers in folders as the Hugging Face hub keeps them, in whichever of the files that there
are, and the chat template beside them.
"""

from __future__ import annotations

import re
from itertools import chain
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers import Tokenizer as Library

from wenmo.files import read_json
from wenmo.text.lookup import UNKNOWN, Segmentation, Vocabulary
from wenmo.text.pretrained import byte_level, parse_library, with_bos, with_bos_eos
from wenmo.text.sentencepiece import SPACE, make_library, read_sentencepiece, without_control_pieces
from wenmo.types import WenmoError

MARKS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")  # of RoBERTa and BART
SENTENCEPIECE = ("spiece.model", "tokenizer.model")
CTRL = ("vocab.json", "merges.txt")
GOES_ON, LAST = "@@", "</w>"  # behind a piece of CTRL's in the vocabulary, and in merges
MARIAN = ("vocab.json", "source.spm", "target.spm")
# A language, as in >>de<<, is named where a text begins; other marks are found first.
MARIAN_MARKS = re.compile(
    r"(?:\A|(?<=</s>)|(?<=<unk>)|(?<=<pad>))>>(?:(?!</s>|<unk>|<pad>).)*?<<|</s>|<unk>|<pad>",
    re.DOTALL,
)


def read_vocabulary(path: Path, kind: str) -> Vocabulary:
    """The tokenizer of a folder.

    Args:
        kind: the ``model_type`` of its model.

    Raises:
        WenmoError: it has none, or a damaged one.
    """
    if (path / "tokenizer.json").is_file():
        return Vocabulary(path, _whole(path / "tokenizer.json"))
    if kind == "marian" and all((path / name).is_file() for name in MARIAN):
        return _marian(path)
    if (path / "vocab.json").is_file() and (path / "merges.txt").is_file():
        if kind == "ctrl":
            return _ctrl(path)
        return Vocabulary(path, _byte_pairs(path, kind))
    if (path / "vocab.txt").is_file():
        library = _word_pieces(path)
        return Vocabulary(
            path, with_bos_eos(library, "[CLS]", "[SEP]") if kind == "bert" else library
        )
    for name in SENTENCEPIECE:
        if (path / name).is_file():
            return Vocabulary(path, _sentence_pieces(path / name, kind))
    raise WenmoError(f"{path}: no tokenizer: tokenizer.json, or vocab.json and merges.txt")


def _whole(path: Path) -> Library:
    try:
        return parse_library(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, WenmoError) as error:
        raise WenmoError(f"{path}: {error}") from None


def _marian(path: Path) -> Vocabulary:
    """Marian's tokenizer: a SentencePiece model of the sources, one of the targets, and one
    vocabulary of the pieces of both.
    """
    if (path / "target_vocab.json").is_file():
        raise WenmoError(f"{path}: sources and targets with a vocabulary each are not known here")
    library = _words(path / "vocab.json", ("</s>", UNKNOWN, "<pad>"))
    source, target = (
        make_library(without_control_pieces(read_sentencepiece(path / n))) for n in MARIAN[1:]
    )
    segmentation = Segmentation(
        target=lambda text: target.encode(text).tokens,
        source=lambda text: source.encode(text).tokens,
        special_pattern=MARIAN_MARKS,
        text_of=lambda piece: piece.replace(SPACE, " "),
        has_trailing_spaces=False,
        origin="marian",
        files={name: (path / name).read_bytes() for name in MARIAN},
    )
    return Vocabulary(path, library, segmentation)


def _ctrl(path: Path) -> Vocabulary:
    """CTRL's tokenizer (Keskar et al. 2019): BPE over the characters of a word, where a piece that
    is not the word's last is written with ``@@`` behind it (Sennrich et al. 2016).
    """
    library = _words(path / "vocab.json", (UNKNOWN,))
    merges = _merges(path / "merges.txt")
    # Pieces that are only on the way to others are not in the vocabulary, but are merged.
    letters = sorted({*"".join(library.get_vocab()), *"".join(map("".join, merges))})
    ended = [letter + LAST for letter in letters]
    merged = [first + second for first, second in merges]
    symbols = dict.fromkeys([UNKNOWN, *letters, *ended, *chain.from_iterable(merges), *merged])
    numbers = {symbol: number for number, symbol in enumerate(symbols)}
    model = models.BPE(numbers, merges, unk_token=UNKNOWN, end_of_word_suffix=LAST)
    words = Library(model)
    words.pre_tokenizer = pre_tokenizers.Split(Regex(r"\S+\n?"), "removed", invert=True)

    def cut(text: str) -> list[str]:
        pieces = words.encode(text).tokens
        return [p.removesuffix(LAST) if p.endswith(LAST) else p + GOES_ON for p in pieces]

    segmentation = Segmentation(
        target=cut,
        source=cut,
        special_pattern=re.compile(UNKNOWN),
        text_of=_with_space,
        has_trailing_spaces=True,
        origin="ctrl",
        files={name: (path / name).read_bytes() for name in CTRL},
    )
    return Vocabulary(path, library, segmentation)


def _with_space(piece: str) -> str:
    """A piece of CTRL's with the space after it, if it ends a word. No space follows a newline."""
    if piece.endswith(GOES_ON):
        return piece.removesuffix(GOES_ON)
    return piece if piece.endswith("\n") else piece + " "


def _words(path: Path, marks: tuple[str, ...]) -> Library:
    """A vocabulary in which pieces are looked up."""
    vocabulary = read_json(path)
    if UNKNOWN not in vocabulary:
        raise WenmoError(f"{path}: damaged, {UNKNOWN} is missing")
    try:
        library = Library(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    except (TypeError, OverflowError):
        raise WenmoError(f"{path}: damaged, not every token has a number") from None
    known = [mark for mark in marks if mark in vocabulary]
    library.add_special_tokens([AddedToken(mark, special=True, normalized=False) for mark in known])
    return library


def _byte_pairs(path: Path, kind: str) -> Library:
    """GPT-2's tokenizer, with the marks of a RoBERTa or BART around a text."""
    vocabulary, merges = read_json(path / "vocab.json"), _merges(path / "merges.txt")
    special = [token for token in vocabulary if token.startswith("<|") and token.endswith("|>")]
    marked = kind in ("roberta", "bart")
    special += [mark for mark in MARKS if marked and mark in vocabulary]
    try:
        library = byte_level(vocabulary, merges, special=special)
        return with_bos_eos(library, "<s>", "</s>") if marked else library
    except (TypeError, WenmoError) as error:
        reason = " ".join(str(error).split())[:160]
        raise WenmoError(f"{path / 'merges.txt'}: damaged: {reason}") from None


def _merges(path: Path) -> list[tuple[str, str]]:
    """The pairs of a BPE, the first merged first."""
    try:
        lines = path.read_text("utf-8").split("\n")
        pairs = [line.split(" ") for line in lines if line and not line.startswith("#version")]
        return [(first, second) for first, second in pairs]
    except (OSError, ValueError):
        raise WenmoError(f"{path}: damaged, not a pair of pieces a line") from None


def _word_pieces(path: Path) -> Library:
    """BERT's tokenizer, also that of Chinese GPT-2s."""
    settings_path = path / "tokenizer_config.json"
    settings = read_json(settings_path) if settings_path.is_file() else {}
    tokens = (path / "vocab.txt").read_text("utf-8").split("\n")
    vocabulary = {token: id_ for id_, token in enumerate(tokens) if token}
    library = Library(models.WordPiece(vocabulary, unk_token="[UNK]"))
    library.normalizer = normalizers.BertNormalizer(
        lowercase=settings.get("do_lower_case", True),
        strip_accents=settings.get("strip_accents"),
        handle_chinese_chars=settings.get("tokenize_chinese_chars", True),
    )
    library.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    library.decoder = decoders.WordPiece()
    marks = [mark for mark in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]") if mark in vocabulary]
    library.add_special_tokens([AddedToken(mark, special=True) for mark in marks])
    return library


def _sentence_pieces(path: Path, kind: str) -> Library:
    """SentencePiece's tokenizer, with the marks that the kind of model puts around a text."""
    library = make_library(read_sentencepiece(path))
    if kind in ("t5", "mt5"):
        end = "</s>"
        library.post_processor = processors.TemplateProcessing(
            single=f"$A {end}", special_tokens=[(end, library.token_to_id(end))]
        )
    elif kind in ("llama", "mistral"):
        with_bos(library, "<s>")
    else:
        raise WenmoError(f"{path}: how a {kind} numbers these pieces is not known here")
    return library


def read_beginning(path: Path, theirs: dict[str, Any], library: Library) -> str | None:
    """The name of the mark that begins a text, where the settings of a folder's tokenizer, or those
    of its model, ``external_ids``, tell.
    """
    settings = path / "tokenizer_config.json"
    mark = read_json(settings).get("bos_token") if settings.is_file() else None
    name = mark.get("content") if isinstance(mark, dict) else mark
    id_ = theirs.get("bos_token_id")
    if not isinstance(name, str) and isinstance(id_, int) and 0 <= id_ < library.get_vocab_size():
        name = library.id_to_token(id_)
    return name if isinstance(name, str) else None


def read_templates(path: Path) -> dict[str, str]:
    """The templates of conversations of a folder, in Jinja's language, by their names; one alone is
    called ``default``.
    """
    if (path / "chat_template.jinja").is_file():
        return {"default": (path / "chat_template.jinja").read_text("utf-8")}
    for name in ("chat_template.json", "tokenizer_config.json"):
        found = read_json(path / name).get("chat_template") if (path / name).is_file() else None
        if isinstance(found, list):  # records with a name and a template
            records = [entry for entry in found if isinstance(entry, dict)]
            found = {str(entry.get("name")): entry.get("template") for entry in records}
        named = {"default": found} if isinstance(found, str) else found or {}
        if isinstance(named, dict) and named:
            return {str(key): text for key, text in named.items() if isinstance(text, str)}
    return {}


def read_template(path: Path) -> str | None:
    """The template of conversations of a folder that is meant where nothing is said."""
    return read_templates(path).get("default")


def template_note(path: Path) -> str | None:
    """One line where a folder has templates of which none is the default."""
    names = read_templates(path).keys()
    if not names or "default" in names:
        return None
    return f"its chat templates are called {', '.join(names)}; none is called default: none is used"
