"""Runs the playground's JavaScript in node, without a browser."""

import base64
import json
import re
import shutil
import subprocess
from importlib import resources

import numpy as np
import pytest

NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="there is no node, which runs JavaScript without a browser")

NETWORK = (resources.files("minigrad.compression.export") / "playground_network.js").read_text(encoding="utf-8")

RUN_ALL = """
input.map(({model, pixels}) => {
  const loaded = load(model), size = loaded.input.reduce((product, n) => product * n);
  const images = decode(pixels), outputs = [];
  for (let n = 0; n < images.length / size; n++) outputs.push(run(loaded, images.slice(n * size, (n + 1) * size)));
  return outputs.map((layers) => layers.map((values) => Array.from(values)));
})"""


def evaluate(expression, given=None, network=NETWORK):
    """Return an expression's value in JavaScript, in which `input` is what is given; both must be what JSON can hold."""
    program = f"{network}\nconst input = JSON.parse(require('fs').readFileSync(0, 'utf8'));\n"
    program += f"process.stdout.write(JSON.stringify({expression.strip()}));"
    done = subprocess.run(
        [NODE, "--input-type=commonjs", "-e", program], input=json.dumps(given), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[:2000]
    return json.loads(done.stdout)


def run_models(pairs, network=NETWORK):
    """Run pairs of a model, as JSON has it, and images, uint8 (N, C, H, W); for each the outputs of all layers, (N, ...)."""
    given = [{"model": model, "pixels": encoded(pixels)} for model, pixels in pairs]
    return [[np.array(layer) for layer in zip(*images, strict=True)] for images in evaluate(RUN_ALL, given, network)]


def encoded(array):
    text = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")
    return {"dtype": str(array.dtype), "base64": text}


def script(page, name):
    """Return the content of a page's script element."""
    (found,) = re.findall(rf'<script [^>]*id="{name}">(.*?)</script>', page, flags=re.DOTALL)
    return found
