"""Run pyright on an installed copy of the packages, where `minigrad.compression` is a folder that it can follow."""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "build" / "typecheck"


def main() -> int:
    """Install the packages into build/typecheck and check them there."""
    shutil.rmtree(TARGET, ignore_errors=True)
    install = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "-q", "--no-deps"]
    subprocess.run([*install, "--no-build-isolation", "--target", str(TARGET), str(ROOT)], check=True)
    (TARGET / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "minigrad"]
    return subprocess.run(command, cwd=TARGET, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
