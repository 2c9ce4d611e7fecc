//! Energies from other programs: i-PI clients, and ASE calculators in Python workers of godiff's own. Both speak i-PI's protocol.
//! Calculators that are objects of this process are asked in the same order and with the same rules about failures.
//!
//! `board` holds the tasks and decides about failures. Every worker or client has a thread that carries structures from there
//! over its socket and answers back. The caller's thread only looks at the board.

mod ask;
mod board;
mod connection;
mod limits;
mod message;
mod object;
mod orientation;
mod server;
mod start;
mod units;
mod workers;

#[doc(hidden)]
pub use ask::ask;
pub use units::{BOHR_ANGSTROM, HARTREE_EV};
pub use workers::PROGRAM as WORKER;

use super::{Answer, AseSettings, Calculator, Exchange, IpiSettings, ObjectSettings, Potential};
use crate::disk::{storage_error, write_atomic};
use crate::error::{Error, Result};
use crate::system::xyz::format_frames;
use crate::system::{Structure, System};
use board::Board;
use limits::Limits;
use object::Desk;
use server::Server;
use start::start_structure;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use workers::{PrivateFolder, Worker};

/// Longest wait of the caller before it checks whether it should stop.
const BEAT: Duration = Duration::from_millis(20);
/// The same while a call in this process ends.
const SHORT_BEAT: Duration = Duration::from_millis(2);
/// How long the first calls of an object may take, before their median is known, s.
const FIRST_CALLS_SECONDS: f64 = 600.0;
/// File name of the clients' start structure in a run folder.
const START_FILE: &str = "start.xyz";
/// Folder of the workers' logs in a run folder.
const LOGS: &str = "workers";

/// The first line of `text`, at most 300 characters of it.
fn shortened(text: &str) -> String {
    const LONGEST: usize = 300;
    let line = text.lines().next().unwrap_or_default();
    // The line is shown in a terminal.
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let end = if line.chars().nth(LONGEST).is_some() { "…" } else { "" };
    line.chars().take(LONGEST).map(plain).chain(end.chars()).collect()
}

/// A potential that other processes compute.
#[derive(Debug)]
pub struct External {
    name: String,
    board: Arc<Board>,
    /// Number of structures that can be in work at once.
    n_at_once: usize,
    others: Others,
    running: Mutex<Running>,
    /// One evaluation at a time.
    call: Mutex<()>,
}

/// The programs that compute.
#[derive(Debug)]
enum Others {
    /// godiff's own workers.
    Workers(AseSettings),
    /// Clients, and the system in their start file.
    Clients(IpiSettings, Option<Box<System>>),
    /// An object of this process.
    Object(Arc<Desk>),
}

/// The threads and their data.
#[derive(Debug, Default)]
struct Running {
    begun: bool,
    /// The address, until its thread takes it.
    server: Option<Server>,
    threads: Vec<JoinHandle<()>>,
    private: Option<PrivateFolder>,
}

