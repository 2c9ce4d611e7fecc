use super::*;
use tempfile::TempDir;

/// [`CheckpointFolder::newest`] for the configuration of [`example`].
fn newest(checkpoints: &CheckpointFolder) -> Result<Option<(Checkpoint, Vec<String>)>> {
    checkpoints.newest(&[7, u32::MAX])
}

/// A checkpoint with numbers whose every bit counts.
pub fn example(iterations_done: u32, n_parameters: usize) -> Checkpoint {
    let array = |scale: f64| (1..=n_parameters).map(|k| scale / k as f64).collect();
    Checkpoint {
        progress: SearchProgress {
            iterations_done,
            seed: u64::MAX,
            evaluations: 311,
            samples: 320,
            training_steps: 0,
            best: Some(Best { energy_ev: 0.1 + 0.2, iteration: 7, index: 3 }),
            target_first_evaluation: None,
            seconds: 1e-7 / 3.0,
        },
        config_checksum: u32::MAX,
        model: ModelState {
            parameters: array(-1.0),
            first_moment: array(1e-310),
            second_moment: array(f64::MAX),
            steps: 1 << 60,
            schedule: PlateauSchedule { learning_rate: 1e-4 * 0.95, best: Some(1.0 / 3.0), bad_epochs: 99 },
        },
    }
}

#[test]
fn every_bit_survives() {
    for n in [0, 1, 1000] {
        let mut checkpoint = example(3, n);
        if let Some(parameter) = checkpoint.model.parameters.first_mut() {
            *parameter = -0.0;
        }
        let back = Checkpoint::from_bytes(&checkpoint.to_bytes()).unwrap();
        assert_eq!(back, checkpoint);
        let bits = |c: &Checkpoint| c.model.parameters.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&back), bits(&checkpoint));
    }
}

#[test]
fn every_changed_byte_is_noticed() {
    let bytes = example(1, 3).to_bytes();
    for position in 0..bytes.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut changed = bytes.clone();
            changed[position] ^= flip;
            let result = Checkpoint::from_bytes(&changed);
            assert!(matches!(result, Err(Flaw::Damaged(_))), "byte {position}: {result:?}");
        }
    }
}

#[test]
fn every_truncation_is_noticed() {
    let bytes = example(1, 3).to_bytes();
    for length in 0..bytes.len() {
        let result = Checkpoint::from_bytes(&bytes[..length]);
        assert!(matches!(result, Err(Flaw::Damaged(_))), "{length} bytes: {result:?}");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert!(matches!(Checkpoint::from_bytes(&longer), Err(Flaw::Damaged(_))));
}

/// `bytes` with `change` applied and a checksum that fits again.
fn resealed(mut bytes: Vec<u8>, change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let end = bytes.len() - SUFFIX;
    change(&mut bytes[..end]);
    let checksum = crc32fast::hash(&bytes[..end]).to_le_bytes();
    bytes[end..].copy_from_slice(&checksum);
    bytes
}

/// Lengths that would ask for more memory than there is, under a right checksum.
#[test]
fn impossible_lengths_allocate_nothing() {
    for field in [12, 20] {
        for length in [u64::MAX, u64::MAX / 24 + 1, 1 << 40, 0] {
            let bytes = resealed(example(1, 3).to_bytes(), |bytes| {
                bytes[field..field + 8].copy_from_slice(&length.to_le_bytes());
            });
            assert!(matches!(Checkpoint::from_bytes(&bytes), Err(Flaw::Damaged(_))), "{field} {length}");
        }
    }
}

#[test]
fn other_formats_are_refused() {
    let folder = TempDir::new().unwrap();
    let checkpoints = CheckpointFolder::open(folder.path().to_owned()).unwrap();
    checkpoints.write(&example(1, 3)).unwrap();
    checkpoints.write(&example(2, 3)).unwrap();
    let path = folder.path().join("iteration-00002.bin");
    for (version, sentence) in [
        (2, "iteration-00002.bin: was written by a newer godiff (checkpoint format 2); update godiff"),
        (0, "iteration-00002.bin: was written by an older godiff (checkpoint format 0), and this one resumes from"),
    ] {
        fs::write(&path, resealed(example(2, 3).to_bytes(), |bytes| bytes[8] = version)).unwrap();
        for error in [newest(&checkpoints).unwrap_err(), Checkpoint::read(&path).unwrap_err()] {
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains(sentence), "{error}");
        }
    }
}

#[test]
fn the_last_two_are_kept() {
    let folder = TempDir::new().unwrap();
    let checkpoints = CheckpointFolder::open(folder.path().join("checkpoint")).unwrap();
    assert!(newest(&checkpoints).unwrap().is_none());
    for number in [8, 9, 10, 11] {
        checkpoints.write(&example(number, 3)).unwrap();
    }
    let mut numbers: Vec<_> = checkpoints.files().unwrap().into_iter().map(|(number, _)| number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [10, 11]);
    assert_eq!(newest(&checkpoints).unwrap(), Some((example(11, 3), vec![])));
}

