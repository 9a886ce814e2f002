#!/usr/bin/env bash
# Builds ckpt-regen with the feature `cuda` on a machine that has neither a GPU nor the CUDA toolkit, and
# checks what can be checked there: that the kernels compile for two generations of GPUs and keep all their
# variables in registers, that everything compiles and links, and what the command says where no GPU is. It
# computes nothing on a GPU; what the kernels compute is tested on the processor by `cargo test`.
#
#   scripts/check-cuda.sh        # takes 2 GB of Python wheels and a build of its own into target/cuda/
#
# Where the toolkit is installed, `cargo build --release --features cuda` is all it takes.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$PWD/target/cuda
mkdir -p "$work/links"
begin=$SECONDS

part() {
  echo "== $* ($(((SECONDS - begin) / 60)) min $(((SECONDS - begin) % 60)) s)"
}

part "the toolkit, as wheels"
# All of one version of the toolkit, the newest that candle's bindings know.
[ -x "$work/python/bin/pip" ] || python3 -m venv "$work/python"
packages=(nvidia-cuda-{nvcc,crt,cccl,runtime,nvrtc} nvidia-nvvm nvidia-cublas)
"$work/python/bin/pip" install --quiet --disable-pip-version-check "${packages[@]/%/==13.0.*}" nvidia-curand
toolkit=$(echo "$work"/python/lib/python3*/site-packages/nvidia/cu13)
# The linker asks for libX.so, and the wheels have libX.so.N.
for library in "$toolkit"/lib/lib*.so.*; do
  name=$(basename "$library")
  ln -sf "$library" "$work/links/${name%%.so*}.so"
done
# The driver's own library comes with the driver: nothing of it is needed to link.
echo | cc -x c -shared -Wl,-soname,libcuda.so.1 -o "$work/links/libcuda.so" -

export CUDA_HOME=$toolkit CUDA_PATH=$toolkit CUDA_TOOLKIT_ROOT_DIR=$toolkit PATH=$toolkit/bin:$PATH

part "kernels"
kernels=src/candle/engine/kernels
for arch in sm_80 sm_90; do
  for file in "$kernels"/*.cu; do
    nvcc -std=c++17 -O3 -arch=$arch -Xptxas -v -cubin -o "$work/kernel.cubin" "$file" >"$work/said" 2>&1 ||
      { cat "$work/said" >&2; exit 1; }
    # Entry points and what ptxas says of each: a kernel that spills is slower than it has to be.
    awk -v arch=$arch -v file="$file" -v expected="$(grep -c '^KERNEL(' "$file")" '
      /Compiling entry function/ { split($0, part, "\047"); name = part[2] }
      /spill stores/ && !/ 0 bytes spill stores, 0 bytes spill loads/ { print name " spills:" $0; wrong = 1 }
      /Used [0-9]+ registers/ {
        match($0, /[0-9]+ registers/)
        printf "%s  %-28s %s\n", arch, name, substr($0, RSTART, RLENGTH)
        seen++
      }
      END {
        if (seen != expected) print file ": " seen + 0 " entry points, not " expected
        exit wrong || seen != expected
      }' "$work/said"
  done
done

part "build"
export CUDA_COMPUTE_CAP=${CUDA_COMPUTE_CAP:-80}
CARGO_TARGET_DIR=$work/build LIBRARY_PATH=$work/links cargo rustc --locked --release --features cuda --bin ckpt-regen -- \
  -L "native=$work/links" -C link-arg=-Wl,--no-as-needed -C link-arg=-lcuda \
  -C link-arg=-Wl,--allow-shlib-undefined -C link-arg=-Wl,--unresolved-symbols=ignore-all
command=$work/build/release/ckpt-regen

part "without a GPU"
# A driver that finds none: every function of it that the command calls answers CUDA_ERROR_NO_DEVICE.
mkdir -p "$work/no-gpu"
nm --dynamic --undefined-only "$command" | awk '$2 ~ /^cu[A-Z]/ { print $2 }' | sed 's/@.*//' |
  grep -vE '^cu(blas|rand|GetError)' | sed 's/.*/int &(void) { return 100; }/' >"$work/no-gpu/driver.c"
cat >>"$work/no-gpu/driver.c" <<'C'
int cuGetErrorName(int error, const char **text) { (void)error; *text = "CUDA_ERROR_NO_DEVICE"; return 0; }
int cuGetErrorString(int error, const char **text) { (void)error; *text = "no CUDA-capable device is detected"; return 0; }
C
cc -shared -fPIC -Wl,-soname,libcuda.so.1 -o "$work/no-gpu/libcuda.so.1" "$work/no-gpu/driver.c"
export LD_LIBRARY_PATH=$work/no-gpu:$toolkit/lib
train=("$command" train --model mobilenet_v2 --width 0.1 --data digits --epochs 1 --batch-size 256 --out "$work/run")
rm -rf "$work/run"
if "${train[@]}" --device cuda >"$work/said" 2>&1; then
  echo "it trained without a GPU" >&2
  exit 1
fi
cat "$work/said"
grep -q '^error: --device cuda:0: no CUDA-capable device' "$work/said"
[ ! -e "$work/run" ] || { echo "it left $work/run behind" >&2; exit 1; }
# On the processor this build does what every build does.
"${train[@]}"
rm -r "$work/run"
part "done"
