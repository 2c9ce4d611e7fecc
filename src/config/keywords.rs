//! A configuration from keywords instead of a file: whole sections, or single keys by their bare names.

use super::source::SourceFile;
use super::{
    AdaptiveSection, AnnealingSettings, BasinHoppingSettings, DiffusionSection, EngineSection, EvolutionSettings,
    FragmentSection, GuidanceSection, ModelSection, ObjectiveSection, PlacementSettings, ProposalSection,
    RandomSearchSettings, RelaxationSection, SearchSection, SeedsSection, Settings, StoppingSection, SystemSection,
    TargetSection, TrainingSection, TransferSection,
};
use crate::error::{Error, Result};
use crate::potential::{PotentialSettings, keys_of};
use std::path::Path;
use toml::{Table, Value};

/// Every section with its keys.
pub fn sections() -> Vec<(&'static str, Vec<&'static str>)> {
    let potential = PotentialSettings::keys();
    vec![
        ("system", keys_of::<SystemSection>().to_vec()),
        ("fragments", keys_of::<FragmentSection>().to_vec()),
        ("potential", potential),
        ("model", keys_of::<ModelSection>().to_vec()),
        ("diffusion", keys_of::<DiffusionSection>().to_vec()),
        ("search", keys_of::<SearchSection>().to_vec()),
        ("objective", ObjectiveSection::keys()),
        ("adaptive", keys_of::<AdaptiveSection>().to_vec()),
        ("training", keys_of::<TrainingSection>().to_vec()),
        ("stopping", keys_of::<StoppingSection>().to_vec()),
        ("engine", keys_of::<EngineSection>().to_vec()),
        ("guidance", keys_of::<GuidanceSection>().to_vec()),
        ("proposals", keys_of::<ProposalSection>().to_vec()),
        ("transfer", keys_of::<TransferSection>().to_vec()),
        ("seeds", keys_of::<SeedsSection>().to_vec()),
        ("target", keys_of::<TargetSection>().to_vec()),
        ("placement", keys_of::<PlacementSettings>().to_vec()),
        ("relaxation", keys_of::<RelaxationSection>().to_vec()),
        ("random_search", keys_of::<RandomSearchSettings>().to_vec()),
        ("basin_hopping", keys_of::<BasinHoppingSettings>().to_vec()),
        ("evolution", keys_of::<EvolutionSettings>().to_vec()),
        ("annealing", keys_of::<AnnealingSettings>().to_vec()),
    ]
}

impl Settings {
    /// The configuration of `keywords`, or that of the file `base` with `keywords` in place of its values. A keyword is a section
    /// with a table (`true` for one with its defaults alone, `false` for none), or a key that one section alone has; a key that
    /// `[search]` shares with `[adaptive]` or `[annealing]` is that of `[search]`, unless the other is given too. Further forms:
    /// `potential` may be a name as for [`PotentialSettings::parse_name`], and `confinement` two heights, above the template if
    /// there is one. Paths are relative to the file `base`, or else to `folder`.
    ///
    /// # Errors
    /// `BadInput` as [`Settings::load`], without lines; also for keywords that no section has or several have.
    pub fn of_keywords(keywords: Table, base: Option<&Path>, folder: &Path) -> Result<Self> {
        let Some(path) = base else {
            return Settings::of_keywords_over(keywords, Table::new(), folder);
        };
        let source = SourceFile::read(path)?;
        if keywords.is_empty() {
            return Settings::resolve(source);
        }
        let text = in_sections(keywords, source.parse()?)?.to_string();
        Settings::resolve(SourceFile::changed(text, path))
    }

    /// The configuration `sections`, which is no file, with `keywords` in place of its values, as [`Settings::of_keywords`]. Paths are
    /// relative to `folder`.
    ///
    /// # Errors
    /// `BadInput` as there.
    pub fn of_keywords_over(keywords: Table, sections: Table, folder: &Path) -> Result<Self> {
        let text = in_sections(keywords, sections)?.to_string();
        Settings::resolve(SourceFile::without_file(text, folder))
    }
}

/// `keywords` at their places among the sections of `file`.
///
/// # Errors
/// `BadInput` for keywords that no section has or several have.
pub fn in_sections(keywords: Table, mut file: Table) -> Result<Table> {
    let sections = sections();
    let mut given: Vec<(&str, String)> = Vec::new();
    let (whole, single): (Vec<_>, Vec<_>) =
        keywords.into_iter().partition(|(name, value)| is_section(&sections, name, value));
    for (name, value) in whole {
        match value {
            Value::Boolean(true) => drop(file.entry(name).or_insert(Table::new().into())),
            Value::Boolean(false) => drop(file.remove(&name)),
            Value::Table(table) => {
                let section = sections.iter().find_map(|(section, _)| (*section == name).then_some(*section));
                given.extend(table.keys().map(|key| (section.unwrap_or_default(), key.clone())));
                put(&mut file, &name, table)?;
            }
            Value::String(text) if name == "potential" => {
                let table = Table::try_from(PotentialSettings::parse_name(&text)?);
                file.insert(name, table.map_err(|cause| Error::bad_input(cause.to_string()))?.into());
            }
            other => drop(file.insert(name, other)),
        }
    }
    for (key, value) in single {
        let section = section_of(&sections, &file, &key)?;
        if given.iter().any(|(of, named)| *of == section && *named == key) {
            return Err(Error::bad_input(format!("{key} is given twice, also in {section}; leave one of them out")));
        }
        put(&mut file, section, Table::from_iter([(key, value)]))?;
    }
    confine(&mut file);
    Ok(file)
}

