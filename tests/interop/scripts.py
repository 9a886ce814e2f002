"""examples/pytorch_resume: train, apply, resume; the resumed run starts from the edited weights."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

from support import PROGRAM, ROOT, apply, check, clone, expect, expect_equal, regen, regenerate
from training_files import reset

EXAMPLES = ROOT / "examples/pytorch_resume"


def script(name: str):
    """The script as a module."""
    if str(EXAMPLES) not in sys.path:
        sys.path.insert(0, str(EXAMPLES))
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def train(name: str, directory: Path, *options) -> str:
    command = [sys.executable, "-B", EXAMPLES / f"{name}.py", *options]
    run = subprocess.run(command, cwd=directory, capture_output=True, text=True)
    expect(run.returncode == 0, f"{name} {options}: {run.stderr[-500:]}")
    return run.stdout


def epochs_of(printed: str) -> list[int]:
    return [int(line.split()[1].rstrip(":")) for line in printed.splitlines()]


@check("scripts: train_pth.py, apply --every 2, resume")
def _(directory):
    module = script("train_pth")
    expect(epochs_of(train("train_pth", directory, "--epochs", "1")) == [1], "epochs")
    file = directory / "checkpoint.pth"
    expect(not apply(file, "--every", 2)["due"], "due after one epoch")
    printed = train("train_pth", directory, "--epochs", "2", "--resume", "checkpoint.pth")
    expect(epochs_of(printed) == [2], printed)

    wanted = torch.load(file, weights_only=True)["model"]
    regenerate(wanted)
    report = apply(file, "--every", 2)
    expect((report["epoch"], report["due"]) == (2, True), f"epoch {report['epoch']}")
    expect(report["regenerated"] > 0, "nothing regenerated")

    # The edit in the file does what the edit in memory would do, bit for bit.
    resumed = module.build()
    expect(module.load(file, *resumed) == 2, "next epoch")
    model, optimizer, _ = resumed
    expect_equal(model.state_dict(), wanted, "resumed weights")
    module.train_one_epoch(model, optimizer, 2)
    regen("undo", file)
    other = module.build()
    module.load(file, *other)
    regenerate(other[0].state_dict())
    module.train_one_epoch(other[0], other[1], 2)
    expect_equal(model.state_dict(), other[0].state_dict(), "weights an epoch later")

    apply(file, "--every", 2, "--optimizer", "reset")
    printed = train("train_pth", directory, "--epochs", "3", "--resume", "checkpoint.pth")
    expect(epochs_of(printed) == [3], printed)
    report = apply(file, "--every", 2)
    expect((report["epoch"], report["due"], report["next"]) == (3, False, 4), "after epoch 3")


@check("scripts: train_safetensors.py, apply --every 2 --epoch N, resume")
def _(directory):
    module = script("train_safetensors")
    expect(epochs_of(train("train_safetensors", directory, "--epochs", "2")) == [1, 2], "epochs")
    run = directory / "run"
    regen("apply", run, "--every", 2, code=2)
    wanted = load_file(run / "model.safetensors")
    changed = regenerate(wanted)
    model, optimizer = module.build()
    module.load(run, model, optimizer)
    names = [name for name, _ in model.named_parameters()]
    old = {n: clone(optimizer.state[p]) for n, p in model.named_parameters()}

    report = apply(run, "--every", 2, "--epoch", 2, "--optimizer", "reset")
    expect(report["due"] and report["regenerated"] > 0, "nothing regenerated")
    expect(report["optimizer_tensors_reset"] == 2 * len(changed), "tensors reset")
    model, optimizer = module.build()
    expect(module.load(run, model, optimizer) == 2, "next epoch")
    expect_equal(model.state_dict(), wanted, "resumed weights")
    reset({"state": dict(enumerate(old[name] for name in names))}, names, changed)
    for name, parameter in model.named_parameters():
        expect_equal(optimizer.state[parameter], old[name], f"optimizer's state of {name}")
    expect(len(names) == 11, f"{len(names)} parameters")
    printed = train("train_safetensors", directory, "--epochs", "3", "--resume", "run")
    expect(epochs_of(printed) == [3], printed)
    # Training went on: the record is not for these γ, and undo says so.
    regen("undo", run, code=1)


@check("scripts: the loop does what the commands by hand do, bit for bit")
def _(directory):
    by_hand, looped = directory / "hand", directory / "loop"
    for folder in [by_hand, looped]:
        folder.mkdir()
    train("train_pth", by_hand, "--epochs", "2")
    apply(by_hand / "checkpoint.pth", "--every", 2)
    train("train_pth", by_hand, "--epochs", "4", "--resume", "checkpoint.pth")
    apply(by_hand / "checkpoint.pth", "--every", 2)
    train("train_pth", by_hand, "--epochs", "5", "--resume", "checkpoint.pth")
    command = [
        PROGRAM, "loop", "--every", "2", "--epochs", "5", "--checkpoint", "checkpoint.pth", "--",
        sys.executable, "-B", EXAMPLES / "train_pth.py", "--epochs", "{epochs}",
        "[--resume", "{checkpoint}]",
    ]
    run = subprocess.run(command, cwd=looped, capture_output=True, text=True)
    expect(run.returncode == 0, run.stderr)
    rounds = [line for line in run.stderr.splitlines() if line.startswith("round")]
    expect(len(rounds) == 3 and "regenerated" in rounds[1], run.stderr)
    final = [torch.load(folder / "checkpoint.pth") for folder in [by_hand, looped]]
    expect_equal(final[1]["model"], final[0]["model"], "weights")
