"""A recurrent encoder and decoder: one network reads a source, another writes the text (Sutskever
et al. 2014; Cho et al. 2014), which may look back at the source by attention (Bahdanau et al. 2015;
Luong et al. 2015) and copy from it (See et al. 2017).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Literal, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wenmo.models.capabilities import EncodesSource, HasSides
from wenmo.models.network import Hidden, Network, label_smoothed, select_targets
from wenmo.models.recurrent import CARRIED, Layer, carried_schema
from wenmo.models.recurrent_config import Cell
from wenmo.models.seq2seq_config import Seq2seqConfig
from wenmo.models.state import StateField, StateSchema
from wenmo.types import END, IGNORE, Batch, Logits, Loss, State, Tokens

DECODER_WEIGHTS = (
    "embedding",
    "layers",
    "project",
    "head",
    "bias",
)  # what a decoder has without attention


class Seq2seq(Network, EncodesSource, HasSides):
    """An encoder over the source, a decoder over the text, attention of the one on the other.

    What a state holds: see `state_schema_of`.
    """

    conditioning = "encoder"

    def __init__(self, config: Seq2seqConfig, vocab_size: int) -> None:
        super().__init__()
        self.config, self.vocab_size, self.context = config, vocab_size, None
        embedding, hidden, tied = config.embedding_size, config.hidden_size, config.tie_embeddings
        self.hidden_size = hidden
        has_attention, additive = config.attention != "none", config.attention == "additive"
        self.embedding = nn.Embedding(vocab_size, embedding)
        self.source_embedding = None if tied else nn.Embedding(vocab_size, embedding)
        self.encoder = Encoder(config)
        self.attention = Attention(config) if has_attention else None
        fed_size = config.memory_size if additive else hidden * config.feeds_readout
        widths = [embedding + fed_size, *[hidden] * config.layers]
        self.layers = nn.ModuleList(Layer(config.cell, *both) for both in pairwise(widths))
        context_size = config.memory_size + hidden
        self.readout = (
            nn.Linear(context_size + embedding * additive, hidden) if has_attention else None
        )
        self.gate = nn.Linear(context_size + embedding, 1) if config.copy else None
        self.project = nn.Linear(hidden, embedding, bias=False) if tied else None
        self.head = None if tied else nn.Linear(hidden, vocab_size, bias=False)
        self.bias = nn.Parameter(torch.zeros(vocab_size))
        self.state_schema = state_schema_of(config)
        # Embeddings that begin near one are learnt several times sooner than small ones; what is
        # compared with them at the softmax begins small instead, so that all tokens begin alike.
        nn.init.normal_(self.embedding.weight, std=0.5)
        if self.project is not None:
            nn.init.normal_(self.project.weight, std=0.03)

    def initial_state(
        self,
        batch_size: int,
        *,
        source: Tokens | None = None,
        capacity: int = 0,
        generator: torch.Generator | None = None,
    ) -> State:
        """What ``encode`` makes of the source."""
        if source is None:
            source = torch.full((batch_size, 1), END, device=self.device)
        return self.encode(source)

    def encode(self, source: Tokens) -> State:
        """Read (rows, source time) into the state in which the decoder begins.

        All that it carries, an LSTM's cells too, is made from the encoder's last hidden states.
        """
        mask = source != IGNORE
        ids = source.clamp_min(0)
        embedding = self.source_embedding or self.embedding
        memory, first = self.encoder(self._drop(embedding(ids)), mask)
        state: State = {}
        for depth, tensors in enumerate(first):
            for name, tensor in zip(CARRIED[self.config.cell], tensors, strict=True):
                state[f"{name}.{depth}"] = tensor
        if self.attention is None:
            return state
        state |= {"memory": memory, "source_mask": mask}
        state["coverage"] = torch.zeros(mask.shape, device=mask.device)
        if self.attention.key is not None:
            state["memory_keys"] = self.attention.key(memory)
        if self.config.feeds_readout:
            state["readout"] = memory.new_zeros(ids.shape[0], self.config.hidden_size)
        if self.config.copy:
            same = ids[:, :, None] == ids[:, None]
            # Of equal numbers, argmax finds the first.
            state |= {"source_ids": ids, "source_first": same.byte().argmax(2)}
        return state

    def encode_tokens(self, tokens: Tokens, state: State | None = None) -> tuple[Hidden, State]:
        """As any network; what is read is a ``DecoderOutput``."""
        return self._decode(tokens, state or self.initial_state(len(tokens)))

    def side(self, name: Literal["encoder", "decoder"]) -> dict[str, Tensor]:
        """Of the decoder's first layer what reads the embedded tokens, without
        what reads that which attention feeds it.
        """
        if name == "encoder":
            embedding = self.source_embedding or self.embedding
            return {"embedding.weight": embedding.weight, **dict(self.encoder.named_parameters())}
        own = {k: w for k, w in self.named_parameters() if k.split(".")[0] in DECODER_WEIGHTS}
        first = cast(Layer, self.layers[0])
        return own | {"layers.0.input_weight": first.input_weight[:, : self.config.embedding_size]}

    def lm_head(self, reading: Hidden) -> Logits:
        """As any network; with ``copy`` the logits are log-probabilities."""
        read = DecoderOutput(*reading)
        x = self._drop(read.readout)
        if self.project is not None:
            x = self.project(x)
        weight = self.embedding.weight if self.head is None else self.head.weight
        logits = F.linear(x, weight, self.bias).float()
        if self.gate is None:
            return logits
        gate = self.gate(torch.cat([read.context, read.hidden, read.x], -1)).float()
        return mix_copy(logits, gate, read.weights, read.source, read.first)

    def loss(
        self, batch: Batch, state: State | None = None, *, label_smoothing: float = 0.0
    ) -> Loss:
        """Cross-entropy, and ``coverage`` times the mean over the targets of Σᵢ min(aᵢ, cᵢ), where
        a is the attention and c the sum of it before (See et al. 2017, equations 10, 12 and 13).
        """
        if not self.config.coverage:
            return super().loss(batch, state, label_smoothing=label_smoothing)
        before = self.batch_state(batch, state) or self.initial_state(len(batch.tokens))
        read, after = self._decode(batch.tokens, before)
        nats, uniform_nats, _ = self.target_losses(
            *select_targets(read, batch.targets), with_uniform=label_smoothing > 0
        )
        total = label_smoothed(nats, uniform_nats, label_smoothing)
        covered = before["coverage"][:, None] + read.weights.cumsum(1) - read.weights
        overlap = torch.minimum(read.weights, covered).sum(2)[batch.targets != IGNORE].mean()
        parts = {"nats": nats.detach().mean(), "coverage": overlap.detach()}
        return Loss(total + self.config.coverage * overlap, parts, after)

    # -- reading ---------------------------------------------------------------------------------

    def _decode(self, tokens: Tokens, state: State) -> tuple[DecoderOutput, State]:
        """Read all at once if no step waits for what another one finds, else one by one."""
        config, x = self.config, self._drop(self.embedding(tokens))
        sampling_rate = config.scheduled_sampling if self.training else 0.0
        if not (
            config.attention == "additive"
            or config.feeds_readout
            or config.coverage
            or sampling_rate
        ):
            return self._decode_chunk(x, state)
        reads: list[DecoderOutput] = []
        for column in torch.split(x, 1, dim=1):
            if reads and sampling_rate:
                column = self._replace_by_predictions(column, reads[-1], sampling_rate)
            read, state = self._decode_chunk(column, state)
            reads.append(read)
        return DecoderOutput(*(torch.cat(parts, 1) for parts in zip(*reads, strict=True))), state

    def _replace_by_predictions(self, x: Tensor, last: DecoderOutput, rate: float) -> Tensor:
        """The embedded tokens, some replaced by what the model itself would have written."""
        with torch.no_grad():
            predicted = self.lm_head(last).argmax(2)
        replaced = torch.rand(predicted.shape, device=x.device) < rate
        return torch.where(replaced[..., None], self._drop(self.embedding(predicted)), x)

    def _decode_chunk(self, x: Tensor, state: State) -> tuple[DecoderOutput, State]:
        """Read (rows, time, embedding): additive attention looks with the hidden state before, and
        feeds what it finds into the step (Bahdanau et al. 2015, section 3.1); the others look with
        the new hidden state (Luong et al. 2015, section 3).

        In Bahdanau et al.'s readout, tanh stands for their maxout.
        """
        after = dict(state)
        if self.config.attention == "additive":
            before = state[f"hidden.{self.config.layers - 1}"][:, None]
            context, weights = self._attend(before, state)
            hidden = self._run_layers(torch.cat([x, context], 2), after)
            readout_inputs = [context, hidden, x]
        else:
            fed_size = [x, state["readout"][:, None]] if self.config.feeds_readout else [x]
            hidden = self._run_layers(torch.cat(fed_size, 2), after)
            context, weights = self._attend(hidden, state)
            readout_inputs = [context, hidden]
        readout = hidden
        if self.readout is not None:
            readout = torch.tanh(self.readout(torch.cat(readout_inputs, 2)))
            after["coverage"] = state["coverage"] + weights.sum(1)
        if self.config.feeds_readout:
            after["readout"] = readout[:, -1]
        time, nothing = x.shape[1], weights[..., :0].long()
        source, first = (
            state[name][:, None].expand(-1, time, -1) if self.config.copy else nothing
            for name in ("source_ids", "source_first")
        )
        return DecoderOutput(readout, x, context, hidden, weights, source, first), after

    def _run_layers(self, x: Tensor, state: State) -> Tensor:
        """Run the stack over (rows, time, inputs), and put what it carries into the state."""
        for depth, layer in enumerate(self.layers):
            names = [f"{name}.{depth}" for name in CARRIED[self.config.cell]]
            x = self._drop(x) if depth else x
            x, carried = layer(x, [state[name] for name in names], 0.0)
            state |= zip(names, carried, strict=True)
        return x

    def _attend(self, query: Tensor, state: State) -> tuple[Tensor, Tensor]:
        if self.attention is None:
            return query[..., :0], query[..., :0]
        memory = state["memory"]
        keys, mask = state.get("memory_keys", memory), state["source_mask"]
        return self.attention(query, keys, memory, mask, state["coverage"])

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.config.dropout, self.training)


def state_schema_of(config: Seq2seqConfig) -> StateSchema:
    """What the decoder carries and, with attention, what it looks at."""
    carried = carried_schema(config.cell, config.layers)
    if config.attention == "none":
        return carried
    places = ("rows", "source time")
    fields = [
        StateField("memory", (*places, "memory"), "the encoded source"),
        StateField("source_mask", places, "its tokens", torch.bool),
        StateField("coverage", places, "the sum of the attention so far", torch.float32),
    ]
    if config.attention != "dot":
        keys = (*places, "hidden_size")
        fields.append(StateField("memory_keys", keys, "what the attention compares"))
    if config.feeds_readout:
        readout = ("rows", "hidden_size")
        fields.append(StateField("readout", readout, "what is fed into the next step"))
    if config.copy:
        fields += [
            StateField("source_ids", places, "the ids that may be copied", torch.long),
            StateField("source_first", places, "where each of them stands first", torch.long),
        ]
    return carried | StateSchema(tuple(fields))


class DecoderOutput(NamedTuple):
    """What a decoder makes of the tokens it reads, each (rows, time, width).

    Attributes:
        readout: what the softmax is given.
        x: the embedded tokens.
        context: the average of the memory by attention; without attention its width is 0.
        hidden: the top layer's hidden states.
        weights: the attention on each place of the source, float32; as wide as the source is long.
        source, first: what may be copied from each of these places, as `mix_copy` takes it; without
            ``copy`` their width is 0.
    """

    readout: Tensor
    x: Tensor
    context: Tensor
    hidden: Tensor
    weights: Tensor
    source: Tensor
    first: Tensor


class RecurrentStack(nn.Module):
    """Recurrent layers over a whole text, from its beginning or from both ends."""

    def __init__(
        self, cell: Cell, embedding: int, hidden: int, layers: int, directions: int, dropout: float
    ) -> None:
        super().__init__()
        self.dropout = dropout
        widths = [embedding, *[directions * hidden] * (layers - 1)]
        self.directions = nn.ModuleList(
            nn.ModuleList(Layer(cell, width, hidden) for width in widths) for _ in range(directions)
        )

    def encode_tokens(self, x: Tensor, mask: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Read (rows, time, embedding), where ``mask`` is true at the left of each row.

        Yields:
            For each layer its hidden states (rows, time, directions · hidden), and the last one of
            each direction, side by side (rows, directions · hidden).
        """
        rows = torch.arange(x.shape[0], device=x.device)[:, None]
        places = torch.arange(x.shape[1], device=x.device)
        last = mask.sum(1, keepdim=True) - 1
        backward = torch.where(mask, last - places, places)  # turns each row within its own length
        for depth in range(len(cast(nn.ModuleList, self.directions[0]))):
            x = F.dropout(x, self.dropout, self.training) if depth else x
            outs = [self._run(0, depth, x)]
            ends = [outs[0][rows, last]]
            if len(self.directions) > 1:
                outs.append(self._run(1, depth, x[rows, backward])[rows, backward])
                ends.append(outs[1][:, :1])
            x = torch.cat(outs, 2)
            yield x, torch.cat(ends, 2)[:, 0]

    def _run(self, direction: int, depth: int, x: Tensor) -> Tensor:
        layer = cast(Layer, cast(nn.ModuleList, self.directions[direction])[depth])
        zeros = x.new_zeros(x.shape[0], layer.width)
        out, _ = layer(x, [zeros] * len(CARRIED[layer.cell]), 0.0)
        return out


