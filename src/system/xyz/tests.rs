use super::*;
use crate::system::Cell;
use proptest::prelude::*;
use std::path::Path;

fn parse(text: &str) -> crate::Result<Vec<Frame>> {
    parse_frames(text, Path::new("in.xyz"))
}

fn one(text: &str) -> Frame {
    let mut frames = parse(text).unwrap();
    assert_eq!(frames.len(), 1);
    frames.remove(0)
}

const SLAB: &str = "\
2
Lattice=\"4 0 0 1 5 0 0 0 20\" Properties=species:S:1:pos:R:3:move_mask:L:1:tags:I:1:forces:R:3 energy=-1.5 \
free_energy=-2 step=7 site=\"fcc hollow\" relaxed pbc=\"T T F\"
Pt 0.5 0 1e-1  F 2 0 0 0.25
au 1.0 2.0 3.0 T 0 0 -1 0
";

#[test]
fn everything_of_a_frame_is_read() {
    let frame = one(SLAB);
    let structure = &frame.structure;
    assert_eq!(structure.cell.vectors, [[4.0, 0.0, 0.0], [1.0, 5.0, 0.0], [0.0, 0.0, 20.0]]);
    assert_eq!(structure.cell.periodic, [true, true, false]);
    assert_eq!(structure.numbers, [78, 79]);
    assert_eq!(structure.positions, [[0.5, 0.0, 0.1], [1.0, 2.0, 3.0]]);
    assert_eq!(structure.fixed, [true, false]);
    assert_eq!(structure.energy, Some(-1.5));
    assert_eq!(structure.forces, Some(vec![[0.0, 0.0, 0.25], [0.0, -1.0, 0.0]]));
    assert_eq!(frame.info("step"), Some(&Value::Integer(7)));
    assert_eq!(frame.info("site"), Some(&Value::Text("fcc hollow".into())));
    assert_eq!(frame.info("relaxed"), Some(&Value::Flag(true)));
    assert_eq!(frame.info("free_energy"), Some(&Value::Integer(-2)));
    assert_eq!(frame.column("tags").unwrap().values, Values::Integer(vec![2, 0]));
}

#[test]
fn periodicity_has_defaults_and_spellings() {
    let periodic = |comment: &str| one(&format!("1\n{comment}\nH 0 0 0\n")).structure.cell.periodic;
    let lattice = "Lattice=\"3 0 0 0 3 0 0 0 3\"";
    assert_eq!(periodic(""), [false; 3]);
    assert_eq!(periodic("water at 300 K, don't panic"), [false; 3]);
    assert_eq!(periodic(lattice), [true; 3]);
    assert_eq!(periodic(&lattice.replace('"', "'")), [true; 3]);
    assert_eq!(periodic("Lattice={3 0 0 0 3 0 0 0 3}"), [true; 3]);
    assert_eq!(periodic("Lattice = [3, 0, 0, 0, 3, 0, 0, 0, 3]"), [true; 3]);
    for pbc in ["\"F T F\"", "'False True False'", "[F, T, F]", "{0 1 0}", "\"false true FALSE\""] {
        assert_eq!(periodic(&format!("{lattice} pbc={pbc}")), [false, true, false], "{pbc}");
    }
    assert_eq!(periodic(&format!("{lattice} pbc=F")), [false; 3]);
}

#[test]
fn plain_files_frames_and_line_endings() {
    let frames = parse("1\n\nh 0 0 0 0.1\r\n 2 \r\nenergy = -1\r\nC 0 0 0\nO 0 0 1.1\n\n  \n").unwrap();
    assert_eq!(frames.len(), 2);
    assert_eq!(frames[0].structure.numbers, [1]);
    assert_eq!((frames[0].structure.energy, frames[1].structure.energy), (None, Some(-1.0)));
    let numbered = one("1\nProperties=pos:R:3:Z:I:1:label:S:1\n0 0 0 78 top\n");
    assert_eq!(numbered.structure.numbers, [78]);
    let masked = one("2\nProperties=species:S:1:pos:R:3:move_mask:L:3\nH 0 0 0 F F F\nH 0 0 1 T T T\n");
    assert_eq!(masked.structure.fixed, [true, false]);
}

