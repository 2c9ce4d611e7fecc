"""The stubs say what the module has."""

import subprocess
import sys

import pytest


def test_stubs_agree_with_the_module():
    pytest.importorskip("mypy")
    command = [sys.executable, "-m", "mypy.stubtest", "godiff._core", "--ignore-missing-stub"]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
