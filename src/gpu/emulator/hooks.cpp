// Functions that the compiler calls before each access when it instruments for a thread sanitizer (-fsanitize=thread). They have
// the sanitizer's interface, but the emulator's own checks (accesses.hpp) replace the sanitizer's library.
#ifdef GODIFF_EMULATOR_CHECKS_ACCESSES

#include "accesses.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace godiff_emulator {
void note_access(const volatile void* address, size_t bytes, Access access);
}

using godiff_emulator::Access;
using godiff_emulator::note_access;

extern "C" {

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}

#define GODIFF_HOOKS(bytes)                                                                                      \
    void __tsan_read##bytes(void* address) { note_access(address, bytes, Access::read); }                  \
    void __tsan_write##bytes(void* address) { note_access(address, bytes, Access::write); }                \
    void __tsan_unaligned_read##bytes(void* address) { note_access(address, bytes, Access::read); }       \
    void __tsan_unaligned_write##bytes(void* address) { note_access(address, bytes, Access::write); }     \
    void __tsan_volatile_read##bytes(void* address) { note_access(address, bytes, Access::read); }         \
    void __tsan_volatile_write##bytes(void* address) { note_access(address, bytes, Access::write); }       \
    void __tsan_unaligned_volatile_read##bytes(void* address) { note_access(address, bytes, Access::read); } \
    void __tsan_unaligned_volatile_write##bytes(void* address) { note_access(address, bytes, Access::write); }
GODIFF_HOOKS(1)
GODIFF_HOOKS(2)
GODIFF_HOOKS(4)
GODIFF_HOOKS(8)
GODIFF_HOOKS(16)

void __tsan_read_range(void* address, size_t bytes) {
    note_access(address, bytes, Access::read);
}
void __tsan_write_range(void* address, size_t bytes) {
    note_access(address, bytes, Access::write);
}

// Clang calls these instead of the C library's functions; GCC puts short copies inline.
void* __tsan_memcpy(void* to, const void* from, size_t bytes) {
    note_access(from, bytes, Access::read);
    note_access(to, bytes, Access::write);
    return std::memcpy(to, from, bytes);
}
void* __tsan_memmove(void* to, const void* from, size_t bytes) {
    note_access(from, bytes, Access::read);
    note_access(to, bytes, Access::write);
    return std::memmove(to, from, bytes);
}
void* __tsan_memset(void* to, int value, size_t bytes) {
    note_access(to, bytes, Access::write);
    return std::memset(to, value, bytes);
}

}  // extern "C"

#endif
