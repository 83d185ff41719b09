"""The header of a classifier's file, which is read without PyTorch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from wenmo.types import WenmoError

KIND = "wenmo-classifier"
MAX_HEADER = 1 << 20  # bytes


def header(table: Sequence[bytes]) -> dict[str, str]:
    """What the file of a classifier over a vocabulary begins with.

    Args:
        table: the bytes of each token.
    """
    spelled = b"".join(len(token).to_bytes(4, "little") + token for token in table)
    digest = hashlib.blake2b(spelled, digest_size=8).hexdigest()
    return {"kind": KIND, "version": "1", "vocabulary": digest}


def check_header(path: Path, table: Sequence[bytes] | None = None) -> None:
    """Check that a file is a classifier, and that it has a vocabulary.

    Args:
        table: the bytes of each token; None: any vocabulary.

    Raises:
        WenmoError: it is none, or has another vocabulary.
    """
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            content = json.loads(file.read(size)) if size <= MAX_HEADER else {}
    except FileNotFoundError:
        raise WenmoError(f"{path}: no such file: make one with wenmo classifier") from None
    except OSError as error:
        raise WenmoError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError:
        content = {}
    found = content.get("__metadata__", {}) if isinstance(content, dict) else {}
    if not isinstance(found, dict) or found.get("kind") != KIND:
        raise WenmoError(f"{path}: not a classifier: make one with wenmo classifier")
    if table is not None and found.get("vocabulary") != header(table)["vocabulary"]:
        raise WenmoError(
            f"{path}: a classifier over another vocabulary: make one with this run's (wenmo "
            "classifier RUN)"
        )
