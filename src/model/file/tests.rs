use super::*;
use crate::model::initial_parameters;
use proptest::prelude::*;

fn model(force_head: bool) -> ModelFile {
    let sizes = ModelSizes { features: 4, blocks: 2, radial_functions: 3, cutoff_angstrom: 4.5, force_head };
    ModelFile {
        sizes,
        radial_basis: None,
        parameters: initial_parameters(&Layout::new(&sizes), 9),
        sde: Sde { sigma_min: 0.02, sigma_max: 0.7, rho: 3 },
        weighting: Weighting::Dsm,
        species: vec![29, 78],
        score_learned: true,
    }
}

/// The model's bytes with its JSON header changed by `edit`, the data left alone.
fn edited(model: &ModelFile, edit: impl FnOnce(&mut Value)) -> Vec<u8> {
    let bytes = model.to_bytes(Precision::Single).unwrap();
    let end = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut header: Value = serde_json::from_slice(&bytes[8..end]).unwrap();
    edit(&mut header);
    let header = header.to_string().into_bytes();
    [&(header.len() as u64).to_le_bytes()[..], &header, &bytes[end..]].concat()
}

fn complaint(bytes: &[u8]) -> String {
    ModelFile::from_bytes(bytes).unwrap_err()
}

#[test]
fn round_trip_in_both_precisions() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    for force_head in [false, true] {
        for stored in [None, Some(RadialBasis { offsets: vec![0.1, 2.0, 4.1], widths: vec![0.3, 0.7, 1.0 / 3.0] })] {
            for precision in [Precision::Single, Precision::Double] {
                let model = ModelFile { radial_basis: stored.clone(), ..model(force_head) };
                model.write(&path, precision).unwrap();
                assert_eq!(ModelFile::read(&path).unwrap(), model);
                assert_eq!(std::fs::read(&path).unwrap(), model.to_bytes(precision).unwrap());
            }
        }
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn doubles_keep_their_digits() {
    let mut model = model(false);
    model.parameters.iter_mut().for_each(|x| *x += 1e-12);
    let read = |precision| ModelFile::from_bytes(&model.to_bytes(precision).unwrap()).unwrap();
    assert_eq!(read(Precision::Double), model);
    assert_ne!(read(Precision::Single), model);
}

#[test]
fn the_basis_is_the_stored_one_or_even() {
    let stored = RadialBasis { offsets: vec![0.0, 2.0, 4.0], widths: vec![1.0; 3] };
    assert_eq!(model(false).basis(), RadialBasis::even(3, 4.5));
    assert_eq!(ModelFile { radial_basis: Some(stored.clone()), ..model(false) }.basis(), stored);
}

#[test]
fn describes_itself() {
    let lines = model(true).describe();
    for part in ["features          4", "3 (even)", "4.5 Å", "score, force", "29, 78", "0.02 to 0.7 Å, ρ = 3", "dsm"]
    {
        assert!(lines.contains(part), "{part} in\n{lines}");
    }
    assert!(lines.contains(&format!("parameters        {}", model(true).parameters.len())));
    assert!(ModelFile { species: vec![], ..model(false) }.describe().contains("unknown"));
}

#[test]
fn damaged_files_are_refused() {
    let bytes = model(false).to_bytes(Precision::Single).unwrap();
    for cut in [0, 5, 100, bytes.len() - 1] {
        assert!(complaint(&bytes[..cut]).starts_with("not a whole safetensors file: "));
    }
    assert!(complaint(b"anything else at all").starts_with("not a whole safetensors file: "));
    let mut poisoned = bytes.clone();
    let n = poisoned.len();
    poisoned[n - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    assert_eq!(complaint(&poisoned), "the tensor score.2.scalar_net.1.bias holds NaN: the model is damaged");
}

/// As in files from before it was written down.
#[test]
fn without_rho_noise_levels_are_linear() {
    let bytes = edited(&model(false), |header| {
        header["__metadata__"].as_object_mut().unwrap().remove("rho");
    });
    assert_eq!(ModelFile::from_bytes(&bytes).unwrap().sde, Sde { sigma_min: 0.02, sigma_max: 0.7, rho: 1 });
}

#[test]
fn missing_and_impossible_metadata_are_refused() {
    for key in
        ["features", "blocks", "n_rbf", "cutoff", "sigma_min", "sigma_max", "weighting", "species", "format_version"]
    {
        let bytes = edited(&model(false), |header| {
            header["__metadata__"].as_object_mut().unwrap().remove(key);
        });
        assert_eq!(complaint(&bytes), format!("the metadata lack '{key}': this is no model file of godiff"));
    }
    for (key, value, sentence) in [
        ("features", "-4", "the metadata give 'features' as '-4', which is not a number of that kind"),
        ("features", "0", "the model must have 1 to 4096 features, not 0"),
        ("cutoff", "six", "the metadata give 'cutoff' as 'six', which is not a number of that kind"),
        ("cutoff", "-6", "the model's cutoff must be above 0 and at most 100 Å, not -6"),
        ("sigma_max", "0.001", "sigma_max must be a finite number of Å above sigma_min = 0.02, not 0.001"),
        ("rho", "0", "rho must be a whole number from 1 to 16, not 0"),
        ("rho", "1.5", "the metadata give 'rho' as '1.5', which is not a number of that kind"),
        ("weighting", "elbo", "the metadata give 'weighting' as 'elbo': known are dsm and published"),
        ("species", "78 Pt", "the metadata give 'species' as '78 Pt', but 'Pt' is no atomic number below 100"),
        ("species", "100", "the metadata give 'species' as '100', but '100' is no atomic number below 100"),
        ("format_version", "2", "was written by a newer godiff (model format 2); update godiff to read it"),
        ("format_version", "0", "the model file has format_version '0', but this program reads version 1 only"),
        ("format_version", "x", "the model file has format_version 'x', but this program reads version 1 only"),
    ] {
        let bytes = edited(&model(false), |header| header["__metadata__"][key] = value.into());
        assert_eq!(complaint(&bytes), sentence);
    }
    let bytes = edited(&model(false), |header| {
        header.as_object_mut().unwrap().remove("__metadata__");
    });
    assert_eq!(complaint(&bytes), "the metadata lack 'format_version': this is no model file of godiff");
}

#[test]
fn wrong_tensors_are_refused() {
    fn rename(header: &mut Value, from: &str, to: &str) {
        let tensors = header.as_object_mut().unwrap();
        let entry = tensors.remove(from).unwrap();
        tensors.insert(to.to_owned(), entry);
    }
    let bias = "score.2.scalar_net.1.bias";
    let lost = edited(&model(false), |header| rename(header, bias, "buffer.kept"));
    assert_eq!(complaint(&lost), format!("the tensor {bias} is missing"));
    let foreign = edited(&model(false), |header| rename(header, bias, "score.3.bias"));
    assert!(complaint(&foreign).starts_with("the tensor score.3.bias belongs to no model of 4 features and 2 blocks"));
    let turned = edited(&model(false), |header| {
        header["representation.filter_net.weight"]["shape"] = json!([3, 24]);
    });
    assert_eq!(
        complaint(&turned),
        "the tensor representation.filter_net.weight has shape [3, 24], but the sizes in the metadata ask for [24, 3]"
    );
    let integers = edited(&model(false), |header| header[bias]["dtype"] = "I32".into());
    assert_eq!(complaint(&integers), format!("the tensor {bias} is of type I32, but must be F32 or F64"));
    let half_a_head = edited(&model(true), |header| rename(header, "force.0.mix_vectors.weight", "buffer.lost"));
    assert_eq!(complaint(&half_a_head), "the tensor force.0.mix_vectors.weight is missing");

    let stored = ModelFile { radial_basis: Some(RadialBasis::even(3, 4.5)), ..model(false) };
    let one_sided = edited(&stored, |header| rename(header, WIDTHS, "buffer.widths"));
    assert_eq!(complaint(&one_sided), format!("the tensor {WIDTHS} is missing although {OFFSETS} is there"));
    let one_sided = edited(&stored, |header| rename(header, OFFSETS, "buffer.offsets"));
    assert_eq!(complaint(&one_sided), format!("the tensor {OFFSETS} is missing although {WIDTHS} is there"));
    let short = ModelFile { radial_basis: Some(RadialBasis::even(2, 4.5)), ..model(false) };
    assert!(complaint(&short.to_bytes(Precision::Single).unwrap()).contains("another number"));
}

#[test]
fn buffers_and_optimizers_are_ignored() {
    let model = model(false);
    let bytes = edited(&model, |header| {
        header["optimizer.steps"] = json!({ "dtype": "I64", "shape": [0], "data_offsets": [0, 0] });
        header["buffer.cutoff"] = json!({ "dtype": "F16", "shape": [0], "data_offsets": [0, 0] });
    });
    assert_eq!(ModelFile::from_bytes(&bytes).unwrap(), model);
}

#[test]
fn files_that_cannot_be_read_or_written() {
    let folder = tempfile::tempdir().unwrap();
    let absent = folder.path().join("absent.safetensors");
    let error = ModelFile::read(&absent).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("absent.safetensors: the model file cannot be read"), "{error}");
    let nowhere = folder.path().join("no/folder/model.safetensors");
    let error = model(false).write(&nowhere, Precision::Single).unwrap_err();
    assert_eq!(error.exit_code(), 4);
    assert!(error.to_string().contains("no/folder/model.safetensors: its folder is not there"), "{error}");
    let mut diverged = model(false);
    diverged.parameters[7] = 1e300;
    let error = diverged.write(&absent, Precision::Single).unwrap_err();
    assert_eq!(error.exit_code(), 1);
    assert!(error.to_string().contains("representation.embedding.weight holds 1e300"), "{error}");
    assert!(!absent.exists());
    diverged.write(&absent, Precision::Double).unwrap();
}

proptest! {
    #[test]
    fn mutated_files_never_panic(position in 0usize..4000, byte: u8, cut in 0usize..40) {
        let mut bytes = model(false).to_bytes(Precision::Single).unwrap();
        bytes[position] = byte;
        bytes.truncate(bytes.len() - cut);
        let _ = ModelFile::from_bytes(&bytes);
    }

    #[test]
    fn random_bytes_never_panic(bytes: Vec<u8>) {
        prop_assert!(ModelFile::from_bytes(&bytes).is_err());
    }
}

/// A model of forces alone says so, everywhere; files of others say nothing of it.
#[test]
fn a_model_of_forces_alone_says_so() {
    let alone = ModelFile { score_learned: false, ..model(true) };
    assert_eq!(ModelFile::from_bytes(&alone.to_bytes(Precision::Double).unwrap()).unwrap(), alone);
    let said = |model: &ModelFile| model.metadata().get("score").is_some();
    assert!(said(&alone) && !said(&model(true)));
    assert!(alone.describe().contains("score (untrained), force"));
    let path = Path::new("m.safetensors");
    assert!(model(false).require_score(path).is_ok());
    let error = alone.require_score(path).unwrap_err().to_string();
    assert!(error.starts_with("m.safetensors: the model learned forces alone"), "{error}");
}
