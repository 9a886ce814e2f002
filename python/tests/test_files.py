"""Functions do what the command does, and give what it prints."""

import dataclasses
import json
import logging
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy
import pytest

import ckpt_regen
from conftest import FIXTURE, command


def plain(value: object) -> object:
    """An object of dataclasses as the JSON that it was built from, keys that are not there left out."""
    if dataclasses.is_dataclass(value):
        fields = [field for field in dataclasses.fields(value) if not field.name.startswith("_")]
        pairs = ((f.metadata.get("json", f.name), getattr(value, f.name)) for f in fields)
        return {name: plain(one) for name, one in pairs if one is not None}
    if isinstance(value, list):
        return [plain(one) for one in value]
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items() if one is not None}
    return value


def test_an_edit_is_that_of_the_command_and_undone_bit_for_bit(model: Path) -> None:
    before = model.read_bytes()
    other = model.with_name("other.safetensors")
    shutil.copyfile(model, other)
    printed = json.loads(command("apply", other, "--rule", "keep-sign", "--json"))
    done = ckpt_regen.apply(model, rule="keep-sign")
    own = {"path": str(model), "output": str(model), "record": done.record}
    assert plain(done) == plain({**printed, **own})
    assert model.read_bytes() == other.read_bytes() != before
    undone = ckpt_regen.undo(model)
    assert undone.restored == done.regenerated and undone.edits_left == 0
    assert model.read_bytes() == before


def test_reports_differences_and_series_have_the_fields_of_json(model: Path) -> None:
    report = ckpt_regen.inspect(model)
    assert plain(report) == plain(json.loads(command("inspect", model, "--json")))
    saves = sorted((FIXTURE / "series").glob("*.safetensors"))
    diff = ckpt_regen.diff(saves[0], saves[1])
    assert plain(diff) == plain(json.loads(command("diff", saves[0], saves[1], "--json")))
    series = ckpt_regen.track(str(FIXTURE / "series" / "*.safetensors"), channels=["features.0.1:3"])
    printed = command("track", *saves, "--json", "--channel", "features.0.1:3")
    assert plain(series) == plain({**json.loads(printed), "warnings": []})


def test_pruned_channels_are_left_alone_by_their_record_and_by_a_mask(model: Path, tmp_path: Path) -> None:
    mask = tmp_path / "mask.json"
    command("prune", model, "--method", "slimming", "--ratio", "0.3", "--mask-out", mask)
    pruned = sum(network.pruned for network in ckpt_regen.inspect(model).networks)
    assert pruned > 0
    # Without its record, the mask tells.
    other = tmp_path / "alone" / model.name
    other.parent.mkdir()
    shutil.copyfile(model, other)
    plain_median = ckpt_regen.apply(other, dry_run=True).threshold
    masked = ckpt_regen.apply(other, mask=mask, dry_run=True)
    assert masked.threshold == ckpt_regen.apply(model, dry_run=True).threshold != plain_median
    assert sum(network.pruned for network in ckpt_regen.inspect(other, mask=mask).networks) == pruned
    public = ckpt_regen.apply(model, pruned_as_public=True, dry_run=True)
    assert public.threshold == plain_median and public.counted == masked.counted + pruned
    assert plain(ckpt_regen.diff(other, model, mask=mask)) == plain(
        json.loads(command("diff", other, model, "--mask", mask, "--json"))
    )


def test_gammas_are_those_of_the_file(model: Path) -> None:
    gammas = ckpt_regen.inspect(model).gammas()
    length = int.from_bytes(model.read_bytes()[:8], "little")
    header = json.loads(model.read_bytes()[8 : 8 + length])
    assert len(gammas) == 52
    for layer, gamma in gammas.items():
        begin, end = header[f"{layer}.weight"]["data_offsets"]
        stored = numpy.frombuffer(model.read_bytes()[8 + length :][begin:end], "<f4")
        assert gamma.dtype == numpy.float64 and (gamma == stored).all()
    with pytest.raises(ckpt_regen.UsageError, match="no such network"):
        ckpt_regen.inspect(model).gammas("ema")


def test_a_schedule_says_when(model: Path) -> None:
    schedule = ckpt_regen.Schedule(5, until=12)
    assert [n for n in range(20) if schedule.due(n)] == [5, 10]
    assert schedule.next(5) == 10 and schedule.next(10) is None
    assert schedule == ckpt_regen.Schedule(5, 5, 12) and repr(schedule).startswith("Schedule(every=5")
    before = model.read_bytes()
    done = ckpt_regen.apply(model, every=5, epoch=7)
    assert not done.due and done.next == 10 and model.read_bytes() == before


def test_every_option_reaches_the_edit(model: Path) -> None:
    done = ckpt_regen.apply(
        model,
        rule="reference",
        below=0.125,
        to="mean",
        scope="layer",
        keep_zeros=True,
        include=r"features\.1",
        exclude=["features.1.conv.2"],
        output="out.safetensors",
        plan_out="plan.json",
        record="record.json",
    )
    plan = json.loads(Path("plan.json").read_text())
    assert (plan["rule"], plan["below"], plan["to"], plan["scope"]) == ("reference", "0.125", "mean", "layer")
    assert plan["keep_zeros"] and all(layer["name"].startswith("features.1") for layer in plan["layers"])
    assert done.output == "out.safetensors" and done.record == "record.json"
    again = ckpt_regen.apply(model, plan="plan.json", dry_run=True)
    assert again.regenerated == done.regenerated and again.output is None


