//! godiff as an i-PI server with clients of every sort, good and bad. They are threads of the test that speak the protocol's bytes
//! by themselves.

#![cfg(unix)]

use godiff::potential::external::{BOHR_ANGSTROM, HARTREE_EV};
use godiff::potential::{Answer, EmtSettings, IpiSettings, Potential, PotentialSettings, open};
use godiff::system::{Cell, Structure, Vec3};
use godiff::{Error, Result};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tempfile::TempDir;

const N_ATOMS: usize = 3;

/// Structure `k` has its first atom at z = k Å.
fn structures(n: usize) -> Vec<Structure> {
    let cell = Cell { vectors: [[0.0, 9.0, 0.0], [8.0, 1.0, 0.0], [0.5, 0.7, 20.0]], periodic: [true, true, false] };
    let positions = |k: usize| vec![[0.0, 0.0, k as f64], [1.5, 2.0, 3.0], [4.0, 1.0, 6.0]];
    (0..n).map(|k| Structure::new(cell, vec![78, 78, 29], positions(k))).collect()
}

/// What clients answer: the height of the first atom in hartree and as a force on it, downwards.
fn expected(k: usize) -> (f64, Vec3) {
    let height = k as f64 / BOHR_ANGSTROM;
    (height * HARTREE_EV, [0.0, 0.0, -height * HARTREE_EV / BOHR_ANGSTROM])
}

/// How a client behaves at the structure with this number, by its own count of calls.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Act {
    Answer,
    /// Answers and closes the connection.
    Leave,
    /// Closes the connection instead of answering.
    Die,
    /// Says nothing, for long.
    Hang,
    NotANumber,
    /// Forces that are not numbers, for one atom.
    NotAForce,
    WrongCount,
    Rubbish,
    /// Announces a text of two gigabytes.
    LongText,
    /// Half an answer, then nothing more.
    Half,
}

type Plan = fn(structure: usize, call: usize) -> Act;

trait Both: Read + Write + Send {}
impl<T: Read + Write + Send> Both for T {}

struct Client {
    stream: Box<dyn Both>,
    batch: usize,
    needs_init: bool,
}

