"""Writes mlp.onnx: 128-512-512-10 with relu, seeded weights. Runs where the package onnx is."""

from __future__ import annotations

import sys
from itertools import pairwise

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIZES = (128, 512, 512, 10)
IR_VERSION, OPSET = 10, 17  # the newest formats of package onnx are too new for onnxruntime


def build() -> onnx.ModelProto:
    """Three layers, a row in for each row out."""
    random = np.random.default_rng(0)
    nodes, weights, name = [], [], "x"
    for index, (rows, columns) in enumerate(pairwise(SIZES)):
        matrix = (random.standard_normal((rows, columns)) / rows**0.5).astype(np.float32)
        bias = np.zeros(columns, dtype=np.float32)
        weights.append(numpy_helper.from_array(matrix, f"w{index}"))
        weights.append(numpy_helper.from_array(bias, f"b{index}"))
        is_last = index == len(SIZES) - 2
        out = "y" if is_last else f"h{index}"
        nodes.append(helper.make_node("Gemm", [name, f"w{index}", f"b{index}"], [out]))
        name = out
        if not is_last:
            nodes.append(helper.make_node("Relu", [out], [f"r{index}"]))
            name = f"r{index}"
    graph = helper.make_graph(
        nodes,
        "mlp",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, SIZES[0]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, SIZES[-1]])],
        weights,
    )
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, ir_version=IR_VERSION, opset_imports=opsets)
    onnx.checker.check_model(model)
    return model


if __name__ == "__main__":
    onnx.save(build(), sys.argv[1])
