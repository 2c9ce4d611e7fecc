//! PaiNN message: q_i += Σ_j W_q⊙x_q, μ_i += Σ_j u_ij ⊗ (W_R⊙x_R) + W_μ⊙x_μ⊙μ_j (arXiv:2102.03150, eqs. 7 and 8).
//!
//! Both directions gather over the symmetric graph, so two threads never add to one place. With y_j = x_μ⊙μ_j a sender has five
//! lanes per channel block, a gradient four. Template edges of one receiver with one filter row are summed before the filter is
//! applied.

use super::graph::{FreeGraph, TemplateGraph};
use super::simd::{LANES, Real, add_lane, add_product, add_scaled, lane, load_channels, product, simd, store_channels};

/// Lanes a sender is packed into: x_q, x_R, y (3).
pub const SENDER: usize = 5 * LANES;
/// Lanes a state or its gradient is packed into: q, μ (3).
pub const STATE: usize = 4 * LANES;
/// Lanes of a filter in a channel block: q, R, μ.
pub const FILTER: usize = 3 * LANES;

/// Filters of one set of edges.
#[derive(Debug, Clone, Copy)]
pub struct FilterRows<'a, T> {
    /// Rows as [`super::filters::Filters`] lays them out.
    pub rows: &'a [T],
    /// Elements of a row.
    pub row_len: usize,
    /// Start of the present block in a row.
    pub offset: usize,
}

impl<'a, T: Real> FilterRows<'a, T> {
    #[inline(always)]
    fn get(&self, row: u32, channel_block: usize) -> &'a [T; FILTER] {
        let start = row as usize * self.row_len + self.offset + channel_block * FILTER;
        self.rows[start..start + FILTER].try_into().expect("FILTER elements")
    }
}

/// The structures of `n_atoms` atoms, with their edges, that a message runs over.
#[derive(Debug, Clone, Copy)]
pub struct Edges<'a, T> {
    /// Template edges and their filters; `None` where no template atom takes part.
    pub template: Option<(&'a TemplateGraph<T>, FilterRows<'a, T>)>,
    /// Edges with free atoms and their filters.
    pub free: Option<(&'a FreeGraph<T>, FilterRows<'a, T>)>,
    /// T + n.
    pub n_atoms: usize,
    /// T.
    pub n_template: usize,
    /// F.
    pub features: usize,
}

/// Senders or gradients of atoms, packed as `[channel block][row][lanes]`.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a, T> {
    /// All rows.
    pub packed: &'a [T],
    /// Rows of a channel block.
    pub n: usize,
    /// The row of every atom.
    pub of: &'a [u32],
}

impl<'a, T> Rows<'a, T> {
    /// The rows of one channel block, `WIDTH` elements each.
    #[inline(always)]
    fn block<const WIDTH: usize>(&self, channel_block: usize) -> &'a [T] {
        &self.packed[channel_block * self.n * WIDTH..][..self.n * WIDTH]
    }
}

simd! {
    /// Packs senders from x [rows, 3F] (q, R, μ) and their state [rows, 4F]: `[channel block][row][SENDER]`.
    /// Without a state μ is 0, and so is y.
    pub fn pack_senders<T>(features: usize, n_rows: usize, x: &[T], state: Option<&[T]>, packed: &mut Vec<T>) {
        let n_blocks = features.div_ceil(LANES);
        packed.resize(n_blocks * n_rows * SENDER, T::ZERO);
        for cb in 0..n_blocks {
            let start = cb * LANES;
            for row in 0..n_rows {
                let out = &mut packed[(cb * n_rows + row) * SENDER..][..SENDER];
                let x = &x[row * 3 * features..][..3 * features];
                out[..LANES].copy_from_slice(&load_channels(x, start, features));
                out[LANES..2 * LANES].copy_from_slice(&load_channels(&x[features..], start, features));
                let Some(state) = state else {
                    out[2 * LANES..].fill(T::ZERO);
                    continue;
                };
                let x_mu = load_channels(&x[2 * features..], start, features);
                for d in 0..3 {
                    let mu = load_channels(&state[row * 4 * features + (1 + d) * features..], start, features);
                    out[(2 + d) * LANES..(3 + d) * LANES].copy_from_slice(&product::<T, ISA>(&x_mu, &mu));
                }
            }
        }
    }
}

