// Functions that Rust calls (ffi.rs), and the list of kernels.

#include <map>
#include <string>

#include "scheduler.hpp"

namespace godiff_emulator {

namespace {

std::map<std::string, Kernel>& kernels() {
    static std::map<std::string, Kernel> all;
    return all;
}

}  // namespace

Registration::Registration(const Kernel& kernel) {
    kernels().emplace(kernel.name, kernel);
}

const Kernel* find_kernel(const char* name) {
    const auto found = kernels().find(name);
    return found == kernels().end() ? nullptr : &found->second;
}

}  // namespace godiff_emulator

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

// The copies return false if a range is not within one allocation.
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
    const Kernel* found = find_kernel(launch->kernel);
    if (!found) {
        std::snprintf(text, capacity, "there is no kernel '%s'", launch->kernel);
        return REFUSED;
    }
    const Kernel& kernel = *found;
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
    const Launch one = {&kernel,          launch->arguments,    {launch->blocks_x, launch->blocks_y, 1},
                        launch->threads,  launch->shared_bytes, static_cast<Order>(launch->order),
                        launch->seed};
    const bool done = scheduler.launch(one, *memory, text, capacity);
    running = nullptr;
    return done ? DONE : FAULT;
}

}  // extern "C"
