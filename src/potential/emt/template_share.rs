//! Pair sums of effective medium theory over template and free atoms. The template's share is computed once.
//!
//! A structure is the template's T atoms, always at the same positions, and then other atoms. [`TemplateShare::new`] keeps the
//! effect of template atoms on each other: pair energy, forces, densities, and how each density answers to every atom's motion. A
//! structure then needs only the pairs with another atom. If those change a template atom's density, the change of its embedding
//! slope times the kept gradient corrects the forces. With T = 0 the same code is the plain sum over all pairs.

use super::elements::Model;
use crate::error::Result;
use crate::potential::Evaluation;
use crate::potential::image_list::{ImageList, Wrapped};
use crate::system::vector::{add, dot, is_finite, scale, sub};
use crate::system::{Cell, Vec3};

/// The template's share of the sums, ready for structures that contain it.
#[derive(Debug)]
pub(super) struct TemplateShare {
    model: Model,
    images: ImageList,
    /// T template atoms: place of the element in the table.
    elements: Vec<u8>,
    wrapped: Vec<Wrapped>,
    /// Density at each template atom from the template, T, 1/Å³.
    density: Vec<f64>,
    /// Embedding energy (eV) and slope (eV·Å³) at that density, T.
    embedding: Vec<(f64, f64)>,
    /// Pair energy within the template, eV.
    pair_energy: f64,
    /// Forces of the template alone, T × 3, eV/Å.
    forces: Vec<Vec3>,
    /// For each template atom i, where its entries of `gradient` start; T + 1.
    first: Vec<usize>,
    /// For each template atom i and neighbour j: j and ∂n_i/∂R_j, 1/Å⁴.
    gradient: Vec<(u32, Vec3)>,
    /// Σ_j ∂n_i/∂R_j = −∂n_i/∂R_i of each template atom, T, 1/Å⁴.
    gradient_sum: Vec<Vec3>,
    /// Two template atoms share one place.
    coincident: bool,
}

/// The part of a [`TemplateShare`] that a kernel needs, and the data of the n atoms in addition to its T template atoms; N = T +
/// n.
#[derive(Debug)]
pub(crate) struct Tables {
    /// Pair functions and constants of the elements.
    pub model: Model,
    /// Place in the table of elements, N.
    pub element_of: Vec<u32>,
    /// Pair energy within the template and of the other atoms with their own images, eV.
    pub pair_energy: f64,
    /// Density from the template at its atoms, and from their own images at the other atoms, N, 1/Å³.
    pub density: Vec<f64>,
    /// Embedding energy (eV) and slope (eV·Å³) of the template atoms at that density, T.
    pub embedding: Vec<[f64; 2]>,
    /// Forces of the template alone, T × 3, eV/Å.
    pub forces: Vec<Vec3>,
    /// Σ_j ∂n_i/∂R_j of each template atom i, T, 1/Å⁴.
    pub gradient_sum: Vec<Vec3>,
    /// For each template atom j, where its entries of the next two start; T + 1.
    pub gradient_starts: Vec<u32>,
    /// The template atoms i whose density the atom changes.
    pub gradient_atoms: Vec<u32>,
    /// ∂n_i/∂R_j, 1/Å⁴.
    pub gradients: Vec<Vec3>,
    /// Two template atoms share one place.
    pub coincident: bool,
}

/// A pair within the cutoff. Moving i along `direction` shortens the distance.
#[derive(Debug, Clone, Copy)]
struct Pair {
    i: u32,
    j: u32,
    /// Unit vector from i to j.
    direction: Vec3,
    /// ∂n_i/∂r and ∂n_j/∂r, 1/Å⁴.
    density_slope: [f64; 2],
    /// Slope of the pair energy, eV/Å.
    energy_slope: f64,
}

/// Memory that one thread reuses from structure to structure.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub elements: Vec<u8>,
    wrapped: Vec<Wrapped>,
    density: Vec<f64>,
    slope: Vec<f64>,
    pairs: Vec<Pair>,
}

/// Sums over the pairs visited.
struct PairSum {
    energy: f64,
    coincident: bool,
}

