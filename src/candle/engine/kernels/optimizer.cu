// One optimizer step of all tensors in one launch: a block for each piece of a tensor.
#include "kernel.cuh"

// A piece of a tensor; a row of the table in optimizer.rs.
template <typename T>
struct Piece {
  T* w;
  // Its gradient.
  T* g;
  // The optimizer's state; null where it has none.
  T* first;
  T* second;
  long long len;
  // Learning rate; AdamW's is divided by 1 − β₁ᵗ.
  double rate;
  // SGD: weight decay. AdamW: the factor of w, 1 − learning rate · decay.
  double decay;
};

struct Optimizer {
  int algorithm;
  // Factor of the gradient.
  double scale;
  // SGD: momentum. AdamW: β₁, β₂, √(1 − β₂ᵗ) and ε.
  double a, b, correction, epsilon;
};

enum { SGD, MOMENTUM, NESTEROV, ADAM_W };

// Σ g² of each piece.
template <typename T, typename A>
__device__ void squares(A* sums, const Piece<T>* pieces) {
  const Piece<T>& piece = pieces[blockIdx.x];
  A sum = 0;
  for (int at = threadIdx.x; at < piece.len; at += BLOCK) sum += A(piece.g[at]) * A(piece.g[at]);
  sum = block_sum(sum);
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

// One step of w along g; g becomes 0.
template <typename T, typename A>
__device__ void step(const Piece<T>* pieces, const Optimizer& o) {
  const Piece<T>& piece = pieces[blockIdx.x];
  const A scale = A(o.scale), rate = A(piece.rate), decay = A(piece.decay);
  const A a = A(o.a), b = A(o.b), correction = A(o.correction), epsilon = A(o.epsilon);
  for (int at = threadIdx.x; at < piece.len; at += BLOCK) {
    A w = A(piece.w[at]), g = A(piece.g[at]) * scale;
    if (o.algorithm == ADAM_W) {
      const A m = a * A(piece.first[at]) + (A(1) - a) * g;
      const A v = b * A(piece.second[at]) + (A(1) - b) * g * g;
      piece.first[at] = T(m);
      piece.second[at] = T(v);
      w = w * decay - rate * m / (sqrt(v) / correction + epsilon);
    } else {
      g += decay * w;
      if (o.algorithm != SGD) {
        const A moved = a * A(piece.first[at]) + g;
        piece.first[at] = T(moved);
        g = o.algorithm == NESTEROV ? g + a * moved : moved;
      }
      w -= rate * g;
    }
    piece.w[at] = T(w);
    piece.g[at] = T(A(0));
  }
}

KERNEL(optimizer_squares_f32, (float* sums, const Piece<float>* pieces, Optimizer),
       (squares<float, float>(sums, pieces)))
KERNEL(optimizer_squares_f64, (double* sums, const Piece<double>* pieces, Optimizer),
       (squares<double, double>(sums, pieces)))
KERNEL(optimizer_step_f32, (const Piece<float>* pieces, Optimizer o), (step<float, float>(pieces, o)))
KERNEL(optimizer_step_f64, (const Piece<double>* pieces, Optimizer o), (step<double, double>(pieces, o)))
