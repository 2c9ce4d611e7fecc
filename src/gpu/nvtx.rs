//! Named ranges on the timeline of a profiler (NVTX 3).
//!
//! NVTX is a protocol, not a library: a profiler such as Nsight Systems names its own library in `NVTX_INJECTION64_PATH`, the program
//! loads it and passes it a table of functions, and the profiler fills in its own. This module uses the two functions of nested
//! ranges, `nvtxRangePushA` and `nvtxRangePop`, in the default domain. The facts come from NVIDIA's headers nvtxTypes.h and
//! nvtxInit.h of NVTX 3. Without a profiler a range costs one comparison. Neither a GPU nor a driver is needed.

use std::marker::PhantomData;

/// A range on the timeline of this thread, from now until it is dropped; ranges nest. Without a profiler it does nothing.
pub fn profiler_range(name: &'static str) -> Range {
    Range { _open: injected::Open::begin(name), _this_thread: PhantomData }
}

/// The range of [`profiler_range`]. It stays on its thread, since the profiler keeps one stack of ranges for each thread.
#[must_use = "the range ends when this is dropped"]
pub struct Range {
    _open: Option<injected::Open>,
    _this_thread: PhantomData<*const ()>,
}

/// Without the feature no profiler is looked for.
#[cfg(not(feature = "cuda"))]
mod injected {
    pub enum Open {}

    impl Open {
        pub fn begin(_name: &str) -> Option<Self> {
            None
        }
    }
}

