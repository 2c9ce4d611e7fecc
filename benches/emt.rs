//! Time of one EMT evaluation (energy and all forces) on one core: the Pt₇ task, with the template's share kept and whole,
//! and a batch on all cores. ASE's time for the same is measured by `peer/emt_ase.py`.

#[path = "../tests/common/mod.rs"]
mod common;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use godiff::potential::{Emt, Potential};
use godiff::system::{Structure, System};

fn emt(criterion: &mut Criterion) {
    let all = common::read("tests/fixtures/potentials.xyz.gz");
    let random: Vec<Structure> = all.into_iter().take(6).map(|reference| reference.structure).collect();
    let hexagon = common::read("configs/structures/pt7-hexagon-hcp.xyz").remove(0).structure;
    for (name, structures) in [("random Pt7", random), ("relaxed Pt7 island", vec![hexagon])] {
        let first = &structures[0];
        let system = System {
            cell: first.cell,
            template_numbers: first.numbers[..72].to_vec(),
            template_positions: first.positions[..72].to_vec(),
            free_numbers: first.numbers[72..].to_vec(),
            mobile: Default::default(),
            extras: None,
            molecules: Default::default(),
            confinement: None,
        };
        let kept = Emt::with_system(false, &system).expect("platinum has parameters");
        // The relaxed island stands on a relaxed slab, which is its own template here.
        let mut group = criterion.benchmark_group(name);
        for (how, emt) in [("template kept", &kept), ("whole", &Emt::new(false))] {
            let mut next = structures.iter().cycle();
            group.bench_function(how, |bencher| {
                bencher.iter(|| next.next().map(|structure| emt.energy_and_forces(black_box(structure))));
            });
        }
        let batch: Vec<Structure> = structures.iter().cycle().take(256).cloned().collect();
        group.throughput(Throughput::Elements(batch.len() as u64));
        group.bench_function("batch of 256 on all cores", |bencher| {
            bencher.iter(|| {
                kept.evaluate(black_box(&batch), &mut |answers| {
                    black_box(answers);
                    Ok(())
                })
            });
        });
        group.finish();
    }
}

criterion_group!(benches, emt);
criterion_main!(benches);
