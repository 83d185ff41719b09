"""Read the ``config.json`` of an external model without silently ignoring a setting.

Each setting is either used, known to have no effect on the output, or refused by name. Defaults of
missing settings are those of the ``transformers`` package.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from wenmo.types import WenmoError


class UnsupportedSettingError(WenmoError):
    """A setting that changes the model's output and is not supported."""


@dataclass(frozen=True)
class Schema:
    """The settings in the ``config.json`` of one ``model_type``.

    Attributes:
        defaults: default values of settings that the file may omit.
        fixed: for settings that are not read, the supported values.
        ignored: names of settings that have no effect on the model's output.
    """

    defaults: Mapping[str, Any] = field(default_factory=dict)
    fixed: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    ignored: frozenset[str] = frozenset()

    def allows(self, name: str, value: Any) -> bool:
        """Whether a setting that is not read has no effect. None counts as missing."""
        if value is None or name.startswith("_") or name in IGNORED or name in self.ignored:
            return True
        return value in self.fixed.get(name, FIXED.get(name, ()))


class ConfigReader(Mapping[str, Any]):
    """A mapping of settings with defaults that records which settings were read.

    Args:
        values: the content of the file.
        schema: defaults, supported values and ignored settings.
    """

    def __init__(self, values: Mapping[str, Any], schema: Schema | None = None) -> None:
        self._values, self._schema = values, schema or Schema()
        self._read: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self._read.add(name)
        return self._values[name] if name in self._values else self._schema.defaults[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values.keys() | self._schema.defaults.keys())

    def __len__(self) -> int:
        return len(self._values.keys() | self._schema.defaults.keys())

    def check_all_read(self) -> None:
        """Check that every setting was read or has no effect.

        Raises:
            UnsupportedSettingError: a setting was not read and may change the output.
        """
        for name, value in self._values.items():
            if name not in self._read and not self._schema.allows(name, value):
                raise UnsupportedSettingError(f"{name} = {_short(value)} is not supported here")


def name_set(text: str) -> frozenset[str]:
    """The set of the words of a string."""
    return frozenset(text.split())


