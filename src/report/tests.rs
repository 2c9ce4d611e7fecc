//! Pages of runs that are made up here: their content, that they are well formed and that they need no other file.

use super::*;
use crate::archive::{Archive, Entry, Status};
use crate::config::Settings;
use crate::run::{IterationMetrics, RunStatus, Summary};
use crate::system::Vec3;
use crate::system::xyz::{Frame, parse_frames};
use tempfile::TempDir;

const CONFIG: &str = "\
[system]
template = \"template.xyz\"
free = \"FREE\"
confinement = { above_template_angstrom = [0.0, 4.0] }
[potential]
kind = \"emt\"
[search]
iterations = 4
samples_per_iteration = 6
buffer = 3
kt_initial_ev = 5.0
kt_final_ev = 0.05
[training]
batch = 2
";

/// A run of `n_iterations` with `n_samples` each. Its lowest energy is 5.506 eV, at the last sample of all.
fn run(folder: &Path, free: &str, n_iterations: u32, n_samples: u32) {
    fs::create_dir_all(folder).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::copy(root.join("configs/structures/pt-stepped.xyz"), folder.join("template.xyz")).unwrap();
    fs::write(folder.join("config.toml"), CONFIG.replace("FREE", free)).unwrap();
    let settings = Settings::load(&folder.join("config.toml")).unwrap();
    fs::write(folder.join("config.toml"), settings.to_toml()).unwrap();
    let system = &settings.system;
    let mut archive = Archive::create(&folder.join("archive.db"), system, "emt", 0).unwrap();
    let mut lines = String::new();
    let n_all = f64::from(n_iterations * n_samples);
    for iteration in 0..n_iterations {
        let kt_ev = 5.0 * 0.1f64.powf(2.0 * f64::from(iteration) / f64::from(n_iterations - 1));
        let entry = |index: u32| {
            let left = n_all - 1.0 - f64::from(iteration * n_samples + index);
            let spread = |k: usize, u: f64| (u * (left + 17.0 * k as f64)).fract() * 8.0;
            let place = |k: usize| -> Vec3 { [spread(k, 0.618), spread(k, 0.414), 12.0 + 0.1 * k as f64] };
            let status = if index == 1 { Status::TooClose } else { Status::Ok };
            Entry {
                iteration,
                index,
                kt_ev,
                status,
                origin: None,
                predicted_ev: None,
                free_positions: (0..system.n_free()).map(place).collect(),
                energy: (status == Status::Ok).then_some(5.506 + 0.05 * left),
                forces: None,
            }
        };
        archive.record(&(0..n_samples).map(entry).collect::<Vec<_>>()).unwrap();
        let metrics = IterationMetrics { kt_ev, ..crate::run::metrics_example(iteration) };
        lines += &format!("{}\n", serde_json::to_string(&metrics).unwrap());
    }
    fs::write(folder.join("metrics.jsonl"), lines).unwrap();
    let summary = Summary {
        status: RunStatus::Done,
        seconds: 83.0,
        samples: u64::from(n_iterations * n_samples),
        evaluations: u64::from(n_iterations * (n_samples - 1)),
        best_energy_ev: Some(5.506),
        ..Summary::new(0, "cpu")
    };
    fs::write(folder.join("summary.json"), serde_json::to_string(&summary).unwrap()).unwrap();
}

/// Writes the page of `folders` and reads it back.
fn page_of(place: &TempDir, folders: &[PathBuf]) -> String {
    let out = Some(place.path().join("out.html"));
    let written = write(&Request { folders: folders.to_vec(), out, ..Request::default() }).unwrap();
    let html = fs::read_to_string(written.page).unwrap();
    check_form(&html);
    html
}

/// Every element is closed in its order, nothing is loaded from elsewhere, no number failed, every id is unique and every
/// reference to an id finds it.
fn check_form(html: &str) {
    let body = html.strip_prefix("<!DOCTYPE html>\n").expect("a page");
    let document = resvg::usvg::roxmltree::Document::parse(body).unwrap_or_else(|cause| panic!("{cause}"));
    // The letters of coded files mean nothing.
    let coded =
        |text: &'_ str| text.split("base64,").map(|part| part.trim_start_matches(is_base64)).collect::<String>();
    for absent in ["http://", "https://", "<link", "<img", "src=", "@import", "import(", "fetch(", "NaN", "inf "] {
        assert!(!coded(html).contains(absent), "{absent}");
    }
    let scripts: Vec<_> = document.descendants().filter(|node| node.has_tag_name("script")).collect();
    let links = document.descendants().filter(|node| node.has_tag_name("a") && node.attribute("download").is_some());
    let expected: &[_] = if links.count() > 0 { &[Some("application/json"), None] } else { &[] };
    assert_eq!(scripts.iter().map(|node| node.attribute("type")).collect::<Vec<_>>(), expected);
    assert!(html.contains("content=\"default-src &#39;none&#39;;") || html.contains("content=\"default-src 'none';"));
    let mut ids: Vec<&str> = document.descendants().filter_map(|node| node.attribute("id")).collect();
    let n_ids = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), n_ids, "an id twice");
    for reference in html.split("url(#").skip(1).map(|rest| rest.split(')').next().unwrap()) {
        assert!(ids.binary_search(&reference).is_ok(), "#{reference} is not there");
    }
}

