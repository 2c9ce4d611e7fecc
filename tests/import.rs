//! `godiff import`: checkpoints of the authors' programs.

use godiff::engine::Weighting;
use godiff::model::{Layout, ModelFile, Precision, import};
use proptest::prelude::*;
use std::io::{Cursor, Read, Write};
use std::path::PathBuf;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

/// Made by tests/python/torch_checkpoint.py.
const TINY: &[u8] = include_bytes!("fixtures/tiny.ckpt");

fn import_bytes(bytes: &[u8]) -> godiff::Result<ModelFile> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.ckpt");
    std::fs::write(&path, bytes).unwrap();
    import(&path)
}

/// The sentence of a refusal, without the path it begins with.
fn complaint(bytes: &[u8]) -> String {
    let error = import_bytes(bytes).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    let sentence = error.to_string();
    sentence.split_once("model.ckpt: ").unwrap_or_else(|| panic!("no path in '{sentence}'")).1.to_owned()
}

/// The fixture packed anew with every entry changed by `edit`; `None` leaves it out.
fn repacked(method: CompressionMethod, edit: impl Fn(&str, Vec<u8>) -> Option<Vec<u8>>) -> Vec<u8> {
    let mut old = ZipArchive::new(Cursor::new(TINY)).unwrap();
    let mut new = ZipWriter::new(Cursor::new(Vec::new()));
    for index in 0..old.len() {
        let mut entry = old.by_index(index).unwrap();
        let name = entry.name().unwrap().into_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        if let Some(content) = edit(&name, content) {
            new.start_file(name, SimpleFileOptions::default().compression_method(method)).unwrap();
            new.write_all(&content).unwrap();
        }
    }
    new.finish().unwrap().into_inner()
}

/// The fixture with one text in its pickle replaced by another of the same length.
fn retold(from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    repacked(CompressionMethod::Stored, |name, mut content| {
        if name == "archive/data.pkl" {
            let places: Vec<usize> =
                (0..content.len() - from.len()).filter(|k| content[*k..].starts_with(from.as_bytes())).collect();
            assert!(!places.is_empty(), "the pickle holds '{from}'");
            for k in places {
                content[k..k + to.len()].copy_from_slice(to.as_bytes());
            }
        }
        Some(content)
    })
}

fn expected_parameters(n: usize) -> Vec<f64> {
    (0..n).map(|k| ((7919 * k % 1000) as f64 - 500.0) / 512.0).collect()
}

/// Strides, offsets, doubles, parameters, both heads, species and noise levels of the fixture.
#[test]
fn tiny_checkpoint() {
    let model = import_bytes(TINY).unwrap();
    let sizes = model.sizes;
    assert_eq!((sizes.features, sizes.blocks, sizes.radial_functions, sizes.force_head), (4, 2, 3, true));
    assert_eq!(sizes.cutoff_angstrom, 4.5);
    let layout = Layout::new(&sizes);
    let expected = expected_parameters(layout.n_parameters());
    for tensor in &layout.tensors {
        assert_eq!(model.parameters[tensor.range()], expected[tensor.range()], "{}", tensor.name);
    }
    let basis = model.radial_basis.as_ref().unwrap();
    assert_eq!((&basis.offsets[..], &basis.widths[..]), (&[0.0, 2.25, 4.5][..], &[2.375; 3][..]));
    assert_eq!((model.sde.sigma_min, model.sde.sigma_max), (0.02, 2.0));
    assert_eq!((model.weighting, &model.species[..]), (Weighting::Published, &[29, 78][..]));

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    model.write(&path, Precision::Single).unwrap();
    assert_eq!(ModelFile::read(&path).unwrap(), model);
}

#[test]
fn deflated_archives_are_read_too() {
    let deflated = repacked(CompressionMethod::Deflated, |_, content| Some(content));
    assert!(deflated.len() < TINY.len());
    assert_eq!(import_bytes(&deflated).unwrap(), import_bytes(TINY).unwrap());
}

