//! A structure as shaded balls, from above and from the side.

use super::style::N_SHADES;
use super::svg::Picture;
use crate::system::elements::covalent_radius;
use crate::system::vector::{add, norm, scale, sub};
use crate::system::{BOND_FACTOR, Cell, Images, System, Vec3};

/// Radius of a template atom's ball in covalent radii.
const BALL: f64 = 1.0;
/// Radius of a free atom's ball in covalent radii: small enough to show its bonds.
const FREE_BALL: f64 = 0.8;
/// Width of a bond, Å.
const STICK: f64 = 0.45;
/// Room around the free atoms, Å.
const MARGIN: f64 = 2.2;
/// Widest part of a surface that is shown, Å.
const WIDEST: f64 = 24.0;
/// Width of a view in the picture's units.
const WIDTH: f64 = 240.0;
/// Depth over which template atoms fade to the palest shade, Å.
const FADE: f64 = 5.0;
/// How much further in front than any free atom a template atom may be in the side view, Å. Nearer ones would hide free atoms and
/// are left out.
const IN_FRONT: f64 = 1.0;

/// An atom of a view: right, up and towards the reader, Å.
struct Ball {
    at: Vec3,
    number: u8,
    shade: usize,
}

impl Ball {
    /// Radius, Å.
    fn radius(&self) -> f64 {
        covalent_radius(self.number) * if self.shade == 0 { FREE_BALL } else { BALL }
    }
}

/// The structure of `system` with the free atoms at `free` (n positions, Å) from above (a to the right) and from the side. The
/// free atoms are put together across periodic boundaries and are in the middle. Template atoms, also mobile ones, are paler, and
/// repeated where the cell repeats. `name` and `label` become those of the pictures, with "top" and "side".
pub fn views(system: &System, free: &[Vec3], name: &str, label: &str) -> [Picture; 2] {
    let (mobile, free) = free.split_at(system.n_mobile());
    let system = &system.holding_mobile(mobile);
    let free = together(system, free);
    let window = window(system, &free);
    let template = template_in(system, window);
    let top_of = |positions: &mut dyn Iterator<Item = f64>| positions.fold(f64::NEG_INFINITY, f64::max);
    let top = top_of(&mut template.iter().map(|(position, _)| position[2]));
    // The view is along y: the atom with the lowest y is in front.
    let front = -top_of(&mut free.iter().map(|position| -position[1]));
    let fading = |depth: f64| 1 + ((depth / FADE).clamp(0.0, 1.0) * (N_SHADES - 2) as f64).round() as usize;
    let atoms = || system.free_numbers.iter().zip(&free).map(|(&number, &position)| (position, number));
    let from_above = |(at, number): (Vec3, u8), shade| Ball { at, number, shade };
    let above: Vec<Ball> = (template.iter().map(|&atom| from_above(atom, fading(top - atom.0[2]))))
        .chain(atoms().map(|atom| from_above(atom, 0)))
        .collect();
    let from_side = |([x, y, z], number): (Vec3, u8), shade| Ball { at: [x, z, -y], number, shade };
    let seen = template.iter().filter(|(position, _)| position[1] >= front - IN_FRONT);
    let side: Vec<Ball> = (seen.map(|&atom| from_side(atom, fading(atom.0[1] - front))))
        .chain(atoms().map(|atom| from_side(atom, 0)))
        .collect();
    let [x0, x1, ..] = window;
    let heights = side.iter().map(|ball| (ball.at[1], ball.radius()));
    let low = heights.clone().map(|(z, radius)| z - radius).fold(f64::INFINITY, f64::min);
    let high = heights.map(|(z, radius)| z + radius).fold(f64::NEG_INFINITY, f64::max);
    [
        draw(above, window, format!("{name}-top"), format!("{label}, from above")),
        draw(side, [x0, x1, low - 0.3, high + 0.3], format!("{name}-side"), format!("{label}, from the side")),
    ]
}

