// As much of CUDA as the kernels use, on one thread of a processor, to be included before a kernel's file.
//
// Each thread of a block is a coroutine. Warps run one after the other, in rising or in falling order, each as
// far as it can without the others: a missing barrier shows in a wrong result, or in one that differs by the
// order. A barrier that some threads do not reach is an error. The memory that a block shares is made NaN before
// it starts. Tensors lie between pages that cannot be accessed, at the end of theirs in rising order, and at its
// start in falling order.
#pragma once
#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <utility>
#include <vector>

#define __device__
#define __global__
#define __shared__
#define KERNEL(name, parameters, body)                                                    \
  static void name parameters { body; }                                                   \
  extern "C" int emulated_##name(unsigned blocks, int falling, void** arguments,          \
                                 const size_t* bytes, size_t tensors) {                   \
    const emulator::Fenced fenced(arguments, bytes, tensors, falling);                    \
    return emulator::launch(name, blocks, falling, arguments);                            \
  }

using std::exp, std::log, std::sqrt;

struct Index {
  unsigned x;
};
inline Index threadIdx, blockIdx;
inline double shared[8];

namespace emulator {

constexpr unsigned LANES = 256, WARP_LANES = 32;
constexpr size_t STACK = 1 << 16;

enum class State { ready, at_warp, at_block, done };
inline State states[LANES];
// A coroutine is entered once, by its context; from then on it is gone on with where it waits, which takes
// no system call.
inline ucontext_t entries[LANES], made_by;
inline jmp_buf lanes[LANES], scheduler;
inline bool entered[LANES];
inline std::vector<char> stacks(LANES* STACK);
inline std::function<void()> body;
inline double exchange[LANES];

inline void wait(State state) {
  const unsigned lane = threadIdx.x;
  states[lane] = state;
  if (_setjmp(lanes[lane]) == 0) _longjmp(scheduler, 1);
}

// One thread of every block that there will be.
inline void lane() {
  for (;;) {
    body();
    wait(State::done);
  }
}

// Runs a thread of the block until it waits.
inline void resume(unsigned at) {
  threadIdx.x = at;
  if (_setjmp(scheduler) != 0) return;
  if (entered[at]) _longjmp(lanes[at], 1);
  entered[at] = true;
  getcontext(&entries[at]);
  entries[at].uc_stack.ss_sp = &stacks[at * STACK];
  entries[at].uc_stack.ss_size = STACK;
  makecontext(&entries[at], lane, 0);
  swapcontext(&made_by, &entries[at]);
}

// The tensors of a launch, copied to between two pages of which any access ends the process, and back in the
// end; `arguments` point to the copies meanwhile.
class Fenced {
 public:
  Fenced(void** arguments, const size_t* bytes, size_t count, bool falling) {
    for (size_t at = 0; at < count; ++at) {
      void** argument = static_cast<void**>(arguments[at]);
      const size_t len = bytes[at], inner = (len + PAGE - 1) / PAGE * PAGE;
      char* region = static_cast<char*>(
          mmap(nullptr, inner + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
      if (region == MAP_FAILED || mprotect(region + PAGE, inner, PROT_READ | PROT_WRITE) != 0) abort();
      char* copy = region + PAGE + (falling ? 0 : inner - len);
      memcpy(copy, *argument, len);
      tensors.push_back({argument, *argument, region, inner + 2 * PAGE, copy, len});
      *argument = copy;
    }
  }
  ~Fenced() {
    for (Tensor& tensor : tensors) {
      memcpy(tensor.original, tensor.copy, tensor.len);
      *tensor.argument = tensor.original;
      munmap(tensor.region, tensor.size);
    }
  }

 private:
  static constexpr size_t PAGE = 4096;
  struct Tensor {
    void** argument;
    void* original;
    char* region;
    size_t size;
    char* copy;
    size_t len;
  };
  std::vector<Tensor> tensors;
};

// Whether `count` threads from `start` on are all in a state; if so, they go on.
inline bool release(unsigned start, unsigned count, State state) {
  for (unsigned at = start; at < start + count; ++at)
    if (states[at] != state) return false;
  for (unsigned at = start; at < start + count; ++at) states[at] = State::ready;
  return true;
}

// Runs a warp until it waits for others.
inline void run_warp(unsigned start, bool falling) {
  do {
    for (unsigned count = 0; count < WARP_LANES; ++count) {
      const unsigned at = start + (falling ? WARP_LANES - 1 - count : count);
      if (states[at] == State::ready) resume(at);
    }
  } while (release(start, WARP_LANES, State::at_warp));
}

// Whether all threads of the block came to the end. Each warp runs as far as it can before the next one does.
inline bool run_block(bool falling) {
  memset(shared, 0xff, sizeof shared);
  for (State& state : states) state = State::ready;
  do {
    for (unsigned start = 0; start < LANES; start += WARP_LANES)
      run_warp(falling ? LANES - WARP_LANES - start : start, falling);
  } while (release(0, LANES, State::at_block));
  for (State state : states)
    if (state != State::done) return false;
  return true;
}

template <typename... P, size_t... I>
int run(void (*kernel)(P...), unsigned blocks, bool falling, void** arguments, std::index_sequence<I...>) {
  body = [=] { kernel(*static_cast<P*>(arguments[I])...); };
  for (unsigned count = 0; count < blocks; ++count) {
    blockIdx.x = falling ? blocks - 1 - count : count;
    if (run_block(falling)) continue;
    // What waits must not go on in the next launch.
    memset(entered, 0, sizeof entered);
    return 1;
  }
  return 0;
}

template <typename... P>
int launch(void (*kernel)(P...), unsigned blocks, bool falling, void** arguments) {
  return run(kernel, blocks, falling, arguments, std::index_sequence_for<P...>{});
}

}  // namespace emulator

inline void __syncthreads() { emulator::wait(emulator::State::at_block); }

template <typename T>
T __shfl_xor_sync(unsigned, T value, unsigned mask) {
  const unsigned lane = threadIdx.x;
  memcpy(&emulator::exchange[lane], &value, sizeof value);
  emulator::wait(emulator::State::at_warp);
  T other;
  memcpy(&other, &emulator::exchange[lane ^ mask], sizeof other);
  emulator::wait(emulator::State::at_warp);
  return other;
}