#[test]
fn a_bare_state_dict_has_the_papers_noise_levels_and_unknown_species() {
    let model = import_bytes(&retold("hyper_parameters", "other_parameters")).unwrap();
    assert_eq!((model.sde.sigma_min, model.sde.sigma_max), (0.01, 1.0));
    let model = import_bytes(&retold("optimizer_states", "optimizer_absent")).unwrap();
    assert!(model.species.is_empty());
}

#[test]
fn without_its_buffer_the_cutoff_is_the_last_radial_function() {
    let model = import_bytes(&retold("score_model.representation.cutoff_fn", "other_model.representation.cutoff_fn"));
    assert_eq!(model.unwrap().sizes.cutoff_angstrom, 4.5);
}

#[test]
fn files_that_are_no_checkpoints() {
    let folder = tempfile::tempdir().unwrap();
    let error = import(&folder.path().join("absent.ckpt")).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("absent.ckpt: the checkpoint cannot be read: "), "{error}");
    let error = import(folder.path()).unwrap_err();
    assert_eq!(error.exit_code(), 2);

    let no_zip = "not a whole zip archive, as torch.save has written them since PyTorch 1.6: ";
    assert!(complaint(b"").starts_with(no_zip));
    assert!(complaint(b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.").starts_with(no_zip));
    assert!(complaint(&TINY[..TINY.len() / 2]).starts_with(no_zip));

    let without = |lost: &'static str| repacked(CompressionMethod::Stored, move |name, x| (name != lost).then_some(x));
    assert_eq!(complaint(&without("archive/data.pkl")), "the archive holds no data.pkl: torch.save did not write it");
    let pickle = |bytes: &'static [u8]| {
        repacked(CompressionMethod::Stored, move |name, x| {
            Some(if name == "archive/data.pkl" { bytes.to_vec() } else { x })
        })
    };
    assert_eq!(complaint(&pickle(b"\x80\x02}")), "its pickle ends early, inside the opcode at byte 3");
    assert_eq!(complaint(&pickle(b"\x80\x02}h\x07.")), "its pickle makes no sense at byte 3");
    assert_eq!(
        complaint(&pickle(b"\x80\x02S'text'\n.")),
        "its pickle uses opcode 0x53 at byte 2, which model files do not need"
    );
    assert_eq!(
        complaint(&pickle(b"\x80\x02}.")),
        "the checkpoint holds no tensor representation.embedding.weight: it is no PaiNN of SchNetPack"
    );
    let big = repacked(CompressionMethod::Stored, |name, x| {
        Some(if name == "archive/byteorder" { b"big".to_vec() } else { x })
    });
    assert_eq!(
        complaint(&big),
        "the checkpoint was written on a big-endian machine: save it again on a little-endian one"
    );
}

#[test]
fn models_of_another_kind() {
    let filters = "score_model.representation.filter_net.weight";
    assert_eq!(
        complaint(&retold(filters, "other_model.representation.filter_net.weight")),
        "its tensor representation.filter_net.weight is missing"
    );
    assert_eq!(
        complaint(&retold("heads.1.net.2.mix_vectors.weight", "other.1.net.2.mix_vectors.weight")),
        "its tensor other.1.net.2.mix_vectors.weight belongs to no model of 4 features and 2 blocks: the checkpoint holds \
         another architecture"
    );
    assert_eq!(
        complaint(&retold("heads.0.net.0.scalar_net.0.weight", "other.0.net.0.scalar_net.0.weight")),
        "its tensor score_model.heads.0.net.0.scalar_net.0.weight is missing"
    );
    assert_eq!(
        complaint(&retold(
            "representation.mixing.1.mu_channel_mix.weight",
            "representation.filter_net.bias---------------"
        ))
        .split(" belongs")
        .next(),
        Some("its tensor representation.filter_net.bias---------------")
    );
    assert_eq!(
        complaint(&retold("FloatStorage", "Int32Storage")),
        "its tensor representation.cutoff_fn.cutoff is stored as torch.Int32Storage, but must be torch.FloatStorage or \
         torch.DoubleStorage"
    );
    assert_eq!(
        complaint(&retold("sigma_max", "sigma_min")),
        "in its hyperparameters sigma_max must be a finite number of Å above sigma_min = 2, not 1"
    );
}