#[test]
fn malformed_files_are_refused_with_the_line() {
    let atom = |comment: &str, line: &str| format!("1\n{comment}\n{line}\n");
    let cases = [
        (String::new(), "in.xyz: holds no structure"),
        ("\n\n".into(), "in.xyz: holds no structure"),
        ("Pt\n".into(), "in.xyz: line 1: expected the number of atoms of a frame, found 'Pt'"),
        ("-1\n\n".into(), "line 1: expected the number of atoms"),
        ("99999999999999999999999\n\n".into(), "line 1: expected the number of atoms"),
        ("0\n\n".into(), "line 1: the frame has no atoms"),
        ("1".into(), "line 1: the file ends before the frame's comment line"),
        (
            "18446744073709551615\n\nH 0 0 0\n".into(),
            "line 1: the file ends after 1 of the frame's 1844674407370955161",
        ),
        ("1\n\nH 0 0 0\n\n1\n\nH 0 0 0\n".into(), "line 4 is blank, but line 5 holds more"),
        ("1\n\nH 0 0 0\n2\n\nH 0 0 0\n".into(), "line 4: the file ends after 1 of the frame's 2 atoms"),
        ("2\n\nH 0 0 0\n\n".into(), "line 4: an atom line of 4 columns is expected, found 0"),
        (atom("", "H 0 0"), "line 3: an atom line of 4 columns is expected, found 3: 'H 0 0'"),
        (atom("Properties=species:S:1:pos:R:3", "H 0 0 0 1"), "line 3: an atom line of 4 columns is expected, found 5"),
        (atom("", "Xx 0 0 0"), "line 3: 'Xx' is not the symbol of an element"),
        (atom("", "X 0 0 0"), "line 3: 'X' is not the symbol of an element"),
        (atom("", "é 0 0 0"), "line 3: 'é' is not the symbol of an element"),
        (atom("", "H 0 zero 0"), "line 3: 'zero' in the column pos is not a number"),
        (atom("", "H 0 nan 0"), "line 3: 'nan' in the column pos is not finite"),
        (atom("", "H 0 0 -inf"), "line 3: '-inf' in the column pos is not finite"),
        (atom("", "H 0 0 1e999"), "line 3: '1e999' in the column pos is not finite"),
        (atom("Lattice=\"1 2\"", "H 0 0 0"), "line 2: Lattice=\"1 2\" does not hold nine numbers"),
        (atom("Lattice=[[1, 0, 0], [0, 1, 0]]", "H 0 0 0"), "is not a matrix of three rows of three numbers"),
        (
            atom("Lattice=[[1, 0, 0], [0, 1], [0, 0, 1, 0]]", "H 0 0 0"),
            "is not a matrix of three rows of three numbers",
        ),
        (atom("Lattice=[[1, 0, 0] [0, 1, 0] [0, 0, 1]]", "H 0 0 0"), "is not a matrix of three rows of three numbers"),
        (atom("Lattice=[[1, 0, 0], [0, 1, 0], [0, 0, x]]", "H 0 0 0"), "is not a number"),
        (atom("Lattice=\"1 0 0 0 1 0 0 0 x\"", "H 0 0 0"), "is not a number"),
        (atom("Lattice=\"1 0 0 0 1 0 0 0 nan\"", "H 0 0 0"), "is not finite"),
        (atom("Lattice=\"1 0 0 0 1 0 1 1 0\"", "H 0 0 0"), "line 2: the cell has no volume"),
        (atom("Lattice=\"1 0 0 0 1 0 0 0 0\"", "H 0 0 0"), "line 2: the cell is periodic along c but has no lattice"),
        (atom("pbc=\"T T F\"", "H 0 0 0"), "line 2: the cell is periodic along a but has no lattice vector"),
        (atom("Lattice=\"1 0 0 0 1 0 0 0 1", "H 0 0 0"), "line 2: the comment line opens \" and never closes it"),
        (atom("Lattice=\"1 0 0 0 1 0 0 0 1\" pbc=\"T T\"", "H 0 0 0"), "line 2: pbc=\"T T\" is not three of T and F"),
        (atom("Lattice=\"1 0 0 0 1 0 0 0 1\" pbc", "H 0 0 0"), "line 2: the key 'pbc' has no value"),
        (atom("energy=1 energy=2", "H 0 0 0"), "line 2: the key 'energy' is given twice"),
        (atom("Properties=species:S:1:pos:R", "H 0 0 0"), "is not made of name:type:count triples"),
        (atom("Properties=species:S:1:pos:Q:3", "H 0 0 0"), "the type 'Q' of 'pos' is not R, I, S or L"),
        (atom("Properties=species:S:1:pos:R:-3", "H 0 0 0"), "the count '-3' of 'pos' is not a positive number"),
        (atom("Properties=species:S:1:pos:R:3:x:R:0", "H 0 0 0"), "the count '0' of 'x' is not a positive number"),
        (
            atom("Properties=species:S:1:pos:R:3:x:R:4294967295", "H 0 0 0"),
            "of 4294967299 columns is expected, found 4",
        ),
        (atom("Properties=species:S:1:pos:R:3:pos:R:3", "H 0 0 0"), "the name 'pos' is empty or given twice"),
        (atom("Properties=species:S:1:pos:R:2", "H 0 0"), "line 2: the column pos must be R:3, not R:2"),
        (atom("Properties=species:S:1:pos:R:3:move_mask:I:1", "H 0 0 0 1"), "must be L:1 or L:3, not I:1"),
        (atom("Properties=species:S:1", "H"), "line 2: Properties names no pos:R:3 column"),
        (atom("Properties=pos:R:3", "0 0 0"), "line 2: Properties names no species:S:1 or Z:I:1 column"),
        (atom("Properties=Z:I:1:pos:R:3", "119 0 0 0"), "line 3: '119' is not an atomic number"),
        (atom("Properties=species:S:1:Z:I:1:pos:R:3", "H 2 0 0 0"), "line 3: the columns species and Z name different"),
        (
            atom("Properties=species:S:1:pos:R:3:forces:R:3", "H 0 0 0 0 *** 0"),
            "line 3: '***' in the column forces is not a number",
        ),
        (atom("Properties=species:S:1:pos:R:3", "1 0 0 0"), "line 3: '1' is not the symbol of an element"),
        (atom("", "0 0 0 0"), "line 3: '0' is not the symbol of an element"),
        (
            atom("Properties=species:S:1:pos:R:3:move_mask:L:1", "H 0 0 0 2"),
            "'2' in the column move_mask is not T or F",
        ),
        (
            atom("Properties=species:S:1:pos:R:3:tags:I:1", "H 0 0 0 1.5"),
            "'1.5' in the column tags is not a whole number",
        ),
    ];
    for (text, sentence) in cases {
        let error = parse(&text).expect_err(&text);
        assert!(error.to_string().contains(sentence), "{text:?}\n gives {error}\n not {sentence}");
        assert!(error.to_string().starts_with("in.xyz: "), "{error}");
        assert_eq!(error.exit_code(), 2);
    }
}

