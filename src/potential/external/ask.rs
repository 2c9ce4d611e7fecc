//! One call over a connected socket, for tests that play the other end.

use super::board::{Board, Work};
use super::connection::{Connection, Manner, Socket, refusal};
use super::limits::Limits;
use crate::error::{Error, Result};
use crate::potential::Evaluation;
use crate::system::Structure;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Evaluates `structures`, all with the same elements and periodicity, in one call over `stream`. At the other end is an i-PI
/// client or, with a `box_angstrom` of `None`, a worker of godiff. There are as many answers as structures were sent: one, or up
/// to `batch`. An answer without numbers is replaced by its reason.
///
/// # Errors
/// `Evaluator` with the fault of the other end.
pub fn ask(
    stream: UnixStream,
    structures: &[Structure],
    batch: usize,
    box_angstrom: Option<f64>,
    limit: Duration,
) -> Result<Vec<std::result::Result<Evaluation, String>>> {
    let seconds = limit.as_secs_f64();
    let board = Board::new(Limits::new(seconds, Some(seconds)), None);
    board.open_round();
    board.add(structures.iter().cloned().enumerate().collect());
    let id = board.joined(None);
    let faulty = |fault| Error::Evaluator(format!("the other end {fault}"));
    let mut connection = Connection::new(Socket::Unix(stream), Manner { batch, box_angstrom }).map_err(faulty)?;
    connection.get_ready(None, &board, limit).map_err(faulty)?;
    let Work::Tasks(_, tasks) = board.take(id, connection.most(), limit) else { return Ok(Vec::new()) };
    let replies = connection.call(&tasks, &board).map_err(faulty)?;
    let judged =
        |reply: super::message::Reply| if reply.is_number() { Ok(reply.evaluation) } else { Err(refusal(&reply.text)) };
    Ok(replies.into_iter().map(judged).collect())
}
