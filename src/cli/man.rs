//! `godiff man`: manual pages, made from the definitions of the commands.

use super::common::{print, print_bytes};
use clap::{Args, Command, CommandFactory};
use clap_mangen::Man;
use godiff::disk::write_atomic;
use godiff::{Error, Result};
use std::path::{Path, PathBuf};

/// Writes the manual pages
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  godiff man | man -l -
  godiff man ~/.local/share/man/man1")]
pub struct Arguments {
    /// The folder for godiff.1 and a page for every command; it is made if it is missing [default: godiff.1 to standard
    /// output]
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

impl Arguments {
    pub fn run(self) -> Result<()> {
        let mut godiff = super::Cli::command().disable_help_subcommand(true);
        // Gives every command its full name, "godiff search".
        godiff.build();
        let Some(folder) = self.folder else { return print_bytes(&page(&godiff)?) };
        std::fs::create_dir_all(&folder)
            .map_err(|cause| Error::bad_file(&folder, format!("cannot be used as folder for manual pages: {cause}")))?;
        write(&godiff, &folder)?;
        godiff.get_subcommands().try_for_each(|command| write(command, &folder))?;
        print(format!("{} pages written to {}", 1 + godiff.get_subcommands().count(), folder.display()))
    }
}

fn write(command: &Command, folder: &Path) -> Result<()> {
    let name = Man::new(command.clone()).get_filename();
    write_atomic(&folder.join(name), &page(command)?)
}

/// The page in troff.
fn page(command: &Command) -> Result<Vec<u8>> {
    let mut page = Vec::new();
    let man = Man::new(command.clone()).source(format!("godiff {}", godiff::version::VERSION)).manual("godiff");
    man.render(&mut page).map_err(|cause| Error::Failed(format!("the manual page cannot be made: {cause}")))?;
    Ok(plain(&String::from_utf8_lossy(&page)).into_bytes())
}

/// `page` in ASCII, since troff reads other bytes as Latin-1. Indented lines (examples and tables) are not filled.
fn plain(page: &str) -> String {
    let mut text = String::with_capacity(page.len());
    let mut verbatim = false;
    for line in page.lines() {
        let indented = line.starts_with("  ");
        if indented != verbatim {
            text += if indented { ".nf\n" } else { ".fi\n" };
            verbatim = indented;
        }
        for character in line.chars() {
            match character {
                ascii if ascii.is_ascii() => text.push(ascii),
                other => text += &format!("\\[u{:04X}]", u32::from(other)),
            }
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn pages_are_ascii_with_examples_as_they_are() {
        let page = ".SH EXTRA\nin \u{c5}\n  a table\n  of two lines\nand on";
        assert_eq!(plain(page), ".SH EXTRA\nin \\[u00C5]\n.nf\n  a table\n  of two lines\n.fi\nand on\n");
    }
}
