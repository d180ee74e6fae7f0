//! What `docs/huey.md` shows besides Rust is done as it stands there: command lines, units, and what its tables name.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use queue::{Client, EventKind, State};
use queue_servers::Redis;
use rustix::process::Signal;

use super::program::asked;
use super::stage::{Process, Stage, stored};
use super::tasks::hold;
use crate::support::eventually;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// What stands under the heading that begins so.
fn section(heading: &str) -> String {
    let page = read("docs/huey.md");
    let below = page.split_once(&format!("\n### {heading}")).unwrap_or_else(|| panic!("no section {heading}")).1;
    below.split("\n### ").next().unwrap().to_owned()
}

/// The lines of the section's one block in that language.
fn block(heading: &str, language: &str) -> Vec<String> {
    let section = section(heading);
    let [_, block] = section.split(&format!("```{language}\n")).collect::<Vec<_>>()[..] else {
        panic!("{heading} has not one block of {language}");
    };
    block.split("```").next().unwrap().lines().map(str::to_owned).collect()
}

/// The rows of the section's table with these columns.
fn table(heading: &str, columns: &str) -> Vec<Vec<String>> {
    let section = section(heading);
    let below = section.split_once(&format!("| {columns} |")).unwrap_or_else(|| panic!("no table of {columns}")).1;
    let cells = |row: &str| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    below.lines().skip(2).take_while(|line| line.starts_with('|')).map(cells).collect()
}

