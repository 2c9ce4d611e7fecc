//! Every parser against inputs that nobody meant for it: no panic, no hang, no memory beyond what the input justifies, and a
//! sentence for everything refused. `GODIFF_FUZZ=1000000` reads that many inputs a parser, from `GODIFF_FUZZ_SEED` on;
//! docs/reliability.md has the figures.
#![cfg(target_os = "linux")]

#[path = "fuzz/allocations.rs"]
mod allocations;
#[path = "fuzz/archives.rs"]
mod archives;
#[path = "fuzz/engine.rs"]
mod engine;
#[path = "fuzz/hostile_pickles.rs"]
mod hostile_pickles;
#[path = "fuzz/mutate.rs"]
mod mutate;
#[path = "fuzz/parsers.rs"]
mod parsers;
#[path = "fuzz/regressions.rs"]
mod regressions;
#[path = "fuzz/watch.rs"]
mod watch;

#[global_allocator]
static ALLOCATOR: allocations::Counting = allocations::Counting;

macro_rules! parsers {
    ($($name:ident: $parser:expr;)*) => {
        $(#[test]
        fn $name() {
            $parser.run();
        })*
    };
}

parsers! {
    configuration: parsers::configuration();
    extended_xyz: parsers::xyz();
    poscar: parsers::poscar();
    checkpoint: parsers::checkpoint();
    model_file: parsers::model();
    pickle: parsers::pickle();
    names: parsers::names();
    records: parsers::records();
    segments: parsers::segments();
    landscape: parsers::landscape();
    ipi: parsers::ipi();
    worker: parsers::worker();
    archive_rows: archives::rows();
    archive_database: archives::database();
}

/// What the fuzzers of fuzz/ begin with is taken as it should be, and some of it is valid.
#[test]
fn seeds_of_the_guided_fuzzers() {
    for (name, parser) in parsers::all() {
        let parser = parser();
        assert_eq!(parser.name, name);
        let valid = parser.guided_seeds().filter(|seed| parser.guided(seed).unwrap().is_ok()).count();
        assert!(valid > 0, "{name} has no valid seed");
    }
}
