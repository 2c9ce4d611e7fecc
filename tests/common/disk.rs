//! A small disk of its own, in memory: it can be filled, write-protected and enlarged.

use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// A file system mounted on a temporary folder.
pub struct Disk(TempDir);

impl Disk {
    /// A disk with mount options such as `size=64k`. `None`, with a word about what is skipped, where this process may not mount.
    pub fn mount(options: &str) -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let mounted = cfg!(target_os = "linux")
            && Command::new("mount")
                .args(["-t", "tmpfs", "-o", options, "tmpfs"])
                .arg(folder.path())
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success());
        if !mounted {
            eprintln!("skipped: a disk of its own needs Linux and the right to mount one (root)");
        }
        mounted.then(|| Disk(folder))
    }

    /// Changes its options.
    pub fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        assert!(Command::new("mount").args(["-o", &options]).arg(self.path()).status().unwrap().success());
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: whatever is still open on it goes on until it is closed.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}
