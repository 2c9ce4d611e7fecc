//! Simulated annealing (Kirkpatrick, Gelatt and Vecchi, Science 220, 671, 1983) by several independent chains: each makes a
//! Metropolis walk (Metropolis et al., J. Chem. Phys. 21, 1087, 1953) on the bare energy while its temperature falls. After its
//! last move the lowest structure is relaxed, and the chain starts again from a random structure.
//!
//! Everything random in a move is a function of the seed, the number of the cooling and the number of the move, so a resumed run
//! makes the same moves.

use super::ledger::Ledger;
use super::{Minimum, Slot, record};
use crate::archive::Status;
use crate::config::{AnnealingMoves, AnnealingSettings, Settings};
use crate::diffusion::temperature;
use crate::error::Result;
use crate::potential::relax::{RelaxSettings, Walker};
use crate::potential::{Answer, Evaluation};
use crate::proposal::{Placement, Random, below, displaced, relocate, shake, uniform};
use crate::random::{Purpose, host_generator};
use crate::run::{Activity, RunStatus, Session};
use crate::system::vector::{norm, sub};
use crate::system::{ShortestDistance, Structure, Vec3};

/// Moves for each free atom after which the step follows the share of accepted moves.
const MOVES_AN_ATOM: usize = 20;
/// The share of accepted moves that the step aims at.
const AIM: f64 = 0.4;
/// Shortest and longest step, Å.
const STEPS: [f64; 2] = [0.05, 2.0];

pub struct Annealing<'a> {
    settings: &'a Settings,
    own: AnnealingSettings,
    limits: RelaxSettings,
    placement: Placement<'a>,
    shortest: ShortestDistance,
    ledger: Ledger,
    chains: Vec<Chain>,
}

impl<'a> Annealing<'a> {
    pub fn new(settings: &'a Settings, budget: u64) -> Self {
        let sections = &settings.sections;
        let own = sections.annealing.unwrap_or_default();
        let block = MOVES_AN_ATOM * settings.system.n_free();
        Annealing {
            settings,
            own,
            limits: sections.relaxation.unwrap_or_default().into(),
            placement: Placement::new(settings),
            shortest: sections.search.shortest_distance(),
            ledger: Ledger::new(own.kt_initial_ev, budget, record(settings)),
            chains: (0..own.chains as u64).map(|number| Chain::new(number, own, block)).collect(),
        }
    }

    /// The next structure of chain `k` that is worth an evaluation. Moves that are not are made, and rejected, on the way.
    fn next(&mut self, k: usize, session: &Session) -> Result<Structure> {
        loop {
            let chain = &self.chains[k];
            if let Some(slot) = &chain.relaxing {
                return Ok(slot.start.clone());
            }
            let Some(at) = &chain.at else {
                self.chains[k].trial = self.placement.structure(chain.number)?;
                return Ok(self.settings.system.structure(&self.chains[k].trial));
            };
            if chain.n_moves == self.own.moves_per_cooling {
                self.end_cooling(k);
                continue;
            }
            let (trial, chance) = self.propose(chain, &at.free);
            let allowed = session.judge.rejects(&trial).is_none() && self.stays_contained(&at.free, &trial);
            let chain = &mut self.chains[k];
            (chain.trial, chain.chance) = (trial, chance);
            if allowed {
                return Ok(self.settings.system.structure(&chain.trial));
            }
            chain.decide(None);
            session.stop.check_user()?;
        }
    }

    /// The structure that the next move of `chain` leads to from `free`, and the number in [0, 1) that decides about it.
    fn propose(&self, chain: &Chain, free: &[Vec3]) -> (Vec<Vec3>, f64) {
        let stream = chain.number << 32 | chain.n_moves as u64;
        let mut random = host_generator(self.settings.sections.search.seed, Purpose::Annealing, stream);
        let chance = uniform(&mut random);
        let relocated = if uniform(&mut random) < self.own.relocate_share {
            relocate(&self.placement, free, &mut random)
        } else {
            None
        };
        (relocated.unwrap_or_else(|| self.moved(chain, free, &mut random)), chance)
    }

    fn moved(&self, chain: &Chain, free: &[Vec3], random: &mut Random) -> Vec<Vec3> {
        let system = &self.settings.system;
        match self.own.moves {
            AnnealingMoves::AllAtoms => shake(system, free, chain.step, self.shortest, random),
            AnnealingMoves::OneAtom => {
                let atom = below(random, free.len());
                let by = [0; 3].map(|_| chain.step * (2.0 * uniform(random) - 1.0));
                displaced(system, free, atom, by)
            }
        }
    }

    /// Whether no atom leaves the container, if there is one, in the move from `at` to `trial`. A start may lie outside; its atoms
    /// may move inwards.
    fn stays_contained(&self, at: &[Vec3], trial: &[Vec3]) -> bool {
        self.own.container_angstrom.is_none_or(|radius| farthest(trial) <= radius.max(farthest(at)))
    }