#[cfg(feature = "cuda")]
mod injected {
    use libloading::Library;
    use std::env;
    use std::ffi::{CString, c_char, c_int, c_uint, c_void};
    use std::mem::transmute;
    use std::ptr;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicPtr, Ordering};

    /// `nvtxRangePushA`: gives the depth of the range, from 0.
    type Push = unsafe extern "C" fn(*const c_char) -> c_int;
    /// `nvtxRangePop`.
    type Pop = unsafe extern "C" fn() -> c_int;
    /// `InitializeInjectionNvtx2`: takes our `export_table`; 0 is failure.
    type Initialize = unsafe extern "C" fn(unsafe extern "C" fn(u32) -> *const c_void) -> c_int;

    /// `NVTX_CB_MODULE_CORE`: the functions of the default domain.
    const MODULE_CORE: usize = 1;
    /// `NVTX_CBID_CORE_RangePushA` and `NVTX_CBID_CORE_RangePop`: positions in the table of that module.
    const RANGE_PUSH_A: usize = 9;
    const RANGE_POP: usize = 11;
    /// Lengths of the tables of all modules: none, core, CUDA, OpenCL, CUDA runtime, core with domains, synchronisation.
    const LENGTHS: [usize; 7] = [0, 16, 9, 15, 7, 16, 7];
    /// The longest of them.
    const LONGEST: usize = 16;
    /// `NVTX_ETID_CALLBACKS` and `NVTX_ETID_VERSIONINFO`.
    const TABLE_CALLBACKS: u32 = 1;
    const TABLE_VERSION: u32 = 3;
    /// `NVTX_VERSION`.
    const VERSION: u32 = 3;

    /// The variables that a profiler writes its functions into, null if it has none. The profiler also expects variables for
    /// functions that are not called here.
    static FUNCTIONS: [[AtomicPtr<c_void>; LONGEST]; LENGTHS.len()] =
        [const { [const { AtomicPtr::new(ptr::null_mut()) }; LONGEST] }; LENGTHS.len()];

    /// `NvtxExportTableCallbacks`.
    #[repr(C)]
    struct Callbacks {
        size: usize,
        module_functions: unsafe extern "C" fn(c_int, *mut *const *mut c_void, *mut c_uint) -> c_int,
    }

    /// `NvtxExportTableVersionInfo`.
    #[repr(C)]
    struct Version {
        size: usize,
        version: u32,
        reserved: u32,
        set_injection_version: unsafe extern "C" fn(u32),
    }

    static CALLBACKS: Callbacks = Callbacks { size: size_of::<Callbacks>(), module_functions };
    static VERSIONS: Version =
        Version { size: size_of::<Version>(), version: VERSION, reserved: 0, set_injection_version };

    /// For every module, pointers to its [`FUNCTIONS`]. The first is null, since its number means none; all from the module's
    /// length on are null.
    struct Tables([[*mut c_void; LONGEST + 1]; LENGTHS.len()]);
    // SAFETY: the pointers are never changed, and they point to atomics in a static.
    unsafe impl Sync for Tables {}
    // SAFETY: as above.
    unsafe impl Send for Tables {}
    static TABLES: OnceLock<Tables> = OnceLock::new();

    fn tables() -> Tables {
        let mut tables = [[ptr::null_mut(); LONGEST + 1]; LENGTHS.len()];
        for ((table, functions), length) in tables.iter_mut().zip(&FUNCTIONS).zip(LENGTHS) {
            for (slot, function) in table[..length].iter_mut().zip(functions).skip(1) {
                *slot = function.as_ptr().cast();
            }
        }
        Tables(tables)
    }

    /// Returns the table of a module and its length; 0 if there is no such module.
    unsafe extern "C" fn module_functions(module: c_int, table: *mut *const *mut c_void, size: *mut c_uint) -> c_int {
        let module = usize::try_from(module).unwrap_or(0);
        let Some(&length) = LENGTHS.get(module).filter(|length| **length > 0) else { return 0 };
        if !table.is_null() {
            // SAFETY: the profiler passes a valid pointer or null.
            unsafe { *table = TABLES.get_or_init(tables).0[module].as_ptr() };
        }
        if !size.is_null() {
            // SAFETY: as above.
            unsafe { *size = length as c_uint };
        }
        1
    }

    unsafe extern "C" fn set_injection_version(_version: u32) {}

    unsafe extern "C" fn export_table(table: u32) -> *const c_void {
        match table {
            TABLE_CALLBACKS => ptr::from_ref(&CALLBACKS).cast(),
            TABLE_VERSION => ptr::from_ref(&VERSIONS).cast(),
            _ => ptr::null(),
        }
    }

    /// A profiler that listens.
    struct Profiler {
        push: Push,
        pop: Pop,
    }

    /// The profiler of this process, looked up once; `None` if there is none or it wants no ranges.
    fn profiler() -> Option<&'static Profiler> {
        static PROFILER: OnceLock<Option<Profiler>> = OnceLock::new();
        PROFILER.get_or_init(attach).as_ref()
    }

    fn attach() -> Option<Profiler> {
        let path = env::var_os("NVTX_INJECTION64_PATH").filter(|path| !path.is_empty())?;
        // SAFETY: the user who starts the profiler names its library and trusts it.
        let library = unsafe { Library::new(path) }.ok()?;
        // SAFETY: a symbol of this name has this type by the protocol; it stores what it needs into `FUNCTIONS`, one thread at a
        // time (`profiler` runs this once), before anybody reads it.
        let started = unsafe { (*library.get::<Initialize>(b"InitializeInjectionNvtx2\0").ok()?)(export_table) };
        if started == 0 {
            return None;
        }
        // Its functions are called until the process ends.
        std::mem::forget(library);
        let [push, pop] = [RANGE_PUSH_A, RANGE_POP].map(|at| FUNCTIONS[MODULE_CORE][at].load(Ordering::Acquire));
        if push.is_null() || pop.is_null() {
            return None;
        }
        // SAFETY: not null, so functions of the types that belong to these positions, of a library that is never unloaded.
        let (push, pop) = unsafe { (transmute::<*mut c_void, Push>(push), transmute::<*mut c_void, Pop>(pop)) };
        Some(Profiler { push, pop })
    }

    /// A range that has begun and ends when dropped.
    pub struct Open(&'static Profiler);

    impl Open {
        /// `None` without a profiler.
        pub fn begin(name: &str) -> Option<Self> {
            let profiler = profiler()?;
            let name = CString::new(name).ok()?;
            // SAFETY: the name ends in zero; the profiler copies it.
            unsafe { (profiler.push)(name.as_ptr()) };
            Some(Open(profiler))
        }
    }

    impl Drop for Open {
        fn drop(&mut self) {
            // SAFETY: takes nothing; follows a push on this thread, which `Range` does not leave.
            unsafe { (self.0.pop)() };
        }
    }
}
