"""ARPA files: round trips, agreement with KenLM, and error messages."""

from __future__ import annotations

import gzip
import math
from pathlib import Path

import kenlm
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wenmo.interchange.arpa import escape, read_arpa, unescape, write_arpa
from wenmo.models.ngram import Ngram
from wenmo.models.ngram_config import NgramConfig
from wenmo.types import WenmoError

WORDS = ["", "春", " ", "\n", "\\", "<unk>", "<s>", "never"]
STREAM = np.array([0, 1, 2, 1, 3, 0, 4, 5, 6, 1, 2, 0, 0, 1, 2, 1, 2, 5, 0], np.uint8)


def fitted_model(order: int) -> Ngram:
    model = NgramConfig(order).build(len(WORDS))
    model.fit(STREAM)
    return model


@pytest.mark.parametrize("order", [1, 2, 4])
def test_round_trip(order: int, tmp_path: Path) -> None:
    model = fitted_model(order)
    write_arpa(model, tmp_path / "model.arpa", WORDS)
    loaded, words = read_arpa(tmp_path / "model.arpa")
    assert words == ["</s>", *WORDS[1:]]
    assert loaded.config.order == order
    for name, tensor in model.state_dict().items():
        assert torch.allclose(loaded.state_dict()[name], tensor, atol=1e-5)
    assert [path.name for path in tmp_path.iterdir()] == ["model.arpa"]


def test_gzip_round_trip(tmp_path: Path) -> None:
    model, compressed = fitted_model(2), tmp_path / "model.arpa.gz"
    write_arpa(model, tmp_path / "model.arpa", WORDS)
    write_arpa(model, compressed, WORDS)
    plain = (tmp_path / "model.arpa").read_bytes()
    assert gzip.decompress(compressed.read_bytes()) == plain
    renamed = tmp_path / "renamed"  # recognized by its content
    renamed.write_bytes(compressed.read_bytes())
    for path in (compressed, renamed):
        loaded, words = read_arpa(path)
        assert words == ["</s>", *WORDS[1:]]
        assert torch.allclose(loaded.state_dict()["prob_2"], model.state_dict()["prob_2"])
    assert kenlm.Model(str(compressed)).order == 2
    again = tmp_path / "again.arpa.gz"
    write_arpa(model, again, WORDS)
    assert again.read_bytes() == compressed.read_bytes()
    for broken in (compressed.read_bytes()[:40], compressed.read_bytes()[:-3] + b"\0\0\0"):
        compressed.write_bytes(broken)
        with pytest.raises(WenmoError, match="not a complete gzip file"):
            read_arpa(compressed)


@pytest.mark.parametrize("order", [2, 4])
def test_scores_match_kenlm_for_escaped_words(order: int, tmp_path: Path) -> None:
    model = fitted_model(order)
    write_arpa(model, tmp_path / "model.arpa", WORDS)
    reference = kenlm.Model(str(tmp_path / "model.arpa"))
    for text in ([], [1, 2, 1], [3, 7, 5, 6, 1, 2], [4, 4, 1, 2, 5]):
        ours = model.log_prob(np.array([0, *text, 0])).sum() / math.log(10)
        assert reference.score(" ".join(escape(WORDS[i]) for i in text)) == pytest.approx(
            ours, rel=1e-4
        )


def test_scores_match_kenlm_on_penn_treebank(data: Path, tmp_path: Path) -> None:
    lines = (data / "lm/ptb/valid.txt").read_text(encoding="utf-8").splitlines()
    texts = [line.split() for line in lines]
    ids = {word: i for i, word in enumerate(["</s>", *sorted({w for t in texts for w in t})])}
    streams = [np.array([0, *(ids[word] for word in text), 0], np.uint16) for text in texts]
    model = NgramConfig(order=4, prune=(0, 0, 1)).build(len(ids))
    model.fit(np.concatenate([streams[0], *(stream[1:] for stream in streams[1:3000])]))
    write_arpa(model, tmp_path / "ptb.arpa", list(ids))
    reference = kenlm.Model(str(tmp_path / "ptb.arpa"))
    for text, stream in zip(texts[2800:], streams[2800:], strict=True):  # 200 of them counted
        ours = model.log_prob(stream).sum() / math.log(10)
        assert reference.score(" ".join(map(escape, text))) == pytest.approx(ours, rel=1e-4)


@given(st.text())
def test_unescape_inverts_escape(word: str) -> None:
    escaped = escape(word)
    assert unescape(escaped) == word
    assert escaped not in ("<s>", "</s>", "<unk>")
    assert escaped.split() == ([escaped] if word else [])


