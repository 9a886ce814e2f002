// Depthwise convolution: every channel by a filter of its own. Values are [N, C, H, W], filters
// [C, 1, kernel height, kernel width].
#include "kernel.cuh"

struct Depthwise {
  int images, channels;
  int height, width, out_height, out_width;
  int kernel_height, kernel_width;
  int stride_y, stride_x, dilation_y, dilation_x;
  // Padding at the top and at the left.
  int top, left;
};

// y[n, c, i, j] = Σ w[c, u, v] · x[n, c, i · stride + u · dilation − top, …]: a thread for each pixel.
template <typename T, typename A>
__device__ void forward(T* y, const T* x, const T* w, const Depthwise& g) {
  const int at = thread_number();
  if (at >= g.images * g.channels * g.out_height * g.out_width) return;
  const int left = at % g.out_width * g.stride_x - g.left;
  const int top = at / g.out_width % g.out_height * g.stride_y - g.top;
  const int plane = at / (g.out_width * g.out_height);
  x += plane * g.height * g.width;
  w += plane % g.channels * g.kernel_height * g.kernel_width;
  A sum = 0;
  for (int u = 0; u < g.kernel_height; ++u) {
    const int row = top + u * g.dilation_y;
    if (!inside(row, g.height)) continue;
    for (int v = 0; v < g.kernel_width; ++v) {
      const int column = left + v * g.dilation_x;
      if (!inside(column, g.width)) continue;
      sum += A(w[u * g.kernel_width + v]) * A(x[row * g.width + column]);
    }
  }
  y[at] = T(sum);
}

// dx: each thread gathers, for a pixel of x, what saw it.
template <typename T, typename A>
__device__ void backward_input(T* dx, const T* dy, const T* w, const Depthwise& g) {
  const int at = thread_number();
  if (at >= g.images * g.channels * g.height * g.width) return;
  const int column = at % g.width + g.left;
  const int row = at / g.width % g.height + g.top;
  const int plane = at / (g.width * g.height);
  dy += plane * g.out_height * g.out_width;
  w += plane % g.channels * g.kernel_height * g.kernel_width;
  A sum = 0;
  for (int u = 0; u < g.kernel_height; ++u) {
    const int i = seen_from(row, u * g.dilation_y, g.stride_y, g.out_height);
    if (i < 0) continue;
    for (int v = 0; v < g.kernel_width; ++v) {
      const int j = seen_from(column, v * g.dilation_x, g.stride_x, g.out_width);
      if (j < 0) continue;
      sum += A(w[u * g.kernel_width + v]) * A(dy[i * g.out_width + j]);
    }
  }
  dx[at] = T(sum);
}

// Taps of which a block of `backward_filter` keeps the sums, in registers: a filter of 3 × 3 in one go.
constexpr int TAPS = 9;

// dw: a block for each channel and each `TAPS` taps of its filter.
template <typename T, typename A>
__device__ void backward_filter(T* dw, const T* x, const T* dy, const Depthwise& g) {
  const int taps = g.kernel_height * g.kernel_width;
  const int groups = (taps + TAPS - 1) / TAPS;
  const int channel = blockIdx.x / groups;
  const int first = blockIdx.x % groups * TAPS;
  int down[TAPS], over[TAPS];
  A sums[TAPS];
#pragma unroll
  for (int i = 0; i < TAPS; ++i) {
    // Of what is no tap, no pixel lies inside the map.
    down[i] = first + i < taps ? (first + i) / g.kernel_width * g.dilation_y : g.height + g.top;
    over[i] = (first + i) % g.kernel_width * g.dilation_x;
    sums[i] = 0;
  }
  const int pixels = g.out_height * g.out_width;
  for (int at = threadIdx.x; at < g.images * pixels; at += BLOCK) {
    const int plane = at / pixels * g.channels + channel;
    const int pixel = at % pixels;
    const int top = pixel / g.out_width * g.stride_y - g.top;
    const int left = pixel % g.out_width * g.stride_x - g.left;
    const T* from = x + plane * g.height * g.width;
    const A gradient = A(dy[plane * pixels + pixel]);
#pragma unroll
    for (int i = 0; i < TAPS; ++i) {
      const int row = top + down[i], column = left + over[i];
      if (inside(row, g.height) && inside(column, g.width)) {
        sums[i] += gradient * A(from[row * g.width + column]);
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
