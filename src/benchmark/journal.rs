//! The answers of relaxations that have not ended, kept in a file: started again, the relaxations go the same way, and what was
//! answered before the end of the process is not asked again.
//!
//! The file is a row of records: length of the rest (u32), CRC-32 of the rest (u32), the positions of the structure (N × 3 f64),
//! then 1 byte (1: energy and forces follow, f64, 1 + N × 3; 0: a reason follows, UTF-8). Numbers are little-endian. A record that a
//! kill or a power cut has torn ends the row, and is cut off.

use crate::disk::{folder_of, storage_error, sync_folder};
use crate::error::{Error, Result};
use crate::potential::{Answer, Evaluation, Potential};
use crate::system::{Structure, Vec3};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A potential that remembers its answers in a file.
pub(super) struct Journal<'a> {
    potential: &'a dyn Potential,
    path: PathBuf,
    /// Answers are kept in memory up to this long.
    interval: Duration,
    known: HashMap<Vec<u64>, Answer>,
    unsaved: Mutex<Unsaved>,
}

/// Records that are not in the file yet.
struct Unsaved {
    bytes: Vec<u8>,
    since: Instant,
    /// Length of the file's whole records.
    length: u64,
}

impl<'a> Journal<'a> {
    /// The answers of `potential` with the file at `path`, which is read if it is there. A kill loses the answers of the last
    /// `interval` at most.
    ///
    /// # Errors
    /// `Storage` if the file cannot be read.
    pub fn open(potential: &'a dyn Potential, path: PathBuf, interval: Duration) -> Result<Self> {
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            read => read.map_err(|error| Error::storage(&path, format!("cannot be read ({error})")))?,
        };
        let (known, length) = records(&bytes);
        let unsaved = Mutex::new(Unsaved { bytes: Vec::new(), since: Instant::now(), length: length as u64 });
        Ok(Journal { potential, path, interval, known, unsaved })
    }

    /// Puts on the disk what is not there yet.
    ///
    /// # Errors
    /// `Storage`.
    pub fn save(&self) -> Result<()> {
        let mut unsaved = self.unsaved.lock().unwrap_or_else(PoisonError::into_inner);
        if unsaved.bytes.is_empty() {
            return Ok(());
        }
        append(&self.path, unsaved.length, &unsaved.bytes).map_err(|error| storage_error(&self.path, &error))?;
        unsaved.length += unsaved.bytes.len() as u64;
        unsaved.bytes.clear();
        unsaved.since = Instant::now();
        Ok(())
    }

    /// Notes `answers`, in their order, for `structures`.
    fn note(&self, structures: &[Structure], answers: &[(usize, Answer)]) -> Result<()> {
        let mut unsaved = self.unsaved.lock().unwrap_or_else(PoisonError::into_inner);
        if unsaved.bytes.is_empty() {
            unsaved.since = Instant::now();
        }
        answers.iter().for_each(|(k, answer)| write_record(&mut unsaved.bytes, &structures[*k].positions, answer));
        let is_due = unsaved.since.elapsed() >= self.interval;
        drop(unsaved);
        if is_due { self.save() } else { Ok(()) }
    }
}

impl Potential for Journal<'_> {
    fn name(&self) -> String {
        self.potential.name()
    }

    fn evaluate(
        &self,
        structures: &[Structure],
        deliver: &mut dyn FnMut(Vec<(usize, Answer)>) -> Result<()>,
    ) -> Result<()> {
        let (mut answered, mut open) = (Vec::new(), Vec::new());
        for (k, structure) in structures.iter().enumerate() {
            match self.known.get(&key(&structure.positions)) {
                Some(answer) => answered.push((k, answer.clone())),
                None => open.push(k),
            }
        }
        if !answered.is_empty() {
            deliver(answered)?;
        }
        if open.is_empty() {
            return Ok(());
        }
        let asked: Vec<Structure> = open.iter().map(|&k| structures[k].clone()).collect();
        self.potential.evaluate(&asked, &mut |answers| {
            self.note(&asked, &answers)?;
            deliver(answers.into_iter().map(|(k, answer)| (open[k], answer)).collect())
        })
    }

    fn n_at_once(&self) -> Option<usize> {
        self.potential.n_at_once()
    }
}

