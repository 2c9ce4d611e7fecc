use super::*;
use crate::error::Result;
use crate::potential::{Answer, Evaluation, Potential};
use crate::system::{Cell, ConfinementSpec, Structure, Vec3};
use std::path::Path;
use std::sync::atomic::AtomicBool;

const SPACING: f64 = 2.77;

/// A slab of Pt atoms in `n_layers` square layers of n × n atoms, from height `bottom` on, in a cell of height `c`.
fn slab(n: usize, n_layers: usize, bottom: f64, c: f64, periodic: [bool; 3]) -> Structure {
    let side = SPACING * n as f64;
    let cell = Cell { vectors: [[side, 0.0, 0.0], [0.0, side, 0.0], [0.0, 0.0, c]], periodic };
    let layer = |k: usize| {
        let shift = 0.5 * SPACING * (k % 2) as f64;
        let place = move |i: usize| -> Vec3 {
            let (x, y) = ((i / n) as f64 * SPACING + shift, (i % n) as f64 * SPACING + shift);
            [x, y, bottom + 1.96 * k as f64]
        };
        (0..n * n).map(place)
    };
    let positions: Vec<Vec3> = (0..n_layers).flat_map(layer).collect();
    Structure::new(cell, vec![78; positions.len()], positions)
}

const PLANE: [bool; 3] = [true, true, false];
const ALL: [bool; 3] = [true; 3];

fn system(template: &Structure, free: &str, confinement: ConfinementSpec) -> System {
    System::new(Some(template), free, Some(confinement), None).unwrap()
}

fn said(system: System) -> Vec<String> {
    let text = "[system]\nfree = 'Pt'\n[potential]\nkind = 'lennard-jones'\n";
    let settings = Settings { system, ..Settings::parse(text, Path::new("c.toml")).unwrap() };
    warnings(&settings)
}

fn above(lo: f64, hi: f64) -> ConfinementSpec {
    ConfinementSpec::AboveTemplate([lo, hi])
}

/// All warnings are about mistakes: the configurations that were measured have none.
#[test]
fn shipped_configurations_have_no_warnings() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut n_read = 0;
    for folder in ["configs", "configs/tasks", "docs/results/configs"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let transfers = path.is_file() && std::fs::read_to_string(&path).unwrap().contains("[transfer]");
            if path.is_file() && !transfers {
                let settings = Settings::load(&path).unwrap();
                assert_eq!(warnings(&settings), Vec::<String>::new(), "{}", path.display());
                n_read += 1;
            }
        }
    }
    assert!(n_read >= 28, "{n_read}");
}

#[test]
fn ordinary_slabs_have_no_warnings() {
    for (periodic, c) in [(PLANE, 0.0), (PLANE, 20.0), (ALL, 25.0)] {
        let slab = slab(3, 4, 5.0, c, periodic);
        assert_eq!(said(system(&slab, "PtO2", above(0.5, 6.0))), Vec::<String>::new());
        assert_eq!(said(system(&slab, "Pt", above(-1.5, 4.0))), Vec::<String>::new(), "a step");
    }
    let bulk = System::new(
        None,
        "Pt4",
        None,
        Some(Cell { vectors: [[3.9, 0.0, 0.0], [0.0, 3.9, 0.0], [0.0, 0.0, 3.9]], periodic: ALL }),
    );
    assert_eq!(said(bulk.unwrap()), Vec::<String>::new());
    assert_eq!(said(System::new(None, "Ar13", None, None).unwrap()), Vec::<String>::new());
}

