//! The part of the build script that makes Rust twins of the kernels' arguments.

#[path = "../build/arguments.rs"]
mod arguments;
#[path = "../build/sources.rs"]
#[allow(dead_code, reason = "reading the kernels is the build's own test")]
mod sources;

use arguments::{Twins, generate};
use sources::{Texts, included};

fn texts(files: &[(&str, &str)]) -> Texts {
    files.iter().map(|&(name, text)| (name.to_owned(), text.to_owned())).collect()
}

fn made(files: &[(&str, &str)]) -> Twins {
    generate(&texts(files)).unwrap()
}

/// Why `text` as the source op.cu has no twins.
fn refusal(text: &str) -> String {
    generate(&texts(&[("op.cu", text)])).unwrap_err()
}

/// The lines of `rust` without their indentation.
fn lines(rust: &str) -> Vec<&str> {
    rust.lines().map(str::trim).collect()
}

/// Asserts that `rust` has these lines one after the other.
fn has(rust: &str, expected: &[&str]) {
    let lines = lines(rust);
    assert!(lines.windows(expected.len()).any(|found| found == expected), "{expected:?} not in\n{rust}");
}

const OP: &str = "\
#include \"shared.cuh\"

constexpr unsigned SLOTS = 3, NONE = 0xffffffffu;
constexpr double TENTH = 0.1;

// What the host reads back.
struct State {
    double loss;  // eV
    unsigned steps, bad;
};

template <class Stored>
struct Part {
    Stored* rows;  // writes [n][5F]
};

// All of it.
template <class Stored>
struct Op {
    Shared shared;
    Part<Stored> parts[SLOTS];
    // Positions [n, 3], Å.
    const double* positions;
    const double* others;
    const float4* edges;
    State* state;
    unsigned n;
    float weight;  // λ
    unsigned short_end;
};

KERNEL(256, op, Op<float>) { run(arguments); }

KERNEL(64, op_mixed, Op<Half>) { run(arguments); }
";

const SHARED: &str = "\
struct Shared {
    Vector origin;
    int kind;
};

struct Unread {
    double *a, *b;
};
";

#[test]
fn twins_have_the_fields_types_counts_and_comments_of_the_kernels() {
    let rust = made(&[("op.cu", OP), ("shared.cuh", SHARED)]).rust;
    has(&rust, &["pub const SLOTS: u32 = 3;"]);
    has(&rust, &["pub const NONE: u32 = 4294967295;"]);
    has(&rust, &["pub const OP: Entry<super::op::Op> = Entry::new(\"op\", 256);"]);
    has(&rust, &["pub const OP_MIXED: Entry<super::op::Op> = Entry::new(\"op_mixed\", 64);"]);
    has(&rust, &["#[doc = \"All of it.\"]", "#[derive(Debug, Clone, Copy, Default)]", "pub struct Op {"]);
    has(&rust, &["pub shared: super::shared::Shared,"]);
    has(&rust, &["pub parts: [super::op::Part; 3],"]);
    let positions = "#[doc = \"Positions \\\\[n, 3\\\\], Å.\"]";
    has(&rust, &[positions, "pub positions: Pointer<f64>,", positions, "pub others: Pointer<f64>,"]);
    has(&rust, &["#[doc = \"Said in kernels/op.cu.\"]", "pub edges: Pointer<[f32; 4]>,"]);
    has(&rust, &["pub state: Pointer<super::op::State>,"]);
    has(&rust, &["#[doc = \"λ.\"]", "pub weight: f32,"]);
    has(&rust, &["#[doc = \"writes \\\\[n\\\\]\\\\[5F\\\\].\"]", "pub rows: StoredPointer,"]);
    has(&rust, &["pub origin: [f64; 3],"]);
    assert!(!rust.contains("Unread") && !rust.contains("TENTH"));
}

#[test]
fn fields_stand_where_c_puts_them() {
    let twins = made(&[("op.cu", OP), ("shared.cuh", SHARED)]);
    has(&twins.rust, &["impl Arguments for Shared {", "const BYTES: usize = 32;"]);
    has(&twins.rust, &["self.origin.put(&mut to[0..24]);", "self.kind.put(&mut to[24..28]);"]);
    has(&twins.rust, &["impl Arguments for Op {", "const BYTES: usize = 104;"]);
    has(&twins.rust, &["self.parts.put(&mut to[32..56]);", "self.positions.put(&mut to[56..64]);"]);
    has(&twins.rust, &["self.short_end.put(&mut to[96..100]);"]);
    // What the host reads back has the very layout; what kernels take by value has none of its own.
    has(&twins.rust, &["#[derive(PartialEq, bytemuck::Pod, bytemuck::Zeroable)]", "#[repr(C)]", "pub struct State {"]);
    assert!(twins.rust.contains("assert!(size_of::<State>() == 16 && std::mem::offset_of!(State, loss) == 0"));
    assert!(!twins.rust.contains("impl Arguments for State"));

    let assertions = &twins.assertions["op.cu"];
    assert!(assertions.contains("static_assert(sizeof(Op<float>) == 104, "));
    assert!(assertions.contains("static_assert(OFFSET_OF(State, bad) == 12, "));
    assert!(assertions.contains("static_assert(sizeof(Shared) == 32"));
    assert!(!assertions.contains("Unread"));
    // Four structures with 9, 1, 2 and 3 fields.
    assert_eq!(assertions.lines().count(), 4 + 15);
}

