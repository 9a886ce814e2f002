// Depthwise convolution: every channel by a filter of its own. Values are [N, C, H, W], filters
// [C, 1, kernel height, kernel width].
#include "kernel.cuh"

struct Depthwise {
  int images, channels;
  Window window;
};

// y[n, c, i, j] = Σ w[c, u, v] · x[n, c, i · stride + u · dilation − top, …]: a thread for each pixel.
template <typename T, typename A>
__device__ void forward(T* y, const T* x, const T* w, const Depthwise& g) {
  const Window& window = g.window;
  const int at = thread_number();
  if (at >= g.images * g.channels * window.out_height * window.out_width) return;
  const int left = at % window.out_width * window.stride_x - window.left;
  const int top = at / window.out_width % window.out_height * window.stride_y - window.top;
  const int plane = at / (window.out_width * window.out_height);
  x += plane * window.height * window.width;
  w += plane % g.channels * window.kernel_height * window.kernel_width;
  A sum = 0;
  for (int u = 0; u < window.kernel_height; ++u) {
    const int row = top + u * window.dilation_y;
    if (!inside(row, window.height)) continue;
    for (int v = 0; v < window.kernel_width; ++v) {
      const int column = left + v * window.dilation_x;
      if (!inside(column, window.width)) continue;
      sum += A(w[u * window.kernel_width + v]) * A(x[row * window.width + column]);
    }
  }
  y[at] = T(sum);
}

// dx: each thread gathers, for a pixel of x, what saw it.
template <typename T, typename A>
__device__ void backward_input(T* dx, const T* dy, const T* w, const Depthwise& g) {
  const Window& window = g.window;
  const int at = thread_number();
  if (at >= g.images * g.channels * window.height * window.width) return;
  const int column = at % window.width + window.left;
  const int row = at / window.width % window.height + window.top;
  const int plane = at / (window.width * window.height);
  dy += plane * window.out_height * window.out_width;
  w += plane % g.channels * window.kernel_height * window.kernel_width;
  A sum = 0;
  for (int u = 0; u < window.kernel_height; ++u) {
    const int i = seen_from(row, u * window.dilation_y, window.stride_y, window.out_height);
    if (i < 0) continue;
    for (int v = 0; v < window.kernel_width; ++v) {
      const int j = seen_from(column, v * window.dilation_x, window.stride_x, window.out_width);
      if (j < 0) continue;
      sum += A(w[u * window.kernel_width + v]) * A(dy[i * window.out_width + j]);
    }
  }
  dx[at] = T(sum);
}

// Taps of which a block of `backward_filter` keeps the sums, in registers: a filter of 3 × 3 in one go.
constexpr int TAPS = 9;

// dw: a block for each channel and each `TAPS` taps of its filter.
template <typename T, typename A>
__device__ void backward_filter(T* dw, const T* x, const T* dy, const Depthwise& g) {
  const Window& window = g.window;
  const int taps = window.kernel_height * window.kernel_width;
  const int groups = (taps + TAPS - 1) / TAPS;
  const int channel = blockIdx.x / groups;
  const int first = blockIdx.x % groups * TAPS;
  int down[TAPS], over[TAPS];
  A sums[TAPS];
#pragma unroll
  for (int i = 0; i < TAPS; ++i) {
    // Of what is no tap, no pixel lies inside the map.
    const int row = (first + i) / window.kernel_width * window.dilation_y;
    down[i] = first + i < taps ? row : window.height + window.top;
    over[i] = (first + i) % window.kernel_width * window.dilation_x;
    sums[i] = 0;
  }
  const int pixels = window.out_height * window.out_width;
  for (int at = threadIdx.x; at < g.images * pixels; at += BLOCK) {
    const int plane = at / pixels * g.channels + channel;
    const int pixel = at % pixels;
    const int top = pixel / window.out_width * window.stride_y - window.top;
    const int left = pixel % window.out_width * window.stride_x - window.left;
    const T* from = x + plane * window.height * window.width;
    const A gradient = A(dy[plane * pixels + pixel]);
#pragma unroll
    for (int i = 0; i < TAPS; ++i) {
      const int row = top + down[i], column = left + over[i];
      if (inside(row, window.height) && inside(column, window.width)) {
        sums[i] += gradient * A(from[row * window.width + column]);
      }
    }
  }
#pragma unroll
  for (int i = 0; i < TAPS; ++i) {
    const A sum = block_sum(sums[i]);
    if (threadIdx.x == 0 && first + i < taps) dw[channel * taps + first + i] = T(sum);
  }
}

KERNEL(depthwise_forward_f32, (float* y, const float* x, const float* w, Depthwise g),
       (forward<float, float>(y, x, w, g)))
KERNEL(depthwise_forward_f64, (double* y, const double* x, const double* w, Depthwise g),
       (forward<double, double>(y, x, w, g)))
KERNEL(depthwise_backward_input_f32, (float* dx, const float* dy, const float* w, Depthwise g),
       (backward_input<float, float>(dx, dy, w, g)))
KERNEL(depthwise_backward_input_f64, (double* dx, const double* dy, const double* w, Depthwise g),
       (backward_input<double, double>(dx, dy, w, g)))
KERNEL(depthwise_backward_filter_f32, (float* dw, const float* x, const float* dy, Depthwise g),
       (backward_filter<float, float>(dw, x, dy, g)))
KERNEL(depthwise_backward_filter_f64, (double* dw, const double* x, const double* dy, Depthwise g),
       (backward_filter<double, double>(dw, x, dy, g)))
