//! Which worker gets which structure, and which structures fail.

use super::*;
use crate::system::Cell;

const NOW: Duration = Duration::ZERO;

fn structure(number: u8) -> Structure {
    Structure::new(Cell::NONE, vec![number], vec![[0.0; 3]])
}

fn board(n_structures: usize) -> Board {
    let board = Board::new(Limits::new(600.0, None), None);
    board.open_round();
    board.add((0..n_structures).map(|k| (k, structure(78))).collect());
    board
}

fn take(board: &Board, id: WorkerId, most: usize) -> (u64, Vec<Task>) {
    match board.take(id, most, NOW) {
        Work::Tasks(round, tasks) => (round, tasks),
        other => panic!("{other:?}"),
    }
}

fn numbers(tasks: &[Task]) -> Vec<usize> {
    tasks.iter().map(|task| task.number).collect()
}

fn answer(board: &Board, round: u64, tasks: Vec<Task>) {
    let evaluation = Evaluation { energy: 1.0, forces: vec![[0.0; 3]] };
    board.answered(round, tasks.into_iter().map(|task| (task, evaluation.clone())).collect(), NOW);
}

#[test]
fn work_is_shared_out() {
    let board = board(10);
    let (a, b) = (board.joined(None), board.joined(None));
    assert_eq!(numbers(&take(&board, a, 16).1), [0, 1, 2, 3, 4]);
    assert_eq!(numbers(&take(&board, b, 2).1), [5, 6]);
    assert_eq!(numbers(&take(&board, b, 2).1), [7, 8]);
    board.add(vec![(10, structure(79)), (11, structure(79))]);
    assert_eq!(numbers(&take(&board, b, 2).1), [9], "another element comes apart");
    board.left(a);
    assert_eq!(numbers(&take(&board, b, 2).1), [10, 11]);
    assert!(matches!(board.take(b, 2, NOW), Work::Nothing));
    board.close();
    assert!(matches!(board.take(b, 2, NOW), Work::Closing));
}

/// A failed structure goes to another worker first, then to any; after the third time it counts as failed.
#[test]
fn a_failed_structure_goes_to_others_twice() {
    let board = board(1);
    let (a, b) = (board.joined(None), board.joined(None));
    let (round, tasks) = take(&board, a, 4);
    board.failed(round, a, tasks, "died");
    assert!(matches!(board.take(a, 4, NOW), Work::Nothing));
    let (round, tasks) = take(&board, b, 4);
    board.failed(round, b, tasks, "died");
    assert!(board.collect(NOW).unwrap().is_empty());
    let (round, tasks) = take(&board, a, 4);
    board.failed(round, a, tasks, "hung");
    let answers = board.collect(NOW).unwrap();
    let reason = "given up after 3 attempts; the last one hung";
    assert_eq!(answers, [(0, Answer::Failed(reason.into()))]);
}

/// After a batch died each of its structures goes alone.
#[test]
fn a_failed_batch_comes_apart() {
    let board = board(4);
    let a = board.joined(None);
    let (round, tasks) = take(&board, a, 3);
    board.failed(round, a, tasks, "died");
    let b = board.joined(None);
    board.left(a);
    assert_eq!(numbers(&take(&board, b, 3).1), [3]);
    for number in 0..3 {
        assert_eq!(numbers(&take(&board, b, 3).1), [number]);
    }
}

#[test]
fn five_structures_in_a_row_end_it() {
    let board = board(20);
    let a = board.joined(None);
    for number in 0..4 {
        let (round, tasks) = take(&board, a, 1);
        assert_eq!(numbers(&tasks), [number], "before the first answer failures wait");
        board.failed(round, a, tasks, "died");
    }
    let (round, tasks) = take(&board, a, 1);
    answer(&board, round, tasks);
    assert_eq!(board.collect(NOW).unwrap().len(), 1);
    // From now on they go first, and one structure counts once: four are set aside, the fifth ends it.
    let mut n_failed = 0;
    while !board.closing() {
        let (round, tasks) = take(&board, a, 1);
        board.failed(round, a, tasks, "sent rubbish");
        n_failed += 1;
    }
    assert_eq!(n_failed, 13);
    assert_eq!(board.collect(NOW).unwrap().len(), 4);
    let error = board.collect(NOW).unwrap_err();
    assert_eq!(error.exit_code(), 3);
    assert!(
        error.to_string().starts_with("the potential failed at 5 structures in a row, the last time because it sent")
    );
}

