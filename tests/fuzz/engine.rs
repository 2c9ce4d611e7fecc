//! Runs a parser on as many inputs as wanted, and tells of the first that it should not have taken as it did.

use super::allocations::peak_of;
use super::mutate::{Random, mutated, noise, pick, random};
use super::watch::{Watch, cpu_seconds};
use rand::RngExt;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Once};

/// Inputs a parser where nothing else is asked for.
const INPUTS: u64 = 20_000;
/// Longest sentence of a refusal, bytes.
const LONGEST_SENTENCE: usize = 4_010;

thread_local! {
    /// Panics of this thread are told by the engine alone.
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Leaves the words of a panic to the engine while it reads an input.
fn silence() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = take_hook();
        set_hook(Box::new(move |panic| {
            if !QUIET.get() {
                usual(panic)
            }
        }));
    });
}

/// What becomes of changed bytes before they are read, such as a checksum made to fit.
pub type Pack = Box<dyn Fn(&mut Random, Vec<u8>) -> Vec<u8> + Send + Sync>;

/// Reads an input and checks what it gave.
pub type Read = Box<dyn Fn(&[u8]) -> Result<(), String> + Send + Sync>;

/// One way to make inputs.
pub struct Form {
    /// Valid inputs, before `pack`.
    pub seeds: Vec<Vec<u8>>,
    /// Makes the file.
    pub pack: Pack,
}

/// A parser under test.
pub struct Parser {
    /// Its name in reports and for `GODIFF_FUZZ_ONLY`.
    pub name: &'static str,
    /// How its inputs are made.
    pub forms: Vec<Form>,
    /// Words of the format.
    pub tokens: Vec<&'static [u8]>,
    /// Reads an input and checks what it gave; `Err` holds the sentence of a refusal.
    pub read: Read,
    /// Bytes that reading may take at once, whatever the input, and for each byte of it.
    pub memory: (usize, usize),
    /// Inputs are cut to this length.
    pub longest: usize,
}

impl Form {
    /// Inputs that are files as they are.
    pub fn raw(seeds: Vec<Vec<u8>>) -> Self {
        Form { seeds, pack: Box::new(|_, bytes| bytes) }
    }
}

impl Parser {
    /// Input `number` of `seed`.
    fn input(&self, seed: u64, number: u64) -> Vec<u8> {
        let mut random = random(seed, self.name, number);
        let form = pick(&mut random, &self.forms.iter().collect::<Vec<_>>());
        // The valid ones first, then one of a thousand is nothing but noise.
        let mut bytes = match form.seeds.get(number as usize) {
            Some(seed) => seed.clone(),
            None if random.random_range(0..1000) == 0 => {
                let length = random.random_range(0..512);
                noise(&mut random, length)
            }
            None => {
                let from = &form.seeds[random.random_range(0..form.seeds.len())];
                mutated(&mut random, from, &self.tokens, &form.seeds)
            }
        };
        bytes = (form.pack)(&mut random, bytes);
        bytes.truncate(self.longest);
        bytes
    }

