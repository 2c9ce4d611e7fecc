//! The potential that a configuration or the command line asks for: the parts that all kinds share.
//!
//! The list of kinds is in `mod.rs`; the parts that differ are in the file of each kind, behind [`Kind`].

use super::kind::{Form, Kind, Parameter};
use crate::error::{Error, Result};
use serde::de::{DeserializeOwned, DeserializeSeed, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer, forward_to_deserialize_any};
use std::fmt::Formatter;
use toml::{Table, Value};

/// Makes `PotentialSettings` from the list of kinds: one variant for each, with the type that implements [`Kind`].
macro_rules! kinds {
    ($($(#[$words:meta])* $variant:ident($keys:ty),)+) => {
        /// A potential and its parameters: the table `[potential]` of a configuration.
        #[derive(Debug, Clone, PartialEq)]
        pub enum PotentialSettings {
            $($(#[$words])* $variant($keys),)+
        }

        impl PotentialSettings {
            const KINDS: &[$crate::potential::settings::About] =
                &[$($crate::potential::settings::About::of::<$keys>(),)+];

            /// From the keys of `[potential]`.
            fn from_table(mut table: toml::Table) -> $crate::error::Result<Self> {
                use $crate::potential::{kind::Kind, settings};
                let kind = table.remove("kind");
                match kind.as_ref().and_then(toml::Value::as_str).unwrap_or_default() {
                    $(<$keys>::NAME => settings::read(table).map(PotentialSettings::$variant),)+
                    unknown => Err(settings::unknown(unknown, Self::KINDS)),
                }
            }

            /// The potential in a few words, for reports: "EMT", a calculator's name.
            pub fn describe(&self) -> String {
                use $crate::potential::kind::Kind;
                match self {
                    $(PotentialSettings::$variant(keys) => keys.describe(),)+
                }
            }

            /// A sentence if its energies of structures with these elements (atomic numbers) mean little, with a remedy.
            pub fn doubt(&self, elements: &[u8]) -> Option<String> {
                use $crate::potential::kind::Kind;
                match self {
                    $(PotentialSettings::$variant(keys) => keys.doubt(elements),)+
                }
            }

            fn open(
                &self,
                system: Option<&$crate::system::System>,
                place: &$crate::gpu::Place,
            ) -> $crate::error::Result<Box<dyn $crate::potential::Potential>> {
                use $crate::potential::kind::Kind;
                match self {
                    $(PotentialSettings::$variant(keys) => keys.open(system, place),)+
                }
            }
        }

        impl serde::Serialize for PotentialSettings {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
                match self {
                    $(PotentialSettings::$variant(keys) => $crate::potential::settings::write(keys, serializer),)+
                }
            }
        }
    };
}
pub(super) use kinds;

/// The facts about a kind before its keys are read.
#[derive(Debug)]
pub(super) struct About {
    name: &'static str,
    form: Option<Form>,
    in_files: bool,
    keys: fn() -> &'static [&'static str],
    /// Reads these keys; all other keys keep their defaults.
    accepts: fn(Table) -> std::result::Result<(), toml::de::Error>,
}

impl About {
    /// The kind whose keys are `K`.
    pub(super) const fn of<K: Kind>() -> Self {
        About {
            name: K::NAME,
            form: K::FORM,
            in_files: K::IN_FILES,
            keys: keys_of::<K>,
            accepts: |keys| deserialized::<K>(keys).map(drop),
        }
    }
}

/// `keys` as a `K`, by way of their text: a table that is deserialized directly forgets which of its texts are dates.
fn deserialized<K: Kind>(keys: Table) -> std::result::Result<K, toml::de::Error> {
    toml::from_str(&keys.to_string())
}

/// The names of the keys of `K`, a structure, which its `Deserialize` asks for.
pub(crate) fn keys_of<K: DeserializeOwned>() -> &'static [&'static str] {
    struct Asked(&'static [&'static str]);
    impl<'de> Deserializer<'de> for &mut Asked {
        type Error = serde::de::value::Error;

        fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> std::result::Result<V::Value, Self::Error> {
            Err(Self::Error::custom("only the names are of interest"))
        }

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _name: &'static str,
            fields: &'static [&'static str],
            visitor: V,
        ) -> std::result::Result<V::Value, Self::Error> {
            self.0 = fields;
            self.deserialize_any(visitor)
        }

        forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct newtype_struct
            seq tuple tuple_struct map enum identifier ignored_any
        }
    }
    let mut asked = Asked(&[]);
    // It fails, but has asked by then.
    let _ = K::deserialize(&mut asked);
    asked.0
}

/// The keys of `[potential]` without `kind`, checked and with all defaults.
///
/// # Errors
/// `BadInput` for keys that this kind does not have and for values that it refuses.
pub(super) fn read<K: Kind>(mut keys: Table) -> Result<K> {
    let known = keys_of::<K>();
    if let Some(key) = keys.keys().find(|key| !known.contains(&key.as_str())) {
        return Err(Error::bad_input(format!(
            "the potential \"{}\" has no parameter {key}; it takes {}",
            K::NAME,
            known.join(", ")
        )));
    }
    K::fill_in(&mut keys);
    let settings: K = deserialized(keys).map_err(|cause| Error::bad_input(cause.message()))?;
    settings.check()?;
    Ok(settings)
}

