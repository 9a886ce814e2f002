// Cross-entropy with label smoothing, and which class came first. Logits are [N, K, H, W], labels
// [N, H, W]; each label has a warp, whose threads share the classes.
#include "kernel.cuh"

struct Loss {
  // Labels, classes, and pixels of an image.
  int labels, classes, pixels;
  double smoothing;
  // What the sum of the losses, and the gradient, are divided by.
  double counted;
  // Factor of the gradient.
  double weight;
};

// A label that does not count; `NONE` in loss.rs.
constexpr unsigned NONE = 0xffffffffu;

// The number of this warp's label.
__device__ inline int label_number() { return thread_number() / WARP; }

// The logits of one label, and their softmax.
template <typename T, typename A>
struct Row {
  const T* start;
  int classes, pixels;
  // The largest logit, and the sum of exp(logit − largest).
  A largest, total;

  // For all threads of a warp.
  __device__ Row(const T* logits, int label, const Loss& g)
      : start(logits + label / g.pixels * g.classes * g.pixels + label % g.pixels),
        classes(g.classes),
        pixels(g.pixels) {
    A most = -INFINITY;
    each([&](int, A x) { most = x > most ? x : most; });
    largest = warp_max(most);
    A sum = 0;
    each([&](int, A x) { sum += exp(x - largest); });
    total = warp_sum(sum);
  }

  __device__ A at(int number) const { return A(start[number * pixels]); }

  // Calls `work` with this thread's classes and their logits.
  template <typename F>
  __device__ void each(F work) const {
    for (int number = threadIdx.x % WARP; number < classes; number += WARP) work(number, at(number));
  }
};

// For each label its share of the loss, and whether its class came first and among the first five: [N, 3].
// Before a class come larger ones, equal ones of lower numbers, and NaN; before NaN, everything.
template <typename T, typename A>
__device__ void outcome(A* rows, const T* logits, const unsigned* labels, const Loss& g) {
  const int at = label_number();
  if (at >= g.labels) return;
  rows += at * 3;
  const bool first_thread = threadIdx.x % WARP == 0;
  const unsigned label = labels[at];
  if (label == NONE) {
    if (first_thread) rows[0] = rows[1] = rows[2] = 0;
    return;
  }
  const Row<T, A> row(logits, at, g);
  const A own = row.at(label), logarithm = log(row.total);
  A mean = 0;
  int before = 0;
  row.each([&](int number, A x) {
    mean += x - row.largest - logarithm;
    if (x != x || x > own || (x == own && number < int(label))) ++before;
  });
  mean = warp_sum(mean) / A(g.classes);
  before = warp_sum(before);
  if (!first_thread) return;
  const A smoothing = A(g.smoothing);
  const A loss = (A(1) - smoothing) * (own - row.largest - logarithm) + smoothing * mean;
  rows[0] = -loss / A(g.counted);
  rows[1] = own == own && before < 1;
  rows[2] = own == own && before < 5;
}

// The gradient of the logits: (softmax − target) / counted · weight, 0 where the label does not count.
template <typename T, typename A>
__device__ void gradient(T* dx, const T* logits, const unsigned* labels, const Loss& g) {
  const int at = label_number();
  if (at >= g.labels) return;
  const Row<T, A> row(logits, at, g);
  const unsigned label = labels[at];
  T* to = dx + (row.start - logits);
  const A factor = A(g.weight / g.counted), smoothing = A(g.smoothing);
  row.each([&](int number, A x) {
    const A hit = number == int(label) ? A(1) - smoothing : A(0);
    const A target = hit + smoothing / A(g.classes);
    const A slope = (exp(x - row.largest) / row.total - target) * factor;
    to[number * g.pixels] = T(label == NONE ? A(0) : slope);
  });
}

KERNEL(loss_outcome_f32, (float* rows, const float* logits, const unsigned* labels, Loss g),
       (outcome<float, float>(rows, logits, labels, g)))
KERNEL(loss_outcome_f64, (double* rows, const double* logits, const unsigned* labels, Loss g),
       (outcome<double, double>(rows, logits, labels, g)))
KERNEL(loss_gradient_f32, (float* dx, const float* logits, const unsigned* labels, Loss g),
       (gradient<float, float>(dx, logits, labels, g)))
KERNEL(loss_gradient_f64, (double* dx, const double* logits, const unsigned* labels, Loss g),
       (gradient<double, double>(dx, logits, labels, g)))
