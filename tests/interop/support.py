"""What the checks share: the program, the fixtures, and the rules written again in Python."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import torch
import torchvision

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("CKPT_REGEN", str(ROOT / "target/debug/ckpt-regen"))
CHECKS = []


class Skip(Exception):
    """A check cannot run here, for the reason given."""


def check(name: str):
    """Registers a check; it is called in an empty directory, with its path."""

    def register(function):
        CHECKS.append((name, function))
        return function

    return register


def expect(condition, what: str) -> None:
    if not condition:
        raise AssertionError(what)


def regen(*args, code: int = 0) -> subprocess.CompletedProcess:
    """Runs the program and expects this exit code."""
    run = subprocess.run([PROGRAM, *map(str, args)], capture_output=True, text=True)
    expect(run.returncode == code, f"{args} exits with {run.returncode}: {run.stderr.strip()}")
    expect("panicked" not in run.stderr, run.stderr)
    return run


def apply(path, *options) -> dict:
    """The JSON of an apply that must succeed."""
    return json.loads(regen("apply", path, "--json", *options).stdout)


def fixture(name: str, into: Path) -> Path:
    """A writable copy of a file or folder of the fixture in all formats."""
    material = os.environ.get("CKPT_REGEN_MATERIAL")
    source = Path(material or ROOT) / "fixtures/mobilenet_v2_025" / name
    if not source.exists():
        raise Skip(f"no {name} (CKPT_REGEN_MATERIAL is {'set' if material else 'not set'})")
    copy = into / source.name
    into.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, copy, copy_function=shutil.copyfile)
    else:
        shutil.copyfile(source, copy)
    for path in [copy, *copy.rglob("*")] if copy.is_dir() else [copy]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    return copy


def mobilenet(classes: int = 100) -> torch.nn.Module:
    """The fixture's network, not yet trained."""
    return torchvision.models.mobilenet_v2(weights=None, num_classes=classes, width_mult=0.25)


def layers(state: dict) -> list[str]:
    """The names of the BatchNorm layers that have a γ, in state-dict order."""
    names = [key.removesuffix(".running_mean") for key in state if key.endswith(".running_mean")]
    return [name for name in names if f"{name}.weight" in state]


def regenerate(state: dict, rule: str = "paper") -> dict[str, torch.Tensor]:
    """Edits γ in place as `--rule` says; of each layer, which channels changed."""
    gammas = {name: state[f"{name}.weight"].detach() for name in layers(state)}
    # Two layers may have one γ: it counts once.
    counted = {gamma.data_ptr(): gamma for gamma in gammas.values()}
    everything = torch.cat([gamma.flatten() for gamma in counted.values()])
    if rule == "paper":
        threshold = everything.sort().values[(len(everything) - 1) // 2]
    else:
        threshold = everything.abs().sort().values[len(everything) // 2]
    changed = {}
    for name, gamma in gammas.items():
        old = gamma.clone()
        if rule == "paper":
            gamma[gamma <= threshold] = threshold
        else:
            new = torch.full_like(gamma, threshold)
            if rule == "keep-sign":
                new = torch.where(gamma < 0, -new, new)
            weak = gamma.abs() < threshold
            gamma[weak] = new[weak]
        changed[name] = gamma != old
    return changed


def clone(state: dict) -> dict:
    return {key: value.clone() for key, value in state.items()}


def expect_equal(found: dict, wanted: dict, what: str) -> None:
    """Two state dicts hold the same tensors, bit for bit."""
    odd = sorted(set(found) ^ set(wanted))
    expect(not odd, f"{what}: other names: {odd[:3]}")
    for key, value in wanted.items():
        same = found[key].dtype == value.dtype and torch.equal(found[key], value)
        expect(same, f"{what}: {key} differs")


def expect_same_bytes(found: Path, wanted: Path) -> None:
    a, b = Path(found).read_bytes(), Path(wanted).read_bytes()
    if a != b:
        at = next((n for n, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
        raise AssertionError(f"{found}: {len(a)} bytes, expected {len(b)}; they differ at {at}")


def outputs(model: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return model.eval()(images)
