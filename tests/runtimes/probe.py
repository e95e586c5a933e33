"""Runs inside a composed runtime, on whatever Python and processor: uses each package as the agent does.

Prints one JSON line; standard library and the runtime's layers only.
"""

import io
import json
import sys

import httptools
import numpy
import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from PIL import Image
from securesystemslib.signer import CryptoSigner, Key
from tuf.api.metadata import Metadata, Root
from tuf.ngclient import Updater, UpdaterConfig

import agent.__main__
from agent.transforms.images import decode, grey_png


class Request:
    def on_url(self, url):
        self.url = url


request = Request()
httptools.HttpRequestParser(request).feed_data(b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n")
assert request.url == b"/v2/health/live"
assert orjson.loads(orjson.dumps(numpy.arange(3), option=orjson.OPT_SERIALIZE_NUMPY)) == [0, 1, 2]

private = Ed25519PrivateKey.generate()
private.public_key().verify(private.sign(b"report"), b"report")
signer = CryptoSigner.generate_ed25519()
metadata = Metadata(Root())
metadata.signed.add_key(signer.public_key, "root")
metadata.sign(signer)
metadata.verify_delegate("root", metadata)
assert all([Updater, UpdaterConfig, Key, agent.__main__.main])

drawn = io.BytesIO()
exif = Image.Exif()
exif[0x0112] = 6
Image.new("RGB", (48, 32), (255, 0, 0)).save(drawn, "JPEG", exif=exif)
assert decode(drawn.getvalue()).pixels.shape == (48, 32, 3)
assert decode(grey_png(numpy.full((3, 2), 7, numpy.uint8))).pixels.ravel().tolist() == [7] * 6

square = numpy.random.default_rng(7).normal(size=(16, 16))
assert numpy.allclose(square @ numpy.linalg.inv(square), numpy.eye(16), atol=1e-6)
assert numpy.allclose(numpy.fft.ifft(numpy.fft.fft(square)).real, square)

model = sys.argv[1]
samples = numpy.linspace(0, 1, 64, dtype=numpy.float32).reshape(1, 64)
if model.endswith(".onnx"):
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    output = session.run(None, {session.get_inputs()[0].name: samples})[0]
    engine = f"onnxruntime {onnxruntime.__version__}"
else:
    try:
        import ai_edge_litert as package
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        import tflite_runtime as package
        from tflite_runtime.interpreter import Interpreter
    interpreter = Interpreter(model, num_threads=1)
    interpreter.allocate_tensors()
    tensor = interpreter.get_input_details()[0]
    interpreter.set_tensor(tensor["index"], samples.astype(tensor["dtype"]))
    interpreter.invoke()
    output = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    engine = f"{package.__name__} {package.__version__}"

print(
    json.dumps(
        {
            "engine": engine,
            "numpy": numpy.__version__,
            "shape": output.shape,
            "first": output.ravel().tolist(),
        }
    )
)
