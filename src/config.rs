//! Configuration files: TOML to validated settings.
//!
//! [`Settings::load`] reads a file as a user writes it; [`Settings::to_toml`] writes it back with every default spelled out. A
//! run folder keeps that text together with copies of the files it names (`template.xyz`, `target.xyz`, `seeds.xyz`,
//! `transfer.safetensors`). So the folder needs nothing outside itself and may be moved.

mod adaptive;
mod baseline;
pub(crate) mod depth;
mod diffusion;
mod file;
mod fragments;
mod guidance;
mod keys;
mod keywords;
mod mobile;
mod model;
mod objective;
mod placement;
mod proposals;
mod relaxation;
mod search;
mod seeds;
mod source;
mod stopping;
mod system;
mod target;
#[cfg(test)]
mod tests;
mod training;
mod transfer;

pub use adaptive::AdaptiveSection;
pub use baseline::{AnnealingMoves, AnnealingSettings, BasinHoppingSettings, EvolutionSettings, RandomSearchSettings};
pub use diffusion::{DiffusionSection, KnownBasin, ScoreBasin};
pub use file::File;
pub use fragments::FragmentSection;
pub use guidance::GuidanceSection;
pub use keywords::{in_sections, sections};
pub use mobile::MobileSection;
pub use model::ModelSection;
pub use objective::{MAX_SCORE, ObjectiveSection, TargetScoreKeys};
pub use placement::{PlacementMethod, PlacementSettings};
pub use proposals::{HopMoves, Parents, ProposalSection};
pub use relaxation::{Record, RelaxationSection};
pub use search::{FirstSamples, SearchSection};
pub use seeds::SeedsSection;
pub use stopping::StoppingSection;
pub use system::{ConfinementSection, SystemSection};
pub use target::{Matching, Target, TargetSection};
pub use training::{EngineSection, TrainingSection};
pub use transfer::TransferSection;

use crate::disk::write_atomic;
use crate::engine::{ReverseSettings, Setup, TrainingSettings};
use crate::error::{Error, Result};
use crate::model::{ModelFile, Precision, RadialBasis};
use crate::system::xyz::{Frame, format_frames};
use crate::system::{Structure, System, Vec3, read_frame};
use seeds::read_seeds;
use source::SourceFile;
use std::path::{Path, PathBuf};
use system::template_extras;
use target::check_target;

/// File name of the configuration in a run folder.
const RUN_CONFIG: &str = "config.toml";
/// File name of the template's copy in a run folder.
const TEMPLATE_COPY: &str = "template.xyz";
/// File name of the target's copy in a run folder.
const TARGET_COPY: &str = "target.xyz";
/// File name of the copy of the own structures in a run folder.
const SEEDS_COPY: &str = "seeds.xyz";
/// File name of the copy of the model to start from in a run folder.
const TRANSFER_COPY: &str = "transfer.safetensors";

/// A validated configuration with the structures and the model it names.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The file with all defaults filled in; its paths are those of the copies in a run folder.
    pub sections: File,
    /// Template, free atoms, cell, confinement.
    pub system: System,
    /// The template, its mobile atoms last.
    pub template: Option<Structure>,
    /// What the file of the template says beyond that, in words, if it might matter: constraints, moments, charges.
    pub template_extras: Vec<String>,
    /// The molecules' structures, one for each section `[[fragments]]`.
    pub fragments: Vec<Structure>,
    /// The model to start from.
    pub transfer: Option<ModelFile>,
    /// When a structure counts as found.
    pub target: Option<Target>,
    /// The free atoms (n × 3, Å) of the structures that a search begins with.
    pub seeds: Vec<Vec<Vec3>>,
}

impl Settings {
    /// Reads and checks the configuration at `path`; paths of structures in it are relative to it.
    ///
    /// # Errors
    /// `BadInput` with the file and line of the first key or value that cannot be used.
    pub fn load(path: &Path) -> Result<Self> {
        Self::resolve(SourceFile::read(path)?)
    }

