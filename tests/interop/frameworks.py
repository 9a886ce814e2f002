"""mmengine, Ultralytics and pytorch-lightning 2.0: train, edit, resume; the live γ are the edited ones."""

import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path

import torch

from support import Skip, apply, check, clone, expect, expect_equal, regen, regenerate


def spread(net) -> None:
    """Gives every γ of its own, so that an edit shows."""
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data = torch.rand(module.num_features) + 0.1


def quiet() -> None:
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)


@check("mmengine with EMAHook: the raw weights are edited, and resumed from; last_checkpoint is followed")
def _(directory):
    try:
        from mmengine.hooks import EMAHook, Hook
        from mmengine.model import BaseModel
        from mmengine.runner import Runner
    except ImportError:
        raise Skip("mmengine is not installed")
    quiet()
    # mmengine 0.10 loads its own files as PyTorch 2.5 did.
    os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"
    seen = []

    class Net(BaseModel):
        def __init__(self):
            super().__init__()
            self.conv, self.bn = torch.nn.Conv2d(1, 8, 1), torch.nn.BatchNorm2d(8)
            torch.manual_seed(0)
            spread(self)

        def forward(self, images, mode):
            return {"loss": self.bn(self.conv(images)).square().mean()}

    class See(Hook):
        priority = "VERY_LOW"

        def before_train_epoch(self, runner):
            seen.append((runner.epoch, clone(runner.model.state_dict())))

    class Images(torch.utils.data.Dataset):
        def __len__(self):
            return 4

        def __getitem__(self, n):
            return torch.full((1, 2, 2), float(n))

    def run(epochs: int, resume):
        config = {"batch_size": 2, "num_workers": 0}
        loader = {**config, "sampler": {"type": "DefaultSampler", "shuffle": False},
                  "collate_fn": {"type": "default_collate"}}
        runner = Runner(
            model=Net(), work_dir=str(directory / "out"),
            train_dataloader={**loader, "dataset": Images()},
            train_cfg={"by_epoch": True, "max_epochs": epochs},
            optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.01}},
            default_hooks={"checkpoint": {"type": "CheckpointHook", "interval": 1}},
            custom_hooks=[EMAHook(), See()], load_from=resume, resume=resume is not None,
            log_level="ERROR", experiment_name=f"to{epochs}",
        )
        train = Net.train_step

        def step(self, data, optim_wrapper):
            losses = self(data, "loss")
            optim_wrapper.update_params(losses["loss"])
            return losses

        Net.train_step = step
        runner.train()
        Net.train_step = train

    run(5, None)
    file = directory / "out/epoch_5.pth"
    report = apply(directory / "out", "--newest", "--every", 5)
    expect(Path(report["path"]).name == "epoch_5.pth", report["path"])
    expect((report["epoch"], report["due"]) == (5, True), f"epoch {report['epoch']}")
    expect(report["root"] == "ema_state_dict" and report["regenerated"] > 0, report["root"])
    saved = torch.load(file, weights_only=False)
    expect(not regenerated_more(saved["ema_state_dict"]), "the raw weights were not edited")
    expect(regenerated_more(saved["state_dict"]), "the average was edited")
    seen.clear()
    run(6, str(file))
    epoch, weights = seen[0]
    expect(epoch == 5, f"resumes at {epoch}")
    wanted = {k.removeprefix("module."): v for k, v in saved["ema_state_dict"].items() if k != "steps"}
    expect_equal(weights, wanted, "resumed weights")
    del os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"]


def regenerated_more(state: dict) -> bool:
    """Whether the rule would still change γ."""
    state = {key: value.clone() for key, value in state.items()}
    return any(mask.any() for mask in regenerate(state).values())


