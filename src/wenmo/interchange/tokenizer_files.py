"""Read the tokenizer and the chat template of a model folder, in any supported file format."""

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

BART_SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")  # also of RoBERTa
SENTENCEPIECE = ("spiece.model", "tokenizer.model")
CTRL_FILES = ("vocab.json", "merges.txt")
# Suffixes of CTRL's pieces: in the vocabulary, and in the merges.
CONTINUATION, WORD_END = "@@", "</w>"
MARIAN_FILES = ("vocab.json", "source.spm", "target.spm")
# A language code such as >>de<< stands at the start of a text; other special tokens match first.
MARIAN_SPECIAL_TOKENS = re.compile(
    r"(?:\A|(?<=</s>)|(?<=<unk>)|(?<=<pad>))>>(?:(?!</s>|<unk>|<pad>).)*?<<|</s>|<unk>|<pad>",
    re.DOTALL,
)


def read_vocabulary(path: Path, model_type: str) -> Vocabulary:
    """Read the tokenizer of a folder.

    Args:
        model_type: the ``model_type`` in its ``config.json``.

    Raises:
        WenmoError: the folder has no tokenizer, or a damaged one.
    """
    if (path / "tokenizer.json").is_file():
        return Vocabulary(path, _tokenizer_json(path / "tokenizer.json"))
    if model_type == "marian" and all((path / name).is_file() for name in MARIAN_FILES):
        return _marian(path)
    if (path / "vocab.json").is_file() and (path / "merges.txt").is_file():
        if model_type == "ctrl":
            return _ctrl(path)
        return Vocabulary(path, _byte_level_bpe(path, model_type))
    if (path / "vocab.txt").is_file():
        library = _word_piece(path)
        return Vocabulary(
            path, with_bos_eos(library, "[CLS]", "[SEP]") if model_type == "bert" else library
        )
    for name in SENTENCEPIECE:
        if (path / name).is_file():
            return Vocabulary(path, _sentence_piece(path / name, model_type))
    raise WenmoError(f"{path}: no tokenizer: tokenizer.json, or vocab.json and merges.txt")


def _tokenizer_json(path: Path) -> Library:
    try:
        return parse_library(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, WenmoError) as error:
        raise WenmoError(f"{path}: {error}") from None


def _marian(path: Path) -> Vocabulary:
    """Marian's tokenizer: one SentencePiece model for sources, one for targets, and a shared
    vocabulary.
    """
    if (path / "target_vocab.json").is_file():
        raise WenmoError(f"{path}: separate vocabularies of source and target are not supported")
    library = _word_level(path / "vocab.json", ("</s>", UNKNOWN, "<pad>"))
    source, target = (
        make_library(without_control_pieces(read_sentencepiece(path / n))) for n in MARIAN_FILES[1:]
    )
    segmentation = Segmentation(
        target=lambda text: target.encode(text).tokens,
        source=lambda text: source.encode(text).tokens,
        special_pattern=MARIAN_SPECIAL_TOKENS,
        text_of=lambda piece: piece.replace(SPACE, " "),
        has_trailing_spaces=False,
        origin="marian",
        files={name: (path / name).read_bytes() for name in MARIAN_FILES},
    )
    return Vocabulary(path, library, segmentation)


def _ctrl(path: Path) -> Vocabulary:
    """CTRL's tokenizer (Keskar et al. 2019): BPE over the characters of a word, with ``@@`` after
    each piece that does not end a word (Sennrich et al. 2016).
    """
    library = _word_level(path / "vocab.json", (UNKNOWN,))
    merges = _merges(path / "merges.txt")
    # Intermediate pieces of merges are not in the vocabulary.
    characters = sorted({*"".join(library.get_vocab()), *"".join(map("".join, merges))})
    final = [character + WORD_END for character in characters]
    merged = [first + second for first, second in merges]
    symbols = dict.fromkeys([UNKNOWN, *characters, *final, *chain.from_iterable(merges), *merged])
    ids = {symbol: id_ for id_, symbol in enumerate(symbols)}
    model = models.BPE(ids, merges, unk_token=UNKNOWN, end_of_word_suffix=WORD_END)
    bpe = Library(model)
    bpe.pre_tokenizer = pre_tokenizers.Split(Regex(r"\S+\n?"), "removed", invert=True)

    def encode(text: str) -> list[str]:
        pieces = bpe.encode(text).tokens
        return [
            p.removesuffix(WORD_END) if p.endswith(WORD_END) else p + CONTINUATION for p in pieces
        ]

    segmentation = Segmentation(
        target=encode,
        source=encode,
        special_pattern=re.compile(UNKNOWN),
        text_of=_spell_ctrl_piece,
        has_trailing_spaces=True,
        origin="ctrl",
        files={name: (path / name).read_bytes() for name in CTRL_FILES},
    )
    return Vocabulary(path, library, segmentation)