/// One sentence each, and only that one.
#[test]
fn what_looks_wrong_gets_one_sentence() {
    let only = |system: System, sentence: &str| assert_eq!(said(system), [sentence]);
    only(
        system(&slab(3, 3, 0.0, 12.0, ALL), "Pt", above(1.0, 4.0)),
        "there is little vacuum: an atom at the upper end of the confinement is 4.08 Å below the next image of the template; enlarge \
         the cell along c, lower the confinement, or let the cell not repeat along c (pbc=\"T T F\")",
    );
    only(
        system(&slab(3, 3, 1.0, 12.0, ALL), "Pt", above(1.0, 30.0)),
        "the confinement reaches the next image of the template: it ends at 34.92 Å, and the image begins at 13.00 Å; enlarge the \
         cell along c, lower the confinement, or let the cell not repeat along c (pbc=\"T T F\")",
    );
    only(
        system(&slab(3, 3, 0.0, 20.0, [false, true, false]), "Pt", above(1.0, 4.0)),
        "the template ends where its cell ends along a, but the cell does not repeat there, so free atoms meet edges; write pbc=\"T \
         T F\" into the template's file if it is a slab",
    );
    only(
        system(&slab(3, 3, 0.0, 20.0, [false; 3]), "Pt", above(1.0, 4.0)),
        "the template ends where its cell ends along a and b, but the cell does not repeat there, so free atoms meet edges; write \
         pbc=\"T T F\" into the template's file if it is a slab",
    );
    only(
        system(&slab(3, 5, 0.0, 20.0, PLANE), "Pt", ConfinementSpec::Absolute([3.0, 10.0])),
        "the confinement reaches into the template: from 3.00 to 7.75 Å there is hardly room for free atoms (its highest atom is at 7.84 \
         Å); raise the lower end",
    );
    only(
        system(&slab(3, 3, 8.0, 25.0, PLANE), "Pt", ConfinementSpec::Absolute([1.0, 6.0])),
        "the confinement from 1.00 to 6.00 Å lies below the template, whose lowest atom is at 8.00 Å; z_angstrom counts \
         from 0, above_template_angstrom from the highest atom",
    );
    only(
        system(&slab(3, 1, 8.0, 25.0, PLANE), "O", above(-3.0, 3.0)),
        "the confinement from 5.00 to 11.00 Å begins below the template, whose lowest atom is at 8.00 Å; z_angstrom counts from 0, \
         above_template_angstrom from the highest atom",
    );
    only(
        system(&slab(3, 5, 0.0, 20.0, PLANE), "OH", above(-4.0, 4.0)),
        "the confinement reaches into the template: from 3.84 to 7.84 Å there is hardly room for free atoms (its highest atom is at 7.84 \
         Å); raise the lower end",
    );
    only(
        system(&slab(3, 3, 0.0, 25.0, PLANE), "O", above(4.0, 8.0)),
        "the confinement begins 4.00 Å above the template's highest atom (at 3.92 Å), too far for a bond; lower it",
    );
    only(
        system(&slab(1, 3, 0.0, 20.0, PLANE), "Pt", above(1.0, 4.0)),
        "the cell repeats every 2.77 Å, so a free atom and its own image bond to the same atoms (two bonds are 5.44 Å long); take a \
         larger cell",
    );
    only(
        System::new(Some(&slab(3, 3, 0.0, 20.0, ALL)), "Pt", None, None).unwrap(),
        "free atoms start anywhere in the cell, also below the template and inside it, because there is no confinement; a slab needs \
         one, such as confinement = { above_template_angstrom = [1.0, 6.0] }",
    );
}

#[test]
fn emt_is_doubted_where_it_is_not_made_for_the_elements() {
    let said = |free: &str, kind: &str| {
        let text = format!("[system]\nfree = '{free}'\n[potential]\nkind = '{kind}'\n");
        warnings(&Settings::parse(&text, Path::new("c.toml")).unwrap())
    };
    let sentence =
        "EMT is made for metals; its energies with C, O mean little, take another potential for results".to_owned();
    assert_eq!(said("Pt4COC2", "emt"), [sentence]);
    assert_eq!(said("PtAlCuAgAuNiPd", "emt"), Vec::<String>::new());
    assert_eq!(said("CO", "lennard-jones"), Vec::<String>::new());
}

#[test]
fn atoms_of_the_template_that_are_too_close_are_named() {
    let mut close = slab(3, 2, 0.0, 20.0, PLANE);
    close.positions[4] = [0.2, -0.3, 0.5];
    close.positions[8] = [8.31 + 1.7, 0.0, 0.0];
    assert_eq!(
        said(system(&close, "Pt", above(1.0, 4.0))),
        [
            "atoms 1 and 5 of the template (Pt and Pt) are only 0.62 Å apart (3 more pairs likewise); correct the template or its cell"
        ]
    );
}