/// Packs gradients [rows, 4F] as `[channel block][row + one row of zeros][STATE]`.
pub fn pack_gradients<T: Real>(features: usize, n_rows: usize, d_state: &[T], packed: &mut Vec<T>) {
    let n_blocks = features.div_ceil(LANES);
    packed.resize(n_blocks * (n_rows + 1) * STATE, T::ZERO);
    for cb in 0..n_blocks {
        packed[(cb * (n_rows + 1) + n_rows) * STATE..][..STATE].fill(T::ZERO);
        for row in 0..n_rows {
            let out = &mut packed[(cb * (n_rows + 1) + row) * STATE..][..STATE];
            for part in 0..4 {
                let lane = load_channels(&d_state[(row * 4 + part) * features..], cb * LANES, features);
                out[part * LANES..(part + 1) * LANES].copy_from_slice(&lane);
            }
        }
    }
}

simd! {
    /// State [receivers, 4F] after the message: `start` rows (chosen by `start_row` of the atom) plus the messages that arrive.
    /// `senders` are rows of [`pack_senders`].
    pub fn message_forward<T>(
        edges: Edges<'_, T>,
        receivers: &[u32],
        start: &[T],
        start_row: &[u32],
        senders: Rows<'_, T>,
        out: &mut [T],
    ) {
        let f = edges.features;
        for cb in 0..f.div_ceil(LANES) {
            let packed = senders.block::<SENDER>(cb);
            let sender = |atom: usize| -> &[T; SENDER] {
                packed[senders.of[atom] as usize * SENDER..][..SENDER].try_into().expect("SENDER elements")
            };
            for (k, &a) in receivers.iter().enumerate() {
                let (a, i) = (a as usize, a as usize % edges.n_atoms);
                let state = &start[start_row[a] as usize * 4 * f..][..4 * f];
                let mut q = load_channels(state, cb * LANES, f);
                let mut mu = [[T::ZERO; LANES]; 3];
                for d in 0..3 {
                    mu[d] = load_channels(&state[(1 + d) * f..], cb * LANES, f);
                }
                if let Some((graph, filters)) = edges.template.filter(|_| i < edges.n_template) {
                    let mut e = graph.edge_starts[i] as usize;
                    for group in &graph.groups[graph.group_starts[i] as usize..graph.group_starts[i + 1] as usize] {
                        let mut sum = [[T::ZERO; LANES]; 7];
                        for edge in &graph.edges[e..group.end as usize] {
                            let s = sender(a - i + edge.sender as usize);
                            add_lane::<T, ISA>(&mut sum[0], lane(s, 0));
                            for d in 0..3 {
                                add_scaled::<T, ISA>(&mut sum[1 + d], edge.unit[d], lane(s, 1));
                                add_lane::<T, ISA>(&mut sum[4 + d], lane(s, 2 + d));
                            }
                        }
                        e = group.end as usize;
                        let w = filters.get(group.row, cb);
                        add_product::<T, ISA>(&mut q, lane(w, 0), &sum[0]);
                        for (d, mu) in mu.iter_mut().enumerate() {
                            add_product::<T, ISA>(mu, lane(w, 1), &sum[1 + d]);
                            add_product::<T, ISA>(mu, lane(w, 2), &sum[4 + d]);
                        }
                    }
                }
                if let Some((graph, filters)) = edges.free {
                    for edge in graph.received(a) {
                        let (s, w) = (sender(edge.sender as usize), filters.get(edge.row, cb));
                        add_product::<T, ISA>(&mut q, lane(w, 0), lane(s, 0));
                        let radial = product::<T, ISA>(lane(w, 1), lane(s, 1));
                        for (d, mu) in mu.iter_mut().enumerate() {
                            add_scaled::<T, ISA>(mu, edge.unit[d], &radial);
                            add_product::<T, ISA>(mu, lane(w, 2), lane(s, 2 + d));
                        }
                    }
                }
                let out = &mut out[k * 4 * f..][..4 * f];
                store_channels(out, cb * LANES, f, &q);
                for d in 0..3 {
                    store_channels(&mut out[(1 + d) * f..], cb * LANES, f, &mu[d]);
                }
            }
        }
    }
}

