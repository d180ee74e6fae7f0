//! The command line.

use std::path::PathBuf;

pub const HELP: &str = "\
Counts lines and words of files and digests them, through a job queue.

usage: quickstart [--storage URL] [--slow] [PATH…]

  PATH            files and folders; default: the project's own documents
  --storage URL   where jobs live; default: sqlite://jobs.db
  --slow          half a second for each file: time to kill it half-way
  --help          this text";

pub struct Options {
    pub paths: Vec<PathBuf>,
    pub storage: String,
    pub slow: bool,
}

/// `None` asks for help.
pub fn parse(args: impl Iterator<Item = String>) -> Result<Option<Options>, String> {
    let mut options = Options { paths: Vec::new(), storage: "sqlite://jobs.db".into(), slow: false };
    let mut args = args;
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "-h" | "--help" => return Ok(None),
            "--storage" => {
                options.storage = args.next().ok_or("--storage needs a URL: --storage sqlite://jobs.db")?;
            }
            "--slow" => options.slow = true,
            "--" => options.paths.extend(args.by_ref().map(PathBuf::from)),
            unknown if unknown.starts_with('-') => {
                return Err(format!("unknown option {unknown}: see --help (a file of that name comes after `--`)"));
            }
            path => options.paths.push(path.into()),
        }
    }
    if options.paths.is_empty() {
        let project = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        options.paths = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs"]
            .map(|name| project.join(name))
            .into_iter()
            .filter(|path| path.exists())
            .collect();
    }
    Ok(Some(options))
}
