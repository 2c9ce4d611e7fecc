//! Chemical elements: symbols, covalent radii, and the formula that names the free atoms.

use crate::error::{Error, Result};
use std::iter::repeat_n;

/// Symbols of the elements 1 to 118.
#[rustfmt::skip]
const SYMBOLS: [&str; 118] = [
    "H", "He", "Li", "Be", "B", "C", "N", "O", "F", "Ne", "Na", "Mg", "Al", "Si", "P", "S", "Cl", "Ar", "K", "Ca",
    "Sc", "Ti", "V", "Cr", "Mn", "Fe", "Co", "Ni", "Cu", "Zn", "Ga", "Ge", "As", "Se", "Br", "Kr", "Rb", "Sr", "Y",
    "Zr", "Nb", "Mo", "Tc", "Ru", "Rh", "Pd", "Ag", "Cd", "In", "Sn", "Sb", "Te", "I", "Xe", "Cs", "Ba", "La",
    "Ce", "Pr", "Nd", "Pm", "Sm", "Eu", "Gd", "Tb", "Dy", "Ho", "Er", "Tm", "Yb", "Lu", "Hf", "Ta", "W", "Re",
    "Os", "Ir", "Pt", "Au", "Hg", "Tl", "Pb", "Bi", "Po", "At", "Rn", "Fr", "Ra", "Ac", "Th", "Pa", "U", "Np",
    "Pu", "Am", "Cm", "Bk", "Cf", "Es", "Fm", "Md", "No", "Lr", "Rf", "Db", "Sg", "Bh", "Hs", "Mt", "Ds", "Rg",
    "Cn", "Nh", "Fl", "Mc", "Lv", "Ts", "Og",
];

/// Covalent radii in Å of the elements 1 to 96 (Cordero et al., Dalton Trans. 2008, 2832; for C, Mn, Fe and Co the values that
/// ASE's `covalent_radii` takes: sp3 carbon, low-spin metals).
#[rustfmt::skip]
const COVALENT_RADII: [f64; 96] = [
    0.31, 0.28, 1.28, 0.96, 0.84, 0.76, 0.71, 0.66, 0.57, 0.58, 1.66, 1.41, 1.21, 1.11, 1.07, 1.05, 1.02, 1.06,
    2.03, 1.76, 1.7, 1.6, 1.53, 1.39, 1.39, 1.32, 1.26, 1.24, 1.32, 1.22, 1.22, 1.2, 1.19, 1.2, 1.2, 1.16, 2.2,
    1.95, 1.9, 1.75, 1.64, 1.54, 1.47, 1.46, 1.42, 1.39, 1.45, 1.44, 1.42, 1.39, 1.39, 1.38, 1.39, 1.4, 2.44, 2.15,
    2.07, 2.04, 2.03, 2.01, 1.99, 1.98, 1.98, 1.96, 1.94, 1.92, 1.92, 1.89, 1.9, 1.87, 1.87, 1.75, 1.7, 1.62, 1.51,
    1.44, 1.41, 1.36, 1.36, 1.32, 1.45, 1.46, 1.48, 1.4, 1.5, 1.5, 2.6, 2.21, 2.15, 2.06, 2.0, 1.96, 1.9, 1.87,
    1.8, 1.69,
];

/// Covalent radius in Å of an element without a published one (ASE's own choice).
const UNKNOWN_RADIUS: f64 = 2.0;

/// Rows of the score model's embedding; row Z belongs to atomic number Z.
const EMBEDDING_ROWS: u8 = 100;

/// Most free atoms a formula may name.
const MOST_FREE_ATOMS: usize = 10_000;

/// Symbol of the element with this atomic number; `None` outside 1 to 118.
pub fn symbol(number: u8) -> Option<&'static str> {
    SYMBOLS.get(usize::from(number).checked_sub(1)?).copied()
}

/// Atomic number of the element with exactly this symbol.
pub fn atomic_number(symbol: &str) -> Option<u8> {
    (1..).zip(SYMBOLS).find_map(|(number, known)| (known == symbol).then_some(number))
}

/// Makes the first letter upper case and the others lower case, as ASE reads symbols.
pub(super) fn capitalised(symbol: &str) -> String {
    let (first, rest) = symbol.split_at(symbol.chars().next().map_or(0, char::len_utf8));
    first.to_uppercase() + &rest.to_lowercase()
}

/// Covalent radius in Å; 2.0, as in ASE, where none is published.
pub fn covalent_radius(number: u8) -> f64 {
    usize::from(number).checked_sub(1).and_then(|k| COVALENT_RADII.get(k)).copied().unwrap_or(UNKNOWN_RADIUS)
}

