// Max pooling, plane by plane: a plane is one channel of one image.
#include "kernel.cuh"

struct MaxPool {
  int planes;
  int height, width, out_height, out_width;
  int kernel_height, kernel_width;
  int stride_y, stride_x, dilation_y, dilation_x;
  // Padding at the top and at the left, which is never the largest.
  int top, left;
};

// The largest number under each window, of equals the first, of several NaN the last; and which pixel of
// its plane it was: a thread a window.
template <typename T>
__device__ void forward(T* y, unsigned* places, const T* x, const MaxPool& g) {
  const int at = thread_number();
  if (at >= g.planes * g.out_height * g.out_width) return;
  const int left = at % g.out_width * g.stride_x - g.left;
  const int top = at / g.out_width % g.out_height * g.stride_y - g.top;
  x += at / (g.out_width * g.out_height) * g.height * g.width;
  int best = -1;
  for (int u = 0; u < g.kernel_height; ++u) {
    const int row = top + u * g.dilation_y;
    if (!inside(row, g.height)) continue;
    for (int v = 0; v < g.kernel_width; ++v) {
      const int column = left + v * g.dilation_x;
      if (!inside(column, g.width)) continue;
      const int next = row * g.width + column;
      if (best < 0 || x[next] > x[best] || x[next] != x[next]) best = next;
    }
  }
  // Every window sees a pixel.
  y[at] = x[best];
  places[at] = best;
}

// dx: each thread gathers, for a pixel, the gradients of the windows in which it was the largest.
template <typename T, typename A>
__device__ void backward(T* dx, const T* dy, const unsigned* places, const MaxPool& g) {
  const int at = thread_number();
  if (at >= g.planes * g.height * g.width) return;
  const unsigned pixel = at % (g.height * g.width);
  const int column = at % g.width + g.left;
  const int row = at / g.width % g.height + g.top;
  const int plane = at / (g.height * g.width);
  const int start = plane * g.out_height * g.out_width;
  A sum = 0;
  for (int u = 0; u < g.kernel_height; ++u) {
    const int i = seen_from(row, u * g.dilation_y, g.stride_y, g.out_height);
    if (i < 0) continue;
    for (int v = 0; v < g.kernel_width; ++v) {
      const int j = seen_from(column, v * g.dilation_x, g.stride_x, g.out_width);
      if (j < 0) continue;
      const int window = start + i * g.out_width + j;
      if (places[window] == pixel) sum += A(dy[window]);
    }
  }
  dx[at] = T(sum);
}

KERNEL(max_pool_forward_f32, (float* y, unsigned* places, const float* x, MaxPool g),
       (forward<float>(y, places, x, g)))
KERNEL(max_pool_forward_f64, (double* y, unsigned* places, const double* x, MaxPool g),
       (forward<double>(y, places, x, g)))
KERNEL(max_pool_backward_f32, (float* dx, const float* dy, const unsigned* places, MaxPool g),
       (backward<float, float>(dx, dy, places, g)))
KERNEL(max_pool_backward_f64, (double* dx, const double* dy, const unsigned* places, MaxPool g),
       (backward<double, double>(dx, dy, places, g)))
