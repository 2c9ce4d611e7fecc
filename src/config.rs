//! Configuration files: TOML to validated settings.
//!
//! [`Settings::load`] reads a file as a user writes it; [`Settings::to_toml`] writes it back with every default spelled out.
//! A run folder keeps that text beside copies of the files it names (`template.xyz`, `target.xyz`, `transfer.safetensors`), so
//! it needs nothing outside itself and may be moved.

mod baselines;
pub(crate) mod depth;
mod file;
mod source;

pub use file::{
    ConfinementSection, DiffusionSection, EngineSection, File, FirstSamples, Matching, ModelSection, SearchSection,
    SystemSection, TargetSection, TrainingSection, TransferSection,
};

use crate::engine::{ReverseSettings, Setup, TrainingSettings};
use crate::error::{Error, Result};
use crate::model::{ModelFile, Precision, RadialBasis};
use crate::run::write_atomic;
use crate::system::elements::{parse_formula, symbol};
use crate::system::xyz::format_frames;
use crate::system::{Cell, ConfinementSpec, Structure, System};
use source::Source;
use std::path::{Path, PathBuf};

/// File name of the configuration in a run folder.
const RUN_CONFIG: &str = "config.toml";
/// File name of the template's copy in a run folder.
const TEMPLATE_COPY: &str = "template.xyz";
/// File name of the target's copy in a run folder.
const TARGET_COPY: &str = "target.xyz";
/// File name of the copy of the model to start from in a run folder.
const TRANSFER_COPY: &str = "transfer.safetensors";
/// Upper bound of everything that is counted, well inside the 32 bits of the noise's counters.
const LARGEST_COUNT: usize = 1_000_000_000;
/// Most hops of a sample: where so many come to rest in what is known, more tell nothing.
const MOST_HOP_TRIES: usize = 100;
/// How far a target's template may lie from the configuration's, Å.
const TARGET_TOLERANCE: f64 = 0.05;

/// A validated configuration with the structures and the model it names.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The file with all defaults filled in; its paths are those of the copies in a run folder.
    pub sections: File,
    /// Template, free atoms, cell, confinement.
    pub system: System,
    /// The template as read.
    pub template: Option<Structure>,
    /// The model to start from.
    pub transfer: Option<ModelFile>,
    /// What counts as success.
    pub target: Option<Target>,
}

/// The structure sought, and when one counts as it.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// Template and free atoms.
    pub structure: Structure,
    /// When another structure counts as this one.
    pub matching: Matching,
}

impl Settings {
    /// Reads and checks the configuration at `path`; structures are sought relative to it.
    ///
    /// # Errors
    /// `BadInput` with the file and line of the first thing that cannot be used.
    pub fn load(path: &Path) -> Result<Self> {
        Self::resolve(Source::read(path)?)
    }

