"""Word vectors in the text formats of word2vec and GloVe: a word and its numbers a line, with or
without a first line that says how many there are.
"""

from __future__ import annotations

import gzip
from collections.abc import Collection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wenmo.types import WenmoError


def read_vectors(path: Path, wanted: Collection[str]) -> dict[str, NDArray[np.float32]]:
    """The vectors of some words, as far as the file has them.

    Args:
        path: of the text, packed by gzip or not.
        wanted: the words; what else the file holds is passed over.

    Raises:
        WenmoError: no such file, or a line that is no word and numbers as many as the first's.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    found: dict[str, NDArray[np.float32]] = {}
    width = 0
    try:
        with opener(path, "rt", encoding="utf-8", newline="\n") as file:
            for number, line in enumerate(file, 1):
                word, *figures = line.rstrip("\r\n ").split(" ")
                if number == 1 and len(figures) == 1:
                    continue  # how many there are, and of what width
                width = width or len(figures)
                if not figures or len(figures) != width:
                    due = f"where {width} are due"
                    raise WenmoError(
                        f"{path}:{number}: {len(figures)} numbers after the word, {due}"
                    )
                if word in wanted:
                    found[word] = np.array(figures, np.float32)
    except OSError as error:
        raise WenmoError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise WenmoError(f"{path}: no UTF-8 text: word vectors are read in text format") from None
    except ValueError:
        raise WenmoError(f"{path}:{number}: not a word and its numbers") from None
    return found
