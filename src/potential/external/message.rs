//! The messages on the socket: i-PI's, single and batched (i-PI 3.3).
//!
//! Every message starts with a word of twelve bytes, padded with blanks. Numbers are in the machine's byte order, in atomic units.
//!
//! | from the server | bytes after the word |
//! |---|---|
//! | `STATUS`, `GETFORCE`, `EXIT` | none |
//! | `INIT` | bead i32, length i32, text |
//! | `POSDATA` | h and its inverse 2·9 f64, n i32, positions 3n f64 |
//! | `POSDATA`, batch of B | n i32, then B times 2·9 f64, then B times 3n f64 |
//!
//! | from the client | bytes after the word |
//! |---|---|
//! | `NEEDINIT`, `READY`, `HAVEDATA` | none |
//! | `FORCEREADY` | energy f64, n i32, forces 3n f64, virial 9 f64, length i32, text |
//! | `FORCEREADY`, batch of B | B f64, n i32, B times 3n f64, B times 9 f64, B times (length i32, text) |
//!
//! h has the lattice vectors as columns. A batch is announced by `batch_size:B` in the text of `INIT` and always has B
//! structures. Copies of the last structure fill up a short batch.

use super::orientation::Orientation;
use super::units::{BOHR_ANGSTROM, HARTREE_EV, HARTREE_PER_BOHR};
use crate::potential::Evaluation;
use crate::system::Vec3;

/// Length of a message's word.
pub const WORD: usize = 12;

/// Most bytes of all texts that a client may send along with the forces of a call; more counts as rubbish.
const LONGEST_TEXT: usize = 1 << 24;
/// Text is read in pieces of this length, so that memory grows with the bytes that arrive, not with the announced length.
const PIECE: usize = 1 << 14;

/// `name` as the first twelve bytes of a message.
pub fn word(name: &str) -> [u8; WORD] {
    let mut word = [b' '; WORD];
    word[..name.len()].copy_from_slice(name.as_bytes());
    word
}

/// A structure in the form for sending.
#[derive(Debug, Clone, PartialEq)]
pub struct Posed {
    /// Lattice vectors as rows, Å.
    pub cell: [Vec3; 3],
    /// The inverse of `cell`, 1/Å; zeros if nobody reads it.
    pub inverse: [Vec3; 3],
    /// Positions, Å.
    pub positions: Vec<Vec3>,
    /// How to turn forces back.
    pub orientation: Orientation,
}

/// The message `INIT` with `text`.
pub fn init(text: &str) -> Vec<u8> {
    let mut bytes = word("INIT").to_vec();
    bytes.extend(0i32.to_ne_bytes());
    bytes.extend((text.len() as i32).to_ne_bytes());
    bytes.extend(text.as_bytes());
    bytes
}

/// The message `POSDATA` for one structure.
pub fn single(structure: &Posed) -> Vec<u8> {
    let mut bytes = word("POSDATA").to_vec();
    put_cell(&mut bytes, structure);
    bytes.extend((structure.positions.len() as i32).to_ne_bytes());
    put_positions(&mut bytes, structure);
    bytes
}

/// The message `POSDATA` for a batch of `size` structures. It begins with these `structures`; there is at least one, and all have
/// the same number of atoms.
pub fn batch(structures: &[Posed], size: usize) -> Vec<u8> {
    let filled = || (0..size).map(|k| &structures[k.min(structures.len() - 1)]);
    let mut bytes = word("POSDATA").to_vec();
    bytes.extend((structures[0].positions.len() as i32).to_ne_bytes());
    filled().for_each(|structure| put_cell(&mut bytes, structure));
    filled().for_each(|structure| put_positions(&mut bytes, structure));
    bytes
}

/// h and its inverse, row by row; h has the lattice vectors as columns.
fn put_cell(bytes: &mut Vec<u8>, structure: &Posed) {
    let transposed = |rows: &[Vec3; 3], unit: f64| {
        let entries = (0..9).map(|k| rows[k % 3][k / 3] * unit);
        entries.flat_map(f64::to_ne_bytes).collect::<Vec<u8>>()
    };
    bytes.extend(transposed(&structure.cell, 1.0 / BOHR_ANGSTROM));
    bytes.extend(transposed(&structure.inverse, BOHR_ANGSTROM));
}

fn put_positions(bytes: &mut Vec<u8>, structure: &Posed) {
    bytes.extend(structure.positions.iter().flatten().flat_map(|x| (x / BOHR_ANGSTROM).to_ne_bytes()));
}

/// The reply for one structure.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// Energy and forces in eV, Å and the structure's frame.
    pub evaluation: Evaluation,
    /// The text that the client sent along.
    pub text: String,
}

impl Reply {
    /// Whether energy and forces are all finite.
    pub fn is_number(&self) -> bool {
        self.evaluation.energy.is_finite() && self.evaluation.forces.iter().flatten().all(|x| x.is_finite())
    }
}

