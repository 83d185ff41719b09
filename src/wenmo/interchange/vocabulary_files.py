"""Tokenizers in folders as the Hugging Face hub keeps them, in whichever of the files that there
are, and the chat template beside them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers import Tokenizer as Library

from wenmo.files import read_json
from wenmo.text.pretrained import byte_level, enclosed, library_of, opened_by
from wenmo.text.sentencepiece import make_library, read_pieces
from wenmo.types import WenmoError

MARKS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")  # of RoBERTa and BART
SENTENCEPIECE = ("spiece.model", "tokenizer.model")


def read_vocabulary(path: Path, theirs: dict[str, Any]) -> Library:
    """The tokenizer of a folder.

    Args:
        theirs: the settings of its model.

    Raises:
        WenmoError: it has none, or a damaged one.
    """
    if (path / "tokenizer.json").is_file():
        return library_of((path / "tokenizer.json").read_text("utf-8"))
    if (path / "vocab.json").is_file() and (path / "merges.txt").is_file():
        vocabulary = read_json(path / "vocab.json")
        lines = (path / "merges.txt").read_text("utf-8").splitlines()
        pairs = [line.split(" ") for line in lines if line and not line.startswith("#version")]
        special = [token for token in vocabulary if token.startswith("<|") and token.endswith("|>")]
        marked = theirs.get("model_type") in ("roberta", "bart")
        special += [mark for mark in MARKS if marked and mark in vocabulary]
        try:
            library = byte_level(vocabulary, [(a, b) for a, b in pairs], special=special)
            return enclosed(library, "<s>", "</s>") if marked else library
        except (TypeError, ValueError, WenmoError) as error:
            raise WenmoError(f"{path / 'merges.txt'}: damaged: {error}") from None
    if (path / "vocab.txt").is_file():
        library, kind = _word_pieces(path), theirs.get("model_type")
        return enclosed(library, "[CLS]", "[SEP]") if kind == "bert" else library
    for name in SENTENCEPIECE:
        if (path / name).is_file():
            return _sentence_pieces(path / name, str(theirs.get("model_type")))
    raise WenmoError(f"{path}: no tokenizer: tokenizer.json, or vocab.json and merges.txt")


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
    library = make_library(read_pieces(path))
    if kind in ("t5", "mt5"):
        end = "</s>"
        library.post_processor = processors.TemplateProcessing(
            single=f"$A {end}", special_tokens=[(end, library.token_to_id(end))]
        )
    elif kind in ("llama", "mistral"):
        opened_by(library, "<s>")
    else:
        raise WenmoError(f"{path}: how a {kind} numbers these pieces is not known here")
    return library


def read_beginning(path: Path, theirs: dict[str, Any], library: Library) -> str | None:
    """The name of the mark that begins a text, where the settings of a folder's tokenizer, or those
    of its model, ``theirs``, tell.
    """
    settings = path / "tokenizer_config.json"
    mark = read_json(settings).get("bos_token") if settings.is_file() else None
    name = mark.get("content") if isinstance(mark, dict) else mark
    id_ = theirs.get("bos_token_id")
    if not isinstance(name, str) and isinstance(id_, int) and 0 <= id_ < library.get_vocab_size():
        name = library.id_to_token(id_)
    return name if isinstance(name, str) else None


def read_template(path: Path) -> str | None:
    """The template of conversations of a folder, in Jinja's language, if it has one."""
    if (path / "chat_template.jinja").is_file():
        return (path / "chat_template.jinja").read_text("utf-8")
    if not (path / "tokenizer_config.json").is_file():
        return None
    template = read_json(path / "tokenizer_config.json").get("chat_template")
    return template if isinstance(template, str) else None
