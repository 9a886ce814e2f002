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
    build_sdist,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
)

HERE = Path(__file__).resolve().parent
SCRIPTS = HERE / "wheel-data" / "scripts"
NAME = "ckpt-regen.exe" if sys.platform == "win32" else "ckpt-regen"


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    settings = _with_command(config_settings)
    return maturin.build_wheel(wheel_directory, settings, metadata_directory)


def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    settings = _with_command(config_settings)
    return maturin.build_editable(wheel_directory, settings, metadata_directory)


def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    """maturin looks for the directory, and not yet for what is in it."""
    SCRIPTS.mkdir(parents=True, exist_ok=True)
    settings = {key: value for key, value in (config_settings or {}).items() if key != "command"}
    return maturin.prepare_metadata_for_build_wheel(metadata_directory, settings)


prepare_metadata_for_build_editable = prepare_metadata_for_build_wheel


def _with_command(config_settings):
    """Puts the command in its place; the settings that are maturin's."""
    settings = dict(config_settings or {})
    _place(settings.pop("command", None) or _build())
    return settings


def _build() -> str:
    """Builds the command, and says where it is."""
    manifest = HERE / "Cargo.toml"
    if not manifest.exists():  # a source distribution has this file at its root
        manifest = HERE / "python" / "Cargo.toml"
    cargo = os.environ.get("CARGO", "cargo")
    build = [cargo, "build", "--release", "--locked", "--package", "ckpt-regen", "--bin", "ckpt-regen"]
    command = [*build, "--manifest-path", str(manifest), "--message-format", "json-render-diagnostics"]
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if run.returncode != 0:
        sys.exit(f"{' '.join(build)} failed with exit code {run.returncode}")
    messages = [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]
    built = [message["executable"] for message in messages if message.get("executable")]
    return built[-1]


def _place(command: str) -> None:
    """Copies the command to where maturin takes scripts from."""
    shutil.rmtree(SCRIPTS.parent, ignore_errors=True)
    SCRIPTS.mkdir(parents=True)
    place = SCRIPTS / NAME
    shutil.copyfile(command, place)
    place.chmod(place.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