impl TemplateShare {
    /// The share of no template: every pair is visited.
    ///
    /// # Errors
    /// `BadInput` for a cell without volume or much thinner than the cutoff.
    pub fn empty(model: &Model, cell: &Cell) -> Result<Self> {
        Ok(TemplateShare {
            model: model.clone(),
            images: ImageList::new(cell, model.range)?,
            elements: Vec::new(),
            wrapped: Vec::new(),
            density: Vec::new(),
            embedding: Vec::new(),
            pair_energy: 0.0,
            forces: Vec::new(),
            first: vec![0],
            gradient: Vec::new(),
            gradient_sum: Vec::new(),
            coincident: false,
        })
    }

    /// The share of a template: `elements` are places in the table, `positions` in Å.
    ///
    /// # Errors
    /// `BadInput` for a cell without volume or much thinner than the cutoff.
    pub fn new(model: &Model, cell: &Cell, elements: Vec<u8>, positions: &[Vec3]) -> Result<Self> {
        let empty = TemplateShare::empty(model, cell)?;
        let mut scratch = Scratch { elements, ..Scratch::default() };
        let sum = empty.sum_pairs(positions, &mut scratch);
        let (_, forces) = empty.embed_and_force(&mut scratch);

        let n = positions.len();
        let mut neighbours: Vec<Vec<(u32, Vec3)>> = vec![Vec::new(); n];
        for pair in &scratch.pairs {
            let [slope_i, slope_j] = pair.density_slope;
            neighbours[pair.i as usize].push((pair.j, scale(slope_i, pair.direction)));
            neighbours[pair.j as usize].push((pair.i, scale(-slope_j, pair.direction)));
        }
        let gradient_sum =
            neighbours.iter().map(|list| list.iter().fold([0.0; 3], |sum, &(_, gradient)| add(sum, gradient)));
        let mut first = vec![0];
        first.extend(neighbours.iter().scan(0, |end, list| {
            *end += list.len();
            Some(*end)
        }));
        let embed = |(&element, &n): (&u8, &f64)| empty.model.elements[usize::from(element)].embed(n);
        Ok(TemplateShare {
            embedding: scratch.elements.iter().zip(&scratch.density).map(embed).collect(),
            gradient_sum: gradient_sum.collect(),
            first,
            gradient: neighbours.concat(),
            elements: scratch.elements,
            wrapped: scratch.wrapped,
            density: scratch.density,
            pair_energy: sum.energy,
            forces,
            coincident: sum.coincident,
            ..empty
        })
    }

    /// Energy and forces of the N atoms at `positions` (Å); the first T are this template.
    /// `scratch.elements` holds all N places in the table. If two atoms share one place, the energy is infinite and the forces
    /// are not numbers. If a position is not finite, both are not numbers.
    pub fn evaluate(&self, positions: &[Vec3], scratch: &mut Scratch) -> Evaluation {
        let n = positions.len();
        if !positions[self.elements.len()..].iter().all(|&position| is_finite(position)) {
            return Evaluation { energy: f64::NAN, forces: vec![[f64::NAN; 3]; n] };
        }
        let sum = self.sum_pairs(positions, scratch);
        if sum.coincident || self.coincident {
            return Evaluation { energy: f64::INFINITY, forces: vec![[f64::NAN; 3]; n] };
        }
        let (embedding, forces) = self.embed_and_force(scratch);
        Evaluation { energy: sum.energy + embedding, forces }
    }

    /// Collects the pairs that contain an atom outside the template, and the densities of all atoms.
    fn sum_pairs(&self, positions: &[Vec3], scratch: &mut Scratch) -> PairSum {
        let n_template = self.elements.len();
        let Scratch { elements, wrapped, density, pairs, .. } = scratch;
        wrapped.clear();
        wrapped.extend_from_slice(&self.wrapped);
        wrapped.extend(positions[n_template..].iter().map(|&position| self.images.wrap(position)));
        density.clear();
        density.extend_from_slice(&self.density);
        density.resize(positions.len(), 0.0);
        pairs.clear();

        let mut sum = PairSum { energy: self.pair_energy, coincident: false };
        let range_squared = self.model.range * self.model.range;
        for i in n_template..positions.len() {
            let element_i = usize::from(elements[i]);
            let (own_density, own_energy) = self.own_images(element_i);
            density[i] += own_density;
            sum.energy += own_energy;
            for j in 0..i {
                let reduced = self.images.reduced(&wrapped[i], &wrapped[j]);
                for &translation in self.images.translations() {
                    let difference = add(reduced, translation);
                    let r_squared = dot(difference, difference);
                    if r_squared >= range_squared {
                        continue;
                    }
                    if r_squared == 0.0 {
                        sum.coincident = true;
                        continue;
                    }
                    let r = r_squared.sqrt();
                    let terms = self.model.pair(element_i, usize::from(elements[j]), r);
                    density[i] += terms.density[0];
                    density[j] += terms.density[1];
                    sum.energy += terms.energy;
                    pairs.push(Pair {
                        i: i as u32,
                        j: j as u32,
                        direction: scale(1.0 / r, difference),
                        density_slope: terms.density_slope,
                        energy_slope: terms.energy_slope,
                    });
                }
            }
        }
        sum
    }

