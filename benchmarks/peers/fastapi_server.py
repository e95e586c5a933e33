"""FastAPI with a typed body around ONNX Runtime, under uvicorn: `python fastapi_server.py MODEL PORT`."""

import sys

import numpy as np
import onnxruntime
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
options.add_session_config_entry("session.intra_op.allow_spinning", "0")
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
app = FastAPI()


class Instances(BaseModel):
    instances: list[list[float]]


@app.post("/predict")
async def predict(request: Instances) -> dict:
    output = session.run(None, {"x": np.array(request.instances, np.float32)})[0]
    return {"predictions": output.tolist()}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning", access_log=False)
