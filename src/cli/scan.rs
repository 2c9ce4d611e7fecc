//! `godiff scan`: the energy landscape of one atom.

use super::common::{EnergyCompute, Output, folder_of_output, note, print, watch_interrupts};
use clap::Args;
use godiff::config::Settings;
use godiff::disk::write_atomic;
use godiff::landscape::{Landscape, ScanSettings, scan_while, svg};
use godiff::system::System;
use godiff::{Error, Result, potential};
use std::path::PathBuf;
use std::sync::atomic::Ordering;

/// Scans the energy of one free atom over its template: at each point of a grid, the atom is at the height of lowest energy
///
/// At every point the scan tries heights across the confinement, at most 0.5 Å apart, and relaxes the best along z. Mobile atoms of
/// the template are relaxed with it, from their places in the template; nothing else moves.
#[derive(Debug, Args)]
#[command(after_help = "\
A point takes some 15 evaluations, with mobile atoms some 20. The ending of the file's name decides about the format: JSON (grid, a, b, energies_ev,
heights_angstrom), extended XYZ (a structure for each point) or a picture. An interrupted scan writes the points that it has
finished.

Examples:
  godiff scan configs/pt-adatom.toml -o landscape.svg
  godiff scan configs/pt-adatom.toml --grid 16x10 -o landscape.json")]
pub struct Arguments {
    /// The configuration; its [system] must have a template, one free atom and a confinement
    #[arg(value_name = "CONFIG.toml")]
    config: PathBuf,
    /// Points along the lattice vectors a and b [default: at most 0.25 Å apart]
    #[arg(long, value_name = "NxM", value_parser = parse_grid)]
    grid: Option<[usize; 2]>,
    /// Leave the atom at the best of the tried heights, and mobile atoms at their places in the template
    #[arg(long)]
    no_relax: bool,
    /// Keep mobile atoms at their places in the template
    #[arg(long)]
    hold_mobile: bool,
    /// The file to write: .json, .xyz or .svg
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    #[command(flatten)]
    compute: EnergyCompute,
}

/// Kind of output.
#[derive(Clone, Copy)]
enum Format {
    Json,
    Xyz,
    Svg,
}

impl Arguments {
    pub fn run(self) -> Result<()> {
        let format = self.format()?;
        folder_of_output(&self.output)?;
        let Settings { sections, system, .. } = Settings::load(&self.config)?;
        let held = system.holding_mobile(&system.mobile.homes);
        let system = if self.hold_mobile { held.clone() } else { system };
        let potential = potential::open(&sections.potential, Some(&system), &self.compute.device)
            .map_err(|cause| cause.in_file(&self.config))?;
        self.compute.threads.start()?;
        let interrupted = watch_interrupts()?;
        let settings = ScanSettings {
            grid: self.grid,
            relax: !self.no_relax,
            shortest: sections.search.shortest_distance(),
            energy_floor_ev: sections.search.energy_floor_ev,
            ..ScanSettings::default()
        };
        let (landscape, stopped) = scan_while(&system, &*potential, &settings, &|| interrupted.load(Ordering::Relaxed))
            .map_err(|cause| cause.in_file(&self.config))?;
        // The picture shows the mobile atoms at their places in the template.
        self.write(format, &landscape, if matches!(format, Format::Svg) { &held } else { &system })?;
        let [n_a, n_b] = landscape.grid;
        let n_evaluations = landscape.n_evaluations;
        if let Some(index) = landscape.lowest() {
            let (energy, [x, y, z]) = (landscape.energies_ev[index], landscape.position(index));
            print(format!("lowest energy {energy:.6} eV, the atom at ({x:.3}, {y:.3}, {z:.3}) Å"))?;
        }
        let path = self.output.display();
        let n_known = landscape.energies_ev.iter().filter(|energy| energy.is_finite()).count();
        let known = if stopped.is_some() { format!("{n_known} of ") } else { String::new() };
        print(format!("{known}{n_a} x {n_b} points in {n_evaluations} evaluations written to {path}"))?;
        match landscape.n_unconverged {
            0 => {}
            1 => note("the relaxation of one point ended before its forces were small"),
            n => note(&format!("the relaxations of {n} points ended before their forces were small")),
        }
        stopped.map_or(Ok(()), Err)
    }

    fn format(&self) -> Result<Format> {
        match self.output.extension().and_then(|ending| ending.to_str()) {
            Some("json") => Ok(Format::Json),
            Some("xyz" | "extxyz") => Ok(Format::Xyz),
            Some("svg") => Ok(Format::Svg),
            _ => Err(Error::bad_file(&self.output, "the ending says what to write; give .json, .xyz or .svg")),
        }
    }

    fn write(&self, format: Format, landscape: &Landscape, system: &System) -> Result<()> {
        match format {
            Format::Json => {
                let mut text = serde_json::to_string(landscape).expect("numbers are JSON");
                text.push('\n');
                write_atomic(&self.output, text.as_bytes())
            }
            Format::Xyz => {
                let structures = (0..landscape.energies_ev.len()).filter_map(|k| landscape.structure(system, k));
                Output::new(&self.output)?.write(&structures.map(Into::into).collect::<Vec<_>>())
            }
            Format::Svg => write_atomic(&self.output, svg(landscape, system).as_bytes()),
        }
    }
}

/// Two numbers as in `16x10`.
fn parse_grid(text: &str) -> std::result::Result<[usize; 2], String> {
    let numbers = text.split_once('x').and_then(|(a, b)| Some([a.parse().ok()?, b.parse().ok()?]));
    numbers.ok_or_else(|| "give the points along a and b, such as 16x10".into())
}
