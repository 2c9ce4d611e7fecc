//! One client or worker at the other end of a socket: handshake, calls, time limits.

use super::board::{Board, Task, WorkerId};
use super::message::{self, Posed, Reply, WORD, word};
use super::orientation::{Orientation, boxed, triangular_inverse};
use crate::error::Result;
use crate::system::Structure;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// How often a wait for bytes checks whether the search still runs.
const GLANCE: Duration = Duration::from_millis(100);
/// How often an idle connection checks whether its client is still there.
const IDLE: Duration = Duration::from_millis(200);

/// A connected socket.
#[derive(Debug)]
pub enum Socket {
    /// On this machine.
    Unix(UnixStream),
    /// Anywhere.
    Tcp(TcpStream),
}

impl Socket {
    /// Sets how long reads and writes block, and that small messages are sent at once.
    fn prepare(&self) -> std::io::Result<()> {
        match self {
            Socket::Unix(stream) => {
                stream.set_nonblocking(false)?;
                stream.set_read_timeout(Some(GLANCE))?;
                stream.set_write_timeout(Some(GLANCE))
            }
            Socket::Tcp(stream) => {
                stream.set_nonblocking(false)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(GLANCE))?;
                stream.set_write_timeout(Some(GLANCE))
            }
        }
    }

    fn set_nonblocking(&self, on: bool) -> std::io::Result<()> {
        match self {
            Socket::Unix(stream) => stream.set_nonblocking(on),
            Socket::Tcp(stream) => stream.set_nonblocking(on),
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Socket::Unix(stream) => stream.read(buffer),
            Socket::Tcp(stream) => stream.read(buffer),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Socket::Unix(stream) => stream.write(bytes),
            Socket::Tcp(stream) => stream.write(bytes),
        }
    }
}

/// Why a connection cannot be used any more. Its text completes the sentence "it …".
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// The other end is closed.
    Left,
    /// No answer in time.
    Hung(Duration),
    /// Bytes that the protocol does not know.
    Rubbish(String),
    /// The search ends, so nobody is at fault.
    Closing,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fault::Left => f.write_str("closed the connection"),
            Fault::Hung(limit) => write!(f, "gave no answer within {:.3} s", limit.as_secs_f64()),
            Fault::Rubbish(what) => f.write_str(what),
            Fault::Closing => f.write_str("was asked to end"),
        }
    }
}

/// The form of messages and structures for the other end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Manner {
    /// Structures in a batch; 1 for single requests.
    pub batch: usize,
    /// Length of missing lattice vectors, Å, for clients, which need cells in the protocol's form. `None` for godiff's own
    /// workers, which take any cell and get elements and periodicity.
    pub box_angstrom: Option<f64>,
}

/// A connected client.
#[derive(Debug)]
pub struct Connection {
    socket: Socket,
    manner: Manner,
    /// Whether a batch was announced; this is impossible for a client that needs no initialisation.
    batched: bool,
    /// The text of the last `INIT`.
    told: Option<String>,
    /// Whether the client has sent anything in this call. If not, it left before the call, and no structure is at fault.
    heard: bool,
}

impl Connection {
    /// Takes over a fresh `socket`.
    ///
    /// # Errors
    /// [`Fault::Left`] if it is closed already.
    pub fn new(socket: Socket, manner: Manner) -> std::result::Result<Self, Fault> {
        socket.prepare().map_err(|_| Fault::Left)?;
        // godiff's own workers get this before their first structure.
        let batched = manner.box_angstrom.is_none() && manner.batch > 1;
        Ok(Connection { socket, manner, batched, told: None, heard: false })
    }

    /// Number of structures that a call may carry.
    pub fn most(&self) -> usize {
        if self.batched { self.manner.batch } else { 1 }
    }

    /// Asks for the client's state until it is ready, for `limit` at most. Initialises it if it asks for that.
    ///
    /// # Errors
    /// The fault.
    pub fn get_ready(
        &mut self,
        structure: Option<&Structure>,
        board: &Board,
        limit: Duration,
    ) -> std::result::Result<(), Fault> {
        self.heard = false;
        let mut wire = Wire { socket: &mut self.socket, board, start: Instant::now(), limit };
        let text = match (structure, self.manner.box_angstrom) {
            (Some(structure), None) => Some(self_description(structure, self.manner.batch)),
            _ => None,
        };
        if text.is_some() && text != self.told {
            wire.ask_state()?;
            self.heard = true;
            wire.send(&message::init(text.as_deref().unwrap_or_default()))?;
            self.told = text;
        }
        for _ in 0..2 {
            let state = wire.ask_state()?;
            self.heard = true;
            match &state {
                b"READY       " => return Ok(()),
                b"NEEDINIT    " if structure.is_none() && self.manner.box_angstrom.is_none() => return Ok(()),
                b"NEEDINIT    " => {
                    self.batched = self.manner.batch > 1;
                    let text = if self.batched { format!(" batch_size:{}", self.manner.batch) } else { " ".to_owned() };
                    wire.send(&message::init(&text))?;
                }
                other => return Err(unexpected(other)),
            }
        }
        Err(Fault::Rubbish("wanted to be initialised again and again".into()))
    }

