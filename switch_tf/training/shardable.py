"""Which trainings can shard their experts, told from the settings before TensorFlow loads."""

from switch_tf.config import Config
from switch_tf.errors import ConfigError
from switch_tf.expert_map import stored_experts

_WHOLE = "or train.shard_experts = false, which leaves all experts on each worker"


def refuse_alone(config: Config) -> None:
    """
    Raises:
        ConfigError: experts shall be sharded, over one worker.
    """
    if config.train.shard_experts:
        raise ConfigError(
            "train.shard_experts = true with one worker, which holds all experts. Expected several workers, such as "
            "workers = 2, or train.shard_experts = false.",
            "settings",
        )


def refuse_devices(config: Config) -> None:
    """
    Raises:
        ConfigError: experts shall be sharded over devices that one process has.
    """
    if config.train.shard_experts:
        raise ConfigError(
            "train.shard_experts = true with several GPUs in one process. Expected a process for each, in a cluster of "
            f"TF_CONFIG whose processes see one GPU each; {_WHOLE}.",
            "settings",
        )


def refuse_unshardable(config: Config, workers: int) -> None:
    """
    Raises:
        ConfigError: experts shall be sharded; and there are none, they cannot be dealt out evenly to so many workers,
            or they are those of the other context.
    """
    if not config.train.shard_experts:
        return
    model = config.model
    if model.num_experts == 0:
        raise ConfigError(
            "train.shard_experts = true with model.num_experts = 0. Expected experts to shard, or it left out.",
            "settings",
        )
    if model.context == "mean":
        raise ConfigError(
            "train.shard_experts = true with model.context = 'mean', whose models are small. Expected 'attention', as "
            f"of the presets tiny, base and large; {_WHOLE}.",
            "settings",
        )
    for stored in {model.num_experts} if model.expert_map is None else set(map(stored_experts, model.expert_map)):
        if stored % workers:
            more = -(-stored // workers) * workers
            raise ConfigError(
                f"{stored} experts (model.num_experts) cannot be dealt out evenly to {workers} workers. Expected a "
                f"multiple of {workers}, such as model.num_experts = {more}; or as many workers as divide {stored}; "
                f"{_WHOLE}.",
                "settings",
            )
