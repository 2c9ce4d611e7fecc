//! Every parser with its valid inputs, its words, and what must hold for what it accepts.

use super::engine::{Form, Pack, Parser, root};
use super::mutate::Random;
use godiff::config::Settings;
use godiff::landscape::Landscape;
use godiff::model::{ModelFile, Precision, parse_checkpoint};
use godiff::potential::PotentialSettings;
use godiff::potential::external::ask;
use godiff::run::{Checkpoint, Flaw, IterationMetrics, RunDirectory, Segment, Summary, parse_metrics};
use godiff::system::elements::parse_formula;
use godiff::system::poscar::{format_poscar, parse_poscar};
use godiff::system::xyz::{format_frames, parse_frames, read_frames};
use godiff::system::{Structure, read_structure};
use rand::RngExt;
use std::fs;
use std::io::{Cursor, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use zip::write::SimpleFileOptions;

/// What any parser may take: tables, messages, buffers.
const KB: usize = 1000;

/// A parser's name and what makes it.
pub type Named = (&'static str, fn() -> Parser);

/// All parsers of this file.
pub fn all() -> Vec<Named> {
    vec![
        ("configuration", configuration),
        ("xyz", xyz),
        ("poscar", poscar),
        ("checkpoint", checkpoint),
        ("model", model),
        ("pickle", pickle),
        ("names", names),
        ("records", records),
        ("segments", segments),
        ("landscape", landscape),
        ("ipi", ipi),
        ("worker", worker),
    ]
}

fn file(path: &str) -> Vec<u8> {
    fs::read(root().join(path)).unwrap()
}

/// The files of a folder of the repository whose names end so.
fn files(folder: &str, ending: &str) -> Vec<Vec<u8>> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.to_string_lossy().ends_with(ending));
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn words(text: &'static str) -> Vec<&'static [u8]> {
    text.split(' ').map(str::as_bytes).collect()
}

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// What godiff itself does with bytes that are no text.
fn text(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|_| "is not text".to_owned())
}

/// The sentence of a refusal, whose exit code must be that of bad input.
fn refused(error: godiff::Error) -> String {
    assert_eq!(error.exit_code(), 2, "{error}");
    error.to_string()
}

/// Extended XYZ: what is accepted is valid, and reads back the same after it was written.
pub fn xyz() -> Parser {
    let mut seeds = files("configs/structures", ".xyz");
    seeds.push(file("tests/fixtures/emt_asap_cutoff.xyz"));
    seeds.extend(texts(&[
        "1\n\nH 0 0 0\n",
        "2\nit's a plain comment\nCu 0 0 0\nO 1 1 1 extra\n",
        "2\nLattice=\"4 0 0 0 4 0 0 0 4\" pbc=\"T T F\" energy=-1.5 free_energy=-1.6 note=\"say \\\"x\\\"\" a={1 2} b=[1, 2] \
         j=\"_JSON \\\"5\\\"\" Properties=species:S:1:pos:R:3:forces:R:3:move_mask:L:1:tag:I:1:q:R:2:label:S:1\n\
         Pt 0 0 0 0.1 0 0 T 1 0.5 0.5 a\nPt 2 2 2 -0.1 0 0 F 2 0.5 0.5 b\n",
        "1\nProperties=Z:I:1:pos:R:3:move_mask:L:3\n78 0 0 0 T T T\n1\nProperties=species:S:1:pos:R:3\npt 1 1 1\n",
        "1\nLattice=[[3.0, 0d0, 0], [0, 3, 0], [0, 0, 3D0]] note=it's b='c d' m=[[1, 2], [3, 4]] s={x \"y z\"} n=007 \
         Properties=species:S:1:pos:R:3:move_mask:L:3:q:R:1\nPt 0 0 0 F F T 1.5d-3\n",
    ]));
    Parser {
        name: "xyz",
        forms: vec![Form::raw(seeds)],
        tokens: words(
            "Lattice=\" Properties= species:S:1 pos:R:3 forces:R:3 move_mask:L:1 Z:I:1 :R:4294967295 pbc=\"T energy= _JSON \
             free_energy= T F True nan H Pt Og Xx \" ' { } [ ] \\ =",
        ),
        read: Box::new(|bytes| {
            let path = Path::new("input.xyz");
            let frames = parse_frames(text(bytes)?, path).map_err(refused)?;
            for frame in &frames {
                frame.structure.check().expect("what the reader accepts is valid");
            }
            let written = format_frames(&frames);
            let again = parse_frames(&written, path).expect("what is written can be read");
            assert_eq!(format_frames(&again), written);
            Ok(())
        }),
        memory: (100 * KB, 100),
        longest: usize::MAX,
    }
}

/// POSCAR.
pub fn poscar() -> Parser {
    let seeds = texts(&[
        "slab\n2.0\n2 0 0\n0.5 2 0\n0 0 5\nPt Au_pv\n1 2 ! counts\nSelective dynamics\nDirect\n0 0 0 F F F\n0.5 0.5 0.25 T T T Au\n\
         -0.25 0 1.5 T T T\n\n0 0 0\n0 0 0\n0 0 0\n",
        "by volume\n-216\n3 0 0\n0 0 3\n0 3 0\nH\n1\nCartesian\n1 1 1\n",
        "three factors\n2 1 0.5\n3 0 0\n0 0 3\n0 3 0\nNa_pv/6a2f546d Cl\n2 1\nkart\n1 1 1\n0 0 0\n.5 .5 .5\n",
        "broken\n1d0\n3 0 0\n0 3 0\n0 0 3\nPt AU\nCu\n1 1\n0\nSel\nfractional\n0 0 .1 F F T\n.5d0 .5 .5 T T F\n",
        "skewed\n1.0\n2.7718585823 0 0\n1.3859292912 2.4005 0\n0 0 20.5\nPt\n4\nDirect\n0 0 .1\n.3 .3 .2\n.6 .6 .3\n0 0 .4\n",
    ]);
    Parser {
        name: "poscar",
        forms: vec![Form::raw(seeds)],
        tokens: words("Direct Cartesian Selective K F T .FALSE. .TRUE. ! Pt Au_pv H / _ 0 1 -1 1.0 \n"),
        read: Box::new(|bytes| {
            let frame = parse_poscar(text(bytes)?, Path::new("POSCAR")).map_err(refused)?;
            frame.structure.check().expect("what the reader accepts is valid");
            // Atoms of many alternating elements are not written.
            if let Ok(written) = format_poscar(&frame) {
                let again = parse_poscar(&written, Path::new("POSCAR")).expect("what is written can be read");
                assert_eq!(again, frame);
            }
            Ok(())
        }),
        memory: (100 * KB, 100),
        longest: usize::MAX,
    }
}

/// Configurations, in a folder with the structures and the model that some of them name: what is accepted reads back the same.
pub fn configuration() -> Parser {
    let folder = TempDir::new().unwrap();
    for entry in fs::read_dir(root().join("configs/structures")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    let rename = |text: Vec<u8>| {
        let text = String::from_utf8(text).unwrap();
        text.replace("../../../configs/structures/", "").replace("structures/", "").into_bytes()
    };
    let shipped = ["configs", "docs/results/configs"].into_iter().flat_map(|folder| files(folder, ".toml"));
    let mut seeds: Vec<Vec<u8>> = shipped.map(rename).collect();
    seeds.extend(texts(&[
        "[system]\nfree = 'Pt4'\n[potential]\nkind = 'emt'\n",
        "system = { free = \"Au2Pt3\", cell_angstrom = [[9, 0, 0], [0, 9.5, 0], [1, 1, 9]], periodic = [true, true, false], \
         confinement = { z_angstrom = [1.0, 4.0] } }\npotential = { kind = \"lennard-jones\", epsilon_ev = 0.01, sigma_angstrom = \
         3.4, cutoff_angstrom = 10 }\n",
        "[system]\nfree = 'Pt'\n[potential]\nkind = 'ase'\ncalculator = 'a.b:C'\nworkers = 3\narguments = { x = { y = [1, 2] }, z = \
         'é', d = 1979-05-27T07:32:00Z }\ncall_limit_seconds = 9.5\n[engine]\nprecision = 'mixed'\n[guidance]\neta = 0.2\n[proposals]\nrelax_steps \
         = 3\n[placement]\nmethod = 'uniform'\n[relaxation]\nmax_steps = 100\n[random_search]\nevaluations = 100\n[basin_hopping]\n\
         walkers = 2\nrestart_after = 5\n[evolution]\npopulation = 4\n[annealing]\nmoves = 'all-atoms'\n",
        "[system]\nfree = 'Ar2'\n[potential]\nkind = 'i-pi'\ntcp_address = 'localhost:31415'\nbatch = 4\nbox_angstrom = 12.5\n",
    ]));
    let path = folder.path().join("search.toml");
    Parser {
        name: "configuration",
        forms: vec![Form::raw(seeds)],
        tokens: words(
            "[system] [potential] [model] [diffusion] [search] [training] [guidance] [transfer] [target] [evolution] free= kind= = \
             template= { } [ ] \" ' \"\"\" ''' # . , \n inf nan -inf 0x7fffffff 0b1 0o7 true false 1979-05-27 a.b.c= \\u0000 \\UFFFFFFFF",
        ),
        read: Box::new(move |bytes| {
            let (_keep, path) = (&folder, &path);
            let plain = |error: godiff::Error| refused(error).replace(&*path.parent().unwrap().to_string_lossy(), "");
            let settings = Settings::parse(text(bytes)?, path).map_err(plain)?;
            // What a run folder keeps; there the structures have names of their own.
            let (template, target) = (&settings.template, &settings.target);
            if template.is_none() && target.is_none() {
                let written = settings.to_toml();
                let again = Settings::parse(&written, path).expect("what is written can be read");
                assert_eq!(again.to_toml(), written);
            }
            Ok(())
        }),
        memory: (4000 * KB, 100),
        longest: usize::MAX,
    }
}

/// Formulas, potentials and devices as the command line takes them.
pub fn names() -> Parser {
    let seeds = texts(&[
        "Pt7",
        "Au2Pt3",
        "CO",
        "C10H16",
        "emt:asap-cutoff",
        "lennard-jones:epsilon=0.0104,sigma=3.4,cutoff=10",
        "cuda:0",
        "cpu-f64",
        "emulator:order=reverse,memory=1000000",
    ]);
    Parser {
        name: "names",
        forms: vec![Form::raw(seeds)],
        tokens: words(
            "Pt H Og 0 10000 lennard-jones emt : = , sigma= epsilon=1e308 cutoff=nan cuda emulator order= memory= fail_launch=",
        ),
        read: Box::new(|bytes| {
            let text = text(bytes)?;
            let formula = parse_formula(text).map_err(refused);
            let potential = PotentialSettings::parse_name(text).map_err(refused);
            // What "auto" is depends on the machine.
            let device = if text == "auto" { Ok(()) } else { godiff::gpu::Place::of(text).map(drop).map_err(refused) };
            assert!(formula.as_ref().is_ok_and(|numbers| !numbers.is_empty()) || formula.is_err());
            formula.map(drop).or(potential.map(drop)).or(device)
        }),
        memory: (100 * KB, 100),
        longest: usize::MAX,
    }
}

/// Model files. A changed header gets its length right, so that the tensors behind it are reached.
pub fn model() -> Parser {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("model.safetensors");
    let small = parse_checkpoint(&file("tests/fixtures/tiny.ckpt"), Path::new("tiny.ckpt")).unwrap();
    let mut models = Vec::new();
    for precision in [Precision::Single, Precision::Double] {
        for radial_basis in [None, small.radial_basis.clone()] {
            ModelFile { radial_basis, ..small.clone() }.write(&path, precision).unwrap();
            models.push(fs::read(&path).unwrap());
        }
    }
    let header_of = |bytes: &[u8]| 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let headers: Vec<Vec<u8>> = models.iter().map(|bytes| bytes[8..header_of(bytes)].to_vec()).collect();
    let data = models[0][header_of(&models[0])..].to_vec();
    let headed: Pack = Box::new(move |_, header| [&(header.len() as u64).to_le_bytes()[..], &header, &data].concat());
    Parser {
        name: "model",
        forms: vec![Form::raw(models), Form { seeds: headers, pack: headed }],
        tokens: words(
            "{ } [ ] : , \" \"F32\" \"F64\" \"I64\" \"BOOL\" \"dtype\" \"shape\":[0] \"data_offsets\":[0,0] __metadata__ features blocks n_rbf \
             cutoff sigma_min sigma_max weighting species format_version buffer. optimizer. force. representation.embedding.weight \
             18446744073709551615 4096 64 \\u0000 \\ud800",
        ),
        read: Box::new(|bytes| {
            let path = Path::new("input.safetensors");
            let model = ModelFile::parse(bytes, path).map_err(refused)?;
            assert!(!model.describe().is_empty());
            model.sizes.check().expect("what the reader accepts has possible sizes");
            Ok(())
        }),
        memory: (1500 * KB, 40),
        longest: usize::MAX,
    }
}

/// Checkpoints: half of the changed ones get their checksum and their lengths right. What is accepted is written as it was.
pub fn checkpoint() -> Parser {
    let header = concat!(
        r#"{"progress":{"iterations_done":3,"seed":7,"evaluations":321,"samples":400,"best":{"energy_ev":-1.5,"iteration":2,"index":9},"#,
        r#""target_first_evaluation":null,"seconds":12.5},"config_checksum":77,"optimiser_steps":600,"#,
        r#""schedule":{"learning_rate":0.0001,"best":0.5,"bad_epochs":3}}"#
    );
    let with_header = |header: &[u8], n: u64, arrays: &[u8]| -> Vec<u8> {
        let lengths = [&1u32.to_le_bytes()[..], &(header.len() as u64).to_le_bytes(), &n.to_le_bytes()].concat();
        let content = [&b"GODIFFCP"[..], &lengths, header, arrays].concat();
        let checksum = crc32fast::hash(&content).to_le_bytes();
        [content, checksum.to_vec()].concat()
    };
    let numbers: Vec<u8> = (0..60).flat_map(|k| (f64::from(k) - 30.5).to_le_bytes()).collect();
    let whole = with_header(header.as_bytes(), 20, &numbers);
    Checkpoint::from_bytes(&whole).expect("the seed is a checkpoint");
    let checksummed: Pack = Box::new(|random: &mut Random, mut bytes| {
        if let Some(end) = bytes.len().checked_sub(4)
            && random.random()
        {
            let checksum = crc32fast::hash(&bytes[..end]).to_le_bytes();
            bytes[end..].copy_from_slice(&checksum);
        }
        bytes
    });
    let headed: Pack = Box::new(move |_, header| with_header(&header, 20, &numbers));
    Parser {
        name: "checkpoint",
        forms: vec![
            Form { seeds: vec![whole], pack: checksummed },
            Form { seeds: vec![header.as_bytes().to_vec()], pack: headed },
        ],
        tokens: words(
            "{ } [ ] : , \" null true 1e999 -1 \"progress\": \"best\": \"seconds\": \"schedule\": GODIFFCP \\u0000 18446744073709551615",
        ),
        read: Box::new(|bytes| {
            let checkpoint = Checkpoint::from_bytes(bytes).map_err(|flaw| match flaw {
                Flaw::Damaged(why) => refused(godiff::Error::bad_file(Path::new("iteration-00001.bin"), why)),
                Flaw::Newer(version) => format!("it is of the newer format {version}"),
                Flaw::Older(version) => format!("it is of the older format {version}"),
            })?;
            let written = checkpoint.to_bytes();
            let again = Checkpoint::from_bytes(&written).expect("what is written can be read").to_bytes();
            assert_eq!(again, written);
            Ok(())
        }),
        memory: (100 * KB, 20),
        longest: usize::MAX,
    }
}

/// `summary.json` and `metrics.jsonl`.
pub fn records() -> Parser {
    let summary = serde_json::to_vec(&Summary { best_energy_ev: Some(-1.5), ..Summary::new(7, "cpu") }).unwrap();
    let line = concat!(
        r#"{"iteration":4,"kt_ev":0.3333333333333333,"samples":32,"ok":27,"too_close":2,"below_floor":0,"above_ceiling":0,"#,
        r#""not_finite":0,"failed":3,"energy_min_ev":5.5,"energy_median_ev":6.25,"energy_max_ev":1000.0,"buffer_median_ev":5.75,"#,
        r#""effective_sample_size":12.5,"loss":0.875,"force_loss":null,"learning_rate":9.5e-5,"best_energy_ev":5.4375,"#,
        r#""seconds":{"sample":1.0,"evaluate":0.75,"wait":0.5,"train":8.0}}"#
    );
    Parser {
        name: "records",
        forms: vec![Form::raw(vec![summary, format!("{line}\n{line}\n{line}\n").into_bytes()])],
        tokens: words(
            "{ } [ ] : , \" null \"ok\": \"status\":\"done\" \"seconds\": \"iteration\": 1e999 -1 18446744073709551616 \\u0000 \n",
        ),
        read: Box::new(|bytes| {
            let summary = serde_json::from_slice::<Summary>(bytes)
                .map(drop)
                .map_err(|error| refused(godiff::Error::bad_file(Path::new("summary.json"), error)));
            let lines = parse_metrics(text(bytes)?, Path::new("metrics.jsonl")).map_err(refused);
            let lines = lines.map(|lines: Vec<IterationMetrics>| assert!(lines.len() <= bytes.len()));
            // A file of one torn line is an empty one.
            if bytes.contains(&b'\n') { lines } else { summary }
        }),
        memory: (100 * KB, 100),
        longest: usize::MAX,
    }
}

/// A file that godiff reads by its name, in a folder in memory where the system has such a place.
fn written(name: &str) -> (TempDir, PathBuf) {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }.unwrap();
    let path = folder.path().join(name);
    (folder, path)
}

/// The sentence without the name of a temporary folder.
fn without(folder: &TempDir, sentence: String) -> String {
    sentence.replace(&*folder.path().to_string_lossy(), "")
}

/// `segments.json` of extended runs, with the configurations in it.
pub fn segments() -> Parser {
    let file = r#"{"format_version": 1, "segments": [
        {"asked_unix_seconds": null, "first_iteration": 0, "reached_kt_ev": null, "evaluations": 0, "changes": [],
         "target_checksum": null, "config": "[search]\niterations = 3\n"},
        {"asked_unix_seconds": 1764512345, "first_iteration": 3, "reached_kt_ev": 0.1, "evaluations": 36,
         "changes": ["search.iterations is 5 instead of 3"], "target_checksum": 77,
         "config": "[search]\niterations = 5\nkt_final_ev = 0.05\n[target]\nstructure = 'a.xyz'\n"}]}"#;
    let (folder, path) = written("segments.json");
    Parser {
        name: "segments",
        forms: vec![Form::raw(texts(&[file]))],
        tokens: words(
            "{ } [ ] : , \" null \"format_version\":1 \"config\":\" \"changes\":[\"\"] \\n [search] iterations= kt_final_ev=1e999 [[a]] \
             {a={ \"asked_unix_seconds\":18446744073709551615 -1 \\u0000 \n",
        ),
        read: Box::new(move |bytes| {
            fs::write(&path, bytes).expect("the file can be written");
            let segments = RunDirectory::segments_of(folder.path()).map_err(refused);
            let segments = segments.map_err(|sentence| without(&folder, sentence))?;
            for pair in segments.windows(2) {
                let _ = pair[1].changes_target(&pair[0]);
            }
            for segment in &segments {
                segment.search().map_err(refused).expect("what the reader accepts can be read");
                let _ = segment.describe();
            }
            let written = serde_json::to_value(&segments).expect("segments are JSON");
            let again: Vec<Segment> = serde_json::from_value(written).expect("what is written can be read");
            assert_eq!(again, segments);
            Ok(())
        }),
        memory: (1000 * KB, 200),
        longest: usize::MAX,
    }
}

