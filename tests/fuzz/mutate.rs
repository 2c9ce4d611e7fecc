//! Inputs made from valid ones by damage of every kind.

use rand::{Rng, RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

pub type Random = Xoshiro256PlusPlus;

/// Numbers at which arithmetic, limits and parsers break.
const NUMBERS: [&str; 34] = [
    "0",
    "-0",
    "-1",
    "1",
    "2",
    "3",
    "1e308",
    "-1e308",
    "1e-308",
    "5e-324",
    "1e309",
    "nan",
    "NaN",
    "inf",
    "-inf",
    "-0.0",
    "127",
    "128",
    "255",
    "256",
    "65535",
    "65536",
    "2147483647",
    "2147483648",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "99999999999999999999999999999999",
    "1e-8",
    "0.1",
    "1_000",
];

/// The same as little-endian integers.
const WORDS: [u64; 14] = [
    0,
    1,
    2,
    0x7f,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    0x1_0000_0000,
    0x7fff_ffff_ffff_ffff,
    0xffff_ffff_ffff_ffff,
    0x7ff8_0000_0000_0000,
    0x7ff0_0000_0000_0000,
];

/// Text that is not ASCII, or hardly text.
const ODD_TEXTS: [&str; 10] = ["é", "Å", "\u{feff}", "\u{2028}", "\u{0}", "\u{1b}[2J", "𝟙", "ẞ", "\u{202e}", "\r\n"];

/// Largest inputs: most, one in a hundred, one in ten thousand.
const SIZES: [usize; 3] = [1 << 14, 1 << 17, 1 << 20];

/// Everything that one input needs: its own random numbers, whatever the others drew.
pub fn random(seed: u64, parser: &str, number: u64) -> Random {
    let name = parser.bytes().fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    Random::seed_from_u64(name ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// One of `items`.
pub fn pick<'a, T: ?Sized>(random: &mut Random, items: &[&'a T]) -> &'a T {
    items[random.random_range(0..items.len())]
}

/// `seed` damaged a few times. `tokens` are words of its format, `others` seeds to splice in.
pub fn mutated(random: &mut Random, seed: &[u8], tokens: &[&[u8]], others: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    let most = match random.random_range(0..10_000) {
        0 => SIZES[2],
        1..100 => SIZES[1],
        _ => SIZES[0].max(2 * seed.len()),
    };
    let large = most > SIZES[0].max(2 * seed.len());
    // One change of four inputs alone, then ever fewer inputs with more.
    let mut changes = 1;
    while changes < 32 && random.random_range(0..4) != 0 {
        changes += 1;
    }
    for _ in 0..changes {
        change(random, &mut bytes, tokens, others);
        bytes.truncate(most);
    }
    if large {
        repeat(random, &mut bytes, most);
    }
    bytes
}

fn change(random: &mut Random, bytes: &mut Vec<u8>, tokens: &[&[u8]], others: &[Vec<u8>]) {
    let at = random.random_range(0..=bytes.len());
    let piece = piece(random, bytes.len());
    match random.random_range(0..20) {
        0 | 1 if at < bytes.len() => bytes[at] ^= 1 << random.random_range(0..8),
        2 if at < bytes.len() => bytes[at] = random.random(),
        3 => drop(bytes.splice(at..at, [random.random::<u8>()])),
        4 => bytes.truncate(at),
        5 => drop(bytes.drain(piece)),
        6 => {
            let copy = bytes[piece].to_vec();
            bytes.splice(at..at, copy);
        }
        7 => {
            let copy = bytes[piece].repeat(random.random_range(2..40));
            bytes.splice(at..at, copy);
        }
        8 | 9 if !tokens.is_empty() => {
            let token = pick(random, tokens);
            bytes.splice(at..at, token.iter().copied());
        }
        10 if !tokens.is_empty() => {
            let token = pick(random, tokens);
            bytes.splice(piece, token.iter().copied());
        }
        11..14 => replace_number(random, bytes),
        14 => {
            let word =
                WORDS[random.random_range(0..WORDS.len())].wrapping_add(random.random_range(0..3)).wrapping_sub(1);
            let width = pick(random, &[&1usize, &2, &4, &8]);
            if at + width <= bytes.len() {
                bytes[at..at + width].copy_from_slice(&word.to_le_bytes()[..*width]);
            }
        }
        15 => {
            let text = pick(random, &ODD_TEXTS);
            bytes.splice(at..at, text.bytes());
        }
        16 => {
            let depth = 1 << random.random_range(0..14);
            let nest = pick(random, &["[", "{", "(", "a.", "[a.", "{a=", "{\"a\":", "\"", "\\", "=", "]", "\n"]);
            bytes.splice(at..at, nest.bytes().cycle().take(depth * nest.len()));
        }
        17 => {
            let other = &others[random.random_range(0..others.len())];
            let from = random.random_range(0..=other.len());
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
        18 => change_lines(random, bytes),
        _ => {
            let noise: Vec<u8> = (0..piece.len()).map(|_| random.random()).collect();
            bytes.splice(piece, noise);
        }
    }
}

/// A range of the input, mostly short.
fn piece(random: &mut Random, length: usize) -> std::ops::Range<usize> {
    let start = random.random_range(0..=length);
    let most = if random.random_range(0..8) == 0 { length } else { 16 };
    start..(start + random.random_range(0..=most)).min(length)
}

/// Puts an extreme number in the place of one that stands in the text.
fn replace_number(random: &mut Random, bytes: &mut Vec<u8>) {
    let start = random.random_range(0..=bytes.len());
    let numeric = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
    let Some(first) = bytes[start..].iter().position(u8::is_ascii_digit).map(|k| start + k) else { return };
    let length = bytes[first..].iter().take_while(|byte| numeric(byte)).count();
    let number = match random.random_range(0..3) {
        0 => random.random::<f64>().to_string(),
        _ => pick(random, &NUMBERS).to_owned(),
    };
    bytes.splice(first..first + length, number.into_bytes());
}

/// Swaps, removes or repeats whole lines.
fn change_lines(random: &mut Random, bytes: &mut Vec<u8>) {
    let mut lines: Vec<&[u8]> = bytes.split_inclusive(|&byte| byte == b'\n').collect();
    if lines.is_empty() {
        return;
    }
    let (a, b) = (random.random_range(0..lines.len()), random.random_range(0..lines.len()));
    match random.random_range(0..3) {
        0 => lines.swap(a, b),
        1 => drop(lines.remove(a)),
        _ => lines.insert(b, lines[a]),
    }
    *bytes = lines.concat();
}

/// Repeats a piece until the input has `most` bytes; in half of the cases every copy differs.
fn repeat(random: &mut Random, bytes: &mut Vec<u8>, most: usize) {
    let (piece, at) = (piece(random, bytes.len()), random.random_range(0..=bytes.len()));
    let piece = bytes[piece].to_vec();
    if piece.is_empty() {
        return;
    }
    let tail = bytes.split_off(at);
    let counted = random.random();
    let mut k = 0;
    while bytes.len() + tail.len() < most {
        bytes.extend_from_slice(&piece);
        if counted {
            bytes.extend_from_slice(k.to_string().as_bytes());
        }
        k += 1;
    }
    bytes.extend_from_slice(&tail);
}

/// Any bytes at all.
pub fn noise(random: &mut Random, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    random.fill_bytes(&mut bytes);
    bytes
}
