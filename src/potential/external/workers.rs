//! godiff's own Python workers: they are started, watched, and started again when they fail.

use super::board::Board;
use super::connection::{Connection, Fault, Manner, Served, Socket, serve};
use super::limits::pause;
use super::shortened;
use crate::error::{Error, Result};
use crate::potential::AseSettings;
use std::fs::{DirBuilder, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The program of a worker, in Python. Its class `Evaluator` asks a calculator.
pub const PROGRAM: &str = include_str!("worker.py");
/// Its exit code if a second attempt to make the calculator would fail too.
const HOPELESS: i32 = 64;
/// Time between two checks of a worker that starts.
const LOOK: Duration = Duration::from_millis(5);
/// How long a worker may take to end after it is asked to.
const FAREWELL: Duration = Duration::from_secs(2);
/// Longest time between the end of a process's connection and its death.
const DEATH: Duration = Duration::from_millis(200);
/// Longest path of a Unix socket, with a margin.
const LONGEST_PATH: usize = 90;

/// A folder that only this user can enter, with the program and the sockets; it is removed at the end.
#[derive(Debug)]
pub struct PrivateFolder(PathBuf);

impl PrivateFolder {
    /// A new folder, with the worker's program in it.
    ///
    /// # Errors
    /// `Storage` if it cannot be made.
    pub fn new() -> Result<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        loop {
            let name = format!("godiff-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
            let mut path = std::env::temp_dir().join(&name);
            if path.as_os_str().len() > LONGEST_PATH {
                path = Path::new("/tmp").join(&name);
            }
            let make = || {
                DirBuilder::new().mode(0o700).create(&path)?;
                std::fs::write(path.join("worker.py"), PROGRAM)
            };
            match make() {
                Ok(()) => return Ok(PrivateFolder(path)),
                // A folder that was left by a killed process with the same number.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => {
                    let message = format!(
                        "cannot be made for the workers ({error}); set TMPDIR to a folder with room that is writable"
                    );
                    return Err(Error::storage(&path, message));
                }
            }
        }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for PrivateFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The data for starting one worker, again and again.
#[derive(Debug)]
pub struct Worker {
    /// Its number, from 0.
    pub number: usize,
    /// Interpreter, calculator and arguments.
    pub settings: AseSettings,
    /// The folder with program and socket.
    pub private: PathBuf,
    /// The file that its output is appended to.
    pub log: PathBuf,
    /// Whether the log is kept when the workers end, so that messages may name it.
    pub log_stays: bool,
}

/// Why a worker could not be started.
enum NoWorker {
    /// Another attempt may succeed. The reason is a complete clause.
    NotYet(String),
    /// No attempt will succeed. The reason is a whole sentence.
    Never(String),
    Closing,
}

impl Worker {
    /// Keeps a worker running until the board closes.
    pub fn run(&self, board: &Board) {
        let mut n_failures = 0;
        while !board.closing() {
            let (mut child, mut connection) = match self.start(board) {
                Ok(started) => started,
                Err(NoWorker::Closing) => return,
                Err(NoWorker::Never(sentence)) => return board.give_up(sentence),
                Err(NoWorker::NotYet(why)) => {
                    n_failures += 1;
                    board.note(format!("worker {} did not start: {why}", self.number));
                    board.start_failed(&why);
                    board.pause(pause(n_failures + 1));
                    continue;
                }
            };
            let id = board.joined(Some(self.number));
            let Served { fault, answered } = serve(&mut connection, id, board);
            board.left(id);
            connection.dismiss();
            if fault == Fault::Closing {
                return end(&mut child);
            }
            // A process that died ends a moment after its socket.
            let status = if fault == Fault::Left { wait(&mut child, DEATH) } else { None };
            let how = status.map_or_else(|| fault.to_string(), ended_how);
            kill(&mut child);
            n_failures = if answered { 1 } else { n_failures + 1 };
            board.note(format!("worker {} is started again: it {how}", self.number));
            board.pause(pause(n_failures));
        }
    }

    fn start(&self, board: &Board) -> std::result::Result<(Child, Connection), NoWorker> {
        let not_yet = |what: &str, cause: std::io::Error| NoWorker::NotYet(format!("{what} ({cause})"));
        let socket = self.private.join(format!("{}.sock", self.number));
        // Removes the socket of the worker before this one.
        let _ = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).map_err(|cause| not_yet("its socket cannot be made", cause))?;
        listener.set_nonblocking(true).map_err(|cause| not_yet("its socket cannot be used", cause))?;
        let mut log = File::options().append(true).create(true).open(&self.log).map_err(|cause| {
            NoWorker::Never(format!("{}: the log of a worker cannot be written ({cause})", self.log.display()))
        })?;
        let before = log.seek(SeekFrom::End(0)).unwrap_or(0);
        let mut child = self.spawn(&socket, &log)?;
        let limit = board.startup_limit();
        let started = Instant::now();
        let _ = writeln!(log, "godiff: worker {} is process {}", self.number, child.id());
        loop {
            if let Ok((stream, _)) = listener.accept() {
                let manner = Manner { batch: self.settings.batch, box_angstrom: None };
                let connection = Connection::new(Socket::Unix(stream), manner).and_then(|mut connection| {
                    connection.get_ready(None, board, limit.saturating_sub(started.elapsed()))?;
                    Ok(connection)
                });
                return match connection {
                    Ok(connection) => {
                        let _ = writeln!(log, "godiff: worker {} is ready", self.number);
                        Ok((child, connection))
                    }
                    Err(fault) => {
                        kill(&mut child);
                        Err(match fault {
                            Fault::Closing => NoWorker::Closing,
                            fault => NoWorker::NotYet(format!("it {fault}")),
                        })
                    }
                };
            }
            if let Ok(Some(status)) = child.try_wait() {
                return Err(self.stillborn(status, before));
            }
            if board.closing() {
                kill(&mut child);
                return Err(NoWorker::Closing);
            }
            if started.elapsed() > limit {
                kill(&mut child);
                let limit = limit.as_secs_f64();
                let see = self.see_log();
                return Err(NoWorker::NotYet(format!(
                    "it was not ready within potential.startup_limit_seconds = {limit}{see}"
                )));
            }
            board.pause(LOOK);
        }
    }

    fn spawn(&self, socket: &Path, log: &File) -> std::result::Result<Child, NoWorker> {
        let AseSettings { python, calculator, workers, .. } = &self.settings;
        let logs = log.try_clone().and_then(|out| Ok((out, log.try_clone()?)));
        let (out, err) = logs.map_err(|cause| NoWorker::NotYet(format!("its log cannot be opened ({cause})")))?;
        let mut command = Command::new(python);
        command.arg("-u").arg(self.private.join("worker.py")).arg(socket).arg(calculator);
        command.arg(self.settings.keywords(self.number)).stdin(Stdio::null()).stdout(out).stderr(err);
        // A separate process group: Ctrl-C reaches godiff alone, and processes that the calculator starts can be ended with the
        // group.
        command.process_group(0);
        if *workers > 1 && std::env::var_os("OMP_NUM_THREADS").is_none() {
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            command.env("OMP_NUM_THREADS", (cores / workers).max(1).to_string());
        }
        command.spawn().map_err(|cause| {
            NoWorker::Never(format!(
                "the Python interpreter \"{python}\" cannot be started ({cause}); name one that has ASE and the calculator with \
                 potential.python"
            ))
        })
    }

    /// The reason for a worker that ended before it connected. Python's messages are in its log from `before` on.
    fn stillborn(&self, status: ExitStatus, before: u64) -> NoWorker {
        let said = last_words(&self.log, before);
        let AseSettings { python, calculator, .. } = &self.settings;
        let because = said.unwrap_or_else(|| ended_how(status));
        if status.code() == Some(HOPELESS) {
            let see = self.see_log();
            return NoWorker::Never(format!(
                "the calculator {calculator} cannot be made by \"{python}\": {because}; mend the section [potential] or install \
                 what is missing{see}"
            ));
        }
        NoWorker::NotYet(because)
    }

    /// The place of the worker's log, if it is kept.
    fn see_log(&self) -> String {
        if self.log_stays { format!(" (see {})", self.log.display()) } else { String::new() }
    }
}

/// "died of signal 9", "ended with exit code 1".
fn ended_how(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("died of signal {signal}"),
        (None, code) => format!("ended with exit code {}", code.unwrap_or(0)),
    }
}

/// The last line in `log` from `before` on that is not empty, such as Python's "ModuleNotFoundError: …".
fn last_words(log: &Path, before: u64) -> Option<String> {
    let mut text = Vec::new();
    let mut file = File::open(log).ok()?;
    file.seek(SeekFrom::Start(before)).ok()?;
    file.read_to_end(&mut text).ok()?;
    let text = String::from_utf8_lossy(&text);
    let says = |line: &&str| !line.trim().is_empty() && !line.starts_with("godiff: ");
    text.lines().rev().find(says).map(|line| shortened(line.trim()))
}

/// How a worker ended, if it ends within `time`.
fn wait(child: &mut Child, time: Duration) -> Option<ExitStatus> {
    let start = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            _ if start.elapsed() >= time => return None,
            _ => std::thread::sleep(LOOK),
        }
    }
}

/// Waits a short time for a worker that was asked to end.
fn end(child: &mut Child) {
    if wait(child, FAREWELL).is_none() {
        kill(child);
    }
}

/// Ends a worker and all processes that it started.
fn kill(child: &mut Child) {
    let group = format!("-{}", child.id());
    let _ = Command::new("kill").args(["-KILL", "--", &group]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let _ = child.kill();
    let _ = child.wait();
}
