//! How the built-in potentials evaluate a batch: in chunks, on all cores, with one delivery for each chunk.

use rayon::prelude::*;

use super::Answer;
use crate::error::Result;
use crate::system::Structure;

/// Number of structures between two deliveries: enough to keep many cores busy, few enough for steady progress.
const CHUNK: usize = 64;

/// Number of structures that a thread takes at once, so that a task costs more than its hand-over.
const TASK: usize = 4;

/// Evaluates `structures` with `evaluate` on the current thread pool and hands the answers to `deliver` chunk by chunk. A thread
/// reuses an `S` from structure to structure. One thread alone computes a structure, so the answers do not depend on the number
/// of threads.
///
/// # Errors
/// The first error of `evaluate` by index, or the error of `deliver`.
pub(super) fn evaluate_in_chunks<S: Default>(
    structures: &[Structure],
    deliver: &mut dyn FnMut(Vec<(usize, Answer)>) -> Result<()>,
    evaluate: impl Fn(&Structure, &mut S) -> Result<Answer> + Sync,
) -> Result<()> {
    for (chunk_index, chunk) in structures.chunks(CHUNK).enumerate() {
        let first = chunk_index * CHUNK;
        let answers: Vec<Result<Answer>> = if chunk.len() <= TASK {
            let mut scratch = S::default();
            chunk.iter().map(|structure| evaluate(structure, &mut scratch)).collect()
        } else {
            let tasks = chunk.par_iter().with_min_len(TASK);
            tasks.map_init(S::default, |scratch, structure| evaluate(structure, scratch)).collect()
        };
        let numbered = answers.into_iter().enumerate().map(|(k, answer)| Ok((first + k, answer?)));
        deliver(numbered.collect::<Result<Vec<_>>>()?)?;
    }
    Ok(())
}
