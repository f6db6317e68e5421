"""Which tensors of a TFLite file are the same whatever goes in, read from the file itself."""

import mmap
from pathlib import Path
from typing import Any


def fixed_tensors(source: Path | bytes, subgraph: int) -> set[int]:
    """The numbers of those that are stored, or computed of such alone, as tables are that are stored smaller.

    Args:
        source: the file, or its content, which LiteRT has opened: no other is read safely.
        subgraph: whose tensors these are.
    """
    if isinstance(source, bytes):
        return _fixed(source, subgraph)
    with source.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return _fixed(content, subgraph)


def _fixed(content: Any, subgraph: int) -> set[int]:
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(content, 0)
    graph = model.Subgraphs(subgraph)
    buffers = [model.Buffers(graph.Tensors(number).Buffer()) for number in range(graph.TensorsLength())]
    found = {number for number, buffer in enumerate(buffers) if buffer.DataLength() or buffer.Size()}
    found -= {graph.Inputs(place) for place in range(graph.InputsLength())}
    for operator in map(graph.Operators, range(graph.OperatorsLength())):
        inputs = {operator.Inputs(place) for place in range(operator.InputsLength())}
        if inputs - {-1} <= found:  # -1 where one is left out
            found |= {operator.Outputs(place) for place in range(operator.OutputsLength())}
    return found
