"""The wheel carries the command itself."""

import subprocess
import sys
from pathlib import Path

import ckpt_regen
from ckpt_regen.__main__ import command as installed
from conftest import command


def test_the_command_is_the_program_and_no_script_of_python() -> None:
    program = installed()
    assert program.parent == Path(sys.executable).parent
    assert program.read_bytes()[:2] != b"#!"
    assert command("--version").split() == ["ckpt-regen", ckpt_regen.__version__]


def test_the_module_runs_as_the_command(model: Path) -> None:
    arguments = [sys.executable, "-m", "ckpt_regen", "apply", str(model), "--json"]
    run = subprocess.run(arguments, capture_output=True, text=True)
    assert run.returncode == 0 and '"regenerated":2663' in run.stdout, run.stderr
    refused = subprocess.run([*arguments[:4], "nothing.pth"], capture_output=True, text=True)
    assert refused.returncode == 1 and "nothing.pth" in refused.stderr
