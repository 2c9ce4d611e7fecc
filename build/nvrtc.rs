//! NVRTC, NVIDIA's run-time compiler, used at build time. It is found by documented rules and loaded without headers or a toolkit.
//!
//! The build does not look at the hardware: its result depends on the sources and on NVRTC alone.

use libloading::Library;
use std::env;
use std::ffi::{CStr, CString, OsString, c_char, c_int};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::ptr;

/// Names of the library, in the order of preference.
const NAMES: [&str; 3] = ["libnvrtc.so.12", "libnvrtc.so.13", "libnvrtc.so"];

/// Library folders of a CUDA toolkit.
const TOOLKIT_FOLDERS: [&str; 3] = ["lib64", "lib", "targets/x86_64-linux/lib"];

/// Library folders of the pip wheels `nvidia-cuda-nvrtc-cu12` and `nvidia-cuda-nvrtc`, below a `site-packages`.
const WHEEL_FOLDERS: [&str; 2] = ["nvidia/cuda_nvrtc/lib", "nvidia/cu13/lib"];

/// The oldest major version whose cubins the driver layer loads.
const OLDEST_MAJOR: c_int = 12;

/// Environment variables that the search reads.
pub const VARIABLES: [&str; 4] = ["GODIFF_NVRTC", "CUDA_HOME", "CUDA_PATH", "VIRTUAL_ENV"];

/// The reason for a missing NVRTC.
#[derive(Debug)]
pub enum Missing {
    /// None of the documented places has one.
    Nowhere(String),
    /// `GODIFF_NVRTC` names something that is not NVRTC.
    Named(String),
}

/// A loaded NVRTC.
pub struct Nvrtc {
    /// The path where it was found; a bare name if the system's library path had it.
    pub path: PathBuf,
    /// Major and minor version.
    pub version: (c_int, c_int),
    api: Api,
}

/// `nvrtcProgram`: an opaque handle.
type Handle = *mut std::ffi::c_void;
/// `nvrtcResult`: 0 is success.
type Code = c_int;

/// The functions used, valid as long as the library is loaded.
struct Api {
    error_string: unsafe extern "C" fn(Code) -> *const c_char,
    create: unsafe extern "C" fn(
        *mut Handle,
        *const c_char,
        *const c_char,
        c_int,
        *const *const c_char,
        *const *const c_char,
    ) -> Code,
    compile: unsafe extern "C" fn(Handle, c_int, *const *const c_char) -> Code,
    destroy: unsafe extern "C" fn(*mut Handle) -> Code,
    log: Output,
    ptx: Output,
    cubin: Output,
    _library: Library,
}

/// A pair of functions that give the size of a result and write it.
struct Output {
    size: unsafe extern "C" fn(Handle, *mut usize) -> Code,
    get: unsafe extern "C" fn(Handle, *mut c_char) -> Code,
}

/// The input of one compilation.
pub struct Input<'a> {
    /// Name for messages, such as `adamw.cu`.
    pub name: &'a str,
    /// Text of the source.
    pub text: &'a str,
    /// Name, as in `#include "NAME"`, and text of every header.
    pub headers: &'a [(String, String)],
    /// Options of the compiler.
    pub options: &'a [String],
}

/// The output of one compilation.
pub struct Compiled {
    /// A cubin, or PTX text if the target is a virtual architecture.
    pub image: Vec<u8>,
    /// Warnings, and the assembler's report on the kernels.
    pub log: String,
}

/// The files that may be NVRTC, best first; bare names are left to the system's loader. `variable` reads the environment,
/// `python_paths` gives the module folders of the interpreter `python3`.
pub fn candidates(
    variable: &dyn Fn(&str) -> Option<OsString>,
    python_paths: &dyn Fn() -> Vec<PathBuf>,
) -> Vec<PathBuf> {
    let folder = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(named) = folder("GODIFF_NVRTC") {
        return if named.is_dir() { libraries_in(&named) } else { vec![named] };
    }
    let toolkits = ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(folder);
    let mut folders: Vec<PathBuf> =
        toolkits.flat_map(|toolkit| TOOLKIT_FOLDERS.map(|below| toolkit.join(below))).collect();
    let environment = folder("VIRTUAL_ENV").map(|venv| site_packages_of(&venv)).unwrap_or_default();
    for packages in environment.into_iter().chain(python_paths()) {
        folders.extend(WHEEL_FOLDERS.map(|below| packages.join(below)));
    }
    let files = folders.iter().flat_map(|folder| libraries_in(folder));
    files.chain(NAMES.map(PathBuf::from)).collect()
}