/// Gradients that a message hands back.
pub struct MessageGradients<'a, T> {
    /// d x [sender rows, 3F]; added to.
    pub x: &'a mut [T],
    /// d state [sender rows, 4F]: the μ part is added to. `None` in the first block, where μ is 0.
    pub state: Option<&'a mut [T]>,
    /// d filters of the template edges, rows as the filters; added to.
    pub template_filters: &'a mut [T],
    /// d filters of the free edges, rows as the filters; added to.
    pub free_filters: &'a mut [T],
}

simd! {
    /// Adds the gradients of `atoms`, each gathered from its receivers.
    ///
    /// `senders` are those of the forward pass, made from `x` and `state`. `receivers` are rows of [`pack_gradients`]; the last row
    /// is zero.
    pub fn message_backward<T>(
        edges: Edges<'_, T>,
        atoms: &[u32],
        senders: Rows<'_, T>,
        x: &[T],
        state: Option<&[T]>,
        receivers: Rows<'_, T>,
        gradients: MessageGradients<'_, T>,
    ) {
        let f = edges.features;
        let mut gradients = gradients;
        for cb in 0..f.div_ceil(LANES) {
            let c = cb * LANES;
            let packed = senders.block::<SENDER>(cb);
            let d_packed = receivers.block::<STATE>(cb);
            let receiver = |atom: usize| -> &[T; STATE] {
                d_packed[receivers.of[atom] as usize * STATE..][..STATE].try_into().expect("STATE elements")
            };
            for &a in atoms {
                let (a, j) = (a as usize, a as usize % edges.n_atoms);
                let row = senders.of[a] as usize;
                let s: &[T; SENDER] = packed[row * SENDER..][..SENDER].try_into().expect("SENDER elements");
                let (mut d_xq, mut d_xr) = ([T::ZERO; LANES], [T::ZERO; LANES]);
                // Σ_i W_μ ⊙ dμ_i: the gradient of y_j.
                let mut d_y = [[T::ZERO; LANES]; 3];
                if let Some((graph, filters)) = edges.template.filter(|_| j < edges.n_template) {
                    let mut e = graph.edge_starts[j] as usize;
                    for group in &graph.groups[graph.group_starts[j] as usize..graph.group_starts[j + 1] as usize] {
                        let mut d_q = [T::ZERO; LANES];
                        let mut d_radial = [T::ZERO; LANES];
                        let mut d_mu = [[T::ZERO; LANES]; 3];
                        for edge in &graph.edges[e..group.end as usize] {
                            let d = receiver(a - j + edge.sender as usize);
                            add_lane::<T, ISA>(&mut d_q, lane(d, 0));
                            for (axis, d_mu) in d_mu.iter_mut().enumerate() {
                                // The receiver sees this atom along the opposite direction.
                                add_scaled::<T, ISA>(&mut d_radial, -edge.unit[axis], lane(d, 1 + axis));
                                add_lane::<T, ISA>(d_mu, lane(d, 1 + axis));
                            }
                        }
                        e = group.end as usize;
                        let w = filters.get(group.row, cb);
                        add_product::<T, ISA>(&mut d_xq, lane(w, 0), &d_q);
                        add_product::<T, ISA>(&mut d_xr, lane(w, 1), &d_radial);
                        for (d_y, d_mu) in d_y.iter_mut().zip(&d_mu) {
                            add_product::<T, ISA>(d_y, lane(w, 2), d_mu);
                        }
                        let start = group.row as usize * filters.row_len + filters.offset + cb * FILTER;
                        let d_w = &mut gradients.template_filters[start..start + FILTER];
                        add_filter_gradient::<T, ISA>(d_w, s, &d_q, &d_radial, [&d_mu[0], &d_mu[1], &d_mu[2]]);
                    }
                }
                if let Some((graph, filters)) = edges.free {
                    for edge in graph.received(a) {
                        let (d, w) = (receiver(edge.sender as usize), filters.get(edge.row, cb));
                        let mut d_radial = [T::ZERO; LANES];
                        for (axis, d_y) in d_y.iter_mut().enumerate() {
                            add_scaled::<T, ISA>(&mut d_radial, -edge.unit[axis], lane(d, 1 + axis));
                            add_product::<T, ISA>(d_y, lane(w, 2), lane(d, 1 + axis));
                        }
                        add_product::<T, ISA>(&mut d_xq, lane(w, 0), lane(d, 0));
                        add_product::<T, ISA>(&mut d_xr, lane(w, 1), &d_radial);
                        let start = edge.row as usize * filters.row_len + filters.offset + cb * FILTER;
                        let d_w = &mut gradients.free_filters[start..start + FILTER];
                        add_filter_gradient::<T, ISA>(d_w, s, lane(d, 0), &d_radial, [lane(d, 1), lane(d, 2), lane(d, 3)]);
                    }
                }
                let d_x = &mut gradients.x[row * 3 * f..][..3 * f];
                add_channels::<T, ISA>(d_x, c, f, &d_xq);
                add_channels::<T, ISA>(&mut d_x[f..], c, f, &d_xr);
                if let (Some(state), Some(d_state)) = (state, gradients.state.as_deref_mut()) {
                    let x_mu = load_channels(&x[row * 3 * f + 2 * f..], c, f);
                    let mut d_xmu = [T::ZERO; LANES];
                    for (axis, d_y) in d_y.iter().enumerate() {
                        let at = row * 4 * f + (1 + axis) * f;
                        add_product::<T, ISA>(&mut d_xmu, &load_channels(&state[at..], c, f), d_y);
                        add_channels::<T, ISA>(&mut d_state[at..], c, f, &product::<T, ISA>(&x_mu, d_y));
                    }
                    add_channels::<T, ISA>(&mut d_x[2 * f..], c, f, &d_xmu);
                }
            }
        }
    }
}

