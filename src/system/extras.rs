//! Further keys and columns of a structure, as files give them: total charge, spin, initial magnetic moments, tags, names, …

use super::xyz::Value;

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
    fn columns_follow_their_atoms() {
        let moved = extras().reordered(&[1, 0], 1);
        assert_eq!(moved.info, extras().info);
        assert_eq!(moved.columns[0].values, Values::Real(vec![1.5, 0.5, 0.0]));
        assert_eq!(moved.columns[2].values, Values::Integer(vec![3, 4, 1, 2, 0, 0]));
        assert_eq!(moved.columns[3].values, Values::Text(vec!["b".into(), "a".into(), "X".into()]));
        assert_eq!(moved.columns[4].values, Values::Flag(vec![false, true, false]));
    }
}
