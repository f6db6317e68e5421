"""Switch layers of PyTorch, timed on demand: the other process of `tools/bench_layer.py --torch`.

Reads a JSON object a line, the shape and the name of a layer, computes that layer once on one thread, and answers with
the milliseconds of processor time. Nothing of this project is imported: it runs in a Python of its own.
"""

import functools
import json
import math
import os
import sys
import time
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"


def main() -> None:
    import torch

    torch.set_num_threads(1)
    for line in sys.stdin:
        question = json.loads(line)
        shape = tuple(question[name] for name in ("d_model", "d_ff", "experts", "batch", "length"))
        print(step(question["layer"], question["gradients"], *shape), flush=True)


def step(name: str, gradients: bool, d_model: int, d_ff: int, experts: int, batch: int, length: int) -> float:
    """Milliseconds of one call."""
    import torch

    layer, x = built(name, d_model, d_ff, experts, batch, length)
    started = time.process_time()
    if gradients:
        x.grad = None
        layer.zero_grad(set_to_none=True)
        (answer(layer, x) ** 2).sum().backward()
    else:
        with torch.no_grad():
            answer(layer, x)
    return 1000 * (time.process_time() - started)


@functools.cache
def built(name: str, d_model: int, d_ff: int, experts: int, batch: int, length: int) -> tuple[Any, Any]:
    """The layer, and an input: [batch, length, d_model], or [length, batch, d_model] for labml."""
    import torch

    torch.manual_seed(0)
    if name == "labml":
        from labml_nn.transformers.feed_forward import FeedForward
        from labml_nn.transformers.switch import SwitchFeedForward

        expert = FeedForward(d_model, d_ff, dropout=0.0)
        layer = SwitchFeedForward(
            capacity_factor=1.25,
            drop_tokens=True,
            is_scale_prob=True,
            n_experts=experts,
            expert=expert,
            d_model=d_model,
        )
        return layer, torch.randn(length, batch, d_model, requires_grad=True)
    from transformers import SwitchTransformersConfig
    from transformers.models.switch_transformers.modeling_switch_transformers import SwitchTransformersSparseMLP

    capacity = math.ceil(1.25 * length / experts)
    config = SwitchTransformersConfig(
        d_model=d_model,
        d_ff=d_ff,
        num_experts=experts,
        expert_capacity=capacity,
        dropout_rate=0.0,
        router_jitter_noise=0.0,
    )
    return SwitchTransformersSparseMLP(config), torch.randn(batch, length, d_model, requires_grad=True)


def answer(layer: Any, x: Any) -> Any:
    """Both return more than the tokens in some of their versions."""
    y = layer(x)
    return y[0] if isinstance(y, tuple) else y


if __name__ == "__main__":
    main()
