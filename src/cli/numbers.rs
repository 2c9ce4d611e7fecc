//! Numbers on the command line, with messages about those that do not fit.

use godiff::{Error, Result};
use std::collections::HashSet;
use std::ops::RangeInclusive;

/// Largest whole number that files hold.
pub const LARGEST: u64 = i64::MAX as u64;

/// Reads a whole number of `range`.
pub fn whole<T: TryFrom<u64>>(range: RangeInclusive<u64>) -> impl Fn(&str) -> std::result::Result<T, String> + Clone {
    move |text| {
        let number =
            text.parse().ok().filter(|number| range.contains(number)).and_then(|number| T::try_from(number).ok());
        number.ok_or_else(|| format!("give a whole number from {} to {}", range.start(), range.end()))
    }
}

/// Reads a finite number.
pub fn real(text: &str) -> std::result::Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite());
    number.ok_or_else(|| "give a number, such as 0.05".into())
}

/// The numbers of a list such as "0-9,20", in its order. `option` is the option that the list belongs to.
pub fn list(text: &str, option: &str) -> Result<Vec<u64>> {
    let refused = |what: String| Err(Error::bad_input(format!("{option} {text}: {what}")));
    let (mut numbers, mut known) = (Vec::new(), HashSet::new());
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (Ok(first), Ok(last)) = (first.trim().parse::<u64>(), last.trim().parse::<u64>()) else {
            return refused("write numbers and ranges, such as 0-9,20".into());
        };
        if last < first {
            return refused(format!("a range begins with its lower end; write {last}-{first}"));
        }
        // Seeds must fit the whole numbers of TOML.
        if last - first >= 100_000 || last > LARGEST {
            return refused(format!("a range holds at most 100000 numbers, and none is above {LARGEST}"));
        }
        if let Some(twice) = (first..=last).find(|number| !known.insert(*number)) {
            return refused(format!("{twice} is named twice; name it once"));
        }
        numbers.extend(first..=last);
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_numbers() {
        assert_eq!(list("0-2,7", "--seeds").unwrap(), [0, 1, 2, 7]);
        assert_eq!(list("5, 1", "--seeds").unwrap(), [5, 1]);
        for (wrong, sentence) in [
            ("", "write numbers and ranges, such as 0-9,20"),
            ("1,", "write numbers and ranges, such as 0-9,20"),
            ("a", "write numbers and ranges, such as 0-9,20"),
            ("-1", "write numbers and ranges, such as 0-9,20"),
            ("3-1", "a range begins with its lower end; write 1-3"),
            ("0-100000000", "a range holds at most 100000 numbers, and none is above 9223372036854775807"),
            ("9223372036854775808", "a range holds at most 100000 numbers, and none is above 9223372036854775807"),
            ("5,1,5", "5 is named twice; name it once"),
            ("0-3,2-5", "2 is named twice; name it once"),
        ] {
            let error = list(wrong, "--seeds").unwrap_err();
            assert_eq!((error.to_string(), error.exit_code()), (format!("--seeds {wrong}: {sentence}"), 2));
        }
    }

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
