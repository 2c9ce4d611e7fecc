//! Calculators that are objects of the process which calls the library: the keys of `kind = "object"`.
//!
//! The Python package makes such settings. A configuration file can only name the object, so a program that reads one later cannot
//! compute with it and says so.

use super::kind::{Form, Kind, check_count, check_positive};
use super::{Answer, Potential};
use crate::error::{Error, Result};
use crate::gpu::Place;
#[cfg(unix)]
use crate::potential::external::External;
use crate::system::{Structure, System};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A calculator in this process. One thread of godiff's calls it, for one batch after the other.
pub trait Calculator: Send + Sync {
    /// The answers for `structures`, in their order, which share elements and periodicity; there are at most
    /// [`ObjectSettings::batch`] of them. The reason of a failed one follows the word "raised" in messages.
    ///
    /// # Errors
    /// A sentence, if the calculator can compute nothing any more; it ends the run.
    fn evaluate(&self, structures: &[Structure]) -> std::result::Result<Vec<Answer>, String>;
}

/// `kind = "object"`: a calculator of this process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ObjectSettings {
    /// What the object is, `MODULE:CLASS`.
    pub object: String,
    /// Number of structures in a call.
    pub batch: usize,
    /// How long a call may take, s; without it the larger of 60 s and ten times the median.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call_limit_seconds: Option<f64>,
    /// Failed structures in a row, with no answer between them, that end the run; without it 50.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_after_failures: Option<usize>,
    /// The object itself, once it is given.
    #[serde(skip)]
    pub given: Given,
}

/// A calculator, if there is one. Two of them are equal if they are the same object or one is missing: what a file says of them does
/// not differ then.
#[derive(Clone, Default)]
pub struct Given(Option<Arc<dyn Calculator>>);

impl Given {
    /// This calculator.
    pub fn new(calculator: Arc<dyn Calculator>) -> Self {
        Given(Some(calculator))
    }
}

impl std::fmt::Debug for Given {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Given" } else { "Missing" })
    }
}

impl PartialEq for Given {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(one), Some(another)) => Arc::ptr_eq(one, another),
            _ => true,
        }
    }
}

impl Default for ObjectSettings {
    fn default() -> Self {
        ObjectSettings {
            object: String::new(),
            batch: 1,
            call_limit_seconds: None,
            end_after_failures: None,
            given: Given::default(),
        }
    }
}

impl ObjectSettings {
    /// The refusal of a process that has only the name of the object.
    fn missing(&self) -> Error {
        Error::bad_input(format!(
            "the potential is an object of the Python process that started the run ({}), and a configuration cannot make it; resume the \
             run in Python and give the calculator there, or start a new run with kind = \"ase\" and its import path",
            self.object
        ))
    }
}

impl Kind for ObjectSettings {
    const NAME: &'static str = "object";
    const FORM: Option<Form> = None;
    const IN_FILES: bool = false;

    fn check(&self) -> Result<()> {
        check_count("batch", self.batch)?;
        check_positive("call_limit_seconds", self.call_limit_seconds, "seconds")?;
        check_count("end_after_failures", self.end_after_failures.unwrap_or(1))
    }

    fn describe(&self) -> String {
        self.object.clone()
    }

    #[cfg(unix)]
    fn open(&self, _system: Option<&System>, _place: &Place) -> Result<Box<dyn Potential>> {
        let calculator = self.given.0.clone().ok_or_else(|| self.missing())?;
        Ok(Box::new(External::object(self, calculator)))
    }