/// The free atoms at `free` (Å) without gaps across periodic boundaries: each at the image that is closest to an atom placed
/// before, the whole with its middle inside the cell. Without a template, where all may be connected to all, each is put into the
/// cell.
pub fn together(system: &System, free: &[Vec3]) -> Vec<Vec3> {
    if system.n_template() == 0 {
        return free.iter().map(|&position| system.cell.wrap(position, [true; 3])).collect();
    }
    let images = Images::new(&system.cell);
    let mut placed: Vec<Option<Vec3>> = vec![None; free.len()];
    // The nearest image of each atom to any placed one, with its squared distance.
    let mut nearest: Vec<(f64, Vec3)> = free.iter().map(|&position| (f64::INFINITY, position)).collect();
    for _ in 0..free.len() {
        let left = (0..free.len()).filter(|&k| placed[k].is_none());
        let Some(next) = left.min_by(|&i, &j| nearest[i].0.total_cmp(&nearest[j].0)) else { break };
        let here = nearest[next].1;
        placed[next] = Some(here);
        for k in 0..free.len() {
            let image = images.nearest(sub(free[k], here));
            if image.squared < nearest[k].0 {
                nearest[k] = (image.squared, add(here, image.vector));
            }
        }
    }
    let placed: Vec<Vec3> = placed.into_iter().flatten().collect();
    let sum = placed.iter().fold([0.0; 3], |sum, &position| add(sum, position));
    let middle = scale(1.0 / placed.len().max(1) as f64, sum);
    let shift = sub(system.cell.wrap(middle, [true; 3]), middle);
    placed.into_iter().map(|position| add(position, shift)).collect()
}

/// The window from above: [left, right, bottom, top] in Å. It shows a part of the surface around the free atoms, as wide as the
/// cell.
fn window(system: &System, free: &[Vec3]) -> [f64; 4] {
    let mut window = [0.0; 4];
    for axis in 0..2 {
        let every = if system.n_template() == 0 { free } else { &[&system.template_positions[..], free].concat() };
        let span = |positions: &[Vec3]| {
            let along = || positions.iter().map(|position| position[axis]);
            [along().fold(f64::INFINITY, f64::min), along().fold(f64::NEG_INFINITY, f64::max)]
        };
        let [low, high] = span(free);
        let vectors = system.cell.vectors;
        let repeats = system.cell.periodic[axis] && system.n_template() > 0;
        [window[2 * axis], window[2 * axis + 1]] = if repeats {
            let width = vectors[0][axis].abs().max(vectors[1][axis].abs()).min(WIDEST).max(high - low + 2.0 * MARGIN);
            let middle = (low + high) / 2.0;
            [middle - width / 2.0, middle + width / 2.0]
        } else {
            let [low, high] = span(every);
            [low - MARGIN, high + MARGIN]
        };
    }
    window
}

/// Template atoms and their periodic images along a and b, if their middles are in `window`.
fn template_in(system: &System, window: [f64; 4]) -> Vec<(Vec3, u8)> {
    let [left, right, bottom, top] = window;
    let atoms = system.template_positions.iter().copied().zip(system.template_numbers.iter().copied());
    let mut found = Vec::new();
    for (position, number) in atoms {
        for image in images_along_the_surface(&system.cell, position, window) {
            if (left..=right).contains(&image[0]) && (bottom..=top).contains(&image[1]) {
                found.push((image, number));
            }
        }
    }
    found
}