    /// Evaluates `tasks`, at most [`Connection::most`], in one call.
    ///
    /// # Errors
    /// The fault.
    pub fn call(&mut self, tasks: &[Task], board: &Board) -> std::result::Result<Vec<Reply>, Fault> {
        let limit = board.call_limit();
        self.get_ready(tasks.first().map(|task| &task.structure), board, limit)?;
        let posed: Result<Vec<Posed>> = tasks.iter().map(|task| self.pose(&task.structure)).collect();
        let posed = posed.map_err(|error| Fault::Rubbish(format!("could not be asked: {error}")))?;
        let size = if self.batched { self.manner.batch } else { 0 };
        let question = if self.batched { message::batch(&posed, size) } else { message::single(&posed[0]) };
        let mut wire = Wire { socket: &mut self.socket, board, start: Instant::now(), limit };
        wire.send(&question)?;
        // A separate write: some clients read a word that arrives in two pieces as two words.
        wire.send(&word("GETFORCE"))?;
        let answer = wire.word()?;
        if answer != word("FORCEREADY") {
            return Err(unexpected(&answer));
        }
        message::replies(&posed, size, &mut |buffer: &mut [u8]| wire.fill(buffer))?.map_err(Fault::Rubbish)
    }

    fn pose(&self, structure: &Structure) -> Result<Posed> {
        let Structure { cell, positions, .. } = structure;
        let Some(box_angstrom) = self.manner.box_angstrom else {
            let (cell, inverse) = (cell.vectors, [[0.0; 3]; 3]);
            return Ok(Posed { cell, inverse, positions: positions.clone(), orientation: Orientation::IDENTITY });
        };
        let vectors = boxed(cell, box_angstrom)?;
        let orientation = Orientation::of(&vectors);
        let cell = orientation.cell(&vectors);
        let positions = positions.iter().map(|&position| orientation.there(position)).collect();
        Ok(Posed { cell, inverse: triangular_inverse(&cell), positions, orientation })
    }

    /// Whether an idle client is still there: the connection is open, and silent as it should be.
    pub fn alive(&mut self) -> bool {
        let look = |socket: &mut Socket| -> std::io::Result<usize> {
            socket.set_nonblocking(true)?;
            let outcome = socket.read(&mut [0]);
            socket.set_nonblocking(false)?;
            outcome
        };
        look(&mut self.socket).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    /// Says goodbye; it does not matter whether the other end reads it.
    pub fn dismiss(mut self) {
        let _ = self.socket.write(&word("EXIT"));
    }
}

/// Batch, elements, periodicity, and further keys and columns in the text of `INIT`, for godiff's own workers.
fn self_description(structure: &Structure, batch: usize) -> String {
    let numbers: Vec<String> = structure.numbers.iter().map(u8::to_string).collect();
    let periodic = structure.cell.periodic.map(|periodic| if periodic { "1" } else { "0" });
    let extras = structure.extras().map_or(String::new(), |extras| format!(",extras:{}", extras.to_json()));
    format!("batch_size:{batch},numbers:{},pbc:{}{extras}", numbers.join(" "), periodic.join(" "))
}

fn unexpected(word: &[u8; WORD]) -> Fault {
    Fault::Rubbish(format!(
        "sent an unexpected message \"{}\"",
        String::from_utf8_lossy(word).trim_end().escape_debug()
    ))
}

/// The bytes of one exchange, until its time limit.
struct Wire<'a> {
    socket: &'a mut Socket,
    board: &'a Board,
    start: Instant,
    limit: Duration,
}

