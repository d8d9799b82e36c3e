"""PaddleX's own server, ``paddlex --serve``. Run with the Python that has ``paddlex[cv,serving]`` and Paddle."""

import json
import sys
import tempfile
import threading

from loop import serve
from paddlex import create_pipeline
from paddlex.inference.serving.basic_serving import create_pipeline_app, run_server
from paddlex_models import put_under_accepted_name

config = json.loads(sys.argv[1])
copies = tempfile.TemporaryDirectory()
put_under_accepted_name(config["pipeline"]["SubModules"]["ObjectDetection"], copies.name)
pipeline = create_pipeline(config=config["pipeline"], device="cpu")
app = create_pipeline_app(pipeline, config["pipeline"])
threading.Thread(
    target=run_server, args=(app,), kwargs={"host": "127.0.0.1", "port": config["port"]}, daemon=True
).start()
serve(["paddlex", "paddlepaddle", "fastapi", "uvicorn"], lambda: None)
