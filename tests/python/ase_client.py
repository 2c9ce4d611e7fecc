"""ASE's socket client with EMT: ase_client.py START NAME|HOST:PORT. Used by tests/external_ipi.rs and docs/results/external.md."""

import sys

from ase.calculators.emt import EMT
from ase.calculators.socketio import SocketClient
from ase.io import read

atoms = read(sys.argv[1])
atoms.calc = EMT()
host, colon, port = sys.argv[2].rpartition(":")
client = SocketClient(host=host, port=int(port)) if colon else SocketClient(unixsocket=sys.argv[2])
client.run(atoms, use_stress=False)