/// Why the bytes of a reply cannot be used, in a few words, or why none came.
pub type Read<T, E> = Result<Result<T, String>, E>;

/// Reads the bytes after the word `FORCEREADY` with `fill`, which fills a buffer. Gives replies to the first `structures.len()`
/// of a batch of `size`; a size of 0 means the message of a single structure.
pub fn replies<E>(
    structures: &[Posed],
    size: usize,
    fill: &mut dyn FnMut(&mut [u8]) -> Result<(), E>,
) -> Read<Vec<Reply>, E> {
    let count = size.max(1);
    let energies = numbers(count, fill)?;
    let n_atoms = integer(fill)?;
    let expected = structures[0].positions.len();
    if usize::try_from(n_atoms) != Ok(expected) {
        return Ok(Err(format!("sent forces for {n_atoms} atoms instead of {expected}")));
    }
    let forces = numbers(3 * expected * count, fill)?;
    numbers(9 * count, fill)?;
    let mut texts = Vec::with_capacity(count);
    let mut left = LONGEST_TEXT;
    for _ in 0..count {
        let announced = integer(fill)?;
        let Some((length, rest)) = usize::try_from(announced).ok().and_then(|n| Some((n, left.checked_sub(n)?))) else {
            return Ok(Err(format!("announced a text of {announced} bytes")));
        };
        left = rest;
        let mut text = Vec::new();
        while text.len() < length {
            let start = text.len();
            text.resize(length.min(start + PIECE), 0);
            fill(&mut text[start..])?;
        }
        texts.push(String::from_utf8_lossy(&text).trim_matches(['\0', ' ']).to_owned());
    }
    let (forces, _) = forces.as_chunks::<3>();
    let replies = structures.iter().zip(energies).zip(forces.chunks(expected)).zip(texts);
    let reply = |(((structure, energy), forces), text): (((&Posed, f64), &[Vec3]), String)| {
        let turned = |force: &Vec3| structure.orientation.back(force.map(|x| x * HARTREE_PER_BOHR));
        let evaluation = Evaluation { energy: energy * HARTREE_EV, forces: forces.iter().map(turned).collect() };
        Reply { evaluation, text }
    };
    Ok(Ok(replies.map(reply).collect()))
}

fn integer<E>(fill: &mut dyn FnMut(&mut [u8]) -> Result<(), E>) -> Result<i32, E> {
    let mut bytes = [0; 4];
    fill(&mut bytes)?;
    Ok(i32::from_ne_bytes(bytes))
}

