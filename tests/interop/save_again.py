"""The byte oracle: an edited file is what load, change γ, save again would have written."""

import shutil
import subprocess
import zipfile
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from support import (
    Skip, apply, check, clone, expect, expect_same_bytes, fixture, mobilenet, regen, regenerate,
)

RULES = ["paper", "reference", "keep-sign"]

for _name in ["model.safetensors", "model.f16.safetensors", "model.bf16.safetensors"]:

    @check(f"save again: {_name} under each rule, and undone")
    def _(directory, name=_name):
        original = fixture(name, directory / "original")
        with safe_open(original, "pt") as file:
            metadata = file.metadata()
        for rule in RULES:
            found = fixture(name, directory / rule)
            apply(found, "--rule", rule)
            state = clone(load_file(original))
            regenerate(state, rule)
            wanted = directory / f"{rule}.safetensors"
            save_file(state, wanted, metadata=metadata)
            expect(found.read_bytes() != original.read_bytes(), "nothing changed")
            expect_same_bytes(found, wanted)
            regen("undo", found)
            expect_same_bytes(found, original)


def saved(directory: Path, state: dict, zip_format: bool = True) -> Path:
    """torch.save under one file name, which is also a folder's name inside the archive."""
    directory.mkdir()
    torch.save(state, directory / "model.pth", _use_new_zipfile_serialization=zip_format)
    return directory / "model.pth"


def fixture_state(directory: Path) -> dict:
    """The fixture's weights as state_dict() gives them."""
    model = mobilenet()
    model.load_state_dict(load_file(fixture("model.safetensors", directory)))
    return model.state_dict()


@check("save again: model.pth by this torch, under each rule, and undone")
def _(directory):
    for rule in RULES:
        state = fixture_state(directory / f"{rule}-fixture")
        found = saved(directory / f"{rule}-found", state)
        before = found.read_bytes()
        apply(found, "--rule", rule)
        regenerate(state, rule)
        expect(found.read_bytes() != before, "nothing changed")
        expect_same_bytes(found, saved(directory / f"{rule}-wanted", state))
        regen("undo", found)
        expect(found.read_bytes() == before, "undo")


@check("save again: legacy format by this torch, under each rule, and undone")
def _(directory):
    # Its storage keys are addresses, so the same tensors are edited and saved again.
    for rule in RULES:
        state = fixture_state(directory / f"{rule}-fixture")
        found = saved(directory / f"{rule}-found", state, zip_format=False)
        before = found.read_bytes()
        apply(found, "--rule", rule)
        regenerate(state, rule)
        expect_same_bytes(found, saved(directory / f"{rule}-wanted", state, zip_format=False))
        regen("undo", found)
        expect(found.read_bytes() == before, "undo")


@check("save again: the checksums of an edited file by this torch hold")
def _(directory):
    file = saved(directory / "found", fixture_state(directory))
    apply(file)
    expect_whole(file)


@check("save again: in place gives the same bytes as replacing the file")
def _(directory):
    for name in ["model.safetensors", "model.pth", "model.legacy.th", "training.pth"]:
        one, other = fixture(name, directory / "one"), fixture(name, directory / "other")
        apply(one)
        apply(other, "--in-place")
        expect_same_bytes(one, other)


@check("save again: the checksums of an edited model.pth and training.pth hold")
def _(directory):
    for name, options in [("model.pth", []), ("training.pth", ["--optimizer", "reset"])]:
        file = fixture(name, directory)
        apply(file, *options)
        expect_whole(file)


def expect_whole(file: Path) -> None:
    """zipfile and unzip, which check what torch does not, find no fault."""
    expect(zipfile.ZipFile(file).testzip() is None, f"zipfile finds {file.name} damaged")
    if shutil.which("unzip") is None:
        raise Skip("zipfile is content, and there is no unzip")
    run = subprocess.run(["unzip", "-tq", file], capture_output=True, text=True)
    expect(run.returncode == 0, f"unzip -t {file.name}: {run.stdout}")
