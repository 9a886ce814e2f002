"""The snippets of docs/python.md and python/PYPI.md that need PyTorch."""

import sys
from pathlib import Path

import torch
import transformers
from torch import nn
from torch.utils.data import DataLoader

from hooks import Classifier, Net, images
from live import spread
from support import ROOT, check, expect, mobilenet

sys.path.insert(0, str(ROOT / "python" / "tests"))
from snippets import needs_torch, snippets  # noqa: E402


def surroundings(work: Path, snippet: str) -> dict:
    """What a snippet takes as given."""
    model = spread(mobilenet())
    given = {
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
        "start_epoch": 0,
        "epochs": 6,
        "train_one_epoch": lambda epoch: None,
    }
    if "lightning" in snippet:
        return {**given, "module": Net(), "train_loader": DataLoader(images(), 4)}
    if "transformers" in snippet:
        rows = [{"images": shown, "labels": label} for shown, label in images()]
        args = transformers.TrainingArguments(
            output_dir=str(work),
            num_train_epochs=6,
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
            save_strategy="no",
        )
        return {**given, "model": Classifier(), "images": rows, "args": args}
    return given


@check("docs: what is shown of modules and trainers runs, and regenerates")
def shown(work: Path) -> None:
    for page, at_least in (("docs/python.md", 4), ("python/PYPI.md", 1)):
        wanted = [snippet for snippet in snippets(page) if needs_torch(snippet)]
        expect(len(wanted) >= at_least, f"{page} shows {len(wanted)}")
        for snippet in wanted:
            given = surroundings(work, snippet)
            before = weights(given)
            exec(compile(snippet, page, "exec"), given)
            expect(weights(given) != before, f"{page}: nothing changed by\n{snippet}")


def weights(given: dict) -> float:
    module: nn.Module = given.get("module", given["model"])
    return sum(p.detach().double().sum().item() for p in module.parameters())
