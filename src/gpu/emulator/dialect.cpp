// The functions of emulator.hpp and hooks.cpp that kernels call.

#include "scheduler.hpp"

namespace godiff_emulator {

namespace {

// True if GODIFF_EMULATOR_WITHOUT=FILE:LINE names the barrier at `site`. It is then left out: scripts/barriers tests that each is
// needed.
bool left_out([[maybe_unused]] Site site) {
    if constexpr (CHECKS_ACCESSES) {
        static const char* const without = std::getenv("GODIFF_EMULATOR_WITHOUT");
        if (without) {
            char here[256];
            std::snprintf(here, sizeof here, "%s:%d", file_name(site.file), site.line);
            return std::strcmp(here, without) == 0;
        }
    }
    return false;
}

}  // namespace

void barrier(Site site) {
    if (!left_out(site)) {
        running->wait_at_barrier(site, false);
    }
}

int barrier_count(bool value, Site site) {
    running->wait_at_barrier(site, value);
    return static_cast<int>(running->barrier_sum());
}

u64 exchange_lanes(Exchange exchange, unsigned mask, u64 value, int parameter, int width, Site site) {
    if (exchange == Exchange::sync && left_out(site)) {
        return 0;
    }
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