/// A worker that always fails must not end the search while other workers have not answered yet.
#[test]
fn failures_of_one_are_not_those_of_all() {
    let board = board(40);
    let (a, b) = (board.joined(None), board.joined(None));
    for _ in 0..24 {
        let (round, tasks) = take(&board, a, 1);
        board.failed(round, a, tasks, "died");
    }
    assert!(!board.closing());
    let (round, tasks) = take(&board, b, 1);
    board.failed(round, b, tasks, "died");
    assert!(board.closing());
}

fn refused(board: &Board, id: WorkerId, others_may_know: bool) -> Vec<usize> {
    let (round, tasks) = take(board, id, 9);
    let numbers = numbers(&tasks);
    board.refused(
        round,
        id,
        tasks.into_iter().map(|task| (task, "raised Alarm: no".into())).collect(),
        others_may_know,
    );
    numbers
}

/// An answer without numbers is an answer: no other worker is asked, and the reason is kept.
#[test]
fn a_refusal_is_an_answer() {
    let board = board(2);
    let (a, b) = (board.joined(None), board.joined(None));
    assert_eq!(refused(&board, a, false), [0]);
    assert_eq!(refused(&board, b, false), [1]);
    let reason = || Answer::Failed("given up because the potential raised Alarm: no".into());
    assert_eq!(board.collect(NOW).unwrap(), [(0, reason()), (1, reason())]);
}

/// If other workers may have numbers, each is asked once.
#[test]
fn clients_are_asked_once_each() {
    let board = board(1);
    let (a, b) = (board.joined(None), board.joined(None));
    assert_eq!(refused(&board, a, true), [0]);
    assert!(matches!(board.take(a, 9, NOW), Work::Nothing));
    assert!(board.collect(NOW).unwrap().is_empty());
    assert_eq!(refused(&board, b, true), [0]);
    assert_eq!(board.collect(NOW).unwrap().len(), 1);
}

/// The user sets how many refusals in a row end the search.
#[test]
fn failures_end_it_when_the_user_says() {
    for (given, enough) in [(None, 50), (Some(2), 2), (Some(9), 9)] {
        let board = Board::new(Limits::new(600.0, None).ending_after(given), None);
        board.open_round();
        board.add((0..60).map(|k| (k, structure(78))).collect());
        let a = board.joined(None);
        for number in 0..enough {
            assert!(!board.closing(), "{given:?} {number}");
            let (round, tasks) = take(&board, a, 1);
            board.refused(round, a, tasks.into_iter().map(|task| (task, "raised Alarm: no".into())).collect(), false);
        }
        assert_eq!(board.collect(NOW).unwrap().len(), enough);
        let message = board.collect(NOW).unwrap_err().to_string();
        let expected =
            format!("the potential failed at {enough} structures in a row, the last time because it raised Alarm: no;");
        assert!(
            message.starts_with(&expected) && message.ends_with("min_distance_angstrom in [search] help"),
            "{message}"
        );
    }
}

#[test]
fn five_failed_starts_end_it() {
    let board = board(1);
    (0..4).for_each(|_| board.start_failed("no memory"));
    board.joined(None);
    (0..4).for_each(|_| board.start_failed("no memory"));
    assert!(!board.closing());
    board.start_failed("no memory");
    let message = board.collect(NOW).unwrap_err().to_string();
    assert_eq!(
        message,
        "no worker could be started in 5 attempts: no memory; mend that and resume (a search with --resume)"
    );
}

#[test]
fn answers_of_a_round_that_was_broken_off_are_dropped() {
    let board = board(3);
    let a = board.joined(None);
    let (round, first) = take(&board, a, 1);
    let (_, second) = take(&board, a, 1);
    board.open_round();
    board.add(vec![(0, structure(78))]);
    answer(&board, round, first);
    board.failed(round, a, second, "died");
    assert!(board.collect(NOW).unwrap().is_empty());
    assert_eq!(numbers(&take(&board, a, 9).1), [0]);
}

#[test]
fn without_clients_the_wait_ends() {
    let board = Board::new(Limits::new(0.0, None), Some(Duration::ZERO));
    board.open_round();
    board.add(vec![(0, structure(78))]);
    let a = board.joined(None);
    assert!(board.collect(Duration::from_millis(2)).unwrap().is_empty());
    board.left(a);
    let error = board.collect(Duration::from_millis(2)).unwrap_err();
    assert_eq!(error.exit_code(), 3);
    assert!(error.to_string().starts_with("no client has been connected for 0 s while structures wait"), "{error}");
}
