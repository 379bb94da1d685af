//! `seaworthy key`: fresh keys.

use std::path::PathBuf;
use std::process::ExitCode;

use super::{Context, FAILED};
use crate::access::{Limit, is_key_name, new_key};
use crate::artifact::SigningKey;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Print a fresh key for clients, once, and the line that lets it in
    New {
        /// What the log calls it: 1 to 64 characters of `A-Z a-z 0-9 . _ -`
        name: String,
        /// Its quota, e.g. 20/s, 600/m or 10000/h [default: `access.rate_limit`]
        #[arg(long, value_name = "LIMIT")]
        limit: Option<String>,
        /// The models that it may ask, between commas [default: all]
        #[arg(long, value_name = "NAMES", value_delimiter = ',')]
        models: Vec<String>,
    },
    /// Write a fresh private key for `seaworthy sign` to a file, and print the public key
    Signing {
        /// A file that is not there yet
        file: PathBuf,
    },
}

pub(super) fn run(options: &Options, context: &Context) -> anyhow::Result<ExitCode> {
    let (name, limit, models) = match &options.command {
        Command::New { name, limit, models } => (name, limit, models),
        Command::Signing { file } => {
            let key = SigningKey::create(file)?;
            context.printer.result(&key.public().to_string())?;
            context.printer.note(&format!(
                "The private key is in `{}`; keep it where artifacts are published, and nowhere else. With a name before it, the line goes \
                 into `models.signers`.",
                file.display()
            ));
            return Ok(ExitCode::SUCCESS);
        }
    };
    if !is_key_name(name) {
        context.printer.error(&format!(
            "the name is {name:?}, expected 1 to 64 characters of `A-Z a-z 0-9 . _ -`"
        ));
        return Ok(ExitCode::from(FAILED));
    }
    let (key, digest) = new_key()?;
    let mut line = format!("{name} {digest}");
    if let Some(limit) = limit {
        if let Err(error) = limit.parse::<Limit>() {
            context.printer.error(&error.to_string());
            return Ok(ExitCode::from(FAILED));
        }
        line.push_str(&format!(" {limit}"));
    }
    if !models.is_empty() {
        line.push_str(&format!(" models={}", models.join("+")));
    }
    context.printer.result(&format!("{key}\n{line}"))?;
    context.printer.note(
        "The first line is the key, for the client; it is nowhere written down. The second line goes into the setting `access.keys` \
         or the file `access.keys_file`; then restart the server.",
    );
    Ok(ExitCode::SUCCESS)
}
