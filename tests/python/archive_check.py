"""Opens an archive written by godiff with ASE alone and compares it with what was stored.

usage: archive_check.py ARCHIVE.db EXPECTED.json

EXPECTED.json: {"numbers", "cell", "pbc", "n_template", "calculator", "rows": [{"iteration", "sample", "kt_ev", "status",
"energy" (null: unknown), "positions", "forces" (null: unknown)}]}, rows in the order in which they were stored. Every
number must come back exactly.
"""

import json
import subprocess
import sys

import ase.db
import ase.io
import numpy as np
from ase.calculators.calculator import PropertyNotImplementedError
from ase.constraints import FixAtoms

path, expected_path = sys.argv[1:]
with open(expected_path) as file:
    expected = json.load(file)
rows = expected['rows']


def same(a, b, what):
    assert np.array_equal(np.asarray(a), np.asarray(b)), f'{what}: {a} is not {b}'


def check_atoms(atoms, row):
    same(atoms.numbers, expected['numbers'], 'numbers')
    same(atoms.cell[:], expected['cell'], 'cell')
    same(atoms.pbc, expected['pbc'], 'pbc')
    same(atoms.positions, row['positions'], 'positions')
    n_template = expected['n_template']
    if n_template:
        (constraint,) = atoms.constraints
        assert isinstance(constraint, FixAtoms)
        same(constraint.index, range(n_template), 'fixed atoms')
    else:
        assert not atoms.constraints
    if row['energy'] is not None:
        same(atoms.get_potential_energy(), row['energy'], 'energy')
    elif atoms.calc is not None:
        try:
            atoms.get_potential_energy()
        except PropertyNotImplementedError:
            pass
        else:
            raise AssertionError('an energy where none was stored')
    if row['forces'] is not None:
        same(atoms.get_forces(apply_constraint=False), row['forces'], 'forces')


db = ase.db.connect(path)
assert len(db) == len(rows), f'{len(db)} rows'
found = list(db.select())
for stored, row in zip(found, rows, strict=True):
    pairs = stored.key_value_pairs
    assert pairs == {key: row[key] for key in ('iteration', 'sample', 'kt_ev', 'status')}, pairs
    assert stored.calculator == expected['calculator']
    assert stored.data == {}
    if row['forces'] is not None:
        moving = np.array(row['forces'])[expected['n_template']:]
        column = next(db.select(f'fmax>=0,id={stored.id}'))
        assert column.id == stored.id
        assert np.isclose(stored.fmax, np.sqrt((moving**2).sum(1).max()), rtol=1e-14)
    check_atoms(stored.toatoms(), row)

# What ase gui reads.
for atoms, row in zip(ase.io.read(f'{path}@:'), rows, strict=True):
    check_atoms(atoms, row)


def ids(test):
    return [k + 1 for k, row in enumerate(rows) if test(row)]


for selection, test in [
    ('iteration=3,status=ok', lambda row: row['iteration'] == 3 and row['status'] == 'ok'),
    ('status=too_close', lambda row: row['status'] == 'too_close'),
    ('sample>=1', lambda row: row['sample'] >= 1),
    ('kt_ev<1', lambda row: row['kt_ev'] < 1),
    ('energy<0', lambda row: row['energy'] is not None and row['energy'] < 0),
    ('energy', lambda row: row['energy'] is not None),
    ('status', lambda row: True),
    (f'calculator={expected["calculator"]}', lambda row: True),
    (f'natoms={len(expected["numbers"])}', lambda row: True),
    (found[0].formula, lambda row: True),
    ('Xe', lambda row: False),
]:
    selected = [row.id for row in db.select(selection)]
    assert selected == ids(test), f'{selection}: {selected}'
    assert db.count(selection) == len(selected)

lowest = [row.energy for row in db.select('status=ok', sort='energy')]
assert lowest and lowest == sorted(lowest)
assert 'title' in db.metadata

# The command line, and a change through ASE.
command = [sys.executable, '-m', 'ase', 'db', path]
listing = subprocess.run(
    [*command, 'iteration=3,status=ok', '-c', 'id,energy,sample,status'], capture_output=True, text=True, check=True
)
assert f'Rows: {len(ids(lambda row: row["iteration"] == 3 and row["status"] == "ok"))}' in listing.stdout, listing.stdout
db.update(1, seen=True)
assert db.get(seen=True).id == 1
new_id = db.write(found[0].toatoms(), note='mine')
assert new_id == len(rows) + 1
print('ok')
