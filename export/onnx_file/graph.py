"""Writes an ONNX graph down, node by node; values go by their names."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


@dataclasses.dataclass(frozen=True)
class Graph:
    """A graph, or the body of an If or a Loop, while nodes are added; values go by their names.

    A body uses the values of the graphs around it freely: all names come from one counter, and all constants live in
    the outermost graph.
    """

    prefix: str = "text/"
    numbers: Iterator[int] = dataclasses.field(default_factory=itertools.count)
    constants: dict[bytes, onnx.TensorProto] = dataclasses.field(default_factory=dict)
    nodes: list[onnx.NodeProto] = dataclasses.field(default_factory=list)

    def stage(self, name: str) -> Graph:
        """The same graph, under a prefix of its own."""
        return dataclasses.replace(self, prefix=f"{self.prefix}{name}/")

    def op(self, op_type: str, *inputs: str, output: str = "", spare_outputs: int = 0, **attributes: Any) -> str:
        """The first output of a new node; "" is an input left out."""
        outputs = [output or self._name(), *(self._name() for _ in range(spare_outputs))]
        domain = "ai.onnx.ml" if op_type == "LabelEncoder" else ""
        self.nodes.append(helper.make_node(op_type, inputs, outputs, name=outputs[0], domain=domain, **attributes))
        return outputs[0]

    def ops(self, op_type: str, *inputs: str, outputs: int, **attributes: Any) -> list[str]:
        """All outputs of a new node."""
        names = [self._name() for _ in range(outputs)]
        self.nodes.append(helper.make_node(op_type, inputs, names, name=names[0], **attributes))
        return names

    def strings(self, *values: str) -> str:
        return self.constant(np.array(values, object))  # string [len(values)]

    def ints(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))  # int64 [len(values)]

    def scalar(self, value: int) -> str:
        return self.constant(np.array(value, np.int64))  # int64 []

    def slice(self, values: str, start: int, end: int, axis: int = 0, step: int = 1) -> str:
        axes, steps = self.ints(axis) if axis != 0 else "", self.ints(step) if step != 1 else ""
        return self.op("Slice", values, self.ints(start), self.ints(end), axes, steps)

    def split(self, values: str, **attributes: Any) -> str:
        """StringSplit without its second output, the counts: string [n] -> string [n, most parts]."""
        return self.op("StringSplit", values, spare_outputs=1, **attributes)

    def choose(self, condition: str, then: Callable[[Graph], str], otherwise: Callable[[Graph], str]) -> str:
        """An If with a result of type string [n]; each branch is written into the graph it receives."""
        return self.op("If", condition, then_branch=self._branch(then), else_branch=self._branch(otherwise))

    def loop(self, times: str, condition: str, state: str, step: Callable[[Graph, str, str], tuple[str, str]]) -> str:
        """A Loop over one string [n]: `step(body, number, state)` gives the next condition, or "", and state."""
        body = self._body()
        number, running, before = self._name(), self._name(), self._name()
        again, after = step(body, number, before)
        again = again or body.op("Identity", running)
        inputs = [info(number, TensorProto.INT64), info(running, TensorProto.BOOL), _strings_info(before)]
        outputs = [info(again, TensorProto.BOOL), _strings_info(after)]
        return self.op("Loop", times, condition, state, body=helper.make_graph(body.nodes, "loop", inputs, outputs))

    def _branch(self, write: Callable[[Graph], str]) -> onnx.GraphProto:
        body = self._body()
        result = write(body)
        return helper.make_graph(body.nodes, "branch", [], [_strings_info(result)])

    def _body(self) -> Graph:
        return dataclasses.replace(self, nodes=[])

    def constant(self, value: np.ndarray | np.generic) -> str:
        """A constant of the outermost graph; equal ones are stored once."""
        tensor = numpy_helper.from_array(np.asarray(value))
        key = tensor.SerializeToString(deterministic=True)
        if key not in self.constants:
            tensor.name = self._name()
            self.constants[key] = tensor
        return self.constants[key].name

    def _name(self) -> str:
        return f"{self.prefix}{next(self.numbers)}"


def info(name: str, element_type: int, *shape: int | str | None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, element_type, shape)


def _strings_info(name: str) -> onnx.ValueInfoProto:
    return info(name, TensorProto.STRING, None)
