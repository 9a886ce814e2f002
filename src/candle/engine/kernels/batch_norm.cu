// Batch normalisation (Ioffe and Szegedy 2015) of values [N, C, H, W], as PyTorch has it.
#include "kernel.cuh"

struct BatchNorm {
  int images, channels, pixels;
  double epsilon;
  // Weight of the batch in the running statistics.
  double momentum;
};

// Calls `each` with the index of every element of this block's channel, one thread an element.
template <typename F>
__device__ void for_channel(const BatchNorm& g, F each) {
  for (int at = threadIdx.x; at < g.images * g.pixels; at += BLOCK) {
    each((at / g.pixels * g.channels + blockIdx.x) * g.pixels + at % g.pixels);
  }
}

// Mean and 1 / √(variance + ε) of each channel, in two passes: a block a channel. The running statistics
// move towards the mean and the unbiased variance.
template <typename T, typename A>
__device__ void measure(A* mean, A* scale, T* running_mean, T* running_variance, const T* x,
                        const BatchNorm& g) {
  const A n = A(g.images) * A(g.pixels);
  A sum = 0;
  for_channel(g, [&](int at) { sum += A(x[at]); });
  const A average = block_sum(sum) / n;
  A squares = 0;
  for_channel(g, [&](int at) {
    const A distance = A(x[at]) - average;
    squares += distance * distance;
  });
  squares = block_sum(squares);
  if (threadIdx.x != 0) return;
  const int channel = blockIdx.x;
  mean[channel] = average;
  scale[channel] = A(1) / sqrt(squares / n + A(g.epsilon));
  auto follow = [&](T& running, A now) {
    running = T(A(running) + A(g.momentum) * (now - A(running)));
  };
  follow(running_mean[channel], average);
  follow(running_variance[channel], squares / (n - A(1)));
}

// y = (x − mean) · scale · γ + β: a thread an element.
template <typename T, typename A>
__device__ void forward(T* y, const T* x, const A* mean, const A* scale, const T* gamma, const T* beta,
                        const BatchNorm& g) {
  const int at = thread_number();
  if (at >= g.images * g.channels * g.pixels) return;
  const int channel = at / g.pixels % g.channels;
  y[at] = T((A(x[at]) - mean[channel]) * (scale[channel] * A(gamma[channel])) + A(beta[channel]));
}

// dβ = Σ dy and dγ = Σ dy · (x − mean) · scale: a block a channel.
template <typename T, typename A>
__device__ void sums(A* dgamma, A* dbeta, const T* x, const T* dy, const A* mean, const A* scale,
                     const BatchNorm& g) {
  const int channel = blockIdx.x;
  A sum = 0, product = 0;
  for_channel(g, [&](int at) {
    sum += A(dy[at]);
    product += A(dy[at]) * (A(x[at]) - mean[channel]);
  });
  sum = block_sum(sum);
  product = block_sum(product);
  if (threadIdx.x != 0) return;
  dgamma[channel] = product * scale[channel];
  dbeta[channel] = sum;
}

// dx = γ · scale · (dy − dβ / n − (x − mean) · scale · dγ / n): a thread an element.
template <typename T, typename A>
__device__ void backward(T* dx, const T* x, const T* dy, const A* mean, const A* scale, const T* gamma,
                         const A* dgamma, const A* dbeta, const BatchNorm& g) {
  const int at = thread_number();
  if (at >= g.images * g.channels * g.pixels) return;
  const int channel = at / g.pixels % g.channels;
  const A n = A(g.images) * A(g.pixels);
  const A tilt = scale[channel] * dgamma[channel] / n;
  const A shifted = A(dy[at]) - dbeta[channel] / n - (A(x[at]) - mean[channel]) * tilt;
  dx[at] = T(A(gamma[channel]) * scale[channel] * shifted);
}

KERNEL(batch_norm_measure_f32,
       (float* mean, float* scale, float* running_mean, float* running_variance, const float* x,
        BatchNorm g),
       (measure<float, float>(mean, scale, running_mean, running_variance, x, g)))
KERNEL(batch_norm_measure_f64,
       (double* mean, double* scale, double* running_mean, double* running_variance, const double* x,
        BatchNorm g),
       (measure<double, double>(mean, scale, running_mean, running_variance, x, g)))
KERNEL(batch_norm_forward_f32,
       (float* y, const float* x, const float* mean, const float* scale, const float* gamma,
        const float* beta, BatchNorm g),
       (forward<float, float>(y, x, mean, scale, gamma, beta, g)))
KERNEL(batch_norm_forward_f64,
       (double* y, const double* x, const double* mean, const double* scale, const double* gamma,
        const double* beta, BatchNorm g),
       (forward<double, double>(y, x, mean, scale, gamma, beta, g)))
KERNEL(batch_norm_sums_f32,
       (float* dgamma, float* dbeta, const float* x, const float* dy, const float* mean,
        const float* scale, BatchNorm g),
       (sums<float, float>(dgamma, dbeta, x, dy, mean, scale, g)))
KERNEL(batch_norm_sums_f64,
       (double* dgamma, double* dbeta, const double* x, const double* dy, const double* mean,
        const double* scale, BatchNorm g),
       (sums<double, double>(dgamma, dbeta, x, dy, mean, scale, g)))
KERNEL(batch_norm_backward_f32,
       (float* dx, const float* x, const float* dy, const float* mean, const float* scale,
        const float* gamma, const float* dgamma, const float* dbeta, BatchNorm g),
       (backward<float, float>(dx, x, dy, mean, scale, gamma, dgamma, dbeta, g)))
KERNEL(batch_norm_backward_f64,
       (double* dx, const double* x, const double* dy, const double* mean, const double* scale,
        const double* gamma, const double* dgamma, const double* dbeta, BatchNorm g),
       (backward<double, double>(dx, x, dy, mean, scale, gamma, dgamma, dbeta, g)))