    /// Ends the walk of chain `k`: its lowest structure is relaxed, or the next cooling begins.
    fn end_cooling(&mut self, k: usize) {
        let chain = &mut self.chains[k];
        match chain.lowest.take().filter(|_| self.own.relax_lowest) {
            Some(lowest) => {
                let start = self.settings.system.structure(&lowest.free);
                chain.relaxing = Some(Slot { walker: Walker::new(&start), start });
            }
            None => chain.cool_again(),
        }
    }

    /// Takes the answer for `trial`, the structure of chain `k`; gives the next one.
    fn take(&mut self, k: usize, answer: Answer, mut trial: Structure, session: &Session) -> Result<Structure> {
        let chain = &mut self.chains[k];
        if let Some(mut slot) = chain.relaxing.take() {
            if slot.walker.advance(answer, &mut trial.positions, &self.limits).is_none() {
                chain.relaxing = Some(slot);
                return Ok(trial);
            }
            self.ledger.relaxation_ended(k);
            chain.cool_again();
        } else {
            let counts = session.judge.status(&answer) == Status::Ok;
            chain.decide(match answer {
                Answer::Done(Evaluation { energy, .. }) if counts => Some(energy),
                _ => None,
            });
        }
        self.next(k, session)
    }
}

impl Activity for Annealing<'_> {
    fn n_rounds(&self) -> u32 {
        self.ledger.n_iterations()
    }

    fn work(&mut self, session: &mut Session) -> Result<RunStatus> {
        self.ledger.begin(session)?;
        let mut trials = (0..self.chains.len()).map(|k| self.next(k, session)).collect::<Result<Vec<Structure>>>()?;
        loop {
            let kts_ev: Vec<f64> = self.chains.iter().map(Chain::kt_ev).collect();
            let Some(answers) = self.ledger.evaluate(session, &trials, &kts_ev)? else { break };
            let evaluated = answers.into_iter().zip(std::mem::take(&mut trials));
            for (k, (answer, trial)) in evaluated.enumerate() {
                trials.push(self.take(k, answer, trial, session)?);
            }
        }
        Ok(RunStatus::Done)
    }

    fn settle(&mut self, session: &mut Session, status: RunStatus) -> Result<()> {
        self.ledger.settle(session, status)
    }
}

/// The largest distance of an atom from the centre of all, Å.
fn farthest(free: &[Vec3]) -> f64 {
    let centre: Vec3 = std::array::from_fn(|x| free.iter().map(|r| r[x]).sum::<f64>() / free.len() as f64);
    free.iter().map(|&r| norm(sub(r, centre))).fold(0.0, f64::max)
}

/// The state of one chain.
struct Chain {
    own: AnnealingSettings,
    /// Number of its present cooling in the run: that of the chain, plus the number of chains for every cooling before.
    number: u64,
    /// Moves after which the step is adapted.
    block: usize,
    /// Moves of this cooling.
    n_moves: usize,
    /// Moves accepted since the step was adapted.
    n_accepted: usize,
    /// Largest displacement along each axis, Å.
    step: f64,
    /// None before the random structure of this cooling is evaluated.
    at: Option<Minimum>,
    /// The lowest structure of this cooling.
    lowest: Option<Minimum>,
    /// The free atoms (n × 3, Å) that are evaluated.
    trial: Vec<Vec3>,
    /// The random number in [0, 1) that decides about them.
    chance: f64,
    /// The relaxation at the end of the cooling.
    relaxing: Option<Slot>,
}

impl Chain {
    /// The chain whose first cooling is number `number`; its step is adapted after every `block` moves.
    fn new(number: u64, own: AnnealingSettings, block: usize) -> Self {
        Chain {
            own,
            number,
            block,
            n_moves: 0,
            n_accepted: 0,
            step: own.step_angstrom,
            at: None,
            lowest: None,
            trial: Vec::new(),
            chance: 0.0,
            relaxing: None,
        }
    }

    /// The temperature of the present move, eV: from the first to the last in equal ratios.
    fn kt_ev(&self) -> f64 {
        temperature(self.n_moves, self.own.moves_per_cooling, self.own.kt_initial_ev, self.own.kt_final_ev)
    }

    /// Accepts or rejects the trial of `energy` (eV; `None` if it does not count) by the rule of Metropolis. A random structure
    /// that does not count is replaced by the next one.
    fn decide(&mut self, energy: Option<f64>) {
        let Some(at) = &self.at else {
            match energy {
                Some(energy) => self.arrive(energy),
                None => self.cool_again(),
            }
            return;
        };
        let kt_ev = self.kt_ev();
        self.n_moves += 1;
        if let Some(energy) = energy
            && self.chance < libm::exp(((at.energy - energy) / kt_ev).min(0.0))
        {
            self.n_accepted += 1;
            self.arrive(energy);
        }
        if self.n_moves.is_multiple_of(self.block) {
            let accepted = self.n_accepted as f64 / self.block as f64;
            self.step = (self.step * libm::exp(accepted - AIM)).clamp(STEPS[0], STEPS[1]);
            self.n_accepted = 0;
        }
    }