/// Energy landscapes of `godiff scan`.
pub fn landscape() -> Parser {
    let file = r#"{"grid":[2,3],"a":[8.0,0.0,0.0],"b":[4.0,7.0,0.0],"energies_ev":[1.0,2.5,null,4.0,5.0,6.0],
        "heights_angstrom":[1.0,1.0,1.0,1.0,1.0,1.0],"n_evaluations":6}"#;
    let whole = file.replace("null", "3.0");
    let (folder, path) = written("scan.json");
    Parser {
        name: "landscape",
        forms: vec![Form::raw(texts(&[file, &whole]))],
        tokens: words(
            "{ } [ ] : , \" null \"grid\":[1,1] \"a\":[ \"energies_ev\":[] 1e999 -1 0 18446744073709551615 \n",
        ),
        read: Box::new(move |bytes| {
            fs::write(&path, bytes).expect("the file can be written");
            let landscape = Landscape::read(&path).map_err(refused).map_err(|sentence| without(&folder, sentence))?;
            let range = landscape.range();
            for place in [-1e308, -0.25, 0.0, 0.5, 1.0, 1e308] {
                if let Some(energy) = landscape.at(place, 0.3 * place) {
                    assert!(energy.is_finite() && range.is_some());
                }
            }
            Ok(())
        }),
        memory: (1000 * KB, 100),
        longest: usize::MAX,
    }
}