/// The files in `folder` that have one of the library's names.
fn libraries_in(folder: &Path) -> Vec<PathBuf> {
    NAMES.iter().map(|name| folder.join(name)).filter(|path| path.is_file()).collect()
}

/// The `site-packages` of a virtual environment, for any version of Python.
fn site_packages_of(venv: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(venv.join("lib")) else { return Vec::new() };
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("python3")))
        .map(|path| path.join("site-packages"))
        .collect();
    found.sort();
    found
}

/// The folders where the interpreter `python3` looks for modules; none without the interpreter.
fn python_paths() -> Vec<PathBuf> {
    let script = "import sys; print('\\n'.join(path for path in sys.path if path))";
    let Ok(output) = Command::new("python3").args(["-c", script]).output() else { return Vec::new() };
    String::from_utf8_lossy(&output.stdout).lines().map(PathBuf::from).collect()
}

/// The message of the system's loader.
fn said(cause: libloading::Error) -> String {
    use std::error::Error;
    cause.source().map_or_else(|| cause.to_string(), ToString::to_string)
}

impl Nvrtc {
    /// The first usable NVRTC of the documented places.
    pub fn find() -> Result<Self, Missing> {
        let candidates = candidates(&|name| env::var_os(name), &python_paths);
        let mut refusals = Vec::new();
        for path in &candidates {
            match Self::load(path) {
                Ok(found) => return Ok(found),
                // The loader's own messages begin with the path.
                Err(reason) if reason.starts_with(&*path.to_string_lossy()) => refusals.push(reason),
                Err(reason) => refusals.push(format!("{}: {reason}", path.display())),
            }
        }
        match env::var("GODIFF_NVRTC").ok().filter(|named| !named.is_empty()) {
            Some(named) => Err(Missing::Named(match refusals.is_empty() {
                true => format!("GODIFF_NVRTC={named}: there is no libnvrtc.so; name the library or its folder"),
                false => format!("GODIFF_NVRTC names no usable NVRTC ({})", refusals.join("; ")),
            })),
            None => {
                // A message about a bare name that the system does not know has no information.
                refusals.retain(|refusal| refusal.starts_with('/'));
                Err(Missing::Nowhere(refusals.join("; ")))
            }
        }
    }

    fn load(path: &Path) -> Result<Self, String> {
        // SAFETY: the user who builds chose this library, by name or by installing it as NVRTC. Its initialisers are trusted like
        // those of any library that the build links.
        let library = unsafe { Library::new(path) }.map_err(said)?;
        let api = Api::new(library).map_err(said)?;
        let (mut major, mut minor) = (0, 0);
        // SAFETY: `nvrtcVersion` writes two integers through valid pointers.
        let code = unsafe {
            let version = api._library.get::<unsafe extern "C" fn(*mut c_int, *mut c_int) -> Code>(b"nvrtcVersion\0");
            version.map_err(said)?(&mut major, &mut minor)
        };
        api.check("nvrtcVersion", code)?;
        if major < OLDEST_MAJOR {
            return Err(format!("is version {major}.{minor}, {OLDEST_MAJOR}.0 or newer is needed"));
        }
        Ok(Nvrtc { path: path.to_owned(), version: (major, minor), api })
    }

