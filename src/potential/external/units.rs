//! The atomic units of the wire: bohr and hartree.
//!
//! The values are those of `ase.units` (CODATA 2014, the default of ASE since 3.14), so that ASE's socket client and godiff's own
//! workers exactly reverse the conversion here. Other programs convert with other constants: i-PI's Python drivers with 1 eV =
//! 0.036749326 hartree (1·10⁻⁷ relative, 5·10⁻⁵ eV at 500 eV). Codes that compute in atomic units do not convert.

/// One bohr, Å.
pub const BOHR_ANGSTROM: f64 = 0.5291772105638411;

/// One hartree, eV.
pub const HARTREE_EV: f64 = 27.211386024367243;

/// One hartree per bohr, eV/Å.
pub const HARTREE_PER_BOHR: f64 = HARTREE_EV / BOHR_ANGSTROM;