def test_errors_name_the_place_and_the_near_names(model: Path) -> None:
    with pytest.raises(FileNotFoundError) as missing:
        ckpt_regen.inspect("nothing.pth")
    assert isinstance(missing.value, ckpt_regen.Error)
    assert missing.value.filename == missing.value.file == "nothing.pth"
    wrong = [
        ({"rule": "papr"}, "did you mean paper"),
        ({"below": "medium"}, "expected median, quantile:Q or a number"),
        ({"optimizer": "kept"}, "did you mean keep"),
        ({"include": "feature.1.conv"}, "did you mean features.1.conv"),
        ({"exclude": "("}, "open group without closing"),
        ({"every": 5}, "does not say how many epochs are finished"),
        ({"every": 0, "epoch": 1}, "expected 1 or more"),
        ({"root": "emma"}, "nothing in"),
    ]
    for options, says in wrong:
        with pytest.raises(ckpt_regen.UsageError) as raised:
            ckpt_regen.apply(model, **options)  # type: ignore[arg-type]
        assert says in str(raised.value) and raised.value.kind == "usage"
        assert isinstance(raised.value, ValueError)
    with pytest.raises(ckpt_regen.Error) as dying:
        ckpt_regen.apply(model, below="quantile:0.9", to=1e-3)
    assert dying.value.kind == "dying" and "allow_dying=True" in str(dying.value)
    with pytest.raises(TypeError, match="rul"):
        ckpt_regen.apply(model, rul="paper")  # type: ignore[call-arg]
    Path("text.pth").write_text("no checkpoint")
    with pytest.raises(ckpt_regen.Error, match="text.pth"):
        ckpt_regen.inspect("text.pth")
    cut = Path("cut.safetensors")
    cut.write_bytes(model.read_bytes()[:5000])
    with pytest.raises(ckpt_regen.Error) as damaged:
        ckpt_regen.inspect(cut)
    assert damaged.value.kind == "malformed" and damaged.value.expected and damaged.value.found


def test_warnings_are_logged(model: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "ckpt_regen"):
        done = ckpt_regen.apply(model, dry_run=True)
    assert done.warnings and [record.args for record in caplog.records] == [
        (str(model), warning) for warning in done.warnings
    ]


def large(path: Path, gigabytes: int) -> None:
    """A checkpoint whose BatchNorm stands before a tensor without blocks on the disk."""
    header: dict[str, object] = {}
    offset = 0
    for part in ("weight", "bias", "running_mean", "running_var"):
        header[f"bn.{part}"] = {"dtype": "F32", "shape": [8], "data_offsets": [offset, offset + 32]}
        offset += 32
    size = gigabytes << 30
    header["fc.weight"] = {"dtype": "U8", "shape": [size], "data_offsets": [offset, offset + size]}
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.write(numpy.linspace(0.1, 0.8, 8, dtype="<f4").tobytes() + bytes(96))
        file.truncate(8 + len(text) + offset + size)


@pytest.mark.skipif(sys.platform == "win32", reason="signals are those of POSIX")
def test_ctrl_c_ends_an_edit_and_leaves_the_file_as_it_was(model: Path) -> None:
    path = model.with_name("large.safetensors")
    large(path, 2)
    names = sorted(os.listdir())
    inode = path.stat().st_ino
    program = (
        "import ckpt_regen, os, signal, threading\n"
        "def interrupt():\n"
        "    while not any(name.startswith('.') for name in os.listdir()): pass\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "threading.Thread(target=interrupt, daemon=True).start()\n"
        f"ckpt_regen.apply({str(path)!r})\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    # Where blocks can be shared, the edit is done before it can be interrupted.
    if path.stat().st_ino == inode:
        assert "KeyboardInterrupt" in run.stderr, run.stderr
        assert [name for name in sorted(os.listdir()) if name != ".ckpt-regen"] == names


def test_other_threads_run_while_files_are_compared(model: Path) -> None:
    large(model.with_name("a.safetensors"), 1)
    large(model.with_name("b.safetensors"), 1)
    counted, ends = 0, threading.Event()

    def count() -> None:
        nonlocal counted
        while not ends.is_set():
            counted += 1
            time.sleep(0.0005)

    thread = threading.Thread(target=count)
    thread.start()
    before = counted
    assert ckpt_regen.diff("a.safetensors", "b.safetensors").equal
    during = counted - before
    ends.set()
    thread.join()
    assert during > 10


def test_nothing_but_python_is_imported() -> None:
    program = """
import signal, sys
before = signal.getsignal(signal.SIGINT)
import ckpt_regen
print([m for m in ("numpy", "torch") if m in sys.modules], signal.getsignal(signal.SIGINT) is before)
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.stdout.strip() == "[] True", run.stderr
