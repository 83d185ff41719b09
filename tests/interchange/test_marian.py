"""Marian's tokenizer files: a SentencePiece model for each side, and a shared vocabulary."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import wenmo as package
from wenmo.decoding.generator import TextGenerator
from wenmo.decoding.params import Sampling
from wenmo.interchange.pretrained import open_pretrained
from wenmo.interchange.tokenizer_files import read_vocabulary
from wenmo.text.lookup import VocabularyTokenizer
from wenmo.types import END, WenmoError

sentencepiece = pytest.importorskip("sentencepiece", reason="needs the sentencepiece package")
# Its normalizer of punctuation is for training data alone.
pytestmark = pytest.mark.filterwarnings("ignore:Recommended. pip install sacremoses")

ENGLISH = [
    "The quick brown fox jumps over the lazy dog, 1234 times.",
    "She sells sea shells by the sea shore; the shells she sells are surely seashells.",
    "ｆｕｌｌ width, café, naïve, ﬁne print",
] * 30
CHINESE = ["春眠不觉晓，处处闻啼鸟。", "夜来风雨声，花落知多少。", "the fox 狐狸 and 1234"] * 30
MARKS = (">>zh<<", ">>de<<", "☃", "<pad>")  # a snowman is known, but to neither side's model


def trained(lines: list[str], size: int) -> bytes:
    made = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=made,
        vocab_size=size,
        minloglevel=2,
        hard_vocab_limit=False,
        num_threads=1,
    )
    return made.getvalue()


def write_files(folder: Path, source: bytes, target: bytes) -> int:
    """Write the three files, with a few pieces missing; returns the vocabulary size."""
    folder.mkdir(exist_ok=True)
    pieces = {"</s>": 0, "<unk>": 1}
    for name, content in (("source.spm", source), ("target.spm", target)):
        (folder / name).write_bytes(content)
        model = sentencepiece.SentencePieceProcessor(model_proto=content)
        for id_ in range(3, model.get_piece_size()):
            if id_ % 37 != 5:
                pieces.setdefault(model.id_to_piece(id_), len(pieces))
    pieces |= {mark: len(pieces) + number for number, mark in enumerate(MARKS)}
    (folder / "vocab.json").write_text(json.dumps(pieces, ensure_ascii=False), "utf-8")
    return len(pieces)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Marian with random weights in hub format."""
    import transformers

    path: Path = tmp_path_factory.mktemp("marian")
    size = write_files(path, trained(ENGLISH, 120), trained(CHINESE, 90))
    config = transformers.MarianConfig(
        vocab_size=size,
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        max_position_embeddings=64,
        scale_embedding=True,
        activation_function="swish",
        pad_token_id=size - 1,
        decoder_start_token_id=size - 1,
        eos_token_id=0,
        forced_eos_token_id=None,
    )
    torch.manual_seed(0)
    model = transformers.MarianMTModel(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn_like(weight) * 0.15)
        model.final_logits_bias[0, -1] = 9.0  # padding would be written, were it not forbidden
    model.generation_config.bad_words_ids = [[size - 1]]
    model.save_pretrained(path)
    return path


def load_both(folder: Path) -> tuple[Any, VocabularyTokenizer]:
    """The tokenizer of transformers, and that of wenmo."""
    import transformers

    files = (folder / name for name in ("source.spm", "target.spm", "vocab.json"))
    reference = transformers.MarianTokenizer(*map(str, files))
    loaded = read_vocabulary(folder, "marian").tokenizer(0, len(reference))
    assert isinstance(loaded, VocabularyTokenizer)
    return reference, loaded


def check_same(reference: Any, loaded: VocabularyTokenizer, text: str) -> None:
    """Check that ids match, and the decoded text if there is no unknown token."""
    source, target = loaded.encode_source(text).tolist(), loaded.encode(text).tolist()
    assert [*loaded.external_ids(source), 0] == reference(text).input_ids
    assert [*loaded.external_ids(target), 0] == reference(text_target=text).input_ids
    if reference.unk_token_id not in target:
        assert loaded.decode(target).strip() == reference.decode(target, skip_special_tokens=True)


some_text = st.lists(
    st.one_of(
        st.sampled_from([*MARKS, ">>xx<<", "</s>", "<unk>", "<s>", ">>", "<<", "☃☃", " ", "\n"]),
        st.sampled_from(["The", " quick", "fox", "  ", "sea", "shells", "1234", "春眠", "，"]),
        st.text("the quick sea shell 春眠不觉晓，café", max_size=8),
    ),
    max_size=6,
).map("".join)


def test_ids_match_transformers(folder: Path) -> None:
    reference, loaded = load_both(folder)

    @settings(max_examples=150, deadline=None)
    @given(some_text)
    def same(text: str) -> None:
        check_same(reference, loaded, text)

    same()
    for text in (*ENGLISH[:3], *CHINESE[:3], ">>zh<< The fox", ">>zh<<The fox", "The >>zh<< fox"):
        check_same(reference, loaded, text)
    for text in (">><pad>>>zh<<", ">><unk>The<<", ">></s><<"):
        check_same(reference, loaded, text)


