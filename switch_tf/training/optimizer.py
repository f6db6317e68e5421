"""AdamW with warm-up and cosine decay, as the training loop uses it."""

import tf_keras as keras

from switch_tf.config import Config


def make_optimizer(config: Config, total_steps: int) -> keras.optimizers.Optimizer:
    """AdamW with linear warm-up and cosine decay to zero; biases and layer norms do not decay."""
    settings = config.train
    warmup = int(settings.warmup_share * total_steps)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0 if warmup else settings.learning_rate,
        max(total_steps - warmup, 1),
        warmup_target=settings.learning_rate if warmup else None,
        warmup_steps=warmup,
    )
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=settings.weight_decay, beta_2=0.98, jit_compile=False)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta", "b_in", "b_out"])
    return optimizer