/// `position` shifted by lattice vectors a and b (where these repeat) to all places in `window`, and some places outside.
pub fn images_along_the_surface(cell: &Cell, position: Vec3, [left, right, bottom, top]: [f64; 4]) -> Vec<Vec3> {
    let corners = [[left, bottom], [left, top], [right, bottom], [right, top]];
    let shifts = |axis: usize| {
        if !cell.periodic[axis] {
            return 0..=0;
        }
        let needed = corners.map(|[x, y]| cell.fractional(sub([x, y, position[2]], position))[axis]);
        let low = needed.iter().copied().fold(f64::INFINITY, f64::min);
        let high = needed.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        low.floor() as i32..=high.ceil() as i32
    };
    let [a, b, _] = cell.vectors;
    let shift = |(i, j): (i32, i32)| add(position, add(scale(f64::from(i), a), scale(f64::from(j), b)));
    shifts(0).flat_map(|i| shifts(1).map(move |j| (i, j))).map(shift).collect()
}

/// The bonds of free atoms among `balls`: the ends of each on the surfaces of its two balls, Å.
fn sticks(balls: &[Ball]) -> Vec<[Vec3; 2]> {
    let mut sticks = Vec::new();
    for (i, a) in balls.iter().enumerate().filter(|(_, ball)| ball.shade == 0) {
        // Two free atoms meet twice here, and have one bond.
        for (_, b) in balls.iter().enumerate().filter(|(j, ball)| ball.shade > 0 || *j < i) {
            let bond = BOND_FACTOR * (covalent_radius(a.number) + covalent_radius(b.number));
            let (way, length) = (sub(b.at, a.at), norm(sub(b.at, a.at)));
            let [start, end] = [a.radius() / length, 1.0 - b.radius() / length];
            if length < bond && start < end {
                sticks.push([start, end].map(|share| add(a.at, scale(share, way))));
            }
        }
    }
    sticks
}

