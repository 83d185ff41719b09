"""Text becomes two arrays of ids, to train on and to judge by: made once, then mapped from disk.

A task with sources makes pairs of the records: then the texts are source, target, source, target,
and so on, with ``END`` before, between and behind them.

The records are spooled to a file of raw UTF-8, so that a source of any size is read once and never
held in memory. They are split, the tokenizer is trained on the training part alone, and both parts
are encoded. What comes out is kept in a cache under a key of everything that went in.
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
from wenmo.text.config import ReadConfig, SplitConfig, TaskConfig, TokenizerConfig
from wenmo.text.control import Values, kept
from wenmo.text.readers import Reader, Source
from wenmo.text.sketch import is_telling, sketch
from wenmo.text.spool import PIECE, Progress, Spool
from wenmo.text.talk import ChatFormatter
from wenmo.text.tasks import COMPLETION, open_records
from wenmo.text.telling import counts_of
from wenmo.text.tokenizers import Tokenizer
from wenmo.text.vocabularies import CODE_POINTS
from wenmo.types import WenmoError

__all__ = ["Corpus", "Encoded", "Progress", "SplitConfig", "build", "encode_text"]

FORMAT = 8
"""The number of the cache's layout: raise it when what is stored, or how it is found, changes."""

FEW_RECORDS = 20
"""From this many records on, whole records are held out; of fewer, the end of the text. (Of pairs,
whole ones always.)"""

HELD_OUT = 0.1, 1_000_000
"""Unless a share is given: this share of the text, but at most so many bytes."""

FEW_TOKENS = 20
"""The fewest tokens that one may train on."""

MANY_PIECES = 1000
"""Pieces of text whose characters are marked together."""

UNKEPT = ("tokens", "same_length")  # counts that `Encoded` does not have

IDS, ENDS = ".bin", ".ends"


