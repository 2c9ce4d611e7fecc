//! Compiles the kernels as C++, for the emulator (feature `emulator`).
//!
//! Every `.cu` file becomes a separate unit in its own namespace: as under NVRTC, files may use the same names.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

const EMULATOR: &str = "src/gpu/emulator";
/// Kernels of the engine, and those with planted bugs that the emulator has to catch.
const KERNELS: [&str; 2] = ["kernels", "tests/planted"];

/// A misaligned access raises a signal, which the emulator catches. A card refuses such an access, but x86 and ARM would do it.
const ALIGNMENT: [&str; 2] = ["-fsanitize=alignment", "-fsanitize-undefined-trap-on-error"];

/// Compiles emulator and kernels, and links them.
///
/// `GODIFF_EMULATOR_SANITIZE=address` adds the address and undefined-behaviour sanitizers; `=races` makes the compiler call the
/// emulator at each access of a kernel, and the emulator checks it (accesses.hpp).
///
/// `assertions` are lines for the end of each of the engine's kernels, by the name of its file.
pub fn compile(root: &Path, assertions: &BTreeMap<String, String>) {
    let out = PathBuf::from(env::var("OUT_DIR").unwrap_or_default());
    let emulator = root.join(EMULATOR);
    println!("cargo::rerun-if-changed={EMULATOR}");
    if !emulator.is_dir() {
        println!(
            "cargo::error=the feature emulator is for tests, and the package does not contain it; take the repository"
        );
        return;
    }

    let mut units = Vec::new();
    let mut links = Vec::new();
    for folder in KERNELS {
        println!("cargo::rerun-if-changed={folder}");
        for path in sources(&root.join(folder), "cu") {
            let stem =
                path.file_stem().unwrap_or_default().to_string_lossy().replace(|c: char| !c.is_alphanumeric(), "_");
            let name = format!("{}_{stem}", folder.replace('/', "_"));
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            let assertions = assertions.get(&*file).filter(|_| folder == KERNELS[0]).map_or("", String::as_str);
            let text = format!(
                "#include \"prelude.cuh\"\nnamespace {name} {{\n#include \"{}\"\n{assertions}}}\nextern \"C\" void godiff_link_{name}() {{}}\n",
                path.display()
            );
            units.push(write_if_changed(out.join(format!("{name}.cpp")), &text));
            links.push(format!("godiff_link_{name}"));
        }
    }
    // Kernels register themselves before main(); without a reference the linker would leave their objects out.
    let declarations: String = links.iter().map(|link| format!("extern \"C\" void {link}();\n")).collect();
    let calls: String = links.iter().map(|link| format!("    {link}();\n")).collect();
    let text = format!("{declarations}extern \"C\" void godiff_emulator_link_kernels() {{\n{calls}}}\n");
    units.push(write_if_changed(out.join("link_kernels.cpp"), &text));

    let sanitize = env::var("GODIFF_EMULATOR_SANITIZE").unwrap_or_default();
    println!("cargo::rerun-if-env-changed=GODIFF_EMULATOR_SANITIZE");
    println!("cargo::rustc-env=GODIFF_EMULATOR_SANITIZE={sanitize}");
    let (everywhere, in_kernels): (&[&str], &[&str]) = match sanitize.as_str() {
        "" => (&[], &ALIGNMENT),
        "address" => {
            // The libraries have to come before the C library; the user of the program must ensure that, as scripts/sanitize does.
            println!("cargo::rustc-link-arg=-Wl,--push-state,--no-as-needed,-lasan,-lubsan,--pop-state");
            (&["-fsanitize=address,undefined,float-cast-overflow", "-fno-sanitize-recover=all"], &[])
        }
        "races" => (&["-DGODIFF_EMULATOR_CHECKS_ACCESSES"], &["-fsanitize=thread", ALIGNMENT[0], ALIGNMENT[1]]),
        other => {
            println!("cargo::error=GODIFF_EMULATOR_SANITIZE={other}: use address, races or nothing");
            return;
        }
    };

    let mut base = cc::Build::new();
    base.cpp(true)
        .std("c++17")
        .opt_level(2)
        .debug(true)
        .define("GODIFF_EMULATOR", None)
        .include(&emulator)
        .include(root.join("kernels"))
        .warnings(true)
        .extra_warnings(true)
        // Sums are rounded as written, and floats are read as float4, as CUDA allows.
        .flag("-ffp-contract=off")
        .flag("-fno-strict-aliasing")
        // These warnings are about `#pragma unroll`, and about shared helpers that one file does not use.
        .flag("-Wno-unknown-pragmas")
        .flag("-Wno-unused-function")
        .flag_if_supported("-Wno-unused-const-variable")
        .flags(everywhere);
    // The hash covers everything that a unit may include, and the sanitizer, since its flags are not in the names of the objects.
    let mut shared = DefaultHasher::new();
    sanitize.hash(&mut shared);
    for header in [sources(&emulator, "hpp"), sources(&root.join("kernels"), "cuh")].concat() {
        fs::read(header).unwrap_or_default().hash(&mut shared);
    }
    let kernels = objects(base.clone().flags(in_kernels), &units, &shared);
    let rest = objects(&mut base, &sources(&emulator, "cpp"), &shared);
    match (kernels, rest) {
        (Ok(kernels), Ok(rest)) => cc::Build::new().cpp(true).objects(kernels).objects(rest).compile("godiff_emulator"),
        (Err(error), _) | (_, Err(error)) => println!("cargo::error={error}"),
    }
}

/// Compiles those of `files` that changed since the last time, since kernels are edited one at a time. All files depend on
/// `shared`.
fn objects(build: &mut cc::Build, files: &[PathBuf], shared: &DefaultHasher) -> Result<Vec<PathBuf>, String> {
    let mut objects = Vec::new();
    for file in files {
        let mut hasher = shared.clone();
        for text in [Some(file.clone()), included(file)].into_iter().flatten() {
            fs::read(text).unwrap_or_default().hash(&mut hasher);
        }
        let hash = hasher.finish().to_string();
        // A note next to each object records the sources it was made from.
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let note = PathBuf::from(env::var("OUT_DIR").unwrap_or_default()).join(format!("{name}.compiled"));
        let made = fs::read_to_string(&note).unwrap_or_default();
        if let Some((_, object)) =
            made.split_once('\n').filter(|(of, object)| *of == hash && Path::new(object).exists())
        {
            objects.push(PathBuf::from(object));
            continue;
        }
        let compiled = build.clone().file(file).try_compile_intermediates().map_err(|error| error.to_string())?;
        let object = compiled.into_iter().next().ok_or("the C++ compiler gave no object")?;
        write_if_changed(note, &format!("{hash}\n{}", object.display()));
        objects.push(object);
    }
    Ok(objects)
}

/// The kernel file that the unit `file` wraps.
fn included(file: &Path) -> Option<PathBuf> {
    let text = fs::read_to_string(file).ok()?;
    let path = text.split("#include \"").find(|path| path.starts_with('/'))?;
    path.split('"').next().map(PathBuf::from)
}

/// The files of `folder` that end in `extension`, in order.
fn sources(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
    files.sort();
    files
}

/// Writes `text` to `path` and returns `path`.
fn write_if_changed(path: PathBuf, text: &str) -> PathBuf {
    if fs::read_to_string(&path).is_ok_and(|found| found == text) {
        return path;
    }
    if let Err(error) = fs::write(&path, text) {
        println!("cargo::error={}: {error}", path.display());
    }
    path
}