fn draw(balls: Vec<Ball>, [left, right, bottom, top]: [f64; 4], name: String, label: String) -> Picture {
    let unit = WIDTH / (right - left).max(1.0);
    let mut picture = Picture::new(name, label, WIDTH, ((top - bottom) * unit).max(1.0));
    let on_paper = |[x, y, _]: Vec3| [(x - left) * unit, (top - y) * unit];
    let mut parts: Vec<(f64, String)> = Vec::new();
    for [from, to] in sticks(&balls) {
        let ([x, y], [u, v]) = (on_paper(from), on_paper(to));
        let line = |class: &str, width: f64| {
            format!(
                "<path class=\"{class}\" stroke=\"currentColor\" stroke-width=\"{:.1}\" d=\"M{x:.1} {y:.1}L{u:.1} {v:.1}\"/>",
                width * unit
            )
        };
        parts.push(((from[2] + to[2]) / 2.0, line("ink", STICK) + &line("frame", 0.6 * STICK)));
    }
    for ball in balls {
        let ([x, y], radius) = (on_paper(ball.at), ball.radius() * unit);
        let Ball { at, number, shade } = ball;
        let rim = if shade == 0 { " class=\"ink\" stroke=\"currentColor\" stroke-width=\"1.2\"" } else { "" };
        picture.elements.insert(number);
        parts.push((
            at[2],
            format!(
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius:.1}\" fill=\"url(#ball-{number}-{shade})\"{rim}/>"
            ),
        ));
    }
    parts.sort_by(|a, b| a.0.total_cmp(&b.0));
    parts.iter().for_each(|(_, markup)| picture.add(markup));
    picture
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A square surface of side 10 Å with one template atom.
    fn system(n_free: usize) -> System {
        System {
            cell: Cell {
                vectors: [[10.0, 0.0, 0.0], [0.0, 10.0, 0.0], [0.0, 0.0, 20.0]],
                periodic: [true, true, false],
            },
            template_numbers: vec![79],
            template_positions: vec![[1.0, 1.0, 0.0]],
            free_numbers: vec![78; n_free],
            mobile: Default::default(),
            extras: None,
            molecules: Default::default(),
            confinement: None,
        }
    }

    #[test]
    fn an_island_across_the_corner_is_put_together() {
        let free = [[9.5, 9.0, 2.0], [0.5, 0.5, 2.0], [9.0, 1.0, 2.0], [2.5, 9.8, 2.0]];
        let island = together(&system(4), &free);
        for (k, position) in island.iter().enumerate() {
            let nearest =
                (0..4).filter(|&j| j != k).map(|j| norm(sub(island[j], *position))).fold(f64::INFINITY, f64::min);
            assert!(nearest < 3.0, "{island:?}");
            let moved = sub(*position, free[k]).map(|u| u / 10.0);
            assert!(moved.iter().all(|u| (u - u.round()).abs() < 1e-12), "moved by lattice vectors only: {moved:?}");
        }
    }

    /// 240 units for 10 Å; the free atom is in the middle, the template atom 3 Å left and 2 Å below.
    #[test]
    fn known_atoms_stand_where_they_belong() {
        let [top, side] = views(&system(1), &[[4.0, 3.0, 2.0]], "a", "x");
        let (top, side) = (top.inline(), side.inline());
        assert!(top.contains("cx=\"120.0\" cy=\"120.0\"") && top.contains("url(#ball-78-0)"), "{top}");
        assert!(top.contains("cx=\"48.0\" cy=\"168.0\"") && top.contains("url(#ball-79-1)"), "{top}");
        // From the side the template atom is 2 Å in front of the free one: it is left out.
        assert!(side.contains("cx=\"120.0\"") && !side.contains("ball-79"), "{side}");
    }

    /// Pt and Au are bonded below 1.1 × (1.36 + 1.36) = 2.99 Å. The stick begins and ends on the balls.
    #[test]
    fn free_atoms_have_their_bonds() {
        let mut system = system(2);
        system.template_positions = vec![[6.0, 5.0, 4.0], [6.0, 7.0, 2.0]];
        system.template_numbers = vec![79; 2];
        let [top, _] = views(&system, &[[3.5, 5.0, 4.0], [0.4, 5.0, 4.0]], "a", "x");
        let top = top.inline();
        // One bond, of two lines; none between the template's atoms, and none over 3.1 Å.
        assert_eq!(top.matches("<path").count(), 2, "{top}");
        let ends: Vec<f64> = top
            .split("d=\"")
            .nth(1)
            .unwrap()
            .split('"')
            .next()
            .unwrap()
            .split(['M', 'L', ' '])
            .skip(1)
            .map(|u| u.parse().unwrap())
            .collect();
        let length = (ends[2] - ends[0]).hypot(ends[3] - ends[1]) / 24.0;
        assert!((length - (2.5 - 0.8 * 1.36 - 1.36)).abs() < 0.01, "{length}");
    }

    #[test]
    fn what_is_nearer_is_drawn_later() {
        let [top, side] = views(&system(2), &[[3.0, 3.0, 4.0], [3.0, 2.0, 2.0]], "a", "x");
        let order = |svg: &str| -> Vec<String> {
            svg.split("cy=\"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
        };
        assert!(top.inline().find("ball-79").unwrap() < top.inline().find("ball-78").unwrap());
        // From the side: the template atom (y = 1) before both, then y = 2, and y = 3 behind all.
        let heights: Vec<f64> = order(&side.inline()).iter().map(|y| y.parse().unwrap()).collect();
        assert!(heights[0] < heights[1] && heights[1] < heights[2], "higher atoms lie further behind: {heights:?}");
    }

    #[test]
    fn a_cluster_needs_no_cell() {
        let mut cluster = system(3);
        (cluster.cell, cluster.template_numbers, cluster.template_positions) = (Cell::NONE, vec![], vec![]);
        let [top, _] = views(&cluster, &[[0.0; 3], [3.0, 0.0, 0.0], [0.0, 3.0, 0.0]], "a", "x");
        assert_eq!(top.inline().matches("<circle").count(), 3);
        let [empty, _] = views(&System { free_numbers: vec![], ..cluster }, &[], "a", "x");
        assert!(empty.width.is_finite() && empty.height.is_finite());
    }
}
