//! `mobile` in `[system]`.

use crate::error::{Error, Result};
use crate::system::upper_layers;
use crate::system::xyz::Frame;
use serde::{Deserialize, Serialize};

/// `mobile = { layers = 1 }`, `{ constraints = true }` or `{ indices = [31, 32] }`: exactly one of the three.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MobileSection {
    /// The uppermost layers of the template along z.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layers: Option<usize>,
    /// The atoms that the template's file does not fix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub constraints: Option<bool>,
    /// Indices of the template's atoms, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub indices: Option<Vec<usize>>,
}

impl MobileSection {
    /// The indices, ascending.
    pub fn of_indices(indices: Vec<usize>) -> Self {
        MobileSection { indices: Some(indices), ..MobileSection::default() }
    }

    /// The indices, ascending, of the atoms of `template` that may move.
    ///
    /// # Errors
    /// `BadInput` for keys that name no atom, or not in exactly one way.
    pub fn atoms(&self, template: &Frame) -> Result<Vec<usize>> {
        match self {
            MobileSection { layers: Some(layers), constraints: None, indices: None } => {
                upper_layers(&template.structure, *layers)
            }
            MobileSection { layers: None, constraints: Some(true), indices: None } => not_fixed(template),
            MobileSection { layers: None, constraints: None, indices: Some(indices) } if !indices.is_empty() => {
                let mut indices = indices.clone();
                indices.sort_unstable();
                Ok(indices)
            }
            _ => Err(Error::bad_input(
                "give one of { layers = 1 }, { constraints = true } and { indices = [31, 32] }; leave the key out if all \
                 atoms of the template stay",
            )),
        }
    }
}

