//! For unit tests: values of independent programs, from files of `tests/fixtures` in the format of safetensors.

use safetensors::SafeTensors;

/// One file.
pub struct Fixture(Vec<u8>);

impl Fixture {
    /// The file `name`.
    pub fn read(name: &str) -> Self {
        Fixture(std::fs::read(format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap())
    }

    fn words(&self, name: &str) -> Vec<[u8; 8]> {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        file.tensor(name).unwrap().data().as_chunks::<8>().0.to_vec()
    }

    /// A tensor of f64.
    pub fn numbers(&self, name: &str) -> Vec<f64> {
        self.words(name).into_iter().map(f64::from_le_bytes).collect()
    }

    /// A tensor of i64.
    pub fn integers(&self, name: &str) -> Vec<i64> {
        self.words(name).into_iter().map(i64::from_le_bytes).collect()
    }

    /// Vectors of three f64.
    pub fn vectors(&self, name: &str) -> Vec<[f64; 3]> {
        self.numbers(name).as_chunks::<3>().0.to_vec()
    }

    /// A number among the file's metadata.
    pub fn setting(&self, name: &str) -> f64 {
        let (_, header) = SafeTensors::read_metadata(&self.0).unwrap();
        header.metadata().as_ref().unwrap()[name].parse().unwrap()
    }
}