@check("Ultralytics: ema is edited, and training resumes from it")
def _(directory):
    os.environ["YOLO_CONFIG_DIR"] = str(directory)
    os.environ["YOLO_OFFLINE"] = "true"
    try:
        from ultralytics.engine.trainer import BaseTrainer
        from ultralytics.nn.tasks import ClassificationModel
    except ImportError:
        raise Skip("ultralytics is not installed")
    quiet()
    torch.manual_seed(0)
    net = ClassificationModel("yolo11n-cls.yaml", nc=3, verbose=False)
    spread(net)
    # As BaseTrainer.save_model lays it out.
    from copy import deepcopy

    saved = {
        "epoch": 4, "best_fitness": 0.1, "model": None, "ema": deepcopy(net).half(), "updates": 10,
        "optimizer": {"state": {}, "param_groups": []}, "train_args": {"task": "classify"},
        "train_metrics": {}, "date": "", "version": "8",
    }
    expect(hasattr(BaseTrainer, "save_model"), "BaseTrainer has changed")
    file = directory / "last.pt"
    torch.save(saved, file)
    message = regen("apply", file, "--every", 5, code=2).stderr
    expect("--epoch-key epoch+1" in message, message)
    report = apply(file, "--every", 5, "--epoch-key", "epoch+1")
    expect((report["epoch"], report["root"]) == (5, "ema"), str(report)[:200])
    expect(report["regenerated"] > 0, "nothing regenerated")
    expect("Ultralytics" in regen("inspect", file).stdout, "layout")
    wanted = deepcopy(net).half().state_dict()
    regenerate(wanted)
    loaded = torch.load(file, weights_only=False)["ema"].state_dict()
    expect_equal(loaded, wanted, "the network that is resumed from")
    # With both, the one that is not read stays as it is.
    saved["model"] = deepcopy(net)
    torch.save(saved, file)
    report = apply(file)
    expect(report["root"] == "ema", report["root"])
    loaded = torch.load(file, weights_only=False)
    expect_equal(loaded["model"].state_dict(), net.state_dict(), "model")


LIGHTNING_2_0 = '''
import sys, torch, pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelCheckpoint
torch.load = (lambda load: lambda *a, **k: load(*a, **{**k, "weights_only": False}))(torch.load)

class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.bn = torch.nn.Conv2d(1, 8, 1), torch.nn.BatchNorm2d(8)
        self.bn.weight.data = torch.rand(8) + 0.1
    def training_step(self, batch, _): return self.bn(self.conv(batch[0])).square().mean()
    def configure_optimizers(self): return torch.optim.SGD(self.parameters(), 0.1)
    def on_train_start(self):
        torch.save(self.state_dict(), f"seen-{self.current_epoch}.pth")

data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(4, 1, 2, 2)), 2)
keep = ModelCheckpoint("checkpoints", save_last=True)
trainer = pl.Trainer(accelerator="cpu", logger=False, max_epochs=int(sys.argv[1]), callbacks=[keep],
                     enable_progress_bar=False, enable_model_summary=False)
trainer.fit(Net(), data, ckpt_path=sys.argv[2] if len(sys.argv) > 2 else None)
'''


@check("pytorch-lightning 2.0, ckpt_path='last': the record beside the checkpoint is not picked up")
def _(directory):
    quiet()
    (directory / "train.py").write_text(LIGHTNING_2_0)
    where = os.environ.get("CKPT_REGEN_LIGHTNING_2_0", "")
    environment = {**os.environ, "PYTHONPATH": where}
    probe = [sys.executable, "-c", "import pytorch_lightning as pl; print(pl.__version__)"]
    found = subprocess.run(probe, capture_output=True, text=True, env=environment)
    if not found.stdout.startswith("2.0."):
        raise Skip("pytorch-lightning 2.0 is not installed (CKPT_REGEN_LIGHTNING_2_0 names its folder)")

    def train(*options):
        command = [sys.executable, "train.py", *options]
        run = subprocess.run(command, cwd=directory, capture_output=True, text=True, env=environment)
        expect(run.returncode == 0, run.stderr[-800:])

    train("5")
    last = directory / "checkpoints/last.ckpt"
    report = apply(last, "--every", 5)
    expect((report["epoch"], report["due"]) == (5, True), f"epoch {report['epoch']}")
    expect(report["regenerated"] > 0, "nothing regenerated")
    wanted = torch.load(last, weights_only=False)["state_dict"]
    train("6", "last")
    expect_equal(torch.load(directory / "seen-5.pth"), wanted, "resumed weights")
    report = apply(last, "--every", 1)
    expect(report["epoch"] == 6 and not any("record" in text for text in report["warnings"]), "again")
