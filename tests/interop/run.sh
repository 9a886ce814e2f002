#!/bin/sh
# Checks ckpt-regen against the programs that write and read checkpoints and run networks: PyTorch,
# torchvision, safetensors, ONNX Runtime, timm, accelerate, transformers; and the module ckpt_regen in
# PyTorch, Lightning, transformers and timm. One line a check; the last line is "N passed, N failed".
#
#   tests/interop/run.sh [WORD…]        only the checks whose name holds one of the words
#
# PYTHON               an interpreter that has all of requirements.txt; without it a virtual
#                      environment is made in target/interop. What pip installs there brings, on
#                      Linux, the CUDA libraries (gigabytes): nothing here needs a GPU, so set
#                      PIP_EXTRA_INDEX_URL to PyTorch's index of CPU wheels first, if you can.
# CKPT_REGEN           the program to check; without it `cargo build` builds it.
# CKPT_REGEN_TRAIN_F64 the program examples/train_f64.rs; without it `cargo build` builds it.
# CKPT_REGEN_ONNX_OUTPUTS  the program examples/onnx_outputs.rs; without it `cargo build` builds it.
# CKPT_REGEN_MATERIAL  a folder with fixtures/mobilenet_v2_025 in all formats (fixtures/generate.py
#                      writes it); without it, the checks that need them are skipped.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
if [ -z "${PYTHON:-}" ]; then
    venv=$root/target/interop
    [ -x "$venv/bin/python" ] || python3 -m venv "$venv"
    PYTHON=$venv/bin/python
    "$PYTHON" -m pip install --quiet -r "$root/tests/interop/requirements.txt"
fi
if [ -z "${CKPT_REGEN:-}" ]; then
    (cd "$root" && cargo build --quiet --bin ckpt-regen)
    CKPT_REGEN=${CARGO_TARGET_DIR:-$root/target}/debug/ckpt-regen
fi
if [ -z "${CKPT_REGEN_TRAIN_F64:-}" ]; then
    (cd "$root" && cargo build --quiet --example train_f64)
    CKPT_REGEN_TRAIN_F64=${CARGO_TARGET_DIR:-$root/target}/debug/examples/train_f64
fi
if [ -z "${CKPT_REGEN_ONNX_OUTPUTS:-}" ]; then
    (cd "$root" && cargo build --quiet --example onnx_outputs)
    CKPT_REGEN_ONNX_OUTPUTS=${CARGO_TARGET_DIR:-$root/target}/debug/examples/onnx_outputs
fi
# The module, with the command that is checked.
if ! "$PYTHON" -c 'import ckpt_regen' 2>/dev/null; then
    "$PYTHON" -m pip install --quiet "$root/python" --config-settings command="$(realpath "$CKPT_REGEN")"
fi
export CKPT_REGEN CKPT_REGEN_TRAIN_F64 CKPT_REGEN_ONNX_OUTPUTS
exec "$PYTHON" -B "$root/tests/interop/check.py" "$@"
