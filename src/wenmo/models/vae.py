"""The variational autoencoder of texts (Bowman et al. 2016): an encoder infers where the latents z
of a text lie, and a decoder writes the text from them.

Training raises the evidence lower bound, log p(x) ≥ E[log p(x | z)] − KL(q(z | x) ‖ p(z)) (Kingma &
Welling 2014). A decoder that is strong by itself may learn to do without z, so that q becomes the
prior: the posterior collapses. Against that help weights of the divergence that rise, free bits,
tokens that are kept from the decoder, and an encoder that is trained ahead of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wenmo.models.capabilities import ChangesInTraining, HasLatents
from wenmo.models.network import STEERING, Hidden, Network
from wenmo.models.pooling import max_pool
from wenmo.models.posterior import DIVERGENCE, Posterior, bounded
from wenmo.models.recurrent import Layer, Recurrent
from wenmo.models.seq2seq import Reader
from wenmo.models.state import StateField, StateSchema
from wenmo.models.transformer.model import Transformer
from wenmo.models.transformer.stack import Encoder, initialise
from wenmo.options import Settings, option
from wenmo.types import END, IGNORE, Batch, Logits, Score, State, Tokens

Kind = Literal["lstm", "transformer"]
LATENT_STATE = StateSchema(
    (
        replace(STEERING, optional=False),
        StateField(
            DIVERGENCE,
            ("rows", "latents"),
            "of inferred latents from the prior, in nats",
            optional=True,
            truncation="keep",
        ),
    )
)
"""Beside the decoder's."""

CARRIED = ("hidden.", "cell.")  # how the names begin of what a recurrent decoder carries


