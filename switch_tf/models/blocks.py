"""Which blocks of a classifier have a Switch layer, and which of their experts are left."""

from switch_tf.config import ModelConfig
from switch_tf.expert_map import stored_experts


def has_switch(settings: ModelConfig, block: int) -> bool:
    """Whether a block, counted from 0, has a Switch layer."""
    return settings.num_experts > 0 and (block + 1) % settings.switch_every == 0


def switch_blocks(settings: ModelConfig) -> list[int]:
    """The numbers of the blocks that have one, first layer first."""
    return [block for block in range(settings.num_blocks) if has_switch(settings, block)]


def map_of_block(settings: ModelConfig, block: int) -> list[int] | None:
    """Which weights the experts of a block have after pruning; None where each has its own, or there are none."""
    if settings.expert_map is None or not has_switch(settings, block):
        return None
    return settings.expert_map[switch_blocks(settings).index(block)]


def experts_of_layers(settings: ModelConfig) -> list[int]:
    """How many experts of each Switch layer have weights, first layer first."""
    maps = [map_of_block(settings, block) for block in switch_blocks(settings)]
    return [settings.num_experts if each is None else stored_experts(each) for each in maps]
