// What the kernels share. A kernel is a template over the type T of the elements and the type A of the
// sums; its entry points take pointers to what it writes, then to what it reads, then its sizes.
#pragma once

// Threads of a block; `THREADS` in launch.rs.
constexpr int BLOCK = 256;
constexpr int WARP = 32;

// An entry point. The tests define another one, to run on a processor.
#ifndef KERNEL
#define KERNEL(name, parameters, body) \
  extern "C" __global__ void __launch_bounds__(BLOCK) name parameters { body; }
#endif

// The number of this thread among all of the launch.
__device__ inline int thread_number() { return blockIdx.x * BLOCK + threadIdx.x; }

// A window that moves over maps; as in window.rs.
struct Window {
  int height, width, out_height, out_width;
  int kernel_height, kernel_width;
  int stride_y, stride_x, dilation_y, dilation_x;
  // Padding at the top and at the left.
  int top, left;
};

// Whether a position lies inside a map of `size` pixels along its axis.
__device__ inline bool inside(int at, int size) { return at >= 0 && at < size; }

// The position of the window whose tap, `shift` pixels from its first one, sees the pixel at `at`, counted
// from the first pixel of the padding; −1: there is none.
__device__ inline int seen_from(int at, int shift, int stride, int outputs) {
  const int start = at - shift;
  if (start < 0 || start % stride != 0 || start / stride >= outputs) return -1;
  return start / stride;
}

// Σ x over the threads of a warp, in each of them; always in the same order. All its threads must call it.
template <typename A>
__device__ A warp_sum(A x) {
  for (int step = WARP / 2; step > 0; step /= 2) x += __shfl_xor_sync(0xffffffffu, x, step);
  return x;
}

// The largest x of a warp, NaN aside. All its threads must call it.
template <typename A>
__device__ A warp_max(A x) {
  for (int step = WARP / 2; step > 0; step /= 2) {
    const A other = __shfl_xor_sync(0xffffffffu, x, step);
    x = other > x ? other : x;
  }
  return x;
}

// `BLOCK / WARP` numbers that the threads of a block share.
template <typename A>
__device__ A* shared_numbers() {
  extern __shared__ double shared[];
  return reinterpret_cast<A*>(shared);
}

// Σ x over the threads of the block, in each of them; always in the same order. All threads must call it.
template <typename A>
__device__ A block_sum(A x) {
  A* partial = shared_numbers<A>();
  x = warp_sum(x);
  // The partial sums of an earlier call have been read.
  __syncthreads();
  if (threadIdx.x % WARP == 0) partial[threadIdx.x / WARP] = x;
  __syncthreads();
  A sum = 0;
  for (int warp = 0; warp < BLOCK / WARP; ++warp) sum += partial[warp];
  return sum;
}
