// Errors of a kernel as sentences, and the signals that report them.

#include "scheduler.hpp"

#include <csignal>
#include <iterator>

namespace godiff_emulator {

const char* file_name(const char* path) {
    const char* slash = std::strrchr(path, '/');
    return slash ? slash + 1 : path;
}

void Scheduler::report(unsigned thread, const char* format, va_list values) {
    if (failed) {
        return;
    }
    failed = true;
    int written = std::snprintf(text, capacity, "kernel %s, block (%u, %u)", launched.kernel->name, blockIdx.x, blockIdx.y);
    if (thread != NOBODY) {
        written += std::snprintf(text + written, capacity - static_cast<size_t>(written), ", thread %u", thread);
    }
    written += std::snprintf(text + written, capacity - static_cast<size_t>(written), " ");
    std::vsnprintf(text + written, capacity - static_cast<size_t>(written), format, values);
}

void Scheduler::report_at(unsigned thread, const char* format, ...) {
    va_list values;
    va_start(values, format);
    report(thread, format, values);
    va_end(values);
}

void Scheduler::fail(const char* format, ...) {
    va_list values;
    va_start(values, format);
    report(current->index, format, values);
    va_end(values);
    Thread& self = *current;
    current = nullptr;
    abandon_context(self.context, outside);
    std::abort();
}

void Scheduler::describe(const Thread& thread, char* out, size_t size) const {
    switch (thread.state) {
    case State::returned: std::snprintf(out, size, "has returned"); break;
    case State::barrier: std::snprintf(out, size, "waits at the barrier %s:%d", file_name(thread.site.file), thread.site.line); break;
    case State::lanes:
        std::snprintf(out, size, "waits for lanes 0x%08x at %s:%d", thread.mask, file_name(thread.site.file), thread.site.line);
        break;
    case State::ready: std::snprintf(out, size, "has not got there"); break;
    }
}

// No thread can continue: names a thread that waits in vain, and the threads that it waits for.
void Scheduler::describe_standstill() {
    char waits[256], other[256];
    for (const State kind : {State::lanes, State::barrier}) {
        for (unsigned i = 0; i < n_threads; ++i) {
            const Thread& thread = threads[i];
            if (thread.state != kind) {
                continue;
            }
            describe(thread, waits, sizeof waits);
            const unsigned warp = i / LANES * LANES;
            for (unsigned j = kind == State::lanes ? warp : 0; j < (kind == State::lanes ? warp + LANES : n_threads); ++j) {
                if (kind == State::lanes && !(thread.mask >> (j % LANES) & 1u)) {
                    continue;
                }
                if (j >= n_threads) {
                    report_at(i, "%s, but the block has only %u threads", waits, n_threads);
                    return;
                }
                const Thread& missing = threads[j];
                const bool meets =
                    missing.state == kind && (kind == State::lanes ? same_meeting(missing, thread) : same_site(missing.site, thread.site));
                if (!meets) {
                    describe(missing, other, sizeof other);
                    report_at(i, "%s, but thread %u %s", waits, j, other);
                    return;
                }
            }
        }
    }
    report_at(NOBODY, "came to a standstill");
}

// ---- Signals ----

namespace {

// The address sanitizer reports these itself, with more detail.
#ifdef GODIFF_ADDRESS_SANITIZER
constexpr bool CATCHES_SIGNALS = false;
#else
constexpr bool CATCHES_SIGNALS = true;
#endif
constexpr int SIGNALS[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
struct sigaction handlers_before[std::size(SIGNALS)];

// A kernel's wild address ends the launch, not the process. The handler runs on the signal stack that Rust gives its threads, and
// does not return to it: a kernel never faults inside a library call.
void handle_signal(int number, siginfo_t* info, void*) {
    if (running && running->catch_signal(number, info->si_addr)) {
        return;
    }
    // The signal is not a kernel's: it comes again at once, and the earlier handler gets it.
    for (size_t i = 0; i < std::size(SIGNALS); ++i) {
        if (SIGNALS[i] == number) {
            sigaction(number, &handlers_before[i], nullptr);
        }
    }
}

}  // namespace

void catch_signals() {
    static const bool installed = [] {
        for (size_t i = 0; CATCHES_SIGNALS && i < std::size(SIGNALS); ++i) {
            struct sigaction action = {};
            action.sa_sigaction = handle_signal;
            action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
            sigaction(SIGNALS[i], &action, &handlers_before[i]);
        }
        return true;
    }();
    (void)installed;
}

bool Scheduler::catch_signal(int number, const void* address) {
    if (!current) {
        return false;
    }
    const char* below = static_cast<const char*>(current->context.stack_bottom);
    const char* at = static_cast<const char*>(address);
    if (number == SIGFPE) {
        fail("divides an integer by zero");
    }
    if (number == SIGILL || number == SIGTRAP) {
        fail("accesses memory that is not aligned as its type needs");  // build/emulator.rs has the compiler check that
    }
    if (at < below && below - at <= static_cast<long>(Stacks::GUARD_BYTES)) {
        fail("needs more than the emulator's %zu bytes of stack", Stacks::STACK_BYTES);
    }
    fail("touches memory at %p, which it may not", address);
}

}  // namespace godiff_emulator