impl Client {
    fn bytes(&mut self, n: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; n];
        self.stream.read_exact(&mut bytes).ok()?;
        Some(bytes)
    }

    fn integer(&mut self) -> Option<i32> {
        Some(i32::from_ne_bytes(self.bytes(4)?.try_into().unwrap()))
    }

    fn floats(&mut self, n: usize) -> Option<Vec<f64>> {
        Some(self.bytes(8 * n)?.as_chunks().0.iter().map(|&bytes| f64::from_ne_bytes(bytes)).collect())
    }

    fn say(&mut self, word: &str) -> Option<()> {
        self.stream.write_all(format!("{word:12}").as_bytes()).ok()
    }

    /// Serves until the server closes or `plan` makes it end.
    fn run(mut self, plan: Plan, calls: &AtomicUsize) -> Option<()> {
        let mut heights: Vec<f64> = Vec::new();
        loop {
            let word = String::from_utf8(self.bytes(12)?).unwrap();
            match word.trim_end() {
                "STATUS" if self.needs_init => self.say("NEEDINIT")?,
                "STATUS" => self.say("READY")?,
                "INIT" => {
                    assert_eq!(self.integer()?, 0);
                    let length = self.integer()? as usize;
                    let text = String::from_utf8(self.bytes(length)?).unwrap();
                    if let Some(size) = text.trim().strip_prefix("batch_size:") {
                        self.batch = size.parse().unwrap();
                    }
                    self.needs_init = false;
                }
                "POSDATA" if self.batch == 1 => {
                    check_cell(&self.floats(18)?);
                    assert_eq!(self.integer()?, N_ATOMS as i32);
                    heights = vec![self.floats(3 * N_ATOMS)?[2]];
                }
                "POSDATA" => {
                    assert_eq!(self.integer()?, N_ATOMS as i32);
                    for _ in 0..self.batch {
                        check_cell(&self.floats(18)?);
                    }
                    let positions = self.floats(3 * N_ATOMS * self.batch)?;
                    heights = positions.iter().skip(2).step_by(3 * N_ATOMS).copied().collect();
                }
                "GETFORCE" => {
                    let structure = |height: f64| (height * BOHR_ANGSTROM).round() as usize;
                    let call = calls.fetch_add(1, Ordering::Relaxed);
                    let acts: Vec<Act> = heights.iter().map(|&height| plan(structure(height), call)).collect();
                    self.answer(&heights, &acts)?;
                }
                "EXIT" => return Some(()),
                other => panic!("the server sent {other:?}"),
            }
        }
    }

    fn answer(&mut self, heights: &[f64], acts: &[Act]) -> Option<()> {
        let any = |act| acts.contains(&act);
        if any(Act::Die) {
            return None;
        }
        if any(Act::Hang) {
            std::thread::sleep(Duration::from_secs(2));
            return None;
        }
        let mut bytes = format!("{:12}", if any(Act::Rubbish) { "\0GARBAGE" } else { "FORCEREADY" }).into_bytes();
        for (height, act) in heights.iter().zip(acts) {
            bytes.extend(if *act == Act::NotANumber { f64::NAN } else { *height }.to_ne_bytes());
        }
        let n_atoms = N_ATOMS + usize::from(any(Act::WrongCount));
        bytes.extend((n_atoms as i32).to_ne_bytes());
        for (height, act) in heights.iter().zip(acts) {
            let mut forces = vec![0.0; 3 * n_atoms];
            forces[2] = -height;
            if *act == Act::NotAForce {
                forces[5] = f64::INFINITY;
            }
            bytes.extend(forces.iter().flat_map(|x| x.to_ne_bytes()));
        }
        bytes.extend(vec![0; 72 * heights.len()]);
        for _ in heights {
            bytes.extend(if any(Act::LongText) { i32::MAX } else { 2 }.to_ne_bytes());
            bytes.extend(b"{}");
        }
        if any(Act::Half) {
            let half = bytes.len() / 2;
            self.stream.write_all(&bytes[..half]).ok()?;
            return None;
        }
        self.stream.write_all(&bytes).ok()?;
        (!any(Act::Leave)).then_some(())
    }
}

/// Lattice vectors are columns, the first along x, the second in the xy plane, and the inverse is the inverse.
fn check_cell(matrices: &[f64]) {
    let (h, inverse) = matrices.split_at(9);
    assert_eq!((h[3], h[6], h[7]), (0.0, 0.0, 0.0));
    assert!(h[0] > 0.0 && h[4] > 0.0 && h[8] > 0.0);
    assert!((h[8] * BOHR_ANGSTROM - 20.0).abs() < 1e-12, "the height is kept");
    for i in 0..3 {
        for j in 0..3 {
            let product: f64 = (0..3).map(|k| h[3 * i + k] * inverse[3 * k + j]).sum();
            assert!((product - f64::from(u8::from(i == j))).abs() < 1e-12);
        }
    }
}

/// A server in a folder of its own, and the clients that were sent to it.
struct Bench {
    folder: TempDir,
    potential: Box<dyn Potential>,
    clients: Vec<JoinHandle<Option<()>>>,
    calls: &'static AtomicUsize,
}