    /// Density (1/Å³) and energy (eV) that an atom of `element` gets from its own images. They keep their distance, so there is
    /// no force.
    fn own_images(&self, element: usize) -> (f64, f64) {
        self.images.self_distances().iter().fold((0.0, 0.0), |(density, energy), &r| {
            let terms = self.model.pair(element, element, r);
            (density + terms.density[0], energy + 0.5 * terms.energy)
        })
    }

    /// All data of it that structures of this template and other atoms of `elements` (places in the table) need, as plain tables.
    pub fn tables(&self, elements: &[u8]) -> Tables {
        let own_images = elements.iter().map(|&element| self.own_images(usize::from(element)));
        let (own_density, own_energy): (Vec<f64>, Vec<f64>) = own_images.unzip();
        // Here each atom lists the neighbours that change its density; the tables list those whose density it changes.
        let mut changed: Vec<Vec<(u32, Vec3)>> = vec![Vec::new(); self.elements.len()];
        for i in 0..self.elements.len() {
            for &(j, gradient) in &self.gradient[self.first[i]..self.first[i + 1]] {
                changed[j as usize].push((i as u32, gradient));
            }
        }
        let mut gradient_starts = vec![0];
        gradient_starts.extend(changed.iter().scan(0, |end, list| {
            *end += list.len() as u32;
            Some(*end)
        }));
        let (gradient_atoms, gradients) = changed.into_iter().flatten().unzip();
        Tables {
            model: self.model.clone(),
            element_of: self.elements.iter().chain(elements).map(|&place| u32::from(place)).collect(),
            pair_energy: self.pair_energy + own_energy.iter().sum::<f64>(),
            density: [&self.density[..], &own_density].concat(),
            embedding: self.embedding.iter().map(|&(energy, slope)| [energy, slope]).collect(),
            forces: self.forces.clone(),
            gradient_sum: self.gradient_sum.clone(),
            gradient_starts,
            gradient_atoms,
            gradients,
            coincident: self.coincident,
        }
    }

    /// Embedding energy (eV) of all atoms and forces (N × 3, eV/Å) of pairs and embedding together.
    fn embed_and_force(&self, scratch: &mut Scratch) -> (f64, Vec<Vec3>) {
        let n_template = self.elements.len();
        let Scratch { elements, density, slope, pairs, .. } = scratch;
        let mut forces = Vec::with_capacity(density.len());
        forces.extend_from_slice(&self.forces);
        forces.resize(density.len(), [0.0; 3]);

        let mut energy = 0.0;
        slope.clear();
        for (i, &n) in density.iter().enumerate() {
            // A template atom that no other atom reaches keeps its embedding.
            let (embedding, slope_i) = match self.density.get(i) {
                Some(&kept) if kept == n => self.embedding[i],
                _ => self.model.elements[usize::from(elements[i])].embed(n),
            };
            energy += embedding;
            slope.push(slope_i);
        }
        for i in 0..n_template {
            // The force of a density on an atom is −F'(n_i)·∂n_i/∂R.
            let change = slope[i] - self.embedding[i].1;
            if change == 0.0 {
                continue;
            }
            forces[i] = add(forces[i], scale(change, self.gradient_sum[i]));
            for &(j, gradient) in &self.gradient[self.first[i]..self.first[i + 1]] {
                forces[j as usize] = sub(forces[j as usize], scale(change, gradient));
            }
        }
        for pair in pairs.iter() {
            let (i, j) = (pair.i as usize, pair.j as usize);
            let slope = pair.energy_slope + slope[i] * pair.density_slope[0] + slope[j] * pair.density_slope[1];
            let pull = scale(slope, pair.direction);
            forces[i] = add(forces[i], pull);
            forces[j] = sub(forces[j], pull);
        }
        (energy, forces)
    }
}
