// Energies and forces of effective medium theory of S structures, in f64. CPU twin: TemplateShare::evaluate in src/potential/emt/template_share.rs.
#include "emt.cuh"

struct EmtArguments {
    EmtSystem system;
    EmtRoom room;
    // Free atoms, Å: [S, n, 3].
    const double* positions;
    // eV, [S]; eV/Å, [S, N, 3]. Overwritten, but not for structures that overflow.
    double* energies;
    double* forces;
};

// One block a structure, whole warps; shared memory: EmtShared.
KERNEL(256, emt, EmtArguments) {
    const EmtSystem& system = arguments.system;
    const u64 structure = blockIdx.x;
    double* forces = arguments.forces + 3 * structure * (system.n_template + system.n_free);
    const double* positions = arguments.positions + 3 * structure * system.n_free;
    double energy = 0.0;
    const bool fits = emt_evaluate(system, arguments.room, structure, shared_memory<double>(), positions,
                                   forces + 3 * system.n_template, forces, energy);
    if (fits && threadIdx.x == 0) arguments.energies[structure] = energy;
}