EXTERNAL_FILE = """made by another program

\\data\\
ngram 1=5
ngram 2=3

\\1-grams:
-1.0 <unk> -0.5
-99 <s> -0.25
-0.5 </s>
-0.75 a -0.125
-inf b

\\2-grams:
-0.1 <s> a
-0.2 a </s>
-0.3 <unk> a

\\end\\
"""


def test_external_file_backs_off(tmp_path: Path) -> None:
    path = tmp_path / "external.arpa"
    path.write_text(EXTERNAL_FILE, encoding="utf-8")
    model, words = read_arpa(path)
    assert words == ["</s>", "<unk>", "a", "b"]
    logits, _ = model(torch.tensor([[0, 2, 1]]))
    log10 = (logits[0] / math.log(10)).numpy()
    assert log10[0] == pytest.approx([-0.75, -1.25, -0.1, -99.25])  # after <s>
    assert log10[1] == pytest.approx([-0.2, -1.125, -0.875, -99.125])  # after a
    assert log10[2] == pytest.approx([-1.0, -1.5, -0.3, -99.5])  # after <unk>
    assert model.log_prob(np.array([0, 2, 0])) == pytest.approx(np.log(10) * np.array([-0.1, -0.2]))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("\\data\\", "data", r"external.arpa: not an ARPA file: no line is \\data"),
        ("ngram 2=3", "ngram 3=3", "5: expected 'ngram 2=COUNT'"),
        ("ngram 2=3", "ngram 2=4", "19: 3 n-grams of order 2, but the header declares 4"),
        ("ngram 2=3", "", r"14: expected \\end\\"),
        ("\\2-grams:", "\\3-grams:", "14: expected .2-grams:"),
        ("-0.75 a", "high a", "11: expected a log10 probability, 1 word"),
        ("-0.75 a", "0.75 a", "11: expected a log10 probability, 1 word"),
        ("-0.75 a -0.125", "-0.75 a nan", "11: expected a log10 probability, 1 word"),
        ("-0.2 a </s>", "-0.2 a", "16: expected a log10 probability, 2 words"),
        ("-0.2 a </s>", "-0.2 a c", "16: 'c' is not among the 1-grams"),
        ("-0.2 a </s>", "-0.2 a <s>", "16: <s> can only be the first"),
        ("-0.2 a </s>", "-0.1 <s> a", "16: the n-gram occurs twice"),
        ("-inf b", "-1 a", "12: 'a' occurs twice"),
        ("\\end\\", "", "the file ends without"),
    ],
)
def test_error_names_the_line(old: str, new: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "external.arpa"
    path.write_text(EXTERNAL_FILE.replace(old, new), encoding="utf-8")
    with pytest.raises(WenmoError, match=message):
        read_arpa(path)


def test_error_for_missing_context(tmp_path: Path) -> None:
    text = EXTERNAL_FILE.replace("ngram 2=3\n", "ngram 2=3\nngram 3=1\n")
    text = text.replace("\\end\\", "\\3-grams:\n-0.1 b a a\n\\end\\")
    (tmp_path / "a.arpa").write_text(text, encoding="utf-8")
    with pytest.raises(WenmoError, match="21: its context 'b a' is not"):
        read_arpa(tmp_path / "a.arpa")


def test_error_for_invalid_utf8(tmp_path: Path) -> None:
    (tmp_path / "a.arpa").write_bytes(EXTERNAL_FILE.encode().replace(b"-inf b", b"-inf \xff"))
    with pytest.raises(WenmoError, match="12: the word is not valid UTF-8"):
        read_arpa(tmp_path / "a.arpa")


def test_errors_of_reading_and_writing(tmp_path: Path) -> None:
    with pytest.raises(WenmoError, match="No such file"):
        read_arpa(tmp_path / "absent.arpa")
    (tmp_path / "file").write_text("here")
    with pytest.raises(WenmoError, match="a file exists where a folder is needed"):
        write_arpa(fitted_model(2), tmp_path / "file" / "a.arpa", WORDS)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (WORDS[:-1], "7 words for a vocabulary of 8"),
        ([*WORDS[:-1], "春"], "2 ids have the word '春'"),
        ([*WORDS[:-1], ""], "a word is empty"),
    ],
)
def test_error_for_invalid_words(words: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(WenmoError, match=message):
        write_arpa(fitted_model(2), tmp_path / "a.arpa", words)
    assert not list(tmp_path.iterdir())