/// What is marked as code in a cell.
fn coded(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// A command line: its variables, and the words behind the program's name.
fn command(line: &str) -> (Vec<(&str, &str)>, String) {
    let (variables, words) = line.split_once("worker").unwrap();
    (variables.split_whitespace().map(|pair| pair.split_once('=').unwrap()).collect(), words.to_owned())
}

/// Each line of a row runs as a worker, and is stopped when `seen` is done with it.
async fn each_runs(
    heading: &str,
    variables: &[(&str, &str)],
    edit: impl Fn(&Stage, String) -> String,
    seen: impl AsyncFn(&Client, &Process, &str),
) {
    for (at, line) in block(heading, "sh").iter().enumerate() {
        let stage = Stage::sqlite();
        let client = stage.client().await;
        let words = edit(&stage, command(line).1);
        let mut program = stage.program(&format!("row-{at}"), &words, variables);
        let known = async || (!client.workers().await.unwrap().is_empty()).then_some(());
        eventually("the storage knows the worker", known).await;
        let job = hold::new(1).enqueue(&client).await.unwrap();
        stage.logged("begin", 1, &program.name).await;
        seen(&client, &program, line).await;
        program.signal(Signal::TERM);
        stage.open_gate(1);
        assert_eq!(program.ends().await.code(), Some(0), "{line}: {}", program.stderr());
        assert_eq!(stored(&client, job.id()).await.state, State::Completed, "{line}: it drains");
        // Warnings were asked for: what each job does is the word of `--verbose`.
        let log = log_of(&program);
        assert_eq!(log.contains("task_completed"), line.contains("--verbose") || variables.is_empty(), "{line}: {log}");
    }
}

/// What it logged, wherever that went.
fn log_of(program: &Process) -> String {
    let said = program.stderr();
    match said.trim().strip_prefix("logging to ") {
        Some(path) => fs::read_to_string(path).unwrap(),
        None => said,
    }
}

/// What a worker of these words is seen to do: how many slots it has, and whether it keeps schedules.
async fn does_as_told(client: &Client, line: &str) {
    let slots = line.split_once("--workers ").map(|(_, rest)| rest.split(' ').next().unwrap().parse().unwrap());
    let worker = client.workers().await.unwrap().remove(0);
    assert!(slots.is_none_or(|slots: u32| worker.concurrency == slots), "{line}: {}", worker.concurrency);
    assert_eq!(client.schedule("hourly").get().await.is_ok(), !line.contains("--no-periodic"), "{line}");
}

#[test]
fn the_table_leads_to_every_row() {
    let page = read("docs/huey.md");
    let headings: Vec<_> = page.lines().filter_map(|line| line.trim_start_matches('#').strip_prefix(' ')).collect();
    let anchor = |heading: &&str| {
        let kept = heading.to_lowercase().replace(' ', "-");
        kept.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect::<String>()
    };
    let anchors: Vec<_> = headings.iter().map(anchor).collect();
    for number in 1..=40 {
        let row = page.lines().find(|line| line.starts_with(&format!("| S{number} |"))).unwrap();
        let target = row.rsplit_once("(#").unwrap().1.trim_end_matches(") |");
        let at = anchors.iter().position(|anchor| anchor == target).unwrap_or_else(|| panic!("no heading for {row}"));
        assert!(headings[at].starts_with(&format!("S{number}: ")), "{row} leads to {}", headings[at]);
    }
    for link in page.split("](#").skip(1).map(|rest| rest.split(')').next().unwrap()) {
        assert!(anchors.iter().any(|anchor| anchor == link), "nothing is at #{link}");
    }
}

#[test]
fn the_package_has_the_features_of_the_page() {
    let ours = read("Cargo.toml");
    let shown = block("S2", "toml").join("\n");
    let line = shown.lines().find(|line| line.starts_with("queue-jobs = ")).unwrap();
    let mut quoted = line.split('"').skip(1).step_by(2);
    let version = quoted.next().unwrap();
    assert!(ours.contains(&format!("version = \"{version}.")), "{line}");
    for feature in quoted.chain(coded(section("S2").rsplit("```").next().unwrap()).filter(|word| *word != "queue")) {
        let is_one = ours.contains(&format!("\n{feature} = [")) || feature == "#[task]";
        assert!(is_one, "`{feature}` is no feature");
    }
}

#[tokio::test]
async fn the_environment_names_the_storage() {
    let server = Redis::start_with(&["--requirepass", "hush"]);
    let stage = Stage::sqlite();
    let file = stage.dir().join("of-the-page.db").display().to_string();
    let lines = block("S4", "sh");
    assert_eq!(lines.len(), 3);
    for (at, line) in lines.iter().enumerate() {
        let line = line.replace("/tmp/jobs.db", &file).replace("localhost", "127.0.0.1");
        let line = line.replace("6379", &server.port().to_string());
        let (variables, words) = command(&line);
        let variables: Vec<_> = [("QUEUE_URL", "")].into_iter().chain(variables).collect();
        let mut program = stage.program(&format!("check-{at}"), &words, &variables);
        assert_eq!(program.ends().await.code(), Some(0), "{line}: {}", program.stderr());
        let location = match line.contains("production") {
            true => format!("redis://:***@127.0.0.1:{}/0", server.port()),
            false => format!("sqlite://{file}"),
        };
        let said = program.stdout();
        assert!(said.lines().any(|said| said == format!("storage      {location}")), "{line}: {said}");
        assert!(said.contains("ok: nothing is wrong"), "{line}: {said}");
    }
}

#[tokio::test]
async fn the_consumer_takes_the_words_of_the_page() {
    let seen = async |client: &Client, _: &Process, line: &str| does_as_told(client, line).await;
    assert_eq!(block("S25", "sh").len(), 6);
    each_runs("S25", &[("RUST_LOG", "warn")], |_, words| words, seen).await;
}

#[tokio::test]
async fn the_consumer_in_production() {
    const LOG: &str = "/var/log/huey/consumer.log";
    let to = |stage: &Stage| stage.dir().join("consumer.log").display().to_string();
    let edit = |stage: &Stage, words: String| {
        assert!(words.contains(LOG));
        words.replace(LOG, &to(stage))
    };
    let seen = async |client: &Client, program: &Process, line: &str| {
        does_as_told(client, line).await;
        assert!(program.stderr().starts_with("logging to "), "{}", program.stderr());
        let log = log_of(program);
        assert!(log.contains("`--worker-type thread` changes nothing: jobs are tokio tasks"), "{log}");
    };
    each_runs("S26", &[("RUST_LOG", "warn")], edit, seen).await;
}

#[tokio::test]
async fn a_worker_for_kubernetes() {
    let edit = |_: &Stage, words: String| words.replace(":8081", ":0");
    let seen = async |_: &Client, program: &Process, _: &str| {
        let said = program.says("health is answered").await;
        let address: SocketAddr = said.split_once("address=").unwrap().1.parse().unwrap();
        let ready = async || asked(address, "/readyz").await.starts_with("HTTP/1.1 200 ").then_some(());
        eventually("the worker is ready", ready).await;
    };
    each_runs("S38", &[], edit, seen).await;
}

/// The lines of a block are lines of the file that the row links to.
fn are_lines_of(heading: &str, language: &str, file: &str) {
    let whole = read(file);
    assert!(section(heading).contains(&format!("](../{file})")), "{heading} does not link to {file}");
    for line in block(heading, language).iter().filter(|line| !line.trim().is_empty()) {
        assert!(whole.lines().any(|known| known.trim_end() == line), "{line:?} of {heading} is not in {file}");
    }
}

#[test]
fn the_unit_is_the_one_that_is_shipped() {
    are_lines_of("S27", "ini", "deploy/systemd/queue-worker.service");
}

#[test]
fn the_image_is_the_one_that_is_shipped() {
    are_lines_of("S28", "dockerfile", "deploy/docker/Dockerfile");
}

#[test]
fn the_compose_file_is_the_one_that_is_shipped() {
    are_lines_of("S29", "yaml", "deploy/docker/compose.yml");
}

#[test]
fn the_page_leads_to_files_that_are_there() {
    let page = read("docs/huey.md");
    for link in page.split("](").skip(1).map(|rest| rest.split([')', '#']).next().unwrap()) {
        if !link.is_empty() && !link.contains("://") {
            assert!(root().join("docs").join(link).exists(), "docs/huey.md links to {link}, which is not there");
        }
    }
}

#[test]
fn the_options_of_the_table_are_those_of_the_program() {
    let help = read("queue-cli/src/options/help.txt");
    let (mut named, rows) = (Vec::new(), table("Options of the consumer", "`huey_consumer` | the program"));
    for row in &rows {
        named.extend(coded(&row[1]).filter(|word| word.starts_with("--")).map(str::to_owned));
    }
    assert!(named.len() > 10, "{named:?}");
    for option in &named {
        assert!(help.lines().any(|line| line.split([' ', ',']).any(|word| word == option)), "there is no {option}");
    }
    let huey = ["-l", "-v", "-q", "-S", "-w", "-k", "-d", "-m", "-b", "-c", "-C", "-f", "-L", "-M", "-s", "-n"];
    for option in huey {
        assert!(rows.iter().any(|row| coded(&row[0]).any(|word| word == option)), "nothing is said of {option}");
    }
}

#[test]
fn every_signal_and_every_event_is_in_the_table() {
    let rows = table("Signals", "signal | `EventKind`");
    let huey = [
        "enqueued",
        "scheduled",
        "executing",
        "complete",
        "error",
        "retrying",
        "canceled",
        "revoked",
        "expired",
        "locked",
        "timeout",
        "rate-limited",
        "interrupted",
    ];
    for signal in huey {
        assert!(rows.iter().any(|row| row[0] == format!("`{signal}`")), "nothing is said of {signal}");
    }
    for kind in EventKind::ALL.iter().filter(|kind| **kind != EventKind::Unknown) {
        let name = format!("{kind:?}");
        assert!(rows.iter().any(|row| coded(&row[1]).any(|word| word == name)), "{name} is not in the table");
    }
    let known = |word: &str| EventKind::ALL.iter().any(|kind| format!("{kind:?}") == word);
    for row in &rows {
        coded(&row[1]).for_each(|word| assert!(known(word), "{word} is no kind of event"));
    }
}

#[test]
fn the_bench_takes_the_words_of_the_page() {
    let (readme, lines) = (read("queue-bench/README.md"), block("S39", "console"));
    assert_eq!(lines.len(), 2);
    for line in &lines {
        let words: Vec<_> = line.split_whitespace().collect();
        assert_eq!(words[..8], ["$", "cargo", "run", "--release", "-p", "queue-bench", "--", "run"]);
        for pair in words[8..].chunks(2) {
            let [option, value] = pair else { panic!("{line}") };
            assert!(readme.contains(&format!("`{option}`")) && readme.contains(&format!("| `{value}` |")), "{line}");
        }
    }
}
