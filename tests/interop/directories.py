"""Directories of a training run: transformers' Trainer, accelerate, and made by hand."""

import json
import os
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from support import (
    Skip, apply, check, clone, expect, expect_equal, expect_same_bytes, layers, regen, regenerate,
)
from training_files import Run, adamw, one_group, reset, sgd, step


def contents(directory: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in directory.iterdir() if file.is_file()}


def written_by(directory: Path) -> str:
    return regen("inspect", directory).stdout.splitlines()[0]


def trainer_directory(directory: Path, run: Run, epoch: float) -> Path:
    """As older versions of Trainer write it, with the weights in pytorch_model.bin."""
    directory.mkdir()
    torch.save(run.model.state_dict(), directory / "pytorch_model.bin")
    torch.save(run.optimizer.state_dict(), directory / "optimizer.pt")
    torch.save({"last_epoch": 2}, directory / "scheduler.pt")
    state = {"epoch": epoch, "global_step": 2, "log_history": [], "max_steps": 10}
    (directory / "trainer_state.json").write_text(json.dumps(state))
    return directory


@check("directory, Trainer with pytorch_model.bin: the epoch is a float, rounded down")
def _(directory):
    run = Run(adamw, one_group)
    for n, (epoch, finished, due) in enumerate([(4.98, 4, False), (5.0, 5, True), (5.6, 5, True)]):
        report = apply(trainer_directory(directory / str(n), run, epoch), "--every", 5)
        expect((report["epoch"], report["due"]) == (finished, due), f"{epoch}: {report['epoch']}")


for _kind in [sgd, adamw]:

    @check(f"directory, Trainer with pytorch_model.bin, {_kind.__name__}: reset, undo")
    def _(directory, kind=_kind):
        run = Run(kind, one_group)
        found = trainer_directory(directory / "found", run, 5.0)
        before = contents(found)
        expect("HF Trainer" in written_by(found), written_by(found))
        report = apply(found, "--every", 5, "--optimizer", "reset")
        raw, state = run.model.state_dict(), run.optimizer.state_dict()
        touched = reset(state, run.order, regenerate(raw))
        expect(report["optimizer_tensors_reset"] == touched > 0, "tensors reset")
        wanted = trainer_directory(directory / "wanted", run, 5.0)
        # What is kept for a parameter is the same tensor in the run and in its state_dict().
        for file in wanted.iterdir():
            expect_same_bytes(found / file.name, file)
        left = {file.name for file in found.iterdir()} - {file.name for file in wanted.iterdir()}
        expect(left == {".ckpt-regen"}, f"left behind: {left}")
        regen("undo", found)
        expect(contents(found) == before, "undo")


@check("directory, weights in safetensors, optimizer without names: reset refused, keep works")
def _(directory):
    run = Run(sgd, one_group)
    save_file(run.model.state_dict(), directory / "model.safetensors")
    torch.save(run.optimizer.state_dict(), directory / "optimizer.pt")
    before = contents(directory)
    refusal = regen("apply", directory, "--optimizer", "reset", code=1).stderr
    expect("by position" in refusal and "--optimizer keep" in refusal, refusal)
    expect(contents(directory) == before, "something was touched")
    apply(directory)
    expect((directory / "optimizer.pt").read_bytes() == before["optimizer.pt"], "optimizer.pt")
    wanted = run.model.state_dict()
    regenerate(wanted)
    expect_equal(load_file(directory / "model.safetensors"), wanted, "the weights")


@check("directory, weights in safetensors, optimizer with names: reset")
def _(directory):
    run = Run(adamw, one_group, named=True)
    save_file(run.model.state_dict(), directory / "model.safetensors")
    torch.save(run.optimizer.state_dict(), directory / "optimizer.pt")
    expect("accelerate" not in written_by(directory), written_by(directory))
    apply(directory, "--optimizer", "reset")
    raw, state = run.model.state_dict(), run.optimizer.state_dict()
    reset(state, run.order, regenerate(raw))
    (directory / "wanted").mkdir()
    torch.save(state, directory / "wanted/optimizer.pt")
    expect_same_bytes(directory / "optimizer.pt", directory / "wanted/optimizer.pt")
    expect_equal(load_file(directory / "model.safetensors"), raw, "the weights")