fn is_base64(character: char) -> bool {
    character.is_ascii_alphanumeric() || ['+', '/', '='].contains(&character)
}

/// Every structure on `html` as its link holds it, with the name of its file.
fn files(html: &str) -> Vec<(String, Frame)> {
    let link = |rest: &str| {
        let (name, rest) = rest.split_once("\" href=\"data:chemical/x-xyz;base64,").unwrap();
        let text = String::from_utf8(from_base64(rest.split('"').next().unwrap())).unwrap();
        let mut frames = parse_frames(&text, Path::new(name)).unwrap();
        assert_eq!(frames.len(), 1);
        (name.to_owned(), frames.remove(0))
    };
    html.split("<a download=\"").skip(1).map(link).collect()
}

fn from_base64(text: &str) -> Vec<u8> {
    let digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::new();
    let (mut bits, mut n_bits) = (0u32, 0);
    for digit in text.trim_end_matches('=').chars().map(|digit| digits.find(digit).unwrap() as u32) {
        (bits, n_bits) = (bits << 6 | digit, n_bits + 6);
        if n_bits >= 8 {
            n_bits -= 8;
            bytes.push((bits >> n_bits & 255) as u8);
        }
    }
    bytes
}

/// The page alone holds every structure as a file, and the viewer is told where its free atoms are.
#[test]
fn structures_can_be_saved_from_the_page() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("ad atom");
    run(&folder, "Pt2", 2, 6);
    let html = page_of(&place, std::slice::from_ref(&folder));
    let files = files(&html);
    assert_eq!((files[0].0.as_str(), files[1].0.as_str()), ("ad-atom-best.xyz", "ad-atom-structure-1.xyz"));
    for (name, frame) in &files {
        assert_eq!(
            (frame.structure.n_atoms(), frame.structure.fixed[19..].to_vec()),
            (22, vec![true, false, false]),
            "{name}"
        );
    }
    // The last sample of all is the lowest one.
    let settings = Settings::load(&folder.join("config.toml")).unwrap();
    let last = Archive::open(&folder.join("archive.db"), &settings.system).unwrap().get(1, 5).unwrap().unwrap();
    for (_, frame) in &files[..2] {
        assert_eq!((frame.structure.energy, &frame.structure.positions[20..]), (last.energy, &last.free_positions[..]));
    }
    let free: Vec<&str> = html.split("data-free=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert_eq!(free.len(), files.len());
    assert!(
        free.iter()
            .all(|free| free.split(' ').count() == 2 && free.split([' ', ',']).all(|u| u.parse::<f64>().is_ok()))
    );
    assert_eq!(html.matches("<dialog id=\"viewer\"").count(), 1);
}

#[test]
fn a_page_shows_the_numbers_of_its_run() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("adatom");
    run(&folder, "Pt", 4, 6);
    let html = page_of(&place, &[folder]);
    for shown in [
        "<h1>adatom <span class=\"badge done\">done</span></h1>",
        "Pt on Pt20 (20 fixed atoms)",
        "<dd>5.5060<small>eV, evaluation 20 (iteration 4, sample 6)</small>",
        "<dd>20<small>of 24 samples</small>",
        "4 too close",
        "Places of the free atoms",
        "Energies by temperature",
        "Time per phase",
        "kt_initial_ev = 5.0",
        "<tr><th scope=\"row\">seed</th><td>0</td></tr>",
    ] {
        assert!(html.contains(shown), "{shown} is not in\n{html}");
    }
    assert!(!html.contains("energy landscape"));
}

#[test]
fn a_landscape_lies_under_a_second_map() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("adatom");
    run(&folder, "Pt", 4, 6);
    let scan = r#"{"grid":[1,2],"a":[8,0,0],"b":[0,8,0],"energies_ev":[5.5,null],"heights_angstrom":[1,null],"n_evaluations":9}"#;
    fs::write(folder.join("scan.json"), scan).unwrap();
    assert!(page_of(&place, std::slice::from_ref(&folder)).contains("Places and energy landscape"));
    fs::write(folder.join("scan.json"), "{}").unwrap();
    let error = write_for_run(&folder).unwrap_err();
    assert!(error.to_string().contains("scan.json: is no landscape"), "{error}");
}

