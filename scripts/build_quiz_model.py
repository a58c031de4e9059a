"""Rebuilds endpoints/data/basic_quiz_model.onnx from endpoints/data/glove20k_i8.npz.

In a virtual environment of its own:

    pip install onnx==1.23.2 numpy
    python scripts/build_quiz_model.py basic_quiz_model.onnx

Nothing is trained: the model compares the sums of word vectors. For a batch of B questions of L
words, with C choices of M words each:

    q_ids   int64 [B, L]       rows of the question's words
    q_mask  float [B, L]       how much each counts, 0 for padding
    a_ids   int64 [B, C, M]    a_mask  float [B, C, M]   the same for the choices
    score   float [B, C]       cosine of question and choice
    prob    float [B, C]       softmax of 10 times the scores

The vectors are those of the `WORD_COUNT` most frequent words; the number is in the file's metadata
as `words`. The table is in the file once, as bytes: it makes up the file's size.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

VECTORS = Path(__file__).resolve().parent.parent / "endpoints" / "data" / "glove20k_i8.npz"
WORD_COUNT = 12_000
SHARPNESS = 10.0
SMALLEST_LENGTH = 1e-9
# The newest formats of package onnx are too new for onnxruntime; 9 and 18 are read since 2023.
IR_VERSION = 9
OPSET = 18


def text_nodes(helper: Any, letter: str, word_axis: str) -> list[Any]:
    """Return the nodes that turn ids and masks into unit vectors, named after `letter`."""
    return [
        helper.make_node("Gather", ["vectors", f"{letter}_ids"], [f"{letter}_bytes"]),
        helper.make_node("Cast", [f"{letter}_bytes"], [f"{letter}_rows"], to=1),
        helper.make_node("Unsqueeze", [f"{letter}_mask", "last"], [f"{letter}_weights"]),
        helper.make_node("Mul", [f"{letter}_rows", f"{letter}_weights"], [f"{letter}_weighted"]),
        helper.make_node(
            "ReduceSum", [f"{letter}_weighted", word_axis], [f"{letter}_sum"], keepdims=0
        ),
        helper.make_node("ReduceL2", [f"{letter}_sum", "last"], [f"{letter}_norm"], keepdims=1),
        helper.make_node("Add", [f"{letter}_norm", "smallest"], [f"{letter}_length"]),
        helper.make_node("Div", [f"{letter}_sum", f"{letter}_length"], [f"{letter}_unit"]),
    ]


def build(onnx: Any, vectors: Any) -> Any:
    """Return the model over the rows of `vectors`."""
    helper, constant = onnx.helper, onnx.numpy_helper.from_array
    nodes = [
        *text_nodes(helper, "q", "second"),
        *text_nodes(helper, "a", "third"),
        helper.make_node("Unsqueeze", ["q_unit", "last"], ["q_column"]),
        helper.make_node("MatMul", ["a_unit", "q_column"], ["scores"]),
        helper.make_node("Squeeze", ["scores", "last"], ["score"]),
        helper.make_node("Mul", ["score", "sharpness"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["prob"], axis=1),
    ]
    constants = [
        constant(vectors, "vectors"),
        constant(np.array([1], dtype="i8"), "second"),
        constant(np.array([2], dtype="i8"), "third"),
        constant(np.array([-1], dtype="i8"), "last"),
        constant(np.array(SMALLEST_LENGTH, dtype="f4"), "smallest"),
        constant(np.array(SHARPNESS, dtype="f4"), "sharpness"),
    ]
    whole, real = onnx.TensorProto.INT64, onnx.TensorProto.FLOAT
    inputs = [
        helper.make_tensor_value_info("q_ids", whole, ["B", "L"]),
        helper.make_tensor_value_info("q_mask", real, ["B", "L"]),
        helper.make_tensor_value_info("a_ids", whole, ["B", "C", "M"]),
        helper.make_tensor_value_info("a_mask", real, ["B", "C", "M"]),
    ]
    outputs = [helper.make_tensor_value_info(name, real, ["B", "C"]) for name in ("score", "prob")]
    graph = helper.make_graph(nodes, "basic_quiz_model", inputs, outputs, constants)
    model = helper.make_model(
        graph,
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
        producer_name="basic_inference_server",
    )
    helper.set_model_props(model, {"words": str(len(vectors))})
    onnx.checker.check_model(model, full_check=True)
    return model


def main() -> None:
    """Build the file and print its digest."""
    parser = argparse.ArgumentParser(description="Rebuild the quiz model.")
    parser.add_argument("target", type=Path, help="the .onnx file to write")
    target = parser.parse_args().target
    with np.load(VECTORS, allow_pickle=False) as archive:
        vectors = np.ascontiguousarray(archive["vec"][:WORD_COUNT])
    onnx = import_module("onnx")
    for part in ("checker", "helper", "numpy_helper"):
        import_module(f"onnx.{part}")
    target.write_bytes(build(onnx, vectors).SerializeToString(deterministic=True))
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    sys.stdout.write(f"{target}: {len(vectors)} words, sha256 {digest}\n")


if __name__ == "__main__":
    main()