fn numbers<E>(n: usize, fill: &mut dyn FnMut(&mut [u8]) -> Result<(), E>) -> Result<Vec<f64>, E> {
    let mut bytes = vec![0; 8 * n];
    fill(&mut bytes)?;
    Ok(bytes.as_chunks().0.iter().map(|&bytes| f64::from_ne_bytes(bytes)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn posed(z: f64) -> Posed {
        let cell = [[2.0, 0.0, 0.0], [1.0, 4.0, 0.0], [0.0, 0.5, 8.0]];
        let inverse = [[0.5, 0.0, 0.0], [-0.125, 0.25, 0.0], [0.0078125, -0.015625, 0.125]];
        let orientation = Orientation::of(&[[0.0, 2.0, 0.0], [0.0, 0.0, 3.0], [5.0, 0.0, 0.0]]);
        Posed { cell, inverse, positions: vec![[0.0, 1.0, z], [1.0, 2.0, 3.0]], orientation }
    }

    /// The numbers of a message from `start` on.
    fn floats(bytes: &[u8]) -> Vec<f64> {
        bytes.as_chunks().0.iter().map(|&bytes| f64::from_ne_bytes(bytes)).collect()
    }

    #[test]
    fn a_single_structure() {
        let bytes = single(&posed(0.25));
        assert_eq!(bytes.len(), 12 + 18 * 8 + 4 + 6 * 8);
        assert_eq!(&bytes[..12], b"POSDATA     ");
        let matrices = floats(&bytes[12..156]);
        // Lattice vectors are columns: h = [[ax, bx, cx], [ay, by, cy], [az, bz, cz]].
        let h: Vec<f64> = matrices[..9].iter().map(|x| x * BOHR_ANGSTROM).collect();
        assert_eq!(h, [2.0, 1.0, 0.0, 0.0, 4.0, 0.5, 0.0, 0.0, 8.0]);
        for i in 0..3 {
            for j in 0..3 {
                let product: f64 = (0..3).map(|k| matrices[3 * i + k] * matrices[9 + 3 * k + j]).sum();
                assert!((product - if i == j { 1.0 } else { 0.0 }).abs() < 1e-14, "{i} {j}");
            }
        }
        assert_eq!(bytes[156..160], 2i32.to_ne_bytes());
        assert_eq!(floats(&bytes[160..]).iter().map(|x| x * BOHR_ANGSTROM).collect::<Vec<_>>()[..3], [0.0, 1.0, 0.25]);
    }

    #[test]
    fn a_batch_is_filled_up_with_its_last() {
        let (first, last) = (posed(0.25), posed(7.5));
        let bytes = batch(&[first.clone(), last.clone()], 4);
        assert_eq!(bytes.len(), 12 + 4 + 4 * (18 * 8 + 6 * 8));
        assert_eq!(bytes[12..16], 2i32.to_ne_bytes());
        let positions = floats(&bytes[16 + 4 * 144..]);
        let heights: Vec<f64> = positions.iter().skip(2).step_by(6).map(|z| z * BOHR_ANGSTROM).collect();
        assert_eq!(heights, [0.25, 7.5, 7.5, 7.5]);
        // The block of matrices of one structure is as in the single message.
        assert_eq!(bytes[16 + 144..16 + 288], single(&last)[12..156]);
    }

    #[test]
    fn the_text_of_init() {
        assert_eq!(init(" ")[..], [&b"INIT        "[..], &0i32.to_ne_bytes(), &1i32.to_ne_bytes(), b" "].concat());
    }

    fn reply_bytes(energies: &[f64], n_atoms: i32, forces: &[f64], texts: &[&str]) -> Vec<u8> {
        let mut bytes: Vec<u8> = energies.iter().flat_map(|x| x.to_ne_bytes()).collect();
        bytes.extend(n_atoms.to_ne_bytes());
        bytes.extend(forces.iter().flat_map(|x| x.to_ne_bytes()));
        bytes.extend(vec![0; 72 * energies.len()]);
        for text in texts {
            bytes.extend((text.len() as i32).to_ne_bytes());
            bytes.extend(text.as_bytes());
        }
        bytes
    }

    fn read(structures: &[Posed], size: usize, bytes: &[u8]) -> Read<Vec<Reply>, ()> {
        let mut rest = bytes;
        replies(structures, size, &mut |buffer: &mut [u8]| {
            let (now, later) = rest.split_at_checked(buffer.len()).ok_or(())?;
            buffer.copy_from_slice(now);
            rest = later;
            Ok(())
        })
    }

    #[test]
    fn forces_come_back_turned_and_in_electronvolts() {
        let forces = [1.0, 2.0, 3.0, 0.0, 0.0, -1.0];
        let answer = read(&[posed(0.0)], 0, &reply_bytes(&[2.0], 2, &forces, &["{}"])).unwrap().unwrap();
        assert_eq!(answer.len(), 1);
        assert_eq!(answer[0].text, "{}");
        let Evaluation { energy, forces } = &answer[0].evaluation;
        assert!((energy - 54.422772048734).abs() < 1e-11);
        // The protocol's x is this structure's y, its y our z, its z our x.
        let unit = 51.42206707;
        for (force, expected) in forces.iter().zip([[3.0, 1.0, 2.0], [-1.0, 0.0, 0.0]]) {
            (0..3).for_each(|x| assert!((force[x] - unit * expected[x]).abs() < 1e-6, "{force:?}"));
        }
    }

    #[test]
    fn a_batch_of_replies_gives_those_asked_for() {
        let forces: Vec<f64> = (0..18).map(f64::from).collect();
        let bytes = reply_bytes(&[1.0, 2.0, 2.0], 2, &forces, &["one", "", "three"]);
        let answer = read(&[posed(0.0), posed(1.0)], 3, &bytes).unwrap().unwrap();
        let texts: Vec<&str> = answer.iter().map(|reply| reply.text.as_str()).collect();
        assert_eq!(texts, ["one", ""]);
        assert!((answer[1].evaluation.energy - 2.0 * HARTREE_EV).abs() < 1e-12);
        assert!((answer[1].evaluation.forces[0][1] - 6.0 * HARTREE_PER_BOHR).abs() < 1e-9);
    }

    #[test]
    fn rubbish_is_told_apart() {
        let wrong = read(&[posed(0.0)], 0, &reply_bytes(&[1.0], 3, &[0.0; 9], &[""])).unwrap();
        assert_eq!(wrong.unwrap_err(), "sent forces for 3 atoms instead of 2");
        for n_atoms in [-1, 0, i32::MAX] {
            assert!(read(&[posed(0.0)], 0, &reply_bytes(&[1.0], n_atoms, &[0.0; 6], &[""])).unwrap().is_err());
        }
        let mut bytes = reply_bytes(&[1.0], 2, &[0.0; 6], &[]);
        bytes.extend(i32::MAX.to_ne_bytes());
        assert!(read(&[posed(0.0)], 0, &bytes).unwrap().unwrap_err().contains("announced a text of 2147483647 bytes"));
        assert_eq!(read(&[posed(0.0)], 0, &bytes[..100]), Err(()));
    }
}