/// The lowest layer of a slab at the upper end of the cell, as other programs write it.
#[test]
fn a_slab_that_the_cell_cuts_is_noticed() {
    let mut wrapped = slab(3, 3, 0.0, 20.0, PLANE);
    let remedy =
        "put the layers together again (with ASE: atoms.positions[atoms.positions[:, 2] > 11.0] -= atoms.cell[2])";
    wrapped.positions[..9].iter_mut().for_each(|place| place[2] = 20.0 - 1.96);
    wrapped.positions[9..].iter_mut().for_each(|place| place[2] -= 0.0);
    let sentence = format!(
        "the end of the cell cuts the template: 9 of its 27 atoms lie above 18.04 Å and the others below 3.92 Å; {remedy}"
    );
    assert_eq!(said(system(&wrapped, "Pt", above(1.0, 4.0))), std::slice::from_ref(&sentence));
    wrapped.cell.periodic = ALL;
    assert_eq!(said(system(&wrapped, "Pt", above(1.0, 4.0))), [sentence]);
    // Where c repeats, the gap in the middle is the vacuum, and absolute heights in it are right.
    assert_eq!(said(system(&wrapped, "Pt", ConfinementSpec::Absolute([4.9, 8.0]))), Vec::<String>::new());
}

#[test]
fn a_task_in_a_few_words() {
    let text = "[system]\nfree = 'Pt'\n[potential]\nkind = 'emt'\n[search]\niterations = 3\nsamples_per_iteration = 7\nbuffer = 5\n[training]\nbatch = 5\n";
    let base = Settings::parse(text, Path::new("c.toml")).unwrap();
    assert_eq!(short(&base, 21), ["Pt as a free cluster (no cell); at most 21 evaluations"]);
    let slab = slab(3, 2, 5.0, 20.0, PLANE);
    let settings = Settings { system: system(&slab, "Au2Pt", above(4.0, 6.0)), seeds: vec![vec![]; 2], ..base };
    let facts = Facts::of(&settings);
    assert_eq!((facts.most_evaluations, facts.n_own_structures, facts.n_template_atoms), (23, 2, 18));
    assert!((facts.vacuum_angstrom.unwrap() - 18.04).abs() < 1e-9);
    let lines = short(&settings, facts.most_evaluations);
    assert_eq!(
        lines[0],
        "Au2Pt on Pt18 (8.31 × 8.31 × 20.00 Å, repeats along a and b); free atoms at 10.96 to 12.96 Å; at most 23 evaluations"
    );
    assert!(lines[1].starts_with("warning: the confinement begins 4.00 Å above") && lines.len() == 2, "{lines:?}");
    assert_eq!(facts.heights().unwrap(), "10.96 to 12.96 Å, 4.00 to 6.00 Å above the template's highest atom");
}

/// Answers with one thing.
struct Says(Answer);

impl Potential for Says {
    fn name(&self) -> String {
        "says".into()
    }

    fn evaluate(
        &self,
        structures: &[Structure],
        deliver: &mut dyn FnMut(Vec<(usize, Answer)>) -> Result<()>,
    ) -> Result<()> {
        assert_eq!(structures.len(), 1);
        deliver(vec![])?;
        deliver(vec![(0, self.0.clone())])?;
        deliver(vec![])
    }
}

#[test]
fn one_energy_is_asked_for() {
    let text = "[system]\nfree = 'Pt3'\n[potential]\nkind = 'emt'\n";
    let settings = Settings::parse(text, Path::new("c.toml")).unwrap();
    let ask =
        |answer: Answer, interrupted| time_one_energy(&settings, &Says(answer), &AtomicBool::new(interrupted), &|_| {});
    let energy = |energy| Answer::Done(Evaluation { energy, forces: vec![[0.0; 3]; 3] });
    let (timing, warning) = ask(energy(2.5), false).unwrap();
    let timing = timing.unwrap();
    assert_eq!((timing.energy_ev, timing.potential.as_str(), warning), (Some(2.5), "says", None));
    assert!(timing.seconds >= 0.0 && !timing.includes_start);
    let (_, warning) = ask(energy(f64::NAN), false).unwrap();
    assert!(warning.unwrap().starts_with("the potential has no finite energy for the structure"));
    let (_, warning) = ask(Answer::Failed("no licence".into()), false).unwrap();
    assert_eq!(warning.unwrap(), "the potential failed for the structure that it was asked for: no licence");
    assert_eq!(ask(energy(2.5), true).unwrap_err().exit_code(), 130);

    let mut narrow = settings.clone();
    narrow.sections.search.min_distance_angstrom = Some(1000.0);
    let (timing, warning) = time_one_energy(&narrow, &Says(energy(1.0)), &AtomicBool::new(false), &|_| {}).unwrap();
    assert_eq!(timing, None);
    assert!(warning.unwrap().starts_with("no room was found for the free atoms in 100 random structures; "));
}