#[test]
fn a_damaged_checkpoint_gives_way_to_the_one_before() {
    let folder = TempDir::new().unwrap();
    let checkpoints = CheckpointFolder::open(folder.path().to_owned()).unwrap();
    checkpoints.write(&example(1, 3)).unwrap();
    checkpoints.write(&example(2, 3)).unwrap();
    let path = folder.path().join("iteration-00002.bin");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..100]).unwrap();
    let error = Checkpoint::read(&path).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("is not a usable checkpoint: its checksum does not match"), "{error}");
    let (checkpoint, notes) = newest(&checkpoints).unwrap().unwrap();
    assert_eq!(checkpoint, example(1, 3));
    assert_eq!(notes.len(), 1);
    assert!(notes[0].contains("iteration-00002.bin is not usable"), "{notes:?}");
    assert!(notes[0].contains("resuming from the checkpoint before it, after iteration 1"), "{notes:?}");
    assert!(notes[0].ends_with("(the unusable one is now called iteration-00002.bin.unusable)"), "{notes:?}");
    assert_eq!(fs::read(path.with_extension("bin.unusable")).unwrap(), bytes[..100]);
    fs::write(&path, "torn").unwrap();
    let (_, notes) = newest(&checkpoints).unwrap().unwrap();
    assert!(notes[0].ends_with("now called iteration-00002.bin.unusable-2)"), "{notes:?}");
    fs::write(&path, "torn").unwrap();

    fs::write(folder.path().join("iteration-00001.bin"), "").unwrap();
    let error = newest(&checkpoints).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("no checkpoint is usable"), "{error}");

    checkpoints.write(&example(1, 3)).unwrap();
    assert_eq!(checkpoints.files().unwrap().len(), 1, "a damaged later one is cleared away");
    assert_eq!(newest(&checkpoints).unwrap(), Some((example(1, 3), vec![])));
}

/// Copied between runs or under another number.
#[test]
fn a_checkpoint_from_elsewhere_gives_way_to_the_one_before() {
    let folder = TempDir::new().unwrap();
    let checkpoints = CheckpointFolder::open(folder.path().to_owned()).unwrap();
    checkpoints.write(&example(1, 3)).unwrap();
    let path = folder.path().join("iteration-00002.bin");
    let foreign = Checkpoint { config_checksum: 1, ..example(2, 3) };
    for (checkpoint, why) in [
        (&foreign, "is not usable: it belongs to another configuration; resuming from"),
        (&example(7, 3), "is not usable: it is the one after iteration 7; resuming from"),
    ] {
        fs::write(&path, checkpoint.to_bytes()).unwrap();
        let (found, notes) = newest(&checkpoints).unwrap().unwrap();
        assert_eq!(found, example(1, 3));
        assert!(notes.len() == 1 && notes[0].contains(why), "{notes:?}");
    }
    fs::remove_file(folder.path().join("iteration-00001.bin")).unwrap();
    fs::write(&path, foreign.to_bytes()).unwrap();
    let error = newest(&checkpoints).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("its checkpoint belongs to another configuration than"), "{error}");
    assert!(path.exists(), "what a refused run holds stays as it is");
}

/// The next checkpoint replaces a folder of the same name.
#[test]
fn a_folder_in_a_checkpoints_place_is_set_aside() {
    let folder = TempDir::new().unwrap();
    let checkpoints = CheckpointFolder::open(folder.path().to_owned()).unwrap();
    checkpoints.write(&example(1, 3)).unwrap();
    fs::create_dir_all(folder.path().join("iteration-00002.bin/inside")).unwrap();
    assert_eq!(newest(&checkpoints).unwrap().unwrap().0, example(1, 3));
    checkpoints.write(&example(2, 3)).unwrap();
    assert_eq!(newest(&checkpoints).unwrap(), Some((example(2, 3), vec![])));
    assert!(folder.path().join("iteration-00002.bin.unusable/inside").exists());
}

/// A kill in the middle of writing leaves the file under its temporary name.
#[test]
fn half_written_checkpoints_are_not_seen() {
    let folder = TempDir::new().unwrap();
    let checkpoints = CheckpointFolder::open(folder.path().to_owned()).unwrap();
    checkpoints.write(&example(1, 3)).unwrap();
    let half = folder.path().join(".iteration-00002.bin.77.unfinished");
    fs::write(&half, &example(2, 3).to_bytes()[..50]).unwrap();
    assert_eq!(newest(&checkpoints).unwrap(), Some((example(1, 3), vec![])));
    CheckpointFolder::open(folder.path().to_owned()).unwrap();
    assert!(!half.exists());
}
