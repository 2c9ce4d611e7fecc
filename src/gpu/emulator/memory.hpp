// The device memory of the emulator: each allocation a block of the host's heap, watched for writes outside it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>

namespace godiff_emulator {

// One allocation, with room for canaries on both sides where no sanitizer keeps watch.
struct Block {
    char* data = nullptr;
    size_t bytes = 0;
};

// Memory that holds NaN, read as float or as double; `data` is null where the host has none.
Block allocate_block(size_t bytes);
void free_block(Block block);
void fill_with_nan(char* data, size_t bytes);

// How far outside `block` something wrote: bytes after its end, or before its start as a negative number; 0 if nothing did.
long overrun(const Block& block);

class Memory {
public:
    Memory() = default;
    Memory(const Memory&) = delete;
    Memory& operator=(const Memory&) = delete;
    ~Memory();

    uint64_t allocate(size_t bytes);
    // False for what was never allocated.
    bool free(uint64_t address);
    // Whether all `bytes` from `address` on are in one allocation.
    bool holds(uint64_t address, size_t bytes) const;
    // The allocation around `address`; `data` is null where there is none.
    Block around(uint64_t address) const;
    // Whether `address` was in an allocation until lately.
    bool was_freed(uint64_t address) const;

    // A write outside of an allocation since the last call: the sentence that says so goes to `text`.
    bool find_damage(char* text, size_t capacity);

private:
    // A freed block stays a while, filled with NaN, so that late reads and writes show.
    static constexpr size_t MAX_FREED_BYTES = size_t(64) << 20;

    mutable std::mutex mutex;
    std::map<uint64_t, Block> live;
    std::deque<Block> freed;
    size_t freed_bytes = 0;
};

}  // namespace godiff_emulator
