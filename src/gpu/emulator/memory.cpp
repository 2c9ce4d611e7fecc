#include "memory.hpp"

#include "fiber.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>

namespace godiff_emulator {

namespace {

// cuMemAlloc aligns to 256 bytes.
constexpr size_t ALIGNMENT = 256;
// 0x7ff8dead, repeated: NaN as a float and, twice, as a double; as an integer far out of any range.
constexpr unsigned char NAN_FILL[4] = {0xad, 0xde, 0xf8, 0x7f};
constexpr unsigned char CANARY = 0xc5;

#ifdef GODIFF_ADDRESS_SANITIZER
// The sanitizer's red zones begin exactly at the end of the block.
constexpr size_t CANARY_BYTES = 0;
#else
constexpr size_t CANARY_BYTES = 1024;
#endif

}  // namespace

void fill_with_nan(char* data, size_t bytes) {
    for (size_t i = 0; i < bytes; ++i) {
        data[i] = static_cast<char>(NAN_FILL[i % 4]);
    }
}

Block allocate_block(size_t bytes) {
    void* memory = nullptr;
    if (posix_memalign(&memory, ALIGNMENT, bytes + 2 * CANARY_BYTES) != 0) {
        return {};
    }
    char* start = static_cast<char*>(memory);
    std::memset(start, CANARY, CANARY_BYTES);
    std::memset(start + CANARY_BYTES + bytes, CANARY, CANARY_BYTES);
    fill_with_nan(start + CANARY_BYTES, bytes);
    return {start + CANARY_BYTES, bytes};
}

void free_block(Block block) {
    if (block.data) {
        std::free(block.data - CANARY_BYTES);
    }
}

long overrun(const Block& block) {
    const unsigned char* data = reinterpret_cast<const unsigned char*>(block.data);
    for (size_t i = 0; i < CANARY_BYTES; ++i) {
        if (data[block.bytes + i] != CANARY) {
            return static_cast<long>(i) + 1;
        }
        const size_t before = i + 1;
        if (*(data - before) != CANARY) {
            return -static_cast<long>(before);
        }
    }
    return 0;
}

Memory::~Memory() {
    for (auto& entry : live) {
        free_block(entry.second);
    }
    for (Block& block : freed) {
        free_block(block);
    }
}

uint64_t Memory::allocate(size_t bytes) {
    const Block block = allocate_block(bytes);
    if (!block.data) {
        return 0;
    }
    const uint64_t address = reinterpret_cast<uint64_t>(block.data);
    std::lock_guard<std::mutex> lock(mutex);
    live.emplace(address, block);
    return address;
}

bool Memory::free(uint64_t address) {
    std::lock_guard<std::mutex> lock(mutex);
    const auto found = live.find(address);
    if (found == live.end()) {
        return false;
    }
    const Block block = found->second;
    live.erase(found);
    if (CANARY_BYTES == 0) {
        free_block(block);  // the sanitizer has its own quarantine
        return true;
    }
    fill_with_nan(block.data, block.bytes);
    freed.push_back(block);
    freed_bytes += block.bytes;
    while (freed_bytes > MAX_FREED_BYTES) {
        freed_bytes -= freed.front().bytes;
        free_block(freed.front());
        freed.pop_front();
    }
    return true;
}

Block Memory::around(uint64_t address) const {
    std::lock_guard<std::mutex> lock(mutex);
    auto after = live.upper_bound(address);
    if (after == live.begin()) {
        return {};
    }
    const Block& block = std::prev(after)->second;
    return address - reinterpret_cast<uint64_t>(block.data) < block.bytes ? block : Block{};
}

bool Memory::holds(uint64_t address, size_t bytes) const {
    const Block block = around(address);
    return block.data && bytes <= block.bytes - (address - reinterpret_cast<uint64_t>(block.data));
}

bool Memory::was_freed(uint64_t address) const {
    std::lock_guard<std::mutex> lock(mutex);
    return std::any_of(freed.begin(), freed.end(),
                       [=](const Block& block) { return address - reinterpret_cast<uint64_t>(block.data) < block.bytes; });
}

bool Memory::find_damage(char* text, size_t capacity) {
    std::lock_guard<std::mutex> lock(mutex);
    for (auto& entry : live) {
        const Block& block = entry.second;
        if (const long distance = overrun(block)) {
            std::snprintf(text, capacity, "wrote %ld bytes %s an allocation of %zu bytes", std::labs(distance),
                          distance > 0 ? "past the end of" : "before the start of", block.bytes);
            return true;
        }
    }
    return false;
}

}  // namespace godiff_emulator