/// True for the atomic numbers that have a row in the score model's embedding: 1 to 99.
pub fn fits_the_model(number: u8) -> bool {
    (1..EMBEDDING_ROWS).contains(&number)
}

/// Atomic numbers named by a formula such as `Pt7`, `Au2Pt3` or `CO`, in its order.
///
/// # Errors
/// `BadInput` for an empty formula, an unknown symbol, a count of zero, or more than 10,000 atoms.
pub fn parse_formula(formula: &str) -> Result<Vec<u8>> {
    let refuse = |why: String| Err(Error::bad_input(format!("formula '{formula}': {why}")));
    let mut rest = formula.trim();
    if rest.is_empty() {
        return Err(Error::bad_input("the formula of the free atoms is empty; name them, for example \"Pt7\""));
    }
    let mut numbers = Vec::new();
    while !rest.is_empty() {
        // Two letters are tried before one, so that Co is cobalt and CO is carbon and oxygen.
        let element = [2, 1].iter().find_map(|&n| Some((n, atomic_number(rest.get(..n)?)?)));
        let Some((n_letters, number)) = element else {
            return refuse(format!("'{rest}' does not start with an element symbol; write for example \"Au2Pt3\""));
        };
        rest = &rest[n_letters..];
        let n_digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let count = match &rest[..n_digits] {
            "" => 1,
            // A count with too many digits for a usize is too many atoms.
            digits => digits.parse().unwrap_or(usize::MAX),
        };
        rest = &rest[n_digits..];
        if count == 0 {
            return refuse("a count of 0 names no atom; leave that element out".into());
        }
        if count > MOST_FREE_ATOMS - numbers.len() {
            return refuse(format!("names more than {MOST_FREE_ATOMS} atoms; give fewer free atoms"));
        }
        numbers.extend(repeat_n(number, count));
    }
    Ok(numbers)
}

/// The formula of `numbers` in their order: Pt7, Au2Cu.
pub fn formula(numbers: &[u8]) -> String {
    let part = |same: &[u8]| {
        let count = if same.len() > 1 { same.len().to_string() } else { String::new() };
        format!("{}{count}", symbol(same[0]).unwrap_or("X"))
    };
    numbers.chunk_by(|a, b| a == b).map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn symbols_and_numbers_agree() {
        for number in 1..=118 {
            assert_eq!(atomic_number(symbol(number).unwrap()), Some(number));
        }
        assert_eq!((symbol(0), symbol(119), atomic_number("Xx")), (None, None, None));
        assert_eq!((atomic_number("H"), atomic_number("Pt"), atomic_number("Og")), (Some(1), Some(78), Some(118)));
    }

    #[test]
    fn known_radii() {
        for (number, radius) in [(1, 0.31), (6, 0.76), (29, 1.32), (78, 1.36), (96, 1.69), (97, 2.0), (118, 2.0)] {
            assert_eq!(covalent_radius(number), radius);
        }
    }

    #[test]
    fn embedding_has_ninety_nine_elements() {
        assert!(fits_the_model(1) && fits_the_model(99));
        assert!(!fits_the_model(0) && !fits_the_model(100));
    }

    #[test]
    fn formulas() {
        assert_eq!(parse_formula("Pt7").unwrap(), [78; 7]);
        assert_eq!(parse_formula("Au2Pt3").unwrap(), [79, 79, 78, 78, 78]);
        assert_eq!(parse_formula(" CO ").unwrap(), [6, 8]);
        assert_eq!(parse_formula("Co").unwrap(), [27]);
        assert_eq!(parse_formula("PtAuPt2").unwrap(), [78, 79, 78, 78]);
    }

    #[test]
    fn bad_formulas_say_why() {
        for (formula, sentence) in [
            ("", "the formula of the free atoms is empty"),
            ("  ", "the formula of the free atoms is empty"),
            ("Pt0", "formula 'Pt0': a count of 0 names no atom"),
            ("7Pt", "'7Pt' does not start with an element symbol"),
            ("PtXx2", "'Xx2' does not start with an element symbol"),
            ("pt", "'pt' does not start with an element symbol"),
            ("Pt-1", "'-1' does not start with an element symbol"),
            ("Pt10001", "names more than 10000 atoms"),
            ("Pt9999Au2", "names more than 10000 atoms"),
            ("Pt99999999999999999999999", "names more than 10000 atoms"),
        ] {
            let error = parse_formula(formula).unwrap_err();
            assert!(error.to_string().contains(sentence), "{formula}: {error}");
            assert_eq!(error.exit_code(), 2);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_answered(formula in "\\PC*") {
            let _ = parse_formula(&formula);
        }
    }
}