/// Writes the keys of a kind as `[potential]` has them.
pub(super) fn write<K: Kind, S: Serializer>(keys: &K, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Tagged<'a, K> {
        kind: &'static str,
        #[serde(flatten)]
        keys: &'a K,
    }
    Tagged { kind: K::NAME, keys }.serialize(serializer)
}

/// The keys of the kinds that files may name, each once, after `kind`.
pub(super) fn keys(kinds: &[About]) -> Vec<&'static str> {
    let mut keys = vec!["kind"];
    for key in kinds.iter().filter(|about| about.in_files).flat_map(|about| (about.keys)()) {
        if !keys.contains(key) {
            keys.push(key);
        }
    }
    keys
}

/// The sentence for an unknown kind.
pub(super) fn unknown(kind: &str, kinds: &[About]) -> Error {
    let offered = kinds.iter().filter(|about| about.in_files);
    let names: Vec<String> = offered.map(|about| format!("\"{}\"", about.name)).collect();
    let (last, others) = names.split_last().map_or(("none", &[][..]), |(last, others)| (last.as_str(), others));
    Error::bad_input(format!("there is no potential \"{kind}\"; this build has {} and {last}", others.join(", ")))
}

/// The forms that `--potential` takes, for its help: the names of all kinds that need no configuration.
pub(super) fn names(kinds: &[About]) -> String {
    let examples: Vec<&str> =
        kinds.iter().filter_map(|about| about.form).flat_map(|form| form.examples).copied().collect();
    examples.join(", ")
}

/// The keys that a name on the command line means, `kind` among them.
///
/// # Errors
/// `BadInput` for a kind that needs more than a name, for a parameter that it does not have, and for a parameter without its
/// number. An unknown kind is not refused here.
pub(super) fn keys_of_name(text: &str, kinds: &[About]) -> Result<Table> {
    let (kind, parameters) = text.split_once(':').unwrap_or((text, ""));
    let mut table = Table::from_iter([("kind".to_owned(), Value::from(kind))]);
    let Some(about) = kinds.iter().find(|about| about.name == kind) else { return Ok(table) };
    let Some(form) = about.form else {
        return Err(Error::bad_input(format!(
            "the potential {kind} needs more than a name; write it into a configuration and name that, such as search.toml"
        )));
    };
    for parameter in parameters.split(',').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let known = form.parameters.iter().find_map(|parameter| match *parameter {
            Parameter::Flag { name: known, key } if known == name && value.is_empty() => Some((key, None)),
            Parameter::Number { name: known, key } if known == name => Some((key, Some(value.parse::<f64>()))),
            _ => None,
        });
        let Some((key, number)) = known else {
            return Err(Error::bad_input(format!(
                "\"{parameter}\" is no parameter of the potential {kind}; write {}",
                form.examples.join(" or ")
            )));
        };
        let value = match number {
            None => Value::Boolean(true),
            Some(Ok(number)) => Value::Float(number),
            Some(Err(_)) => {
                return Err(Error::bad_input(format!(
                    "\"{parameter}\" of the potential {kind} needs a number, such as {name}=1.0"
                )));
            }
        };
        if table.insert(key.to_owned(), value).is_some() {
            return Err(Error::bad_input(format!("the potential {kind} is given {name} twice; keep one")));
        }
    }
    Ok(table)
}

/// Reads `[potential]` as it is written. Here each key must be a key of some kind, and each value must suit its key. So an error
/// about either names its own line. Whether the keys suit the kind is checked when all are read.
pub(super) fn read_table<'de, D: Deserializer<'de>>(
    deserializer: D,
    kinds: &[About],
) -> std::result::Result<Table, D::Error> {
    deserializer.deserialize_map(Keys(kinds))
}

struct Keys<'a>(&'a [About]);

impl<'de> Visitor<'de> for Keys<'_> {
    type Value = Table;

    fn expecting(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str("a table")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Table, A::Error> {
        let mut table = Table::new();
        while let Some(key) = map.next_key_seed(Key(self.0))? {
            let value = map.next_value_seed(ValueOf { key: &key, kinds: self.0 })?;
            table.insert(key, value);
        }
        if table.contains_key("kind") { Ok(table) } else { Err(A::Error::missing_field("kind")) }
    }
}

/// A key that some kind has.
struct Key<'a>(&'a [About]);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<String, D::Error> {
        let key = String::deserialize(deserializer)?;
        let keys = |about: &About| (about.keys)().iter().copied();
        if key == "kind" || self.0.iter().flat_map(keys).any(|known| known == key) {
            return Ok(key);
        }
        let names: Vec<String> = self::keys(self.0).iter().map(|known| format!("`{known}`")).collect();
        Err(D::Error::custom(format!("unknown field `{key}`, expected one of {}", names.join(", "))))
    }
}

/// A value of the type that its key has.
struct ValueOf<'a> {
    key: &'a str,
    kinds: &'a [About],
}

impl<'de> DeserializeSeed<'de> for ValueOf<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<Value, D::Error> {
        if self.key == "kind" {
            return String::deserialize(deserializer).map(Value::String);
        }
        let value = Value::deserialize(deserializer)?;
        let Some(about) = self.kinds.iter().find(|about| (about.keys)().contains(&self.key)) else { return Ok(value) };
        let alone = Table::from_iter([(self.key.to_owned(), value.clone())]);
        (about.accepts)(alone).map_err(|cause| D::Error::custom(cause.message()))?;
        Ok(value)
    }
}

#[cfg(test)]
mod tests;