class Encoder(RecurrentStack):
    """Reads the source; a bridge leads from where its layers end to the decoder."""

    def __init__(self, config: Seq2seqConfig) -> None:
        directions = 1 + config.bidirectional
        sizes = (config.embedding_size, config.hidden_size, config.layers)
        super().__init__(config.cell, *sizes, directions, config.dropout)
        self.config = config
        out, carried = directions * config.hidden_size, len(CARRIED[config.cell])
        self.bridge = nn.ModuleList(
            nn.Linear(out, carried * config.hidden_size) for _ in range(config.layers)
        )
        # The dot product asks for a memory that is as wide as the decoder.
        narrow = config.attention == "dot" and config.bidirectional
        self.narrow = nn.Linear(out, config.hidden_size, bias=False) if narrow else nn.Identity()

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, list[tuple[Tensor, ...]]]:
        """Encode (rows, source time, embedding), where ``mask`` is true at the left of each row.

        Returns:
            The memory (rows, source time, memory), and for each layer what the decoder begins with,
            (rows, hidden) each: tanh of a linear layer on the last hidden state of each direction.
        """
        outs, ends = zip(*self.encode_tokens(x, mask), strict=True)
        begun = [torch.tanh(b(e)) for b, e in zip(self.bridge, ends, strict=True)]
        parts = len(CARRIED[self.config.cell])
        return self.narrow(outs[-1]), [tensor.chunk(parts, 1) for tensor in begun]