    /// The configuration in `text`, the contents of the file `path`; paths of structures in it are relative to that file.
    ///
    /// # Errors
    /// `BadInput` as [`Settings::load`].
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        Self::resolve(SourceFile::new(text.to_owned(), path))
    }

    fn resolve(source: SourceFile) -> Result<Self> {
        let mut sections = File::read(&source)?;
        let template = match &mut sections.system.template {
            Some(name) => Some(copy_of(&source, "system.template", name, TEMPLATE_COPY)?),
            None => None,
        };
        let template_extras = template.as_ref().map_or_else(Vec::new, |template| template_extras(template, &sections));
        let order = sections.system.order(template.as_ref(), &source)?;
        let template = template.map(|template| template.structure.reordered(&order));
        let (mut fragments, mut molecules) = (Vec::new(), Vec::new());
        for (section, number) in sections.fragments.iter_mut().zip(1..) {
            let named = section.clone();
            fragments.push(copy_of(&source, "fragments", &mut section.file, &fragment_copy(number))?.structure);
            molecules.extend(named.molecules(&fragments[number - 1], &source)?);
        }
        let system = sections.system.build(template.as_ref(), molecules, &source)?;
        let transfer = match &sections.transfer {
            Some(section) => Some(section.read(&sections, &source)?),
            None => None,
        };
        if let Some(section) = &mut sections.transfer {
            section.model = TRANSFER_COPY.into();
        }
        let target = match &mut sections.target {
            Some(section) => {
                let target = copy_of(&source, "target.structure", &mut section.structure, TARGET_COPY)?.structure;
                let structure = like_template(&target, order);
                check_target(&structure, &system).map_err(|message| source.error("target.structure", message))?;
                Some(Target { structure, matching: section.matching })
            }
            None => None,
        };
        let mut seeds = Vec::new();
        if let Some(section) = &mut sections.seeds {
            let path = source.path.parent().unwrap_or(Path::new("")).join(&section.structures);
            seeds = read_seeds(&path, &system).map_err(|cause| source.error("seeds.structures", cause))?;
            section.structures = SEEDS_COPY.into();
        }
        Ok(Settings { sections, system, template, template_extras, fragments, transfer, target, seeds })
    }

    /// Takes the own structures in the file at `path` in place of those that the configuration names.
    ///
    /// # Errors
    /// `BadInput` if the file cannot be read, or with the number of the first structure that is none of the system.
    pub fn seed_with(&mut self, path: &Path) -> Result<()> {
        self.seeds = read_seeds(path, &self.system)?;
        self.sections.seeds = Some(SeedsSection { structures: SEEDS_COPY.into() });
        Ok(())
    }

    /// The configuration with every default written out, as a run folder keeps it together with [`Settings::copy_files`].
    pub fn to_toml(&self) -> String {
        toml::to_string(&self.sections).expect("sections hold only tables, numbers, strings and booleans")
    }

    /// The seed in the run folder `folder`, if it can be read.
    pub fn seed_of_run(folder: &Path) -> Option<u64> {
        u64::try_from(table_of_run(folder)?.get("search")?.get("seed")?.as_integer()?).ok()
    }

    /// The file with the own structures of the run in `folder`, if it has some.
    pub fn seeds_of_run(folder: &Path) -> Option<PathBuf> {
        table_of_run(folder)?.get("seeds").map(|_| folder.join(SEEDS_COPY))
    }

    /// The part of the configuration that an engine needs.
    pub fn setup(&self) -> Setup {
        let File { model, diffusion, training, stopping, engine, guidance, .. } = &self.sections;
        let even = || RadialBasis::even(model.radial_functions, model.cutoff_angstrom);
        Setup {
            system: self.system.clone(),
            sizes: model.sizes(guidance.is_some()),
            radial_basis: self.transfer.as_ref().map_or_else(even, ModelFile::basis),
            sde: diffusion.sde(),
            reverse: ReverseSettings {
                steps: diffusion.steps,
                t_min: diffusion.t_min,
                score_scale: diffusion.score_scale,
                basin_variance: diffusion.basin_variance(),
            },
            training: TrainingSettings {
                batch: training.batch,
                learning_rate: training.learning_rate,
                decay: training.decay(),
                weight_decay: training.weight_decay,
                gradient_clip: training.gradient_clip,
                weighting: training.weighting,
                stop: stopping.as_ref().map(StoppingSection::rule),
            },
            guidance: guidance.as_ref().map(GuidanceSection::settings),
            precision: engine.precision,
        }
    }

    /// The time limit in the run folder `folder`, hours, if it has one that can be read.
    pub fn hours_of_run(folder: &Path) -> Option<f64> {
        table_of_run(folder)?.get("search")?.get("hours")?.as_float()
    }

    /// Where the run folder `folder` has the target.
    pub fn target_of_run(folder: &Path) -> PathBuf {
        folder.join(TARGET_COPY)
    }

    /// The target as a run folder has it, if there is one.
    pub fn target_copy(&self) -> Option<String> {
        self.target.as_ref().map(|target| copied(&target.structure))
    }

    /// Puts copies of the structures and the model that [`Settings::to_toml`] refers to into the run folder `folder`. Copies
    /// that are there already must be the same.
    ///
    /// # Errors
    /// `BadInput` if one differs, `Storage` if one cannot be written.
    pub fn copy_files(&self, folder: &Path) -> Result<()> {
        self.check_copies(folder)?;
        let target = self.target_copy().map(|text| (TARGET_COPY.to_owned(), text));
        for (name, text) in self.given().chain(target) {
            let path = folder.join(name);
            match std::fs::read_to_string(&path) {
                Ok(before) if before == text => {}
                Ok(_) => return Err(another(&path, "structure")),
                Err(_) => write_atomic(&path, text.as_bytes())?,
            }
        }
        match (&self.transfer, folder.join(TRANSFER_COPY)) {
            (Some(model), path) if !path.exists() => model.write(&path, Precision::Double),
            _ => Ok(()),
        }
    }

    /// Names and contents of the copies that a run keeps for good.
    fn given(&self) -> impl Iterator<Item = (String, String)> {
        let template = self.template.iter().map(|structure| (TEMPLATE_COPY.to_owned(), copied(structure)));
        let fragment = |(structure, number): (&Structure, usize)| (fragment_copy(number), copied(structure));
        let whole = move |free: &Vec<Vec3>| self.system.structure(free).into();
        let seeds = move || format_frames(&self.seeds.iter().map(whole).collect::<Vec<Frame>>());
        let seeds = self.sections.seeds.iter().map(move |_| (SEEDS_COPY.to_owned(), seeds()));
        template.chain(self.fragments.iter().zip(1..).map(fragment)).chain(seeds)
    }

    /// Refuses a run folder whose copies of the structures and of the model to start from differ from these; the target may differ.
    ///
    /// # Errors
    /// `BadInput` if one differs.
    pub fn check_copies(&self, folder: &Path) -> Result<()> {
        for (name, text) in self.given() {
            let path = folder.join(name);
            if std::fs::read_to_string(&path).is_ok_and(|before| before != text) {
                return Err(another(&path, "structure"));
            }
        }
        let path = folder.join(TRANSFER_COPY);
        match &self.transfer {
            Some(model) if path.exists() && ModelFile::read(&path)? != *model => Err(another(&path, "model")),
            _ => Ok(()),
        }
    }
}

