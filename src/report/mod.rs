//! `report.html`: the results of a run, several runs or a benchmark, on one page that needs no other file.
//!
//! Everything is read from run folders. A run may be finished, interrupted, failed, or still running.

mod data;
mod folders;
mod many;
mod page;
mod plots;
mod run;
mod structures;

pub use data::{RunData, Sample};
pub use folders::{RunFolder, find_runs};

use crate::disk::write_atomic;
use crate::error::{Error, Result};
use crate::landscape::Landscape;
use crate::minima;
use crate::plot::png::Painter;
use crate::plot::{Picture, svg};
use crate::run::{Reporter, RunDirectory};
use page::Page;
use std::fs;
use std::path::{Path, PathBuf};

/// The file of a run folder that holds the landscape, unless another one is named.
const SCAN: &str = "scan.json";

/// What to report, and where to write it.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Run folders, or folders that hold run folders, such as a benchmark's.
    pub folders: Vec<PathBuf>,
    /// The page; in the folder unless given, or `report.html` here for several.
    pub out: Option<PathBuf>,
    /// A folder for the plots as SVG and PNG files.
    pub plots: Option<PathBuf>,
    /// The landscape of one free atom; a run folder's `scan.json` unless given.
    pub scan: Option<PathBuf>,
}

/// The written page, and notes about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// The page.
    pub page: PathBuf,
    /// Sentences that the user should see, such as which runs were left out.
    pub notes: Vec<String>,
}

/// Writes the page of `request`, and its plots.
///
/// # Errors
/// `BadInput` if a folder holds no run or its files cannot be read, `Storage` if the page cannot be written.
pub fn write(request: &Request) -> Result<Written> {
    let mut runs = Vec::new();
    for folder in &request.folders {
        runs.extend(find_runs(folder)?);
    }
    let page = match (&request.out, &request.folders[..]) {
        (Some(out), _) => out.clone(),
        (None, [folder]) => RunDirectory::report_of(folder),
        (None, _) => PathBuf::from("report.html"),
    };
    let (report, notes) = match (&runs[..], &request.scan) {
        // A benchmark of one run is still a benchmark: only a run's own folder gets the page of a run.
        ([run], scan) if request.folders.contains(&run.path) => (run_page(&run.path, scan.as_deref())?, Vec::new()),
        (runs, scan) => {
            let (report, mut notes) = many::page(runs)?;
            notes.extend(scan.as_ref().map(|scan| {
                format!(
                    "{}: not drawn, as a landscape belongs to one run; name that run's folder alone",
                    scan.display()
                )
            }));
            (report, notes)
        }
    };
    write_atomic(&page, report.html().as_bytes())?;
    let mut written = Written { page, notes };
    if let Some(folder) = &request.plots {
        written.notes.extend(write_plots(folder, &report.pictures)?);
    }
    Ok(written)
}

/// Writes `report.html` into the run folder `folder`.
///
/// # Errors
/// As [`write()`].
pub fn write_for_run(folder: &Path) -> Result<()> {
    let page = run_page(folder, None)?;
    write_atomic(&RunDirectory::report_of(folder), page.html().as_bytes())
}

/// Writes `minima.xyz` and `report.html` into the run folder `folder` once its run has ended. The results are complete without a
/// page, so a page that cannot be written leads to a message only.
///
/// # Errors
/// Those of [`minima::write`].
pub fn write_after_run(folder: &Path, reporter: &Reporter) -> Result<()> {
    let minima = minima::write(folder);
    let page = write_for_run(folder).map(|()| RunDirectory::report_of(folder));
    reporter.message(&said(page));
    minima
}

/// Writes `report.html` into the folder of a benchmark. Gives the sentences for the user: where the page is and what was left out,
/// or why there is none.
pub fn write_after_benchmark(folder: &Path) -> Vec<String> {
    match write(&Request { folders: vec![folder.to_owned()], ..Request::default() }) {
        Ok(Written { page, mut notes }) => {
            notes.push(said(Ok(page)));
            notes
        }
        Err(error) => vec![said(Err(error))],
    }
}

/// Where the page is, or why there is none.
fn said(page: Result<PathBuf>) -> String {
    match page {
        Ok(page) => format!("report: {}", page.display()),
        Err(error) => format!("no report.html was written: {error}"),
    }
}

fn run_page(folder: &Path, scan: Option<&Path>) -> Result<Page> {
    let beside = folder.join(SCAN);
    let scan = scan.or_else(|| beside.is_file().then_some(&beside));
    let landscape = scan.map(Landscape::read).transpose()?;
    Ok(run::page(&RunData::read(folder)?, landscape.as_ref()))
}

/// Writes `pictures` as NAME.svg and NAME.png into `folder`; gives a sentence about each that could not be written.
fn write_plots(folder: &Path, pictures: &[Picture]) -> Result<Vec<String>> {
    fs::create_dir_all(folder).map_err(|cause| {
        Error::bad_file(folder, format!("cannot be made ({cause}); name another folder for the plots"))
    })?;
    let painter = Painter::new();
    for picture in pictures {
        let path = |ending: &str| folder.join(format!("{}.{ending}", picture.name));
        write_atomic(&path("svg"), picture.file().as_bytes())?;
        if let Some(painter) = &painter {
            write_atomic(&path("png"), &painter.png(picture)?)?;
        }
    }
    let no_fonts = "this machine has no fonts to label PNG files with: the plots are there as SVG only";
    Ok(painter.is_none().then(|| no_fonts.to_owned()).into_iter().collect())
}

/// A name for files and ids: letters and digits of `text`, hyphens for the rest.
fn slug(text: &str) -> String {
    let plain = |character: char| if character.is_ascii_alphanumeric() { character.to_ascii_lowercase() } else { '-' };
    svg::escape(text).chars().map(plain).collect()
}

#[cfg(test)]
mod tests;
