// Functions of one number, a thread an element. NaN stays NaN; the derivatives at the kinks are PyTorch's.
#include "kernel.cuh"

struct Activation {
  int count;
  // As of `number` in activation.rs.
  int function;
};

enum { RELU, RELU6, HARD_SWISH, HARD_SIGMOID, SIGMOID, SILU };

// `x`, and at least 0 and at most 6.
template <typename A>
__device__ A clamp6(A x) {
  return x < A(0) ? A(0) : x > A(6) ? A(6) : x;
}

template <typename A>
__device__ A sigmoid(A x) {
  return A(1) / (A(1) + exp(-x));
}

template <typename A>
__device__ A value(int function, A x) {
  switch (function) {
    case RELU:
      return x < A(0) ? A(0) : x;
    case RELU6:
      return clamp6(x);
    case HARD_SWISH:
      return x * clamp6(x + A(3)) / A(6);
    case HARD_SIGMOID:
      return clamp6(x + A(3)) / A(6);
    case SIGMOID:
      return sigmoid(x);
    default:
      return x / (A(1) + exp(-x));
  }
}

// dy times the derivative at x; 0 where no gradient passes, whatever dy.
template <typename A>
__device__ A gradient(int function, A x, A dy) {
  switch (function) {
    case RELU:
      return x <= A(0) ? A(0) : dy;
    case RELU6:
      return x <= A(0) || x >= A(6) ? A(0) : dy;
    case HARD_SWISH:
      return x <= A(-3) ? A(0) : x < A(3) ? (x / A(3) + A(0.5)) * dy : dy;
    case HARD_SIGMOID:
      // 1/6 as f32 has it, in f64 too.
      return x > A(-3) && x < A(3) ? A(1.0f / 6.0f) * dy : A(0);
    case SIGMOID: {
      const A y = sigmoid(x);
      return y * (A(1) - y) * dy;
    }
    default: {
      const A y = sigmoid(x);
      return y * (A(1) + x * (A(1) - y)) * dy;
    }
  }
}

template <typename T, typename A>
__device__ void forward(T* y, const T* x, const Activation& g) {
  const int at = thread_number();
  if (at < g.count) y[at] = T(value(g.function, A(x[at])));
}

template <typename T, typename A>
__device__ void backward(T* dx, const T* x, const T* dy, const Activation& g) {
  const int at = thread_number();
  if (at < g.count) dx[at] = T(gradient(g.function, A(x[at]), A(dy[at])));
}

KERNEL(activation_forward_f32, (float* y, const float* x, Activation g), (forward<float, float>(y, x, g)))
KERNEL(activation_forward_f64, (double* y, const double* x, Activation g),
       (forward<double, double>(y, x, g)))
KERNEL(activation_backward_f32, (float* dx, const float* x, const float* dy, Activation g),
       (backward<float, float>(dx, x, dy, g)))
KERNEL(activation_backward_f64, (double* dx, const double* x, const double* dy, Activation g),
       (backward<double, double>(dx, x, dy, g)))
