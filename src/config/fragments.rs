//! `[[fragments]]`: molecules among the free atoms.

use super::keys::{Keys, LARGEST_COUNT};
use super::source::SourceFile;
use crate::error::Result;
use crate::system::{Molecule, Structure};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// `[[fragments]]`: a molecule, and how many of it there are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FragmentSection {
    /// Structure of the molecule, relative to the configuration file.
    pub file: PathBuf,
    /// Number of such molecules.
    #[serde(default = "one")]
    pub count: usize,
}

fn one() -> usize {
    1
}

impl FragmentSection {
    pub(super) fn check(&self, keys: Keys) -> Result<()> {
        keys.count("count", self.count, LARGEST_COUNT)
    }

    /// The molecules of a section whose file holds `structure`.
    ///
    /// # Errors
    /// `BadInput` for a structure that is no molecule.
    pub(super) fn molecules(&self, structure: &Structure, source: &SourceFile) -> Result<Vec<Molecule>> {
        let molecule = Molecule::new(structure)
            .map_err(|cause| source.error("fragments", format!("{}: {cause}", self.file.display())))?;
        Ok(vec![molecule; self.count])
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Settings;
    use std::path::Path;
    use tempfile::TempDir;

    const CO: &str = "2\n\nC 0 0 0\nO 0 0 1.13\n";

    fn load(folder: &Path, system: &str, rest: &str) -> crate::Result<Settings> {
        std::fs::write(folder.join("co.xyz"), CO).unwrap();
        std::fs::write(folder.join("pieces.xyz"), CO.replace("1.13", "4")).unwrap();
        let path = folder.join("c.toml");
        let cell = "cell_angstrom = [[9, 0, 0], [0, 9, 0], [0, 0, 9]]";
        std::fs::write(&path, format!("[system]\n{cell}\n{system}\n[potential]\nkind = 'emt'\n{rest}")).unwrap();
        Settings::load(&path)
    }

    /// The run folder holds the molecules, and its configuration reads back as the same system.
    #[test]
    fn fragments_are_molecules_after_the_formula() {
        let (folder, run) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let fragments = "[[fragments]]\nfile = 'co.xyz'\ncount = 2\n[[fragments]]\nfile = 'co.xyz'\n";
        let settings = load(folder.path(), "free = 'Pt'\nkeep_bonded = true", fragments).unwrap();
        assert_eq!(settings.system.numbers(), [78, 6, 8, 6, 8, 6, 8]);
        assert!(settings.system.molecules.all.len() == 3 && settings.system.molecules.keep_bonded);
        settings.copy_files(run.path()).unwrap();
        std::fs::write(run.path().join("config.toml"), settings.to_toml()).unwrap();
        assert!(run.path().join("fragment-1.xyz").exists() && run.path().join("fragment-2.xyz").exists());
        let again = Settings::load(&run.path().join("config.toml")).unwrap();
        assert_eq!((&again.sections, &again.system), (&settings.sections, &settings.system));
        again.copy_files(run.path()).unwrap();
        // Molecules alone; they may break by default.
        let alone = load(folder.path(), "", "[[fragments]]\nfile = 'co.xyz'\n").unwrap();
        assert_eq!((alone.system.n_single(), alone.system.n_free(), alone.system.molecules.keep_bonded), (0, 2, false));
    }

    /// Columns of a molecule's file survive the copy in the run folder.
    #[test]
    fn columns_of_fragments_come_along() {
        let (folder, run) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let tagged = "2\nProperties=species:S:1:pos:R:3:tags:I:1 charge=1\nC 0 0 0 4\nO 0 0 1.13 5\n";
        std::fs::write(folder.path().join("tagged.xyz"), tagged).unwrap();
        let settings = load(folder.path(), "free = 'Pt'", "[[fragments]]\nfile = 'tagged.xyz'\n").unwrap();
        let extras = settings.system.extras.clone().unwrap();
        assert_eq!(extras.to_json(), "{\"arrays\":{\"tags\":[0,4,5]},\"info\":{}}");
        settings.copy_files(run.path()).unwrap();
        std::fs::write(run.path().join("config.toml"), settings.to_toml()).unwrap();
        assert_eq!(Settings::load(&run.path().join("config.toml")).unwrap().system, settings.system);
    }

    #[test]
    fn fragments_that_nobody_can_mean_are_refused() {
        let folder = TempDir::new().unwrap();
        for (system, rest, sentence) in [
            (
                "",
                "",
                "system.free: the formula of the free atoms is empty; name them, for example \"Pt7\", or add molecules as [[frag",
            ),
            (
                "free = 'Pt'\nkeep_bonded = true",
                "",
                "system.keep_bonded: this is about molecules; name them in [[fragments]]",
            ),
            ("", "[[fragments]]\nfile = 'co.xyz'\ncount = 0", "fragments.count: 0 is not between 1 and"),
            ("", "[[fragments]]\nfile = 'pieces.xyz'", "fragments: pieces.xyz: its atoms are no molecule but 2 pieces"),
            ("", "[[fragments]]\nfile = 'none.xyz'", "none.xyz: cannot be read"),
            ("", "[[fragments]]\ncount = 2", "missing key `file`"),
            ("", "[fragments]\nfile = 'co.xyz'", "in two pairs of brackets, [[fragments]]: there may be several"),
        ] {
            let error = load(folder.path(), system, rest).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{error}");
            assert!(error.to_string().contains(sentence), "{error}\n  not {sentence}");
        }
    }
}
