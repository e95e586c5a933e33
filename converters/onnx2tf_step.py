"""The step from ONNX to TFLite that runs in onnx2tf's environment: `python onnx2tf_step.py MODEL.onnx FOLDER`.

The rule: it is handed a file and leaves `float32.tflite` in a folder; everything else is done by who started it.
"""

from __future__ import annotations

import sys
from pathlib import Path


def main(model: Path, folder: Path) -> None:
    """Convert one model, its inputs laid out as they are."""
    import onnx
    import onnx2tf

    proto = onnx.load(str(model))
    held = {tensor.name for tensor in proto.graph.initializer}
    names = [value.name for value in proto.graph.input if value.name not in held]
    onnx2tf.convert(
        input_onnx_file_path=str(model),
        output_folder_path=str(folder),
        keep_shape_absolutely_input_names=names,
        batch_size=1,
        enable_rnn_unroll=True,  # its LSTM operator keeps its state from one request to the next
        not_use_onnxsim=True,
        copy_onnx_input_output_names_to_tflite=True,
        non_verbose=True,
    )
    (folder / f"{model.stem}_float32.tflite").replace(folder / "float32.tflite")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
