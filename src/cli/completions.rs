//! `godiff completions`: a script with which a shell completes godiff's commands and options.

use super::common::print_bytes;
use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};
use godiff::Result;

/// Prints a script with which a shell completes commands and options
#[derive(Debug, Args)]
#[command(after_help = "\
Where shells look for it:
  bash        ~/.local/share/bash-completion/completions/godiff
  zsh         a file _godiff in a folder of $fpath
  fish        ~/.config/fish/completions/godiff.fish
  elvish      append it to ~/.config/elvish/rc.elv
  powershell  append it to the file that $PROFILE names

Examples:
  godiff completions bash > ~/.local/share/bash-completion/completions/godiff
  godiff completions fish > ~/.config/fish/completions/godiff.fish")]
pub struct Arguments {
    /// The shell
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

impl Arguments {
    pub fn run(self) -> Result<()> {
        let mut script = Vec::new();
        generate(self.shell, &mut super::Cli::command(), "godiff", &mut script);
        print_bytes(&script)
    }
}