fn key(positions: &[Vec3]) -> Vec<u64> {
    positions.iter().flatten().map(|x| x.to_bits()).collect()
}

/// Writes `bytes` after the first `length` bytes of the file at `path`, and waits until they are on the disk.
fn append(path: &Path, length: u64, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::options().create(true).truncate(false).write(true).open(path)?;
    file.set_len(length)?;
    file.seek(SeekFrom::Start(length))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    if length == 0 { sync_folder(folder_of(path)) } else { Ok(()) }
}

fn write_record(bytes: &mut Vec<u8>, positions: &[Vec3], answer: &Answer) {
    let mut rest = Vec::new();
    let put = |rest: &mut Vec<u8>, vectors: &[Vec3]| {
        vectors.iter().flatten().for_each(|x| rest.extend(x.to_le_bytes()));
    };
    rest.extend((positions.len() as u32).to_le_bytes());
    put(&mut rest, positions);
    match answer {
        Answer::Done(Evaluation { energy, forces }) => {
            rest.push(1);
            rest.extend(energy.to_le_bytes());
            put(&mut rest, forces);
        }
        Answer::Failed(reason) => {
            rest.push(0);
            rest.extend(reason.as_bytes());
        }
    }
    bytes.extend((rest.len() as u32).to_le_bytes());
    bytes.extend(crc32fast::hash(&rest).to_le_bytes());
    bytes.extend(rest);
}

/// The records at the start of `bytes`, and how many bytes they take.
fn records(bytes: &[u8]) -> (HashMap<Vec<u64>, Answer>, usize) {
    let mut known = HashMap::new();
    let mut left = bytes;
    while let Some((answer, positions, after)) = record(left) {
        known.insert(key(&positions), answer);
        left = after;
    }
    (known, bytes.len() - left.len())
}

/// The first record of `bytes`, and what follows.
fn record(bytes: &[u8]) -> Option<(Answer, Vec<Vec3>, &[u8])> {
    let (length, bytes) = u32_at_start(bytes)?;
    let (checksum, bytes) = u32_at_start(bytes)?;
    let (rest, after) = bytes.split_at_checked(length as usize)?;
    if crc32fast::hash(rest) != checksum {
        return None;
    }
    let (n_atoms, rest) = u32_at_start(rest)?;
    let (positions, rest) = rest.split_at_checked(24 * n_atoms as usize)?;
    let answer = match rest.split_first()? {
        (0, reason) => Answer::Failed(String::from_utf8(reason.to_vec()).ok()?),
        (_, numbers) => {
            let (energy, forces) = numbers.split_first_chunk()?;
            Answer::Done(Evaluation { energy: f64::from_le_bytes(*energy), forces: vectors(forces) })
        }
    };
    Some((answer, vectors(positions), after))
}

fn u32_at_start(bytes: &[u8]) -> Option<(u32, &[u8])> {
    bytes.split_first_chunk().map(|(number, rest)| (u32::from_le_bytes(*number), rest))
}

