"""What a preset sets: tables of settings over the defaults of `switch_tf.config`."""

from typing import Any

PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "auto": {  # what does not depend on the data; `switch_tf.training.auto` chooses the rest from its size
        "text": {"vocabulary_size": 40_000},
        "model": {
            "context": "mean",
            "router": "token",
            "character_grams": True,
            "pair_min_count": 2,
            "num_experts": 8,
            "d_ff": 64,
            "capacity_factor": 2.0,
            "eval_capacity_factor": 2.0,
            "router_jitter": 0.0,
            "dropout": 0.1,
            "expert_dropout": 0.1,
            "token_dropout": 0.3,
        },
        "wide": {"enabled": True},
        "train": {"epochs": 8, "learning_rate": 3e-3, "label_smoothing": 0.05, "select_by": "log_loss"},
    },
    "tiny": {},
    "base": {
        "text": {"vocabulary_size": 20_000, "sequence_length": 256},
        "model": {"num_experts": 8, "token_dropout": 0.7},
        "train": {"epochs": 5, "label_smoothing": 0.0},
    },
    "large": {
        "text": {"vocabulary_size": 50_000, "sequence_length": 400, "byte_length": 4096},
        "model": {"d_model": 128, "d_ff": 512, "num_blocks": 4, "num_experts": 16},
        "train": {"epochs": 5, "learning_rate": 5e-4},
    },
}
