// Runs the blocks of a launch one after another and the threads of a block in turn, each on its fiber, until it waits for others.
// Behaviour that is undefined on a card, such as a barrier that some threads never reach, ends the launch with a sentence.

#include "scheduler.hpp"

#include <numeric>

__thread uint3 threadIdx;
__thread uint3 blockIdx;
__thread uint3 blockDim;
__thread uint3 gridDim;

namespace godiff_emulator {

__thread Scheduler* running = nullptr;

u64 Scheduler::next_random() {
    // xorshift64*, Vigna 2016.
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * 2685821657736338717ull;
}

// Queues the threads whose bit is in `mask` (bit i % 32), among the `count` threads from `first` on.
void Scheduler::make_ready(unsigned first, unsigned count, unsigned mask) {
    const unsigned before = n_ready;
    for (unsigned i = 0; i < count; ++i) {
        const unsigned index = launched.order == REVERSE ? first + count - 1 - i : first + i;
        if (mask >> (index % LANES) & 1u) {
            threads[index].state = State::ready;
            ready[(first_ready + n_ready++) % MAX_THREADS] = index;
        }
    }
    if (launched.order == RANDOM) {
        for (unsigned i = n_ready; i > before + 1; --i) {
            const unsigned j = before + static_cast<unsigned>(next_random() % (i - before));
            std::swap(ready[(first_ready + i - 1) % MAX_THREADS], ready[(first_ready + j) % MAX_THREADS]);
        }
    }
}

// Switches from the running thread to the next one that can run, or to the outside if there is none.
void Scheduler::run_next(bool gone) {
    Thread* self = current;
    Context* next = &outside;
    if (n_ready > 0) {
        Thread& thread = take_ready();
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
    self.launched.kernel->run(self.launched.arguments);
    self.current->state = State::returned;
    ++self.n_returned;
    self.run_next(true);
}

Thread& Scheduler::take_ready() {
    Thread& thread = threads[ready[first_ready]];
    first_ready = (first_ready + 1) % MAX_THREADS;
    --n_ready;
    return thread;
}

void Scheduler::run_block() {
    n_returned = 0;
    n_at_barrier = 0;
    std::fill(std::begin(n_waiting_lanes), std::end(n_waiting_lanes), 0u);
    first_ready = 0;
    n_ready = 0;
    for (unsigned i = 0; i < n_threads; ++i) {
        Thread& thread = threads[i];
        thread.index = i;
        thread.n_atomics = 0;
        stacks.prepare(i, thread.context, run_thread);
    }
    if (CHECKS_ACCESSES) {
        accesses.begin_block(blockIdx.x, blockIdx.y);
    }
    make_ready(0, n_threads, ~0u);
    current = &take_ready();
    threadIdx = {current->index, 0, 0};
    switch_context(outside, current->context);
    if (n_returned < n_threads) {
        describe_standstill();
    }
    current = nullptr;
    if (const long distance = overrun(shared)) {
        report_at(NOBODY, "wrote %ld bytes %s its %zu bytes of shared memory", std::labs(distance),
                  distance > 0 ? "past the end of" : "before the start of", shared.bytes);
    }
}

bool Scheduler::launch(const Launch& launch, Memory& memory, char* text_, size_t capacity_) {
    launched = launch;
    n_threads = launch.threads;
    random_state = launch.seed * 2 + 1;
    text = text_;
    capacity = capacity_;
    failed = false;
    threads.resize(std::max<size_t>(threads.size(), n_threads));
    gridDim = launch.grid;
    blockDim = {n_threads, 1, 1};
    shared = allocate_block(launch.shared_bytes);
    if (CHECKS_ACCESSES) {
        accesses.begin_launch(memory, shared, n_threads);
    }
    const u64 n_blocks = u64(launch.grid.x) * launch.grid.y;
    // Random order: a random start, and a stride that visits every block once.
    u64 first = 0, stride = 1;
    if (launch.order == RANDOM) {
        first = next_random() % n_blocks;
        do {
            stride = 1 + next_random() % n_blocks;
        } while (std::gcd(stride, n_blocks) != 1);
    }
    for (u64 i = 0; i < n_blocks && !failed; ++i) {
        const u64 block = launch.order == REVERSE ? n_blocks - 1 - i : (first + i * stride) % n_blocks;
        blockIdx = {static_cast<unsigned>(block % launch.grid.x), static_cast<unsigned>(block / launch.grid.x), 0};
        if (i > 0) {
            fill_with_nan(shared.data, shared.bytes);
        }
        run_block();
    }
    if (failed) {
        stacks.forget();
    }
    free_block(shared);
    shared = {};
    char damage[256];
    if (memory.find_damage(damage, sizeof damage) && !failed) {
        std::snprintf(text, capacity, "kernel %s %s", launch.kernel->name, damage);
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
            same = same && same_site(threads[i].site, site);
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

// Gives each lane that has met the value it asked for. The source lanes follow the definition of __shfl_*_sync in the CUDA C++
// Programming Guide; a lane outside the mask has no value to give.
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
        // A lane reads from an earlier segment, but not from a later one.
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
    unsigned& n_waiting = n_waiting_lanes[self.index / LANES];
    const unsigned n_named = static_cast<unsigned>(__builtin_popcount(mask));
    if (++n_waiting >= n_named && lanes_complete(self)) {
        n_waiting -= n_named;
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

// The thread's own variables need no check: those on its stack, the arguments, threadIdx and the like.
void Scheduler::note_access(uintptr_t address, size_t bytes, Access access) {
    const auto within = [=](const void* start, size_t n) { return address - reinterpret_cast<uintptr_t>(start) < n; };
    if (!current || within(current->context.stack_bottom, current->context.stack_bytes) ||
        within(launched.arguments, launched.kernel->argument_bytes) || within(&threadIdx, sizeof threadIdx) ||
        within(&blockIdx, sizeof blockIdx) || within(&blockDim, sizeof blockDim) || within(&gridDim, sizeof gridDim)) {
        return;
    }
    char problem[256];
    if (!accesses.allows(current->index, address, bytes, access, problem, sizeof problem)) {
        fail("%s", problem);
    }
}


}  // namespace godiff_emulator
