//! The functions of the driver API that godiff calls, bound with integers as results. `cudarc` binds them with an enumeration of
//! the codes it knows; a code of a later driver would be a value that this enumeration does not have, which Rust leaves undefined.
//!
//! Types and constants are cudarc's. The library is the one that it loads.

use cudarc::driver::sys::*;
use std::ffi::{c_char, c_int, c_uchar, c_uint, c_ulonglong, c_void};
use std::sync::OnceLock;

/// `CUresult`: 0 is success.
pub type Code = c_int;

pub const SUCCESS: Code = 0;

/// What a function answers that the driver does not have: `CUDA_ERROR_NOT_FOUND`.
const NOT_FOUND: Code = 500;

macro_rules! functions {
    ($($function:ident($($argument:ident: $type:ty),*);)*) => {
        $(
            /// The driver's function of this name.
            ///
            /// # Safety
            /// As NVIDIA's documentation of the driver API says; libcuda must be there (`is_culib_present`).
            #[allow(non_snake_case, clippy::too_many_arguments, reason = "names and arguments are the driver's")]
            pub unsafe fn $function($($argument: $type),*) -> Code {
                type Function = unsafe extern "C" fn($($type),*) -> Code;
                static FOUND: OnceLock<Option<Function>> = OnceLock::new();
                let function = FOUND.get_or_init(|| {
                    // SAFETY: the caller knows that the library is there. The symbol has this type but for its result, an
                    // enumeration in C and so an `int`.
                    unsafe { culib().get::<Function>(concat!(stringify!($function), "\0").as_bytes()) }.ok().map(|found| *found)
                });
                match function {
                    // SAFETY: the caller's.
                    Some(function) => unsafe { function($($argument),*) },
                    None => NOT_FOUND,
                }
            }
        )*
    };
}

functions! {
    cuCtxSetCurrent(context: CUcontext);
    cuDeviceGet(device: *mut CUdevice, ordinal: c_int);
    cuDeviceGetAttribute(value: *mut c_int, attrib: CUdevice_attribute, device: CUdevice);
    cuDeviceGetCount(count: *mut c_int);
    cuDeviceGetName(name: *mut c_char, len: c_int, device: CUdevice);
    cuDevicePrimaryCtxRelease_v2(device: CUdevice);
    cuDevicePrimaryCtxRetain(context: *mut CUcontext, device: CUdevice);
    cuDevicePrimaryCtxSetFlags_v2(device: CUdevice, flags: c_uint);
    cuDeviceTotalMem_v2(bytes: *mut usize, device: CUdevice);
    cuDriverGetVersion(driver_version: *mut c_int);
    cuEventCreate(event: *mut CUevent, flags: c_uint);
    cuEventDestroy_v2(event: CUevent);
    cuEventElapsedTime(milliseconds: *mut f32, start: CUevent, end: CUevent);
    cuEventRecord(event: CUevent, stream: CUstream);
    cuEventSynchronize(event: CUevent);
    cuFuncGetAttribute(value: *mut c_int, attrib: CUfunction_attribute, hfunc: CUfunction);
    cuFuncSetAttribute(hfunc: CUfunction, attrib: CUfunction_attribute, value: c_int);
    cuGetErrorName(code: c_int, name: *mut *const c_char);
    cuGraphDestroy(graph: CUgraph);
    cuGraphExecDestroy(graph_exec: CUgraphExec);
    cuGraphGetNodes(graph: CUgraph, nodes: *mut CUgraphNode, num_nodes: *mut usize);
    cuGraphInstantiateWithFlags(graph_exec: *mut CUgraphExec, graph: CUgraph, flags: c_ulonglong);
    cuGraphLaunch(graph_exec: CUgraphExec, stream: CUstream);
    cuInit(flags: c_uint);
    cuLaunchKernel(function: CUfunction, grid_dim_x: c_uint, grid_dim_y: c_uint, grid_dim_z: c_uint,
        block_dim_x: c_uint, block_dim_y: c_uint, block_dim_z: c_uint, shared_mem_bytes: c_uint, stream: CUstream,
        kernel_params: *mut *mut c_void, extra: *mut *mut c_void);
    cuMemAlloc_v2(dptr: *mut CUdeviceptr, bytes: usize);
    cuMemFree_v2(dptr: CUdeviceptr);
    cuMemGetInfo_v2(free: *mut usize, total: *mut usize);
    cuMemcpyDtoDAsync_v2(dst_device: CUdeviceptr, src_device: CUdeviceptr, bytes: usize, stream: CUstream);
    cuMemcpyDtoHAsync_v2(dst_host: *mut c_void, src_device: CUdeviceptr, bytes: usize, stream: CUstream);
    cuMemcpyHtoDAsync_v2(dst_device: CUdeviceptr, src_host: *const c_void, bytes: usize, stream: CUstream);
    cuMemsetD8Async(dst_device: CUdeviceptr, uc: c_uchar, n: usize, stream: CUstream);
    cuModuleGetFunction(hfunc: *mut CUfunction, hmod: CUmodule, name: *const c_char);
    cuModuleLoadData(module: *mut CUmodule, image: *const c_void);
    cuModuleUnload(hmod: CUmodule);
    cuStreamBeginCapture_v2(stream: CUstream, mode: CUstreamCaptureMode);
    cuStreamCreate(stream: *mut CUstream, flags: c_uint);
    cuStreamDestroy_v2(stream: CUstream);
    cuStreamEndCapture(stream: CUstream, graph: *mut CUgraph);
    cuStreamSynchronize(stream: CUstream);
}
