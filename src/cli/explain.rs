//! `quorate explain`: says where a key lies and what every replica holds of it.

use clap::Args;

use super::cluster::print_json;
use super::fail::Failure;
use super::globals::Globals;
use super::http;
use super::output::{self, Output};
use crate::doors::Explanation;

pub(super) const EXAMPLES: &str = "\
Examples:
  quorate explain cart:7
  quorate explain cart:7 --keyspace carts --output json | jq .equal";

#[derive(Debug, Args)]
pub(super) struct Explain {
    /// The key.
    key: String,
    /// Name of the keyspace.
    #[arg(long, value_name = "NAME", default_value = "default")]
    keyspace: String,
}

impl Explain {
    pub(super) fn run(&self, globals: &Globals) -> Result<(), Failure> {
        let (keyspace, key) = (http::segment(&self.keyspace), http::segment(&self.key));
        let path = format!("/v1/explain/{keyspace}/{key}");
        let explanation: Explanation = http::get(globals, &path)?;
        match globals.output {
            Output::Table => output::line(explanation.to_string().trim_end())?,
            Output::Json => print_json(&explanation)?,
        }
        Ok(())
    }
}