/// The configuration in the run folder `folder`, if it can be read.
fn table_of_run(folder: &Path) -> Option<toml::Table> {
    SourceFile::read(&folder.join(RUN_CONFIG)).ok()?.parse().ok()
}

/// File names of the molecules' copies in a run folder, by their number from 1.
fn fragment_copy(number: usize) -> String {
    format!("fragment-{number}.xyz")
}

/// `structure` as the copy in a run folder.
fn copied(structure: &Structure) -> String {
    format_frames(&[structure.clone().into()])
}

/// The error of a resumed run if the configuration names another `kind` of file than the copy at `path`.
fn another(path: &Path, kind: &str) -> Error {
    let message = format!(
        "the configuration names another {kind} than when this run was started; put that back or start a new run without \
         --resume"
    );
    Error::bad_file(path, message)
}

/// Reads the structure that `key` names, and replaces the key's value by the name of its copy.
fn copy_of(source: &SourceFile, key: &str, name: &mut PathBuf, copy: &str) -> Result<Frame> {
    let path = source.path.parent().unwrap_or(Path::new("")).join(&*name);
    let frame = read_frame(&path).map_err(|cause| source.error(key, cause))?;
    *name = copy.into();
    Ok(frame)
}

/// `structure`, which begins with the template's atoms in the order of their file, with these in the `order` of the system.
fn like_template(structure: &Structure, mut order: Vec<usize>) -> Structure {
    if order.len() > structure.n_atoms() {
        return structure.clone();
    }
    order.extend(order.len()..structure.n_atoms());
    structure.reordered(&order)
}
