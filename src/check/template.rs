//! Warnings about the template and its cell.

use super::{AXES, listed, longest_bond};
use crate::system::elements::{covalent_radius, symbol};
use crate::system::vector::{add, norm, sub};
use crate::system::{Cell, Images, System, Vec3};

/// Atoms of a template nearer than this part of the sum of their covalent radii are a mistake: the bonds of solids are longer. The
/// shortest ones, U=O and N≡N, have 0.68 and 0.77.
const TOO_CLOSE: f64 = 0.65;
/// Atoms within this multiple of the sum of their covalent radii are bonded.
const BONDED: f64 = 1.2;

/// The nearest two atoms of the template, as a part of their bond, if they are too close.
pub fn too_close(system: &System) -> Option<String> {
    let images = Images::new(&system.cell);
    let mut worst: Option<([usize; 2], f64, f64)> = None;
    let mut n_pairs = 0;
    for i in 0..system.n_template() {
        for j in 0..i {
            let reach = TOO_CLOSE * bond(system, i, j);
            let difference = sub(system.template_positions[j], system.template_positions[i]);
            let mut nearest = f64::INFINITY;
            images.for_each_within(difference, reach, |image| nearest = nearest.min(image.squared.sqrt()));
            if nearest < reach {
                n_pairs += 1;
                if worst.is_none_or(|(_, _, part)| nearest / reach < part) {
                    worst = Some(([j, i], nearest, nearest / reach));
                }
            }
        }
    }
    let ([i, j], distance, _) = worst?;
    let [a, b] = [i, j].map(|k| symbol(system.template_numbers[k]).unwrap_or("?"));
    let others = if n_pairs > 1 { format!(" ({} more pairs likewise)", n_pairs - 1) } else { String::new() };
    Some(format!(
        "atoms {} and {} of the template ({a} and {b}) are only {distance:.2} Å apart{others}; correct the template or its cell",
        i + 1,
        j + 1
    ))
}

fn bond(system: &System, i: usize, j: usize) -> f64 {
    covalent_radius(system.template_numbers[i]) + covalent_radius(system.template_numbers[j])
}

/// Axes along which the template would be bonded to its next image, if the cell repeated there.
pub fn does_not_repeat(system: &System) -> Option<String> {
    let Cell { vectors, periodic } = system.cell;
    // Under a confinement c is the direction of the vacuum.
    let n_axes = if system.confinement.is_some() { 2 } else { 3 };
    let cut: Vec<usize> = (0..n_axes).filter(|&k| !periodic[k] && continues(system, vectors[k])).collect();
    if cut.is_empty() {
        return None;
    }
    let flags: Vec<&str> = (0..3).map(|k| if periodic[k] || cut.contains(&k) { "T" } else { "F" }).collect();
    let axes: Vec<&str> = cut.iter().map(|&k| AXES[k]).collect();
    Some(format!(
        "the template ends where its cell ends along {}, but the cell does not repeat there, so free atoms meet edges; write \
         pbc=\"{}\" into the template's file if it is a slab",
        listed(&axes),
        flags.join(" ")
    ))
}

/// Whether an atom of the template would be bonded to one that `vector` (Å) moves.
fn continues(system: &System, vector: Vec3) -> bool {
    let n = system.n_template();
    let positions = &system.template_positions;
    let bonded = |i: usize, j: usize| norm(sub(add(positions[j], vector), positions[i])) < BONDED * bond(system, i, j);
    vector != [0.0; 3] && (0..n).any(|i| (0..n).any(|j| bonded(i, j)))
}

/// A cell in which a free atom and its own image bond to the same atom.
pub fn small_cell(system: &System) -> Option<String> {
    if system.n_template() == 0 {
        return None;
    }
    let mut plane = system.cell;
    plane.periodic[2] &= system.confinement.is_none();
    let period = Images::new(&plane).shortest_lattice_vector();
    let two_bonds = 2.0 * longest_bond(system);
    (period < two_bonds).then(|| {
        format!(
            "the cell repeats every {period:.2} Å, so a free atom and its own image bond to the same atoms (two bonds are \
             {two_bonds:.2} Å long); take a larger cell"
        )
    })
}

/// What the file of the template says and the search does not use.
pub fn unused(extras: &[String]) -> Option<String> {
    let extras: Vec<&str> = extras.iter().map(String::as_str).collect();
    (!extras.is_empty()).then(|| {
        format!(
            "the search does not use {} of the template's file; the template never moves, and the potential gets elements, \
             positions and cell alone",
            listed(&extras)
        )
    })
}