class Attention(nn.Module):
    """Scores each place h of the memory by a query q, and averages the memory by the softmax.

    - ``dot``: q·h;
    - ``general``: q·W h (both Luong et al. 2015, equation 8);
    - ``additive`` and ``concat``: v·tanh(W h + U q + w c + b), with c the coverage if there is any
      (Bahdanau et al. 2015, section A.1.2; Luong's concat is W and U side by side; See et al. 2017,
      equation 11).
    """

    def __init__(self, config: Seq2seqConfig) -> None:
        super().__init__()
        hidden, kind = config.hidden_size, config.attention
        is_additive = kind in ("additive", "concat")
        self.key = (
            None if kind == "dot" else nn.Linear(config.memory_size, hidden, bias=is_additive)
        )
        self.query = nn.Linear(hidden, hidden, bias=False) if is_additive else None
        self.coverage = nn.Linear(1, hidden, bias=False) if config.coverage else None
        self.score = nn.Linear(hidden, 1, bias=False) if is_additive else None

    def forward(
        self, query: Tensor, keys: Tensor, memory: Tensor, mask: Tensor, coverage: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Look with (rows, time, hidden) at (rows, source time, ·) where ``mask`` is true.

        Returns:
            The contexts (rows, time, memory) and the weights, float32 (rows, time, source time).
        """
        if self.query is None or self.score is None:
            scores = query @ keys.transpose(1, 2)
        else:
            if self.coverage is not None:
                keys = keys + self.coverage(coverage[..., None].to(keys.dtype))
            scores = self.score(torch.tanh(keys[:, None] + self.query(query)[:, :, None]))[..., 0]
        weights = scores.float().masked_fill(~mask[:, None], float("-inf")).softmax(2)
        return weights.to(memory.dtype) @ memory, weights


def mix_copy(
    logits: Tensor, gate: Tensor, weights: Tensor, source: Tensor, first: Tensor
) -> Tensor:
    """The logarithm of p · P(w) + (1 − p) · Σ a over the places where w stands in the source (See
    et al. 2017, equation 9): finite, for P is nowhere 0.

    Args:
        logits: of P, float32 (..., vocabulary).
        gate: log p / (1 − p), float32 (..., 1).
        weights: the attention a, float32 (..., source time).
        source: the ids that may be copied, int64 (..., source time).
        first: the place where each of these ids stands first in its source, int64.
    """
    generated = logits.log_softmax(-1) + F.logsigmoid(gate)
    # An id that stands there twice is copied once, from its first place, with the sum of both.
    summed = torch.zeros_like(weights).scatter_add(-1, first, weights)
    copied = F.logsigmoid(-gate) + summed.clamp_min(torch.finfo(torch.float32).tiny).log()
    before = generated.gather(-1, source)
    change = torch.logaddexp(before, copied) - before
    return generated.scatter_add(-1, source, torch.where(summed > 0, change, 0))
