// Fibers: many stacks on one OS thread, switched by hand. Knows nothing of CUDA.
#pragma once

#include <cstddef>

namespace godiff_emulator {

// A place to come back to: a fiber's, or the one that a thread's own stack had when it entered a fiber.
struct Context {
    void* stack_pointer = nullptr;
    // Bounds of its stack, for the address sanitizer.
    const void* stack_bottom = nullptr;
    size_t stack_bytes = 0;
    void* fake_stack = nullptr;
};

// Leaves `from` for `to`; returns when something switches to `from`.
void switch_context(Context& from, Context& to);

// Leaves `from` for ever.
void abandon_context(Context& from, Context& to);

// To be called first on a fiber's stack. `entered_from` gets the bounds of the stack that was left, where the sanitizer knows them.
void arrived_on_fiber(Context& entered_from);

// Stacks with a guard page below each, kept for the next use.
class Stacks {
public:
    Stacks() = default;
    Stacks(const Stacks&) = delete;
    Stacks& operator=(const Stacks&) = delete;
    ~Stacks();

    // Makes `context` start `entry` on stack `index`, whatever ran there before. `entry` must not return.
    void prepare(size_t index, Context& context, void (*entry)());

    // Whether `address` lies on stack `index`.
    bool holds(size_t index, const void* address) const;

private:
    char* stack(size_t index);

    static constexpr size_t PER_CHUNK = 64;
    static constexpr size_t MAX_CHUNKS = 16;
    char* chunks[MAX_CHUNKS] = {};
};

}  // namespace godiff_emulator
