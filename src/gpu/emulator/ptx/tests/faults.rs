use super::super::{Launch, Module};
use super::{module, run};

/// The sentence that ends a launch of 64 threads with 16 bytes of shared memory on two numbers.
fn fault(body: &str) -> String {
    let body = format!("\tmov.u32 %t, %tid.x;\n\tsetp.lt.u32 %few, %t, 40;\n{body}");
    run(&module(&body, ""), 64, 16, &[0, 0]).expect_err(&body)
}

#[track_caller]
fn says(sentence: &str, words: &[&str]) {
    for word in words {
        assert!(sentence.contains(word), "no '{word}' in: {sentence}");
    }
}

#[test]
fn places_and_alignment_of_accesses() {
    let sentence = fault("\tld.global.u32 %r, [%p+16];");
    says(&sentence, &["kernel k: thread 63 of block (0, 0) accesses 4 bytes at byte 16 of an allocation of 16 bytes"]);
    says(&sentence, &["(PTX, line 15: ld.global.u32 %r, [%p+16];)"]);
    says(&fault("\tst.global.u64 [%p+-8], 1;"), &["where nothing is allocated"]);
    says(&fault("\tld.global.u32 %r, [%far+3];"), &["where nothing is allocated"]);
    // The last number alone would fit, the vector does not.
    says(&fault("\tld.global.v2.u64 {%a, %b}, [%p+16];"), &["accesses 16 bytes at byte 16"]);
    says(&fault("\tld.global.v2.u32 {%a, %b}, [%p+4];"), &["accesses 8 bytes at 0x1004", "not aligned"]);
    says(&fault("\tld.global.u32 %a, [%p+2];"), &["not aligned"]);
    says(&fault("\tst.shared.u32 [godiff_shared_memory+16], 1;"), &["4 bytes at byte 16 of 16 bytes of shared memory"]);
    says(&fault("\tld.param.u64 %a, [k_param_0+8];"), &["8 bytes at byte 8 of 8 bytes of arguments"]);
}

#[test]
fn threads_that_never_meet() {
    let barrier = fault("\t@%few bra $L_1;\n\tbar.sync 0;\n\tbra $L_2;\n$L_1:\n\tbar.sync 0;\n$L_2:");
    says(&barrier, &["waits at another barrier"]);
    says(&fault("\t@%few bra $L_1;\n\tbar.sync 0;\n$L_1:"), &["thread 0", "has returned, but others wait"]);
    let half = "\t@%few bra $L_1;\n\tshfl.sync.bfly.b32 %r, %t, 1, 31, -1;\n$L_1:";
    says(&fault(half), &["waits for lanes 0xffffffff, but thread 32 has returned"]);
    let both = "\t@%few bra $L_1;\n\tbar.warp.sync -1;\n\tbra $L_2;\n$L_1:\n\tbar.warp.sync -1;\n$L_2:";
    says(&fault(both), &["waits for lanes 0xffffffff, and some never come"]);
    let other = "\tsetp.gt.u32 %few, %few, 1;\n\tshfl.sync.idx.b32 %r, %t, 0, 31, 65535;";
    says(&fault(other), &["names lanes 0x0000ffff, without its own"]);
}

#[test]
fn lanes_that_do_not_take_part() {
    let body = "\tand.b32 %l, %t, 31;\n\tsetp.gt.u32 %y, %l, 15;\n\t@%y bra $L_1;\n\
                \tshfl.sync.idx.b32 %r, %t, 20, 31, 65535;\n$L_1:";
    says(&fault(body), &["reads lane 20 in a shuffle, which does not take part"]);
}

#[test]
fn divisions_by_zero_and_loops_without_end() {
    says(&fault("\tdiv.u32 %r, %t, 0;"), &["divides an integer by zero"]);
    says(&fault("$L_1:\n\tbra $L_1;"), &["runs without end"]);
}

#[test]
fn launches_that_do_not_fit() {
    let simple = module("", "");
    says(&run(&simple, 65, 0, &[]).unwrap_err(), &["runs with 1 to 64 threads a block and was given 65"]);
    let launch = Launch { blocks: [1, 1], threads: 1, shared_bytes: 0, arguments: &[0; 4] };
    says(
        &simple.run("k", &launch, &mut [], &mut Vec::new()).unwrap_err(),
        &["takes 8 bytes of arguments and was given 4"],
    );
    says(&simple.run("other", &launch, &mut [], &mut Vec::new()).unwrap_err(), &["no kernel 'other'"]);
}

#[test]
fn what_is_not_known_is_refused_with_its_line() {
    for (instruction, cause) in [
        ("frobnicate.f32 %r, %a, %b;", "the opcode is not known"),
        ("add.rp.f32 %r, %a, %b;", "the opcode is not known"),
        ("add.ftz.f32 %r, %a, %b;", "the opcode is not known"),
        ("div.s32 %r, %a, %b;", "the opcode is not known"),
        ("add.sat.s32 %r, %a, %b;", "the opcode is not known"),
        ("add.s32 %r, nonsense, %b;", "the operand nonsense is not understood"),
        ("bar.sync 1;", "the barrier is not known"),
        ("ld.global.u32 %r, [elsewhere];", "the address is not understood"),
        ("call.uni nowhere, ();", "the function is not in this module"),
    ] {
        let sentence = run(&module(instruction, ""), 1, 0, &[]).unwrap_err();
        says(&sentence, &["k: line 13", instruction.trim_end_matches(';'), cause]);
    }
    says(&run(&module("\tbra $L_9;", ""), 1, 0, &[]).unwrap_err(), &["there is no label $L_9"]);
    assert!(Module::read(".entry k(").is_err());
}
