//! Starting a search from a model that was trained on another system: another template, number of atoms or species.

use super::Weighting;
use super::file::weighting_name;
use super::{Layout, ModelFile, ModelSizes, initial_parameters};
use crate::diffusion::Sde;
use crate::system::elements::symbol;

/// The part of a model that a search takes over.
#[derive(Debug, Clone, PartialEq)]
pub struct Transferred {
    /// Start values in the order of [`Layout`].
    pub parameters: Vec<f64>,
    /// Sentences about the parts that were taken over and those that start fresh.
    pub notes: Vec<String>,
}

impl ModelFile {
    /// The reason why this model cannot run with `sizes` and `sde`, as part of a sentence; `None` if it can. A difference in the
    /// force head alone is allowed.
    pub fn misfit(&self, sizes: &ModelSizes, sde: &Sde) -> Option<String> {
        let differs = |key: &str, of_model: String, of_config: String| {
            Some(format!(
                "the model has {key} {of_model} where the configuration has {of_config}; change the configuration"
            ))
        };
        for (key, found, expected) in [
            ("model.features", self.sizes.features, sizes.features),
            ("model.blocks", self.sizes.blocks, sizes.blocks),
            ("model.radial_functions", self.sizes.radial_functions, sizes.radial_functions),
        ] {
            if found != expected {
                return differs(key, found.to_string(), expected.to_string());
            }
        }
        for (key, found, expected) in [
            ("model.cutoff_angstrom", self.sizes.cutoff_angstrom, sizes.cutoff_angstrom),
            ("diffusion.sigma_min_angstrom", self.sde.sigma_min, sde.sigma_min),
            ("diffusion.sigma_max_angstrom", self.sde.sigma_max, sde.sigma_max),
            ("diffusion.rho", self.sde.rho.into(), sde.rho.into()),
        ] {
            // Imported numbers were rounded to f32.
            if (found - expected).abs() > 1e-6 * expected {
                return differs(key, found.to_string(), expected.to_string());
            }
        }
        None
    }

    /// Whether this model predicts forces on all atoms with these atomic `numbers`.
    pub fn knows_forces(&self, numbers: &[u8]) -> bool {
        self.sizes.force_head && numbers.iter().all(|number| self.species.contains(number))
    }

    /// This model's parameters for a search with a model of `sizes` on atoms with these atomic `numbers`. Embedding rows of
    /// species that it was not trained on, and a force head that it lacks, get the start values of `seed`; a force head that
    /// `sizes` lacks is dropped. The sizes must fit otherwise ([`ModelFile::misfit`]). Training continues with `weighting`. If it
    /// differs from the one before, a note says so, because the meaning of the output changes.
    pub fn transfer(&self, sizes: &ModelSizes, weighting: Weighting, numbers: &[u8], seed: u64) -> Transferred {
        let (from, to) = (Layout::new(&self.sizes), Layout::new(sizes));
        let mut parameters = initial_parameters(&to, seed);
        let mut notes = vec![match &self.species[..] {
            [] => "the search starts from the model of [transfer], whose file does not name its species".to_owned(),
            known => format!("the search starts from the model of [transfer], trained on {}", symbols(known)),
        }];
        let mut fresh: Vec<u8> = if self.species.is_empty() { vec![] } else { numbers.to_vec() };
        fresh.retain(|number| !self.species.contains(number));
        fresh.sort_unstable();
        fresh.dedup();
        for tensor in &to.tensors {
            let Some(source) = from.find(&tensor.name) else { continue };
            let old = &self.parameters[source.range()];
            if tensor.name != "representation.embedding.weight" {
                parameters[tensor.range()].copy_from_slice(old);
                continue;
            }
            let rows =
                parameters[tensor.range()].chunks_exact_mut(sizes.features).zip(old.chunks_exact(sizes.features));
            for (number, (row, old)) in rows.enumerate() {
                if !fresh.iter().any(|&z| usize::from(z) == number) {
                    row.copy_from_slice(old);
                }
            }
        }
        match &fresh[..] {
            [] => {}
            [one] => notes.push(format!("{} is new to it: its embedding starts fresh", symbols(&[*one]))),
            several => notes.push(format!("{} are new to it: their embeddings start fresh", symbols(several))),
        }
        match (self.sizes.force_head, sizes.force_head) {
            (false, true) => notes.push("it has no force head: a fresh one is added".to_owned()),
            (true, false) => notes.push("its force head is left out: there is no [guidance]".to_owned()),
            (true, true) if self.knows_forces(numbers) => {
                notes.push("its forces guide the first samples already".to_owned());
            }
            _ => {}
        }
        if !self.score_learned {
            notes.push("it learned forces alone: its score starts untrained".to_owned());
        }
        if self.weighting != weighting {
            let (before, now) = (weighting_name(self.weighting), weighting_name(weighting));
            notes.push(format!(
                "it was trained with weighting = \"{before}\" and is trained with \"{now}\" from here on"
            ));
        }
        Transferred { parameters, notes }
    }
}

