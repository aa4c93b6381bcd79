"""Over MPI: the same losses as in one process. `make test-distributed` installs what these tests need."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from minigrad.parallel import find_mpiexec
from tests.parallel.test_team import losses

pytestmark = pytest.mark.distributed
pytest.importorskip("mpi4py", reason="mpi4py is not installed; `make test-distributed` installs it")

ROOT = Path(__file__).resolve().parents[2]


STEPS = (200, 30)  # in float64, in float32


@pytest.mark.parametrize("size", [1, 2, 4])
def test_losses_are_those_of_one_process(size, tmp_path):
    file = tmp_path / "found.npz"
    worker = [sys.executable, "-m", "tests.parallel.worker", str(file), *map(str, STEPS)]
    environment = {**os.environ, "NUMBA_NUM_THREADS": "1"}
    result = subprocess.run(
        [find_mpiexec(), "-n", str(size), *worker],
        cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    found = np.load(file)
    assert found["size"] == size
    for dtype, count, tolerance in zip((np.float64, np.float32), STEPS, (1e-9, 1e-5), strict=True):
        expected = losses(None, dtype, count)[0]
        np.testing.assert_allclose(found[np.dtype(dtype).name], expected, rtol=0, atol=tolerance)
