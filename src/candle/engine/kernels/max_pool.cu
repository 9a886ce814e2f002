// Max pooling, plane by plane: a plane is one channel of one image.
#include "kernel.cuh"

struct MaxPool {
  int planes;
  // Its padding is never the largest.
  Window window;
};

// The largest number under each window, of equals the first, of several NaN the last; and which pixel of
// its plane it was: a thread a window.
template <typename T>
__device__ void forward(T* y, unsigned* places, const T* x, const MaxPool& g) {
  const Window& window = g.window;
  const int at = thread_number();
  if (at >= g.planes * window.out_height * window.out_width) return;
  const int left = at % window.out_width * window.stride_x - window.left;
  const int top = at / window.out_width % window.out_height * window.stride_y - window.top;
  x += at / (window.out_width * window.out_height) * window.height * window.width;
  int best = -1;
  for (int u = 0; u < window.kernel_height; ++u) {
    const int row = top + u * window.dilation_y;
    if (!inside(row, window.height)) continue;
    for (int v = 0; v < window.kernel_width; ++v) {
      const int column = left + v * window.dilation_x;
      if (!inside(column, window.width)) continue;
      const int next = row * window.width + column;
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
  const Window& window = g.window;
  const int at = thread_number();
  if (at >= g.planes * window.height * window.width) return;
  const unsigned pixel = at % (window.height * window.width);
  const int column = at % window.width + window.left;
  const int row = at / window.width % window.height + window.top;
  const int plane = at / (window.height * window.width);
  const int start = plane * window.out_height * window.out_width;
  A sum = 0;
  for (int u = 0; u < window.kernel_height; ++u) {
    const int i = seen_from(row, u * window.dilation_y, window.stride_y, window.out_height);
    if (i < 0) continue;
    for (int v = 0; v < window.kernel_width; ++v) {
      const int j = seen_from(column, v * window.dilation_x, window.stride_x, window.out_width);
      if (j < 0) continue;
      const int seen = start + i * window.out_width + j;
      if (places[seen] == pixel) sum += A(dy[seen]);
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
