//! `godiff minima`: the distinct structures of runs.

use super::common::{EnergyCompute, Output, potential_settings, print, watch_interrupts};
use super::numbers::{real, whole};
use clap::Args;
use godiff::config::Settings;
use godiff::minima::{LOWEST, Minimum, Source, Tolerances, distinct, relaxed};
use godiff::potential::relax::RelaxSettings;
use godiff::potential::{self, Potential};
use godiff::{Error, Result};
use std::path::PathBuf;
use std::sync::atomic::Ordering;

/// Lists the distinct structures that runs have found, by energy; symmetry-equivalent ones count as one
///
/// Two structures are equal if both energy and geometry agree within a tolerance. With a template, the geometries agree if one of
/// its symmetry operations brings each free atom of one near an atom of the same element in the other. Without a template, the
/// sorted distances around their atoms must agree. Mirror images are equal. The tolerances are 0.3 eV and 0.4 Å for samples,
/// which are not relaxed, and 0.02 eV and 0.2 Å for relaxed structures. Of baselines only the ends of relaxations count.
#[derive(Debug, Args)]
#[command(after_help = "\
Each frame contains count, relaxed, first_ and last_ evaluation, iteration and index, and the symmetry of all atoms.

Examples:
  godiff minima runs/pt-adatom-001 -o minima.xyz
  godiff minima runs/au3-001 runs/au3-002 --relax --lowest 20 -o minima.xyz")]
pub struct Arguments {
    /// Folders of runs on one system, or their archive.db
    #[arg(value_name = "DIR|archive.db", required = true)]
    inputs: Vec<PathBuf>,
    /// Keep the N distinct structures of lowest energy
    #[arg(long, value_name = "N", default_value_t = LOWEST as u32, value_parser = whole::<u32>(1..=4_294_967_295), allow_negative_numbers = true)]
    lowest: u32,
    /// Relax the structures, and merge those that become equal; an interruption leaves those that are finished
    #[arg(long)]
    relax: bool,
    /// Potential for --relax, as for `godiff relax` [default: that of the first run]
    #[arg(long, value_name = "NAME", requires = "relax")]
    potential: Option<String>,
    /// Largest force that may remain on a free atom, eV/Å
    #[arg(long, value_name = "FORCE", value_parser = real, allow_negative_numbers = true, requires = "relax", default_value_t = RelaxSettings::default().fmax_ev_per_angstrom)]
    fmax: f64,
    /// Largest energy difference of equal structures, eV; with --relax, of relaxed ones
    #[arg(long, value_name = "EV", value_parser = real, allow_negative_numbers = true)]
    energy_tolerance: Option<f64>,
    /// Largest distance between the atoms of equal structures, Å; with --relax, of relaxed ones
    #[arg(long, value_name = "ANGSTROM", value_parser = real, allow_negative_numbers = true)]
    distance_tolerance: Option<f64>,
    /// The file to write (extended XYZ)
    #[arg(short, long, value_name = "OUT.xyz")]
    output: PathBuf,
    #[command(flatten)]
    compute: EnergyCompute,
}

/// Rows of the table that is printed.
const SHOWN: usize = 10;

impl Arguments {
    pub fn run(self) -> Result<()> {
        let output = Output::new(&self.output)?;
        let sources: Vec<Source> = self.inputs.iter().map(|path| Source::of(path)).collect();
        let as_found = if sources.iter().all(Source::is_relaxed) { Tolerances::RELAXED } else { Tolerances::SAMPLES };
        // Numbers are checked before anything is computed, so that a wrong one costs no time.
        let (before, after) = match self.relax {
            true => (as_found, self.tolerances(Tolerances::RELAXED)),
            false => (self.tolerances(as_found), Tolerances::RELAXED),
        };
        after.check()?;
        let potential = if self.relax { Some(self.open_potential()?) } else { None };
        let mut minima = distinct(&sources, before, self.lowest as usize)?;
        if minima.is_empty() {
            let message = "holds no such structure yet; start its run again with --resume";
            return Err(Error::bad_file(&sources[0].archive, message));
        }
        let mut stopped = None;
        if let Some(potential) = potential {
            (minima, stopped) = self.relax(minima, &*potential, after)?;
        }
        let frames: Vec<_> = minima.iter().map(|minimum| minimum.frame(sources.len())).collect();
        output.write(&frames)?;
        print_table(&minima)?;
        print(format!("{} distinct structures written to {}", minima.len(), self.output.display()))?;
        stopped.map_or(Ok(()), Err)
    }

    /// The user's tolerances, or those of `otherwise`.
    fn tolerances(&self, otherwise: Tolerances) -> Tolerances {
        Tolerances {
            energy_ev: self.energy_tolerance.unwrap_or(otherwise.energy_ev),
            distance_angstrom: self.distance_tolerance.unwrap_or(otherwise.distance_angstrom),
        }
    }

    /// The relaxed structures, and the error that stopped the relaxation early.
    fn relax(
        &self,
        minima: Vec<Minimum>,
        potential: &dyn Potential,
        tolerances: Tolerances,
    ) -> Result<(Vec<Minimum>, Option<Error>)> {
        self.compute.threads.start()?;
        let interrupted = watch_interrupts()?;
        let settings = RelaxSettings { fmax_ev_per_angstrom: self.fmax, ..RelaxSettings::default() };
        let n_starts = minima.len();
        let relaxation = relaxed(minima, potential, &settings, tolerances, &|| interrupted.load(Ordering::Relaxed))?;
        if relaxation.minima.is_empty() {
            let message =
                format!("the potential {} has no energy for any of the {n_starts} structures", potential.name());
            return Err(Error::Evaluator(message));
        }
        print(format!(
            "{n_starts} structures relaxed in {} evaluations: {} unconverged, {} without an energy",
            relaxation.n_evaluations, relaxation.n_unconverged, relaxation.n_failed
        ))?;
        Ok((relaxation.minima, relaxation.stopped))
    }

    fn open_potential(&self) -> Result<Box<dyn Potential>> {
        if let Some(name) = &self.potential {
            return potential::open(&potential_settings(name)?, None, &self.compute.device);
        }
        let config = Source::of(&self.inputs[0]).archive.with_file_name("config.toml");
        if !config.is_file() {
            let message = "is missing, so the potential is unknown; name one with --potential";
            return Err(Error::bad_file(&config, message));
        }
        let settings = Settings::load(&config)?;
        potential::open(&settings.sections.potential, Some(&settings.system), &self.compute.device)
            .map_err(|cause| cause.in_file(&config))
    }
}

fn print_table(minima: &[Minimum]) -> Result<()> {
    let lowest = minima[0].energy_ev;
    print("      energy/eV   above/eV   count  first found  symmetry")?;
    for (k, minimum) in minima.iter().take(SHOWN).enumerate() {
        let symmetry = minimum.symmetry.as_ref().map_or("-", |symmetry| symmetry.symbol.as_str());
        let Minimum { energy_ev, count, first, .. } = minimum;
        let above = energy_ev - lowest;
        print(format!("{:>3} {energy_ev:>11.4} {above:>10.4} {count:>7} {:>12}  {symmetry}", k + 1, first.evaluation))?;
    }
    match minima.len() {
        n if n > SHOWN => print(format!("    … {} more", n - SHOWN)),
        _ => Ok(()),
    }
}
