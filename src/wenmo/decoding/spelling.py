"""What is written stays UTF-8: after a part of a character only what can complete it may follow.

A model that spells rare characters in bytes gives a little probability to bytes that make no
character; without this they would be drawn now and then, and shown as U+FFFD.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from wenmo.types import END, Logits

# What a text can lack (RFC 3629, section 4): nothing, one to three continuation bytes, or those
# after a first byte that narrows the second. For each first byte what is lacking then, and for each
# lack which bytes may come, and what is lacking after them.
WHOLE, NEVER = 0, -1
FIRST = [
    *((range(0x80), WHOLE), (range(0xC2, 0xE0), 1), (range(0xE1, 0xF0), 2)),
    *((range(0xF1, 0xF4), 3), ((0xE0,), 4), ((0xED,), 5), ((0xF0,), 6), ((0xF4,), 7)),
]
NEXT = {
    1: (range(0x80, 0xC0), WHOLE),
    2: (range(0x80, 0xC0), 1),
    3: (range(0x80, 0xC0), 2),
    4: (range(0xA0, 0xC0), 1),
    5: (range(0x80, 0xA0), 1),
    6: (range(0x90, 0xC0), 2),
    7: (range(0x80, 0x90), 2),
}
LONGEST = 4  # bytes of a character


class Spelling:
    """Which tokens may follow which.

    Args:
        table: the bytes that each id stands for; none for END.

    Attributes:
        spells: which tokens spell anything, or end the text, bool (vocabulary,).
    """

    def __init__(self, table: Sequence[bytes]) -> None:
        self._table = table
        self._bytes = _transitions()
        allowed = np.zeros((len(self._bytes), len(table)), bool)
        for token, spelled in enumerate(table):
            for lack in range(len(allowed)):
                allowed[lack, token] = self._after(lack, spelled) != NEVER
        allowed[1:, END] = False
        self._allowed = torch.from_numpy(allowed)
        self.spells = torch.tensor([bool(spelled) for spelled in table])
        self.spells[END] = True
        self._free = bool(allowed[WHOLE].all())  # no token breaks a text that is whole

    def keep(self, logits: Logits, texts: Sequence[Sequence[int]]) -> Logits:
        """Logits (rows, vocab) without what cannot follow each row's ids so far."""
        lacks = [self._lack(text) for text in texts]
        if not any(lacks):
            return (
                logits if self._free else logits.masked_fill(~self._on(logits)[WHOLE], -torch.inf)
            )
        index = torch.tensor(lacks, device=logits.device)
        return logits.masked_fill(~self._on(logits)[index], -torch.inf)

    def allows(self, text: Sequence[int], token: int) -> bool:
        """Whether a token may follow these ids."""
        return bool(self._allowed[self._lack(text), token])

    def _on(self, logits: Logits) -> Tensor:
        self._allowed = self._allowed.to(logits.device)
        return self._allowed

    def _lack(self, ids: Sequence[int]) -> int:
        """What the text lacks; nothing, too, where it is no UTF-8 before its end."""
        tail = b"".join([self._table[id_] for id_ in ids[-LONGEST:]])[-LONGEST:]
        for start in range(len(tail) - 1, -1, -1):
            if not 0x80 <= tail[start] < 0xC0:  # the first byte of the last character
                return max(WHOLE, self._after(WHOLE, tail[start:]))
        return WHOLE

    def _after(self, lack: int, spelled: bytes) -> int:
        for byte in spelled:
            lack = self._bytes[lack][byte]
            if lack == NEVER:
                return NEVER
        return lack


def _transitions() -> list[list[int]]:
    """For each lack and byte what is lacking then; NEVER where the byte may not come."""
    table = [[NEVER] * 256 for _ in range(1 + len(NEXT))]
    for values, lack in FIRST:
        for byte in values:
            table[WHOLE][byte] = lack
    for before, (values, lack) in NEXT.items():
        for byte in values:
            table[before][byte] = lack
    return table
