// Runs the blocks of a launch one after another and the threads of a block in turn, each on its fiber, until it waits for others.
// Whatever a card would leave undefined, such as a barrier that some threads never reach, ends the launch with a sentence.

#include <algorithm>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "accesses.hpp"
#include "fiber.hpp"
#include "memory.hpp"

// Last: it gives CUDA's meaning to words that the library's headers use.
#include "emulator.hpp"

__thread uint3 threadIdx;
__thread uint3 blockIdx;
__thread uint3 blockDim;
__thread uint3 gridDim;

namespace godiff_emulator {

namespace {

// Whether the kernels are compiled with hooks (hooks.cpp).
#ifdef GODIFF_EMULATOR_CHECKS_ACCESSES
constexpr bool CHECKS_ACCESSES = true;
#else
constexpr bool CHECKS_ACCESSES = false;
#endif

constexpr unsigned MAX_THREADS = 1024;
constexpr unsigned LANES = 32;
// Far more than any kernel makes, fewer than a minute's: a thread that spins until another one, which will not run before the
// first has ended, sets a flag.
constexpr unsigned MAX_ATOMICS_PER_THREAD = 10000000;

std::map<std::string, Kernel>& kernels() {
    static std::map<std::string, Kernel> all;
    return all;
}

enum class State { ready, barrier, lanes, returned };

struct Thread {
    Context context;
    State state;
    Site site;
    unsigned index;
    unsigned n_atomics;
    // What it brought to the lanes or the barrier it waits at, and what it will take away.
    Exchange exchange;
    unsigned mask;
    int parameter;
    int width;
    u64 value;
    u64 result;
};

// Order in which threads that could all run do run.
enum Order : int { FORWARD = 0, REVERSE = 1, RANDOM = 2 };

const char* file_name(const char* path) {
    const char* slash = std::strrchr(path, '/');
    return slash ? slash + 1 : path;
}

// What runs a launch on this OS thread.
class Scheduler {
public:
    // True if the launch came to its end; otherwise `text` says what went wrong.
    bool launch(const Kernel& which, const void* bytes, uint3 grid, unsigned threads, size_t shared_bytes, Order in_order, u64 seed_,
                Memory& memory, char* text_, size_t capacity_);

    // Called by the running thread.
    void wait_at_barrier(Site site, bool value);
    u64 wait_for_lanes(Exchange exchange, unsigned mask, u64 value, int parameter, int width, Site site);
    void note_atomic(void* address, size_t bytes);
    void note_fence();
    void note_access(uintptr_t address, size_t bytes, Access access);
    [[noreturn]] void fail(const char* format, ...) __attribute__((format(printf, 2, 3)));
    // A signal that the running thread has raised; false if it was none of a kernel's.
    bool catch_signal(int number, const void* address);
    void* shared_memory() { return shared.data; }
    // Of the barrier that the running thread has just passed: the next one is not complete without it.
    u64 barrier_sum() const { return last_barrier_sum; }

private:
    static void run_thread();
    bool run_block();
    void make_ready(unsigned first, unsigned count, unsigned mask);
    void run_next(bool gone);
    bool lanes_complete(const Thread& last) const;
    void exchange_values(const Thread& last);
    void describe_standstill();
    void describe(const Thread& thread, char* out, size_t size) const;
    void report(unsigned thread, const char* format, va_list arguments);
    void report_at(unsigned thread, const char* format, ...) __attribute__((format(printf, 3, 4)));
    u64 next_random();

    Stacks stacks;
    Accesses accesses;
    Context outside;
    std::vector<Thread> threads;
    std::vector<unsigned> ready;  // a ring of thread indices
    size_t first_ready = 0;
    size_t n_ready = 0;
    Thread* current = nullptr;

