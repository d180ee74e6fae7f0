//! The session that the README shows, held with the program: each command is run as it stands there, and says what it says
//! there but for ids, which must agree with each other as they do there.

use std::collections::BTreeMap;
use std::process::Command;

use super::process::{App, Place, eventually};

/// Where the README's application listens.
const SHOWN: &str = "localhost:8000";

/// A command, and what it says.
struct Step {
    command: String,
    says: String,
}

/// The `$ curl` lines of the README's console blocks, each with the lines below it.
fn steps(readme: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    for block in readme.split("```console\n").skip(1) {
        let block = block.split("```").next().unwrap();
        let asks = block.split("$ ").filter(|step| step.starts_with("curl "));
        steps.extend(asks.map(|step| {
            // A command goes on after a backslash at the end of its line.
            let mut end = 0;
            for line in step.split_inclusive('\n') {
                end += line.len();
                if !line.ends_with("\\\n") {
                    break;
                }
            }
            Step { command: step[..end].to_owned(), says: step[end..].to_owned() }
        }));
    }
    steps
}

/// The ids in a text, in order: of jobs (`01M8…`) and of users and payments (`01a2…-…`), which a `_` may precede.
fn ids(text: &str) -> Vec<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    words.filter(|word| [26, 36].contains(&word.len()) && word.starts_with("01")).collect()
}

#[test]
fn the_readme_shows_what_it_says() {
    let place = Place::new();
    let app = App::start(&[], &place.url());
    let address = app.address().to_string();
    eventually("the worker is ready", || (app.get("/readyz").status == 200).then_some(()));
    let steps = steps(crate::README);
    assert!(steps.len() > 6, "the README shows {} requests only", steps.len());
    let mut known = BTreeMap::new();
    for Step { command, says } in steps {
        let mut asked = command.replace(SHOWN, &address);
        known.iter().for_each(|(shown, real): (&String, &String)| asked = asked.replace(shown, real));
        // Between two commands a reader takes longer than a job: so does this one.
        let expected = ids(&says);
        let agree = || {
            let output = Command::new("bash").args(["-c", &asked]).output().unwrap();
            assert!(output.status.success(), "{asked}: {output:?}");
            let said = String::from_utf8(output.stdout).unwrap();
            let mut renamed = said.clone();
            let mut learnt = known.clone();
            for (shown, real) in expected.iter().zip(ids(&said)) {
                learnt.entry((*shown).to_owned()).or_insert_with(|| real.to_owned());
            }
            learnt.iter().for_each(|(shown, real)| renamed = renamed.replace(real, shown));
            (renamed.trim_end() == says.trim_end()).then_some(learnt).ok_or(said)
        };
        let may_take_time = asked.contains("/tasks/");
        known = match agree() {
            Ok(learnt) => learnt,
            Err(_) if may_take_time => eventually(&format!("{asked}says\n{says}"), || agree().ok()),
            Err(said) => panic!("{asked}says\n{said}\nwhere the README has\n{says}"),
        };
    }
}