    /// Compiles one source for the architecture that its options name.
    ///
    /// # Errors
    /// The compiler's log.
    pub fn compile(&self, input: &Input) -> Result<Compiled, String> {
        let text = |text: &str| CString::new(text).map_err(|_| format!("{}: a zero byte in the source", input.name));
        let all = |texts: Vec<&str>| texts.into_iter().map(text).collect::<Result<Vec<CString>, String>>();
        let pointers = |texts: &[CString]| texts.iter().map(|text| text.as_ptr()).collect::<Vec<_>>();

        let (source, name) = (text(input.text)?, text(input.name)?);
        let header_names = all(input.headers.iter().map(|(name, _)| name.as_str()).collect())?;
        let header_texts = all(input.headers.iter().map(|(_, text)| text.as_str()).collect())?;
        let options = all(input.options.iter().map(String::as_str).collect())?;

        let mut program = Program { api: &self.api, handle: ptr::null_mut() };
        // SAFETY: every string lives to the end of this function and ends in zero, the arrays are as long as the counts say.
        let code = unsafe {
            (self.api.create)(
                &mut program.handle,
                source.as_ptr(),
                name.as_ptr(),
                header_texts.len() as c_int,
                pointers(&header_texts).as_ptr(),
                pointers(&header_names).as_ptr(),
            )
        };
        self.api.check("nvrtcCreateProgram", code)?;
        // SAFETY: the program was created above; the options live to the end of this function.
        let code = unsafe { (self.api.compile)(program.handle, options.len() as c_int, pointers(&options).as_ptr()) };
        let log = program.output(&self.api.log)?;
        let log = String::from_utf8_lossy(&log).trim_end_matches('\0').to_owned();
        self.api.check("nvrtcCompileProgram", code).map_err(|cause| format!("{log}{cause}"))?;
        let virtual_target = input.options.iter().any(|option| option.contains("=compute_"));
        let image = program.output(if virtual_target { &self.api.ptx } else { &self.api.cubin })?;
        Ok(Compiled { image, log })
    }
}

impl Api {
    fn new(library: Library) -> Result<Self, libloading::Error> {
        // SAFETY: the types are those of the functions of these names in NVRTC's interface, unchanged since version 11. The
        // pointers stay valid because the library is kept together with them.
        unsafe {
            let output = |size: &[u8], get: &[u8]| -> Result<Output, libloading::Error> {
                Ok(Output { size: *library.get(size)?, get: *library.get(get)? })
            };
            Ok(Api {
                error_string: *library.get(b"nvrtcGetErrorString\0")?,
                create: *library.get(b"nvrtcCreateProgram\0")?,
                compile: *library.get(b"nvrtcCompileProgram\0")?,
                destroy: *library.get(b"nvrtcDestroyProgram\0")?,
                log: output(b"nvrtcGetProgramLogSize\0", b"nvrtcGetProgramLog\0")?,
                ptx: output(b"nvrtcGetPTXSize\0", b"nvrtcGetPTX\0")?,
                cubin: output(b"nvrtcGetCUBINSize\0", b"nvrtcGetCUBIN\0")?,
                _library: library,
            })
        }
    }

    fn check(&self, call: &str, code: Code) -> Result<(), String> {
        if code == 0 {
            return Ok(());
        }
        // SAFETY: gives a static string for every code.
        let said = unsafe { CStr::from_ptr((self.error_string)(code)) };
        Err(format!("{call}: {}", said.to_string_lossy()))
    }
}

/// A program of the compiler, destroyed when dropped.
struct Program<'a> {
    api: &'a Api,
    handle: Handle,
}

impl Program<'_> {
    fn output(&self, of: &Output) -> Result<Vec<u8>, String> {
        let mut size = 0;
        // SAFETY: the program is alive; the size goes through a valid pointer.
        self.api.check("size of a result", unsafe { (of.size)(self.handle, &mut size) })?;
        let mut bytes = vec![0_u8; size];
        // SAFETY: the buffer has the requested length.
        self.api.check("a result", unsafe { (of.get)(self.handle, bytes.as_mut_ptr().cast()) })?;
        Ok(bytes)
    }
}

impl Drop for Program<'_> {
    fn drop(&mut self) {
        if !self.handle.is_null() {
            // SAFETY: created by this library and destroyed once. Nothing can be done about a failure.
            let _ = unsafe { (self.api.destroy)(&mut self.handle) };
        }
    }
}
