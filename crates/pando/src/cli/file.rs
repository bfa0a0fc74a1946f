//! Commands about the app's file.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use pando_config::import::Kind;

/// Write a pando.yaml, from what the app has already or from a template
#[derive(Debug, Args)]
#[command(after_help = "\
Without --from, the first of these that is here is read: haloy.yaml, config/deploy.yml, Procfile, compose.yaml, \
docker-compose.yaml. What could not be carried over is said, and stands in the new file as comments.

Examples:
  pando init
  pando init --from compose.yaml --from compose.prod.yaml
  pando init --from compose.yaml --service api -c api/pando.yaml
  pando init --from stack.yml --kind compose
  pando init --force -c app/pando.yaml")]
pub(crate) struct InitArgs {
    /// Read this file: a Procfile, haloy.yaml, compose.yaml or deploy.yml. Files of Compose and of Kamal can be several: each is
    /// merged over those before it, as these tools do
    #[arg(long, value_name = "FILE")]
    pub(crate) from: Vec<PathBuf>,
    /// What the file is, if neither its content nor its name says so
    #[arg(long, value_enum, value_name = "KIND", requires = "from")]
    pub(crate) kind: Option<SourceKind>,
    /// Of a compose file with several apps: the service that the app is made of
    #[arg(long, value_name = "NAME")]
    pub(crate) service: Option<String>,
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

/// What a file to read is.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum SourceKind {
    Procfile,
    Haloy,
    Compose,
    Kamal,
}

impl SourceKind {
    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::Procfile => Kind::Procfile,
            Self::Haloy => Kind::Haloy,
            Self::Compose => Kind::Compose,
            Self::Kamal => Kind::Kamal,
        }
    }
}