@dataclass(frozen=True)
class Encoded:
    """A text, or pairs of texts, as ids.

    Attributes:
        ids: ``END``, record, ``END``, record, ``END``, ... or ``END``, source, ``END``, target,
            ``END``, ...: memory-mapped uint16 or uint32.
        bytes: the UTF-8 bytes of the records, or of the targets, and one for the end of each: what
            bits per byte are counted in.
        records: how many records, or pairs.
        characters: the characters of the records, or of the targets.
        source_tokens: the ids of the sources, the ``END`` behind each counted.
        longest_target: the most ids of one target, its ``END`` counted; 0 where there are no pairs.
        ends: of pairs, where the ``END``s that part the texts stand in the ids, int64 (texts + 1,).
        notes: what the user should know of how the text was read, a line each.
        sketch: of the text; see `wenmo.text.sketch`.
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
        """The ids to be predicted: all but the first and those of the sources."""
        return len(self.ids) - 1 - self.source_tokens


@dataclass(frozen=True)
class Corpus:
    """A text to train on and one to judge by.

    Attributes:
        alphabet: the characters of the training part, of pairs those of the targets, in order;
            None: not known.
        train: the ids of the training part, as in ``Encoded``.
        valid: the ids of the held-out part.
        tokenizer: what made them.
        fingerprint: 16 hexadecimal digits of both parts' ids and the tokenizer.
        summary: for ``train`` and ``valid`` the ``records``, ``characters``, ``bytes`` and
            ``tokens``, and for pairs ``source_tokens`` and ``longest_target``, as in ``Encoded``,
            and ``same_length``, how many targets have as many characters as their source;
            ``missing`` records; ``valid_bytes``; ``held_out``, in words; the `sketch` of the
            training part; and the ``control`` values, see `wenmo.text.control`.
        notes: warnings, a line each.
        train_ends, valid_ends: of pairs, as ``Encoded.ends``.
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
    talk: ChatFormatter | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Corpus:
    """Read, split and encode a text, or find it in the cache.

    At least 20 records: whole records are drawn, in an order that the seed decides, until the share
    is reached. Fewer: the last characters of the text are held out, within a record if none ends
    nearby.
    Pairs: whole ones are drawn, and all of one record, or with the same source, stay together.

    Args:
        path: a file, a folder, or ``-``.
        read: how to read it.
        tokenizer: one to use, or what to train on the training part.
        split: what to hold out; without effect where ``valid_path`` is given.
        valid_path: a text of its own to hold out; then everything of ``path`` is trained on.
        talk: how conversations are written for the model that is to learn from them.
        cache: the folder of the cache; by default ``$WENMO_CACHE``, ``$XDG_CACHE_HOME/wenmo`` or
            ``~/.cache/wenmo``.
        progress: is told what is being done.

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
    key = _key("corpus", readers, read, task, tokenizer, split, talk)

    def make(spools: Path, folder: Path) -> dict[str, Any]:
        train, valid, held_out, control = _split(spools, readers, task, split, report, talk)
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
            **({"control": kept(control)} if control else {}),
        }
        summary["valid_bytes"] = summary["valid"]["bytes"]
        _require_enough(path, summary["train"]["tokens"])
        report("looking for held-out text in the training text", 0.0)
        alphabet = "".join(map(chr, np.flatnonzero(seen)))
        return {"summary": summary, "notes": leaks(train, valid), "alphabet": alphabet}

    names = [name for part in ("train", "valid") for name in _files(part, task)]
    made = () if isinstance(tokenizer, Tokenizer) else ("tokenizer.json",)
    entry, meta = cached(cache, key, (*names, *made), make)
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
    talk: ChatFormatter | None = None,
    cache: Path | None = None,
) -> Encoded:
    """Read and encode a text, or pairs of texts, as a whole, or find it in the cache.

    Raises:
        WenmoError: the text cannot be read, or the disk is full.
    """
    reader = open_records(path, read, task, target)
    notes = tuple(reader.notes)
    key = _key("text", [reader], read, task, tokenizer, None, talk)

    def make(spools: Path, folder: Path) -> dict[str, Any]:
        spool = Spool.write(spools / "text", reader, task, _ignore, talk)
        counts = _encode(spool, tokenizer, folder / "text.bin", _ignore)
        return {"summary": counts | {"sketch": sketch(spool)}}

    entry, meta = cached(cache, key, _files("text", task), make)
    counts = {name: count for name, count in meta["summary"].items() if name not in UNKEPT}
    ends = _map_ends(entry / "text.ends", task)
    return Encoded(ids=_map(entry / "text.bin", tokenizer), ends=ends, notes=notes, **counts)


def _split(
    folder: Path,
    readers: list[Reader],
    task: TaskConfig,
    split: SplitConfig,
    report: Progress,
    talk: ChatFormatter | None,
) -> tuple[Spool, Spool, str, Values]:
    """The part to train on, the part held out, in words what was held out, and the values of the
    control fields.
    """
    whole = spooled(folder, readers[0], task, report, talk)
    if len(readers) > 1:
        valid = Spool.write(folder / "valid_spool", readers[1], task, report, talk)
        return whole, valid, "a text of its own", whole.control
    return whole_split(whole, task, split)


def spooled(
    folder: Path,
    reader: Reader,
    task: TaskConfig,
    report: Progress | None = None,
    talk: ChatFormatter | None = None,
) -> Spool:
    """All records of a reader, or the examples that they give, read once into a folder.

    Raises:
        WenmoError: they cannot be read, or none of them gives an example.
    """
    return Spool.write(folder / "spool", reader, task, report or _ignore, talk)


def whole_split(
    whole: Spool, task: TaskConfig, split: SplitConfig
) -> tuple[Spool, Spool, str, Values]:
    """The part to train on, the part held out, in words what was held out, and the values of the
    control fields.
    """
    share = split.valid or min(HELD_OUT[0], HELD_OUT[1] / whole.bytes)
    if not task.paired and whole.records < FEW_RECORDS:
        return *whole.cut(share), f"the last {share:.1%} of the characters", {}
    train, valid = whole.draw(share, split.seed)
    kind = "pairs" if task.paired else "records"
    drawn = f"{valid.records:,} of {whole.records:,} {kind}, drawn at random"
    return train, valid, drawn, whole.control


def nothing_held_out(whole: Spool) -> str:
    """Why no part of a text can be held out, and what to do."""
    if whole.groups is None:
        return "too short to hold anything out: give more text"
    return (
        "all its pairs come from one record, or have one source, so that none can be held out: "
        "give more, have each line read as a record (unit=line), or give --valid FILE"
    )


def _encode(
    spool: Spool,
    tokenizer: Tokenizer,
    path: Path,
    report: Progress,
    seen: NDArray[np.bool_] | None = None,
) -> dict[str, int]:
    """Write the ids, and of pairs where they end, and count.

    Args:
        seen: bool (code points,); what the records, or the targets, contain becomes true.
    """
    dtype = np.min_scalar_type(tokenizer.vocab_size - 1)
    characters = tokens = done = 0
    ends = [np.zeros(0, np.int64)]
    side_lengths = array("q")  # characters of source, target, source, ...
    size = int((spool.stops - spool.starts).sum())

    held: list[str] = []  # pieces whose characters are to be marked

    def counted() -> Iterator[tuple[str, bool]]:
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
                    held.append(piece)
                    if len(held) == MANY_PIECES or len(piece) > MANY_PIECES:
                        _mark(seen, held)
            in_source ^= last and spool.groups is not None
            yield piece, last
        if seen is not None:
            _mark(seen, held)

    lengths = np.array([len(spelled) for spelled in tokenizer.table])
    encode = tokenizer.encode_pieces if spool.groups is None else tokenizer.encode_pairs
    with path.open("wb") as file:
        for ids, places in encode(counted()):
            file.write(ids.astype(dtype).tobytes())
            if spool.groups is not None:
                ends.append(places + tokens)
            tokens += len(ids)
            done += int(lengths[ids].sum())
            report("encoding", min(1.0, done / max(1, size)))
    counts = {"records": spool.records, "characters": characters, "bytes": spool.bytes}
    if spool.groups is None:
        return {**counts, "tokens": tokens - 1}
    joined = np.concatenate(ends)
    path.with_suffix(ENDS).write_bytes(joined.tobytes())
    sides = np.diff(joined).reshape(-1, 2)  # tokens of source and target, with END
    sources, targets = map(int, sides.sum(0))
    longest = int(sides[:, 1].max(initial=0))
    alike = np.array(side_lengths, np.int64).reshape(-1, 2)
    counts |= {"tokens": targets, "source_tokens": sources, "longest_target": longest}
    return {**counts, "same_length": int((alike[:, 0] == alike[:, 1]).sum())}


def _mark(seen: NDArray[np.bool_], pieces: list[str]) -> None:
    """Make true what the pieces contain, and forget them."""
    seen[np.frombuffer("".join(pieces).encode("utf-32-le"), "<u4")] = True
    pieces.clear()


def _require_enough(path: Source, tokens: int) -> None:
    if tokens < FEW_TOKENS:
        raise WenmoError(
            f"{path}: at most {tokens} tokens to train on, {FEW_TOKENS} are needed: give more text"
        )


def leaks(train: Spool, valid: Spool) -> list[str]:
    """A note where held-out text also stands in the training text.

    Pairs are compared as wholes; records where many are held out, otherwise lines. Ones so short
    that they may well come twice by chance are not asked about.
    """
    by_record = valid.records >= FEW_RECORDS or valid.groups is not None
    kind = "lines" if not by_record else "records" if valid.groups is None else "pairs"
    telling = [hash(unit) for unit in _units(valid, by_record) if is_telling(unit)]
    found = set(telling).intersection(map(hash, _units(train, by_record)))
    count = sum(unit in found for unit in telling)
    if count == 0:
        return []
    return [
        f"{count:,} of the {len(telling):,} held-out {kind} long enough to compare "
        f"({count / len(telling):.1%}) also stand in the training text: held-out figures flatter"
    ]


def _units(spool: Spool, by_record: bool) -> Iterator[str]:
    held, in_source = "", spool.groups is not None
    for piece, ends in spool.pieces():
        *units, held = [held + piece] if by_record else (held + piece).split("\n")
        if ends and in_source:
            held += "\n"
        elif ends:
            units.append(held)
            held = ""
        in_source ^= ends and spool.groups is not None
        yield from map(str.strip, units)
        held = held[:PIECE]  # what is longer is known by its beginning, so that memory is bounded


def _key(
    what: str,
    readers: list[Reader],
    read: ReadConfig,
    task: TaskConfig,
    tokenizer: Any,
    split: SplitConfig | None,
    talk: ChatFormatter | None,
) -> str:
    """A hash of everything that decides what comes out, the content of the files above all."""
    files = []
    for path in (path for reader in readers for path in [*reader.files, None]):
        try:
            # Of the name only the suffix counts: it tells the format.
            files.append(path and [path.suffixes, checksum(path)])
        except OSError as error:
            raise WenmoError(f"{path}: cannot be read: {error.strerror}") from None
    if isinstance(tokenizer, Tokenizer):
        tokenizer = tokenizer.fingerprint
    parallel = [reader.parallel for reader in readers]
    written = talk and [talk.template, talk.room, talk.tokenizer.beginning, talk.tokenizer.mark]
    parts = [FORMAT, what, files, parallel, read, task, tokenizer, split, written]
    return digest(json.dumps(parts, default=asdict))


def _files(part: str, task: TaskConfig) -> tuple[str, ...]:
    """The files of a part."""
    return (f"{part}{IDS}", f"{part}{ENDS}") if task.paired else (f"{part}{IDS}",)


def _map(path: Path, tokenizer: Tokenizer) -> NDArray[np.unsignedinteger]:
    # As a plain array, for a slice of a memmap takes ten times as long.
    return np.asarray(np.memmap(path, np.min_scalar_type(tokenizer.vocab_size - 1), "r"))


def _map_ends(path: Path, task: TaskConfig) -> NDArray[np.int64] | None:
    return np.asarray(np.memmap(path, np.int64, "r")) if task.paired else None


def _ignore(stage: str, share: float) -> None:
    """Report to nobody."""