    /// The configuration in `text`, the contents of the file `path`; structures are sought relative to that.
    ///
    /// # Errors
    /// `BadInput` as [`Settings::load`].
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        Self::resolve(Source::new(text.to_owned(), path))
    }

    fn resolve(source: Source) -> Result<Self> {
        let mut sections: File = source.parse()?;
        check_numbers(&sections, &source)?;
        baselines::check(&sections, &source)?;
        let template = match &mut sections.system.template {
            Some(name) => Some(copy_of(&source, "system.template", name, TEMPLATE_COPY)?),
            None => None,
        };
        let system = make_system(&sections.system, template.as_ref(), &source)?;
        let transfer = match &sections.transfer {
            Some(section) => Some(model_to_start_from(&source, section, &sections)?),
            None => None,
        };
        if let Some(section) = &mut sections.transfer {
            section.model = TRANSFER_COPY.into();
        }
        let target = match &mut sections.target {
            Some(section) => {
                let structure = copy_of(&source, "target.structure", &mut section.structure, TARGET_COPY)?;
                check_target(&structure, &system).map_err(|message| source.error("target.structure", message))?;
                Some(Target { structure, matching: section.matching })
            }
            None => None,
        };
        Ok(Settings { sections, system, template, transfer, target })
    }

    /// The configuration with every default written out, as a run folder keeps it beside [`Settings::copy_files`].
    pub fn to_toml(&self) -> String {
        toml::to_string(&self.sections).expect("sections hold only tables, numbers, strings and booleans")
    }

    /// The seed in the run folder `folder`, if that can be read.
    pub fn seed_of_run(folder: &Path) -> Option<u64> {
        let table: toml::Table = Source::read(&folder.join(RUN_CONFIG)).ok()?.parse().ok()?;
        u64::try_from(table.get("search")?.get("seed")?.as_integer()?).ok()
    }

    /// What an engine needs to be opened for this configuration.
    pub fn setup(&self) -> Setup {
        let File { model, diffusion, training, engine, guidance, .. } = &self.sections;
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
            },
            training: TrainingSettings {
                batch: training.batch,
                learning_rate: training.learning_rate,
                decay: training.decay(),
                weight_decay: training.weight_decay,
                gradient_clip: training.gradient_clip,
                weighting: training.weighting,
            },
            guidance: *guidance,
            precision: engine.precision,
        }
    }

    /// Puts copies of the structures and the model that [`Settings::to_toml`] refers to into the run folder `folder`. Copies
    /// that are there already must be the same.
    ///
    /// # Errors
    /// `BadInput` if one differs, `Storage` if one cannot be written.
    pub fn copy_files(&self, folder: &Path) -> Result<()> {
        let template = self.template.iter().map(|structure| (TEMPLATE_COPY, structure));
        let target = self.target.iter().map(|target| (TARGET_COPY, &target.structure));
        for (name, structure) in template.chain(target) {
            let path = folder.join(name);
            let text = format_frames(&[structure.clone().into()]);
            match std::fs::read_to_string(&path) {
                Ok(before) if before == text => {}
                Ok(_) => return Err(another(&path, "structure")),
                Err(_) => write_atomic(&path, text.as_bytes())?,
            }
        }
        let Some(model) = &self.transfer else { return Ok(()) };
        let path = folder.join(TRANSFER_COPY);
        if !path.exists() {
            return model.write(&path, Precision::Double);
        }
        if ModelFile::read(&path)? == *model { Ok(()) } else { Err(another(&path, "model")) }
    }
}

/// What a resumed run says whose configuration names another `kind` of file than the copy at `path`.
fn another(path: &Path, kind: &str) -> Error {
    let message = format!(
        "the configuration names another {kind} than when this run was started; put that back or start a new run without \
         --resume"
    );
    Error::bad_file(path, message)
}

/// Reads the model that `[transfer]` names.
fn model_to_start_from(source: &Source, section: &TransferSection, sections: &File) -> Result<ModelFile> {
    let File { model, diffusion, .. } = sections;
    let path = source.path.parent().unwrap_or(Path::new("")).join(&section.model);
    let refuse = |cause: String| source.error("transfer.model", cause);
    let found = ModelFile::read(&path).map_err(|cause| refuse(cause.to_string()))?;
    match found.misfit(&model.sizes(false), &diffusion.sde()) {
        Some(misfit) => Err(refuse(format!("{}: {misfit}", path.display()))),
        None => Ok(found),
    }
}

/// Reads the structure that `key` names, and puts the name of its copy in the key's place.
fn copy_of(source: &Source, key: &str, name: &mut PathBuf, copy: &str) -> Result<Structure> {
    let path = source.path.parent().unwrap_or(Path::new("")).join(&*name);
    let structure = crate::system::read_structure(&path).map_err(|cause| source.error(key, cause))?;
    *name = copy.into();
    Ok(structure)
}