#[test]
fn every_cut_short_file_is_whole_or_refused() {
    let text = format!("{SLAB}{SLAB}");
    let whole = parse(&text).unwrap();
    for end in 0..text.len() {
        if let Ok(frames) = parse(&text[..end]) {
            // Only a loss of the last digits of the last force is not noticed; a loss of frames or atoms is.
            assert!(end == SLAB.len() || end == SLAB.len() - 1 || end == text.len() - 1, "cut at {end}");
            assert_eq!(frames[..], whole[..frames.len()]);
        }
    }
}

#[test]
fn numbers_that_are_not_finite_are_left_out_of_results() {
    let mut structure = one(SLAB).structure;
    structure.energy = Some(f64::NAN);
    structure.forces = Some(vec![[0.0, f64::INFINITY, 0.0]; 2]);
    let back = one(&format_frames(&[structure.clone().into()])).structure;
    assert_eq!((back.energy, back.forces), (None, None));
    assert_eq!(back.positions, structure.positions);
}

#[test]
fn cells_may_be_matrices_and_diagonals() {
    let vectors = |lattice: &str| one(&format!("1\nLattice={lattice}\nH 0 0 0\n")).structure.cell.vectors;
    let rows = [[3.0, 1.0, 0.0], [0.0, 4.0, 0.0], [0.0, 0.5, 5.0]];
    for lattice in [
        "[[3, 1, 0], [0, 4, 0], [0, 0.5, 5]]",
        "[[3.0,1.0,0.0],[0.0,4.0,0.0],[0.0,5d-1,5.0]]",
        "[ [3 1 0], [0 4 0] , [0 0.5 5] ]",
        "[3, 1, 0, 0, 4, 0, 0, 0.5, 5]",
        "{3 1 0 0 4 0 0 0.5 5}",
        "\"3.0d0 1D+00 0 0 4 0 0 0.05d1 5\"",
        "'3 1 0 0 4 0 0 0.5 5'",
    ] {
        assert_eq!(vectors(lattice), rows, "{lattice}");
    }
    for lattice in ["\"3 4 5\"", "[3, 4, 5]", "{3 4 5}"] {
        assert_eq!(vectors(lattice), [[3.0, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, 0.0, 5.0]], "{lattice}");
    }
}

