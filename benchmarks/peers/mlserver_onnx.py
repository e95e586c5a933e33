"""An MLServer runtime around ONNX Runtime with the agent's settings."""

import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse


class OnnxModel(MLModel):
    async def load(self):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            self.settings.parameters.uri, options, providers=["CPUExecutionProvider"]
        )
        return True

    async def predict(self, payload):
        array = NumpyCodec.decode_input(payload.inputs[0])
        (output,) = self._session.run(None, {"x": array})
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("output", output)])
