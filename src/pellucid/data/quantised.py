"""Float weights of ONNX graphs, also of those whose weights onnxruntime has made eight-bit numbers."""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from pellucid.errors import BadData

_NAMELESS = re.compile(r"onnx::MatMul_\d+")  # what torch's exporter calls a matrix that it has turned over


def onnx_weights(raw: bytes, label: str) -> Iterator[tuple[str, np.ndarray]]:
    """Name and float values of each weight, one after the other: (q - zero point) * scale, dense weights turned to output x input.

    Parameters keep their names. A dense weight, which an export leaves without one, is called after the node that multiplies by it:
    `/encoder/layer.0/output/dense/MatMul_quant` makes `encoder.layer.0.output.dense.weight`, and so does a plain `MatMul`.

    Args:
        label: what the graph is, for the message.
    Raises:
        BadData: the package onnx is not installed.
    """
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError:
        raise BadData(f"{label} is converted from ONNX, which needs the package onnx: pip install 'pellucid[onnx]'") from None
    graph = onnx.load_from_string(raw).graph
    stored = {tensor.name: tensor for tensor in graph.initializer}

    def values(name: str) -> np.ndarray:
        array: np.ndarray = numpy_helper.to_array(stored[name])
        return array

    dense = _dense(graph, stored)
    for name in stored:
        if _NAMELESS.fullmatch(name) and name in dense:
            yield dense[name], np.ascontiguousarray(values(name).T)
        elif not re.search("_(scale|zero_point|quantized)$", name):
            yield name, values(name)
        elif name.endswith("_quantized"):
            whole = name.removesuffix("_quantized")
            # scales of one number count for the whole tensor, scales of several for its columns
            array = values(name).astype(np.float32)
            array -= values(f"{whole}_zero_point")
            array *= values(f"{whole}_scale")
            yield (dense[name], np.ascontiguousarray(array.T)) if name in dense else (whole, array)


def _dense(graph: Any, stored: dict[str, Any]) -> dict[str, str]:
    """Stored matrix -> name of the weight, from the node that multiplies by it."""
    products = [node for node in graph.node if node.op_type in ("MatMulInteger", "MatMul") and node.input[1] in stored]
    places = {node.input[1]: node.name.strip("/").removesuffix("_quant").removesuffix("/MatMul") for node in products}
    return {name: place.replace("/", ".") + ".weight" for name, place in places.items()}