#[test]
fn numbers_have_exponents_of_fortran() {
    let frame =
        one("1\nProperties=species:S:1:pos:R:3:forces:R:3:q:R:1 energy=-1.5d1\nH 0.0d0 1.8D+00 1d-1 0 0 -2.0d0 5D0\n");
    assert_eq!(frame.structure.positions, [[0.0, 1.8, 0.1]]);
    assert_eq!((frame.structure.energy, frame.structure.forces.clone()), (Some(-15.0), Some(vec![[0.0, 0.0, -2.0]])));
    assert_eq!(frame.column("q").unwrap().values, Values::Real(vec![5.0]));
}

/// A failed result of an earlier calculation does not prevent reading the structure.
#[test]
fn results_that_are_no_numbers_are_none() {
    for energy in ["nan", "inf", "low", "\"\"", "\"1 2\"", "None"] {
        assert_eq!(one(&format!("1\nenergy={energy}\nH 0 0 0\n")).structure.energy, None, "{energy}");
    }
    let frame = one("2\nProperties=species:S:1:pos:R:3:forces:R:3\nH 0 0 0 0 0 0\nH 0 0 1 nan inf 0\n");
    assert_eq!(frame.structure.forces, None);
}

#[test]
fn plain_comments_are_kept_and_prose_is_no_cell() {
    let comment = |line: &str| one(&format!("1\n{line}\nH 0 0 0\n")).info("comment").cloned();
    for line in
        ["water at 300 K, don't panic", "Lattice constant 3.6", "Properties of water", "a \"quote that stays open = x"]
    {
        assert_eq!(comment(line), Some(Value::Text(line.into())));
    }
    assert_eq!(comment(""), None);
    assert_eq!(comment("step=5"), None);
    let frame = one("1\nstep=5 pbc energy\n6 0 0 0\n");
    assert_eq!((frame.info("step"), frame.structure.numbers.clone()), (Some(&Value::Integer(5)), vec![6]));
    assert_eq!(one(&format_frames(&[one("1\ndon't\nH 0 0 0\n")])), one("1\ndon't\nH 0 0 0\n"));
}

#[test]
fn atoms_fixed_along_some_axes_are_free_and_keep_their_mask() {
    let text = "3\nProperties=species:S:1:pos:R:3:move_mask:L:3\nH 0 0 0 T T T\nH 0 0 1 F F F\nH 0 0 2 F F T\n";
    let frame = one(text);
    assert_eq!((frame.partly_fixed(), &frame.structure.fixed[..]), (Some(2), &[false, true, false][..]));
    let written = format_frames(std::slice::from_ref(&frame));
    assert!(written.contains("move_mask:L:3") && written.contains(" F F T\n"), "{written}");
    assert_eq!(one(&written), frame);
    let mut freed = frame.clone();
    freed.free_last(1);
    assert_eq!((freed.partly_fixed(), &freed.structure.fixed[..]), (None, &[true, true, false][..]));
    assert!(format_frames(&[freed]).contains("move_mask:L:1"));
    // Extended XYZ cannot hold flags of lattice vectors that are not parallel to the axes.
    let cell = Cell { vectors: [[3.0, 0.0, 0.0], [1.0, 3.0, 0.0], [0.0, 0.0, 3.0]], periodic: [true; 3] };
    let skewed = Frame::from(Structure { cell, ..frame.structure.clone() });
    let flags = vec![[true; 3], [true; 3], [false, true, true]];
    let skewed = skewed.with_moves(Moves { along: Axes::Lattice, flags });
    let sentence =
        "atom 3 is fixed along some lattice vectors, and extended XYZ only knows x, y and z; write a POSCAR (.vasp)";
    assert_eq!(check_frame(&skewed), Err(sentence.to_string()));
    assert_eq!(check_frame(&frame), Ok(()));
    assert!(!format_frames(&[skewed]).contains("move_mask"));
}

