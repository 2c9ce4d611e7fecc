"""EMT whose energy depends on what a structure's file says besides. Used by tests/external_ase.rs."""

from ase.calculators.emt import EMT


class Informed(EMT):
    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        strangers = {"stress", "magmoms", "iteration"} & (set(atoms.info) | set(atoms.arrays))
        if strangers:
            raise ValueError(f"{strangers} are no inputs")
        super().calculate(atoms, properties, system_changes)
        ranks = range(1, len(atoms) + 1)
        moments = atoms.get_initial_magnetic_moments()
        self.results["energy"] += 10.0 * atoms.info.get("charge", 0) + sum(k * m for k, m in zip(ranks, moments))
