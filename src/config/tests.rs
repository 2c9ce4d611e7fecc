use super::*;
use crate::model::Weighting;
use tempfile::TempDir;

fn shipped(name: &str) -> Settings {
    Settings::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("configs").join(name)).unwrap()
}

/// A run folder keeps a configuration of the same search, which needs no file outside the folder.
#[test]
fn resolved_configurations_read_back_the_same() {
    for name in [
        "pt-adatom.toml",
        "pt-heptamer.toml",
        "../docs/results/configs/pt-heptamer-ffg.toml",
        "../docs/results/configs/pt-heptamer-mace.toml",
        "../docs/results/configs/pt-heptamer-small.toml",
        "../docs/results/configs/pt-heptamer-ffg-placed.toml",
        "../docs/results/configs/pt-heptamer-ffg-small.toml",
        "../docs/results/configs/pt-heptamer-placed.toml",
        "pt-heptamer-plain.toml",
        "../docs/results/configs/pt-adatom-paper.toml",
        "lj13.toml",
        "smoke.toml",
    ] {
        let mut settings = shipped(name);
        settings.sections.search.seed = 17;
        let folder = TempDir::new().unwrap();
        let path = folder.path().join(RUN_CONFIG);
        settings.copy_files(folder.path()).unwrap();
        std::fs::write(&path, settings.to_toml()).unwrap();
        let again = Settings::load(&path).unwrap();
        assert_eq!(again.sections, settings.sections, "{name}");
        assert_eq!(again.system, settings.system, "{name}");
        assert_eq!(again.to_toml(), settings.to_toml(), "{name}");
        assert_eq!(Settings::seed_of_run(folder.path()), Some(17));
        again.copy_files(folder.path()).unwrap();
    }
}

#[test]
fn keys_left_out_take_the_documented_defaults() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("least.toml");
    std::fs::write(&path, "[system]\nfree = 'Pt4'\n[potential]\nkind = 'emt'\n").unwrap();
    let settings = Settings::load(&path).unwrap();
    let File { model, diffusion, search, training, .. } = &settings.sections;
    assert_eq!((model.features, model.blocks, model.radial_functions, model.cutoff_angstrom), (32, 3, 30, 6.0));
    assert_eq!((diffusion.sigma_min_angstrom, diffusion.sigma_max_angstrom, diffusion.rho), (0.01, 1.0, 1));
    assert_eq!((diffusion.steps, diffusion.t_min, diffusion.score_scale), (300, 0.005, 1.0));
    assert_eq!((search.iterations, search.samples_per_iteration, search.buffer), (20, 128, 64));
    assert_eq!((search.kt_initial_ev, search.kt_final_ev, search.min_distance_angstrom), (5.0, 0.02, None));
    assert_eq!((search.energy_floor_ev, search.energy_ceiling_ev), (None, None));
    assert_eq!((training.steps_per_iteration, training.batch, training.learning_rate), (2000, 16, 1e-3));
    assert_eq!((training.weight_decay, training.gradient_clip), (0.01, 10.0));
    assert_eq!((training.final_learning_rate, training.decay().last), (Some(1e-5), 1e-2));
    assert_eq!(training.weighting, Weighting::Published);
    assert_eq!(settings.setup().precision, crate::engine::Storage::F32);
    assert!(settings.system.is_free_cluster());
}

/// An empty section is enough.
#[test]
fn guidance_has_the_papers_strength() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("least.toml");
    std::fs::write(&path, "[system]\nfree = 'Pt4'\n[potential]\nkind = 'emt'\n[guidance]\n").unwrap();
    let setup = Settings::load(&path).unwrap().setup();
    let guidance = setup.guidance.unwrap();
    assert_eq!((guidance.eta, guidance.zeta, guidance.history, guidance.max_step_angstrom), (0.2, 3.0, 10, 0.1));
    assert_eq!((guidance.force_weight, guidance.huber_delta_ev_per_angstrom), (1.0, 1.0));
    assert!(setup.sizes.force_head);
    let plain = shipped("pt-heptamer.toml").setup();
    assert!(plain.guidance.is_none() && !plain.sizes.force_head);
}

#[test]
fn heights_count_from_the_templates_top() {
    let settings = shipped("pt-heptamer.toml");
    let top = settings.system.template_positions.iter().map(|r| r[2]).fold(f64::NEG_INFINITY, f64::max);
    let confinement = settings.system.confinement.unwrap();
    assert_eq!((confinement.z_lo, confinement.z_hi), (top + 1.0, top + 6.0));
    assert_eq!((settings.system.n_template(), settings.system.n_free()), (72, 7));
}

/// Hops and relaxation on learned forces have a section of their own; samples do neither by default.
#[test]
fn proposals_are_the_reverse_process_by_default() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("least.toml");
    std::fs::write(&path, "[system]\nfree = 'Pt4'\n[potential]\nkind = 'emt'\n[guidance]\n[proposals]\n").unwrap();
    let settings = Settings::load(&path).unwrap();
    let proposals = settings.sections.proposals.unwrap();
    assert_eq!((proposals.relax_steps, proposals.hop_share), (0, 0.0));
    assert_eq!((proposals.hop_angstrom, proposals.exchange_share, proposals.hop_tries), (1.5, 0.25, 5));
}

#[test]
fn configurations_are_text() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("c.toml");
    std::fs::write(&path, b"\xff\xfe[\0s\0").unwrap();
    let error = Settings::load(&path).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().ends_with("c.toml: is not text in UTF-8; save the configuration as plain text in UTF-8"));
}

/// Initial moments by element: kept in the run folder, checked, and for calculators of ASE alone.
#[test]
fn initial_moments_are_checked() {
    let (folder, run) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let path = folder.path().join("c.toml");
    let load = |moments: &str, potential: &str| {
        let text = format!("[system]\nfree = 'Fe2O'\ninitial_moments = {moments}\n[potential]\n{potential}\n");
        std::fs::write(&path, text).unwrap();
        Settings::load(&path)
    };
    let ase = "kind = 'ase'\ncalculator = 'a:B'";
    let settings = load("{ Fe = 2.2 }", ase).unwrap();
    assert_eq!(
        settings.system.extras.as_ref().unwrap().to_json(),
        "{\"arrays\":{\"initial_magmoms\":[2.2,2.2,0.0]},\"info\":{}}"
    );
    std::fs::write(run.path().join(RUN_CONFIG), settings.to_toml()).unwrap();
    let again = Settings::load(&run.path().join(RUN_CONFIG)).unwrap();
    assert_eq!((&again.sections, &again.system), (&settings.sections, &settings.system));
    for (moments, potential, sentence) in [
        (
            "{ Fx = 2.2 }",
            ase,
            "c.toml, line 3: system.initial_moments: there is no element Fx; write symbols, as in { Fe",
        ),
        ("{ Ni = 2.2 }", ase, "system.initial_moments: the system has no Ni; leave it out"),
        ("{ Fe = nan }", ase, "system.initial_moments.Fe is nan: write a finite number"),
        ("{ Fe = '2' }", ase, "line 3"),
        ("{ Fe = 2.2 }", "kind = 'emt'", "system.initial_moments: only calculators of ASE know magnetic moments"),
    ] {
        let error = load(moments, potential).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains(sentence), "{error}\n  not {sentence}");
    }
}
