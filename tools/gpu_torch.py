"""The peers of our layer in PyTorch: Hugging Face's, or where it is not installed the same written out."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from gpu_check import describe, draw, seconds_of

CAPACITY_FACTOR = 1.25


def measure(layers: Sequence[dict[str, Any]], keep: Callable[[dict[str, Any]], None]) -> None:
    """A row for each Switch layer of a bundle; none without PyTorch, which is said."""
    try:
        import torch
    except ImportError:
        keep({"part": "note", "text": "PyTorch was not installed, so its layers were not run."})
        return
    torch.backends.cuda.matmul.allow_tf32 = False
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for entry in layers:
        if entry["kind"] != "switch":
            continue
        name, layer = _layer(entry)
        layer = layer.to(device)
        x = torch.tensor(draw(entry["shapes"])["x"], device=device, requires_grad=entry["gradients"])
        (seconds,) = seconds_of([_call(layer, x, entry["gradients"], device)])
        keep({"what": describe(entry), "which": name, "milliseconds": 1000 * seconds, "torch": torch.__version__})
        del layer, x


def _call(layer: Any, x: Any, gradients: bool, device: str) -> Callable[[], None]:
    import torch

    def wait() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    def forward() -> None:
        with torch.no_grad():
            _first(layer(x))
        wait()

    def with_gradients() -> None:
        layer.zero_grad(set_to_none=True)
        x.grad = None
        _first(layer(x)).square().sum().backward()
        wait()

    return with_gradients if gradients else forward


def _first(answer: Any) -> Any:
    """The hidden states: Hugging Face's layer answers what its router did as well, in some versions."""
    return answer[0] if isinstance(answer, tuple) else answer


def _layer(entry: dict[str, Any]) -> tuple[str, Any]:
    capacity = math.ceil(CAPACITY_FACTOR * entry["length"] / entry["experts"])
    try:
        from transformers import SwitchTransformersConfig
        from transformers.models.switch_transformers.modeling_switch_transformers import SwitchTransformersSparseMLP
    except ImportError:
        return "PyTorch, a loop over experts", loop_over_experts(entry, capacity)
    sizes = {"d_model": entry["d_model"], "d_ff": entry["d_ff"], "num_experts": entry["experts"]}
    config = SwitchTransformersConfig(**sizes, expert_capacity=capacity, dropout_rate=0.0, router_jitter_noise=0.0)
    return "Hugging Face, PyTorch", SwitchTransformersSparseMLP(config).eval()


def loop_over_experts(entry: dict[str, Any], capacity: int) -> Any:
    """A Switch layer as most write it: each expert picks its tokens by a mask, and adds its answers at their places."""
    import torch
    from torch import nn

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            values = {name: torch.tensor(value) for name, value in draw(entry["shapes"]).items() if name != "x"}
            self.weights = nn.ParameterDict(values)

        def forward(self, x: Any) -> Any:
            probabilities = (x @ self.weights["router_kernel"]).softmax(-1)  # [batch, length, experts]
            gate, expert = probabilities.max(-1)  # [batch, length]
            chosen = nn.functional.one_hot(expert, entry["experts"])  # [batch, length, experts]
            kept = (chosen.cumsum(1) * chosen <= capacity) & (chosen > 0)  # counted from 1, text by text
            y = torch.zeros_like(x)
            for number in range(entry["experts"]):
                places = kept[..., number]  # [batch, length]
                hidden = (x[places] @ self.weights["w_in"][number] + self.weights["b_in"][number]).relu()
                y[places] = hidden @ self.weights["w_out"][number] + self.weights["b_out"][number]
            return y * gate[..., None]

    return Layer()
