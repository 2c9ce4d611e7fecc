//! Jobs and launch of kernels/weight_gradient.cu: gradients of all weight matrices and biases.

pub use crate::gpu::arguments::weight_gradient::{WeightGradient, WeightJob};

use super::arrangement::Matrix;
use super::stored::Stored;
use crate::engine::Storage;
use crate::error::Result;
use crate::gpu::arguments::weight_gradient::{
    IN_TILE, NO_BIAS, OUT_TILE, ROWS, RowSource, WEIGHT_GRADIENT, WEIGHT_GRADIENT_MIXED,
};
use crate::gpu::{Pointer, Stream};

/// Slices that the batch is split into.
pub const SLICES: usize = 8;

impl WeightGradient {
    /// Queues it in `precision` for jobs of `n_tiles` tiles in all.
    pub fn launch(&self, stream: &Stream, precision: Storage, n_tiles: usize) -> Result<()> {
        let kernel = precision.kernel([WEIGHT_GRADIENT, WEIGHT_GRADIENT_MIXED]);
        let shared_bytes = size_of::<f32>() * (ROWS * (OUT_TILE + IN_TILE)) as usize;
        stream.launch(kernel, kernel.grid([n_tiles, SLICES], shared_bytes), self)
    }
}

/// Places of the rows of a job.
#[derive(Debug, Clone, Copy)]
pub struct Rows {
    /// Rows of a segment; null: the first ones.
    pub list: Pointer<u32>,
    /// Number of rows.
    pub counts: Pointer<u32>,
    /// First and number of segments.
    pub segments: [usize; 2],
    /// Rows from one segment to the next.
    pub segment_rows: usize,
    /// Elements of `list` and `counts` from one segment to the next.
    pub strides: [usize; 2],
}

/// One of the two arrays of a job: where it starts, elements from row to row and from component to component.
#[derive(Debug, Clone, Copy)]
pub struct Columns {
    /// First element.
    pub start: Pointer<f32>,
    /// Elements from row to row.
    pub stride: usize,
    /// Elements from component to component; 0 for scalars.
    pub component: usize,
    /// True if elements have 16 bits; only those of x may.
    pub is_half: bool,
}

impl Columns {
    /// Scalars in f32.
    pub fn scalars(start: Pointer<f32>, stride: usize) -> Self {
        Self::vectors(start, stride, 0)
    }

    /// Vectors in f32.
    pub fn vectors(start: Pointer<f32>, stride: usize, component: usize) -> Self {
        Columns { start, stride, component, is_half: false }
    }

    /// Scalars in `array`.
    pub fn stored(array: &Stored, stride: usize) -> Self {
        Self::stored_vectors(array, 0, stride, 0)
    }

    /// Vectors in `array` from element `first` on.
    pub fn stored_vectors(array: &Stored, first: usize, stride: usize, component: usize) -> Self {
        Columns { start: array.at(first).untyped(), stride, component, is_half: array.is_half() }
    }
}

/// The jobs of one training step.
#[derive(Default)]
pub struct Jobs {
    jobs: Vec<WeightJob>,
    n_tiles: usize,
}

impl Jobs {
    /// Adds the product of `d_y` and `x` over `rows` to `n_in` columns of the gradient of `matrix`, from `first_in` on. If
    /// `first_in` is 0, it adds the gradient of the bias too.
    pub fn push(
        &mut self,
        rows: &Rows,
        matrix: &Matrix,
        [first_in, n_in]: [usize; 2],
        d_y: Columns,
        x: Columns,
        hidden: bool,
    ) {
        let bias = matrix.bias.filter(|_| first_in == 0);
        self.jobs.push(WeightJob {
            source: source(rows, d_y, x, hidden),
            shared: RowSource::default(),
            n_out: matrix.n_out as u32,
            n_in: n_in as u32,
            at_weight: (matrix.plain + first_in) as u32,
            weight_stride: matrix.n_in as u32,
            at_bias: bias.map_or(NO_BIAS, |at| at as u32),
            first_tile: self.n_tiles as u32,
        });
        self.n_tiles += matrix.n_out.div_ceil(OUT_TILE as usize) * n_in.div_ceil(IN_TILE as usize);
    }

    /// Adds rows outside the batch to the job pushed last.
    pub fn add_shared(&mut self, rows: &Rows, d_y: Columns, x: Columns) {
        if let Some(job) = self.jobs.last_mut() {
            job.shared = source(rows, d_y, x, false);
        }
    }

    /// The jobs, and the number of tiles of all of them.
    pub fn finish(self) -> (Vec<WeightJob>, usize) {
        (self.jobs, self.n_tiles)
    }
}

fn source(rows: &Rows, d_y: Columns, x: Columns, hidden: bool) -> RowSource {
    RowSource {
        d_y: d_y.start,
        x: x.start,
        list: rows.list,
        counts: rows.counts,
        first_segment: rows.segments[0] as u32,
        n_segments: rows.segments[1] as u32,
        segment_rows: rows.segment_rows as u32,
        list_stride: rows.strides[0] as u32,
        count_stride: rows.strides[1] as u32,
        n_components: if d_y.component > 0 { 3 } else { 1 },
        d_y_stride: d_y.stride as u32,
        d_y_component: d_y.component as u32,
        x_stride: x.stride as u32,
        x_component: x.component as u32,
        x_is_hidden: u32::from(hidden),
        x_is_half: u32::from(x.is_half),
    }
}
