"""`python -m ckpt_regen` runs the command that was installed with this package."""

import os
import subprocess
import sys
import sysconfig
from importlib.metadata import distribution
from pathlib import Path


def command() -> Path:
    """Where the command is: the installer says it, whatever its scheme."""
    name = "ckpt-regen.exe" if sys.platform == "win32" else "ckpt-regen"
    files = distribution("ckpt-regen").files or []
    found = [Path(str(file.locate())) for file in files if file.name == name]
    return found[0].resolve() if found else Path(sysconfig.get_path("scripts")) / name


def main() -> int:
    program = command()
    arguments = [str(program), *sys.argv[1:]]
    if sys.platform == "win32":
        return subprocess.run(arguments).returncode
    os.execv(program, arguments)


if __name__ == "__main__":
    sys.exit(main())
