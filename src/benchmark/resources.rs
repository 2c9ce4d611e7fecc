//! How runs share the machine: its cores, or one or several cards.

use crate::engine::cuda::Cuda;
use crate::engine::{self, Engine, Setup};
use crate::error::{Error, Result};
use crate::gpu::{Device, Place};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// How the runs share the machine.
pub struct Resources {
    /// The devices that runs are spread over, at least one.
    replicas: Vec<Replica>,
    /// Runs at a time.
    side_by_side: usize,
    /// Threads of one run.
    threads_a_run: usize,
}

/// Where the engine of a search comes from.
pub(crate) enum Replica {
    /// Each run has its own engine, on the CPU.
    Host(&'static str),
    /// Each run has its own stream on this card.
    Card(Device),
}

impl Replica {
    /// An engine at this place.
    pub(crate) fn engine(&self, setup: &Setup) -> Result<Box<dyn Engine>> {
        match self {
            Replica::Host(device) => engine::open(device, setup),
            Replica::Card(device) => Ok(Box::new(Cuda::new(device, setup)?)),
        }
    }
}

impl Resources {
    /// Runs on `devices` (as `--device` names them: one, or several cards), `side_by_side` at a time, which share `n_threads`
    /// threads. Without `side_by_side` every run on a CPU has one thread, since single threads waste nothing, and a card takes
    /// one run at a time.
    ///
    /// # Errors
    /// `BadInput` for a device that this build or machine does not have.
    pub fn new(devices: &str, side_by_side: Option<usize>, n_threads: usize) -> Result<Self> {
        let open = |place: Place| match place {
            Place::Gpu(name) => Ok(Replica::Card(Device::open(&name)?)),
            Place::Cpu => Ok(Replica::Host("cpu")),
            Place::CpuF64 => Ok(Replica::Host("cpu-f64")),
        };
        let replicas: Vec<Replica> = Place::list(devices)?.into_iter().map(open).collect::<Result<_>>()?;
        let on_cards = matches!(replicas[0], Replica::Card(_));
        let side_by_side = side_by_side.unwrap_or(if on_cards { replicas.len() } else { n_threads }).max(1);
        Ok(Resources { replicas, side_by_side, threads_a_run: (n_threads / side_by_side).max(1) })
    }

    /// Calls `work` with the number of every task, from 0 on, and the device that it must use. As many tasks work at a time as
    /// runs may. After the first error no further task is started.
    ///
    /// # Errors
    /// The first error of `work`; `Failed` if no threads can be started.
    pub(crate) fn share(&self, n_tasks: usize, work: &(dyn Fn(usize, &Replica) -> Result<()> + Sync)) -> Result<()> {
        let next = AtomicUsize::new(0);
        let failure: Mutex<Option<Error>> = Mutex::new(None);
        let failure_so_far = || failure.lock().unwrap_or_else(PoisonError::into_inner);
        let worker = |replica: &Replica| -> Result<()> {
            let threads = rayon::ThreadPoolBuilder::new().num_threads(self.threads_a_run).build();
            let threads = threads.map_err(|cause| Error::Failed(format!("cannot start threads: {cause}")))?;
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= n_tasks || failure_so_far().is_some() {
                    return Ok(());
                }
                threads.install(|| work(number, replica))?;
            }
        };
        std::thread::scope(|scope| {
            for place in 0..self.side_by_side.min(n_tasks) {
                let replica = &self.replicas[place % self.replicas.len()];
                scope.spawn(|| {
                    if let Err(error) = worker(replica) {
                        failure_so_far().get_or_insert(error);
                    }
                });
            }
        });
        let failure = failure_so_far().take();
        failure.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_task_is_done_once() {
        let resources = Resources::new("cpu", Some(3), 2).unwrap();
        let done = Mutex::new(Vec::new());
        resources
            .share(20, &|number, _| {
                done.lock().unwrap().push(number);
                Ok(())
            })
            .unwrap();
        let done = done.into_inner().unwrap();
        assert_eq!((done.len(), done.iter().collect::<BTreeSet<_>>().len()), (20, 20));
        resources.share(0, &|_, _| Err(Error::Interrupted)).unwrap();
    }

    #[test]
    fn nothing_is_begun_after_an_error() {
        let resources = Resources::new("cpu", Some(1), 1).unwrap();
        let done = AtomicUsize::new(0);
        let outcome = resources.share(20, &|number, _| {
            done.fetch_add(1, Ordering::Relaxed);
            if number == 4 { Err(Error::Interrupted) } else { Ok(()) }
        });
        assert!(matches!(outcome, Err(Error::Interrupted)));
        assert_eq!(done.into_inner(), 5);
    }

    #[cfg(feature = "emulator")]
    #[test]
    fn runs_are_spread_over_all_devices() {
        let resources = Resources::new("emulator:0,3", None, 2).unwrap();
        // Each waits for the other, so both devices must be at work.
        let both = std::sync::Barrier::new(2);
        let names = Mutex::new(BTreeSet::new());
        resources
            .share(2, &|_, replica| {
                both.wait();
                let Replica::Card(device) = replica else { panic!("no card") };
                names.lock().unwrap().insert(device.properties().name.clone());
                Ok(())
            })
            .unwrap();
        let names: Vec<String> = names.into_inner().unwrap().into_iter().collect();
        assert_eq!(names, ["emulator:0", "emulator:3"]);
    }

    #[test]
    fn lists_of_devices_are_checked() {
        for (devices, sentence) in [
            ("cuda:1,1", "device 'cuda:1,1': cuda:1 is named twice"),
            ("cuda:0,first", "one device is expected here, such as cuda:0"),
            ("cuda:0,", "one device is expected here, such as cuda:0"),
            ("cpu,cpu", "unknown device 'cpu,cpu'"),
        ] {
            let error = Place::list(devices).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains(sentence), "{devices}: {error}");
        }
        assert_eq!(Place::list("cuda:0,2").unwrap(), ["cuda:0", "cuda:2"].map(|name| Place::Gpu(name.into())));
        assert_eq!(Place::list("cuda:1").unwrap(), [Place::Gpu("cuda:1".into())]);
        assert!(Place::of("cuda:0,1").unwrap_err().to_string().contains("spread over several, named as in cuda:0,1"));
    }
}
