// The device memory of the emulator: each allocation is a block of the host's heap, checked for writes outside it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>

namespace godiff_emulator {

// One allocation, with room for canaries on both sides if no sanitizer is used.
struct Block {
    char* data = nullptr;
    size_t bytes = 0;
};

// Memory that holds NaN, read as float or as double; `data` is null if the host has none.
Block allocate_block(size_t bytes);
void free_block(Block block);
void fill_with_nan(char* data, size_t bytes);

// The distance of a write outside `block`: bytes after its end, or before its start as a negative number; 0 without such a write.
long overrun(const Block& block);

class Memory {
public:
    Memory() = default;
    Memory(const Memory&) = delete;
    Memory& operator=(const Memory&) = delete;
    ~Memory();

    uint64_t allocate(size_t bytes);
    // False for an address that was never allocated.
    bool free(uint64_t address);
    // True if all `bytes` from `address` on are in one allocation.
    bool holds(uint64_t address, size_t bytes) const;
    // The allocation around `address`; `data` is null if there is none.
    Block around(uint64_t address) const;
    // True if `address` was in an allocation that was freed recently.
    bool was_freed(uint64_t address) const;

    // Reports a write outside an allocation since the last call; the sentence goes to `text`.
    bool find_damage(char* text, size_t capacity);

private:
    // A freed block is kept for a while, filled with NaN, so that late reads and writes show.
    static constexpr size_t MAX_FREED_BYTES = size_t(64) << 20;

    mutable std::mutex mutex;
    std::map<uint64_t, Block> live;
    std::deque<Block> freed;
    size_t freed_bytes = 0;
};

}  // namespace godiff_emulator
