"""Builds the command, then calls maturin: a wheel carries both.

The command is a program of its own, not a Python entry point, so that it starts as fast from a wheel
as from cargo. It is built with the same target directory and profile as the module. The setting
`command` names one that is built already, by an absolute path:
`pip wheel . --config-settings command=PATH`.
"""

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import maturin
from maturin import (  # noqa: F401
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
)

HERE = Path(__file__).resolve().parent
# A source distribution has this file at the root of all.
ROOT = HERE if (HERE / "python").is_dir() else HERE.parent
SCRIPTS = HERE / "wheel-data" / "scripts"
NAME = "ckpt-regen.exe" if sys.platform == "win32" else "ckpt-regen"


def build_sdist(sdist_directory, config_settings=None):
    _prepare()
    # It has them already, at the same place, from the crate.
    for licence in HERE.glob("LICENSE-*"):
        licence.unlink()
    return maturin.build_sdist(sdist_directory, config_settings)


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    settings = _with_command(config_settings)
    return maturin.build_wheel(wheel_directory, settings, metadata_directory)


def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    settings = _with_command(config_settings)
    return maturin.build_editable(wheel_directory, settings, metadata_directory)


def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    _prepare()
    settings = {key: value for key, value in (config_settings or {}).items() if key != "command"}
    return maturin.prepare_metadata_for_build_wheel(metadata_directory, settings)


prepare_metadata_for_build_editable = prepare_metadata_for_build_wheel


def _prepare() -> None:
    """Puts what maturin looks for where it looks; the command may come later."""
    SCRIPTS.mkdir(parents=True, exist_ok=True)
    if ROOT != HERE:
        for licence in ROOT.glob("LICENSE-*"):
            shutil.copyfile(licence, HERE / licence.name)


def _with_command(config_settings):
    """Puts the command in its place; the settings that are maturin's."""
    settings = dict(config_settings or {})
    _place(settings.pop("command", None) or _build())
    return settings


def _build() -> str:
    """Builds the command, and says where it is."""
    cargo = os.environ.get("CARGO", "cargo")
    build = [cargo, "build", "--release", "--locked", "--package", "ckpt-regen", "--bin", "ckpt-regen"]
    command = [*build, "--manifest-path", str(ROOT / "Cargo.toml"), "--message-format", "json-render-diagnostics"]
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if run.returncode != 0:
        sys.exit(f"{' '.join(build)} failed with exit code {run.returncode}")
    messages = [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]
    built = [message["executable"] for message in messages if message.get("executable")]
    return built[-1]


def _place(command: str) -> None:
    """Copies the command to where maturin takes scripts from."""
    shutil.rmtree(SCRIPTS.parent, ignore_errors=True)
    _prepare()
    place = SCRIPTS / NAME
    shutil.copyfile(command, place)
    place.chmod(place.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