/// d W += (dq⊙x_q, (Σ u·dμ)⊙x_R, Σ_d dμ_d⊙y_d) of one sender.
#[inline(always)]
fn add_filter_gradient<T: Real, const ISA: u8>(
    d_w: &mut [T],
    sender: &[T; SENDER],
    d_q: &[T; LANES],
    d_radial: &[T; LANES],
    d_mu: [&[T; LANES]; 3],
) {
    let (d_wq, rest) = d_w.split_first_chunk_mut().expect("FILTER elements");
    let (d_wr, rest) = rest.split_first_chunk_mut().expect("FILTER elements");
    let (d_wm, _) = rest.split_first_chunk_mut().expect("FILTER elements");
    add_product::<T, ISA>(d_wq, d_q, lane(sender, 0));
    add_product::<T, ISA>(d_wr, d_radial, lane(sender, 1));
    for (axis, d_mu) in d_mu.into_iter().enumerate() {
        add_product::<T, ISA>(d_wm, d_mu, lane(sender, 2 + axis));
    }
}

/// row[start..] += channels; channels beyond the row's `n` are left out.
#[inline(always)]
fn add_channels<T: Real, const ISA: u8>(row: &mut [T], start: usize, n: usize, channels: &[T; LANES]) {
    if let Some(whole) = row[start..].first_chunk_mut().filter(|_| start + LANES <= n) {
        return add_lane::<T, ISA>(whole, channels);
    }
    let end = (start + LANES).min(n);
    for (x, &add) in row[start..end].iter_mut().zip(channels) {
        *x += add;
    }
}