fn symbols(numbers: &[u8]) -> String {
    numbers.iter().map(|&number| symbol(number).unwrap_or("an unknown element")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::RadialBasis;

    const SIZES: ModelSizes =
        ModelSizes { features: 4, blocks: 2, radial_functions: 3, cutoff_angstrom: 4.5, force_head: false };

    fn model(species: &[u8], force_head: bool) -> ModelFile {
        let sizes = ModelSizes { force_head, ..SIZES };
        ModelFile {
            sizes,
            radial_basis: None,
            parameters: initial_parameters(&Layout::new(&sizes), 9),
            sde: Sde { sigma_min: 0.02, sigma_max: 0.7, rho: 1 },
            weighting: Weighting::Published,
            species: species.to_vec(),
            score_learned: true,
        }
    }

    #[test]
    fn known_species_keep_their_rows_and_new_ones_start_fresh() {
        let model = model(&[29, 78], false);
        let Transferred { parameters, notes } = model.transfer(&SIZES, Weighting::Published, &[78, 79, 78, 8], 1);
        let fresh = initial_parameters(&Layout::new(&SIZES), 1);
        for (k, found) in parameters.chunks_exact(4).take(100).enumerate() {
            let expected = if [8, 79].contains(&k) { &fresh } else { &model.parameters };
            assert_eq!(found, &expected[4 * k..4 * k + 4], "row {k}");
        }
        assert_eq!(parameters[400..], model.parameters[400..]);
        assert_eq!(
            notes,
            [
                "the search starts from the model of [transfer], trained on Cu, Pt",
                "O, Au are new to it: their embeddings start fresh"
            ]
        );
        let Transferred { parameters, notes } = model.transfer(&SIZES, Weighting::Published, &[79], 1);
        assert_ne!(parameters[4 * 79..4 * 80], model.parameters[4 * 79..4 * 80]);
        assert_eq!(notes[1], "Au is new to it: its embedding starts fresh");
    }

    #[test]
    fn nothing_is_fresh_where_the_species_are_unknown_or_all_known() {
        for known in [&[][..], &[6, 78]] {
            let model = model(known, false);
            let transferred = model.transfer(&SIZES, Weighting::Published, &[78, 6], 1);
            assert_eq!(transferred.parameters, model.parameters);
            assert_eq!(transferred.notes.len(), 1);
        }
    }

    #[test]
    fn force_heads_are_added_and_left_out() {
        let with = ModelSizes { force_head: true, ..SIZES };
        let (n, fresh) = (Layout::new(&SIZES).n_parameters(), initial_parameters(&Layout::new(&with), 1));
        let plain = model(&[78], false);
        let added = plain.transfer(&with, Weighting::Published, &[78], 1);
        assert_eq!((&added.parameters[..n], &added.parameters[n..]), (&plain.parameters[..], &fresh[n..]));
        assert_eq!(added.notes[1], "it has no force head: a fresh one is added");
        let guided = model(&[78], true);
        let kept = guided.transfer(&with, Weighting::Published, &[78, 78], 1);
        assert_eq!(
            (&kept.parameters, &kept.notes[1][..]),
            (&guided.parameters, "its forces guide the first samples already")
        );
        let partly = guided.transfer(&with, Weighting::Published, &[78, 8], 1);
        assert_eq!(partly.notes[1..], ["O is new to it: its embedding starts fresh"]);
        assert!(guided.knows_forces(&[78]) && !guided.knows_forces(&[8, 78]) && !plain.knows_forces(&[78]));
        let dropped = guided.transfer(&SIZES, Weighting::Published, &[78], 1);
        assert_eq!(dropped.parameters, guided.parameters[..n]);
        assert_eq!(dropped.notes[1], "its force head is left out: there is no [guidance]");
    }

    #[test]
    fn another_weighting_is_said() {
        let transferred = model(&[78], false).transfer(&SIZES, Weighting::Dsm, &[78], 1);
        assert_eq!(
            transferred.notes[1..],
            ["it was trained with weighting = \"published\" and is trained with \"dsm\" from here on"]
        );
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let model = ModelFile { radial_basis: Some(RadialBasis::even(3, 4.5)), ..model(&[78], true) };
        let sde = model.sde;
        assert_eq!(model.misfit(&SIZES, &sde), None);
        // A cutoff that was rounded to f32.
        let rounded = ModelSizes { cutoff_angstrom: f64::from(4.1f32), ..model.sizes };
        let imported = ModelFile { sizes: rounded, ..model.clone() };
        assert_eq!(imported.misfit(&ModelSizes { cutoff_angstrom: 4.1, ..SIZES }, &sde), None);
        for (sizes, sde, what) in [
            (ModelSizes { features: 5, ..SIZES }, sde, "model.features 4 where the configuration has 5"),
            (ModelSizes { blocks: 1, ..SIZES }, sde, "model.blocks 2 where the configuration has 1"),
            (
                ModelSizes { radial_functions: 9, ..SIZES },
                sde,
                "model.radial_functions 3 where the configuration has 9",
            ),
            (
                ModelSizes { cutoff_angstrom: 5.0, ..SIZES },
                sde,
                "model.cutoff_angstrom 4.5 where the configuration has 5",
            ),
            (
                SIZES,
                Sde { sigma_min: 0.01, ..sde },
                "diffusion.sigma_min_angstrom 0.02 where the configuration has 0.01",
            ),
            (SIZES, Sde { sigma_max: 1.0, ..sde }, "diffusion.sigma_max_angstrom 0.7 where the configuration has 1"),
            (SIZES, Sde { rho: 3, ..sde }, "diffusion.rho 1 where the configuration has 3"),
        ] {
            let sentence = format!("the model has {what}; change the configuration");
            assert_eq!(model.misfit(&sizes, &sde), Some(sentence));
        }
    }
}
