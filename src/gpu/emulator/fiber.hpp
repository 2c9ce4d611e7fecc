// Fibers: many stacks on one OS thread, switched by hand. This file is independent of CUDA.
#pragma once

#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#define GODIFF_ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define GODIFF_ADDRESS_SANITIZER 1
#endif
#endif

namespace godiff_emulator {

// A place to return to: that of a fiber, or that of a thread's own stack when it entered a fiber.
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

// Must be called first on a fiber's stack. `entered_from` gets the bounds of the stack that was left, if the sanitizer knows them.
void arrived_on_fiber(Context& entered_from);

// Stacks with a guard page below each, kept for the next use.
class Stacks {
public:
    Stacks() = default;
    Stacks(const Stacks&) = delete;
    Stacks& operator=(const Stacks&) = delete;
    ~Stacks();

    // Makes `context` start `entry` on stack `index`; an earlier fiber on that stack does not matter. `entry` must not return.
    void prepare(size_t index, Context& context, void (*entry)());

    // Must be called after fibers were left for ever in the middle of their calls: the address sanitizer then forgets their
    // variables.
    void forget();

    // The address sanitizer's frames are larger.
#ifdef GODIFF_ADDRESS_SANITIZER
    static constexpr size_t STACK_BYTES = 256 * 1024;
#else
    static constexpr size_t STACK_BYTES = 64 * 1024;
#endif
    static constexpr size_t GUARD_BYTES = 64 * 1024;  // a multiple of every page size that Linux uses

private:
    char* stack(size_t index);

    static constexpr size_t STRIDE = STACK_BYTES + GUARD_BYTES;

    static constexpr size_t PER_CHUNK = 64;
    static constexpr size_t MAX_CHUNKS = 16;
    char* chunks[MAX_CHUNKS] = {};
};

}  // namespace godiff_emulator
