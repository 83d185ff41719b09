"""Corpora: training and validation text as arrays of ids, built once and memory-mapped.

A task with sources makes pairs of the records: then the texts are source, target, source, target,
and so on, with ``END`` before, between and after them.

Records are spooled to a file of raw UTF-8, so that a source of any size is read once and never held
in memory. They are split, the tokenizer is trained on the training split alone, and both splits are
encoded. The result is cached under a hash of all inputs.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wenmo.files import checksum
from wenmo.text.cache import cached, digest
from wenmo.text.chat_formatter import ChatFormatter
from wenmo.text.config import ReadConfig, SplitConfig, TaskConfig, TokenizerConfig
from wenmo.text.control import Values, without_long_lists
from wenmo.text.readers import Reader, Source
from wenmo.text.reading_summary import counts_of
from wenmo.text.sketch import is_distinctive, sketch
from wenmo.text.spool import PIECE, Progress, Spool
from wenmo.text.tasks import COMPLETION, open_records
from wenmo.text.tokenizers import Tokenizer
from wenmo.text.vocabularies import CODE_POINTS
from wenmo.types import WenmoError

__all__ = ["Corpus", "Encoded", "Progress", "SplitConfig", "build", "encode_text"]

FORMAT = 8
"""Version of the cache layout: increment it when content or keys of entries change."""

MIN_RECORDS = 20
"""With at least this many records, records are held out; with fewer, the end of the text. Pairs are
always held out as units."""

DEFAULT_SPLIT = 0.1, 1_000_000
"""Default validation split: this fraction of the text, but at most this many bytes."""

MIN_TOKENS = 20
"""Minimum number of training tokens."""

PIECES_PER_UPDATE = 1000
"""Number of pieces whose characters are recorded together."""

UNUSED_COUNTS = ("tokens", "same_length")  # counts that `Encoded` does not have

IDS, ENDS = ".bin", ".ends"


@dataclass(frozen=True)
class Encoded:
    """A text, or pairs of texts, as ids.

    Attributes:
        ids: ``END``, record, ``END``, record, ``END``, ... or ``END``, source, ``END``, target,
            ``END``, ...: memory-mapped uint16 or uint32.
        bytes: UTF-8 bytes of the records, or of the targets, plus one for the end of each: the unit
            of bits per byte.
        records: number of records, or pairs.
        characters: number of characters of the records, or of the targets.
        source_tokens: number of ids of the sources, including the ``END`` after each.
        longest_target: maximum number of ids of a target, ``END`` included; 0 if there are no
            pairs.
        ends: for pairs, the indices of the ``END``s that separate texts, int64 (texts + 1,).
        notes: remarks on how the text was read, one per line.
        sketch: sketch of the text; see `wenmo.text.sketch`.
    """

    ids: NDArray[np.unsignedinteger]
    bytes: int
    records: int
    characters: int
    source_tokens: int = 0
    longest_target: int = 0
    ends: NDArray[np.int64] | None = None
    notes: tuple[str, ...] = ()
    sketch: str = ""

    @property
    def tokens(self) -> int:
        """The number of predicted ids: all but the first and those of sources."""
        return len(self.ids) - 1 - self.source_tokens


@dataclass(frozen=True)
class Corpus:
    """A training and a validation text.

    Attributes:
        train: ids of the training split, as in ``Encoded``.
        valid: ids of the validation split.
        tokenizer: the tokenizer of both.
        fingerprint: hash of both splits' ids and the tokenizer, 16 hexadecimal digits.
        summary: for ``train`` and ``valid`` the ``records``, ``characters``, ``bytes`` and
            ``tokens``, and for pairs ``source_tokens`` and ``longest_target``, as in ``Encoded``,
            and ``same_length``, the number of targets with as many characters as their source;
            ``missing`` records; ``valid_bytes``; a description ``held_out``; the `sketch` of the
            training split; and the ``control`` values, see `wenmo.text.control`.
        notes: warnings, one per line.
        train_ends, valid_ends: for pairs, as ``Encoded.ends``.
        alphabet: sorted characters of the training split, or of its targets; None: unknown.
    """

    train: NDArray[np.unsignedinteger]
    valid: NDArray[np.unsignedinteger]
    tokenizer: Tokenizer
    fingerprint: str
    summary: dict[str, Any]
    notes: list[str] = field(default_factory=list)
    train_ends: NDArray[np.int64] | None = None
    valid_ends: NDArray[np.int64] | None = None
    alphabet: str | None = None


def build(
    path: Source,
    *,
    read: ReadConfig,
    tokenizer: TokenizerConfig | Tokenizer,
    split: SplitConfig,
    task: TaskConfig = COMPLETION,
    valid_path: Source | None = None,
    target: Source | None = None,
    valid_target: Source | None = None,
    formatter: ChatFormatter | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Corpus:
    """Read, split and encode a text, or load it from the cache.

    With at least 20 records, records are drawn in an order that depends on the seed until the
    fraction is reached. With fewer, the last characters of the text are held out, within a record
    if none ends nearby. Pairs are drawn as units, and all pairs of one record, or with the same
    source, stay together.

    Args:
        path: a file, a folder, or ``-``.
        read: settings of reading.
        tokenizer: a tokenizer, or the settings for training one on the training split.
        split: settings of the validation split; unused with ``valid_path``.
        task: settings of the task (default: completion).
        valid_path: separate validation text; then all of ``path`` is training text.
        target: file with the targets of parallel text.
        valid_target: file with the targets of ``valid_path``.
        formatter: formatter of conversations for a model with a chat template.
        cache: cache folder (default ``$WENMO_CACHE``, ``$XDG_CACHE_HOME/wenmo`` or
            ``~/.cache/wenmo``).
        progress: called with the current stage and the fraction of it that is done.

    Raises:
        WenmoError: the text cannot be read, is too short, or the disk is full.
    """
    report = progress or _ignore
    readers = [open_records(path, read, task, target)]
    if valid_path is not None:
        readers.append(open_records(valid_path, read, task, valid_target))
    elif valid_target is not None:
        raise WenmoError(f"{valid_target}: held-out targets need their sources: give both, or none")
    report("looking into the cache", 0.0)
    notes = [note for reader in readers for note in reader.notes]
    key = _key("corpus", readers, read, task, tokenizer, split, formatter)

    def make(temporary: Path, folder: Path) -> dict[str, Any]:
        train, valid, held_out, control = _split(temporary, readers, task, split, report, formatter)
        if valid.records == 0:
            raise WenmoError(f"{path}: {nothing_held_out(train)}")
        _require_enough(path, train.records and train.bytes)
        if isinstance(tokenizer, Tokenizer):
            trained = tokenizer
        else:
            report("training the tokenizer", 0.0)
            trained = Tokenizer.train((piece for piece, _ in train.pieces()), tokenizer)
            trained.save(folder / "tokenizer.json")
        seen = np.zeros(CODE_POINTS, bool)
        summary: dict[str, Any] = {
            "train": _encode(train, trained, folder / "train.bin", report, seen),
            "valid": _encode(valid, trained, folder / "valid.bin", report),
            "missing": sum(reader.counts.missing for reader in readers),
            "held_out": held_out,
            "reading": counts_of(readers[0]),
            "sketch": sketch(train),
            **({"control": without_long_lists(control)} if control else {}),
        }
        summary["valid_bytes"] = summary["valid"]["bytes"]
        _require_enough(path, summary["train"]["tokens"])
        report("looking for held-out text in the training text", 0.0)
        alphabet = "".join(map(chr, np.flatnonzero(seen)))
        return {"summary": summary, "notes": leakage_notes(train, valid), "alphabet": alphabet}

    names = [name for split_name in ("train", "valid") for name in _files(split_name, task)]
    trained_files = () if isinstance(tokenizer, Tokenizer) else ("tokenizer.json",)
    entry, meta = cached(cache, key, (*names, *trained_files), make)
    if isinstance(tokenizer, Tokenizer):
        trained = tokenizer
    else:
        trained = Tokenizer.load(entry / "tokenizer.json")
    sums = [meta["files"][name]["checksum"] for name in ("train.bin", "valid.bin")]
    return Corpus(
        train=_map(entry / "train.bin", trained),
        valid=_map(entry / "valid.bin", trained),
        tokenizer=trained,
        fingerprint=digest(*sums, trained.fingerprint)[:16],
        summary=meta["summary"],
        notes=[*notes, *meta["notes"]],
        train_ends=_map_ends(entry / "train.ends", task),
        valid_ends=_map_ends(entry / "valid.ends", task),
        alphabet=meta["alphabet"],
    )


def encode_text(
    path: Source,
    read: ReadConfig,
    tokenizer: Tokenizer,
    *,
    task: TaskConfig = COMPLETION,
    target: Source | None = None,
    formatter: ChatFormatter | None = None,
    cache: Path | None = None,
) -> Encoded:
    """Read and encode a text, or pairs of texts, without a split, or load it from the cache.

    Raises:
        WenmoError: the text cannot be read, or the disk is full.
    """
    reader = open_records(path, read, task, target)
    notes = tuple(reader.notes)
    key = _key("text", [reader], read, task, tokenizer, None, formatter)

    def make(temporary: Path, folder: Path) -> dict[str, Any]:
        spool = Spool.write(temporary / "text", reader, task, _ignore, formatter)
        counts = _encode(spool, tokenizer, folder / "text.bin", _ignore)
        return {"summary": counts | {"sketch": sketch(spool)}}

    entry, meta = cached(cache, key, _files("text", task), make)
    counts = {name: count for name, count in meta["summary"].items() if name not in UNUSED_COUNTS}
    ends = _map_ends(entry / "text.ends", task)
    return Encoded(ids=_map(entry / "text.bin", tokenizer), ends=ends, notes=notes, **counts)


def _split(
    folder: Path,
    readers: list[Reader],
    task: TaskConfig,
    split: SplitConfig,
    report: Progress,
    formatter: ChatFormatter | None,
) -> tuple[Spool, Spool, str, Values]:
    """The training and validation spools, a description of the split, and the control values."""
    spool = spool_records(folder, readers[0], task, report, formatter)
    if len(readers) > 1:
        valid = Spool.write(folder / "valid_spool", readers[1], task, report, formatter)
        return spool, valid, "a text of its own", spool.control
    return split_spool(spool, task, split)


def spool_records(
    folder: Path,
    reader: Reader,
    task: TaskConfig,
    report: Progress | None = None,
    formatter: ChatFormatter | None = None,
) -> Spool:
    """All records of a reader, or their examples, spooled into a folder.

    Raises:
        WenmoError: they cannot be read, or none gives an example.
    """
    return Spool.write(folder / "spool", reader, task, report or _ignore, formatter)


def split_spool(
    spool: Spool, task: TaskConfig, split: SplitConfig
) -> tuple[Spool, Spool, str, Values]:
    """The training and validation parts of a spool, a description of the split, and the control
    values.
    """
    fraction = split.valid or min(DEFAULT_SPLIT[0], DEFAULT_SPLIT[1] / spool.bytes)
    if not task.paired and spool.records < MIN_RECORDS:
        return *spool.split_at_end(fraction), f"the last {fraction:.1%} of the characters", {}
    train, valid = spool.split_at_random(fraction, split.seed)
    unit_name = "pairs" if task.paired else "records"
    description = f"{valid.records:,} of {spool.records:,} {unit_name}, drawn at random"
    return train, valid, description, spool.control


def nothing_held_out(spool: Spool) -> str:
    """The reason why no validation text can be split off, and a remedy."""
    if spool.groups is None:
        return "too short to hold anything out: give more text"
    return (
        "all its pairs come from one record, or have one source, so that none can be held out: "
        "give more, read each line as a record (unit=line), or pass --valid FILE"
    )


def _encode(
    spool: Spool,
    tokenizer: Tokenizer,
    path: Path,
    report: Progress,
    seen: NDArray[np.bool_] | None = None,
) -> dict[str, int]:
    """Write the ids, and for pairs the indices of their ENDs; return counts.

    Args:
        seen: bool (code points,); set to True for the characters of the records, or of the targets.
    """
    dtype = np.min_scalar_type(tokenizer.vocab_size - 1)
    characters = tokens = done = 0
    ends = [np.zeros(0, np.int64)]
    side_lengths = array("q")  # characters of source, target, source, ...
    size = int((spool.stops - spool.starts).sum())

    pending: list[str] = []  # pieces whose characters are not recorded yet

    def count_pieces() -> Iterator[tuple[str, bool]]:
        nonlocal characters
        in_source, length = spool.groups is not None, 0
        for piece, last in spool.pieces():
            length += len(piece)
            if last and spool.groups is not None:
                side_lengths.append(length)
                length = 0
            if not in_source:
                characters += len(piece)
                if seen is not None:
                    pending.append(piece)
                    if len(pending) == PIECES_PER_UPDATE or len(piece) > PIECES_PER_UPDATE:
                        _record_characters(seen, pending)
            in_source ^= last and spool.groups is not None
            yield piece, last
        if seen is not None:
            _record_characters(seen, pending)

    lengths = np.array([len(token) for token in tokenizer.table])
    encode = tokenizer.encode_pieces if spool.groups is None else tokenizer.encode_pairs
    with path.open("wb") as file:
        for ids, end_indices in encode(count_pieces()):
            file.write(ids.astype(dtype).tobytes())
            if spool.groups is not None:
                ends.append(end_indices + tokens)
            tokens += len(ids)
            done += int(lengths[ids].sum())
            report("encoding", min(1.0, done / max(1, size)))
    counts = {"records": spool.records, "characters": characters, "bytes": spool.bytes}
    if spool.groups is None:
        return {**counts, "tokens": tokens - 1}
    joined = np.concatenate(ends)
    path.with_suffix(ENDS).write_bytes(joined.tobytes())
    sides = np.diff(joined).reshape(-1, 2)  # tokens of source and target, END included
    sources, targets = map(int, sides.sum(0))
    longest = int(sides[:, 1].max(initial=0))
    lengths = np.array(side_lengths, np.int64).reshape(-1, 2)
    counts |= {"tokens": targets, "source_tokens": sources, "longest_target": longest}
    return {**counts, "same_length": int((lengths[:, 0] == lengths[:, 1]).sum())}


def _record_characters(seen: NDArray[np.bool_], pieces: list[str]) -> None:
    """Record the characters of the pieces, and clear the list."""
    seen[np.frombuffer("".join(pieces).encode("utf-32-le"), "<u4")] = True
    pieces.clear()


def _require_enough(path: Source, tokens: int) -> None:
    if tokens < MIN_TOKENS:
        raise WenmoError(
            f"{path}: at most {tokens} tokens to train on, {MIN_TOKENS} are needed: give more text"
        )


def leakage_notes(train: Spool, valid: Spool) -> list[str]:
    """A warning if held-out text also occurs in the training text.

    Pairs and records are compared as units if many are held out, otherwise lines. Units so short
    that they may repeat by chance are ignored.
    """
    by_record = valid.records >= MIN_RECORDS or valid.groups is not None
    unit_name = "lines" if not by_record else "records" if valid.groups is None else "pairs"
    hashes = [hash(unit) for unit in _units(valid, by_record) if is_distinctive(unit)]
    found = set(hashes).intersection(map(hash, _units(train, by_record)))
    count = sum(unit in found for unit in hashes)
    if count == 0:
        return []
    return [
        f"{count:,} of the {len(hashes):,} held-out {unit_name} long enough to compare "
        f"({count / len(hashes):.1%}) also occur in the training text: held-out scores are too good"
    ]


def _units(spool: Spool, by_record: bool) -> Iterator[str]:
    """The records, pairs or lines of a spool, stripped."""
    buffer, in_source = "", spool.groups is not None
    for piece, ends in spool.pieces():
        *units, buffer = [buffer + piece] if by_record else (buffer + piece).split("\n")
        if ends and in_source:
            buffer += "\n"
        elif ends:
            units.append(buffer)
            buffer = ""
        in_source ^= ends and spool.groups is not None
        yield from map(str.strip, units)
        buffer = buffer[:PIECE]  # only the beginning of a long unit, to bound memory


def _key(
    purpose: str,
    readers: list[Reader],
    read: ReadConfig,
    task: TaskConfig,
    tokenizer: Any,
    split: SplitConfig | None,
    formatter: ChatFormatter | None,
) -> str:
    """A hash of everything that determines the result, above all the content of the files."""
    files = []
    for path in (path for reader in readers for path in [*reader.files, None]):
        try:
            # Of the name, only the suffixes matter: they determine the format.
            files.append(path and [path.suffixes, checksum(path)])
        except OSError as error:
            raise WenmoError(f"{path}: cannot be read: {error.strerror}") from None
    if isinstance(tokenizer, Tokenizer):
        tokenizer = tokenizer.fingerprint
    parallel = [reader.parallel for reader in readers]
    template_key = formatter and [
        formatter.template,
        formatter.max_source_tokens,
        formatter.tokenizer.bos_token,
        formatter.tokenizer.eos_token,
    ]
    inputs = [FORMAT, purpose, files, parallel, read, task, tokenizer, split, template_key]
    return digest(json.dumps(inputs, default=asdict))


def _files(split_name: str, task: TaskConfig) -> tuple[str, ...]:
    """The names of a split's files."""
    return (f"{split_name}{IDS}", f"{split_name}{ENDS}") if task.paired else (f"{split_name}{IDS}",)


def _map(path: Path, tokenizer: Tokenizer) -> NDArray[np.unsignedinteger]:
    # As a plain array: slicing a memmap takes ten times as long.
    return np.asarray(np.memmap(path, np.min_scalar_type(tokenizer.vocab_size - 1), "r"))


def _map_ends(path: Path, task: TaskConfig) -> NDArray[np.int64] | None:
    return np.asarray(np.memmap(path, np.int64, "r")) if task.paired else None


def _ignore(stage: str, fraction: float) -> None:
    """A progress callback that does nothing."""