class Vae(Network, HasLatents, ChangesInTraining):
    """An encoder, latents, and a decoder that is told of them at every step."""

    record_level = True
    conditioning = "none"

    @dataclass(frozen=True)
    class Config(Settings):
        """Settings of a variational autoencoder."""

        encoder: Kind = option(
            "lstm",
            "reads the text in both directions: `lstm` or `transformer`",
            "双向读取文本：`lstm` 或 `transformer`",
        )
        decoder: Kind = option(
            "lstm", "writes the text: `lstm` or `transformer`", "写出文本：`lstm` 或 `transformer`"
        )
        latent_size: int = option(32, "number of latent dimensions", "隐变量的维数", minimum=1)
        embedding_size: int = option(
            256, "size of an LSTM's token embeddings", "LSTM 词元嵌入的维数", minimum=1
        )
        hidden_size: int = option(256, "size of the layers", "各层的维数", minimum=1)
        layers: int = option(1, "number of layers of the decoder", "解码器的层数", minimum=1)
        encoder_layers: int = option(
            1, "number of layers of the encoder", "编码器的层数", minimum=1
        )
        heads: int = option(
            4, "attention heads of a Transformer", "Transformer 的注意力头数", minimum=1
        )
        context_length: int = option(
            256,
            "the most tokens of a text, its end included",
            "文本最多的词元数，含结束符",
            minimum=2,
        )
        tie_embeddings: bool = option(
            False,
            "the softmax uses the decoder's embedding (Press & Wolf 2017); the last layer of "
            "an LSTM is then as wide as that",
            "softmax 与解码器的嵌入共用权重（Press & Wolf 2017）；LSTM 的最后一层则与其同宽",
        )
        dropout: float = option(
            0.2,
            "dropout on the input of each layer and the output of the last",
            "每层输入和最后一层输出的 dropout",
            minimum=0,
            below=1,
        )
        word_dropout: float = option(
            0.0,
            "how often training hides a token from the decoder, which reads the end mark in "
            "its place (Bowman et al. 2016)",
            "训练时对解码器隐藏词元的概率，以结束符代替（Bowman et al. 2016）",
            minimum=0,
            below=1,
        )
        free_bits: float = option(
            8.0,
            "nats of divergence per text that cost nothing (Kingma et al. 2016)",
            "每个文本不计代价的散度（纳特，Kingma et al. 2016）",
            minimum=0,
            below=math.inf,
        )
        free_bits_per_dim: bool = option(
            True,
            "every latent dimension has an equal share of the free bits; else they are shared "
            "by all",
            "免费额度平均分给每一维；否则各维共用",
        )
        annealing: Literal["linear", "cyclical", "none"] = option(
            "linear",
            "weight of the divergence: rises once (`linear`), again and again (`cyclical`, Fu "
            "et al. 2019), or is constant (`none`)",
            "散度权重的退火：上升一次（`linear`）、反复上升（`cyclical`，Fu et al. 2019）"
            "或不变（`none`）",
        )
        cycles: int = option(
            4, "with `cyclical`: how often it rises", "用于 `cyclical`：上升的次数", minimum=1
        )
        annealing_ratio: float = option(
            0.2,
            "share of the budget, or of each cycle, in which it rises",
            "上升阶段占总预算（或每个周期）的比例",
            minimum=0,
            maximum=1,
        )
        kl_floor: float = option(
            0.0, "the weight that it rises from", "权重的起点", minimum=0, below=math.inf
        )
        kl_peak: float = option(
            1.0,
            "the weight that it rises to; 1: the evidence lower bound",
            "权重的终点；1：证据下界",
            minimum=0,
            below=math.inf,
        )
        aggressive_ratio: float = option(
            0.0,
            "share of the budget, from its beginning, in which the encoder is trained more "
            "than the decoder (He et al. 2019, with fixed numbers in place of their two "
            "stopping rules)",
            "预算开头多训练编码器的阶段所占比例（He et al. 2019，以固定数目代替其两条停止规则）",
            minimum=0,
            maximum=1,
        )
        encoder_steps: int = option(
            9,
            "steps of the encoder alone in that phase, before each step of both",
            "该阶段中每次共同更新之前，只更新编码器的步数",
            minimum=0,
        )

        def __post_init__(self) -> None:
            super().__post_init__()
            if "transformer" in (self.encoder, self.decoder):
                transformer_settings(self, 1, 0)  # tells what heads do not go with the width

        def build(self, vocab_size: int) -> Vae:
            return Vae(self, vocab_size)

    def __init__(self, config: Config, vocab_size: int) -> None:
        super().__init__()
        self.config, self.vocab_size, self.latent_size = config, vocab_size, config.latent_size
        self.encoder = make_encoder(config, vocab_size)
        self.decoder = make_decoder(config, vocab_size)
        self.context = config.context_length
        self.state_schema = self.decoder.state_schema | LATENT_STATE
        self.hidden_width = self.decoder.hidden_width
        self.posterior = nn.Linear(self.encoder.width, 2 * config.latent_size)
        self._carried = {
            name: tensor.shape[1]
            for name, tensor in self.decoder.initial_state(1).items()
            if name.startswith(CARRIED)
        }
        carried = sum(self._carried.values())
        self.steering = nn.Linear(
            config.latent_size, self.decoder.embedding.embedding_dim, bias=False
        )
        self.start = nn.Linear(config.latent_size, carried) if carried else None
        # As loud as a token at first: less, and it is overheard; more, and it drowns the tokens.
        nn.init.normal_(self.steering.weight, std=config.latent_size**-0.5)
        with torch.no_grad():
            self.steering.weight *= self.decoder.embedding.weight.std()
        self.weight = kl_weight_at(config, 0.0)

    def initial_state(
        self,
        batch_size: int,
        *,
        source: Tokens | None = None,
        capacity: int = 0,
        generator: torch.Generator | None = None,
    ) -> State:
        """What ``state_at`` makes of a draw from the prior; without ``generator``, of its mean."""
        latents = torch.zeros(batch_size, self.latent_size, device=self.device)
        if generator is not None:
            latents = torch.randn(latents.shape, generator=generator, device=self.device)
        return self.state_at(latents, capacity=capacity)

    def state_at(self, latents: Tensor, *, capacity: int = 0) -> State:
        """The decoder's state, with ``steering`` (rows, width) by the latents, which also make what
        an LSTM begins with.
        """
        return self.decoder.initial_state(latents.shape[0], capacity=capacity) | self._steer(
            latents
        )

    def batch_state(self, batch: Batch, state: State | None) -> State | None:
        """From rows that go on from nothing the latents are inferred; the state also holds their
        ``divergence`` from the prior, float32 (rows, latents), in nats. The noise is that of
        training's own randomness; in evaluation it is always the same.
        """
        if state:
            return state
        posterior = self.infer(batch)
        generator = None if self.training else torch.Generator(self.device).manual_seed(0)
        return self._steer(posterior.draw(generator)) | {DIVERGENCE: posterior.divergence()}

    def infer(self, batch: Batch) -> Posterior:
        mask = batch.targets != IGNORE
        tokens = batch.targets.where(mask, END)
        mask[:, 0] = True  # what has no token is read as an END
        found = self.encoder(tokens, mask)
        mean, log_variance = self.posterior(found).float().chunk(2, 1)
        return Posterior(mean, log_variance)

    def encode_tokens(self, tokens: Tokens, state: State | None = None) -> tuple[Hidden, State]:
        before = state or self.initial_state(len(tokens))
        if self.training and self.config.word_dropout:
            kept = torch.rand(tokens.shape, device=tokens.device) >= self.config.word_dropout
            tokens = tokens.where(kept, END)
        own = {name: tensor for name, tensor in before.items() if name != DIVERGENCE}
        return self.decoder.encode_tokens(tokens, own)

    def lm_head(self, reading: Hidden) -> Logits:
        return self.decoder.lm_head(reading)

    def set_progress(self, progress: float, step: int) -> None:
        """Set the divergence's weight, and let only the encoder learn where it is trained ahead."""
        config = self.config
        self.weight = kl_weight_at(config, progress)
        if not config.aggressive_ratio:
            return
        alone = progress < config.aggressive_ratio and (step + 1) % (config.encoder_steps + 1) > 0
        for part in filter(None, (self.decoder, self.steering, self.start)):
            part.requires_grad_(not alone)

    def further_progress(self, progress: float) -> float:
        """As at the end of training: the weight stays at its peak."""
        return 1.0

    def score(self, batch: Batch, state: State | None = None) -> Score:
        """An upper bound on the nats, by the divergence of latents that are inferred."""
        before = self.batch_state(batch, state)
        return bounded(super().score(batch, before), before)

    def penalty(self, before: State | None, targets: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The weight times what the divergence has above the free bits, which are granted on the
        average of the batch. Watched are ``kl``, in nats a text, and its ``kl_weight``.
        """
        divergence = (before or {}).get(DIVERGENCE)
        if divergence is None:
            return super().penalty(before, targets)
        rows, each = len(divergence), divergence.mean(0)
        free = self.config.free_bits
        if self.config.free_bits_per_dim:
            beyond = (each - free / self.latent_size).clamp_min(0).sum()
        else:
            beyond = (each.sum() - free).clamp_min(0)
        watched = {"kl": each.detach().sum(), "kl_weight": torch.tensor(self.weight)}
        return self.weight * beyond * rows / targets, watched

    def _steer(self, latents: Tensor) -> State:
        state = {"steering": self.steering(latents)}
        if self.start is not None:
            begun = torch.tanh(self.start(latents))
            parts = torch.split(begun, list(self._carried.values()), 1)
            state |= zip(self._carried, parts, strict=True)
        return state


def kl_weight_at(config: Vae.Config, progress: float) -> float:
    """The weight of the divergence at a share of the budget."""
    if config.annealing == "none":
        return config.kl_peak
    cycles = config.cycles if config.annealing == "cyclical" else 1
    within = progress * cycles % 1 if progress < 1 else 1.0
    risen = min(1.0, within / config.annealing_ratio) if config.annealing_ratio else 1.0
    return config.kl_floor + (config.kl_peak - config.kl_floor) * risen


def make_decoder(config: Vae.Config, vocab_size: int) -> Recurrent | Transformer:
    """The network that writes."""
    if config.decoder == "lstm":
        made = Recurrent.Config(
            "lstm",
            embedding_size=config.embedding_size,
            hidden_size=config.hidden_size,
            layers=config.layers,
            tie_embeddings=config.tie_embeddings,
            dropout=config.dropout,
        )
        decoder = made.build(vocab_size)
        if config.tie_embeddings:  # its embedding begins small: what reads it makes up for that
            heard = cast(Layer, decoder.layers[0]).input_weight
            with torch.no_grad():
                heard.div_(decoder.embedding.weight.std())
        return decoder
    return transformer_settings(config, config.layers, 0).build(vocab_size)


def make_encoder(config: Vae.Config, vocab_size: int) -> RecurrentEncoder | TransformerEncoder:
    """The network that reads."""
    kind = RecurrentEncoder if config.encoder == "lstm" else TransformerEncoder
    return kind(config, vocab_size)


def transformer_settings(
    config: Vae.Config, layers: int, encoder_layers: int
) -> Transformer.Config:
    return Transformer.Config(
        hidden_size=config.hidden_size,
        layers=layers,
        encoder_layers=encoder_layers,
        heads=config.heads,
        context_length=config.context_length,
        tie_embeddings=config.tie_embeddings,
        share_embeddings=False,
        dropout=config.dropout,
        attention_dropout=0.0,
        zero_init_residual=False,
    )


class RecurrentEncoder(Reader):
    """LSTMs from both ends, pooled."""

    def __init__(self, config: Vae.Config, vocab_size: int) -> None:
        hidden = -(-config.hidden_size // 2)
        sizes = (config.embedding_size, hidden, config.encoder_layers)
        super().__init__("lstm", *sizes, directions=2, dropout=config.dropout)
        self.width = 2 * hidden
        self.embedding = nn.Embedding(vocab_size, config.embedding_size)

    def forward(self, tokens: Tokens, mask: Tensor) -> Tensor:
        """Read (rows, time), where ``mask`` is true, to (rows, width)."""
        x = F.dropout(self.embedding(tokens), self.dropout, self.training)
        *_, (last, _) = self.encode_tokens(x, mask)
        return max_pool(last, mask)


class TransformerEncoder(nn.Module):
    """Blocks that look both ways, pooled."""

    def __init__(self, config: Vae.Config, vocab_size: int) -> None:
        super().__init__()
        self.width = config.hidden_size
        settings = transformer_settings(config, 1, config.encoder_layers)
        self.stack = Encoder(settings, vocab_size)
        initialise(self, settings)

    def forward(self, tokens: Tokens, mask: Tensor) -> Tensor:
        """Read (rows, time), where ``mask`` is true, to (rows, width)."""
        return max_pool(self.stack(tokens, mask), mask)


SIZES: dict[str, Vae.Config] = {
    "tiny": Vae.Config(latent_size=16, embedding_size=64, hidden_size=128, dropout=0.0),
    "transformer": Vae.Config(
        "transformer", "transformer", layers=3, encoder_layers=2, tie_embeddings=True
    ),
}