    const Kernel* kernel = nullptr;
    const void* arguments = nullptr;
    unsigned n_threads = 0;
    unsigned n_returned = 0;
    unsigned n_at_barrier = 0;
    u64 last_barrier_sum = 0;
    Order order = FORWARD;
    u64 random_state = 1;
    Block shared;
    bool failed = false;
    char* text = nullptr;
    size_t capacity = 0;
};

// The one whose launch runs on this OS thread.
__thread Scheduler* running = nullptr;


u64 Scheduler::next_random() {
    // xorshift64*, Vigna 2016.
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * 2685821657736338717ull;
}

// Queues those of the `count` threads from `first` on whose bit is in `mask` (bit i % 32).
void Scheduler::make_ready(unsigned first, unsigned count, unsigned mask) {
    const size_t before = n_ready;
    for (unsigned i = 0; i < count; ++i) {
        const unsigned index = order == REVERSE ? first + count - 1 - i : first + i;
        if (mask >> (index % LANES) & 1u) {
            threads[index].state = State::ready;
            ready[(first_ready + n_ready++) % ready.size()] = index;
        }
    }
    if (order == RANDOM) {
        for (size_t i = n_ready; i > before + 1; --i) {
            const size_t j = before + next_random() % (i - before);
            std::swap(ready[(first_ready + i - 1) % ready.size()], ready[(first_ready + j) % ready.size()]);
        }
    }
}

// Leaves the running thread for the next one that can run, or for the outside where there is none.
void Scheduler::run_next(bool gone) {
    Thread* self = current;
    Context* next = &outside;
    if (n_ready > 0) {
        Thread& thread = threads[ready[first_ready]];
        first_ready = (first_ready + 1) % ready.size();
        --n_ready;
        if (&thread == self) {
            return;
        }
        current = &thread;
        threadIdx.x = thread.index;
        next = &thread.context;
    }
    if (gone) {
        abandon_context(self->context, *next);
    }
    switch_context(self->context, *next);
}

void Scheduler::run_thread() {
    Scheduler& self = *running;
    arrived_on_fiber(self.outside);
    self.kernel->run(self.arguments);
    self.current->state = State::returned;
    ++self.n_returned;
    self.run_next(true);
}

bool Scheduler::run_block() {
    n_returned = 0;
    n_at_barrier = 0;
    first_ready = 0;
    n_ready = 0;
    for (unsigned i = 0; i < n_threads; ++i) {
        Thread& thread = threads[i];
        thread.index = i;
        thread.n_atomics = 0;
        stacks.prepare(i, thread.context, run_thread);
    }
    make_ready(0, n_threads, ~0u);
    Thread& thread = threads[ready[first_ready]];
    first_ready = (first_ready + 1) % ready.size();
    --n_ready;
    current = &thread;
    threadIdx = {thread.index, 0, 0};
    switch_context(outside, thread.context);
    if (!failed && n_returned < n_threads) {
        describe_standstill();
    }
    current = nullptr;
    return !failed;
}

bool Scheduler::launch(const Kernel& which, const void* bytes, uint3 grid, unsigned threads_per_block, size_t shared_bytes, Order in_order,
                       u64 seed, Memory& memory, char* text_, size_t capacity_) {
    kernel = &which;
    arguments = bytes;
    n_threads = threads_per_block;
    order = in_order;
    random_state = seed * 2 + 1;
    text = text_;
    capacity = capacity_;
    failed = false;
    if (threads.size() < n_threads) {
        threads.resize(n_threads);
    }
    ready.resize(n_threads);
    gridDim = grid;
    blockDim = {n_threads, 1, 1};
    shared = allocate_block(shared_bytes);
    if (CHECKS_ACCESSES) {
        accesses.begin_launch(memory, shared, n_threads);
    }
    for (unsigned y = 0; y < grid.y && !failed; ++y) {
        for (unsigned x = 0; x < grid.x && !failed; ++x) {
            blockIdx = order == REVERSE ? uint3{grid.x - 1 - x, grid.y - 1 - y, 0} : uint3{x, y, 0};
            if (x + y > 0) {
                fill_with_nan(shared.data, shared.bytes);
            }
            if (CHECKS_ACCESSES) {
                accesses.begin_block(blockIdx.x, blockIdx.y);
            }
            if (!run_block()) {
                break;
            }
            if (const long distance = overrun(shared)) {
                report_at(MAX_THREADS, "wrote %ld bytes %s its %zu bytes of shared memory", std::labs(distance),
                          distance > 0 ? "past the end of" : "before the start of", shared.bytes);
            }
        }
    }
    free_block(shared);
    shared = {};
    char damage[256];
    if (memory.find_damage(damage, sizeof damage) && !failed) {
        std::snprintf(text, capacity, "kernel %s %s", kernel->name, damage);
        failed = true;
    }
    return !failed;
}

// ---- Waiting ----

void Scheduler::wait_at_barrier(Site site, bool value) {
    Thread& self = *current;
    self.state = State::barrier;
    self.site = site;
    self.value = value;
    if (++n_at_barrier == n_threads) {
        u64 sum = 0;
        bool same = true;
        for (unsigned i = 0; i < n_threads; ++i) {
            sum += threads[i].value;
            same = same && threads[i].site.line == site.line && std::strcmp(threads[i].site.file, site.file) == 0;
        }
        if (!same) {
            describe_standstill();
            current = nullptr;
            abandon_context(self.context, outside);
        }
        last_barrier_sum = sum;
        n_at_barrier = 0;
        if (CHECKS_ACCESSES) {
            accesses.pass_barrier();
        }
        make_ready(0, n_threads, ~0u);
    }
    run_next(false);
}

bool same_meeting(const Thread& a, const Thread& b) {
    return a.exchange == b.exchange && a.mask == b.mask && a.width == b.width && a.site.line == b.site.line &&
           std::strcmp(a.site.file, b.site.file) == 0;
}

bool Scheduler::lanes_complete(const Thread& last) const {
    const unsigned first = last.index / LANES * LANES;
    for (unsigned lane = 0; lane < LANES; ++lane) {
        if (last.mask >> lane & 1u) {
            if (first + lane >= n_threads) {
                return false;
            }
            const Thread& thread = threads[first + lane];
            if (thread.state != State::lanes || !same_meeting(thread, last)) {
                return false;
            }
        }
    }
    return true;
}

// Gives each lane that has met what it asked for. The source lanes follow the definition of __shfl_*_sync in the CUDA C++ Programming
// Guide; a lane outside of the mask has no value to give.
void Scheduler::exchange_values(const Thread& last) {
    Thread* warp = &threads[last.index / LANES * LANES];
    unsigned votes = 0;
    for (unsigned lane = 0; lane < LANES; ++lane) {
        if (last.mask >> lane & 1u) {
            votes |= static_cast<unsigned>(warp[lane].value & 1) << lane;
        }
    }
    for (unsigned lane = 0; lane < LANES; ++lane) {
        if (!(last.mask >> lane & 1u)) {
            continue;
        }
        Thread& thread = warp[lane];
        const int width = thread.width;
        const int here = static_cast<int>(lane);
        const int segment = here / width * width;
        int source = here;
        switch (thread.exchange) {
        case Exchange::sync: continue;
        case Exchange::ballot: thread.result = votes; continue;
        case Exchange::index: source = segment + (thread.parameter & (width - 1)); break;
        // Into an earlier segment it reads, into a later one it does not.
        case Exchange::exclusive_or: source = (here ^ thread.parameter) < segment + width ? here ^ thread.parameter : here; break;
        case Exchange::down: source = here + thread.parameter < segment + width ? here + thread.parameter : here; break;
        case Exchange::up: source = here - thread.parameter >= segment ? here - thread.parameter : here; break;
        }
        if (source < 0 || source >= static_cast<int>(LANES) || !(last.mask >> source & 1u)) {
            fail("reads lane %d in a shuffle at %s:%d whose mask 0x%08x does not name it", source, file_name(thread.site.file),
                 thread.site.line, last.mask);
        }
        thread.result = warp[source].value;
    }
}

u64 Scheduler::wait_for_lanes(Exchange exchange, unsigned mask, u64 value, int parameter, int width, Site site) {
    Thread& self = *current;
    self.state = State::lanes;
    self.site = site;
    self.exchange = exchange;
    self.mask = mask;
    self.value = value;
    self.parameter = parameter;
    self.width = width;
    self.result = 0;
    if (!(mask >> (self.index % LANES) & 1u)) {
        fail("calls with mask 0x%08x, which does not name its own lane %u, at %s:%d", mask, self.index % LANES, file_name(site.file),
             site.line);
    }
    if (width < 1 || width > static_cast<int>(LANES) || (width & (width - 1)) != 0) {
        fail("shuffles with width %d, which is no power of two up to 32, at %s:%d", width, file_name(site.file), site.line);
    }
    if (lanes_complete(self)) {
        exchange_values(self);
        if (CHECKS_ACCESSES && exchange == Exchange::sync) {
            accesses.meet_lanes(self.index / LANES * LANES, mask);
        }
        make_ready(self.index / LANES * LANES, std::min(LANES, n_threads - self.index / LANES * LANES), mask);
    }
    run_next(false);
    return self.result;
}

void Scheduler::note_atomic(void* address, size_t bytes) {
    if (++current->n_atomics > MAX_ATOMICS_PER_THREAD) {
        fail("makes atomic operations without end: it waits for a thread that runs only after it");
    }
    if (CHECKS_ACCESSES) {
        note_access(reinterpret_cast<uintptr_t>(address), bytes, Access::atomic);
    }
}

void Scheduler::note_fence() {
    if (CHECKS_ACCESSES) {
        accesses.fence(current->index);
    }
}

// Variables of the thread's own need no check: those on its stack, the arguments, threadIdx and its like.
void Scheduler::note_access(uintptr_t address, size_t bytes, Access access) {
    const auto within = [=](const void* start, size_t n) { return address - reinterpret_cast<uintptr_t>(start) < n; };
    if (!current || within(current->context.stack_bottom, current->context.stack_bytes) ||
        within(arguments, kernel->argument_bytes) || within(&threadIdx, sizeof threadIdx) ||
        within(&blockIdx, sizeof blockIdx) || within(&blockDim, sizeof blockDim) || within(&gridDim, sizeof gridDim)) {
        return;
    }
    char problem[256];
    if (!accesses.allows(current->index, address, bytes, access, problem, sizeof problem)) {
        fail("%s", problem);
    }
}

// ---- What went wrong ----

// The address sanitizer reports these itself, with more detail.
#ifdef GODIFF_ADDRESS_SANITIZER
constexpr bool CATCHES_SIGNALS = false;
#else
constexpr bool CATCHES_SIGNALS = true;
#endif
constexpr int SIGNALS[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
struct sigaction handlers_before[4];

// A kernel's wild address ends the launch, not the process. The handler runs on the signal stack that Rust gives its threads, and leaves
// it for good: a fault of a kernel is inside of no library call.
void handle_signal(int number, siginfo_t* info, void*) {
    if (running && running->catch_signal(number, info->si_addr)) {
        return;
    }
    // Somebody else's: it comes again at once, to who was there before.
    for (size_t i = 0; i < 4; ++i) {
        if (SIGNALS[i] == number) {
            sigaction(number, &handlers_before[i], nullptr);
        }
    }
}

void catch_signals() {
    static const bool installed = [] {
        for (size_t i = 0; CATCHES_SIGNALS && i < 4; ++i) {
            struct sigaction action = {};
            action.sa_sigaction = handle_signal;
            action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
            sigaction(SIGNALS[i], &action, &handlers_before[i]);
        }
        return true;
    }();
    (void)installed;
}

bool Scheduler::catch_signal(int number, const void* address) {
    if (!current) {
        return false;
    }
    const char* below = static_cast<const char*>(current->context.stack_bottom);
    const char* at = static_cast<const char*>(address);
    if (number == SIGFPE) {
        fail("divides an integer by zero");
    }
    if (number == SIGILL) {
        fail("accesses memory that is not aligned as its type needs");  // so the kernels are compiled: build/emulator.rs
    }
    if (at < below && below - at <= static_cast<long>(Stacks::GUARD_BYTES)) {
        fail("needs more than the emulator's %zu bytes of stack", Stacks::STACK_BYTES);
    }
    fail("touches memory at %p, which it may not", address);
}

void Scheduler::report(unsigned thread, const char* format, va_list values) {
    if (failed) {
        return;
    }
    failed = true;
    int written = std::snprintf(text, capacity, "kernel %s, block (%u, %u)", kernel->name, blockIdx.x, blockIdx.y);
    if (thread < MAX_THREADS) {
        written += std::snprintf(text + written, capacity - static_cast<size_t>(written), ", thread %u", thread);
    }
    written += std::snprintf(text + written, capacity - static_cast<size_t>(written), " ");
    std::vsnprintf(text + written, capacity - static_cast<size_t>(written), format, values);
}

void Scheduler::report_at(unsigned thread, const char* format, ...) {
    va_list values;
    va_start(values, format);
    report(thread, format, values);
    va_end(values);
}

void Scheduler::fail(const char* format, ...) {
    va_list values;
    va_start(values, format);
    report(current->index, format, values);
    va_end(values);
    Thread& self = *current;
    current = nullptr;
    abandon_context(self.context, outside);
    std::abort();
}

void Scheduler::describe(const Thread& thread, char* out, size_t size) const {
    switch (thread.state) {
    case State::returned: std::snprintf(out, size, "has returned"); break;
    case State::barrier: std::snprintf(out, size, "waits at the barrier %s:%d", file_name(thread.site.file), thread.site.line); break;
    case State::lanes:
        std::snprintf(out, size, "waits for lanes 0x%08x at %s:%d", thread.mask, file_name(thread.site.file), thread.site.line);
        break;
    case State::ready: std::snprintf(out, size, "has not got there"); break;
    }
}

// No thread can go on: says which one waits in vain, and for whom.
void Scheduler::describe_standstill() {
    char waits[256], other[256];
    for (const State kind : {State::lanes, State::barrier}) {
        for (unsigned i = 0; i < n_threads; ++i) {
            const Thread& thread = threads[i];
            if (thread.state != kind) {
                continue;
            }
            describe(thread, waits, sizeof waits);
            const unsigned warp = i / LANES * LANES;
            for (unsigned j = kind == State::lanes ? warp : 0; j < (kind == State::lanes ? warp + LANES : n_threads); ++j) {
                if (kind == State::lanes && !(thread.mask >> (j % LANES) & 1u)) {
                    continue;
                }
                if (j >= n_threads) {
                    report_at(i, "%s, but the block has only %u threads", waits, n_threads);
                    return;
                }
                const Thread& missing = threads[j];
                const bool meets = missing.state == kind && (kind == State::lanes ? same_meeting(missing, thread)
                                                                                 : missing.site.line == thread.site.line &&
                                                                                       !std::strcmp(missing.site.file, thread.site.file));
                if (!meets) {
                    describe(missing, other, sizeof other);
                    report_at(i, "%s, but thread %u %s", waits, j, other);
                    return;
                }
            }
        }
    }
    report_at(MAX_THREADS, "came to a standstill");
}

}  // namespace

// ---- What kernels call ----

Registration::Registration(const Kernel& kernel) {
    kernels().emplace(kernel.name, kernel);
}

void barrier(Site site) {
    running->wait_at_barrier(site, false);
}

int barrier_count(bool value, Site site) {
    running->wait_at_barrier(site, value);
    return static_cast<int>(running->barrier_sum());
}

u64 exchange_lanes(Exchange exchange, unsigned mask, u64 value, int parameter, int width, Site site) {
    return running->wait_for_lanes(exchange, mask, value, parameter, width, site);
}

void* shared_memory_of_block() {
    return running->shared_memory();
}

void note_access(const volatile void* address, size_t bytes, Access access) {
    if (running) {
        running->note_access(reinterpret_cast<uintptr_t>(address), bytes, access);
    }
}

}  // namespace godiff_emulator

// ---- Atomics: fibers switch nowhere in between, so plain arithmetic is atomic ----

#define GODIFF_ATOMIC(name, T, expression)           \
    T name(T* address, T value) {                    \
        godiff_emulator::running->note_atomic(address, sizeof(T)); \
        const T old = *address;                      \
        *address = expression;                       \
        return old;                                  \
    }
#define GODIFF_ATOMICS(T)                                       \
    GODIFF_ATOMIC(atomicAdd, T, static_cast<T>(static_cast<u64>(old) + static_cast<u64>(value))) \
    GODIFF_ATOMIC(atomicSub, T, static_cast<T>(static_cast<u64>(old) - static_cast<u64>(value))) \
    GODIFF_ATOMIC(atomicMin, T, value < old ? value : old)      \
    GODIFF_ATOMIC(atomicMax, T, old < value ? value : old)      \
    GODIFF_ATOMIC(atomicAnd, T, old & value)                    \
    GODIFF_ATOMIC(atomicOr, T, old | value)                     \
    GODIFF_ATOMIC(atomicXor, T, old ^ value)                    \
    GODIFF_ATOMIC(atomicExch, T, value)                         \
    T atomicCAS(T* address, T expected, T value) {              \
        godiff_emulator::running->note_atomic(address, sizeof(T));            \
        const T old = *address;                                 \
        *address = old == expected ? value : old;               \
        return old;                                             \
    }
GODIFF_ATOMICS(int)
GODIFF_ATOMICS(unsigned)
GODIFF_ATOMICS(u64)

// One thread runs at a time, and the compiler cannot see through these calls.
void __threadfence() {
    godiff_emulator::running->note_fence();
}
void __threadfence_block() {}
void __threadfence_system() {
    godiff_emulator::running->note_fence();
}

// ---- What Rust calls ----

namespace {

enum Outcome : int { DONE = 0, REFUSED = 1, FAULT = 2 };

}  // namespace

extern "C" {

godiff_emulator::Memory* godiff_emulator_memory_new() {
    return new godiff_emulator::Memory();
}

void godiff_emulator_memory_delete(godiff_emulator::Memory* memory) {
    delete memory;
}

uint64_t godiff_emulator_allocate(godiff_emulator::Memory* memory, size_t bytes) {
    return memory->allocate(bytes);
}

bool godiff_emulator_free(godiff_emulator::Memory* memory, uint64_t address) {
    return memory->free(address);
}

// The copies answer false where a range is not within one allocation.
bool godiff_emulator_write(godiff_emulator::Memory* memory, uint64_t to, const void* from, size_t bytes) {
    if (!memory->holds(to, bytes)) {
        return false;
    }
    std::memcpy(reinterpret_cast<void*>(to), from, bytes);
    return true;
}

bool godiff_emulator_read(godiff_emulator::Memory* memory, uint64_t from, void* to, size_t bytes) {
    if (!memory->holds(from, bytes)) {
        return false;
    }
    std::memcpy(to, reinterpret_cast<const void*>(from), bytes);
    return true;
}

bool godiff_emulator_copy(godiff_emulator::Memory* memory, uint64_t from, uint64_t to, size_t bytes) {
    if (!memory->holds(from, bytes) || !memory->holds(to, bytes)) {
        return false;
    }
    std::memmove(reinterpret_cast<void*>(to), reinterpret_cast<const void*>(from), bytes);
    return true;
}

bool godiff_emulator_fill_zero(godiff_emulator::Memory* memory, uint64_t address, size_t bytes) {
    if (!memory->holds(address, bytes)) {
        return false;
    }
    std::memset(reinterpret_cast<void*>(address), 0, bytes);
    return true;
}

struct GodiffEmulatorLaunch {
    const char* kernel;
    const void* arguments;
    uint64_t argument_bytes;
    uint64_t seed;
    uint32_t blocks_x;
    uint32_t blocks_y;
    uint32_t threads;
    uint32_t shared_bytes;
    int32_t order;
};

// Runs a launch to its end. Unless it is DONE, `text` holds a sentence.
int godiff_emulator_launch(godiff_emulator::Memory* memory, const GodiffEmulatorLaunch* launch, char* text, size_t capacity) {
    using namespace godiff_emulator;
    const auto found = kernels().find(launch->kernel);
    if (found == kernels().end()) {
        std::snprintf(text, capacity, "there is no kernel '%s'", launch->kernel);
        return REFUSED;
    }
    const Kernel& kernel = found->second;
    if (launch->argument_bytes != kernel.argument_bytes) {
        std::snprintf(text, capacity, "kernel %s takes %u bytes of arguments and was given %llu", kernel.name, kernel.argument_bytes,
                      static_cast<unsigned long long>(launch->argument_bytes));
        return REFUSED;
    }
    if (launch->threads == 0 || launch->threads > kernel.max_threads || launch->threads > MAX_THREADS) {
        std::snprintf(text, capacity, "kernel %s runs with 1 to %u threads a block and was given %u", kernel.name, kernel.max_threads,
                      launch->threads);
        return REFUSED;
    }
    static thread_local Scheduler scheduler;
    running = &scheduler;
    catch_signals();
    const bool done = scheduler.launch(kernel, launch->arguments, {launch->blocks_x, launch->blocks_y, 1}, launch->threads,
                                         launch->shared_bytes, static_cast<Order>(launch->order), launch->seed, *memory, text, capacity);
    running = nullptr;
    return done ? DONE : FAULT;
}

}  // extern "C"