/// Entries of the authors' checkpoint: the pickle, and the storages by name.
pub type Entries = (Vec<u8>, Vec<(String, Vec<u8>)>);

/// The fixture taken apart.
pub fn unpacked(bytes: &[u8]) -> Entries {
    let mut zip = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
    let (mut pickle, mut others) = (Vec::new(), Vec::new());
    for index in 0..zip.len() {
        let mut entry = zip.by_index(index).unwrap();
        let name = entry.name().unwrap().into_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        if name.ends_with("data.pkl") { pickle = content } else { others.push((name, content)) }
    }
    (pickle, others)
}

/// An archive of a pickle and storages.
pub fn packed(pickle: &[u8], others: &[(String, Vec<u8>)], method: zip::CompressionMethod) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(method);
    let all = std::iter::once(("archive/data.pkl", pickle)).chain(others.iter().map(|(name, x)| (&name[..], &x[..])));
    for (name, content) in all {
        zip.start_file(name, options).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// Opcodes of Python's pickles and names that they call.
const OPCODES: [&[u8]; 40] = [
    b"(",
    b"0",
    b"1",
    b"2",
    b".",
    b"N",
    b"\x88",
    b")",
    b"]",
    b"}",
    b"t",
    b"l",
    b"d",
    b"a",
    b"e",
    b"s",
    b"u",
    b"R",
    b"b",
    b"Q",
    b"\x81",
    b"\x85",
    b"\x86",
    b"\x87",
    b"\x93",
    b"\x94",
    b"h\x00",
    b"h\x01",
    b"q\x00",
    b"j\x00\x00\x00\x00",
    b"K\x01",
    b"M\xff\xff",
    b"J\xff\xff\xff\x7f",
    b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f",
    b"\x8b\xff\xff\xff\x7f",
    b"\x8e\xff\xff\xff\xff\xff\xff\xff\xff",
    b"X\x04\x00\x00\x00data",
    b"cos\nsystem\n",
    b"ctorch._utils\n_rebuild_tensor_v2\n",
    b"ccollections\nOrderedDict\n",
];

/// The authors' checkpoint: the whole archive changed, and its pickle alone in an archive whose checksums fit.
pub fn pickle() -> Parser {
    let tiny = file("tests/fixtures/tiny.ckpt");
    let (pickle, others) = unpacked(&tiny);
    let deflated = packed(&pickle, &others, zip::CompressionMethod::Deflated);
    let hostile: Vec<Vec<u8>> = vec![
        pickle,
        b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00lsq\x00\x85R.".to_vec(),
        b"\x80\x02}q\x00(X\x01\x00\x00\x00a](K\x01K\x02eh\x00X\x01\x00\x00\x00b)}u.".to_vec(),
    ];
    let rewrap: Pack = Box::new(move |random, pickle| {
        let method = if random.random_range(0..8) == 0 {
            zip::CompressionMethod::Deflated
        } else {
            zip::CompressionMethod::Stored
        };
        packed(&pickle, &others, method)
    });
    Parser {
        name: "pickle",
        forms: vec![Form { seeds: hostile, pack: rewrap }, Form::raw(vec![tiny, deflated])],
        tokens: OPCODES.to_vec(),
        read: Box::new(|bytes| {
            let model = parse_checkpoint(bytes, Path::new("input.ckpt")).map_err(refused)?;
            model.sizes.check().expect("what the reader accepts has possible sizes");
            Ok(())
        }),
        memory: (2000 * KB, 120),
        longest: usize::MAX,
    }
}

/// Structures that clients are asked for.
fn questions() -> Vec<Structure> {
    let mut structure = read_frames(&root().join("tests/fixtures/emt_asap_cutoff.xyz")).unwrap().remove(0).structure;
    structure.forces = None;
    vec![structure; 3]
}

/// All that a client sends: states, then energies, number of atoms, forces, virials, texts.
fn conversation(states: &[&str], energies: &[f64], n_atoms: usize, texts: &[&str]) -> Vec<u8> {
    let mut bytes: Vec<u8> = states.iter().flat_map(|state| format!("{state:12}").into_bytes()).collect();
    energies.iter().for_each(|energy| bytes.extend(energy.to_ne_bytes()));
    bytes.extend((n_atoms as i32).to_ne_bytes());
    bytes.extend((0..3 * n_atoms * energies.len()).flat_map(|k| (0.125 * k as f64).to_ne_bytes()));
    bytes.extend(vec![0; 72 * energies.len()]);
    for text in texts {
        bytes.extend((text.len() as i32).to_ne_bytes());
        bytes.extend(text.as_bytes());
    }
    bytes
}

fn client(name: &'static str, seeds: Vec<Vec<u8>>, batch: usize, box_angstrom: Option<f64>) -> Parser {
    let structures = questions();
    Parser {
        name,
        forms: vec![Form::raw(seeds)],
        tokens: vec![
            b"READY       ",
            b"NEEDINIT    ",
            b"HAVEDATA    ",
            b"FORCEREADY  ",
            b"STATUS      ",
            b"EXIT        ",
            b"\0\0\0\0",
            b"\xff\xff\xff\xff",
            b"\xff\xff\xff\x00",
            b"\xff\xff\xff\x7f",
            b"\0\0\0\0\0\0\xf8\x7f",
            b"\0\0\0\0\0\0\xf0\x7f",
            b"{\"error\": \"",
            b"{\"a\":[",
        ],
        read: Box::new(move |bytes| {
            let (ours, mut theirs) = UnixStream::pair().expect("a pair of sockets");
            theirs.write_all(bytes).expect("the socket takes what the input has");
            theirs.shutdown(Shutdown::Write).expect("an open socket");
            let answers = ask(ours, &structures, batch, box_angstrom, Duration::from_secs(60));
            let answers = answers.map_err(|error| {
                assert_eq!(error.exit_code(), 3, "{error}");
                error.to_string()
            })?;
            assert!(!answers.is_empty() && answers.len() <= structures.len());
            for answer in answers {
                let evaluation = answer?;
                assert!(evaluation.forces.len() == structures[0].n_atoms() && evaluation.energy.is_finite());
            }
            Ok(())
        }),
        memory: (300 * KB, 20),
        // What a socket takes before anybody reads.
        longest: 100_000,
    }
}

/// A client that is asked for one structure and announces a text of `length` bytes that it never sends.
pub fn client_text(length: i32) -> Vec<u8> {
    let mut bytes = conversation(&["READY", "READY", "FORCEREADY"], &[1.5], questions()[0].n_atoms(), &[]);
    bytes.extend(length.to_ne_bytes());
    bytes
}

/// Clients of i-PI's protocol, asked for a batch.
pub fn ipi() -> Parser {
    let n = questions()[0].n_atoms();
    let seeds = vec![
        conversation(&["READY", "READY", "FORCEREADY"], &[1.5], n, &["{}"]),
        conversation(&["NEEDINIT", "READY", "READY", "FORCEREADY"], &[1.5; 4], n, &["", "", "a", ""]),
        conversation(&["READY", "READY", "FORCEREADY"], &[f64::NAN], n, &[r#"{"error": "ValueError: no"}"#]),
    ];
    client("ipi", seeds, 4, Some(30.0))
}

/// godiff's own workers with ASE calculators.
pub fn worker() -> Parser {
    let n = questions()[0].n_atoms();
    let refusal = r#"{"error": "ValueError: no such element", "more": [1, {"a": null}]}"#;
    let seeds = vec![
        conversation(&["NEEDINIT", "READY", "READY", "FORCEREADY"], &[1.5, -2.5, 0.0], n, &["", "{}", ""]),
        conversation(&["READY", "READY", "READY", "FORCEREADY"], &[1.5, f64::NAN, 0.0], n, &["", refusal, ""]),
    ];
    client("worker", seeds, 3, None)
}

/// The template of the archive's system.
pub fn template() -> Arc<Structure> {
    Arc::new(read_structure(&root().join("configs/structures/pt-stepped.xyz")).unwrap())
}
