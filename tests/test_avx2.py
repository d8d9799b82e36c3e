"""The parity tests once more under AVX2, wherever a library lets its instruction set be capped.

ONNX Runtime does not; on other CPUs than this one it is what the other libraries hand it that differs.
"""

import os
import subprocess
import sys

import cv2
import numpy as np
import pytest

from hpi.backends.cpu import ISA_LEVELS, this_cpu

from support import ROOT, missing_backend, run_python

pytestmark = [
    pytest.mark.full,
    pytest.mark.avx2,
    pytest.mark.skipif(this_cpu().isa not in ISA_LEVELS[1:], reason="this CPU has no AVX2"),
]

PARITY = {
    "every golden result": ["--all", "hpi/test_golden.py"],
    "runtimes and kernels": [
        "backends/test_openvino.py", "backends/test_paddle.py", "backends/test_sessions.py", "backends/test_uint8.py",
        "hpi/test_on_gpu.py", "kernels",
    ],
}  # fmt: skip
AVX512 = [
    name for name in np.show_config(mode="dicts")["SIMD Extensions"]["found"] if "AVX512" in name or name == "X86_V4"
]
CAPPED = {
    "ONEDNN_MAX_CPU_ISA": "AVX2",  # in Paddle, and in OpenVINO
    "OV_CPU_MAX_ISA": "AVX2",  # OpenVINO's own kernels; the two go together
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
    "NPY_DISABLE_CPU_FEATURES": " ".join(AVX512),
    "OPENCV_CPU_DISABLE": ",".join(name.strip("*?") for name in cv2.getCPUFeaturesLine().split() if "AVX512" in name),
    "OPENCV_IPP": "avx2",  # Intel's library in it: its cubic resize rounds otherwise than under AVX-512
}


def test_opencv_and_numpy_are_capped(tmp_path):
    script = (
        "import cv2, numpy as np\n"
        "print([name for name in cv2.getCPUFeaturesLine().split() if 'AVX512' in name and not name.endswith('?')])\n"
        "print('l9' in cv2.ipp.getIppVersion() or not cv2.ipp.useIPP())\n"
        "found = np.show_config(mode='dicts')['SIMD Extensions']['found']\n"
        "print([name for name in found if 'AVX512' in name or name == 'X86_V4'])\n"
    )
    done = run_python("-c", script, cwd=tmp_path, **CAPPED)
    assert done.stdout.splitlines() == ["[]", "True", "[]"], done.stderr


def test_openvino_is_capped(tmp_path):
    if reason := missing_backend("openvino"):
        pytest.skip(reason)
    script = (
        "import openvino as ov\n"
        "from hpi.zoo import Zoo\n"
        "graph = Zoo.default().find('MoveNet-Thunder_256x256').files.onnx\n"
        "model = ov.Core().compile_model(str(graph), 'CPU', {'INFERENCE_PRECISION_HINT': 'f32'})\n"
        "print(*(node.get_rt_info()['primitiveType'].astype(str) for node in model.get_runtime_model().get_ops()))\n"
    )
    done = run_python("-c", script, cwd=tmp_path, **CAPPED)
    assert "avx2" in done.stdout, done.stderr
    assert "avx512" not in done.stdout


def test_paddle_is_capped(tmp_path):
    if reason := missing_backend("paddle"):
        pytest.skip(reason)
    script = "from hpi import Predictor; Predictor('PicoDet-S_person_416', backend='paddle')"
    done = run_python("-c", script, cwd=tmp_path, ONEDNN_VERBOSE="1", **CAPPED)
    (said,) = {line for line in done.stdout.splitlines() if ",cpu,isa:" in line}
    assert said.endswith("isa:Intel AVX2"), done.stdout


@pytest.mark.parametrize("arguments", PARITY.values(), ids=list(PARITY))
def test_parity(arguments):
    """What a run of these tests says that could not use more."""
    places = [place if place.startswith("-") else f"tests/{place}" for place in arguments]
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *places]
    # Without a limit of its own: it takes minutes, and many on a busy machine.
    done = subprocess.run(command, cwd=ROOT, env=os.environ | CAPPED, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
