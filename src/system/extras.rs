//! Further keys and columns of a structure, as files give them: total charge, spin, initial magnetic moments, tags, names, …

use super::xyz::Value;
use std::collections::BTreeMap;

/// The column of initial magnetic moments, µB, by ASE's name.
pub const MOMENTS: &str = "initial_magmoms";

/// Results of a calculation, by the names that ASE and the format's specification give them: in the comment line and in
/// the columns.
const RESULTS: [&str; 15] = [
    "free_energy",
    "energies",
    "local_energy",
    "force",
    "stress",
    "stresses",
    "virial",
    "virials",
    "dipole",
    "charges",
    "magmom",
    "magmoms",
    "dielectric_tensor",
    "born_effective_charges",
    "polarization",
];

/// The column of computed charges in files of ASE. In the comment line the same word is the total charge, an input.
const CHARGES: &str = "charge";

/// Keys that godiff writes about a structure's history.
const HISTORY: [&str; 13] = [
    "iteration",
    "index",
    "kt_ev",
    "status",
    "reason",
    "time",
    "count",
    "relaxed",
    "n_runs",
    "origin",
    "seeds",
    "symmetry",
    "score",
];

/// Beginnings of such keys: `lowest_run`, `first_evaluation`, `layer_group`, …
const HISTORY_BEGINS: [&str; 5] = ["lowest_", "first_", "last_", "layer_group", "space_group"];

/// Keys of the comment line and columns of the atom lines that do not belong to the structure itself.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Extras {
    /// Keys of the comment line with their values, in order.
    pub info: Vec<(String, Value)>,
    /// Column groups, in order.
    pub columns: Vec<Column>,
}

/// A further column group of the atom lines.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Name in `Properties`.
    pub name: String,
    /// Numbers or words per atom.
    pub width: usize,
    /// Entries of all atoms, N × `width`.
    pub values: Values,
}

/// Entries of a column group, N × width, atom by atom.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Type R.
    Real(Vec<f64>),
    /// Type I.
    Integer(Vec<i64>),
    /// Type L.
    Flag(Vec<bool>),
    /// Type S.
    Text(Vec<String>),
}

impl Extras {
    /// Removes results of earlier calculations (`stress`, `magmoms`, …).
    pub fn forget_results(&mut self) {
        self.info.retain(|(key, _)| !RESULTS.contains(&key.as_str()));
        self.columns.retain(|column| column.name != CHARGES && !RESULTS.contains(&column.name.as_str()));
    }

    /// What a calculator may want to know: all but results and the history of the structure.
    pub fn inputs(mut self) -> Extras {
        self.forget_results();
        let own = |name: &str| HISTORY.contains(&name) || HISTORY_BEGINS.iter().any(|begin| name.starts_with(begin));
        self.info.retain(|(key, _)| !own(key));
        self.columns.retain(|column| !own(&column.name));
        self
    }

    /// The same keys, and columns for the atoms `order` of the present ones followed by `n_more` atoms with empty entries: 0, F, or
    /// the word X.
    pub fn reordered(&self, order: &[usize], n_more: usize) -> Extras {
        let columns = self.columns.iter().map(|column| column.reordered(order, n_more)).collect();
        Extras { info: self.info.clone(), columns }
    }

    /// The column of this name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The same keys, and columns for the `n` present atoms followed by those of `parts`: a list of columns and a number of atoms for
    /// each. Atoms whose list lacks a column have empty entries there.
    ///
    /// # Errors
    /// Part of a sentence about the first column whose entries are of another kind in another list.
    pub fn followed_by(&self, n: usize, parts: &[(&[Column], usize)]) -> Result<Extras, String> {
        let mut columns: Vec<Column> = self.columns.clone();
        let mut n_before = n;
        for &(more, n_atoms) in parts {
            for column in &mut columns {
                match more.iter().find(|other| other.name == column.name) {
                    Some(other) => column.append(other)?,
                    None => column.append_empty(n_atoms),
                }
            }
            for new in more.iter().filter(|new| self.column(&new.name).is_none()) {
                if !columns.iter().any(|column| column.name == new.name) {
                    let mut column = new.reordered(&[], n_before);
                    column.append(new)?;
                    columns.push(column);
                }
            }
            n_before += n_atoms;
        }
        Ok(Extras { info: self.info.clone(), columns })
    }

