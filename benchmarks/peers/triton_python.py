"""`model.py` of Triton's Python backend: ONNX Runtime with the agent's settings."""

from pathlib import Path

import onnxruntime
import triton_python_backend_utils as backend


class TritonPythonModel:
    """One model; its file lies beside this one."""

    def initialize(self, arguments):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        file = Path(arguments["model_repository"], arguments["model_version"], "model.onnx")
        self._session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])

    def execute(self, requests):
        answers = []
        for request in requests:
            array = backend.get_input_tensor_by_name(request, "x").as_numpy()
            (output,) = self._session.run(None, {"x": array})
            answers.append(backend.InferenceResponse([backend.Tensor("output", output)]))
        return answers