/// The atoms that the file of `template` does not fix.
fn not_fixed(template: &Frame) -> Result<Vec<usize>> {
    if let Some(atom) = template.partly_fixed() {
        return Err(Error::bad_input(format!(
            "atom {} of the template is fixed along some axes only, and atoms are fixed as a whole here; give \
             {{ indices = […] }} or change the file",
            atom + 1
        )));
    }
    let free = template.structure.not_fixed();
    match free.len() {
        0 => Err(Error::bad_input(
            "the template's file fixes all atoms, so none may move; free some or leave the key out",
        )),
        n if n == template.structure.n_atoms() => Err(Error::bad_input(
            "the template's file fixes no atom; mark the fixed ones there (a FixAtoms constraint, selective dynamics), or give \
             { layers = 1 } or { indices = […] }",
        )),
        _ => Ok(free),
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Settings;
    use std::path::Path;
    use tempfile::TempDir;

    /// Two layers; the file fixes the lower one. The atoms of the upper layer are not the last ones.
    const SLAB: &str = "4\nLattice=\"5 0 0 0 5 0 0 0 20\" pbc=\"T T F\" Properties=species:S:1:pos:R:3:move_mask:L:1\n\
                        Pt 0 0 4 T\nCu 0 0 2 F\nPt 2 2 4 T\nCu 2 2 2 F\n";

    /// The target begins with the template's atoms in the order of their file; a mobile one has moved.
    const TARGET: &str = "5\nLattice=\"5 0 0 0 5 0 0 0 20\" pbc=\"T T F\" Properties=species:S:1:pos:R:3\n\
                          Pt 0 0 4.3\nCu 0 0 2\nPt 2 2 4\nCu 2 2 2\nAu 1 1 6\n";

    fn load(folder: &Path, keys: &str, rest: &str) -> crate::Result<Settings> {
        let path = folder.join("c.toml");
        let text = format!(
            "[system]\ntemplate = 'slab.xyz'\nfree = 'Au'\nconfinement = {{ above_template_angstrom = [1.0, 4.0] }}\n\
             {keys}\n[potential]\nkind = 'emt'\n{rest}"
        );
        std::fs::write(folder.join("slab.xyz"), SLAB).unwrap();
        std::fs::write(&path, text).unwrap();
        Settings::load(&path)
    }

    #[test]
    fn mobile_atoms_are_named_in_three_ways() {
        let folder = TempDir::new().unwrap();
        for keys in ["layers = 1", "constraints = true", "indices = [2, 0]"] {
            let system = load(folder.path(), &format!("mobile = {{ {keys} }}"), "").unwrap().system;
            assert_eq!(system.numbers(), [29, 29, 78, 78, 79], "{keys}");
            assert_eq!(system.mobile.homes, [[0.0, 0.0, 4.0], [2.0, 2.0, 4.0]]);
            assert_eq!((system.mobile.noise_angstrom, system.confinement.unwrap().z_lo), (0.3, 5.0));
        }
        let narrow = "mobile = { layers = 1 }\nmobile_noise_angstrom = 0.1";
        assert_eq!(load(folder.path(), narrow, "").unwrap().system.mobile.noise_angstrom, 0.1);
        assert_eq!(
            load(folder.path(), "", "").unwrap().system.n_mobile(),
            0,
            "the file's constraints alone say nothing"
        );
    }

    /// A search that uses the constraints does not warn that they are unused, nor does the report of its run.
    #[test]
    fn constraints_that_are_used_are_no_reason_to_warn() {
        let (folder, run) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        assert_eq!(load(folder.path(), "", "").unwrap().template_extras.len(), 1);
        assert_eq!(load(folder.path(), "mobile = { indices = [1] }", "").unwrap().template_extras.len(), 1);
        let settings = load(folder.path(), "mobile = { constraints = true }", "").unwrap();
        settings.copy_files(run.path()).unwrap();
        std::fs::write(run.path().join("config.toml"), settings.to_toml()).unwrap();
        let again = Settings::load(&run.path().join("config.toml")).unwrap();
        assert_eq!((settings.template_extras, again.template_extras), (vec![], vec![]));
    }

    /// The copies in the run folder have the order of structures, and the configuration there names the atoms by it.
    #[test]
    fn run_folders_hold_the_order_of_structures() {
        let (folder, run) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        std::fs::write(folder.path().join("target.xyz"), TARGET).unwrap();
        let target = "[target]\nstructure = 'target.xyz'\nmatch = { energy_within_ev = 0.1 }\n";
        let settings = load(folder.path(), "mobile = { layers = 1 }", target).unwrap();
        let structure = &settings.target.as_ref().unwrap().structure;
        assert_eq!((structure.numbers[2], structure.positions[2]), (78, [0.0, 0.0, 4.3]));
        settings.copy_files(run.path()).unwrap();
        std::fs::write(run.path().join("config.toml"), settings.to_toml()).unwrap();
        assert!(settings.to_toml().contains("[system.mobile]\nindices = [2, 3]\n"), "{}", settings.to_toml());
        let again = Settings::load(&run.path().join("config.toml")).unwrap();
        assert_eq!((&again.system, &again.sections), (&settings.system, &settings.sections));
        assert_eq!(again.target, settings.target);
        again.copy_files(run.path()).unwrap();
    }

    #[test]
    fn mobile_atoms_that_nobody_can_mean_are_refused() {
        let folder = TempDir::new().unwrap();
        for (keys, sentence) in [
            (
                "mobile = {}",
                "line 5: system.mobile: give one of { layers = 1 }, { constraints = true } and { indices =",
            ),
            ("mobile = { layers = 1, indices = [2] }", "give one of { layers = 1 }"),
            ("mobile = { constraints = false }", "leave the key out if all atoms of the template stay"),
            ("mobile = { indices = [] }", "give one of { layers = 1 }"),
            (
                "mobile = { indices = [4] }",
                "the template has no atom with the index 4; its 4 atoms have the indices 0 to 3",
            ),
            ("mobile = { indices = [1, 1] }", "the mobile atom with the index 1 is given twice"),
            ("mobile = { layers = 2 }", "mobile = { layers = 2 } is impossible for a template of 2 layers along z"),
            ("mobile_noise_angstrom = 0.2", "system.mobile_noise_angstrom: this needs mobile = { layers = 1 }"),
            ("mobile = { layers = 1 }\nmobile_noise_angstrom = 0", "mobile_noise_angstrom = 0 is impossible"),
        ] {
            let error = load(folder.path(), keys, "").unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains(sentence), "{error}\n  not {sentence}");
        }
        let text = "[system]\nfree = 'Pt4'\nmobile = { layers = 1 }\n[potential]\nkind = 'emt'\n";
        std::fs::write(folder.path().join("c.toml"), text).unwrap();
        let error = Settings::load(&folder.path().join("c.toml")).unwrap_err();
        assert!(error.to_string().contains("system.mobile: mobile atoms need a template"), "{error}");
    }

    #[test]
    fn constraints_of_the_file_must_tell_atoms_apart() {
        let folder = TempDir::new().unwrap();
        let all = |to: &str| SLAB.replace(" T\n", &format!(" {to}\n")).replace(" F\n", &format!(" {to}\n"));
        let partly =
            SLAB.replace("move_mask:L:1", "move_mask:L:3").replace(" T\n", " T T F\n").replace("2 F\n", "2 F F F\n");
        for (slab, sentence) in [
            (all("F"), "the template's file fixes all atoms, so none may move"),
            (all("T"), "the template's file fixes no atom; mark the fixed ones there"),
            (partly, "atom 1 of the template is fixed along some axes only"),
        ] {
            load(folder.path(), "", "").unwrap();
            std::fs::write(folder.path().join("slab.xyz"), slab).unwrap();
            let path = folder.path().join("c.toml");
            let text = std::fs::read_to_string(&path).unwrap();
            std::fs::write(&path, text.replace("\n\n[potential]", "\nmobile = { constraints = true }\n[potential]"))
                .unwrap();
            let error = Settings::load(&path).unwrap_err();
            assert!(error.exit_code() == 2 && error.to_string().contains(sentence), "{error}\n  not {sentence}");
        }
    }
}