#[test]
fn results_go_and_the_rest_stays() {
    let frame = one(
        "1\nProperties=species:S:1:pos:R:3:tags:I:1:charge:R:1:magmoms:R:1:initial_magmoms:R:1:dft_forces:R:3 charge=1 \
         stress=\"1 0 0 0 1 0 0 0 1\" virial=[[1, 0, 0], [0, 1, 0], [0, 0, 1]] free_energy=-2 dipole=\"1 1 1\" magmom=1 \
         dft_energy=-3 name=\"a b\" arr=[1, 2] d=\"_JSON {\\\"a\\\": 1}\" flag\nH 0 0 0 2 0.5 1 0.5 1 2 3\n",
    )
    .without_results();
    let keys: Vec<&str> = frame.infos().iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["charge", "dft_energy", "name", "arr", "d", "flag"]);
    let columns: Vec<&str> = frame.columns().iter().map(|column| column.name.as_str()).collect();
    assert_eq!(columns, ["tags", "initial_magmoms", "dft_forces"]);
    let text = format_frames(&[frame]);
    let kept = "charge=1 dft_energy=-3 name=\"a b\" arr=[1, 2] d=\"_JSON {\\\"a\\\": 1}\" flag=T pbc=";
    assert!(text.contains(kept), "{text}\n{kept}");
}

#[test]
fn vectors_are_found_again() {
    let vectors = [[1.0, -2.0, 1e-300], [0.1, 0.2, 0.3]];
    let frame = Frame::from(one(SLAB).structure).with_vectors("score", &vectors).with_info("time", 0.5);
    let back = one(&format_frames(std::slice::from_ref(&frame)));
    assert_eq!(back, frame);
    assert_eq!(back.vectors("score").unwrap(), vectors);
    assert_eq!(back.vectors("nothing"), None);
}

fn finite() -> impl Strategy<Value = f64> {
    any::<f64>().prop_filter("finite", |x| x.is_finite())
}

prop_compose! {
    fn frames()(
        periodic in prop::array::uniform3(any::<bool>()),
        rows in prop::array::uniform3(prop::array::uniform3(-9.0..9.0f64)),
        atoms in prop::collection::vec((1u8..=118, prop::array::uniform3(finite()), any::<bool>()), 1..6),
        energy in prop::option::of(finite()),
        with_forces in any::<bool>(),
        number in any::<f64>(),
        text in any::<String>(),
        key in "[A-Za-z_ ={}\"'][A-Za-z_0-9 \\\\]{2,9}",
    ) -> Frame {
        let mut cell = Cell { vectors: rows, periodic };
        if cell.check().is_err() {
            cell = Cell::NONE;
        }
        let numbers = atoms.iter().map(|a| a.0).collect();
        let positions: Vec<Vec3> = atoms.iter().map(|a| a.1).collect();
        let mut structure = Structure::new(cell, numbers, positions.clone());
        structure.fixed = atoms.iter().map(|a| a.2).collect();
        structure.energy = energy;
        structure.forces = with_forces.then(|| positions.iter().map(|p| p.map(|x| -x)).collect());
        Frame::from(structure)
            .with_info("number", if number.is_nan() { 0.0 } else { number })
            .with_info(&key, text.as_str())
            .with_vectors("score", &positions)
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_back_bit_for_bit(frames in prop::collection::vec(frames(), 1..4)) {
        let back = parse(&format_frames(&frames)).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(back, frames);
    }

    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn damaged_files_are_answered(position in 0..SLAB.len(), byte in any::<u8>(), n_removed in 0usize..20) {
        let mut bytes = SLAB.repeat(2).into_bytes();
        bytes[position] = byte;
        bytes.drain(position..position + n_removed);
        for frame in parse(&String::from_utf8_lossy(&bytes)).unwrap_or_default() {
            prop_assert!(frame.structure.check().is_ok());
        }
    }
}
