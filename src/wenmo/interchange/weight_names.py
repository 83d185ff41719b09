"""Names of Transformer weights in the ``transformers`` package: one table for each architecture."""

from __future__ import annotations

import re
from collections.abc import Mapping

from wenmo.models.shapes import shapes_only
from wenmo.models.transformer.config import TransformerConfig

# Internal name: external name. "{}" is the index of a block.
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
# GPT-2 stores the linear layers of a block transposed, and query, key and value in one matrix; the
# three names are listed in the order in which the matrix is split.
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
        f"blocks.{{}}.{internal}.{suffix}": f"transformer.h.{{}}.{external}.{suffix}"
        for internal, external in (
            ("attention_norm", "layernorm1"),
            ("attention.query", "multi_head_attention.Wq"),
            ("attention.key", "multi_head_attention.Wk"),
            ("attention.value", "multi_head_attention.Wv"),
            ("attention.output", "multi_head_attention.dense"),
            ("feed_forward_norm", "layernorm2"),
            ("feed_forward.up", "ffn.0"),
            ("feed_forward.down", "ffn.2"),
        )
        for suffix in ("weight", "bias")
    },
    "norm.weight": "transformer.layernorm.weight",
    "norm.bias": "transformer.layernorm.bias",
    "head.weight": "lm_head.weight",
    "bias": "lm_head.bias",
}


def _t5_stack(prefix: str, stack: str, *, has_cross_attention: bool) -> dict[str, str]:
    block = f"{stack}.block.{{}}.layer"
    ffn = f"{block}.{1 + has_cross_attention}"
    cross_attention = {
        f"{prefix}blocks.{{}}.cross_norm.weight": f"{stack}.block.{{}}.layer.1.layer_norm.weight",
        **{
            f"{prefix}blocks.{{}}.cross.{name}.weight": (
                f"{stack}.block.{{}}.layer.1.EncDecAttention.{letter}.weight"
            )
            for name, letter in QKVO.items()
        },
    }
    return {
        f"{prefix}relative.scores.weight": (
            f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
        ),
        f"{prefix}blocks.{{}}.attention_norm.weight": f"{block}.0.layer_norm.weight",
        **{
            f"{prefix}blocks.{{}}.attention.{name}.weight": (
                f"{stack}.block.{{}}.layer.0.SelfAttention.{letter}.weight"
            )
            for name, letter in QKVO.items()
        },
        **(cross_attention if has_cross_attention else {}),
        f"{prefix}blocks.{{}}.feed_forward_norm.weight": f"{ffn}.layer_norm.weight",
        f"{prefix}blocks.{{}}.feed_forward.gate.weight": f"{ffn}.DenseReluDense.wi_0.weight",
        f"{prefix}blocks.{{}}.feed_forward.up.weight": f"{ffn}.DenseReluDense.wi_1.weight",
        f"{prefix}blocks.{{}}.feed_forward.down.weight": f"{ffn}.DenseReluDense.wo.weight",
        f"{prefix}norm.weight": f"{stack}.final_layer_norm.weight",
    }


QKVO = {"query": "q", "key": "k", "value": "v", "output": "o"}
T5 = {
    "embedding.weight": "shared.weight",
    **_t5_stack("encoder.", "encoder", has_cross_attention=False),
    **_t5_stack("", "decoder", has_cross_attention=True),
    "head.weight": "lm_head.weight",
}
# The first version of T5 has a feed-forward layer without a gate; its first matrix is called wi.
T5_PLAIN = {internal: external.replace("wi_1", "wi") for internal, external in T5.items()}


def _bart_stack(prefix: str, stack: str, *, has_cross_attention: bool) -> dict[str, str]:
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
    if has_cross_attention:
        layers |= {
            "cross_norm": "encoder_attn_layer_norm",
            "cross.query": "encoder_attn.q_proj",
            "cross.key": "encoder_attn.k_proj",
            "cross.value": "encoder_attn.v_proj",
            "cross.output": "encoder_attn.out_proj",
        }
    suffixes = ("weight", "bias")
    return {
        f"{prefix}position.weight": f"model.{stack}.embed_positions.weight",
        **{
            f"{prefix}{name}.{suffix}": f"model.{stack}.{external}.{suffix}"
            for name, external in (
                ("embedding_norm", "layernorm_embedding"),
                ("norm", "layer_norm"),
            )
            for suffix in suffixes
        },
        **{
            f"{prefix}blocks.{{}}.{name}.{suffix}": f"model.{stack}.layers.{{}}.{external}.{suffix}"
            for name, external in layers.items()
            for suffix in suffixes
        },
    }


BART = {
    "embedding.weight": "model.shared.weight",
    **_bart_stack("encoder.", "encoder", has_cross_attention=False),
    **_bart_stack("", "decoder", has_cross_attention=True),
    "head.weight": "lm_head.weight",
    "bias": "final_logits_bias",
}


def _bert(prefix: str, head: dict[str, str]) -> dict[str, str]:
    layer = f"{prefix}.encoder.layer.{{}}"
    layers = {
        "blocks.{}.attention.query": f"{layer}.attention.self.query",
        "blocks.{}.attention.key": f"{layer}.attention.self.key",
        "blocks.{}.attention.value": f"{layer}.attention.self.value",
        "blocks.{}.attention.output": f"{layer}.attention.output.dense",
        "blocks.{}.attention_norm": f"{layer}.attention.output.LayerNorm",
        "blocks.{}.feed_forward.up": f"{layer}.intermediate.dense",
        "blocks.{}.feed_forward.down": f"{layer}.output.dense",
        "blocks.{}.feed_forward_norm": f"{layer}.output.LayerNorm",
        "embedding_norm": f"{prefix}.embeddings.LayerNorm",
    }
    return {
        "embedding.weight": f"{prefix}.embeddings.word_embeddings.weight",
        "position.weight": f"{prefix}.embeddings.position_embeddings.weight",
        **{
            f"{internal}.{suffix}": f"{external}.{suffix}"
            for internal, external in (layers | head).items()
            for suffix in ("weight", "bias")
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


def weight_names(
    table: Mapping[str, str], config: TransformerConfig, vocab_size: int
) -> dict[str, str]:
    """The external name of each weight of a model with these settings.

    Raises:
        KeyError: the table has no name for a weight.
    """
    if table is T5 and config.activation not in ("geglu", "swiglu"):
        table = T5_PLAIN
    with shapes_only():
        keys = config.build(vocab_size).state_dict().keys()
    names = {}
    for key in keys:
        block = re.search(r"\.(\d+)\.", key)
        pattern = re.sub(r"\.\d+\.", ".{}.", key)
        names[key] = table[pattern].format(block and block[1])
    return names
