"""Runs all checks, or those whose name holds one of the words given (see run.sh)."""

import os
import sys
import tempfile
import traceback
from pathlib import Path

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
sys.path.insert(0, str(Path(__file__).resolve().parent))

import torch

import support

# Importing a module registers its checks.
import formats  # noqa: F401
import save_again  # noqa: F401
import training_files  # noqa: F401
import directories  # noqa: F401
import frameworks  # noqa: F401
import lightning_runs  # noqa: F401
import scripts  # noqa: F401
import networks  # noqa: F401
import train  # noqa: F401
import segmentation  # noqa: F401
import live  # noqa: F401
import hooks  # noqa: F401
import python_docs  # noqa: F401
import onnx_networks  # noqa: F401
import pruning  # noqa: F401


def main(words: list[str]) -> int:
    torch.set_num_threads(1)
    passed = failed = 0
    for name, check in support.CHECKS:
        if words and not any(word in name for word in words):
            continue
        home = os.getcwd()
        with tempfile.TemporaryDirectory() as directory:
            os.chdir(directory)
            try:
                check(Path(directory))
            except support.Skip as why:
                print(f"skip  {name}: {why}", flush=True)
            except Exception as error:
                failed += 1
                where = traceback.extract_tb(error.__traceback__)[-1]
                place = f"{Path(where.filename).name}:{where.lineno}"
                print(f"FAIL  {name}: {type(error).__name__}: {error} ({place})", flush=True)
                if os.environ.get("TRACE"):
                    traceback.print_exc()
            else:
                passed += 1
                print(f"ok    {name}", flush=True)
            finally:
                os.chdir(home)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
