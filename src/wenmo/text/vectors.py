"""Word vectors in the text formats of word2vec and GloVe: one word and its numbers per line, with
or without a header line.
"""

from __future__ import annotations

import gzip
from collections.abc import Collection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wenmo.types import WenmoError


def read_vectors(path: Path, words: Collection[str]) -> dict[str, NDArray[np.float32]]:
    """The vectors of some words, where the file has them.

    Args:
        path: text file, optionally gzipped.
        words: the words; others are ignored.

    Raises:
        WenmoError: no such file, or a line that is not a word and as many numbers as in the first
            line.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    found: dict[str, NDArray[np.float32]] = {}
    size = 0
    try:
        with opener(path, "rt", encoding="utf-8", newline="\n") as file:
            for number, line in enumerate(file, 1):
                word, *values = line.rstrip("\r\n ").split(" ")
                if number == 1 and len(values) == 1:
                    continue  # the header: vocabulary size and dimension
                size = size or len(values)
                if not values or len(values) != size:
                    expectation = f"expected {size}"
                    raise WenmoError(
                        f"{path}:{number}: {len(values)} numbers after the word, {expectation}"
                    )
                if word in words:
                    found[word] = np.array(values, np.float32)
    except OSError as error:
        raise WenmoError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise WenmoError(f"{path}: not UTF-8: word vectors must be in text format") from None
    except ValueError:
        raise WenmoError(f"{path}:{number}: not a word and its numbers") from None
    return found
