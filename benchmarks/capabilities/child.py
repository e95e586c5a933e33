"""Runs models in the runtime of this environment: `python child.py ENGINE LIST`.

Needs Python 3.8, NumPy and the engine. LIST holds one JSON line a model: `name`, `model`, `inputs`, `outputs`.
The answer is two lines a model on standard output: its name before it is touched, so that a crash has a name, and
what came of it. Answers go into `outputs`.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np


def run_tflite(interpreter_class, model, inputs):
    """Answers of a TFLite interpreter; inputs by their order."""
    interpreter = interpreter_class(model_path=model, num_threads=1)
    interpreter.allocate_tensors()
    for detail, array in zip(interpreter.get_input_details(), inputs):
        interpreter.set_tensor(detail["index"], array)
    interpreter.invoke()
    return [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]


def run_onnx(onnxruntime, model, inputs):
    """Answers of ONNX Runtime on the CPU; inputs by their order."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    feed = {node.name: array for node, array in zip(session.get_inputs(), inputs)}
    return session.run(None, feed)


def runner(engine):
    """The function that runs one model."""
    if engine == "onnxruntime":
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
        import onnxruntime

        onnxruntime.set_default_logger_severity(4)
        return lambda model, inputs: run_onnx(onnxruntime, model, inputs)
    if engine == "litert":
        from ai_edge_litert.interpreter import Interpreter
    else:
        from tflite_runtime.interpreter import Interpreter
    return lambda model, inputs: run_tflite(Interpreter, model, inputs)


def main(engine, listed):
    """Run every model of the list."""
    run = runner(engine)
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what engines print is not an answer
    lines = [json.loads(line) for line in Path(listed).read_text().splitlines()]
    for line in lines:
        out.write(json.dumps({"begun": line["name"]}) + "\n")
        out.flush()
        try:
            with np.load(line["inputs"]) as stored:
                inputs = [stored["input_%d" % k] for k in range(len(stored.files))]
            answers = run(line["model"], inputs)
            arrays = [np.asarray(a) for a in answers]
            arrays = [a.astype(str) if a.dtype.kind == "O" else a for a in arrays]
            np.savez(line["outputs"], **{"output_%d" % k: a for k, a in enumerate(arrays)})
            said = {"name": line["name"], "error": ""}
        except Exception as error:  # what an engine raises is what is asked for here
            said = {"name": line["name"], "error": " ".join(str(error).split())[:300] or type(error).__name__}
        out.write(json.dumps(said) + "\n")
        out.flush()


main(sys.argv[1], sys.argv[2])