fn make_system(section: &SystemSection, template: Option<&Structure>, source: &Source) -> Result<System> {
    let refuse = |key: &str, message: &str| Err(source.error(&format!("system.{key}"), message));
    let cell = match (template, section.cell_angstrom, section.periodic) {
        (Some(_), Some(_), _) => {
            return refuse("cell_angstrom", "the template brings its own cell: leave this key out");
        }
        (Some(_), _, Some(_)) => {
            return refuse("periodic", "the template brings its own periodicity: leave this key out");
        }
        (None, None, Some(_)) => return refuse("periodic", "periodicity needs cell_angstrom"),
        (_, vectors, periodic) => vectors.map(|vectors| Cell { vectors, periodic: periodic.unwrap_or([true; 3]) }),
    };
    let confinement = match &section.confinement {
        None => None,
        Some(ConfinementSection { above_template_angstrom: Some(heights), z_angstrom: None }) => {
            Some(ConfinementSpec::AboveTemplate(*heights))
        }
        Some(ConfinementSection { above_template_angstrom: None, z_angstrom: Some(heights) }) => {
            Some(ConfinementSpec::Absolute(*heights))
        }
        Some(_) => {
            return refuse("confinement", "give one of above_template_angstrom = [lo, hi] and z_angstrom = [lo, hi]");
        }
    };
    parse_formula(&section.free).map_err(|cause| source.error("system.free", cause))?;
    System::new(template, &section.free, confinement, cell).map_err(|cause| source.error("system", cause))
}

/// Checks every number that no other part of the crate checks.
fn check_numbers(sections: &File, source: &Source) -> Result<()> {
    let File { model, diffusion, search, training, guidance, .. } = sections;
    let require = |ok: bool, key: &str, message: String| if ok { Ok(()) } else { Err(source.error(key, message)) };
    let count = |key: &str, value: usize| {
        require((1..=LARGEST_COUNT).contains(&value), key, format!("{value} is not between 1 and {LARGEST_COUNT}"))
    };
    let positive = |key: &str, value: f64| require(value > 0.0, key, format!("{value} must be greater than 0"));

    model.sizes(guidance.is_some()).check().map_err(|cause| source.error("model", cause))?;

    diffusion.sde().check().map_err(|cause| source.error("diffusion", cause))?;
    count("diffusion.steps", diffusion.steps)?;
    require(diffusion.steps >= 2, "diffusion.steps", "the reverse process needs at least 2 steps".into())?;
    require(
        diffusion.t_min > 0.0 && diffusion.t_min < 1.0,
        "diffusion.t_min",
        format!("{} is not between 0 and 1", diffusion.t_min),
    )?;
    positive("diffusion.score_scale", diffusion.score_scale)?;

    require(search.seed <= i64::MAX as u64, "search.seed", format!("{} is above {}", search.seed, i64::MAX))?;
    count("search.iterations", search.iterations)?;
    count("search.samples_per_iteration", search.samples_per_iteration)?;
    count("search.buffer", search.buffer)?;
    let all = search.samples_per_iteration.saturating_mul(search.iterations);
    require(
        search.buffer <= all,
        "search.buffer",
        format!("{} is more than the {all} structures that all iterations sample together", search.buffer),
    )?;
    positive("search.kt_initial_ev", search.kt_initial_ev)?;
    positive("search.kt_final_ev", search.kt_final_ev)?;
    require(
        search.kt_final_ev <= search.kt_initial_ev,
        "search.kt_final_ev",
        format!("{} is above kt_initial_ev = {}: the temperature falls", search.kt_final_ev, search.kt_initial_ev),
    )?;
    require(
        search.min_distance_angstrom >= 0.0,
        "search.min_distance_angstrom",
        format!("{} is negative", search.min_distance_angstrom),
    )?;
    if let (Some(floor), Some(ceiling)) = (search.energy_floor_ev, search.energy_ceiling_ev) {
        let message = format!("{floor} must be below energy_ceiling_ev = {ceiling}");
        require(floor < ceiling, "search.energy_floor_ev", message)?;
    }

    count("training.steps_per_iteration", training.steps_per_iteration)?;
    count("training.batch", training.batch)?;
    require(
        training.batch <= search.buffer,
        "training.batch",
        format!("{} is more than the {} structures of search.buffer", training.batch, search.buffer),
    )?;
    positive("training.learning_rate", training.learning_rate)?;
    if let Some(last) = training.final_learning_rate {
        positive("training.final_learning_rate", last)?;
        require(
            last <= training.learning_rate,
            "training.final_learning_rate",
            format!("{last} is above learning_rate = {}: the rate falls", training.learning_rate),
        )?;
    }
    require(training.weight_decay >= 0.0, "training.weight_decay", format!("{} is negative", training.weight_decay))?;
    positive("training.gradient_clip", training.gradient_clip)?;

    if let Some(guidance) = guidance {
        let at_least_0 = |key: &str, value: f64| require(value >= 0.0, key, format!("{value} is negative"));
        at_least_0("guidance.eta", guidance.eta)?;
        at_least_0("guidance.zeta", guidance.zeta)?;
        count("guidance.history", guidance.history)?;
        positive("guidance.max_step_angstrom", guidance.max_step_angstrom)?;
        positive("guidance.force_weight", guidance.force_weight)?;
        positive("guidance.huber_delta_ev_per_angstrom", guidance.huber_delta_ev_per_angstrom)?;
        positive("guidance.max_force_ev_per_angstrom", guidance.max_force_ev_per_angstrom)?;
        require(
            guidance.relax_steps <= LARGEST_COUNT,
            "guidance.relax_steps",
            format!("{} is above {LARGEST_COUNT}", guidance.relax_steps),
        )?;
        require(
            (0.0..=1.0).contains(&guidance.hop_share),
            "guidance.hop_share",
            format!("{} is not between 0 and 1", guidance.hop_share),
        )?;
        require(
            guidance.hop_share == 0.0 || guidance.relax_steps > 0,
            "guidance.hop_share",
            "hops need relax_steps: where they end is not relaxed otherwise".into(),
        )?;
        positive("guidance.hop_angstrom", guidance.hop_angstrom)?;
        require(
            (1..=MOST_HOP_TRIES).contains(&guidance.hop_tries),
            "guidance.hop_tries",
            format!("{} is not between 1 and {MOST_HOP_TRIES}", guidance.hop_tries),
        )?;
    }

    if let Some((key, within)) = sections.target.as_ref().and_then(|target| target.matching.within_ev()) {
        require(within >= 0.0, "target.match", format!("{key} = {within} is negative"))?;
    }
    Ok(())
}