    /// Reads `input`.
    ///
    /// # Errors
    /// What is wrong with how it was read.
    fn judge(&self, input: &[u8]) -> Result<(Result<(), String>, usize), String> {
        QUIET.set(true);
        let (outcome, peak) = peak_of(|| catch_unwind(AssertUnwindSafe(|| (self.read)(input))));
        QUIET.set(false);
        let outcome = outcome.map_err(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref().copied());
            format!("panicked: {}", text.unwrap_or("without words"))
        })?;
        let (constant, factor) = self.memory;
        let most = constant + factor * input.len();
        if peak > most {
            return Err(format!("took {peak} bytes for an input of {}, more than {most}", input.len()));
        }
        match &outcome {
            Err(sentence) if sentence.contains(char::is_control) => {
                Err(format!("said control characters: {sentence:?}"))
            }
            Err(sentence) if sentence.len() > LONGEST_SENTENCE => {
                Err(format!("said {} bytes: {sentence}", sentence.len()))
            }
            _ => Ok((outcome, peak)),
        }
    }

    /// Reads an input of a fuzzer that coverage guides: its first byte chooses the form and the random numbers of [`Form::pack`].
    ///
    /// # Errors
    /// What is wrong with how it was read; within, the sentence of a refusal.
    pub fn guided(&self, input: &[u8]) -> Result<Result<(), String>, String> {
        let Some((&choice, rest)) = input.split_first() else { return Ok(Ok(())) };
        let form = &self.forms[usize::from(choice) % self.forms.len()];
        let mut bytes = (form.pack)(&mut random(0, self.name, u64::from(choice)), rest.to_vec());
        bytes.truncate(self.longest);
        self.judge(&bytes).map(|(outcome, _)| outcome)
    }

    /// The valid inputs of [`Parser::guided`].
    pub fn guided_seeds(&self) -> impl Iterator<Item = Vec<u8>> {
        let choices = self.forms.iter().enumerate();
        choices.flat_map(|(choice, form)| form.seeds.iter().map(move |seed| [&[choice as u8], &seed[..]].concat()))
    }

    /// Reads one `input` under the same watch and within the same bounds.
    ///
    /// # Errors
    /// The sentence of a refusal.
    ///
    /// # Panics
    /// If the input is not taken as it should be.
    pub fn take(&self, input: &[u8]) -> Result<(), String> {
        silence();
        let copy = input.to_vec();
        let watch = Watch::start("given", move |_| copy.clone());
        watch.begin(0);
        self.judge(input).unwrap_or_else(|why| panic!("{} {why}", self.name)).0
    }

    /// Reads as many inputs as `GODIFF_FUZZ` says, from `GODIFF_FUZZ_SEED` on or only the one of `GODIFF_FUZZ_INPUT`.
    ///
    /// # Panics
    /// With the seed and number of the first input that was not taken as it should be; it lies, made smaller, in
    /// target/fuzz.
    pub fn run(self) {
        let setting = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
        let (n, seed) = (setting("GODIFF_FUZZ").unwrap_or(INPUTS), setting("GODIFF_FUZZ_SEED").unwrap_or(1));
        let numbers = setting("GODIFF_FUZZ_INPUT").map_or(0..n, |number| number..number + 1);
        if std::env::var("GODIFF_FUZZ_ONLY").is_ok_and(|only| only != self.name) {
            return;
        }
        silence();
        let parser = Arc::new(self);
        let makes = Arc::clone(&parser);
        let watch = Watch::start(parser.name, move |number| makes.input(seed, number));
        let (mut accepted, mut sentences) = (0u64, BTreeSet::new());
        let (mut most, mut slowest, started) = ((0, 0), (0.0, 0), cpu_seconds());
        let (first, mut n_bytes) = (numbers.start, 0);
        for number in numbers.clone() {
            let input = parser.input(seed, number);
            if numbers.end - first == 1 {
                keep(parser.name, number, &input);
            }
            watch.begin(number);
            let before = cpu_seconds();
            let judged = parser.judge(&input);
            let seconds = cpu_seconds() - before;
            watch.end();
            n_bytes += input.len();
            if seconds > slowest.0 {
                slowest = (seconds, number);
            }
            match judged {
                Err(why) => {
                    let small = parser.minimised(input, &why);
                    let path = keep(parser.name, number, &small);
                    panic!(
                        "{} {why}\nreplay: GODIFF_FUZZ_SEED={seed} GODIFF_FUZZ_INPUT={number}; made smaller in {}",
                        parser.name,
                        path.display()
                    );
                }
                Ok((outcome, peak)) => {
                    most = most.max((peak.saturating_sub(parser.memory.0) / input.len().max(1), peak));
                    match outcome {
                        Ok(()) => accepted += 1,
                        Err(sentence) => drop(sentences.insert(kind(&sentence))),
                    }
                }
            }
        }
        println!(
            "{}: {} inputs from {first}, seed {seed}, {} MB: {accepted} accepted, {} kinds of refusal, {:.0} s of CPU, slowest {:.0} ms \
             (input {}), at most {} bytes a byte above {} kB",
            parser.name,
            numbers.end - first,
            n_bytes / 1_000_000,
            sentences.len(),
            cpu_seconds() - started,
            1e3 * slowest.0,
            slowest.1,
            most.0,
            parser.memory.0 / 1000,
        );
        if std::env::var_os("GODIFF_FUZZ_SENTENCES").is_some() {
            sentences.iter().for_each(|sentence| println!("  {sentence}"));
        }
        assert!(numbers.end - first < 1000 || accepted > 0 && sentences.len() > 1, "the inputs reach nothing");
    }

    /// The input without what is not needed for the same failure.
    fn minimised(&self, mut input: Vec<u8>, why: &str) -> Vec<u8> {
        let same = |bytes: &[u8]| self.judge(bytes).is_err_and(|other| kind(&other) == kind(why));
        let mut tries = 3000;
        let mut length = input.len() / 2;
        while length > 0 && tries > 0 {
            let mut at = 0;
            while at < input.len() && tries > 0 {
                let mut shorter = input.clone();
                shorter.drain(at..(at + length).min(input.len()));
                tries -= 1;
                if same(&shorter) { input = shorter } else { at += length }
            }
            length /= 2;
        }
        input
    }
}

/// A sentence without what differs from input to input: numbers and quoted text.
fn kind(sentence: &str) -> String {
    let mut kind = String::new();
    let mut quoted = false;
    for c in sentence.chars() {
        match c {
            '\'' | '"' | '`' => quoted = !quoted,
            _ if quoted || c.is_ascii_digit() => {}
            _ => kind.push(c),
        }
        if kind.len() > 160 {
            break;
        }
    }
    kind
}

/// The repository. The fuzzers are a package of their own in a folder of it.
pub fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.ancestors().find(|folder| folder.join("configs").is_dir()).unwrap_or(package)
}

/// Writes an input where it can be found.
pub fn keep(parser: &str, number: u64, input: &[u8]) -> PathBuf {
    let folder = root().join("target/fuzz");
    let path = folder.join(format!("{parser}-{number}"));
    std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&path, input)).expect("target/fuzz can be written");
    path
}
