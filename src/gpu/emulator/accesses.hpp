// Checks every memory access of a kernel: it must be within bounds, and CUDA's rules must order it against the accesses of other
// threads. The order in which the emulator happens to run them does not count.
//
// An order between two accesses to the same bytes, one of them a write, comes from
// - both accesses being made by one thread,
// - __syncthreads() between threads of a block,
// - __syncwarp() between lanes of a warp (shuffles and votes promise nothing about memory),
// - __threadfence() and an atomic operation on each side, between blocks of a launch: the first block's accesses before its last
//   barrier before the atomic, and those of the thread that made the atomic, come before the second block's accesses after its own
//   atomic,
// - the end of a launch.
// Every other pair of accesses is a race, even if both write the same value.
#pragma once

#include "memory.hpp"

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

namespace godiff_emulator {

enum class Access { read, write, atomic };

class Accesses {
public:
    // Places of the shared memory of the launch's blocks, and of the device memory.
    void begin_launch(const Memory& memory, const Block& shared, unsigned n_threads);
    void begin_block(unsigned x, unsigned y);
    void pass_barrier();
    void meet_lanes(unsigned first_thread, unsigned mask);
    void fence(unsigned thread);

    // False if the running block's `thread` must not do this now: `problem` then gives the reason.
    bool allows(unsigned thread, uintptr_t address, size_t bytes, Access access, char* problem, size_t capacity);

private:
    static constexpr unsigned LANES = 32;

    // The last accesses to a word. Epochs count barriers and block starts over all launches; 0 means never.
    struct Record {
        uint32_t epoch;
        uint32_t clock;
        uint16_t thread;
        uint8_t bytes;  // of the word, as bits
        bool atomic;
    };
    // The first and the last of all reads since the last barrier: of two readers at least one is not the writer.
    struct Word {
        Record write, first_read, last_read;
    };
    struct Shadow {
        Block block;
        std::vector<Word> words;
    };
    struct Place {
        unsigned x, y;
        uint32_t first_epoch;
    };
    struct Release {
        uint32_t epoch = 0;
        uint16_t thread = 0;
    };

    Shadow* shadow_of(uintptr_t address);
    bool ordered(const Record& before, unsigned thread) const;
    size_t block_of(uint32_t epoch) const;
    void synchronise_blocks(unsigned thread, uintptr_t address);
    void describe_race(const Record& before, const char* what, const Shadow& shadow, uintptr_t address, Access access, char* problem,
                       size_t capacity) const;
    bool outside(uintptr_t address, size_t bytes, Access access, char* problem, size_t capacity) const;

    const Memory* memory = nullptr;
    Shadow shared;
    std::unordered_map<uintptr_t, Shadow> shadows;
    Shadow* recent[4] = {};
    unsigned next_recent = 0;
    size_t n_words = 0;

    uint32_t epoch = 1;
    uint32_t launch_epoch = 1;
    uint32_t block_epoch = 1;
    std::vector<Place> places;
    // clocks[thread][lane]: the time up to which the thread knows that lane of its warp; its own entry is its own clock.
    std::vector<uint32_t> clocks;
    std::vector<bool> fenced;
    // For each block of the launch, the time up to which the running block knows it; and for each address of atomics, the published
    // times.
    std::vector<Release> known;
    std::unordered_map<uintptr_t, std::vector<Release>> published;
};

}  // namespace godiff_emulator