    fn arrive(&mut self, energy: f64) {
        let here = Minimum { free: std::mem::take(&mut self.trial), energy };
        if self.lowest.as_ref().is_none_or(|lowest| energy < lowest.energy) {
            self.lowest = Some(here.clone());
        }
        self.at = Some(here);
    }

    /// Begins the next cooling of this chain.
    fn cool_again(&mut self) {
        *self = Chain::new(self.number + self.own.chains as u64, self.own, self.block);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Fixture;
    use crate::potential::{LennardJones, LennardJonesSettings, Potential};
    use crate::system::System;

    /// Sixty moves of the Lennard-Jones cluster of 13 atoms, move by move, against an independent program.
    #[test]
    fn a_chain_follows_the_reference_move_by_move() {
        let file = Fixture::read("annealing_lj13.safetensors");
        let system = System::new(None, "Ar13", None, None).unwrap();
        let settings = LennardJonesSettings { sigma_angstrom: 2.7, cutoff_angstrom: Some(50.0), ..Default::default() };
        let potential = LennardJones::new(settings).unwrap();
        let energy_of = |free: &[Vec3]| {
            let mut energy = f64::NAN;
            let mut keep = |answers: Vec<(usize, Answer)>| {
                for (_, answer) in answers {
                    let Answer::Done(evaluation) = answer else { panic!("Lennard-Jones always answers") };
                    energy = evaluation.energy;
                }
                Ok(())
            };
            potential.evaluate(&[system.structure(free)], &mut keep).unwrap();
            energy
        };
        let own = AnnealingSettings {
            kt_initial_ev: 2.0,
            kt_final_ev: 0.05,
            moves_per_cooling: 60,
            step_angstrom: 0.4,
            ..AnnealingSettings::default()
        };
        let mut chain = Chain::new(0, own, 20);
        chain.trial = file.vectors("start");
        chain.decide(Some(energy_of(&file.vectors("start"))));
        let atoms: Vec<usize> = file.integers("atom").into_iter().map(|atom| atom as usize).collect();
        let flags = |name: &str| file.integers(name).into_iter().map(|flag| flag != 0).collect::<Vec<bool>>();
        let (directions, chances) = (file.vectors("direction"), file.numbers("uniforms"));
        let (kts, steps, energies) = (file.numbers("kt"), file.numbers("step"), file.numbers("trial_energy"));
        let (too_close, accepted) = (flags("trial_too_close"), flags("accepted"));
        assert!(accepted.contains(&true) && accepted.contains(&false), "the reference knows both");
        let near = |found: f64, expected: f64| (found - expected).abs() <= 1e-12 * expected.abs();
        for k in 0..60 {
            assert!(near(chain.kt_ev(), kts[k]) && near(chain.step, steps[k]), "move {k}");
            let at = chain.at.clone().unwrap();
            chain.trial = displaced(&system, &at.free, atoms[k], directions[k].map(|x| chain.step * x));
            chain.chance = chances[k];
            let room = system.has_room(&chain.trial, ShortestDistance::Same(1.0));
            assert_eq!(!room, too_close[k], "move {k}");
            let energy = room.then(|| energy_of(&chain.trial));
            assert!(energy.is_none_or(|energy| (energy - energies[k]).abs() <= 1e-10 * energies[k].abs().max(1.0)));
            chain.decide(energy);
            assert_eq!(chain.at != Some(at), accepted[k], "move {k}");
        }
        let (end, expected) = (chain.at.unwrap(), file.vectors("end"));
        assert!(end.free.iter().flatten().zip(expected.iter().flatten()).all(|(&a, &b)| (a - b).abs() < 1e-12));
        assert!(near(end.energy, file.numbers("end_energy")[0]));
        assert!(chain.lowest.unwrap().energy <= end.energy);
    }

    #[test]
    fn the_container_is_around_the_centre() {
        assert_eq!(farthest(&[[1.0, 0.0, 0.0], [5.0, 0.0, 0.0]]), 2.0);
        assert_eq!(farthest(&[[7.0, -3.0, 2.0]]), 0.0);
    }

    #[test]
    fn a_chain_that_finds_no_start_takes_the_next_one() {
        let mut chain = Chain::new(1, AnnealingSettings::default(), 20);
        chain.decide(None);
        assert_eq!((chain.number, chain.n_moves, chain.at.is_none()), (5, 0, true));
    }
}