fn vectors(bytes: &[u8]) -> Vec<Vec3> {
    let numbers: Vec<f64> = bytes.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
    numbers.as_chunks().0.to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::potential::relax::{RelaxSettings, Relaxed, relax_while};
    use crate::potential::{PotentialSettings, open};
    use crate::system::Cell;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tempfile::TempDir;

    /// Counts what a Lennard-Jones potential is asked, and gives up on some structures.
    struct Counting {
        inner: Box<dyn Potential>,
        n_asked: AtomicUsize,
    }

    impl Counting {
        fn new() -> Self {
            let settings = PotentialSettings::parse_name("lennard-jones").unwrap();
            Counting { inner: open(&settings, None, "cpu").unwrap(), n_asked: AtomicUsize::new(0) }
        }
    }

    impl Potential for Counting {
        fn name(&self) -> String {
            self.inner.name()
        }

        fn evaluate(
            &self,
            structures: &[Structure],
            deliver: &mut dyn FnMut(Vec<(usize, Answer)>) -> Result<()>,
        ) -> Result<()> {
            self.n_asked.fetch_add(structures.len(), Ordering::Relaxed);
            self.inner.evaluate(structures, &mut |answers| {
                let fails = |k: usize| structures[k].positions[0][0].to_bits() % 7 == 3;
                let answer = |(k, answer)| (k, if fails(k) { Answer::Failed("lost".into()) } else { answer });
                deliver(answers.into_iter().map(answer).collect())
            })
        }
    }

    fn starts() -> Vec<Structure> {
        let place = |k: usize| {
            let far = |x: usize| 1.1 * x as f64 + 0.03 * (k * x % 5) as f64;
            let positions = (0..5).map(|i| [far(i % 2), far(i / 2), 0.05 * (i * k) as f64]).collect();
            Structure::new(Cell::NONE, vec![18; 5], positions)
        };
        (1..5).map(place).collect()
    }

    fn relaxed(potential: &dyn Potential, stop_after: usize) -> Option<Vec<Relaxed>> {
        let n_asked = std::cell::Cell::new(0);
        let interrupted = || n_asked.replace(n_asked.get() + 1) >= stop_after;
        let (ended, stopped) = relax_while(&starts(), potential, &RelaxSettings::default(), &interrupted).unwrap();
        stopped.is_none().then_some(ended)
    }

    #[test]
    fn interrupted_relaxations_ask_nothing_twice() {
        let alone = Counting::new();
        let expected = relaxed(&alone, usize::MAX).unwrap();
        let n_expected = alone.n_asked.into_inner();
        for stop_after in [1, 2, 7, 20] {
            let folder = TempDir::new().unwrap();
            let path = folder.path().join("relaxing.journal");
            let counting = Counting::new();
            let mut n_starts = 0;
            let ended = loop {
                n_starts += 1;
                let journal = Journal::open(&counting, path.clone(), Duration::ZERO).unwrap();
                // Answers from before are delivered in rounds too, so each start gets further.
                if let Some(ended) = relaxed(&journal, stop_after * n_starts) {
                    break ended;
                }
            };
            assert!(n_starts > 1);
            assert_eq!(ended, expected);
            assert_eq!(counting.n_asked.into_inner(), n_expected);
        }
    }

    #[test]
    fn torn_records_are_cut_off() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("relaxing.journal");
        let counting = Counting::new();
        let journal = Journal::open(&counting, path.clone(), Duration::MAX).unwrap();
        let expected = relaxed(&journal, usize::MAX).unwrap();
        assert!(!path.exists(), "kept in memory");
        journal.save().unwrap();
        let whole = fs::read(&path).unwrap();
        let n_records = records(&whole).0.len();
        assert!(n_records > 20);
        for length in (0..whole.len()).step_by(whole.len() / 40).chain([whole.len() - 1]) {
            for damage in [false, true] {
                let mut torn = whole[..length].to_vec();
                if let (true, Some(last)) = (damage, torn.last_mut()) {
                    *last ^= 0x40;
                }
                fs::write(&path, &torn).unwrap();
                let counting = Counting::new();
                let journal = Journal::open(&counting, path.clone(), Duration::ZERO).unwrap();
                let n_known = journal.known.len();
                assert_eq!(relaxed(&journal, usize::MAX).unwrap(), expected);
                assert_eq!(counting.n_asked.into_inner(), n_records - n_known);
                assert_eq!(records(&fs::read(&path).unwrap()), records(&whole));
            }
        }
    }
}