    /// Gives each atom of the elements `numbers` for which `is_asked` is true the initial magnetic moment (µB) of its element, if
    /// `moments` has one.
    ///
    /// # Errors
    /// Part of a sentence if the moments that are there are no numbers.
    pub fn set_moments(
        &mut self,
        numbers: &[u8],
        moments: &BTreeMap<u8, f64>,
        is_asked: &[bool],
    ) -> Result<(), String> {
        let place = self.columns.iter().position(|column| column.name == MOMENTS);
        let mut values: Vec<f64> = match place.map(|place| &self.columns[place]) {
            None => vec![0.0; numbers.len()],
            Some(Column { width: 1, values: Values::Real(values), .. }) => values.clone(),
            Some(Column { width: 1, values: Values::Integer(values), .. }) => {
                values.iter().map(|&value| value as f64).collect()
            }
            Some(_) => {
                return Err(format!("the files give {MOMENTS} in another form than one number for each atom"));
            }
        };
        for ((value, number), _) in values.iter_mut().zip(numbers).zip(is_asked).filter(|(_, asked)| **asked) {
            *value = moments.get(number).copied().unwrap_or(*value);
        }
        let column = Column { name: MOMENTS.to_owned(), width: 1, values: Values::Real(values) };
        match place {
            Some(place) => self.columns[place] = column,
            None => self.columns.push(column),
        }
        Ok(())
    }

    /// `{"info": {key: value, …}, "arrays": {name: [[…], …], …}}`: arrays have a row for each atom, or a number or word where the
    /// column has one of them.
    pub fn to_json(&self) -> String {
        let info = self.info.iter().map(|(key, value)| (key.clone(), value.to_json())).collect();
        let arrays = self.columns.iter().map(|column| (column.name.clone(), column.to_json())).collect();
        serde_json::json!({ "info": serde_json::Value::Object(info), "arrays": serde_json::Value::Object(arrays) })
            .to_string()
    }
}

impl Column {
    /// Adds the entries of `other`, a column of this name; whole numbers become real where the other has real ones.
    fn append(&mut self, other: &Column) -> Result<(), String> {
        if self.width != other.width {
            return Err(format!(
                "the column {} has {} entries an atom, and {} in another file",
                self.name, other.width, self.width
            ));
        }
        if let (Values::Integer(mine), Values::Real(_)) = (&self.values, &other.values) {
            self.values = Values::Real(mine.iter().map(|&value| value as f64).collect());
        }
        match (&mut self.values, &other.values) {
            (Values::Real(mine), Values::Real(more)) => mine.extend(more),
            (Values::Real(mine), Values::Integer(more)) => mine.extend(more.iter().map(|&value| value as f64)),
            (Values::Integer(mine), Values::Integer(more)) => mine.extend(more),
            (Values::Flag(mine), Values::Flag(more)) => mine.extend(more),
            (Values::Text(mine), Values::Text(more)) => mine.extend(more.iter().cloned()),
            _ => return Err(format!("the column {} has entries of another kind in another file", self.name)),
        }
        Ok(())
    }

    /// Adds empty entries for `n` atoms.
    fn append_empty(&mut self, n: usize) {
        let n = n * self.width;
        match &mut self.values {
            Values::Real(values) => values.extend(std::iter::repeat_n(0.0, n)),
            Values::Integer(values) => values.extend(std::iter::repeat_n(0, n)),
            Values::Flag(values) => values.extend(std::iter::repeat_n(false, n)),
            Values::Text(values) => values.extend(std::iter::repeat_n("X".to_owned(), n)),
        }
    }

    fn reordered(&self, order: &[usize], n_more: usize) -> Column {
        fn rows<T: Clone>(values: &[T], width: usize, order: &[usize], n_more: usize, empty: T) -> Vec<T> {
            let given = order.iter().flat_map(|&atom| values[atom * width..][..width].iter().cloned());
            given.chain(std::iter::repeat_n(empty, n_more * width)).collect()
        }
        let width = self.width;
        let values = match &self.values {
            Values::Real(values) => Values::Real(rows(values, width, order, n_more, 0.0)),
            Values::Integer(values) => Values::Integer(rows(values, width, order, n_more, 0)),
            Values::Flag(values) => Values::Flag(rows(values, width, order, n_more, false)),
            Values::Text(values) => Values::Text(rows(values, width, order, n_more, "X".to_owned())),
        };
        Column { name: self.name.clone(), width, values }
    }

