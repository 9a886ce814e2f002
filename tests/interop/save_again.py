"""The byte oracle: an edited file is what load, change γ, save again would have written."""

import shutil
import subprocess
import zipfile
from argparse import Namespace
from collections import Counter, defaultdict, deque
from datetime import datetime
from pathlib import Path

import numpy
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from support import (
    Skip, apply, check, clone, expect, expect_equal, expect_same_bytes, fixture, mobilenet, regen,
    regenerate,
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


def odd_company(state: dict) -> dict:
    """What training files hold beside tensors."""
    values = {
        "args": Namespace(lr=0.1, data=Path("data"), device=torch.device("cpu"), amp=None),
        "dtype": torch.float16, "size": torch.Size([3, 32, 32]), "when": datetime(2024, 5, 6),
        "best": numpy.float64(61.5), "log": deque([1.0, 2.0], maxlen=5), "seen": {1, 2, "three"},
        "history": numpy.arange(12.0).reshape(3, 4), "counts": Counter("abca"), "raw": b"\x00\xff",
        "by_epoch": defaultdict(list, {0: [1, 2.5], 1: []}), "big": 1 << 80, "nothing": (),
        "rng": [torch.get_rng_state(), numpy.random.get_state()], "γ": complex(1, -2),
    }
    return {"model": state, "epoch": 4, **values}


ODD = {
    "Namespace, numpy, datetime, deque beside it": (odd_company, {}),
    "pickle protocol 4": (odd_company, {"pickle_protocol": 4}),
    "pickle protocol 5": (odd_company, {"pickle_protocol": 5}),
    "half precision": (lambda state: {k: cast(v) for k, v in state.items()}, {}),
    "bfloat16": (lambda state: {k: cast(v, torch.bfloat16) for k, v in state.items()}, {}),
    "float64": (lambda state: {k: cast(v, torch.float64) for k, v in state.items()}, {}),
    "channels last": (lambda state: {k: channels_last(v) for k, v in state.items()}, {}),
    "all tensors in one storage": (lambda state: one_storage(state), {}),
    "parameters instead of tensors": (lambda state: {k: parameter(v) for k, v in state.items()}, {}),
    "two layers with one γ": (lambda state: tie(state, "features.1.conv.0.1.weight"), {}),
}


def cast(tensor, dtype=torch.float16):
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def channels_last(tensor):
    return tensor.to(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor


def one_storage(state: dict) -> dict:
    floats = {key: value for key, value in state.items() if value.is_floating_point()}
    flat = torch.cat([value.flatten() for value in floats.values()])
    views = dict(zip(floats, flat.split([value.numel() for value in floats.values()])))
    return {k: views[k].view(v.shape) if k in views else v for k, v in state.items()}


def parameter(tensor):
    return torch.nn.Parameter(tensor) if tensor.is_floating_point() else tensor


def tie(state: dict, name: str) -> dict:
    """The γ of features.0.1 also goes by another name; both layers have eight channels."""
    expect(state[name].shape == state["features.0.1.weight"].shape, "shapes")
    return {**state, name: state["features.0.1.weight"]}


for _name, (_change, _options) in ODD.items():

    @check(f"save again: {_name}")
    def _(directory, change=_change, options=_options):
        saved = change(fixture_state(directory))
        state = saved.get("model", saved)
        files = [directory / name / "checkpoint.pth" for name in ["found", "wanted"]]
        for file in files:
            file.parent.mkdir()
        torch.save(saved, files[0], **options)
        before = files[0].read_bytes()
        report = apply(files[0])
        changed = regenerate(state)
        count = sum(int(mask.sum()) for mask in changed.values())
        expect(count > 0 and report["regenerated"] > 0, "nothing regenerated")
        torch.save(saved, files[1], **options)
        expect_same_bytes(*files)
        regen("undo", files[0])
        expect(files[0].read_bytes() == before, "undo")


@check("save again: a γ that is strided, or also a β, is refused, and may be skipped")
def _(directory):
    gamma = "features.2.conv.0.1.weight"
    for n, change in enumerate(["strided", "also a β"]):
        state = fixture_state(directory / str(n))
        if change == "strided":
            state[gamma] = torch.stack([state[gamma], state[gamma]], dim=1).flatten()[::2]
        else:
            state[gamma.replace("weight", "bias")] = state[gamma]
        file = saved(directory / f"{n}-found", state)
        before = file.read_bytes()
        refusal = regen("apply", file, code=1).stderr
        expect(gamma in refusal and "--skip-shared" in refusal, refusal)
        expect(file.read_bytes() == before, "the file was touched")
        apply(file, "--skip-shared")
        found = torch.load(file, weights_only=True)
        old = state.pop(gamma)
        regenerate(state)
        state[gamma] = old
        expect_equal(found, state, change)


@check("save again: a whole pickled module")
def _(directory):
    model = mobilenet()
    model.load_state_dict(load_file(fixture("model.safetensors", directory)))
    for name in ["found", "wanted"]:
        (directory / name).mkdir()
    torch.save(model, directory / "found/model.pt")
    report = apply(directory / "found/model.pt")
    regenerate(model.state_dict())
    torch.save(model, directory / "wanted/model.pt")
    expect_same_bytes(directory / "found/model.pt", directory / "wanted/model.pt")
    expect(report["regenerated"] == 2663, f"{report['regenerated']} γ")
