"""CTRL's tokenizer files: a vocabulary with @@ after pieces that do not end a word, and merges."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as Library

import wenmo as package
from wenmo.decoding.generator import TextGenerator
from wenmo.decoding.params import Sampling
from wenmo.interchange.pretrained import open_pretrained
from wenmo.interchange.tokenizer_files import read_vocabulary
from wenmo.text.lookup import VocabularyTokenizer
from wenmo.types import WenmoError

TEXTS = [
    "Links The quick brown fox jumps over the lazy dog, and 1234 more.",
    "Wikipedia She sells sea shells; the shells she sells are surely seashells.",
    "春眠不觉晓，处处闻啼鸟。 夜来风雨声，花落知多少。",
    "@@ -1,2 @@ café naïve\n",
    "sea\nshells\nLinks 春眠不觉晓，处处闻啼鸟。\n",
] * 20


def write_files(folder: Path, texts: Iterable[str], size: int) -> int:
    """Write merges and a vocabulary of the merged pieces; returns the vocabulary size."""
    folder.mkdir(exist_ok=True)
    texts = list(texts)
    library = Library(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    library.pre_tokenizer = pre_tokenizers.Split(Regex(r"\S+\n?"), "removed", invert=True)
    trainer = trainers.BpeTrainer(vocab_size=size, end_of_word_suffix="</w>", show_progress=False)
    library.train_from_iterator(texts, trainer)
    made = json.loads(library.to_str())["model"]
    pairs = [pair if isinstance(pair, list) else pair.split(" ") for pair in made["merges"]]
    merges = [(first, second) for first, second in pairs if "\n" not in first + second]
    lines = ["#version: 0.2", *map(" ".join, merges), ""]
    (folder / "merges.txt").write_text("\n".join(lines), "utf-8")
    library.model = models.BPE(
        {**made["vocab"], "<unk>": len(made["vocab"])},
        merges,
        unk_token="<unk>",
        end_of_word_suffix="</w>",
    )
    seen: Counter[str] = Counter()
    for text in texts:
        for piece in library.encode(text).tokens:
            seen[piece.removesuffix("</w>") if piece.endswith("</w>") else piece + "@@"] += 1
    known = [piece for piece, count in seen.most_common() if count > 1 and piece != "\n"]
    vocabulary = {piece: id_ for id_, piece in enumerate([*known, "<unk>", "\n"])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), "utf-8")
    return len(vocabulary)


def load_both(folder: Path) -> tuple[Any, VocabularyTokenizer]:
    """The tokenizer of transformers, and that of wenmo."""
    import transformers

    reference = transformers.CTRLTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    loaded = read_vocabulary(folder, "ctrl").tokenizer(len(reference), len(reference) + 1)
    assert isinstance(loaded, VocabularyTokenizer)
    return reference, loaded


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small CTRL with random weights in hub format; it has no end-of-text token."""
    import transformers

    path: Path = tmp_path_factory.mktemp("ctrl")
    config = transformers.CTRLConfig(
        vocab_size=write_files(path, TEXTS, 300),
        n_positions=64,
        n_embd=32,
        dff=48,
        n_layer=2,
        n_head=4,
    )
    torch.manual_seed(0)
    model = transformers.CTRLLMHeadModel(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.15)
    model.save_pretrained(path)
    return path


some_text = st.lists(
    st.one_of(
        st.sampled_from(["Links", " fox", "sea", "shells", "1234", "@@", "</w>", "<unk>", "☃"]),
        st.sampled_from([" ", "\n", "  ", "\x1c", "\x85", "\u3000", "\u2028"]),
        st.text("the quick sea shell 春眠不觉晓，café\n", max_size=8),
    ),
    max_size=8,
).map("".join)


def test_ids_match_transformers(folder: Path) -> None:
    reference, loaded = load_both(folder)

    @settings(max_examples=300, deadline=None)
    @given(some_text)
    def same(text: str) -> None:
        assert loaded.external_ids(loaded.encode(text).tolist()) == reference(text).input_ids

    same()
    assert reference.tokenize("Links The") == ["Links", "The"]  # a control code is one token