@check("directory, both safetensors and bin: refused")
def _(directory):
    run = Run(sgd, one_group)
    save_file(run.model.state_dict(), directory / "model.safetensors")
    torch.save(run.model.state_dict(), directory / "pytorch_model.bin")
    before = contents(directory)
    regen("apply", directory, code=1)
    expect(contents(directory) == before, "something was touched")


def accelerate_run(directory: Path, name: str):
    os.environ["ACCELERATE_USE_CPU"] = "true"
    try:
        from accelerate import Accelerator
    except ImportError:
        raise Skip("accelerate is not installed")
    accelerator = Accelerator(cpu=True)
    run = Run(adamw, one_group)
    model, optimizer = accelerator.prepare(run.model, run.optimizer)
    accelerator.save_state(str(directory / name), safe_serialization=True)
    return run, accelerator, model, optimizer


@check("directory, accelerate: no epoch, so --every alone is wrong usage (2)")
def _(directory):
    accelerate_run(directory, "state")
    state = directory / "state"
    names = sorted(file.name for file in state.iterdir())
    expect({"model.safetensors", "optimizer.bin"} <= set(names), f"accelerate writes {names}")
    before = contents(state)
    message = regen("apply", state, "--every", 5, code=2).stderr
    expect("--epoch" in message, message)
    expect("accelerate" in written_by(state), written_by(state))
    report = apply(state, "--every", 5, "--epoch", 4)
    expect(not report["due"], "due at 4")
    expect(contents(state) == before, "something was touched")
    refusal = regen("apply", state, "--optimizer", "reset", code=1).stderr
    expect("by position" in refusal, refusal)
    expect(contents(state) == before, "something was touched")


@check("directory, accelerate: load_state resumes from the edited weights; undo")
def _(directory):
    run, accelerator, model, optimizer = accelerate_run(directory, "state")
    state = directory / "state"
    before = contents(state)
    wanted = clone(run.model.state_dict())
    regenerate(wanted)
    report = apply(state, "--every", 5, "--epoch", 5)
    expect(report["due"] and report["regenerated"] > 0, "nothing regenerated")
    accelerator.load_state(str(state))
    expect_equal(accelerator.unwrap_model(model).state_dict(), wanted, "resumed weights")
    step(model, optimizer)
    regen("undo", state)
    expect(contents(state) == before, "undo")


