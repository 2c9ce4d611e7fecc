// The one place that finds the close periodic images of a pair. CPU twin, with the geometry: src/system/images.rs.
//
// The enumeration of Fincke and Pohst runs in f32, on fractional coordinates. These are first folded into one cell, so that they
// keep their digits. It finds every image within the cutoff and a little more; if f32 cannot decide on an image, the CPU's own
// formula decides in f64, so both find the same images.
#pragma once

#include "vector.cuh"

// A cell and a cutoff, filled in by src/gpu/images.rs. Axes without period have vectors too.
struct CellConstants {
    // Lattice vectors, Å; rows. Those of axes without period are not used, as the shift along them is 0.
    Vector vectors[3];
    // Inverse of the completed cell: fraction = difference · inverse, 1/Å.
    Vector inverse[3];
    // Origin of the fractional coordinates, Å: near the atoms.
    Vector origin;
    // Å.
    double cutoff;
    // Lengths of a, b, c after orthogonalisation, Å: a across b and c, b across c, c itself.
    float width_a, width_b, width_c;
    // Their inverses, 1/Å.
    float per_width_a, per_width_b, per_width_c;
    // Components of a along b, a along c, b along c after orthogonalisation.
    float slant_ab, slant_ac, slant_bc;
    // Bounds on squared distances in f32, Å². Up to `outer` an image may be within the cutoff. Between `innermost` and `inner` it
    // surely is, and its distance is surely not 0.
    float outer, inner, innermost;
    // Fraction up to which an axis without period keeps its digits in f32.
    float near_a, near_b, near_c;
    // 1 for an axis with a period, else 0.
    unsigned periodic_a, periodic_b, periodic_c;
};

// Whole lattice vectors along a, b, c.
struct Shift {
    int a, b, c;
};

// Fractional coordinates folded into the cell along its periodic axes: the atom is at fraction + shift.
struct Folded {
    float a, b, c;
    Shift shift;
    // 0 if f32 cannot hold these coordinates.
    unsigned sound;
};

// Folds one coordinate; true if f32 and int can hold the result.
__device__ __forceinline__ bool fold_axis(double fraction, unsigned periodic, float near, float& folded, int& shift) {
    const double whole = periodic ? rint(fraction) : 0.0;
    const bool sound = fabs(whole) < 1e9 && (periodic || fabs(fraction) <= double(near));
    shift = sound ? int(whole) : 0;
    folded = float(fraction - whole);
    return sound;
}

// Folds a vector (Å).
__device__ __forceinline__ Folded fold(const CellConstants& cell, Vector v) {
    const Vector fraction = combine(v, cell.inverse);
    Folded folded;
    const bool a = fold_axis(fraction.x, cell.periodic_a, cell.near_a, folded.a, folded.shift.a);
    const bool b = fold_axis(fraction.y, cell.periodic_b, cell.near_b, folded.b, folded.shift.b);
    const bool c = fold_axis(fraction.z, cell.periodic_c, cell.near_c, folded.c, folded.shift.c);
    folded.sound = a && b && c;
    return folded;
}

// R_j + shift·cell − R_i, Å.
__device__ __forceinline__ Vector image_vector(const CellConstants& cell, Vector r_i, Vector r_j, Shift shift) {
    return add(sub(r_j, r_i), combine({double(shift.a), double(shift.b), double(shift.c)}, cell.vectors));
}

// True if 0 < distance < cutoff, by the CPU's formula.
__device__ __forceinline__ bool is_within(const CellConstants& cell, Vector r_i, Vector r_j, Shift shift) {
    const Vector v = image_vector(cell, r_i, r_j, shift);
    const double squared = dot(v, v), distance = sqrt(squared);
    return squared < cell.cutoff * cell.cutoff && distance > 0.0 && distance < cell.cutoff;
}

// Calls visit(shift, sure) for images of the atom at r_j around the one at r_i (three numbers each, Å, anywhere), in ascending
// order of the shift. These are all images that f32 cannot rule out. `sure` is true if surely 0 < distance < cutoff; else f64 has
// to decide. `i` and `j` are the folded r_i − origin and r_j − origin. Most pairs are far apart and need only these.
template <class Visit>
__device__ __forceinline__ void for_each_near(const CellConstants& cell, const double* r_i, const Folded& i, const double* r_j,
                                              const Folded& j, Visit visit) {
    float fa = j.a - i.a, fb = j.b - i.b, fc = j.c - i.c;
    Shift base = {i.shift.a - j.shift.a, i.shift.b - j.shift.b, i.shift.c - j.shift.c};
    if (!(i.sound && j.sound)) {
        // The coordinates are far out or NaN: only their difference can be small enough.
        const Folded difference = fold(cell, sub(vector_at(r_j, 0), vector_at(r_i, 0)));
        if (!difference.sound) return;
        fa = difference.a, fb = difference.b, fc = difference.c;
        base = {-difference.shift.a, -difference.shift.b, -difference.shift.c};
    }
    // The first and last shift s with |offset + s| ≤ sqrt(left)/width.
    int first_a = 0, last_a = 0;
    if (cell.periodic_a) {
        const float reach = sqrtf(cell.outer) * cell.per_width_a;
        first_a = int(ceilf(-fa - reach)), last_a = int(floorf(reach - fa));
    }
    for (int sa = first_a; sa <= last_a; ++sa) {
        const float along_a = fa + float(sa);
        const float left_a = cell.outer - along_a * cell.width_a * along_a * cell.width_a;
        if (left_a < 0.0f) continue;
        const float offset_b = fb + along_a * cell.slant_ab;
        int first_b = 0, last_b = 0;
        if (cell.periodic_b) {
            const float reach = sqrtf(left_a) * cell.per_width_b;
            first_b = int(ceilf(-offset_b - reach)), last_b = int(floorf(reach - offset_b));
        }
        for (int sb = first_b; sb <= last_b; ++sb) {
            const float along_b = offset_b + float(sb);
            const float left_b = left_a - along_b * cell.width_b * along_b * cell.width_b;
            if (left_b < 0.0f) continue;
            const float offset_c = fc + along_a * cell.slant_ac + (fb + float(sb)) * cell.slant_bc;
            int first_c = 0, last_c = 0;
            if (cell.periodic_c) {
                const float reach = sqrtf(left_b) * cell.per_width_c;
                first_c = int(ceilf(-offset_c - reach)), last_c = int(floorf(reach - offset_c));
            }
            for (int sc = first_c; sc <= last_c; ++sc) {
                const float along_c = offset_c + float(sc);
                const float squared = (cell.outer - left_b) + along_c * cell.width_c * along_c * cell.width_c;
                if (squared > cell.outer) continue;
                const Shift shift = {base.a + sa, base.b + sb, base.c + sc};
                visit(shift, squared < cell.inner && squared > cell.innermost);
            }
        }
    }
}

// Calls visit(shift) for every image with 0 < distance < cutoff, as above.
template <class Visit>
__device__ __forceinline__ void for_each_within(const CellConstants& cell, const double* r_i, const Folded& i,
                                                const double* r_j, const Folded& j, Visit visit) {
    for_each_near(cell, r_i, i, r_j, j, [&](Shift shift, bool sure) {
        if (sure || is_within(cell, vector_at(r_i, 0), vector_at(r_j, 0), shift)) visit(shift);
    });
}