def _spell_ctrl_piece(piece: str) -> str:
    """The text of a piece, with a space if it ends a word. No space follows a newline."""
    if piece.endswith(CONTINUATION):
        return piece.removesuffix(CONTINUATION)
    return piece if piece.endswith("\n") else piece + " "


def _word_level(path: Path, special: tuple[str, ...]) -> Library:
    """A tokenizer that looks up pieces in a vocabulary file."""
    vocabulary = read_json(path)
    if UNKNOWN not in vocabulary:
        raise WenmoError(f"{path}: damaged, {UNKNOWN} is missing")
    try:
        library = Library(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    except (TypeError, OverflowError):
        raise WenmoError(f"{path}: damaged, not every token has a valid id") from None
    present = [token for token in special if token in vocabulary]
    library.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in present]
    )
    return library


def _byte_level_bpe(path: Path, model_type: str) -> Library:
    """GPT-2's tokenizer, with the special tokens of RoBERTa and BART around a text."""
    vocabulary, merges = read_json(path / "vocab.json"), _merges(path / "merges.txt")
    special = [token for token in vocabulary if token.startswith("<|") and token.endswith("|>")]
    has_special_tokens = model_type in ("roberta", "bart")
    special += [
        token for token in BART_SPECIAL_TOKENS if has_special_tokens and token in vocabulary
    ]
    try:
        library = byte_level(vocabulary, merges, special=special)
        return with_bos_eos(library, "<s>", "</s>") if has_special_tokens else library
    except (TypeError, WenmoError) as error:
        reason = " ".join(str(error).split())[:160]
        raise WenmoError(f"{path / 'merges.txt'}: damaged: {reason}") from None


def _merges(path: Path) -> list[tuple[str, str]]:
    """The merges of a BPE tokenizer, in order of priority."""
    try:
        lines = path.read_text("utf-8").split("\n")
        pairs = [line.split(" ") for line in lines if line and not line.startswith("#version")]
        return [(first, second) for first, second in pairs]
    except (OSError, ValueError):
        raise WenmoError(f"{path}: damaged, not one pair of pieces in each line") from None


def _word_piece(path: Path) -> Library:
    """BERT's tokenizer, which Chinese GPT-2 models use too."""
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
    special = [
        token for token in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]") if token in vocabulary
    ]
    library.add_special_tokens([AddedToken(token, special=True) for token in special])
    return library


def _sentence_piece(path: Path, model_type: str) -> Library:
    """A SentencePiece tokenizer, with the special tokens that the model expects around a text."""
    library = make_library(read_sentencepiece(path))
    if model_type in ("t5", "mt5"):
        end = "</s>"
        library.post_processor = processors.TemplateProcessing(
            single=f"$A {end}", special_tokens=[(end, library.token_to_id(end))]
        )
    elif model_type in ("llama", "mistral"):
        with_bos(library, "<s>")
    else:
        raise WenmoError(f"{path}: SentencePiece tokenizers of {model_type} are not supported")
    return library


def read_begin_token(path: Path, model_settings: dict[str, Any], library: Library) -> str | None:
    """The begin-of-text token in ``tokenizer_config.json`` or in the model's settings, if any."""
    settings = path / "tokenizer_config.json"
    begin_token = read_json(settings).get("bos_token") if settings.is_file() else None
    name = begin_token.get("content") if isinstance(begin_token, dict) else begin_token
    id_ = model_settings.get("bos_token_id")
    if not isinstance(name, str) and isinstance(id_, int) and 0 <= id_ < library.get_vocab_size():
        name = library.id_to_token(id_)
    return name if isinstance(name, str) else None


def read_chat_templates(path: Path) -> dict[str, str]:
    """The chat templates (Jinja) of a folder by name; a single one is called ``default``."""
    if (path / "chat_template.jinja").is_file():
        return {"default": (path / "chat_template.jinja").read_text("utf-8")}
    for name in ("chat_template.json", "tokenizer_config.json"):
        content = read_json(path / name).get("chat_template") if (path / name).is_file() else None
        if isinstance(content, list):  # records with a name and a template
            records = [entry for entry in content if isinstance(entry, dict)]
            content = {str(entry.get("name")): entry.get("template") for entry in records}
        templates = {"default": content} if isinstance(content, str) else content or {}
        if isinstance(templates, dict) and templates:
            return {str(key): text for key, text in templates.items() if isinstance(text, str)}
    return {}


def read_chat_template(path: Path) -> str | None:
    """The default chat template of a folder; None if there is none."""
    return read_chat_templates(path).get("default")


def chat_template_note(path: Path) -> str | None:
    """A note if a folder has chat templates but no default; else None."""
    names = read_chat_templates(path).keys()
    if not names or "default" in names:
        return None
    return f"no chat template is used: none of {', '.join(names)} is called default"
