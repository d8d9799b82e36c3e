// Runs CUDA kernels on the host, so that their source can be tested without a GPU.
//
// One block at a time. Its threads are fibres: each waits at a barrier until all have reached it. The order in
// which they run is reversed at every barrier and block, so that a missing barrier shows.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <limits>
#include <utility>
#include <vector>

#include <ucontext.h>

#define __global__
#define __device__
#define __shared__ static

using std::isnan;
using std::max;
using std::min;

struct Index {
    unsigned x, y, z;
};

inline Index gridDim, blockDim, blockIdx, threadIdx;

namespace host {

struct Fibre {
    ucontext_t context;
    std::vector<char> stack = std::vector<char>(1 << 16);
    bool done;
};

inline ucontext_t scheduler;
inline Fibre* running;
inline std::function<void()> body;
inline int votes;

inline void wait_for_block() { swapcontext(&running->context, &scheduler); }

inline void run_thread() {
    body();
    running->done = true;
}

inline void start(Fibre& fibre) {
    getcontext(&fibre.context);
    fibre.context.uc_stack.ss_sp = fibre.stack.data();
    fibre.context.uc_stack.ss_size = fibre.stack.size();
    fibre.context.uc_link = &scheduler;
    fibre.done = false;
    makecontext(&fibre.context, run_thread, 0);
}

inline void run_until_barrier(std::vector<Fibre>& fibres, bool backwards) {
    for (unsigned i = 0; i < fibres.size(); ++i) {
        threadIdx = {backwards ? static_cast<unsigned>(fibres.size()) - 1 - i : i, 0, 0};
        running = &fibres[threadIdx.x];
        swapcontext(&scheduler, &running->context);
    }
}

// False if some threads have ended while others wait for them.
inline bool run_block(std::vector<Fibre>& fibres) {
    for (Fibre& fibre : fibres) start(fibre);
    for (bool backwards = blockIdx.x % 2;; backwards = !backwards) {
        run_until_barrier(fibres, backwards);
        const auto done = std::count_if(fibres.begin(), fibres.end(), [](const Fibre& fibre) { return fibre.done; });
        if (done) return done == static_cast<long>(fibres.size());
    }
}

enum Outcome { ok, wrong_arguments, torn_barrier };

template <class... Arguments, size_t... I>
Outcome launch(void (*kernel)(Arguments...), unsigned columns, unsigned rows, unsigned threads, void** arguments,
               const std::vector<size_t>& sizes, std::index_sequence<I...>) {
    if (sizes != std::vector<size_t>{sizeof(Arguments)...}) return wrong_arguments;
    body = [=] { kernel(*static_cast<Arguments*>(arguments[I])...); };
    std::vector<Fibre> fibres(threads);
    gridDim = {columns, rows, 1};
    blockDim = {threads, 1, 1};
    for (unsigned row = 0; row < rows; ++row)
        for (unsigned column = 0; column < columns; ++column) {
            blockIdx = {column, row, 0};
            if (!run_block(fibres)) return torn_barrier;
        }
    return ok;
}

template <class... Arguments>
Outcome launch(void (*kernel)(Arguments...), unsigned columns, unsigned rows, unsigned threads, void** arguments,
               const size_t* sizes, size_t count) {
    return launch(kernel, columns, rows, threads, arguments, std::vector<size_t>(sizes, sizes + count),
                  std::index_sequence_for<Arguments...>{});
}

inline int to_int(double rounded) {
    using Limits = std::numeric_limits<int>;
    return std::isnan(rounded)       ? 0
           : rounded <= Limits::min() ? Limits::min()
           : rounded >= Limits::max() ? Limits::max()
                                      : static_cast<int>(rounded);
}

}  // namespace host

inline void __syncthreads() {
    const Index mine = threadIdx;
    host::wait_for_block();
    threadIdx = mine;
}

inline int __syncthreads_or(int vote) {
    host::votes |= vote;
    __syncthreads();
    const int any = host::votes;
    __syncthreads();
    host::votes = 0;
    __syncthreads();
    return any;
}

inline int __double2int_rn(double value) { return host::to_int(std::nearbyint(value)); }
inline int __float2int_rn(float value) { return host::to_int(std::nearbyint(value)); }

#define HOST_LAUNCHER(kernel)                                                                                  \
    extern "C" int launch_##kernel(unsigned columns, unsigned rows, unsigned threads, void** arguments,        \
                                   const size_t* sizes, size_t count) {                                        \
        return host::launch(kernel, columns, rows, threads, arguments, sizes, count);                          \
    }
