use super::super::instruction::Shuffle;
use super::super::warp::partner;
use super::{module, run};

/// Where thread `%tid.x` keeps its number: `%q`.
const OWN: &str = "\tmov.u32 %t, %tid.x;\n\tmul.wide.u32 %o, %t, 8;\n\tadd.s64 %q, %p, %o;\n";

fn threads(body: &str, n: u32, shared_bytes: u32) -> Vec<u64> {
    run(&module(&format!("{OWN}{body}"), ""), n, shared_bytes, &vec![0; n as usize]).unwrap()
}

#[test]
fn lanes_read_the_lanes_of_the_isa() {
    // Segments of the whole warp and of eight lanes, as `__shfl_*_sync` encodes them.
    let (whole, eight) = (0x1f, 0x181f);
    assert_eq!(partner(Shuffle::Down, 3, 1, whole), (4, true));
    assert_eq!(partner(Shuffle::Down, 31, 1, whole), (31, false));
    assert_eq!(partner(Shuffle::Down, 7, 1, eight), (7, false));
    assert_eq!(partner(Shuffle::Up, 0, 1, 0), (0, false));
    assert_eq!(partner(Shuffle::Up, 9, 1, 0x1800), (8, true));
    assert_eq!(partner(Shuffle::Up, 8, 1, 0x1800), (8, false));
    assert_eq!(partner(Shuffle::Butterfly, 5, 3, whole), (6, true));
    assert_eq!(partner(Shuffle::Index, 13, 1, eight), (9, true));
    assert_eq!(partner(Shuffle::Index, 13, 35, whole), (3, true));
}

#[test]
fn lanes_exchange_and_vote() {
    let sums = threads(
        "\tshfl.sync.bfly.b32 %r|%in, %t, 1, 31, -1;\n\tshfl.sync.idx.b32 %s, %t, 5, 31, -1;\n\tshl.b32 %s, %s, 8;\n\
         \tadd.s32 %r, %r, %s;\n\tst.global.u64 [%q], %r;",
        64,
        0,
    );
    assert!(sums.iter().zip(0_u64..).all(|(&sum, t)| sum == (t ^ 1) + ((t / 32 * 32 + 5) << 8)), "{sums:?}");
    // All lanes of the second warp are at least 32, not all of the first are.
    let votes = threads(
        "\tsetp.gt.u32 %y, %t, 31;\n\tvote.sync.all.pred %v, %y, -1;\n\tselp.b64 %r, 1, 0, %v;\n\tst.global.u64 [%q], %r;",
        64,
        0,
    );
    assert!(votes.iter().zip(0..).all(|(&vote, t)| vote == u64::from(t > 31)), "{votes:?}");
}

#[test]
fn threads_meet_at_barriers() {
    // Each takes its neighbour's number through shared memory.
    let neighbours = threads(
        "\tmov.u32 %m, godiff_shared_memory;\n\tshl.b32 %x, %t, 2;\n\tadd.s32 %x, %m, %x;\n\tst.shared.u32 [%x], %t;\n\
         \tbar.sync 0;\n\txor.b32 %x, %x, 4;\n\tld.shared.u32 %r, [%x];\n\tst.global.u64 [%q], %r;",
        64,
        256,
    );
    assert!(neighbours.iter().zip(0_u64..).all(|(&found, t)| found == t ^ 1), "{neighbours:?}");
    // One of them says yes.
    let any = threads(
        "\tsetp.eq.u32 %y, %t, 50;\n\tbar.red.or.pred %v, 0, %y;\n\tselp.b64 %r, 1, 0, %v;\n\tst.global.u64 [%q], %r;",
        64,
        0,
    );
    assert_eq!(any, [1; 64]);
}

#[test]
fn jumps_guards_and_calls() {
    // The sum of 0 to t, by a loop; even threads then subtract one by a guard.
    let sums = threads(
        "\tmov.u32 %s, 0;\n\tmov.u32 %i, 0;\n$L_1:\n\tadd.s32 %s, %s, %i;\n\tadd.s32 %i, %i, 1;\n\
         \tsetp.le.u32 %y, %i, %t;\n\t@%y bra $L_1;\n\tand.b32 %b, %t, 1;\n\tsetp.eq.u32 %y, %b, 1;\n\
         \t@!%y add.s32 %s, %s, -1;\n\tst.global.u32 [%q], %s;",
        8,
        0,
    );
    let expected: Vec<u64> = (0..8).map(|t: u64| (t * (t + 1) / 2).wrapping_sub(1 - t % 2) & 0xffff_ffff).collect();
    assert_eq!(sums, expected);
    let squares = module(
        &format!("{OWN}\tcall.uni (%r), square, (%t);\n\tst.global.u64 [%q], %r;"),
        ".func (.param .b32 out) square(\n\t.param .b32 in\n)\n{\n\tld.param.u32 %x, [in];\n\tmul.lo.s32 %x, %x, %x;\n\
         \tst.param.b32 [out], %x;\n\tret;\n}\n",
    );
    assert_eq!(run(&squares, 4, 0, &[0; 4]).unwrap(), [0, 1, 4, 9]);
}

#[test]
fn parts_of_words_are_read_with_their_sign() {
    let one = |body: &str, numbers: &[u64]| run(&module(body, ""), 1, 0, numbers).unwrap();
    let bytes = 0x8070_6050_4030_20ff;
    assert_eq!(one("\tld.global.s8 %r, [%p];\n\tst.global.u64 [%p], %r;", &[bytes])[0], u64::MAX);
    assert_eq!(one("\tld.global.u8 %r, [%p+7];\n\tst.global.u64 [%p], %r;", &[bytes])[0], 0x80);
    assert_eq!(one("\tld.global.s16 %r, [%p+6];\n\tst.global.u64 [%p], %r;", &[bytes])[0], 0xffff_ffff_ffff_8070);
    assert_eq!(one("\tst.global.u16 [%p+2], 7;", &[bytes])[0], 0x8070_6050_0007_20ff);
    let four = one(
        "\tld.global.v4.u32 {%a, %b, _, %d}, [%p];\n\tst.global.v2.u32 [%p+8], {%d, %a};",
        &[2 << 32 | 1, 4 << 32 | 3],
    );
    assert_eq!(four, [2 << 32 | 1, 1 << 32 | 4]);
    let largest = one("\tatom.global.max.u32 %r, [%p], 9;\n\tst.global.u32 [%p+4], %r;", &[5]);
    assert_eq!(largest, [5 << 32 | 9]);
    // A generic address of shared memory.
    let generic = "\tmov.u64 %s, godiff_shared_memory;\n\tcvta.shared.u64 %g, %s;\n\tst.u32 [%g+4], 3;\n\
                   \tld.shared.u32 %r, [godiff_shared_memory+4];\n\tst.global.u64 [%p], %r;";
    assert_eq!(run(&module(generic, ""), 1, 8, &[0]).unwrap(), [3]);
}

#[test]
fn what_was_never_written_is_nan() {
    let one = |body: &str| run(&module(body, ""), 1, 8, &[0]).unwrap()[0];
    assert!(f64::from_bits(one("\tst.global.f64 [%p], %never;")).is_nan());
    assert!(f64::from_bits(one("\tld.shared.f64 %r, [godiff_shared_memory];\n\tst.global.f64 [%p], %r;")).is_nan());
    assert!(f32::from_bits(one("\tadd.f32 %r, %never, 0f3F800000;\n\tst.global.u64 [%p], %r;") as u32).is_nan());
}