    fn to_json(&self) -> serde_json::Value {
        let values: Vec<serde_json::Value> = match &self.values {
            Values::Real(values) => values.iter().map(|&x| x.into()).collect(),
            Values::Integer(values) => values.iter().map(|&x| x.into()).collect(),
            Values::Flag(values) => values.iter().map(|&x| x.into()).collect(),
            Values::Text(values) => values.iter().map(|x| x.as_str().into()).collect(),
        };
        match self.width {
            1 => values.into(),
            width => values.chunks(width.max(1)).map(<[serde_json::Value]>::to_vec).collect::<Vec<_>>().into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, width: usize, values: Values) -> Column {
        Column { name: name.into(), width, values }
    }

    fn extras() -> Extras {
        Extras {
            info: vec![
                ("charge".into(), Value::Integer(-1)),
                ("label".into(), Value::Text("slab \"a\"".into())),
                ("stress".into(), Value::Array("[1, 2]".into())),
                ("iteration".into(), Value::Integer(3)),
                ("first_run".into(), Value::Integer(3)),
            ],
            columns: vec![
                column("initial_magmoms", 1, Values::Real(vec![0.5, 1.5])),
                column("magmoms", 1, Values::Real(vec![0.4, 1.4])),
                column("place", 2, Values::Integer(vec![1, 2, 3, 4])),
                column("name", 1, Values::Text(vec!["a".into(), "b".into()])),
                column("known", 1, Values::Flag(vec![true, false])),
            ],
        }
    }

    #[test]
    fn calculators_get_inputs_alone() {
        assert_eq!(
            extras().inputs().to_json(),
            "{\"arrays\":{\"initial_magmoms\":[0.5,1.5],\"known\":[true,false],\"name\":[\"a\",\"b\"],\"place\":[[1,2],[3,4]]},\
             \"info\":{\"charge\":-1,\"label\":\"slab \\\"a\\\"\"}}"
        );
        assert_eq!(Extras::default().to_json(), "{\"arrays\":{},\"info\":{}}");
    }

    #[test]
    fn columns_of_parts_are_joined() {
        let own = [
            column("tags", 1, Values::Integer(vec![7])),
            column("place", 2, Values::Integer(vec![5, 6])),
            column("initial_magmoms", 1, Values::Integer(vec![2])),
        ];
        let joined = extras().followed_by(2, &[(&[], 1), (&own, 1), (&own, 1)]).unwrap();
        assert_eq!(joined.info, extras().info);
        let values = |name: &str| &joined.column(name).unwrap().values;
        assert_eq!(values("tags"), &Values::Integer(vec![0, 0, 0, 7, 7]));
        assert_eq!(values("place"), &Values::Integer(vec![1, 2, 3, 4, 0, 0, 5, 6, 5, 6]));
        assert_eq!(values("initial_magmoms"), &Values::Real(vec![0.5, 1.5, 0.0, 2.0, 2.0]));
        assert_eq!(values("name"), &Values::Text(["a", "b", "X", "X", "X"].map(String::from).to_vec()));
        assert_eq!(values("known"), &Values::Flag(vec![true, false, false, false, false]));
        for (odd, sentence) in [
            (
                column("place", 1, Values::Integer(vec![5])),
                "the column place has 1 entries an atom, and 2 in another file",
            ),
            (column("name", 1, Values::Real(vec![5.0])), "the column name has entries of another kind in another file"),
        ] {
            assert_eq!(extras().followed_by(2, &[(&[odd], 1)]).unwrap_err(), sentence);
        }
    }

    #[test]
    fn moments_are_those_of_the_element() {
        let moments = BTreeMap::from([(26, 2.2), (8, -0.5)]);
        let mut made = Extras::default();
        made.set_moments(&[26, 78, 8], &moments, &[true, true, true]).unwrap();
        assert_eq!(made.column(MOMENTS).unwrap().values, Values::Real(vec![2.2, 0.0, -0.5]));
        let mut given = extras();
        given.set_moments(&[26, 26], &moments, &[false, true]).unwrap();
        assert_eq!(given.column(MOMENTS).unwrap().values, Values::Real(vec![0.5, 2.2]));
        let mut vectors = Extras { columns: vec![column(MOMENTS, 3, Values::Real(vec![0.0; 3]))], ..Extras::default() };
        assert!(vectors.set_moments(&[26], &moments, &[true]).unwrap_err().contains("in another form than one number"));
    }

    #[test]
    fn columns_follow_their_atoms() {
        let moved = extras().reordered(&[1, 0], 1);
        assert_eq!(moved.info, extras().info);
        assert_eq!(moved.columns[0].values, Values::Real(vec![1.5, 0.5, 0.0]));
        assert_eq!(moved.columns[2].values, Values::Integer(vec![3, 4, 1, 2, 0, 0]));
        assert_eq!(moved.columns[3].values, Values::Text(vec!["b".into(), "a".into(), "X".into()]));
        assert_eq!(moved.columns[4].values, Values::Flag(vec![false, true, false]));
    }
}