/// Says how `target` differs from any structure of `system`.
fn check_target(target: &Structure, system: &System) -> std::result::Result<(), String> {
    if target.numbers.len() != system.n_atoms() {
        let (found, expected) = (target.numbers.len(), system.n_atoms());
        return Err(format!("the target has {found} atoms where the system has {expected}"));
    }
    if let Some(i) = (0..system.n_atoms()).find(|&i| target.numbers[i] != system.numbers()[i]) {
        let (found, expected) = (target.numbers[i], system.numbers()[i]);
        let (found, expected) = (symbol(found).unwrap_or("?"), symbol(expected).unwrap_or("?"));
        return Err(format!("atom {} of the target is {found} where the system has {expected}", i + 1));
    }
    let far = |a: &[f64; 3], b: &[f64; 3]| (0..3).any(|x| (a[x] - b[x]).abs() > TARGET_TOLERANCE);
    let periodic_differs = target.cell.periodic != system.cell.periodic;
    let axis_differs = (0..3).any(|a| system.cell.periodic[a] && far(&target.cell.vectors[a], &system.cell.vectors[a]));
    if periodic_differs || axis_differs {
        return Err("the target lies in another cell than the system".into());
    }
    match (0..system.n_template()).find(|&i| far(&target.positions[i], &system.template_positions[i])) {
        Some(i) => Err(format!("atom {} of the target is not where the template has it", i + 1)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Weighting;
    use tempfile::TempDir;

    fn shipped(name: &str) -> Settings {
        Settings::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("configs").join(name)).unwrap()
    }

    /// What a run folder keeps is a configuration of the same search, without anything outside the folder.
    #[test]
    fn resolved_configurations_read_back_the_same() {
        for name in [
            "pt-adatom.toml",
            "pt-heptamer.toml",
            "pt-heptamer-ffg.toml",
            "pt-heptamer-mace.toml",
            "pt-heptamer-small.toml",
            "pt-heptamer-ffg-placed.toml",
            "pt-heptamer-ffg-small.toml",
            "pt-heptamer-placed.toml",
            "pt-heptamer-wide.toml",
            "pt-adatom-small.toml",
            "lj13.toml",
            "smoke.toml",
        ] {
            let mut settings = shipped(name);
            settings.sections.search.seed = 17;
            let folder = TempDir::new().unwrap();
            let path = folder.path().join(RUN_CONFIG);
            settings.copy_files(folder.path()).unwrap();
            std::fs::write(&path, settings.to_toml()).unwrap();
            let again = Settings::load(&path).unwrap();
            assert_eq!(again.sections, settings.sections, "{name}");
            assert_eq!(again.system, settings.system, "{name}");
            assert_eq!(again.to_toml(), settings.to_toml(), "{name}");
            assert_eq!(Settings::seed_of_run(folder.path()), Some(17));
            again.copy_files(folder.path()).unwrap();
        }
    }

    #[test]
    fn keys_left_out_take_the_documented_defaults() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("least.toml");
        std::fs::write(&path, "[system]\nfree = 'Pt4'\n[potential]\nkind = 'emt'\n").unwrap();
        let settings = Settings::load(&path).unwrap();
        let File { model, diffusion, search, training, .. } = &settings.sections;
        assert_eq!((model.features, model.blocks, model.radial_functions, model.cutoff_angstrom), (64, 4, 30, 6.0));
        assert_eq!((diffusion.sigma_min_angstrom, diffusion.sigma_max_angstrom, diffusion.rho), (0.01, 1.0, 1));
        assert_eq!((diffusion.steps, diffusion.t_min, diffusion.score_scale), (500, 0.005, 1.0));
        assert_eq!((search.iterations, search.samples_per_iteration, search.buffer), (20, 128, 64));
        assert_eq!((search.kt_initial_ev, search.kt_final_ev, search.min_distance_angstrom), (5.0, 0.02, 1.0));
        assert_eq!((search.energy_floor_ev, search.energy_ceiling_ev), (None, None));
        assert_eq!((training.steps_per_iteration, training.batch, training.learning_rate), (8000, 16, 1e-4));
        assert_eq!((training.weight_decay, training.gradient_clip), (0.01, 10.0));
        assert_eq!((training.final_learning_rate, training.decay().last), (None, 1.0));
        assert_eq!(training.weighting, Weighting::Published);
        assert_eq!(settings.setup().precision, crate::engine::Precision::F32);
        assert!(settings.system.is_free_cluster());
    }

    /// An empty section is enough.
    #[test]
    fn guidance_has_the_papers_strength() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("least.toml");
        std::fs::write(&path, "[system]\nfree = 'Pt4'\n[potential]\nkind = 'emt'\n[guidance]\n").unwrap();
        let setup = Settings::load(&path).unwrap().setup();
        let guidance = setup.guidance.unwrap();
        assert_eq!((guidance.eta, guidance.zeta, guidance.history, guidance.max_step_angstrom), (0.2, 3.0, 10, 0.1));
        assert_eq!((guidance.force_weight, guidance.huber_delta_ev_per_angstrom, guidance.relax_steps), (1.0, 1.0, 0));
        assert!(setup.sizes.force_head);
        let plain = shipped("pt-heptamer.toml").setup();
        assert!(plain.guidance.is_none() && !plain.sizes.force_head);
    }

    #[test]
    fn heights_count_from_the_templates_top() {
        let settings = shipped("pt-heptamer.toml");
        let top = settings.system.template_positions.iter().map(|r| r[2]).fold(f64::NEG_INFINITY, f64::max);
        let confinement = settings.system.confinement.unwrap();
        assert_eq!((confinement.z_lo, confinement.z_hi), (top + 1.0, top + 6.0));
        assert_eq!((settings.system.n_template(), settings.system.n_free()), (72, 7));
    }
}