/// The content of a lock, even after a panic, since no holder leaves a change half done.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl External {
    /// An ASE calculator; its workers start with [`Potential::begin`] or the first evaluation.
    pub fn ase(settings: AseSettings) -> Self {
        let limits = Limits::new(settings.startup_limit_seconds, settings.call_limit_seconds)
            .ending_after(settings.end_after_failures);
        External {
            name: settings.calculator.clone(),
            board: Arc::new(Board::new(limits, None)),
            n_at_once: settings.workers * settings.batch,
            others: Others::Workers(settings),
            running: Mutex::default(),
            call: Mutex::new(()),
        }
    }

    /// An i-PI server at the address of `settings`, which is bound here. Clients start from `system`.
    ///
    /// # Errors
    /// `BadInput` if the address cannot be bound.
    pub fn ipi(settings: IpiSettings, system: Option<&System>) -> Result<Self> {
        let limits = Limits::new(settings.startup_limit_seconds, settings.call_limit_seconds)
            .ending_after(settings.end_after_failures);
        let server = Some(Server::bind(&settings)?);
        let patience = limits.startup;
        Ok(External {
            name: "i-pi".into(),
            board: Arc::new(Board::new(limits, Some(patience))),
            n_at_once: settings.batch,
            others: Others::Clients(settings, system.cloned().map(Box::new)),
            running: Mutex::new(Running { server, ..Running::default() }),
            call: Mutex::new(()),
        })
    }

    /// The calculator of `settings`, an object of this process; it is called in a thread of its own.
    pub fn object(settings: &ObjectSettings, calculator: Arc<dyn Calculator>) -> Self {
        let limits =
            Limits::new(FIRST_CALLS_SECONDS, settings.call_limit_seconds).ending_after(settings.end_after_failures);
        External {
            name: settings.object.clone(),
            board: Arc::new(Board::new(limits, None)),
            n_at_once: settings.batch,
            others: Others::Object(Arc::new(Desk::new(calculator, settings.batch))),
            running: Mutex::default(),
            call: Mutex::new(()),
        }
    }

    /// The address that i-PI clients connect to, before the first call of [`Potential::begin`] or the first evaluation.
    pub fn address(&self) -> Option<String> {
        locked(&self.running).server.as_ref().map(Server::address)
    }

    /// Starts workers or accepts clients, once. With a `folder`, logs and the start file go there.
    fn start(&self, folder: Option<&Path>) -> Result<()> {
        let mut running = locked(&self.running);
        if std::mem::replace(&mut running.begun, true) {
            return Ok(());
        }
        match &self.others {
            Others::Workers(settings) => {
                let private = PrivateFolder::new()?;
                let logs = match folder {
                    Some(folder) => {
                        let logs = folder.join(LOGS);
                        std::fs::create_dir_all(&logs).map_err(|cause| storage_error(&logs, &cause))?;
                        logs
                    }
                    None => private.path().to_owned(),
                };
                for number in 0..settings.workers {
                    let log = logs.join(format!("worker-{number}.log"));
                    let log_stays = folder.is_some();
                    let private = private.path().to_owned();
                    let worker = Worker { number, settings: settings.clone(), private, log, log_stays };
                    let board = Arc::clone(&self.board);
                    running.threads.push(std::thread::spawn(move || worker.run(&board)));
                }
                running.private = Some(private);
            }
            Others::Clients(settings, system) => {
                let Some(server) = running.server.take() else { return Ok(()) };
                let mut note = format!("i-PI clients are expected at {}", server.address());
                if let (Some(system), Some(folder)) = (system, folder) {
                    let path = folder.join(START_FILE);
                    let structure = start_structure(system, settings.box_angstrom)?;
                    write_atomic(&path, format_frames(&[structure.into()]).as_bytes())?;
                    note += &format!("; they can start from {}", path.display());
                }
                self.board.note(note);
                let board = Arc::clone(&self.board);
                running.threads.push(std::thread::spawn(move || server.run(&board)));
            }
            Others::Object(desk) => {
                let (desk, board) = (Arc::clone(desk), Arc::clone(&self.board));
                running.threads.push(std::thread::spawn(move || desk.serve(&board)));
            }
        }
        Ok(())
    }

    /// Waits for the answers of a call that is under way in this process and hands them over, so that an evaluation is not lost and
    /// the object is at rest when its owner gets it back.
    fn let_call_end(&self, exchange: &mut dyn Exchange) {
        let Others::Object(desk) = &self.others else { return };
        self.board.withdraw();
        while desk.is_busy() && !self.board.closing() {
            desk.check(&self.board);
            std::thread::sleep(SHORT_BEAT);
        }
        if let Ok(answers) = self.board.collect(Duration::ZERO) {
            // The evaluation has its error already.
            let _ = exchange.deliver(answers);
        }
    }

    /// Carries structures from `exchange` to the board and answers back until there are no more.
    fn exchange_all(&self, exchange: &mut dyn Exchange) -> Result<()> {
        let mut n_under_way = 0;
        let mut more = true;
        let mut first = None;
        while more || n_under_way > 0 {
            if more {
                match exchange.next(if n_under_way == 0 { BEAT } else { Duration::ZERO })? {
                    Some(structures) => {
                        self.check_composition(&mut first, &structures)?;
                        n_under_way += structures.len();
                        self.board.add(structures);
                    }
                    None => more = false,
                }
            }
            if let Others::Object(desk) = &self.others {
                desk.check(&self.board);
            }
            let wait = if n_under_way > 0 { BEAT } else { Duration::ZERO };
            let answers = self.board.collect(wait)?;
            n_under_way -= answers.len();
            exchange.deliver(answers)?;
        }
        Ok(())
    }

    /// Refuses structures that clients, which know one composition only, would misread.
    fn check_composition(&self, first: &mut Option<Structure>, structures: &[(usize, Structure)]) -> Result<()> {
        let Others::Clients(..) = &self.others else { return Ok(()) };
        for (number, structure) in structures {
            let first = first.get_or_insert_with(|| structure.clone());
            if structure.numbers != first.numbers || structure.cell.periodic != first.cell.periodic {
                return Err(Error::bad_input(format!(
                    "structure {} has other elements or another periodicity than the first, and i-PI cannot say so to its clients; \
                     evaluate them apart",
                    number + 1
                )));
            }
        }
        Ok(())
    }
}

impl Potential for External {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn evaluate(
        &self,
        structures: &[Structure],
        deliver: &mut dyn FnMut(Vec<(usize, Answer)>) -> Result<()>,
    ) -> Result<()> {
        let questions = Some(structures.iter().cloned().enumerate().collect());
        self.evaluate_stream(&mut AtOnce { questions, deliver })
    }

    fn evaluate_stream(&self, exchange: &mut dyn Exchange) -> Result<()> {
        let _alone = locked(&self.call);
        self.start(None)?;
        self.board.open_round();
        let outcome = self.exchange_all(exchange);
        if outcome.is_err() {
            self.let_call_end(exchange);
        }
        outcome
    }

    fn begin(&self, folder: &Path) -> Result<()> {
        self.start(Some(folder))
    }

    fn notes(&self) -> Vec<String> {
        self.board.notes()
    }

    fn n_at_once(&self) -> Option<usize> {
        Some(self.n_at_once)
    }
}

impl Drop for External {
    fn drop(&mut self) {
        self.board.close();
        // Nothing can end a call in this process, so its thread is not waited for.
        if matches!(&self.others, Others::Object(desk) if desk.is_busy()) {
            return;
        }
        for thread in locked(&self.running).threads.drain(..) {
            // A panic of the thread has already been reported.
            let _ = thread.join();
        }
    }
}

/// All requests at once.
struct AtOnce<'a> {
    questions: Option<Vec<(usize, Structure)>>,
    deliver: &'a mut dyn FnMut(Vec<(usize, Answer)>) -> Result<()>,
}

impl Exchange for AtOnce<'_> {
    fn next(&mut self, _wait: Duration) -> Result<Option<Vec<(usize, Structure)>>> {
        Ok(self.questions.take())
    }

    fn deliver(&mut self, answers: Vec<(usize, Answer)>) -> Result<()> {
        (self.deliver)(answers)
    }
}