    #[cfg(not(unix))]
    fn open(&self, _system: Option<&System>, _place: &Place) -> Result<Box<dyn Potential>> {
        Err(super::kind::needs_unix())
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::potential::{Evaluation, PotentialSettings};
    use crate::system::{Cell, Vec3};
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    /// Answers with the height of the first atom as the energy; `act` decides about each call by its number, from 0.
    struct Heights<F>(AtomicUsize, F);

    impl<F: Fn(usize) -> Option<Result<Answer>> + Send + Sync> Calculator for Heights<F> {
        fn evaluate(&self, structures: &[Structure]) -> std::result::Result<Vec<Answer>, String> {
            let act = (self.1)(self.0.fetch_add(1, Ordering::Relaxed));
            let height = |s: &Structure| Evaluation { energy: s.positions[0][2], forces: vec![[0.0; 3]; s.n_atoms()] };
            match act {
                None => Ok(structures.iter().map(|s| Answer::Done(height(s))).collect()),
                Some(Ok(answer)) => Ok(structures.iter().map(|_| answer.clone()).collect()),
                Some(Err(error)) => Err(error.to_string()),
            }
        }
    }

    fn structures(n: usize) -> Vec<Structure> {
        let positions = |k: usize| -> Vec<Vec3> { vec![[0.0, 0.0, k as f64], [1.5, 2.0, 3.0]] };
        (0..n).map(|k| Structure::new(Cell::NONE, vec![78, 78], positions(k))).collect()
    }

    fn potential(
        keys: &str,
        act: impl Fn(usize) -> Option<Result<Answer>> + Send + Sync + 'static,
    ) -> Box<dyn Potential> {
        let mut settings: PotentialSettings =
            toml::from_str(&format!("kind = 'object'\nobject = 'here:Heights'\n{keys}")).unwrap();
        settings.give(Given::new(Arc::new(Heights(AtomicUsize::new(0), act))));
        crate::potential::open(&settings, None, "cpu").unwrap()
    }

    fn answers(potential: &dyn Potential, n: usize) -> Result<Vec<Answer>> {
        let mut answers = vec![None; n];
        potential.evaluate(&structures(n), &mut |delivered| {
            delivered.into_iter().for_each(|(k, answer)| answers[k] = Some(answer));
            Ok(())
        })?;
        Ok(answers.into_iter().flatten().collect())
    }

    #[test]
    fn every_structure_gets_its_own_answer() {
        for keys in ["", "batch = 3"] {
            let answers = answers(&*potential(keys, |_| None), 7).unwrap();
            let energies: Vec<f64> = answers
                .iter()
                .map(|answer| match answer {
                    Answer::Done(evaluation) => evaluation.energy,
                    Answer::Failed(why) => panic!("{why}"),
                })
                .collect();
            assert_eq!(energies, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        }
    }

    #[test]
    fn a_failure_is_an_answer_and_many_end_the_run() {
        let raises = || Some(Ok(Answer::Failed("ValueError: no\nmore".into())));
        let some = answers(&*potential("", move |call| if call == 1 { raises() } else { None }), 3).unwrap();
        assert_eq!(some[1], Answer::Failed("given up because the potential raised ValueError: no".into()));
        let nan = || Answer::Done(Evaluation { energy: f64::NAN, forces: vec![[0.0; 3]; 2] });
        let some = answers(&*potential("", move |call| (call == 0).then(|| Ok(nan()))), 3).unwrap();
        let reason = "given up because the potential gave an energy or forces that are not numbers";
        assert_eq!(some[0], Answer::Failed(reason.into()));

        let error = answers(&*potential("end_after_failures = 2", move |_| raises()), 9).unwrap_err();
        assert_eq!(error.exit_code(), 3);
        assert!(
            error
                .to_string()
                .starts_with("the potential failed at 2 structures in a row, the last time because it raised")
        );
        let error = answers(&*potential("", |_| Some(Err(Error::bad_input("it is gone")))), 2).unwrap_err();
        assert_eq!(error.to_string(), "it is gone");
    }

    /// Whoever waits for a call that hangs gives up; the thread that hangs holds nobody up.
    #[test]
    fn a_call_that_hangs_ends_the_run() {
        let hang = Arc::new(Mutex::new(()));
        let held = hang.lock().unwrap();
        let inside = Arc::clone(&hang);
        let potential = potential("call_limit_seconds = 0.1", move |_| {
            drop(inside.lock());
            None
        });
        let error = answers(&*potential, 2).unwrap_err();
        let sentence = "the calculator gave no answer within 0.100 s, and a call in this process cannot be ended";
        assert!(error.to_string().starts_with(sentence), "{error}");
        drop(potential);
        drop(held);
    }

    /// An interruption waits for the call that is under way, and its answer is not lost.
    #[test]
    fn an_interruption_keeps_the_answer_under_way() {
        let begun = Arc::new(AtomicUsize::new(0));
        let inside = Arc::clone(&begun);
        let potential = potential("", move |_| {
            inside.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(200));
            None
        });
        let mut kept = 0;
        let outcome = potential.evaluate(&structures(5), &mut |delivered| {
            kept += delivered.len();
            while begun.load(Ordering::Relaxed) == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(Error::Interrupted)
        });
        assert!(matches!(outcome, Err(Error::Interrupted)));
        assert_eq!((kept, begun.load(Ordering::Relaxed)), (1, 1));
    }

    #[test]
    fn a_name_alone_is_refused() {
        let settings: PotentialSettings =
            toml::from_str("kind = 'object'\nobject = 'ase.calculators.emt:EMT'").unwrap();
        let Err(error) = crate::potential::open(&settings, None, "cpu") else { panic!("it opens") };
        assert_eq!(error.exit_code(), 2);
        let sentence =
            "the potential is an object of the Python process that started the run (ase.calculators.emt:EMT), and";
        assert!(error.to_string().starts_with(sentence), "{error}");
        let error = toml::from_str::<PotentialSettings>("kind = 'object'\nworkers = 2").unwrap_err();
        assert!(
            error.message().contains("the potential \"object\" has no parameter workers; it takes object, batch"),
            "{error}"
        );
    }
}