impl Bench {
    fn new(settings: IpiSettings) -> Self {
        let folder = TempDir::new().unwrap();
        let socket = folder.path().join("socket");
        let settings = IpiSettings { unix_socket: Some(socket.to_str().unwrap().into()), ..settings };
        let potential = open(&PotentialSettings::Ipi(settings), None, "cpu").unwrap();
        Bench { folder, potential, clients: Vec::new(), calls: Box::leak(Box::default()) }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    fn client(&mut self, needs_init: bool, plan: Plan) {
        let (socket, calls) = (self.socket(), self.calls);
        let stream = UnixStream::connect(socket).unwrap();
        let client = Client { stream: Box::new(stream), batch: 1, needs_init };
        self.clients.push(std::thread::spawn(move || client.run(plan, calls)));
    }

    /// A client that comes back whenever it was dropped.
    fn tenacious_client(&mut self, plan: Plan) {
        let (socket, calls) = (self.socket(), self.calls);
        self.clients.push(std::thread::spawn(move || {
            while let Ok(stream) = UnixStream::connect(&socket) {
                Client { stream: Box::new(stream), batch: 1, needs_init: true }.run(plan, calls);
            }
            Some(())
        }));
    }

    /// Evaluates `n` structures; every one has to come back once.
    fn evaluate(&self, n: usize) -> Result<BTreeMap<usize, Answer>> {
        let mut answers = BTreeMap::new();
        self.potential.evaluate(&structures(n), &mut |delivered| {
            for (k, answer) in delivered {
                assert!(answers.insert(k, answer).is_none(), "structure {k} came twice");
            }
            Ok(())
        })?;
        assert_eq!(answers.len(), n);
        Ok(answers)
    }

    /// Evaluates `n` structures; all but `failed` have to be right.
    fn check(&self, n: usize, failed: &[usize]) {
        for (k, answer) in self.evaluate(n).unwrap() {
            match answer {
                Answer::Failed(reason) => {
                    assert!(failed.contains(&k), "structure {k}: {reason}");
                    let known =
                        ["given up after 3 attempts; the last one ", "given up because the potential gave an energy"];
                    assert!(known.iter().any(|known| reason.starts_with(known)), "{reason}");
                }
                Answer::Done(evaluation) => {
                    assert!(!failed.contains(&k), "structure {k} should have failed");
                    let (energy, force) = expected(k);
                    assert!((evaluation.energy - energy).abs() < 1e-12 * (1.0 + energy.abs()));
                    for x in 0..3 {
                        assert!((evaluation.forces[0][x] - force[x]).abs() < 1e-12 * (1.0 + force[2].abs()));
                    }
                    assert_eq!(evaluation.forces[1..], [[0.0; 3]; 2]);
                }
            }
        }
    }

    /// Waits until all clients are connected.
    fn gather(&self) {
        let mut n_connected = 0;
        while n_connected < self.clients.len() {
            let notes = self.potential.notes();
            n_connected += notes.iter().filter(|note| note.ends_with(" connected")).count();
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn n_calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // The server goes first, so that its clients end.
        self.potential = open(&PotentialSettings::Emt(EmtSettings::default()), None, "cpu").unwrap();
        assert!(!self.socket().exists(), "the socket is removed");
        for client in self.clients.drain(..) {
            if client.join().is_err() && !std::thread::panicking() {
                panic!("a client panicked");
            }
        }
    }
}

fn quick() -> IpiSettings {
    IpiSettings { startup_limit_seconds: 20.0, call_limit_seconds: Some(0.5), ..IpiSettings::default() }
}

/// Without clients the server must be up before they come: an evaluation of nothing starts it.
fn started(settings: IpiSettings) -> Bench {
    let bench = Bench::new(settings);
    bench.evaluate(0).unwrap();
    bench
}

#[test]
fn clients_share_the_work() {
    let mut bench = started(quick());
    bench.client(false, |_, _| Act::Answer);
    bench.client(true, |_, _| Act::Answer);
    bench.check(40, &[]);
    assert_eq!(bench.n_calls(), 40);
    bench.check(3, &[]);
}

#[test]
fn batches_are_announced_filled_up_and_taken_apart() {
    let mut bench = started(IpiSettings { batch: 4, ..quick() });
    bench.client(true, |_, _| Act::Answer);
    bench.check(10, &[]);
    assert_eq!(bench.n_calls(), 3);
}

/// A client that needs no initialisation cannot be told of batches.
#[test]
fn a_client_that_was_not_told_gets_single_requests() {
    let mut bench = started(IpiSettings { batch: 4, ..quick() });
    bench.client(false, |_, _| Act::Answer);
    bench.check(10, &[]);
    assert_eq!(bench.n_calls(), 10);
}

#[test]
fn clients_come_and_go() {
    let mut bench = started(quick());
    // Some leave at every third call, and one comes back every time: whoever is asked after leaving, no structure fails.
    for _ in 0..20 {
        bench.client(true, |_, call| if call % 3 == 2 { Act::Leave } else { Act::Answer });
    }
    bench.tenacious_client(|_, _| Act::Leave);
    bench.check(200, &[]);
    assert_eq!(bench.n_calls(), 200);
}

/// Whatever the one client does wrong, the other gets the structure, and the search hears nothing of it.
#[test]
fn a_bad_client_costs_nothing_but_time() {
    for act in
        [Act::Die, Act::Hang, Act::WrongCount, Act::Rubbish, Act::LongText, Act::Half, Act::NotANumber, Act::NotAForce]
    {
        let mut bench = started(quick());
        let bad: Plan = match act {
            Act::Die => |_, _| Act::Die,
            Act::Hang => |_, _| Act::Hang,
            Act::WrongCount => |_, _| Act::WrongCount,
            Act::Rubbish => |_, _| Act::Rubbish,
            Act::LongText => |_, _| Act::LongText,
            Act::Half => |_, _| Act::Half,
            Act::NotANumber => |_, _| Act::NotANumber,
            _ => |_, _| Act::NotAForce,
        };
        bench.client(true, bad);
        // The good one must not do everything before the bad one has had its turn.
        bench.client(true, |_, _| {
            std::thread::sleep(Duration::from_millis(2));
            Act::Answer
        });
        bench.gather();
        bench.check(30, &[]);
        let notes = bench.potential.notes().join("\n");
        let expected = match act {
            Act::Die | Act::Half => "left",
            Act::Hang => "was dropped because it gave no answer within 0.500 s",
            Act::WrongCount => "was dropped because it sent forces for 4 atoms instead of 3",
            Act::Rubbish => "was dropped because it sent an unexpected message \"\\0GARBAGE\"",
            Act::LongText => "was dropped because it announced a text of 2147483647 bytes",
            _ => "was dropped because it gave an energy or forces that are not numbers",
        };
        assert!(notes.contains(expected), "{act:?}: {notes}");
    }
}

/// One structure in ten has no energy: it is set aside, the client stays, and everything is evaluated once.
#[test]
fn structures_without_energy_are_set_aside() {
    let mut bench = started(quick());
    bench.client(true, |structure, _| if structure % 10 == 3 { Act::NotANumber } else { Act::Answer });
    let bad: Vec<usize> = (0..40).filter(|k| k % 10 == 3).collect();
    bench.check(40, &bad);
    assert_eq!(bench.n_calls(), 40);
}

/// Where two clients are there, both are asked.
#[test]
fn a_structure_without_energy_is_set_aside_when_all_were_asked() {
    let mut bench = started(quick());
    for _ in 0..2 {
        bench.client(true, |structure, _| if structure == 3 { Act::NotANumber } else { Act::Answer });
    }
    bench.gather();
    bench.check(20, &[3]);
    assert_eq!(bench.n_calls(), 21);
}

/// In a batch the good ones are kept, and the bad one is set aside.
#[test]
fn one_bad_structure_does_not_spoil_its_batch() {
    let mut bench = started(IpiSettings { batch: 5, ..quick() });
    bench.client(true, |structure, _| if structure == 7 { Act::NotANumber } else { Act::Answer });
    bench.check(20, &[7]);
    assert_eq!(bench.n_calls(), 4);
}

/// A call with answers in it is no failure in a row, however many there are.
#[test]
fn bad_structures_among_good_ones_never_end_the_evaluation() {
    let mut bench = started(IpiSettings { batch: 2, ..quick() });
    bench.client(true, |structure, _| if structure % 2 == 1 { Act::NotANumber } else { Act::Answer });
    bench.check(24, &(0..24).filter(|k| k % 2 == 1).collect::<Vec<_>>());
    assert_eq!(bench.n_calls(), 12);
}

/// A structure that kills whoever touches it is given up; clients that come back go on.
#[test]
fn a_deadly_structure_is_set_aside() {
    let mut bench = started(quick());
    bench.tenacious_client(|structure, _| if structure == 2 { Act::Die } else { Act::Answer });
    bench.check(6, &[2]);
}

#[test]
fn five_failures_in_a_row_end_the_evaluation() {
    let mut bench = started(quick());
    bench.tenacious_client(|structure, _| if structure < 3 { Act::Answer } else { Act::WrongCount });
    let error = bench.evaluate(30).unwrap_err();
    assert_eq!(error.exit_code(), 3);
    let expected = "the potential failed at 5 structures in a row, the last time because it sent forces for 4 atoms instead \
                    of 3; mend it and resume (a search with --resume, which keeps everything evaluated so far), or allow more in a \
                    new run with potential.end_after_failures; scattered atoms often have no answer: first_samples = \"placed\" and a larger min_distance_angstrom in [search] help";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn without_clients_the_evaluation_ends() {
    let bench = Bench::new(IpiSettings { startup_limit_seconds: 0.2, ..quick() });
    let error = bench.evaluate(1).unwrap_err();
    assert_eq!(error.exit_code(), 3);
    assert!(error.to_string().starts_with("no client has been connected for 0.2 s while structures wait"), "{error}");
}

/// The caller can stop although no answer comes; what was under way is forgotten.
#[test]
fn the_caller_may_stop() {
    let mut bench = started(quick());
    let mut n_looks = 0;
    let stopped = bench.potential.evaluate(&structures(2), &mut |answers| {
        assert!(answers.is_empty());
        n_looks += 1;
        if n_looks == 3 { Err(Error::Interrupted) } else { Ok(()) }
    });
    assert!(matches!(stopped, Err(Error::Interrupted)));
    bench.client(true, |_, _| Act::Answer);
    bench.check(5, &[]);
    assert_eq!(bench.n_calls(), 5);
}

#[test]
fn structures_of_another_composition_are_refused() {
    let bench = started(quick());
    let mut mixed = structures(2);
    mixed[1].numbers[0] = 29;
    let error = bench.potential.evaluate(&mixed, &mut |_| Ok(())).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(
        error.to_string().starts_with("structure 2 has other elements or another periodicity than the first"),
        "{error}"
    );
}

#[test]
fn an_address_in_use_is_refused() {
    let bench = started(quick());
    let again = IpiSettings { unix_socket: Some(bench.socket().to_str().unwrap().into()), ..quick() };
    let error = open(&PotentialSettings::Ipi(again), None, "cpu").err().unwrap();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().starts_with("potential.unix_socket: cannot listen on "), "{error}");
    let nowhere = IpiSettings { tcp_address: Some("256.1.1.1:1".into()), ..quick() };
    let error = open(&PotentialSettings::Ipi(nowhere), None, "cpu").err().unwrap();
    assert!(error.to_string().starts_with("potential.tcp_address: cannot listen on 256.1.1.1:1"), "{error}");
}

/// A socket that a killed run left behind is no hindrance.
#[test]
fn a_stale_socket_is_replaced() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("socket");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let settings = IpiSettings { unix_socket: Some(path.to_str().unwrap().into()), ..quick() };
    drop(open(&PotentialSettings::Ipi(settings), None, "cpu").unwrap());
    assert!(!path.exists());
}

#[test]
fn clients_come_over_tcp() {
    let settings = IpiSettings { unix_socket: None, tcp_address: Some("127.0.0.1:0".into()), ..quick() };
    let potential = godiff::potential::external::External::ipi(settings, None).unwrap();
    let address = potential.address().unwrap();
    let calls: &'static AtomicUsize = Box::leak(Box::default());
    let client = std::thread::spawn(move || {
        let stream = TcpStream::connect(address).unwrap();
        Client { stream: Box::new(stream), batch: 1, needs_init: true }.run(|_, _| Act::Answer, calls)
    });
    let mut n_answers = 0;
    potential
        .evaluate(&structures(4), &mut |answers| {
            for (k, answer) in &answers {
                let Answer::Done(evaluation) = answer else { panic!("{answer:?}") };
                assert!((evaluation.energy - expected(*k).0).abs() < 1e-9);
            }
            n_answers += answers.len();
            Ok(())
        })
        .unwrap();
    assert_eq!(n_answers, 4);
    drop(potential);
    client.join().unwrap();
}
