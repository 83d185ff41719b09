"""Other programs' names of a Transformer's weights: one table for each arrangement."""

from __future__ import annotations

import re
from collections.abc import Mapping

from wenmo.models.shapes import shapes_only
from wenmo.models.transformer.config import TransformerConfig

# Our name, their name. "{}" is a block's number.
LLAMA = {
    "embedding.weight": "model.embed_tokens.weight",
    "blocks.{}.attention_norm.weight": "model.layers.{}.input_layernorm.weight",
    "blocks.{}.attention.query.weight": "model.layers.{}.self_attn.q_proj.weight",
    "blocks.{}.attention.query.bias": "model.layers.{}.self_attn.q_proj.bias",
    "blocks.{}.attention.key.weight": "model.layers.{}.self_attn.k_proj.weight",
    "blocks.{}.attention.key.bias": "model.layers.{}.self_attn.k_proj.bias",
    "blocks.{}.attention.value.weight": "model.layers.{}.self_attn.v_proj.weight",
    "blocks.{}.attention.value.bias": "model.layers.{}.self_attn.v_proj.bias",
    "blocks.{}.attention.output.weight": "model.layers.{}.self_attn.o_proj.weight",
    "blocks.{}.attention.output.bias": "model.layers.{}.self_attn.o_proj.bias",
    "blocks.{}.attention.query_norm.weight": "model.layers.{}.self_attn.q_norm.weight",
    "blocks.{}.attention.key_norm.weight": "model.layers.{}.self_attn.k_norm.weight",
    "blocks.{}.feed_forward_norm.weight": "model.layers.{}.post_attention_layernorm.weight",
    "blocks.{}.feed_forward.gate.weight": "model.layers.{}.mlp.gate_proj.weight",
    "blocks.{}.feed_forward.gate.bias": "model.layers.{}.mlp.gate_proj.bias",
    "blocks.{}.feed_forward.up.weight": "model.layers.{}.mlp.up_proj.weight",
    "blocks.{}.feed_forward.up.bias": "model.layers.{}.mlp.up_proj.bias",
    "blocks.{}.feed_forward.down.weight": "model.layers.{}.mlp.down_proj.weight",
    "blocks.{}.feed_forward.down.bias": "model.layers.{}.mlp.down_proj.bias",
    "norm.weight": "model.norm.weight",
    "head.weight": "lm_head.weight",
}
# GPT-2 keeps the linear layers of a block transposed, and query, key and value in one; the three
# are named in the order in which they stand there.
GPT2 = {
    "embedding.weight": "transformer.wte.weight",
    "position.weight": "transformer.wpe.weight",
    "blocks.{}.attention_norm.weight": "transformer.h.{}.ln_1.weight",
    "blocks.{}.attention_norm.bias": "transformer.h.{}.ln_1.bias",
    "blocks.{}.attention.query.weight": "transformer.h.{}.attn.c_attn.weight",
    "blocks.{}.attention.key.weight": "transformer.h.{}.attn.c_attn.weight",
    "blocks.{}.attention.value.weight": "transformer.h.{}.attn.c_attn.weight",
    "blocks.{}.attention.query.bias": "transformer.h.{}.attn.c_attn.bias",
    "blocks.{}.attention.key.bias": "transformer.h.{}.attn.c_attn.bias",
    "blocks.{}.attention.value.bias": "transformer.h.{}.attn.c_attn.bias",
    "blocks.{}.attention.output.weight": "transformer.h.{}.attn.c_proj.weight",
    "blocks.{}.attention.output.bias": "transformer.h.{}.attn.c_proj.bias",
    "blocks.{}.feed_forward_norm.weight": "transformer.h.{}.ln_2.weight",
    "blocks.{}.feed_forward_norm.bias": "transformer.h.{}.ln_2.bias",
    "blocks.{}.feed_forward.up.weight": "transformer.h.{}.mlp.c_fc.weight",
    "blocks.{}.feed_forward.up.bias": "transformer.h.{}.mlp.c_fc.bias",
    "blocks.{}.feed_forward.down.weight": "transformer.h.{}.mlp.c_proj.weight",
    "blocks.{}.feed_forward.down.bias": "transformer.h.{}.mlp.c_proj.bias",
    "norm.weight": "transformer.ln_f.weight",
    "norm.bias": "transformer.ln_f.bias",
    "head.weight": "lm_head.weight",
}
CTRL = {
    "embedding.weight": "transformer.w.weight",
    **{
        f"blocks.{{}}.{ours}.{kind}": f"transformer.h.{{}}.{theirs}.{kind}"
        for ours, theirs in (
            ("attention_norm", "layernorm1"),
            ("attention.query", "multi_head_attention.Wq"),
            ("attention.key", "multi_head_attention.Wk"),
            ("attention.value", "multi_head_attention.Wv"),
            ("attention.output", "multi_head_attention.dense"),
            ("feed_forward_norm", "layernorm2"),
            ("feed_forward.up", "ffn.0"),
            ("feed_forward.down", "ffn.2"),
        )
        for kind in ("weight", "bias")
    },
    "norm.weight": "transformer.layernorm.weight",
    "norm.bias": "transformer.layernorm.bias",
    "head.weight": "lm_head.weight",
    "bias": "lm_head.bias",
}