def test_ids_of_real_lines_match_transformers(data: Path, tmp_path: Path) -> None:
    """With small vocabularies, so that lines split into many pieces."""
    with gzip.open(data / "mt" / "multi30k" / "train.de.gz", "rt", encoding="utf-8") as file:
        german = file.read().splitlines()
    pairs = (data / "mt" / "tatoeba_en_zh" / "train.tsv").read_text("utf-8").splitlines()
    english, chinese = zip(*(line.split("\t") for line in pairs), strict=True)
    write_files(
        tmp_path,
        trained(german[:1500] + list(english[:500]), 1000),
        trained(list(english[:500]) + list(chinese[:1500]), 2500),
    )
    reference, loaded = load_both(tmp_path)
    for text in (*german[-1500:], *english[-500:], *chinese[-1500:]):
        check_same(reference, loaded, text)


def test_translations_match_transformers(folder: Path) -> None:
    import transformers

    model = transformers.MarianMTModel.from_pretrained(folder, local_files_only=True).eval()
    reference, _ = load_both(folder)
    opened = open_pretrained(folder)
    writer = TextGenerator(opened.model, opened.tokenizer)
    sources = [">>zh<< The quick brown fox.", "She sells sea shells", "café 1234"]
    for beams, method in ((1, "greedy"), (4, "beam")):
        sampling = Sampling(
            method=method,  # type: ignore[arg-type]
            beam_width=4,
            length_penalty=0.0,
            max_tokens=8,
            min_tokens=8,
        )
        written = writer.generate([""] * len(sources), sampling, sources=list(sources))
        for source, [output] in zip(sources, written, strict=True):
            ids = reference(source, return_tensors="pt")
            [full] = model.generate(
                **ids,
                num_beams=beams,
                length_penalty=0.0,
                min_new_tokens=8,
                max_new_tokens=8,
                do_sample=False,
            )
            if method == "greedy" or opened.tokenizer.external_ids(output.ids) == full[1:].tolist():
                assert opened.tokenizer.external_ids(output.ids) == full[1:].tolist()
                assert output.text.strip() == reference.decode(full, skip_special_tokens=True)
            else:  # ours also follows the greedy text, in a row more
                assert output.logprob > log_probability(model, ids, full)


def log_probability(model: Any, ids: Any, full: torch.Tensor) -> float:
    with torch.no_grad():
        logits = model(**ids, decoder_input_ids=full[None, :-1]).logits
    return float(logits[0].log_softmax(-1).gather(1, full[1:, None]).sum())


def test_finetuned_run_keeps_both_vocabularies(wenmo: Any, folder: Path, tmp_path: Path) -> None:
    import transformers

    pairs = "".join(f"The fox sells {n} shells\t狐狸 {n} 花落\n" for n in range(60))
    (tmp_path / "pairs.tsv").write_text("source\ttarget\n" + pairs, "utf-8")
    command = ("train", "pairs.tsv", "--task", "translation", "--from", folder, "--out", "run")
    wenmo(*command, "--steps", 4, "tokens_per_batch=256", "eval_count=1", cwd=tmp_path)
    run = package.load(tmp_path / "run")
    assert isinstance(run.tokenizer, VocabularyTokenizer)
    reference = transformers.AutoTokenizer.from_pretrained(tmp_path / "run", local_files_only=True)
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(
        tmp_path / "run", local_files_only=True
    ).eval()
    check_same(reference, run.tokenizer, "The fox sells 春眠不觉晓")
    [[output]] = run.write(["The fox sells 7 shells"], method="greedy", max_tokens=8)
    ids = reference("The fox sells 7 shells", return_tensors="pt")
    [full] = model.generate(**ids, num_beams=1, max_new_tokens=8, do_sample=False)
    assert run.tokenizer.external_ids(output.ids) == full[1:].tolist()


def test_pairs_alternate_source_and_target(folder: Path) -> None:
    _, tokenizer = load_both(folder)

    def pieces() -> Iterator[tuple[str, bool]]:
        yield from (("The quick", False), (" fox", True), ("春眠", True), ("", True), ("fox", True))

    ids = [int(id_) for part, _ in tokenizer.encode_pairs(pieces()) for id_ in part]
    source, target = tokenizer.encode_source("The quick fox"), tokenizer.encode("春眠")
    expected = [END, *source, END, *target, END, END, *tokenizer.encode("fox"), END]
    assert ids == expected
    assert tokenizer.encode_source("fox").tolist() != tokenizer.encode("fox").tolist()


def test_errors_for_damaged_files(folder: Path, tmp_path: Path) -> None:
    def refused(match: str, **changes: bytes) -> None:
        for name in ("source.spm", "target.spm", "vocab.json", "target_vocab.json"):
            (tmp_path / name).unlink(missing_ok=True)
            content = changes.get(name.replace(".", "_"))
            if content is not None or (folder / name).exists():
                (tmp_path / name).write_bytes(content or (folder / name).read_bytes())
        with pytest.raises(WenmoError, match=match) as error:
            read_vocabulary(tmp_path, "marian").tokenizer(0, 100_000)
        assert "\n" not in str(error.value)

    refused("source.spm: damaged", source_spm=b"\xff" * 20)
    refused("vocab.json: damaged", vocab_json=b"{")
    refused("<unk> is missing", vocab_json=b"{}")
    refused("vocab.json: damaged", vocab_json=b'{"<unk>": "a"}')
    refused("vocab.json: damaged", vocab_json=b'{"<unk>": -1}')
    refused("but the last", vocab_json=b'{"<unk>": 4000000000}')
    refused("separate vocabularies", target_vocab_json=b"{}")
