"""The checkpoint that tests edit, and the command beside the module."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FIXTURE = ROOT / "fixtures" / "mobilenet_v2_025"


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the fixture, in a directory of its own that is the current one."""
    copy = tmp_path / "model.safetensors"
    shutil.copyfile(FIXTURE / "model.safetensors", copy)
    monkeypatch.chdir(tmp_path)
    return copy


def command(*arguments: object) -> str:
    """What the command prints that was installed with the module."""
    program = Path(sys.executable).with_name("ckpt-regen")
    run = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout
