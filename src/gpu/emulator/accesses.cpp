#include "accesses.hpp"

#include <algorithm>
#include <cstdio>
#include <link.h>

namespace godiff_emulator {

namespace {

constexpr uintptr_t WORD = 4;
// Shadows beyond this are freed at the next launch, which does not need their contents.
constexpr size_t MAX_WORDS = size_t(1) << 24;

// The segments of the program and its libraries: kernels read tables of constants there.
struct Segment {
    uintptr_t start, end;
};

const std::vector<Segment>& segments() {
    static const std::vector<Segment> found = [] {
        std::vector<Segment> all;
        dl_iterate_phdr(
            [](dl_phdr_info* info, size_t, void* data) {
                for (int i = 0; i < info->dlpi_phnum; ++i) {
                    if (info->dlpi_phdr[i].p_type == PT_LOAD) {
                        const uintptr_t start = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
                        static_cast<std::vector<Segment>*>(data)->push_back({start, start + info->dlpi_phdr[i].p_memsz});
                    }
                }
                return 0;
            },
            &all);
        return all;
    }();
    return found;
}

bool in_program(uintptr_t address) {
    const auto& all = segments();
    return std::any_of(all.begin(), all.end(), [=](const Segment& segment) { return address >= segment.start && address < segment.end; });
}

const char* verb(Access access) {
    switch (access) {
    case Access::read: return "reads";
    case Access::write: return "writes";
    default: return "changes";
    }
}

uintptr_t start_of(const Block& block) {
    return reinterpret_cast<uintptr_t>(block.data);
}

bool contains(const Block& block, uintptr_t address) {
    return address - start_of(block) < block.bytes;
}

}  // namespace

void Accesses::begin_launch(const Memory& device, const Block& shared_block, unsigned n_threads) {
    memory = &device;
    if (n_words > MAX_WORDS) {
        shadows.clear();
        n_words = 0;
    }
    std::fill(std::begin(recent), std::end(recent), nullptr);
    shared.block = shared_block;
    shared.words.assign(shared_block.bytes / WORD + 2, Word{});
    launch_epoch = epoch + 1;
    places.clear();
    published.clear();
    clocks.resize(n_threads * size_t(LANES));
    fenced.resize(n_threads);
}

void Accesses::begin_block(unsigned x, unsigned y) {
    block_epoch = ++epoch;
    places.push_back({x, y, epoch});
    known.clear();
    for (size_t i = 0; i < clocks.size(); ++i) {
        clocks[i] = i / LANES % LANES == i % LANES ? 1 : 0;
    }
    std::fill(fenced.begin(), fenced.end(), false);
}

void Accesses::pass_barrier() {
    ++epoch;
}

void Accesses::meet_lanes(unsigned first_thread, unsigned mask) {
    uint32_t* warp = &clocks[first_thread * size_t(LANES)];
    uint32_t joined[LANES] = {};
    for (unsigned lane = 0; lane < LANES; ++lane) {
        for (unsigned other = 0; mask >> lane & 1u && other < LANES; ++other) {
            joined[other] = std::max(joined[other], warp[lane * LANES + other]);
        }
    }
    for (unsigned lane = 0; lane < LANES; ++lane) {
        if (mask >> lane & 1u) {
            std::copy(std::begin(joined), std::end(joined), warp + lane * LANES);
            ++warp[lane * LANES + lane];
        }
    }
}

void Accesses::fence(unsigned thread) {
    fenced[thread] = true;
}

Accesses::Shadow* Accesses::shadow_of(uintptr_t address) {
    if (contains(shared.block, address)) {
        return &shared;
    }
    for (Shadow* shadow : recent) {
        if (shadow && contains(shadow->block, address)) {
            return shadow;
        }
    }
    const Block block = memory->around(address);
    if (!block.data) {
        return nullptr;
    }
    Shadow& shadow = shadows[start_of(block)];
    shadow.block = block;
    const size_t needed = block.bytes / WORD + 2;
    if (shadow.words.size() < needed) {
        n_words += needed - shadow.words.size();
        shadow.words.resize(needed, Word{});
    }
    recent[next_recent++ % 4] = &shadow;
    return &shadow;
}

// Which block of the launch was running in `of`.
size_t Accesses::block_of(uint32_t of) const {
    const auto after = std::upper_bound(places.begin(), places.end(), of, [](uint32_t e, const Place& place) { return e < place.first_epoch; });
    return static_cast<size_t>(after - places.begin()) - 1;
}

bool Accesses::ordered(const Record& before, unsigned thread) const {
    if (before.epoch < launch_epoch) {
        return true;
    }
    if (before.epoch < block_epoch) {
        const size_t block = block_of(before.epoch);
        if (block >= known.size()) {
            return false;
        }
        const Release& release = known[block];
        return before.epoch < release.epoch || (before.epoch == release.epoch && before.thread == release.thread);
    }
    if (before.epoch < epoch || before.thread == thread) {
        return true;
    }
    return before.thread / LANES == thread / LANES && before.clock <= clocks[thread * size_t(LANES) + before.thread % LANES];
}

// An atomic operation between fences publishes the accesses that the running block made and knows, and takes over those that
// earlier blocks published.
void Accesses::synchronise_blocks(unsigned thread, uintptr_t address) {
    if (!fenced[thread]) {
        return;
    }
    const auto later = [](const Release& a, const Release& b) { return a.epoch < b.epoch ? b : a; };
    std::vector<Release>& passed = published[address];
    passed.resize(places.size());
    known.resize(places.size());
    std::transform(known.begin(), known.end(), passed.begin(), known.begin(), later);
    known.back() = {epoch, static_cast<uint16_t>(thread)};
    std::transform(known.begin(), known.end(), passed.begin(), passed.begin(), later);
}

bool Accesses::outside(uintptr_t address, size_t bytes, Access access, char* problem, size_t capacity) const {
    if (access == Access::read && in_program(address)) {
        return true;
    }
    if (memory->was_freed(address)) {
        std::snprintf(problem, capacity, "%s %zu bytes of memory that was freed", verb(access), bytes);
        return false;
    }
    // The nearest allocation, at the distance that a slip of an index makes.
    constexpr uintptr_t NEAR = 4096;
    for (uintptr_t distance = 0; distance < NEAR; ++distance) {
        for (const bool past : {true, false}) {
            const uintptr_t probe = past ? address - 1 - distance : address + bytes + distance;
            const bool is_shared = contains(shared.block, probe);
            const Block block = is_shared ? shared.block : memory->around(probe);
            if (block.data) {
                std::snprintf(problem, capacity, "%s %zu bytes %zu bytes %s %s%zu bytes%s", verb(access), bytes, size_t(distance),
                              past ? "past the end of" : "before the start of", is_shared ? "its " : "an allocation of ", block.bytes,
                              is_shared ? " of shared memory" : "");
                return false;
            }
        }
    }
    std::snprintf(problem, capacity, "%s %zu bytes at 0x%zx, where nothing is allocated", verb(access), bytes, size_t(address));
    return false;
}

void Accesses::describe_race(const Record& before, const char* what, const Shadow& shadow, uintptr_t address, Access access,
                             char* problem, size_t capacity) const {
    char who[96];
    if (before.epoch < block_epoch) {
        const Place& place = places[block_of(before.epoch)];
        std::snprintf(who, sizeof who, "thread %u of block (%u, %u)", before.thread, place.x, place.y);
    } else {
        std::snprintf(who, sizeof who, "thread %u", before.thread);
    }
    std::snprintf(problem, capacity, "%s what %s %s with no order between them: byte %zu of %s%zu bytes%s", verb(access), who, what,
                  size_t(address - start_of(shadow.block)), &shadow == &shared ? "the block's " : "an allocation of ", shadow.block.bytes,
                  &shadow == &shared ? " of shared memory" : "");
}

bool Accesses::allows(unsigned thread, uintptr_t address, size_t bytes, Access access, char* problem, size_t capacity) {
    Shadow* shadow = shadow_of(address);
    if (!shadow) {
        return outside(address, bytes, access, problem, capacity);
    }
    const uintptr_t offset = address - start_of(shadow->block);
    if (bytes > shadow->block.bytes - offset) {
        std::snprintf(problem, capacity, "%s %zu bytes of which %zu lie past the end of %s%zu bytes%s", verb(access), bytes,
                      size_t(offset + bytes - shadow->block.bytes), shadow == &shared ? "its " : "an allocation of ", shadow->block.bytes,
                      shadow == &shared ? " of shared memory" : "");
        return false;
    }
    const bool atomic = access == Access::atomic;
    if (atomic && shadow != &shared) {
        synchronise_blocks(thread, address);
    }
    const uint32_t clock = clocks[thread * size_t(LANES) + thread % LANES];
    for (uintptr_t at = offset; at < offset + bytes;) {
        const uintptr_t word_start = at / WORD * WORD;
        const uintptr_t end = std::min(offset + bytes, word_start + WORD);
        const uint8_t mask = static_cast<uint8_t>(((1u << (end - at)) - 1u) << (at - word_start));
        Word& word = shadow->words[word_start / WORD];
        const auto races = [&](const Record& before) {
            // Accesses of earlier blocks to shared memory do not count.
            const bool stale = shadow == &shared && before.epoch < block_epoch;
            return !stale && (before.bytes & mask) != 0 && !(atomic && before.atomic) && !ordered(before, thread);
        };
        if (races(word.write)) {
            describe_race(word.write, word.write.atomic ? "changed" : "wrote", *shadow, start_of(shadow->block) + at, access,
                          problem, capacity);
            return false;
        }
        const Record now = {epoch, clock, static_cast<uint16_t>(thread), mask, atomic};
        if (access == Access::read) {
            if (word.first_read.epoch != epoch) {
                word.first_read = now;
            }
            word.last_read = now;
        } else {
            for (const Record* before : {&word.first_read, &word.last_read}) {
                if (races(*before)) {
                    describe_race(*before, "read", *shadow, start_of(shadow->block) + at, access, problem, capacity);
                    return false;
                }
            }
            word.write = now;
        }
        at = end;
    }
    return true;
}

}  // namespace godiff_emulator