/// Swapped fields of one type swap in the twin too.
#[test]
fn a_twin_follows_its_source() {
    let source = |fields: &str| format!("struct Op {{\n    {fields}\n}};\nKERNEL(32, op, Op) {{\n}}\n");
    let rust = |fields: &str| made(&[("op.cu", &source(fields))]).rust;
    has(&rust("unsigned n, m;"), &["self.n.put(&mut to[0..4]);", "self.m.put(&mut to[4..8]);"]);
    has(&rust("unsigned m, n;"), &["self.m.put(&mut to[0..4]);", "self.n.put(&mut to[4..8]);"]);
}

#[test]
fn what_has_no_twin_fails_with_file_and_line() {
    let with = |field: &str| {
        refusal(&format!("// An op.\nstruct Op {{\n    unsigned n;\n    {field}\n}};\nKERNEL(32, op, Op) {{\n}}\n"))
    };
    for (field, reason) in [
        ("unsigned m", "a field must be TYPE NAME; or TYPE NAME[COUNT];, not unsigned m"),
        ("unsigned m = 1;", "a field must be TYPE NAME; or TYPE NAME[COUNT];, not unsigned m = 1;"),
        ("unsigned get() const { return n; }", "a field must be TYPE NAME;"),
        ("unsigned m : 4;", "a field must be TYPE NAME;"),
        ("double *a, *b;", "*a is no name of a field"),
        ("float** rows;", "the type float* is not known"),
        ("float4 edge;", "the type float4 is not known"),
        ("long m;", "the type long is not known"),
        ("Other other;", "the type Other is not known"),
        ("const Other* others;", "the type Other is not known"),
        ("Stored* rows;", "the type Stored is not known"),
        ("unsigned m[MANY];", "the count MANY is no known number"),
        ("unsigned m[2][3];", "is no known number"),
        ("Op<float> inner;", "Op is written with or without <…>, its structure otherwise"),
    ] {
        let found = with(field);
        assert!(found.starts_with("kernels/op.cu:4: ") && found.contains(reason), "{field}: {found}");
    }
    assert_eq!(with("Op inner;"), "kernels/op.cu:4: Op contains itself");
}

#[test]
fn what_the_host_reads_back_has_no_padding() {
    let padded = |fields: &str| {
        refusal(&format!(
            "struct State {{\n    {fields}\n}};\nstruct Op {{\n    State* state;\n}};\nKERNEL(32, op, Op) {{\n}}\n"
        ))
    };
    let reason = "kernels/op.cu:1: State is read from device memory and must have no padding";
    assert_eq!(padded("double x;\n    unsigned n;"), reason);
    assert_eq!(padded("unsigned n;\n    double x;"), reason);
}

#[test]
fn malformed_kernels_and_structures_are_refused() {
    let reason = "kernels/op.cu:1: not KERNEL(THREADS, NAME, STRUCTURE) {";
    for line in ["KERNEL(op, Op) {", "KERNEL(many, op, Op) {", "KERNEL(32, op, Op)", "KERNEL(32, o-p, Op) {"] {
        assert_eq!(refusal(line), reason, "{line}");
    }
    assert_eq!(refusal("KERNEL(32, op, Op) {\n"), "kernels/op.cu:1: the type Op is not known");
    assert_eq!(refusal("\nstruct Op {\n    unsigned n;\n"), "kernels/op.cu:2: the structure Op has no end");
    let header = [("op.cu", "KERNEL(32, op, Shared) {\n"), ("shared.cuh", SHARED)];
    assert_eq!(generate(&texts(&header)).unwrap_err(), "kernels/op.cu:1: the type Shared is not known", "not included");
}

#[test]
fn headers_count_however_they_are_included() {
    let texts =
        texts(&[("a.cuh", "#include \"b.cuh\""), ("b.cuh", "#include \"a.cuh\"\n#include <c.cuh>"), ("c.cuh", "")]);
    assert!(included("#include \"a.cuh\"\n#include \"system.h\"", &texts).into_iter().eq(["a.cuh", "b.cuh"]));
}
