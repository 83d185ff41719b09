"""The Transformer, with an encoder (Vaswani et al. 2017) or without. One set of settings spans that
paper's arrangement, GPT-2 exactly (Radford et al. 2019), and the modern one of Llama and Qwen3
(Yang et al. 2025), which is the default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wenmo.models.attention import CrossAttention, KVCache, Source, empty_kv_cache, extend_kv_cache
from wenmo.models.base import Budget, Hidden, Network, steered
from wenmo.models.blocks import (
    GATED,
    Block,
    embed,
    initialise,
    make_embedding_norm,
    make_norm,
    make_positions,
    make_relative,
    make_rotation,
)
from wenmo.types import END, IGNORE, Logits, State, Tokens


class Transformer(Network):
    """Token embeddings, a stack of attention and feed-forward blocks, and a softmax."""

    @dataclass(frozen=True)
    class Config:
        """Settings of a Transformer.

        Attributes:
            hidden_size: of the residual stream.
            layers: how many blocks write the text.
            encoder_layers: how many blocks read a source, on which every block of the others then
                attends; 0: there is no encoder.
            heads: of attention, for queries.
            kv_heads: for keys and values; null: as many as for queries.
            head_dim: of each head; null: width / heads.
            ffn_size: inner width of the feed-forward layer; null: 4 × width, or 8/3 × width
                rounded up to a multiple of 32 for SwiGLU, which has three matrices instead of two.
            context_length: the most tokens it can look at, of a text and of a source.
            sliding_window: how many of the last tokens each looks at (Beltagy et al. 2020); null:
                all.
            positions: rotary (Su et al. 2021), learned, sinusoidal (Vaswani et al. 2017, section
                3.5), sinusoidal-split with all sines first, or relative (Raffel et al. 2020,
                section 2.1).
            rope_theta: the base of the rotary angles.
            rope_scaling: how the angles are slowed for longer texts; see `Rotation.at`.
            norm: RMS (Zhang & Sennrich 2019) or layer normalisation (Ba et al. 2016).
            prenorm: normalise what enters each layer (Xiong et al. 2020), and not, as Vaswani et
                al. (2017), the sum that leaves it.
            norm_eps: added to the variance in every norm.
            qk_norm: normalise queries and keys, head by head.
            attention_scale: what products of queries and keys are multiplied by; null: 1/√head
                width.
            activation: of the feed-forward layer: swiglu or geglu (Shazeer 2020), gelu in its tanh
                form as in GPT-2, gelu-exact, silu or relu.
            bias: biases in linear layers.
            qkv_bias: biases of queries, keys and values; null: as ``bias``.
            lm_head_bias: the softmax has a bias for every token.
            embedding_norm: embeddings are normed before the first block.
            tie_embeddings: the softmax uses the embedding's weights (Press & Wolf 2017).
            share_embeddings: the encoder uses the embedding's weights, too.
            scale_embeddings: embeddings are multiplied by √width (Vaswani et al. 2017, section
                3.4).
            scale_logits: what enters the softmax is divided by √width (Raffel et al. 2020).
            init_std: standard deviation of the linear layers' first weights; null: √(2 / (inputs +
                outputs)) (Glorot & Bengio 2010).
            zero_init_residual: what is added to the residual stream begins as nothing, and not
                small.
            dropout: on embeddings and residual branches.
            attention_dropout: on attention weights, which it makes slower; null: as ``dropout``.
        """

        hidden_size: int = 256
        layers: int = 4
        encoder_layers: int = 0
        heads: int = 4
        kv_heads: int | None = None
        head_dim: int | None = None
        ffn_size: int | None = None
        context_length: int = 256
        sliding_window: int | None = None
        positions: Literal["rotary", "learned", "sinusoidal", "sinusoidal-split", "relative"] = (
            "rotary"
        )
        rope_theta: float = 10_000.0
        rope_scaling: tuple[float, ...] = ()
        norm: Literal["rms", "layer"] = "rms"
        prenorm: bool = True
        norm_eps: float = 1e-6
        qk_norm: bool = True
        attention_scale: float | None = None
        activation: Literal["swiglu", "geglu", "gelu", "gelu-exact", "silu", "relu"] = "swiglu"
        bias: bool = False
        qkv_bias: bool | None = None
        lm_head_bias: bool = False
        embedding_norm: bool = False
        tie_embeddings: bool = True
        share_embeddings: bool = True
        scale_embeddings: bool = False
        scale_logits: bool = False
        init_std: float | None = 0.02
        zero_init_residual: bool = True
        dropout: float = 0.0
        attention_dropout: float | None = None

        def __post_init__(self) -> None:
            if (
                min(self.hidden_size, self.layers, self.heads, self.query_groups) < 1
                or self.context_length < 2
            ):
                raise ValueError(
                    "hidden_size, layers and heads must be at least 1, context_length at least 2"
                )
            if self.head_dim is None and self.hidden_size % self.heads:
                raise ValueError(
                    f"hidden_size {self.hidden_size} is not a multiple of heads {self.heads}"
                )
            if self.heads % self.query_groups:
                groups = f"kv_heads {self.kv_heads}"
                raise ValueError(f"heads {self.heads} is not a multiple of {groups}")
            if min(self.width_of_head, self.inner_width) < 1:
                raise ValueError("head_dim and ffn_size must be at least 1")
            if self.encoder_layers < 0:
                raise ValueError("encoder_layers must be at least 0")
            if not (self.rope_theta > 0 and self.norm_eps > 0 and (self.init_std or 1) > 0):
                raise ValueError("rope_theta, norm_eps and init_std must be above 0")
            if self.positions == "rotary" and self.width_of_head % 2:
                width = self.width_of_head
                raise ValueError(f"rotary positions need an even head_dim, not {width}")
            if self.sliding_window is not None and self.sliding_window < 1:
                raise ValueError("sliding_window must be at least 1")
            if len(self.rope_scaling) not in (0, 1, 4) or min(self.rope_scaling, default=1) <= 0:
                raise ValueError("rope_scaling is a factor, or four figures, all above 0")
            if not (0 <= self.dropout < 1 and 0 <= self.dropout_of_attention < 1):
                raise ValueError("dropout and attention_dropout must be at least 0 and below 1")

        @property
        def query_groups(self) -> int:
            """The number of key–value heads."""
            return self.heads if self.kv_heads is None else self.kv_heads

        @property
        def width_of_head(self) -> int:
            return self.hidden_size // self.heads if self.head_dim is None else self.head_dim

        @property
        def dropout_of_attention(self) -> float:
            return self.dropout if self.attention_dropout is None else self.attention_dropout

        @property
        def scale_of_scores(self) -> float:
            """What products of queries and keys are multiplied by."""
            return (
                self.width_of_head**-0.5 if self.attention_scale is None else self.attention_scale
            )

        @property
        def inner_width(self) -> int:
            """The feed-forward layer's inner width."""
            if self.ffn_size is not None:
                return self.ffn_size
            if self.activation in GATED:
                return -(-8 * self.hidden_size // 3 // 32) * 32
            return 4 * self.hidden_size

        def build(self, vocab_size: int) -> Transformer:
            return Transformer(self, vocab_size)

    def __init__(self, config: Config, vocab_size: int) -> None:
        super().__init__()
        self.config, self.vocab_size, self.context = config, vocab_size, config.context_length
        self.hidden_width = config.hidden_size
        if config.encoder_layers:
            self.conditioning = "encoder"
        self.embedding = nn.Embedding(vocab_size, config.hidden_size)
        self.position = make_positions(config)
        self.embedding_norm = make_embedding_norm(config)
        self.relative = make_relative(config, both_ways=False)
        self.blocks = nn.ModuleList(
            Block(config, cross=config.encoder_layers > 0) for _ in range(config.layers)
        )
        self.norm = make_norm(config) if config.prenorm else nn.Identity()
        self.encoder = Encoder(config, vocab_size) if config.encoder_layers else None
        self.head = (
            None if config.tie_embeddings else nn.Linear(config.hidden_size, vocab_size, bias=False)
        )
        self.bias = nn.Parameter(torch.zeros(vocab_size)) if config.lm_head_bias else None
        stacks = [self.blocks] if self.encoder is None else [self.blocks, self.encoder.blocks]
        initialise(self, stacks, config)

    def initial_state(
        self,
        rows: int,
        *,
        source: Tokens | None = None,
        capacity: int = 0,
        rng: torch.Generator | None = None,
    ) -> State:
        """A key–value cache with room for ``capacity`` tokens a row; with an encoder, the keys and
        values of the source, too, and ``coverage`` by the last block's attention.
        """
        shape = (self.config.query_groups, self.config.width_of_head)
        like = self.embedding.weight.detach()
        caches = empty_kv_cache(rows, capacity, [shape] * self.config.layers, like)
        if self.encoder is None:
            return caches
        if source is None:
            source = torch.full((rows, 1), END, device=self.device)
        encoded = self.encode(source)
        return caches | encoded | {"coverage": encoded["source_mask"].float() * 0}

    def encode(self, source: Tokens) -> State:
        """Read (rows, source time): for each block ``source_keys`` and ``source_values`` (rows,
        source time, heads, head width), and ``source_mask``, bool (rows, source time).
        """
        if self.encoder is None:
            return super().encode(source)
        mask = source != IGNORE
        memory = self.encoder(source.clamp_min(0), mask, self.embedding)
        state: State = {"source_mask": mask}
        for depth, block in enumerate(self._stack()):
            keys, values = cast(CrossAttention, block.cross).keys_values(memory)
            state[f"source_keys.{depth}"], state[f"source_values.{depth}"] = keys, values
        return state

    def encode_tokens(self, tokens: Tokens, state: State | None = None) -> tuple[Hidden, State]:
        state = state or {}
        if self.encoder is not None and "source_mask" not in state:
            state = self.initial_state(len(tokens))
        after: State = {}
        caches: list[KVCache] | list[None] = [None] * self.config.layers
        positions = torch.arange(tokens.shape[1], device=tokens.device)[None]
        mask = None
        if "length" in state:
            after, caches = extend_kv_cache(state, tokens.shape[1])
            positions, mask = caches[0].positions, caches[0].mask
        if self.relative is not None:
            longest = tokens.shape[1] if mask is None else mask.shape[-1]
            places = torch.arange(longest, device=tokens.device)
            allowed = places <= positions[..., None] if mask is None else mask[:, 0]
            mask = self.relative(positions, places, allowed[:, None])
        mask = self._windowed(mask, positions)
        norm = self.embedding_norm
        x = embed(self.config, tokens, positions, self.embedding, self.position, norm)
        x = steered(F.dropout(x, self.config.dropout, self.training), state)
        rotation = make_rotation(self.config, positions)
        sources = self._sources(state)
        for block, cache, source in zip(self._stack(), caches, sources, strict=True):
            x, weights = block(x, rotation, mask, cache, source)
            if weights is not None:
                after["coverage"] = state["coverage"] + weights.sum(1)
        return (self.norm(x),), after

    def side(self, name: Literal["encoder", "decoder"]) -> dict[str, Tensor]:
        """As of any model; an encoder has the embedding that it shares, too."""
        if self.encoder is None:
            return super().side(name)
        if name == "encoder":
            own = dict(self.encoder.named_parameters())
            return {"embedding.weight": self.embedding.weight, **own}
        every = self.named_parameters()
        return {k: w for k, w in every if not (k.startswith("encoder.") or ".cross" in k)}

    def lm_head(self, reading: Hidden) -> Logits:
        weight = self.embedding.weight if self.head is None else self.head.weight
        hidden = reading[0]
        if self.config.scale_logits:
            hidden = hidden * self.config.hidden_size**-0.5
        return F.linear(hidden, weight, self.bias).float()

    def _windowed(self, mask: Tensor | None, positions: Tensor) -> Tensor | None:
        """The causal mask, cut at the window; none where it would change nothing."""
        window = self.config.sliding_window
        longest = positions.shape[1] if mask is None else mask.shape[-1]
        if window is None or (mask is None and longest <= window):
            return mask
        places = torch.arange(longest, device=positions.device)
        near = (places > positions[:, None, :, None] - window) & (
            places <= positions[:, None, :, None]
        )
        if mask is None:
            return near
        return mask & near if mask.dtype == torch.bool else mask.masked_fill(~near, -torch.inf)

    def _stack(self) -> list[Block]:
        return [cast(Block, block) for block in self.blocks]

    def _sources(self, state: State) -> list[Source | None]:
        """What each block sees of the source; the last one's attention is watched if asked for."""
        if self.encoder is None:
            return [None] * self.config.layers
        mask = state["source_mask"][:, None, None]
        last = self.config.layers - 1
        return [
            Source(
                state[f"source_keys.{depth}"],
                state[f"source_values.{depth}"],
                mask,
                watched=depth == last and "coverage" in state,
            )
            for depth in range(self.config.layers)
        ]


class Encoder(nn.Module):
    """Blocks that read a whole source, every token of it looking at all others."""

    def __init__(self, config: Transformer.Config, vocab_size: int) -> None:
        super().__init__()
        self.config = config
        self.embedding = (
            None if config.share_embeddings else nn.Embedding(vocab_size, config.hidden_size)
        )
        self.position = make_positions(config)
        self.embedding_norm = make_embedding_norm(config)
        self.relative = make_relative(config, both_ways=True)
        self.blocks = nn.ModuleList(
            Block(config, cross=False) for _ in range(config.encoder_layers)
        )
        self.norm = make_norm(config) if config.prenorm else nn.Identity()

    def forward(self, source: Tokens, mask: Tensor, shared: nn.Embedding) -> Tensor:
        """Encode (rows, source time), where ``mask`` is true, to (rows, source time, width).

        Args:
            shared: the embedding of the text to be written, used unless there is one of its own.
        """
        positions = torch.arange(source.shape[1], device=source.device)[None]
        embedding, norm = self.embedding or shared, self.embedding_norm
        x = embed(self.config, source, positions, embedding, self.position, norm)
        x = F.dropout(x, self.config.dropout, self.training)
        rotation, allowed = make_rotation(self.config, positions), mask[:, None, None]
        if self.relative is not None:
            allowed = self.relative(positions, positions[0], allowed)
        for block in self.blocks:
            x, _ = block(x, rotation, allowed)
        return self.norm(x)


GPT2 = Transformer.Config(
    hidden_size=768,
    layers=12,
    heads=12,
    context_length=1024,
    positions="learned",
    norm="layer",
    norm_eps=1e-5,
    qk_norm=False,
    activation="gelu",
    bias=True,
    zero_init_residual=False,
    dropout=0.1,
)
VASWANI = Transformer.Config(
    hidden_size=512,
    layers=6,
    encoder_layers=6,
    heads=8,
    positions="sinusoidal",
    norm="layer",
    prenorm=False,
    norm_eps=1e-6,
    qk_norm=False,
    activation="relu",
    bias=True,
    scale_embeddings=True,
    init_std=None,
    zero_init_residual=False,
    dropout=0.1,
    attention_dropout=0.0,
)
# As `transformers` has them, so that runs open there.
MARIAN = replace(VASWANI, positions="sinusoidal-split", norm_eps=1e-5, lm_head_bias=True)
T5 = Transformer.Config(
    hidden_size=512,
    layers=6,
    encoder_layers=6,
    heads=8,
    head_dim=64,
    ffn_size=1024,
    positions="relative",
    qk_norm=False,
    attention_scale=1.0,
    activation="geglu",
    scale_logits=True,
    zero_init_residual=False,
    dropout=0.1,
)
GPT3 = replace(GPT2, context_length=2048, dropout=0.0)

# GPT-2's sizes are those of its release. GPT-3's are table 2.1 of Brown et al. (2020); its XL row
# gives 24 heads of 128, which its own 1.3 B parameters rule out: 16 heads of 128 make them.
SIZES: dict[str, Transformer.Config] = {
    "tiny": Transformer.Config(hidden_size=128, layers=4, heads=4, context_length=128),
    "small": Transformer.Config(hidden_size=256, layers=6, heads=4, context_length=256),
    "medium": Transformer.Config(hidden_size=384, layers=6, heads=6, context_length=256),
    "large": Transformer.Config(
        hidden_size=768, layers=12, heads=12, kv_heads=4, context_length=1024
    ),
    "nanogpt-cpu": replace(
        GPT2, hidden_size=128, layers=4, heads=4, context_length=64, dropout=0.0
    ),
    "gpt2": GPT2,
    "gpt2-medium": replace(GPT2, hidden_size=1024, layers=24, heads=16),
    "gpt2-large": replace(GPT2, hidden_size=1280, layers=36, heads=20),
    "gpt2-xl": replace(GPT2, hidden_size=1600, layers=48, heads=25),
    "gpt3-small": replace(GPT3, hidden_size=768, layers=12, heads=12),
    "gpt3-medium": replace(GPT3, hidden_size=1024, layers=24, heads=16),
    "gpt3-large": replace(GPT3, hidden_size=1536, layers=24, heads=16),
    "gpt3-xl": replace(GPT3, hidden_size=2048, layers=24, heads=16),
    "gpt3-2.7b": replace(GPT3, hidden_size=2560, layers=32, heads=32),
    "gpt3-6.7b": replace(GPT3, hidden_size=4096, layers=32, heads=32),
    "gpt3-13b": replace(GPT3, hidden_size=5120, layers=40, heads=40),
    "gpt3-175b": replace(GPT3, hidden_size=12288, layers=96, heads=96),
}

MODERN = Transformer.Config(
    layers=3, encoder_layers=3, zero_init_residual=False, dropout=0.1, attention_dropout=0.0
)

# With an encoder; the first two are those of Vaswani et al. (2017), table 3.
ENCODER_SIZES: dict[str, Transformer.Config] = {
    "base": VASWANI,
    "marian": MARIAN,
    "t5": T5,
    "big": replace(VASWANI, hidden_size=1024, heads=16, dropout=0.3),
    "tiny": replace(MODERN, hidden_size=128, layers=4, encoder_layers=4, ffn_size=256),
    "small": replace(MODERN, hidden_size=256, layers=4, encoder_layers=4, ffn_size=512),
}


# Measured with the estimate of `Budget.trainable_tokens` (docs/experiments.md).
READS_PER_WEIGHT = 5  # less, and a smaller one is better by then
WEIGHTS_PER_TOKEN = 10  # more, and the text is learnt by heart
MANY_PASSES = 6  # over the text: from here on dropout pays


def suggest_config(config: Transformer.Config, budget: Budget) -> dict[str, Any]:
    """The size for a text and a time; see ``size_for``."""
    return size_for(SIZES, budget)


def size_for(sizes: Mapping[str, Transformer.Config], budget: Budget) -> dict[str, Any]:
    """The largest size that is read enough for, and that does not learn the text by heart; smaller
    ones learn sooner (Hoffmann et al. 2022; here, docs/experiments.md).
    """
    chosen = sizes["tiny"]
    for size in map(sizes.__getitem__, ("small", "medium", "large")):
        weights = _matrices(size)
        enough_time = budget.trainable_tokens(weights) >= READS_PER_WEIGHT * weights
        if enough_time and weights <= WEIGHTS_PER_TOKEN * budget.tokens:
            chosen = size
    passes = budget.trainable_tokens(_matrices(chosen)) / budget.tokens
    dropout = 0.2 if passes >= MANY_PASSES else 0.0
    return asdict(replace(chosen, dropout=dropout))


# What another model's weights do not depend on.
OWN = {"layers", "encoder_layers", "share_embeddings", "init_std", "zero_init_residual", "dropout"}
OWN |= {"attention_dropout"}


def like(config: Any, side: Literal["encoder", "decoder"]) -> dict[str, Any]:
    """The settings of a model of which a side begins with the weights of another; none if that is
    no Transformer.
    """
    if not isinstance(config, Transformer.Config):
        return {}
    same = {name: value for name, value in asdict(config).items() if name not in OWN}
    if side == "encoder":
        return {**same, "encoder_layers": config.encoder_layers or config.layers}
    return {**same, "layers": config.layers}


def _matrices(config: Transformer.Config) -> int:
    """The weights of the blocks: of attention's four products and the three of the feed-forward."""
    heads = config.width_of_head * (2 * config.heads + 2 * config.query_groups)
    return config.layers * config.hidden_size * (heads + 3 * config.inner_width)
