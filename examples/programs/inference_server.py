"""An HTTP inference server that gathers requests into batches: MobileNetV2 of the zoo behind POST /infer, an image of raw bytes each.

It knows nothing of BayesTuner, which measures it from outside (bayestuner.measure.http_load).
"""

import argparse
import os
import queue
import threading
import time
from concurrent.futures import Future
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

from bayestuner.zoo import registry, session

parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--max-batch", type=int, default=8)
parser.add_argument("--max-wait-ms", type=float, default=5.0)
parser.add_argument("--scale", type=float, default=1.0, help="of the net")
options = parser.parse_args()

(image,) = registry.spec("mobilenet_v2").graph(options.scale).inputs
threads = int(os.environ.get("BAYESTUNER_CORES", "1"))
model = session.open_session(registry.build("mobilenet_v2", options.scale), threads=threads)
waiting: queue.Queue[tuple[np.ndarray, Future]] = queue.Queue()


def infer_batches() -> None:
    while True:
        batch = [waiting.get()]
        deadline = time.monotonic() + options.max_wait_ms / 1e3
        while len(batch) < options.max_batch:
            try:
                batch.append(waiting.get(timeout=max(0.0, deadline - time.monotonic())))
            except queue.Empty:
                break
        (scores,) = model.run(None, {image.name: np.stack([pixels for pixels, _ in batch])})
        for (_, answer), row in zip(batch, scores, strict=True):
            answer.set_result(int(row.argmax()))


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"  # connections stay open

    def do_POST(self) -> None:
        data = np.frombuffer(self.rfile.read(int(self.headers["Content-Length"])), np.uint8)
        if data.size != np.prod(image.shape):
            self.send_error(400, f"an image has {np.prod(image.shape)} bytes")
            return
        answer: Future = Future()
        waiting.put(((data.reshape(image.shape) / np.float32(127.5) - np.float32(1)).astype(np.float32), answer))
        text = f"class {answer.result()}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        pass


threading.Thread(target=infer_batches, daemon=True).start()
ThreadingHTTPServer(("127.0.0.1", options.port), Handler).serve_forever()
