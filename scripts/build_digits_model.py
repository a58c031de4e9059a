"""Rebuilds endpoints/data/digits.onnx, the classifier of handwritten digits.

In a virtual environment of its own:

    pip install scikit-learn==1.9.1 onnx==1.23.2 numpy
    python scripts/build_digits_model.py digits.onnx

scikit-learn carries the data: 1,797 images of 8x8 pixels from 0 to 16, the test part of "Optical
Recognition of Handwritten Digits" (E. Alpaydin and C. Kaynak, 1998, UCI Machine Learning
Repository, CC BY 4.0). The images come in the order of their writers. The first 1,400 are learned;
the other 397 are by writers that the model has not seen, and the program prints how many of these
it gets right (358 of 397, 90.2 %, when this was written).

The model is a logistic regression (C=0.1) on standardized pixels: `X` float [N, 64] in, `label`
int64 [N] and `probabilities` float [N, 10] out. Another processor may learn weights that differ in
the last digits, so that the file is the same in what it answers and not in every byte.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

LEARNED = 1_400
REGULARIZATION = 0.1
PIXELS = 64
# The newest formats of package onnx are too new for onnxruntime.
IR_VERSION = 8
OPSET = 18


def build(onnx: Any, means: Any, scales: Any, classifier: Any) -> Any:
    """Return the model: pixels are standardized, weighted, and turned into probabilities."""
    helper = onnx.helper
    nodes = [
        helper.make_node(
            "Scaler",
            ["X"],
            ["scaled"],
            domain="ai.onnx.ml",
            offset=means.astype("f4").tolist(),
            scale=(1 / scales).astype("f4").tolist(),
        ),
        helper.make_node(
            "LinearClassifier",
            ["scaled"],
            ["label", "probabilities"],
            domain="ai.onnx.ml",
            classlabels_ints=classifier.classes_.tolist(),
            coefficients=classifier.coef_.astype("f4").ravel().tolist(),
            intercepts=classifier.intercept_.astype("f4").tolist(),
            post_transform="SOFTMAX",
        ),
    ]
    whole, real = onnx.TensorProto.INT64, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("X", real, ["N", PIXELS])],
        [
            helper.make_tensor_value_info("label", whole, ["N"]),
            helper.make_tensor_value_info("probabilities", real, ["N", len(classifier.classes_)]),
        ],
    )
    model = helper.make_model(
        graph,
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", 3)],
        producer_name="basic_inference_server",
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def main() -> None:
    """Learn, build the file, and print how good it is and its digest."""
    parser = argparse.ArgumentParser(description="Rebuild the digits model.")
    parser.add_argument("target", type=Path, help="the .onnx file to write")
    target = parser.parse_args().target
    images, labels = import_module("sklearn.datasets").load_digits(return_X_y=True)
    means = images[:LEARNED].mean(axis=0)
    scales = images[:LEARNED].std(axis=0)
    scales[scales == 0] = 1.0  # pixels that are blank in every image
    standardized = (images - means) / scales
    linear = import_module("sklearn.linear_model")
    classifier = linear.LogisticRegression(C=REGULARIZATION, max_iter=5_000)
    classifier.fit(standardized[:LEARNED], labels[:LEARNED])
    right = int(np.sum(classifier.predict(standardized[LEARNED:]) == labels[LEARNED:]))
    onnx = import_module("onnx")
    for part in ("checker", "helper"):
        import_module(f"onnx.{part}")
    model = build(onnx, means, scales, classifier)
    target.write_bytes(model.SerializeToString(deterministic=True))
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    held_out = len(labels) - LEARNED
    sys.stdout.write(f"{target}: {right} of {held_out} unseen digits right, sha256 {digest}\n")


if __name__ == "__main__":
    main()