@check("directory, transformers' Trainer: resume_from_checkpoint starts from the edited weights")
def _(directory):
    try:
        from transformers import (
            PrinterCallback, ResNetConfig, ResNetForImageClassification, Trainer,
            TrainerCallback, TrainingArguments, set_seed,
        )
        from transformers.utils import logging
    except ImportError:
        raise Skip("transformers is not installed")
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    set_seed(0)
    config = ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", num_labels=4,
    )
    data = [{"pixel_values": torch.randn(3, 16, 16), "labels": n % 4} for n in range(16)]

    class Seen(TrainerCallback):
        def on_train_begin(self, args, state, control, model=None, **kwargs):
            self.weights = clone(model.state_dict())
            self.epoch = state.epoch

    class StopEvery(TrainerCallback):
        """The one of docs/pipelines.md."""

        def on_epoch_end(self, args, state, control, **kwargs):
            control.should_training_stop = round(state.epoch) % 5 == 0

    def trainer(seen=None) -> Trainer:
        args = TrainingArguments(
            output_dir=str(directory / "out"), num_train_epochs=6, save_strategy="epoch",
            per_device_train_batch_size=8, learning_rate=0.05, use_cpu=True, report_to=[],
            disable_tqdm=True, logging_strategy="no", seed=0,
        )
        model = ResNetForImageClassification(config)
        trainer = Trainer(model, args, train_dataset=data, callbacks=[seen or StopEvery()])
        trainer.remove_callback(PrinterCallback)
        return trainer

    trainer().train()
    earlier, last = directory / "out/checkpoint-8", directory / "out/checkpoint-10"
    expect("HF Trainer" in written_by(last), written_by(last))
    expect(not apply(earlier, "--every", 5)["due"], "due after four epochs")
    before = contents(last)
    report = apply(last, "--every", 5)
    expect((report["epoch"], report["due"]) == (5, True), f"epoch {report['epoch']}")
    after = contents(last)
    same = {name for name in before if before[name] == after[name]}
    expect(set(before) - same == {"model.safetensors"}, f"changed: {set(before) - same}")

    edited = load_file(last / "model.safetensors")
    (directory / "wanted.safetensors").write_bytes(before["model.safetensors"])
    wanted = load_file(directory / "wanted.safetensors")
    regenerate(wanted)
    expect(len(layers(wanted)) > 4, "layers")
    expect_equal(edited, wanted, "the weights")
    seen = Seen()
    trainer(seen).train(resume_from_checkpoint=str(last))
    expect_equal(seen.weights, wanted, "resumed weights")
    expect(round(seen.epoch) == 5, f"resumed at epoch {seen.epoch}")
    next_one = apply(directory / "out/checkpoint-12", "--every", 5)
    expect((next_one["epoch"], next_one["due"]) == (6, False), "the sixth epoch was not trained")
    regen("undo", last)
    expect(contents(last) == before, "undo")


@check("directory, transformers' Trainer with accumulation: the epoch ends at a fraction")
def _(directory):
    try:
        from transformers import (
            PrinterCallback, ResNetConfig, ResNetForImageClassification, Trainer, TrainerCallback,
            TrainingArguments, set_seed,
        )
        from transformers.utils import logging
    except ImportError:
        raise Skip("transformers is not installed")
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    set_seed(0)
    config = ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", num_labels=4,
    )
    # Nine batches an epoch, of which two make an update.
    data = [{"pixel_values": torch.randn(3, 16, 16), "labels": n % 4} for n in range(18)]

    class Seen(TrainerCallback):
        def on_train_begin(self, args, state, control, model=None, **kwargs):
            self.weights = clone(model.state_dict())

    def trainer(seen=None, **options) -> Trainer:
        args = TrainingArguments(
            output_dir=str(directory / "out"), num_train_epochs=6, save_strategy="epoch",
            per_device_train_batch_size=2, gradient_accumulation_steps=2, learning_rate=0.05,
            use_cpu=True, report_to=[], disable_tqdm=True, logging_strategy="no", seed=0, **options,
        )
        model = ResNetForImageClassification(config)
        trainer = Trainer(
            model, args, train_dataset=data, eval_dataset=data[:4], callbacks=[seen] if seen else [],
        )
        trainer.remove_callback(PrinterCallback)
        return trainer

    best = {"eval_strategy": "epoch", "load_best_model_at_end": True}
    trainer(**best).train()
    folders = sorted((directory / "out").iterdir(), key=lambda f: int(f.name.split("-")[1]))
    expect(len(folders) == 6, f"{folders}")
    for finished, folder in enumerate(folders, 1):
        state = json.loads((folder / "trainer_state.json").read_text())
        run = regen("apply", folder, "--every", 5, "--json", "--dry-run")
        report = json.loads(run.stdout)
        expect(report["epoch"] == finished, f"{state['epoch']} is {report['epoch']}")
        expect(report["due"] == (finished == 5), "due")
        if report["due"]:
            is_best = Path(state["best_model_checkpoint"]).name == folder.name
            warned = any("best checkpoint so far" in text for text in report["warnings"])
            expect(warned == is_best, f"warned of the best: {warned}, it is: {is_best}")
    apply(folders[4], "--every", 5)
    wanted = load_file(folders[4] / "model.safetensors")
    seen = Seen()
    trainer(seen).train(resume_from_checkpoint=str(folders[4]))
    expect_equal(seen.weights, wanted, "resumed weights")
