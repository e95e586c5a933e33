"""A BentoML service around ONNX Runtime, one worker; `MODEL_FILE` names the model."""

import os

import bentoml
import numpy as np
import onnxruntime


@bentoml.service(workers=1, logging={"access": {"enabled": False}})
class Service:
    def __init__(self):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            os.environ["MODEL_FILE"], options, providers=["CPUExecutionProvider"]
        )

    @bentoml.api
    def predict(self, instances: np.ndarray) -> np.ndarray:
        return self._session.run(None, {"x": instances.astype(np.float32)})[0]
