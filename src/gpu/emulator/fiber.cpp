#include "fiber.hpp"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <sys/mman.h>
#include <unistd.h>

#ifdef GODIFF_ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

// godiff_emulator_swap(save, to): pushes the registers that a call must preserve, stores the stack pointer in *save, takes `to` for
// it and pops. The floating-point control words stay: kernels do not change them.
#if defined(__x86_64__)
asm(R"(
.text
.globl godiff_emulator_swap
.hidden godiff_emulator_swap
.type godiff_emulator_swap, @function
godiff_emulator_swap:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size godiff_emulator_swap, . - godiff_emulator_swap
)");
#elif defined(__aarch64__)
asm(R"(
.text
.globl godiff_emulator_swap
.hidden godiff_emulator_swap
.type godiff_emulator_swap, %function
godiff_emulator_swap:
    sub sp, sp, #160
    stp x19, x20, [sp, #0]
    stp x21, x22, [sp, #16]
    stp x23, x24, [sp, #32]
    stp x25, x26, [sp, #48]
    stp x27, x28, [sp, #64]
    stp x29, x30, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    mov x9, sp
    str x9, [x0]
    mov sp, x1
    ldp x19, x20, [sp, #0]
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp x29, x30, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    add sp, sp, #160
    ret
.size godiff_emulator_swap, . - godiff_emulator_swap
)");
#else
#error "the emulator switches stacks on x86-64 and aarch64 only"
#endif

extern "C" void godiff_emulator_swap(void** save, void* to);

namespace godiff_emulator {

void switch_context(Context& from, Context& to) {
#ifdef GODIFF_ADDRESS_SANITIZER
    __sanitizer_start_switch_fiber(&from.fake_stack, to.stack_bottom, to.stack_bytes);
#endif
    godiff_emulator_swap(&from.stack_pointer, to.stack_pointer);
#ifdef GODIFF_ADDRESS_SANITIZER
    __sanitizer_finish_switch_fiber(from.fake_stack, nullptr, nullptr);
#endif
}

void abandon_context(Context& from, Context& to) {
#ifdef GODIFF_ADDRESS_SANITIZER
    __sanitizer_start_switch_fiber(nullptr, to.stack_bottom, to.stack_bytes);
#endif
    godiff_emulator_swap(&from.stack_pointer, to.stack_pointer);
    std::abort();
}

void arrived_on_fiber(Context& entered_from) {
#ifdef GODIFF_ADDRESS_SANITIZER
    const void* bottom = nullptr;
    size_t bytes = 0;
    __sanitizer_finish_switch_fiber(nullptr, &bottom, &bytes);
    if (!entered_from.stack_bottom) {
        entered_from.stack_bottom = bottom;
        entered_from.stack_bytes = bytes;
    }
#else
    (void)entered_from;
#endif
}

Stacks::~Stacks() {
    for (char* chunk : chunks) {
        if (chunk) {
            munmap(chunk, PER_CHUNK * STRIDE);
        }
    }
}

char* Stacks::stack(size_t index) {
    char*& chunk = chunks[index / PER_CHUNK];
    if (!chunk) {
        void* memory = mmap(nullptr, PER_CHUNK * STRIDE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED) {
            std::fputs("godiff: the emulator found no memory for its stacks\n", stderr);
            std::abort();
        }
        chunk = static_cast<char*>(memory);
        forget();
        for (size_t i = 0; i < PER_CHUNK; ++i) {
            mprotect(chunk + i * STRIDE, GUARD_BYTES, PROT_NONE);
        }
    }
    return chunk + index % PER_CHUNK * STRIDE + GUARD_BYTES;
}

void Stacks::forget() {
#ifdef GODIFF_ADDRESS_SANITIZER
    for (char* chunk : chunks) {
        if (chunk) {
            __asan_unpoison_memory_region(chunk, PER_CHUNK * STRIDE);
        }
    }
#endif
}

void Stacks::prepare(size_t index, Context& context, void (*entry)()) {
    char* bottom = stack(index);
    context.stack_bottom = bottom;
    context.stack_bytes = STACK_BYTES;
    context.fake_stack = nullptr;
    // Stack tops a whole stride apart would all use the same few sets of the caches.
    char* top = bottom + STACK_BYTES - index % 64 * 64;
#if defined(__x86_64__)
    // The stack as `entry` finds it after a call: a return address (0 here) at 8 modulo 16.
    uintptr_t* words = reinterpret_cast<uintptr_t*>(top);
    *--words = 0;
    *--words = reinterpret_cast<uintptr_t>(entry);
    for (int preserved = 0; preserved < 6; ++preserved) {
        *--words = 0;
    }
#else
    uintptr_t* words = reinterpret_cast<uintptr_t*>(top) - 20;
    for (int preserved = 0; preserved < 20; ++preserved) {
        words[preserved] = 0;
    }
    words[11] = reinterpret_cast<uintptr_t>(entry);  // x30, where `ret` goes
#endif
    context.stack_pointer = words;
}

}  // namespace godiff_emulator
