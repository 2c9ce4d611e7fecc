//! The version of this godiff, as `build.rs` recorded it.

/// Version of the package, with the commit it was built from if it is known: `0.1.0+1a2b3c4d5e6f`.
pub const VERSION: &str = env!("GODIFF_VERSION");

/// [`VERSION`] with the target and the profile: `0.1.0+1a2b3c4d5e6f (x86_64-unknown-linux-gnu, release)`.
pub const BUILD: &str = env!("GODIFF_BUILD");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commit_follows_the_package_version() {
        let rest = VERSION.strip_prefix(env!("CARGO_PKG_VERSION")).expect("begins with the version of the package");
        let commit = rest.strip_prefix('+').unwrap_or(rest);
        assert!(
            rest.is_empty() || commit.len() == 12 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "{VERSION}"
        );
        assert!(BUILD.starts_with(VERSION) && BUILD.ends_with(')'), "{BUILD}");
    }
}
