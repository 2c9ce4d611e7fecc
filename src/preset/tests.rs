use super::energies::Energies;
use super::heights::Heights;
use super::numbers::iterations;
use super::{Geometry, outline, text};
use crate::config::{Settings, in_sections};
use crate::system::read_structure;
use std::path::Path;

fn heights(template: &str, free: &[u8], moves: bool) -> Option<Heights> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/structures").join(template);
    Heights::of(&read_structure(&path).unwrap(), free, moves)
}

/// The heights are those that people gave the measured configurations, or hold them.
#[test]
fn heights_are_those_of_the_measured_configurations() {
    let range = |template, free: &[u8], moves| heights(template, free, moves).map(|h| (h.from, h.to));
    assert_eq!(range("pt111-6x6x2.xyz", &[78; 7], false), Some((1.0, 6.5)));
    assert_eq!(range("cu100-4x4x2.xyz", &[79; 3], true), Some((-0.5, 6.5)));
    let (from, to) = range("pt-stepped.xyz", &[78], false).unwrap();
    assert!(
        from <= 0.0 && to == 4.0,
        "an atom in the corner of the step is at the height of the upper terrace: {from} to {to}"
    );
    assert_eq!(range("cu-bulk-108.xyz", &[29], false), None, "no slab");
}

/// An atom rests where it touches three atoms of a close-packed layer: geometry by hand.
#[test]
fn atoms_rest_in_hollows() {
    let Heights { rest, .. } = heights("pt111-6x6x2.xyz", &[78], false).unwrap();
    let (bond, side): (f64, f64) = (2.72, 2.7719);
    let hollow = (bond * bond - side * side / 3.0).sqrt();
    assert!((rest - hollow).abs() < 0.15, "{rest} is not {hollow}");
}

#[test]
fn more_atoms_get_more_iterations() {
    let all: Vec<usize> = [1, 2, 3, 4, 7, 8, 13, 14, 500].map(iterations).to_vec();
    assert!(all.is_sorted() && all[0] >= 5 && all[8] > all[0], "{all:?}");
}

/// Where an energy takes long, candidates are chosen for every sample of a surface. The result is a configuration in each case.
#[test]
fn dear_energies_of_surfaces_get_candidates() {
    let energies = |seconds| Energies {
        n_structures: 4,
        spread: 1.0,
        kt: [0.5, 0.02],
        hopping_kt: 0.15,
        n_evaluations: 40,
        seconds,
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let on_surface =
        "system = { template = 'configs/structures/pt111-6x6x2.xyz', free = 'Pt7' }\npotential = { kind = 'emt' }";
    let cluster = "system = { free = 'Pt7' }\npotential = { kind = 'emt' }";
    let screened = |task: &str, seconds| {
        let task = in_sections(task.parse().unwrap(), Default::default()).unwrap();
        let geometry = Geometry::of(&task, root).unwrap();
        let chosen = text::text(&task, &geometry, Some(&energies(seconds)));
        let settings = Settings::parse(&chosen, &root.join("c.toml")).unwrap();
        assert_eq!(settings.system.n_free(), outline(task, root).unwrap().system.n_free());
        settings.sections.proposals.unwrap().screen
    };
    assert_eq!((screened(on_surface, 0.05), screened(on_surface, 0.01)), (8, 1));
    assert_eq!(screened(cluster, 0.05), 1);
}
