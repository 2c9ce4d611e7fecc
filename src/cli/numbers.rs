//! Numbers on the command line, with messages about those that do not fit.

use std::ops::RangeInclusive;

/// Largest whole number that files hold.
pub const LARGEST: u64 = i64::MAX as u64;

/// Reads a whole number of `range`.
pub fn whole<T: TryFrom<u64>>(range: RangeInclusive<u64>) -> impl Fn(&str) -> Result<T, String> + Clone {
    move |text| {
        let number =
            text.parse().ok().filter(|number| range.contains(number)).and_then(|number| T::try_from(number).ok());
        number.ok_or_else(|| format!("give a whole number from {} to {}", range.start(), range.end()))
    }
}

/// Reads a finite number.
pub fn real(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite());
    number.ok_or_else(|| "give a number, such as 0.05".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_do_not_fit_get_a_sentence() {
        assert_eq!(whole::<u16>(1..=65535)("65535"), Ok(65535));
        for wrong in ["0", "65536", "-1", "1.0", "1e3", "x", "", "99999999999999999999"] {
            assert_eq!(whole::<u16>(1..=65535)(wrong), Err("give a whole number from 1 to 65535".into()), "{wrong}");
        }
        assert_eq!(whole::<u8>(0..=1000)("256"), Err("give a whole number from 0 to 1000".into()));
        assert_eq!(real("-0.5"), Ok(-0.5));
        for wrong in ["nan", "inf", "x", "", "1,5"] {
            assert_eq!(real(wrong), Err("give a number, such as 0.05".into()), "{wrong}");
        }
    }
}