/// Whether the keyword `name` with this value is a section and no key of one.
fn is_section(sections: &[(&str, Vec<&str>)], name: &str, value: &Value) -> bool {
    let is_key = sections.iter().any(|(_, keys)| keys.contains(&name));
    let is_text = matches!(value, Value::String(_)) && name != "potential";
    sections.iter().any(|(section, _)| *section == name) && !(is_text && is_key)
}

/// The one section with this key. `[search]` comes before others that are not in `file`.
fn section_of(sections: &[(&'static str, Vec<&'static str>)], file: &Table, key: &str) -> Result<&'static str> {
    let homes: Vec<&str> = sections.iter().filter(|(_, keys)| keys.contains(&key)).map(|(name, _)| *name).collect();
    match homes[..] {
        [home] => Ok(home),
        ["search", ..] if !homes[1..].iter().any(|other| file.contains_key(*other)) => Ok("search"),
        [] => {
            let names: Vec<&str> = sections.iter().map(|(name, _)| *name).collect();
            Err(Error::bad_input(format!(
                "unknown key `{key}`: it is neither a section ({}) nor a key of one",
                names.join(", ")
            )))
        }
        [first, ..] => Err(Error::bad_input(format!(
            "`{key}` is a key of {}; give the section, such as {first} with {key} in it",
            homes.join(" and of ")
        ))),
    }
}

/// Adds `keys` to the section `name` of `file`; they replace those that are there.
fn put(file: &mut Table, name: &str, keys: Table) -> Result<()> {
    let section = file.entry(name).or_insert(Table::new().into());
    match section.as_table_mut() {
        // Another kind of potential has other keys.
        Some(section) if name == "potential" && keys.contains_key("kind") => *section = keys,
        Some(section) => section.extend(keys),
        None => return Err(Error::bad_input(format!("{name} is no table of keys"))),
    }
    Ok(())
}

/// Two heights alone as `system.confinement` become the table that the section takes.
fn confine(file: &mut Table) {
    let Some(system) = file.get_mut("system").and_then(Value::as_table_mut) else { return };
    let key = if system.contains_key("template") { "above_template_angstrom" } else { "z_angstrom" };
    if let Some(heights @ Value::Array(_)) = system.get_mut("confinement") {
        *heights = Table::from_iter([(key.to_owned(), heights.clone())]).into();
    }
}

#[cfg(test)]
mod tests {
    use super::super::File;
    use super::*;

    fn read(keywords: &str) -> Result<Settings> {
        let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
        Settings::of_keywords(toml::from_str(keywords).unwrap(), None, &configs)
    }

    #[test]
    fn sections_are_those_of_files() {
        let names: Vec<&str> = sections().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, keys_of::<File>());
    }

    /// Single keys, sections and names lead to the same settings as a file.
    #[test]
    fn keywords_are_a_configuration() {
        let template = "template = 'structures/pt-stepped.xyz'";
        let file = format!(
            "[system]\n{template}\nfree = 'Pt'\nconfinement = {{ above_template_angstrom = [1.0, 5.0] }}\n[potential]\n\
             kind = 'emt'\n[search]\niterations = 3\n[training]\nbatch = 4\n[guidance]\n"
        );
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/none.toml");
        let expected = Settings::parse(&file, &path).unwrap();
        let keywords = format!(
            "{template}\nfree = 'Pt'\nconfinement = [1.0, 5.0]\npotential = 'emt'\niterations = 3\nguidance = true\n\
             training = {{ batch = 4 }}"
        );
        assert_eq!(read(&keywords).unwrap(), expected);
    }

    #[test]
    fn a_file_with_changes_is_that_file_with_other_values() {
        let smoke = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/smoke.toml");
        let changed = |text: &str| Settings::of_keywords(toml::from_str(text).unwrap(), Some(&smoke), Path::new("/"));
        let mut expected = Settings::load(&smoke).unwrap();
        assert_eq!(changed("").unwrap(), expected);
        expected.sections.search.iterations = 7;
        assert_eq!(changed("iterations = 7").unwrap(), expected);
        let error = changed("iterations = 'x'").unwrap_err().to_string();
        let expected = format!("{}: search.iterations: found the text \"x\" where a whole number", smoke.display());
        assert!(error.starts_with(&expected), "{error}");
    }

    #[test]
    fn wrong_keywords_are_refused() {
        let good =
            "cell_angstrom = [[9.0, 0.0, 0.0], [0.0, 9.0, 0.0], [0.0, 0.0, 9.0]]\nfree = 'Pt2'\npotential = 'emt'\n";
        assert!(read(good).is_ok());
        for (more, sentence) in [
            ("iteratons = 3", "unknown key `iteratons`: it is neither a section (system, fragments, potential, model"),
            (
                "batch = 3",
                "`batch` is a key of potential and of training; give the section, such as potential with batch in it",
            ),
            (
                "iterations = 3\nsearch = { iterations = 4 }",
                "iterations is given twice, also in search; leave one of them out",
            ),
            ("iterations = 'x'", "search.iterations: found the text \"x\" where a whole number (0 or more) is needed"),
            ("search = { iteratons = 3 }", "search.iteratons: unknown key `iteratons`, expected one of"),
            ("kt_final_ev = nan", "search.kt_final_ev is nan: write a finite number"),
            ("kt_final_ev = -1.0", "search.kt_final_ev: "),
            ("template = 'none.xyz'", "system.template: "),
        ] {
            let error = read(&format!("{good}{more}")).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().starts_with(sentence), "{more}: {error}");
        }
    }
}
