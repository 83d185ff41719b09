"""Critics: classifiers that tell texts of the training set from texts of a generator.

They read embedded tokens, so that they can also score soft tokens (mixtures of token embeddings)
and pass gradients through them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wenmo.models.pooling import max_pool
from wenmo.models.seq2seq import RecurrentStack
from wenmo.types import END, Tokens

FILTER_SIZES = (2, 3, 4, 5)  # tokens, of the convolutions


class Critic(nn.Module, ABC):
    """Base class of critics: a token embedding, and a score for a sequence of embedded tokens."""

    def __init__(self, vocab_size: int, embedding_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, embedding_size)

    @abstractmethod
    def score_embedded(self, embedded: Tensor, mask: Tensor) -> Tensor:
        """Log-odds that each text is from the training set.

        Args:
            embedded: float (rows, time, embedding_size).
            mask: bool (rows, time), true at the tokens of the text, its END included.

        Returns:
            float32 (rows,).
        """

    def forward(self, tokens: Tokens) -> Tensor:
        """Score texts.

        Args:
            tokens: int64 (rows, time), each text followed by END.

        Returns:
            Log-odds, float32 (rows,).
        """
        return self.score_embedded(self.embedding(tokens), text_mask(tokens))

    def score_soft_tokens(self, probs: Tensor, tokens: Tokens) -> Tensor:
        """Score texts of soft tokens.

        Args:
            probs: the weight of every token at each position, float32 (rows, time, vocabulary).
            tokens: the token with the largest weight at each position, int64 (rows, time); they
                determine where a text ends.

        Returns:
            Log-odds, float32 (rows,).
        """
        return self.score_embedded(probs @ self.embedding.weight, text_mask(tokens))


class ConvolutionalCritic(Critic):
    """Convolutions of several filter sizes, max-pooling over time, and a highway layer (Kim 2014;
    SeqGAN: Yu et al. 2017, section 3.2). With several heads the embedding is split, every split is
    scored by the same filters, and the scores are averaged (RelGAN: Nie et al. 2019, section 2.3).
    """

    def __init__(
        self, vocab_size: int, *, embedding_size: int, hidden_size: int, heads: int, dropout: float
    ) -> None:
        super().__init__(vocab_size, embedding_size)
        self.heads, self.dropout = heads, dropout
        self.filters = nn.ModuleList(
            nn.Conv1d(embedding_size // heads, hidden_size, size) for size in FILTER_SIZES
        )
        features = hidden_size * len(FILTER_SIZES)
        # A highway layer (Srivastava et al. 2015): where the gate is 0, features pass unchanged.
        self.change, self.gate = nn.Linear(features, features), nn.Linear(features, features)
        self.verdict = nn.Linear(features, 1)

    def score_embedded(self, embedded: Tensor, mask: Tensor) -> Tensor:
        rows, time, _ = embedded.shape
        splits = (embedded * mask[..., None]).view(rows, time, self.heads, -1)
        x = splits.permute(0, 2, 3, 1).flatten(0, 1)
        x = F.pad(x, (0, max(FILTER_SIZES)))  # every filter sees zeros after the text
        features = torch.cat([F.relu(_max_over_time(conv, x)) for conv in self.filters], 1)
        gate = self.gate(features).sigmoid()
        features = gate * F.relu(self.change(features)) + (1 - gate) * features
        logits = self.verdict(F.dropout(features, self.dropout, self.training))
        return cast(Tensor, logits.view(rows, self.heads).mean(1))


def _max_over_time(conv: nn.Module, x: Tensor) -> Tensor:
    return cast(Tensor, conv(x).amax(2))


class RecurrentCritic(Critic):
    """A bidirectional GRU, max-pooled over time."""

    def __init__(
        self, vocab_size: int, *, embedding_size: int, hidden_size: int, dropout: float
    ) -> None:
        super().__init__(vocab_size, embedding_size)
        per_direction = -(-hidden_size // 2)
        self.dropout = dropout
        self.reader = RecurrentStack(
            "gru", embedding_size, per_direction, 1, directions=2, dropout=dropout
        )
        self.verdict = nn.Linear(2 * per_direction, 1)

    def score_embedded(self, embedded: Tensor, mask: Tensor) -> Tensor:
        *_, (last, _) = self.reader.encode_tokens(embedded, mask)
        features = F.dropout(max_pool(last, mask), self.dropout, self.training)
        return cast(Tensor, self.verdict(features)[:, 0])


def text_mask(tokens: Tokens) -> Tensor:
    """The positions of texts, up to and including their first END: bool (rows, time)."""
    ended = (tokens == END).cumsum(1)
    return (ended == 0) | ((ended == 1) & (tokens == END))
