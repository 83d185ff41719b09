"""Word vectors in the formats of word2vec and GloVe, and embeddings initialized with them."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

import wenmo
from wenmo.text.vectors import read_vectors
from wenmo.types import WenmoError

LINES = "fox 1 2.5 -3\n春眠 0.5 0 1e-2\nowl 7 8 9 \n"


@pytest.mark.parametrize("head", ["", "3 3\n"])
@pytest.mark.parametrize("packed", [False, True])
def test_both_formats(head: str, packed: bool, tmp_path: Path) -> None:
    data = (head + LINES).encode()
    path = tmp_path / ("v.txt.gz" if packed else "v.txt")
    path.write_bytes(gzip.compress(data) if packed else data)
    found = read_vectors(path, {"fox", "春眠", "cat"})
    assert found.keys() == {"fox", "春眠"}
    np.testing.assert_array_equal(found["春眠"], np.array([0.5, 0, 0.01], np.float32))
    assert len(read_vectors(path, {"owl"})["owl"]) == 3


def test_errors_name_the_line(tmp_path: Path) -> None:
    path = tmp_path / "v.txt"
    for text, match in (
        ("fox 1 2 3\nowl 1 2\n", ":2: 2 numbers"),
        ("fox 1 2 3\nowl 1 two 3\n", ":2: not a word"),
        ("fox\n", ":1: 0 numbers"),
    ):
        path.write_text(text)
        with pytest.raises(WenmoError, match=match):
            read_vectors(path, {"fox", "owl"})
    path.write_bytes(b"\xff\xfe\x00binary")
    with pytest.raises(WenmoError, match="UTF-8"):
        read_vectors(path, {"fox"})
    with pytest.raises(WenmoError, match="cannot be read"):
        read_vectors(tmp_path / "none.txt", {"fox"})


def test_embeddings_are_initialized_with_vectors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.txt").write_text("the quick fox and the owl met\n" * 80)
    (tmp_path / "v.txt").write_text("fox 1 2 3 4\nowl 5 6 7 8\n")
    told: list[str] = []
    settings = {
        "tokenizer.kind": "words",
        "embedding_size": 4,
        "hidden_size": 8,
        "steps": 1,
        "learning_rate": 1e-9,
        "ngram_prior.enabled": False,
        "word_vectors": "v.txt",
        "optimizer": "sgd",
    }
    run = wenmo.fit(
        "my.txt",
        model="lstm",
        out="run",
        settings=settings,
        on_progress=lambda s, _: told.append(s),
    )
    assert any("2 of" in line for line in told)
    embedding = run.model.embedding.weight
    [fox] = run.tokenizer.encode("fox").tolist()
    np.testing.assert_allclose(embedding[fox].detach(), [1, 2, 3, 4], atol=1e-4)
    with pytest.raises(WenmoError, match="4 numbers do not fit embeddings 5 wide"):
        wenmo.fit("my.txt", model="lstm", out="other", settings={**settings, "embedding_size": 5})