#[test]
fn damaged_storages() {
    // storage 5 holds the filters' bias: cutoff, widths, offsets, embedding and filter weights come before
    let bias = "archive/data/5";
    let with = |content: Option<Vec<u8>>| {
        repacked(CompressionMethod::Stored, move |name, x| if name == bias { content.clone() } else { Some(x) })
    };
    let name = "its tensor representation.filter_net.bias";
    assert!(complaint(&with(None)).starts_with(&format!("{name} has no storage: archive/data/5 cannot be read")));
    assert_eq!(complaint(&with(Some(vec![0; 8]))), format!("{name} has a storage of 8 bytes instead of 96"));
    assert_eq!(
        complaint(&with(Some(vec![0; 100]))),
        format!("{name} has no storage: archive/data/5 in the archive is larger than the 96 bytes expected")
    );
    let nan = f32::NAN.to_le_bytes().repeat(24);
    assert_eq!(complaint(&with(Some(nan))), format!("{name} holds NaN: the model is damaged"));
}

fn reference_dir() -> Option<PathBuf> {
    let dir = std::env::var_os("GODIFF_REFERENCE_DIR").map(PathBuf::from);
    if dir.is_none() {
        eprintln!("skipped: GODIFF_REFERENCE_DIR is not set");
    }
    dir
}

/// The authors' adatom checkpoint against the same weights as PyTorch read them.
#[test]
fn published_checkpoint() {
    let Some(dir) = reference_dir() else { return };
    let model = import(&dir.join("stepped_Pt_T0.02.ckpt")).unwrap();
    let sizes = model.sizes;
    assert_eq!((sizes.features, sizes.blocks, sizes.radial_functions, sizes.force_head), (64, 4, 30, false));
    assert_eq!(sizes.cutoff_angstrom, 6.0);
    assert_eq!(model.species, [78]);
    assert_eq!((model.sde.sigma_min, model.sde.sigma_max), (0.01, 1.0));

    let bytes = std::fs::read(dir.join("painn_stepped_published.safetensors")).unwrap();
    let reference = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let values = |name: &str| -> Vec<f64> {
        let view = reference.tensor(name).unwrap();
        match view.dtype() {
            safetensors::Dtype::F32 => {
                view.data().as_chunks().0.iter().map(|x| f64::from(f32::from_le_bytes(*x))).collect()
            }
            safetensors::Dtype::F64 => view.data().as_chunks().0.iter().map(|x| f64::from_le_bytes(*x)).collect(),
            other => panic!("{name} is {other:?}"),
        }
    };
    let layout = Layout::new(&sizes);
    for tensor in &layout.tensors {
        let name = format!("param.{}", tensor.name);
        assert_eq!(reference.tensor(&name).unwrap().shape(), tensor.shape, "{name}");
        assert_eq!(model.parameters[tensor.range()], values(&name)[..], "{name}");
    }
    assert_eq!(reference.names().iter().filter(|name| name.starts_with("param.")).count(), layout.tensors.len());
    let basis = model.radial_basis.unwrap();
    assert_eq!(basis.offsets, values("buffer.representation.radial_basis.offsets"));
    assert_eq!(basis.widths, values("buffer.representation.radial_basis.widths"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn damaged_archives_never_panic(edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = TINY.to_vec();
        for (index, byte) in edits {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = import_bytes(&bytes);
    }

    /// Damage that the archive's checksums do not see.
    #[test]
    fn damaged_pickles_never_panic(edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let bytes = repacked(CompressionMethod::Stored, |name, mut content| {
            if name == "archive/data.pkl" {
                for (index, byte) in &edits {
                    let at = index.index(content.len());
                    content[at] = *byte;
                }
            }
            Some(content)
        });
        let _ = import_bytes(&bytes);
    }
}
