// Runs a launch: the blocks one after another, and the threads of a block in turn, each on its fiber until it waits for others.
#pragma once

#include <algorithm>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "accesses.hpp"
#include "fiber.hpp"
#include "memory.hpp"

// This header comes last: it gives CUDA's meaning to words that the library's headers use.
#include "emulator.hpp"

namespace godiff_emulator {

// True if the kernels are compiled with hooks (hooks.cpp).
#ifdef GODIFF_EMULATOR_CHECKS_ACCESSES
constexpr bool CHECKS_ACCESSES = true;
#else
constexpr bool CHECKS_ACCESSES = false;
#endif

// A power of two, so that the ring of ready threads needs no division.
constexpr unsigned MAX_THREADS = 1024;
constexpr unsigned LANES = 32;
// Far more than any kernel makes, and fewer than a minute's. The limit catches a thread that spins on a flag of another thread, if
// that one cannot run before the first has ended.
constexpr unsigned MAX_ATOMICS_PER_THREAD = 10000000;

enum class State { ready, barrier, lanes, returned };

struct Thread {
    Context context;
    State state;
    Site site;
    unsigned index;
    unsigned n_atomics;
    // The value it brought to the lanes or the barrier where it waits, and the value it will get there.
    Exchange exchange;
    unsigned mask;
    int parameter;
    int width;
    u64 value;
    u64 result;
};

// Order of threads that are all ready to run.
enum Order : int { FORWARD = 0, REVERSE = 1, RANDOM = 2 };

inline bool same_site(Site a, Site b) {
    return a.line == b.line && (a.file == b.file || std::strcmp(a.file, b.file) == 0);
}

inline bool same_meeting(const Thread& a, const Thread& b) {
    return a.exchange == b.exchange && a.mask == b.mask && a.width == b.width && same_site(a.site, b.site);
}

// The file's own name, for sentences.
const char* file_name(const char* path);

struct Launch {
    const Kernel* kernel;
    const void* arguments;
    uint3 grid;
    unsigned threads;
    size_t shared_bytes;
    Order order;
    u64 seed;
};

class Scheduler {
public:
    // True if the launch came to its end; otherwise `text` describes the error.
    bool launch(const Launch& launch, Memory& memory, char* text, size_t capacity);

    // Called by the running thread.
    void wait_at_barrier(Site site, bool value);
    u64 wait_for_lanes(Exchange exchange, unsigned mask, u64 value, int parameter, int width, Site site);
    void note_atomic(void* address, size_t bytes);
    void note_fence();
    void note_access(uintptr_t address, size_t bytes, Access access);
    [[noreturn]] void fail(const char* format, ...) __attribute__((format(printf, 2, 3)));
    // Handles a signal that the running thread has raised; false if it was not a kernel's.
    bool catch_signal(int number, const void* address);
    void* shared_memory() { return shared.data; }
    // Sum of the barrier that the running thread has just passed. It is still valid: the next barrier needs this thread too.
    u64 barrier_sum() const { return last_barrier_sum; }

private:
    static constexpr unsigned NOBODY = MAX_THREADS;

    static void run_thread();
    void run_block();
    Thread& take_ready();
    void make_ready(unsigned first, unsigned count, unsigned mask);
    void run_next(bool gone);
    bool lanes_complete(const Thread& last) const;
    void exchange_values(const Thread& last);
    void describe_standstill();
    void describe(const Thread& thread, char* out, size_t size) const;
    // Only the first report of a launch counts. `thread`: its index, or NOBODY.
    void report(unsigned thread, const char* format, va_list values);
    void report_at(unsigned thread, const char* format, ...) __attribute__((format(printf, 3, 4)));
    u64 next_random();

    Stacks stacks;
    Accesses accesses;
    Context outside;
    std::vector<Thread> threads;
    unsigned ready[MAX_THREADS];  // a ring of thread indices
    unsigned first_ready = 0;
    unsigned n_ready = 0;
    Thread* current = nullptr;

    Launch launched = {};
    unsigned n_threads = 0;
    unsigned n_returned = 0;
    unsigned n_at_barrier = 0;
    u64 last_barrier_sum = 0;
    unsigned n_waiting_lanes[MAX_THREADS / LANES] = {};
    u64 random_state = 1;
    Block shared;
    bool failed = false;
    char* text = nullptr;
    size_t capacity = 0;
};

// The scheduler whose launch runs on this OS thread.
extern __thread Scheduler* running;

// Makes signals that a kernel raises end its launch instead of the process. It may be called more than once.
void catch_signals();

// The kernel of that name, or null.
const Kernel* find_kernel(const char* name);

}  // namespace godiff_emulator
