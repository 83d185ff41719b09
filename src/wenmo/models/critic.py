"""Critics: networks that tell whether a text was written by people or by a generator.

They read embedded tokens, so that they can judge mixtures of tokens, too, and let gradients through
to what was mixed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wenmo.models.pooling import max_pool
from wenmo.models.seq2seq import Reader
from wenmo.types import END, Tokens

SPANS = (2, 3, 4, 5)  # tokens that the filters of a convolution see


class Critic(nn.Module, ABC):
    """What both kinds of critic have in common."""

    def __init__(self, vocab_size: int, embedding: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, embedding)

    @abstractmethod
    def judge(self, embedded: Tensor, mask: Tensor) -> Tensor:
        """The log-odds that a text is from the training text, float32 (rows,).

        Args:
            embedded: (rows, time, embedding).
            mask: bool (rows, time), true where the text is, its END counted.
        """

    def forward(self, tokens: Tokens) -> Tensor:
        """Judge texts (rows, time), END behind each."""
        return self.judge(self.embedding(tokens), inside(tokens))

    def judge_mixed(self, shares: Tensor, tokens: Tokens) -> Tensor:
        """Judge texts of mixed tokens.

        Args:
            shares: of every token at each place, float32 (rows, time, vocabulary).
            tokens: those with the largest share, which tell where a text ends.
        """
        return self.judge(shares @ self.embedding.weight, inside(tokens))


class ConvolutionalCritic(Critic):
    """Filters over spans of tokens, and the largest answer of each over the text (Kim 2014), as in
    SeqGAN. With several views the embedding is cut into as many parts, each is judged by the same
    filters, and their verdicts are averaged (RelGAN: Nie et al. 2019, section 2.3).
    """

    def __init__(
        self, vocab_size: int, *, embedding: int, width: int, views: int, dropout: float
    ) -> None:
        super().__init__(vocab_size, embedding)
        self.views, self.dropout = views, dropout
        self.filters = nn.ModuleList(nn.Conv1d(embedding // views, width, span) for span in SPANS)
        heard = width * len(SPANS)
        # A highway (Srivastava et al. 2015): what the gate does not change passes as it is.
        self.change, self.gate = nn.Linear(heard, heard), nn.Linear(heard, heard)
        self.verdict = nn.Linear(heard, 1)

    def judge(self, embedded: Tensor, mask: Tensor) -> Tensor:
        rows, time, _ = embedded.shape
        views = (embedded * mask[..., None]).view(rows, time, self.views, -1)
        x = views.permute(0, 2, 3, 1).flatten(0, 1)
        x = F.pad(x, (0, max(SPANS)))  # what follows a text is nothing, and every filter sees that
        heard = torch.cat([F.relu(_strongest(filter_, x)) for filter_ in self.filters], 1)
        gate = self.gate(heard).sigmoid()
        heard = gate * F.relu(self.change(heard)) + (1 - gate) * heard
        said = self.verdict(F.dropout(heard, self.dropout, self.training))
        return cast(Tensor, said.view(rows, self.views).mean(1))


def _strongest(filter_: nn.Module, x: Tensor) -> Tensor:
    return cast(Tensor, filter_(x).amax(2))


class RecurrentCritic(Critic):
    """Recurrent layers from both ends, pooled."""

    def __init__(self, vocab_size: int, *, embedding: int, width: int, dropout: float) -> None:
        super().__init__(vocab_size, embedding)
        half = -(-width // 2)
        self.dropout = dropout
        self.reader = Reader("gru", embedding, half, 1, directions=2, dropout=dropout)
        self.verdict = nn.Linear(2 * half, 1)

    def judge(self, embedded: Tensor, mask: Tensor) -> Tensor:
        *_, (last, _) = self.reader.encode_tokens(embedded, mask)
        heard = F.dropout(max_pool(last, mask), self.dropout, self.training)
        return cast(Tensor, self.verdict(heard)[:, 0])


def inside(tokens: Tokens) -> Tensor:
    """Where texts are, their END counted: bool (rows, time)."""
    ended = (tokens == END).cumsum(1)
    return (ended == 0) | ((ended == 1) & (tokens == END))