def test_ids_of_real_lines_match_transformers(data: Path, tmp_path: Path) -> None:
    with gzip.open(data / "mt" / "multi30k" / "train.en.gz", "rt", encoding="utf-8") as file:
        english = file.read().splitlines()
    pairs = (data / "mt" / "tatoeba_en_zh" / "train.tsv").read_text("utf-8").splitlines()
    chinese = [line.split("\t")[1] for line in pairs]
    write_files(tmp_path, english[:2000] + chinese[:1000], 2000)
    reference, loaded = load_both(tmp_path)
    without_unknown = 0
    for text in (*english[-2000:], *chinese[-2000:]):
        ids = loaded.encode(text).tolist()
        assert loaded.external_ids(ids) == reference(text).input_ids
        if reference.unk_token_id not in loaded.external_ids(ids):
            without_unknown += 1
            assert loaded.decode(ids) == " ".join(text.split())
    assert without_unknown > 1000


def test_encode_decode_round_trip(folder: Path) -> None:
    _, tokenizer = load_both(folder)
    for text in (TEXTS[0], "春眠不觉晓，处处闻啼鸟。\nLinks sea\nshells", "sea shells\n", ""):
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids.tolist()) == text
        records = [(text, True), (text, True)]
        twice = np.concatenate([ids for ids, _ in tokenizer.encode_pieces(records)])
        assert tokenizer.count_bytes(twice) == 2 * (len(text.encode()) + 1)


def test_texts_match_transformers(folder: Path) -> None:
    import transformers

    model = transformers.CTRLLMHeadModel.from_pretrained(folder, local_files_only=True).eval()
    reference, _ = load_both(folder)
    opened = open_pretrained(folder)
    writer = TextGenerator(opened.model, opened.tokenizer)
    prompts = ["Links The quick", "Wikipedia 春眠不觉晓，处处闻啼鸟。", "Links"]
    for beams, method in ((1, "greedy"), (3, "beam")):
        sampling = Sampling(
            method=method,  # type: ignore[arg-type]
            beam_width=3,
            length_penalty=0.0,
            max_tokens=12,
        )
        written = writer.generate(prompts, sampling)
        for prompt, [output] in zip(prompts, written, strict=True):
            ids = reference(prompt, return_tensors="pt")
            [full] = model.generate(
                **ids, num_beams=beams, max_new_tokens=12, do_sample=False, length_penalty=0.0
            )
            assert output.stopped_by == "length"
            assert (
                opened.tokenizer.external_ids(output.ids) == full[ids.input_ids.shape[1] :].tolist()
            )
            expected = reference.decode(full, skip_special_tokens=True).replace("\n ", "\n")
            assert prompt + output.text == expected.removesuffix("@@")


def test_added_end_token_can_be_trained(wenmo: Any, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "my.txt").write_text("Links sea shells\n" * 400, "utf-8")
    command = ("train", "my.txt", "--unit", "line", "--from", folder, "--out", "run")
    wenmo(
        *command,
        "--steps",
        60,
        "batch_size=8",
        "sequence_length=16",
        "learning_rate=0.01",
        "eval_count=1",
        cwd=tmp_path,
    )
    run = package.load(tmp_path / "run")
    assert isinstance(run.tokenizer, VocabularyTokenizer)
    [[output]] = run.write(["Links"], method="greedy", max_tokens=12)
    assert (output.text, output.stopped_by) == (" sea shells", "end")
    assert "".join(run.stream("Links", method="greedy", max_tokens=12)) == " sea shells"


def test_errors_for_damaged_files(folder: Path, tmp_path: Path) -> None:
    for name, content, match in (
        ("merges.txt", "#version\na b c\n", "merges.txt: damaged"),
        ("merges.txt", "#version\nab\n", "merges.txt: damaged"),
        ("vocab.json", '{"a": 0}', "<unk> is missing"),
        ("vocab.json", '{"<unk>": 3000000000}', "but the last"),
    ):
        for file in ("vocab.json", "merges.txt"):
            (tmp_path / file).write_bytes((folder / file).read_bytes())
        (tmp_path / name).write_text(content, "utf-8")
        with pytest.raises(WenmoError, match=match) as error:
            read_vocabulary(tmp_path, "ctrl").tokenizer(300, 301)
        assert "\n" not in str(error.value)
