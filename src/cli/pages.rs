//! `quorate completions` and `quorate man`: what shells and readers of manuals need, made from the
//! definition of the command line.

use std::io::Write as _;
use std::path::PathBuf;

use clap::{Args, Command};
use clap_complete::Shell;

use super::fail::Failure;
use super::output;

/// Which shell.
#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell.
    shell: Shell,
}

/// Where to put the pages.
#[derive(Debug, Args)]
pub(super) struct Man {
    /// The directory, made if it does not exist.
    dir: PathBuf,
}

impl Completions {
    pub(super) fn run(&self, mut command: Command) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, "quorate", &mut script);
        Ok(std::io::stdout().lock().write_all(&script)?)
    }
}

impl Man {
    /// Writes one page for each command: `quorate.1`, `quorate-keyspace-create.1`.
    pub(super) fn run(&self, command: Command) -> Result<(), Failure> {
        std::fs::create_dir_all(&self.dir)?;
        clap_mangen::generate_to(command, &self.dir)?;
        Ok(output::line(format_args!(
            "wrote the pages to {}",
            self.dir.display()
        ))?)
    }
}