impl Wire<'_> {
    fn send(&mut self, bytes: &[u8]) -> std::result::Result<(), Fault> {
        let mut sent = 0;
        while sent < bytes.len() {
            match self.socket.write(&bytes[sent..]) {
                Ok(0) => return Err(Fault::Left),
                Ok(n) => sent += n,
                Err(error) => self.go_on_after(&error)?,
            }
        }
        Ok(())
    }

    fn fill(&mut self, buffer: &mut [u8]) -> std::result::Result<(), Fault> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.socket.read(&mut buffer[filled..]) {
                Ok(0) => return Err(Fault::Left),
                Ok(n) => filled += n,
                Err(error) => self.go_on_after(&error)?,
            }
        }
        Ok(())
    }

    fn word(&mut self) -> std::result::Result<[u8; WORD], Fault> {
        let mut word = [0; WORD];
        self.fill(&mut word).map(|()| word)
    }

    fn ask_state(&mut self) -> std::result::Result<[u8; WORD], Fault> {
        self.send(&word("STATUS"))?;
        self.word()
    }

    fn go_on_after(&self, error: &std::io::Error) -> std::result::Result<(), Fault> {
        match error.kind() {
            ErrorKind::Interrupted => Ok(()),
            ErrorKind::WouldBlock | ErrorKind::TimedOut if self.board.closing() => Err(Fault::Closing),
            ErrorKind::WouldBlock | ErrorKind::TimedOut if self.start.elapsed() > self.limit => {
                Err(Fault::Hung(self.limit))
            }
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Ok(()),
            _ => Err(Fault::Left),
        }
    }
}

/// How the service of a connection ended.
#[derive(Debug)]
pub struct Served {
    /// The fault that ended it.
    pub fault: Fault,
    /// Whether there was any answer.
    pub answered: bool,
}

/// How often in a row a client may answer without numbers. After that other clients are preferred for good.
const NOT_NUMBERS_IN_A_ROW: u32 = 3;

/// Brings structures from `board` to the connection and answers back, until one of them ends. An answer without numbers is an
/// answer, so godiff's own worker stays. A client stays too, unless all its answers are like that and there are other clients.
pub fn serve(connection: &mut Connection, id: WorkerId, board: &Board) -> Served {
    // Own workers are all alike, but one client among several may be set up wrongly.
    let is_client = connection.manner.box_angstrom.is_some();
    let mut answered = false;
    let mut n_bad = 0;
    loop {
        let ended = |fault| Served { fault, answered };
        let (round, tasks) = match board.take(id, connection.most(), IDLE) {
            super::board::Work::Tasks(round, tasks) => (round, tasks),
            super::board::Work::Nothing if connection.alive() => continue,
            super::board::Work::Nothing => return ended(Fault::Left),
            super::board::Work::Closing => return ended(Fault::Closing),
        };
        if !connection.alive() {
            board.give_back(round, tasks);
            return ended(Fault::Left);
        }
        let start = Instant::now();
        let replies = match connection.call(&tasks, board) {
            Ok(replies) => replies,
            Err(fault) => {
                match fault {
                    Fault::Closing => board.give_back(round, tasks),
                    Fault::Left if !connection.heard => board.give_back(round, tasks),
                    _ => board.failed(round, id, tasks, &fault.to_string()),
                }
                return ended(fault);
            }
        };
        let time = start.elapsed();
        let (good, bad): (Vec<_>, Vec<_>) = tasks.into_iter().zip(replies).partition(|(_, reply)| reply.is_number());
        answered |= !good.is_empty();
        n_bad = if good.is_empty() { n_bad + 1 } else { 0 };
        let bad: Vec<(Task, String)> = bad.into_iter().map(|(task, reply)| (task, refusal(&reply.text))).collect();
        let last_refusal = bad.last().map(|(_, why)| why.clone());
        // The answers first, because they show that some calls work.
        board.answered(round, good.into_iter().map(|(task, reply)| (task, reply.evaluation)).collect(), time);
        board.refused(round, id, bad, is_client);
        if let Some(why) = last_refusal
            && is_client
            && n_bad >= NOT_NUMBERS_IN_A_ROW
            && board.n_workers() > 1
        {
            return Served { fault: Fault::Rubbish(why), answered };
        }
    }
}

/// The reason for an answer without numbers: the text that godiff's own worker sends along, if there is one.
pub fn refusal(text: &str) -> String {
    #[derive(serde::Deserialize)]
    struct Refusal {
        error: String,
    }
    match serde_json::from_str::<Refusal>(text) {
        Ok(Refusal { error }) => format!("raised {}", super::shortened(&error)),
        Err(_) => "gave an energy or forces that are not numbers".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_fit_for_a_terminal() {
        for (text, said) in [
            (r#"{"error": "ValueError: no", "more": [1, {"a": null}]}"#, "raised ValueError: no"),
            (r#"{"error": "\u001b[2Jno\u007f\nmore"}"#, "raised  [2Jno "),
            ("{}", "gave an energy or forces that are not numbers"),
            (r#"{"error": 5}"#, "gave an energy or forces that are not numbers"),
            ("[[[", "gave an energy or forces that are not numbers"),
        ] {
            assert_eq!(refusal(text), said);
        }
        let long = refusal(&serde_json::json!({ "error": "é".repeat(1000) }).to_string());
        assert_eq!(long, format!("raised {}…", "é".repeat(300)));
    }
}