def _short(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


GENERATION_KEYS = name_set(
    "max_length min_length max_new_tokens min_new_tokens do_sample early_stopping num_beams "
    "num_beam_groups diversity_penalty temperature top_k top_p min_p typical_p epsilon_cutoff "
    "eta_cutoff repetition_penalty encoder_repetition_penalty length_penalty no_repeat_ngram_size "
    "encoder_no_repeat_ngram_size bad_words_ids force_words_ids num_return_sequences output_scores "
    "output_logits return_dict_in_generate forced_bos_token_id forced_eos_token_id "
    "exponential_decay_length_penalty suppress_tokens begin_suppress_tokens decoder_start_token_id "
    "bos_token_id eos_token_id pad_token_id sep_token_id max_time stop_strings penalty_alpha "
    "renormalize_logits remove_invalid_values guidance_scale low_memory"
)
"""Generation settings, which `wenmo.interchange.generation` reads."""

IGNORED = GENERATION_KEYS | name_set(
    # metadata, training, tasks, memory and speed
    "architectures model_type vocab_size transformers_version torch_dtype dtype id2label label2id "
    "num_labels problem_type finetuning_task task_specific_params prefix tokenizer_class "
    "output_attentions output_hidden_states output_past return_dict torchscript use_bfloat16 "
    "tf_legacy_loss xla_device use_cache gradient_checkpointing chunk_size_feed_forward "
    "initializer_range initializer_factor init_std is_encoder_decoder attn_implementation "
    "pretraining_tp classifier_dropout summary_type summary_use_proj summary_activation "
    "summary_proj_to_labels summary_first_dropout summary_last_dropout neftune_noise_alpha "
    "transformers.js_config unsloth_version unsloth_fixed model_max_length "
    # dropout, which is used in training only
    "embd_pdrop attn_pdrop resid_pdrop dropout attention_dropout activation_dropout dropout_rate "
    "hidden_dropout_prob attention_probs_dropout_prob encoder_layerdrop decoder_layerdrop "
    "classif_dropout"
)
FIXED: dict[str, tuple[Any, ...]] = {
    "pruned_heads": ({},),
    "add_cross_attention": (False,),
    "is_decoder": (False,),
    "tie_encoder_decoder": (False,),
}

_LLAMA = {
    "vocab_size": 32_000,
    "hidden_size": 4096,
    "intermediate_size": 11_008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": None,
    "head_dim": None,
    "hidden_act": "silu",
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_QWEN = _LLAMA | {
    "vocab_size": 151_936,
    "intermediate_size": 22_016,
    "num_key_value_heads": 32,
    "max_position_embeddings": 32_768,
    "sliding_window": 4096,
    "max_window_layers": 28,
    "use_sliding_window": False,
    "bos_token_id": None,
    "eos_token_id": None,
}
_BART = {
    "vocab_size": 50_265,
    "d_model": 1024,
    "encoder_layers": 12,
    "decoder_layers": 12,
    "encoder_attention_heads": 16,
    "decoder_attention_heads": 16,
    "encoder_ffn_dim": 4096,
    "decoder_ffn_dim": 4096,
    "max_position_embeddings": 1024,
    "activation_function": "gelu",
    "scale_embedding": False,
    "tie_word_embeddings": True,
    "dropout": 0.1,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "decoder_start_token_id": 2,
}
_BERT = {
    "vocab_size": 30_522,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "max_position_embeddings": 512,
    "layer_norm_eps": 1e-12,
    "tie_word_embeddings": True,
    "position_embedding_type": "absolute",
    "is_decoder": False,
}
_T5 = {
    "vocab_size": 32_128,
    "d_model": 512,
    "d_kv": 64,
    "d_ff": 2048,
    "num_layers": 6,
    "num_decoder_layers": None,
    "num_heads": 8,
    "n_positions": 512,
    "feed_forward_proj": "relu",
    "relative_attention_num_buckets": 32,
    "relative_attention_max_distance": 128,
    "layer_norm_epsilon": 1e-6,
    "dropout_rate": 0.1,
    "tie_word_embeddings": True,
    "pad_token_id": 0,
    "eos_token_id": 1,
}
# ``n_ctx`` is an older name of ``n_positions``; ``reorder_and_upcast_attn`` only changes rounding.
_CLASSIC_IGNORED = name_set(
    "n_ctx predict_special_tokens n_special reorder_and_upcast_attn is_decoder afn from_tf"
)
_LLAMA_FIXED = {
    "partial_rotary_factor": (1, 1.0),
    "rope_interleaved": (False,),
    "attention_bias": (False,),
    "mlp_bias": (False,),
    "use_mrope": (False,),
}
_LLAMA_IGNORED = name_set("is_llama_config max_sequence_length")
_BART_IGNORED = name_set("student_encoder_layers student_decoder_layers save_step")


def _bart_fixed(
    *, prenorm: bool, embedding_norm: bool, sinusoidal: bool
) -> dict[str, tuple[Any, ...]]:
    """Settings of old BART configs; newer versions derive them from ``model_type``."""
    return {
        "normalize_before": (prenorm,),
        "add_final_layer_norm": (prenorm,),
        "normalize_embedding": (embedding_norm,),
        "static_position_embeddings": (sinusoidal,),
        "add_bias_logits": (False,),
        "force_bos_token_to_be_generated": (False,),
        "extra_pos_embeddings": (2,),
    }


SCHEMAS: dict[str, Schema] = {
    "gpt2": Schema(
        {
            "vocab_size": 50_257,
            "n_positions": 1024,
            "n_embd": 768,
            "n_layer": 12,
            "n_head": 12,
            "n_inner": None,
            "activation_function": "gelu_new",
            "layer_norm_epsilon": 1e-5,
            "resid_pdrop": 0.1,
            "tie_word_embeddings": True,
            "bos_token_id": 50_256,
            "eos_token_id": 50_256,
        },
        {"scale_attn_weights": (True,), "scale_attn_by_inverse_layer_idx": (False,)},
        _CLASSIC_IGNORED,
    ),
    "llama": Schema(_LLAMA, _LLAMA_FIXED, _LLAMA_IGNORED),
    "mistral": Schema(
        _LLAMA
        | {
            "intermediate_size": 14_336,
            "num_key_value_heads": 8,
            "max_position_embeddings": 131_072,
            "sliding_window": 4096,
        },
        _LLAMA_FIXED,
        _LLAMA_IGNORED,
    ),
    "qwen2": Schema(_QWEN, _LLAMA_FIXED | {"attention_bias": (True,)}, _LLAMA_IGNORED),
    "qwen3": Schema(_QWEN | {"head_dim": 128}, _LLAMA_FIXED, _LLAMA_IGNORED),
    "ctrl": Schema(
        {
            "vocab_size": 246_534,
            "n_positions": 256,
            "n_embd": 1280,
            "dff": 8192,
            "n_layer": 48,
            "n_head": 16,
            "layer_norm_epsilon": 1e-6,
            "resid_pdrop": 0.1,
            "tie_word_embeddings": True,
        },
        ignored=_CLASSIC_IGNORED,
    ),
    "t5": Schema(_T5, ignored=frozenset({"dense_act_fn", "is_gated_act"})),
    "mt5": Schema(
        _T5
        | {
            "vocab_size": 250_112,
            "d_ff": 1024,
            "num_layers": 8,
            "num_heads": 6,
            "feed_forward_proj": "gated-gelu",
            "decoder_start_token_id": 0,
        },
        ignored=frozenset({"dense_act_fn", "is_gated_act"}),
    ),
    "bart": Schema(
        _BART, _bart_fixed(prenorm=False, embedding_norm=True, sinusoidal=False), _BART_IGNORED
    ),
    "mbart": Schema(
        _BART | {"decoder_start_token_id": None},
        _bart_fixed(prenorm=True, embedding_norm=True, sinusoidal=False),
        _BART_IGNORED,
    ),
    "marian": Schema(
        _BART
        | {
            "vocab_size": 58_101,
            "pad_token_id": 58_100,
            "bos_token_id": None,
            "eos_token_id": 0,
            "decoder_start_token_id": 58_100,
        },
        _bart_fixed(prenorm=False, embedding_norm=False, sinusoidal=True)
        | {"share_encoder_decoder_embeddings": (True,)},
        _BART_IGNORED | {"extra_pos_embeddings"},  # positions are sinusoidal
    ),
    "bert": Schema(
        _BERT,
        ignored=name_set(
            # the pooler and token types are not used in masked language modelling
            "type_vocab_size directionality pooler_fc_size pooler_num_attention_heads "
            "pooler_num_fc_layers pooler_size_per_head pooler_type"
        ),
    ),
    "roberta": Schema(
        _BERT | {"vocab_size": 50_265, "bos_token_id": 0, "eos_token_id": 2},
        ignored=frozenset({"type_vocab_size"}),
    ),
}
