//! The tables of a benchmark.

/// `text` without its last table, which is about times.
pub fn untimed(text: &str) -> &str {
    text.split("Seconds per hit, ").next().unwrap_or_default()
}