def _t5_stack(ours: str, theirs: str, *, cross: bool) -> dict[str, str]:
    block = f"{theirs}.block.{{}}.layer"
    feed = f"{block}.{1 + cross}"
    crossing = {
        f"{ours}blocks.{{}}.cross_norm.weight": f"{theirs}.block.{{}}.layer.1.layer_norm.weight",
        **{
            f"{ours}blocks.{{}}.cross.{name}.weight": (
                f"{theirs}.block.{{}}.layer.1.EncDecAttention.{letter}.weight"
            )
            for name, letter in QKVO.items()
        },
    }
    return {
        f"{ours}relative.scores.weight": (
            f"{theirs}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
        ),
        f"{ours}blocks.{{}}.attention_norm.weight": f"{block}.0.layer_norm.weight",
        **{
            f"{ours}blocks.{{}}.attention.{name}.weight": (
                f"{theirs}.block.{{}}.layer.0.SelfAttention.{letter}.weight"
            )
            for name, letter in QKVO.items()
        },
        **(crossing if cross else {}),
        f"{ours}blocks.{{}}.feed_forward_norm.weight": f"{feed}.layer_norm.weight",
        f"{ours}blocks.{{}}.feed_forward.gate.weight": f"{feed}.DenseReluDense.wi_0.weight",
        f"{ours}blocks.{{}}.feed_forward.up.weight": f"{feed}.DenseReluDense.wi_1.weight",
        f"{ours}blocks.{{}}.feed_forward.down.weight": f"{feed}.DenseReluDense.wo.weight",
        f"{ours}norm.weight": f"{theirs}.final_layer_norm.weight",
    }


QKVO = {"query": "q", "key": "k", "value": "v", "output": "o"}
T5 = {
    "embedding.weight": "shared.weight",
    **_t5_stack("encoder.", "encoder", cross=False),
    **_t5_stack("", "decoder", cross=True),
    "head.weight": "lm_head.weight",
}
# The first T5 has a plain feed-forward layer, of which the first matrix is named otherwise.
T5_PLAIN = {ours: theirs.replace("wi_1", "wi") for ours, theirs in T5.items()}


def _bart_stack(ours: str, theirs: str, *, cross: bool) -> dict[str, str]:
    layers = {
        "attention_norm": "self_attn_layer_norm",
        "attention.query": "self_attn.q_proj",
        "attention.key": "self_attn.k_proj",
        "attention.value": "self_attn.v_proj",
        "attention.output": "self_attn.out_proj",
        "feed_forward_norm": "final_layer_norm",
        "feed_forward.up": "fc1",
        "feed_forward.down": "fc2",
    }
    if cross:
        layers |= {
            "cross_norm": "encoder_attn_layer_norm",
            "cross.query": "encoder_attn.q_proj",
            "cross.key": "encoder_attn.k_proj",
            "cross.value": "encoder_attn.v_proj",
            "cross.output": "encoder_attn.out_proj",
        }
    kinds = ("weight", "bias")
    return {
        f"{ours}position.weight": f"model.{theirs}.embed_positions.weight",
        **{
            f"{ours}{name}.{kind}": f"model.{theirs}.{their}.{kind}"
            for name, their in (("embedding_norm", "layernorm_embedding"), ("norm", "layer_norm"))
            for kind in kinds
        },
        **{
            f"{ours}blocks.{{}}.{name}.{kind}": f"model.{theirs}.layers.{{}}.{their}.{kind}"
            for name, their in layers.items()
            for kind in kinds
        },
    }


BART = {
    "embedding.weight": "model.shared.weight",
    **_bart_stack("encoder.", "encoder", cross=False),
    **_bart_stack("", "decoder", cross=True),
    "head.weight": "lm_head.weight",
    "bias": "final_logits_bias",
}


def _bert(stem: str, head: dict[str, str]) -> dict[str, str]:
    layer = f"{stem}.encoder.layer.{{}}"
    layers = {
        "blocks.{}.attention.query": f"{layer}.attention.self.query",
        "blocks.{}.attention.key": f"{layer}.attention.self.key",
        "blocks.{}.attention.value": f"{layer}.attention.self.value",
        "blocks.{}.attention.output": f"{layer}.attention.output.dense",
        "blocks.{}.attention_norm": f"{layer}.attention.output.LayerNorm",
        "blocks.{}.feed_forward.up": f"{layer}.intermediate.dense",
        "blocks.{}.feed_forward.down": f"{layer}.output.dense",
        "blocks.{}.feed_forward_norm": f"{layer}.output.LayerNorm",
        "embedding_norm": f"{stem}.embeddings.LayerNorm",
    }
    return {
        "embedding.weight": f"{stem}.embeddings.word_embeddings.weight",
        "position.weight": f"{stem}.embeddings.position_embeddings.weight",
        **{
            f"{ours}.{kind}": f"{theirs}.{kind}"
            for ours, theirs in (layers | head).items()
            for kind in ("weight", "bias")
        },
    }


BERT = {
    **_bert(
        "bert",
        {
            "output.layer": "cls.predictions.transform.dense",
            "output.norm": "cls.predictions.transform.LayerNorm",
        },
    ),
    "bias": "cls.predictions.bias",
    "head.weight": "cls.predictions.decoder.weight",
}
ROBERTA = {
    **_bert(
        "roberta",
        {"output.layer": "lm_head.dense", "output.norm": "lm_head.layer_norm"},
    ),
    "bias": "lm_head.bias",
    "head.weight": "lm_head.decoder.weight",
}


def names_of(
    table: Mapping[str, str], config: TransformerConfig, vocab_size: int
) -> dict[str, str]:
    """Their name of each weight of a model with these settings.

    Raises:
        KeyError: the table has no place for one.
    """
    if table is T5 and config.activation not in ("geglu", "swiglu"):
        table = T5_PLAIN
    with shapes_only():
        keys = config.build(vocab_size).state_dict().keys()
    names = {}
    for key in keys:
        number = re.search(r"\.(\d+)\.", key)
        pattern = re.sub(r"\.\d+\.", ".{}.", key)
        names[key] = table[pattern].format(number and number[1])
    return names
