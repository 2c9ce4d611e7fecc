"""EMT as a driver of i-PI's own client: i-pi-py_driver -m custom -P ipi_emt.py -o template=start.xyz. Used by tests/external_ipi.rs."""

from ase.calculators.emt import EMT
from ipi.pes._ase import ASEDriver

__DRIVER_NAME__ = "ipi_emt"
__DRIVER_CLASS__ = "EMTDriver"


class EMTDriver(ASEDriver):
    def check_parameters(self):
        super().check_parameters()
        self.ase_calculator = EMT()
