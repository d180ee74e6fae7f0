//! The tables of the page against the code.

use std::collections::BTreeSet;

use queue::State;
use queue_storage::model::{JobId, Shard};

use super::{block, code, page, read, table};

/// Names and types of the keys of a shard, as the page has them.
fn keys_on_the_page() -> Vec<(String, String)> {
    table("name | type | content").iter().map(|row| (code(&row[0]).to_owned(), row[1].clone())).collect()
}

/// The same in the order of the scripts, as `keys.rs` has them: the names in its list, the types in the table above it.
fn keys_in_the_code() -> Vec<(String, String)> {
    let source = read("queue-redis/src/keys.rs");
    let list = source.split("const PARTS").nth(1).unwrap().split("];").next().unwrap();
    let list = list.split('=').nth(1).unwrap();
    let names = list.split('"').skip(1).step_by(2);
    let kind = |name: &str| {
        let row = source.lines().find_map(|line| line.strip_prefix(&format!("//! | `{name}` | ")));
        row.unwrap_or_else(|| panic!("keys.rs does not tell of `{name}`")).split(" |").next().unwrap().to_owned()
    };
    names.map(|name| (name.to_owned(), kind(name))).collect()
}

#[test]
fn the_page_names_every_key_and_no_other() {
    assert_eq!(keys_on_the_page(), keys_in_the_code());
    let shared: Vec<_> =
        table("key | type | content").into_iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    let source = read("queue-redis/src/keys.rs");
    let rows = source.lines().filter_map(|line| line.strip_prefix("//! | `<ns>:")).filter(|row| !row.starts_with('{'));
    let rows = rows.map(|row| row.split(" | ").take(2).collect::<Vec<_>>());
    let known: Vec<_> = rows.map(|row| (format!("`<namespace>:{}", row[0]), row[1].to_owned())).collect();
    assert_eq!(shared, known);
}

#[test]
fn the_examples_give_the_keys_in_order() {
    let names: Vec<_> = keys_on_the_page().into_iter().map(|(name, _)| name).collect();
    for language in ["sh", "python"] {
        let block = block(language);
        let words: Vec<_> = block.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
        assert!(words.windows(names.len()).any(|words| words == names), "{language}");
    }
}

#[test]
fn scripts_are_put_together_as_the_page_says() {
    let composed = table("script | first line | files").into_iter().map(|row| {
        let files = row[2].split_whitespace().map(|file| read(&format!("queue-redis/scripts/{}.lua", code(file))));
        (code(&row[0]).to_owned(), format!("{}\n{}", code(&row[1]), files.collect::<String>()))
    });
    let known = queue_redis::scripts().map(|(name, text)| (name.to_owned(), text));
    assert!(composed.eq(known), "the table of the scripts and queue_redis::scripts() differ");
}

#[test]
fn every_script_is_told_of() {
    let told: Vec<_> =
        table("script | further arguments | returns").iter().map(|row| code(&row[0]).to_owned()).collect();
    for (name, _) in queue_redis::scripts() {
        assert!(name == "write" || told.iter().any(|told| told == name), "{name}");
    }
}

#[test]
fn the_page_is_of_this_layout() {
    let source = read("queue-redis/src/layout.rs");
    let number = |name: &str| {
        let after = source.split("const LAYOUT").nth(1).unwrap().split(&format!("{name}: ")).nth(1).unwrap();
        after.chars().take_while(char::is_ascii_digit).collect::<String>()
    };
    let layout = format!("{}.{}", number("major"), number("minor"));
    assert!(page().starts_with(&format!("# The wire format on Redis, layout {layout}\n")), "{layout}");
}

#[test]
fn homes_are_computed_as_the_page_says() {
    for row in table("queue | index | hash | home") {
        let shard = Shard { queue: code(&row[0]).parse().unwrap(), index: row[1].parse().unwrap() };
        let hash = u32::from_str_radix(code(&row[2]), 16).unwrap();
        assert_eq!(shard.tag(), u16::from_str_radix(code(&row[3]), 16).unwrap());
        assert_eq!(u32::from(shard.tag()), (hash >> 24 ^ hash >> 12 ^ hash) & 0xfff);
    }
}

#[test]
fn ids_are_written_as_the_page_says() {
    for row in table("id | as text") {
        let id = JobId::from_u128(u128::from_str_radix(&code(&row[0]).replace('-', ""), 16).unwrap());
        assert_eq!(id.to_string(), code(&row[1]));
        assert_eq!(id.home_tag(), Shard::of("default".parse().unwrap()).tag());
    }
}

#[test]
fn a_worker_may_run_what_the_scripts_do() {
    let users = block("acl");
    let worker: BTreeSet<_> = users.split("ACL SETUSER enqueuer").next().unwrap().split_whitespace().collect();
    for (name, text) in queue_redis::scripts() {
        for command in text.split("call('").skip(1).map(|rest| rest.split('\'').next().unwrap().to_lowercase()) {
            assert!(worker.contains(&*format!("+{command}")), "{name} calls {command}");
        }
    }
}

/// The letter of a state, as the page has it.
pub(super) fn letter(state: State) -> u8 {
    let row = page().split("| letter |").nth(1).unwrap().split("\n\n").next().unwrap().to_owned();
    let [letters, _, names] = row.lines().collect::<Vec<_>>()[..] else { panic!("{row}") };
    let at = names.split('|').filter(|cell| !cell.is_empty()).position(|cell| cell.trim() == state.as_str());
    let letter = letters.split('|').nth(at.unwrap() - 1).unwrap().trim();
    code(letter).as_bytes()[0]
}