#[test]
fn hostile_names_stay_text() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("<script>alert('x')&\"");
    run(&folder, "Pt", 2, 6);
    for folders in [vec![folder.clone(), folder.clone()], vec![folder]] {
        let html = page_of(&place, &folders);
        assert!(html.contains("&lt;script&gt;alert(&#39;x&#39;)&amp;&quot;"));
        let is_plain = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || ['-', '.'].contains(&c));
        assert!(files(&html).iter().all(|(name, _)| is_plain(name)));
    }
}

#[test]
fn several_runs_are_compared() {
    let place = tempfile::tempdir().unwrap();
    let [a, b, broken] = ["bench/a/seed-0", "bench/a/seed-1", "bench/b/seed-0"].map(|name| place.path().join(name));
    run(&a, "Pt", 2, 6);
    run(&b, "Pt", 3, 6);
    fs::create_dir_all(&broken).unwrap();
    fs::write(broken.join("config.toml"), "[system]\nfree = 1\n").unwrap();
    let html = page_of(&place, &[place.path().join("bench")]);
    for shown in
        ["<h1>2 runs</h1>", "Mean lowest energy", "Every run", "left out: ", "a / seed-1", "All runs: cpu, godiff "]
    {
        assert!(html.contains(shown), "{shown} is not in\n{html}");
    }
    // A column is there for what differs.
    let path = b.join("summary.json");
    let other = fs::read_to_string(&path).unwrap().replace("\"cpu\"", "\"cuda:1\"");
    fs::write(&path, other).unwrap();
    let html = page_of(&place, &[place.path().join("bench")]);
    assert!(html.contains("<th scope=\"col\">device</th>") && html.contains("All runs: godiff "), "{html}");
    // A benchmark with one started run is not that run.
    fs::remove_dir_all(&b).unwrap();
    assert!(page_of(&place, &[place.path().join("bench/a")]).contains("<h1>1 run</h1>"));
    let request = Request { folders: vec![broken], ..Request::default() };
    assert_eq!(write(&request).unwrap_err().exit_code(), 2);
}

#[test]
fn a_benchmark_says_where_its_page_is() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("bench");
    fs::create_dir_all(&folder).unwrap();
    let sentences = write_after_benchmark(&folder);
    assert!(
        sentences[0].starts_with("no report.html was written: ") && sentences[0].contains("holds no run"),
        "{sentences:?}"
    );
    run(&folder.join("a/seed-0"), "Pt", 2, 6);
    assert_eq!(write_after_benchmark(&folder), [format!("report: {}", folder.join("report.html").display())]);
    assert!(folder.join("report.html").is_file());
}

/// A kill in the first moment leaves such a folder; the second run has only started.
#[test]
fn a_run_without_results_has_a_page() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("young");
    run(&folder, "Pt2", 2, 6);
    for file in ["metrics.jsonl", "archive.db"] {
        fs::remove_file(folder.join(file)).unwrap();
        page_of(&place, std::slice::from_ref(&folder));
    }
    fs::write(folder.join("archive.db"), "").unwrap();
    assert!(page_of(&place, std::slice::from_ref(&folder)).contains("before anything was sampled"));
    fs::remove_file(folder.join("summary.json")).unwrap();
    let error = write_for_run(&folder).unwrap_err();
    assert!(error.exit_code() == 2 && error.to_string().contains("no summary.json"), "{error}");
}

/// As many samples as the paper's heptamer.
#[test]
fn a_long_run_has_a_small_page() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("long");
    run(&folder, "Pt7", 20, 128);
    let html = page_of(&place, &[folder]);
    assert!(html.len() < 3_000_000, "{} bytes", html.len());
}

#[test]
fn plots_are_written_as_files() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("adatom");
    run(&folder, "Pt", 3, 6);
    let plots = place.path().join("plots");
    let request = Request { folders: vec![folder.clone()], plots: Some(plots.clone()), ..Request::default() };
    let written = write(&request).unwrap();
    assert_eq!(written.page, folder.join("report.html"));
    let svg = fs::read_to_string(plots.join("energy.svg")).unwrap();
    resvg::usvg::roxmltree::Document::parse(&svg).unwrap();
    let drawn = fs::read(plots.join("energy.png")).is_ok_and(|bytes| bytes.starts_with(b"\x89PNG"));
    assert!(drawn != written.notes.iter().any(|note| note.contains("no fonts")), "{:?}", written.notes);
    fs::write(place.path().join("file"), "").unwrap();
    let request = Request { plots: Some(place.path().join("file")), ..request };
    assert!(write(&request).unwrap_err().to_string().contains("name another folder for the plots"));
}
