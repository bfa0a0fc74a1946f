//! Commands about the app's file.

use std::path::PathBuf;

use clap::Args;

/// Write a pando.yaml, from what the app has already or from a template
#[derive(Debug, Args)]
#[command(after_help = "\
Without --from, the first of these that is here is read: haloy.yaml, config/deploy.yml, Procfile, compose.yaml, \
docker-compose.yaml. What could not be carried over is said, and stands in the new file as comments.

Examples:
  pando init
  pando init --from compose.yaml
  pando init --force -c app/pando.yaml")]
pub(crate) struct InitArgs {
    /// Read this file: a Procfile, haloy.yaml, compose.yaml or deploy.yml
    #[arg(long, value_name = "FILE")]
    pub(crate) from: Option<PathBuf>,
    /// The app's name [default: the file's, or the directory's]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Write over a file that is there
    #[arg(long)]
    pub(crate) force: bool,
}

/// Validate the app's file, and say what would break on a second server
#[derive(Debug, Args)]
#[command(after_help = "\
Exits with 2 when a deploy would refuse the file, with 0 when there are warnings at most.

Examples:
  pando check
  pando check -t production
  pando check --json -c app/pando.yaml")]
pub(crate) struct CheckArgs {
    /// Look at this target only
    #[arg(short = 't', long, value_name = "TARGET")]
    pub(crate) target: Option<String>,
}
