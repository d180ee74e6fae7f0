//! The house rules, checked: who may import whom, no file that nobody declares, no storage named in the engine.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The floors of each crate, and of a folder that has floors of its own, lowest first: a file imports its own floor or a
/// lower one.
const FLOORS: [(&str, &[&str]); 11] = [
    ("queue-storage", &["error", "model", "clock", "storage", "memory", "conformance"]),
    (
        "queue-cron",
        &[
            "error", "kinds", "entry", "items", "days", "pattern", "zone", "due", "parse", "fields", "cron", "every",
            "quartz",
        ],
    ),
    (
        "queue-core",
        &[
            "codec",
            "data",
            "value",
            "json",
            "task_error",
            "facts",
            "policies",
            "progress",
            "failed",
            "gather",
            "events",
            "classes",
            "client",
            "taken",
            "context",
            "canon",
            "ids",
            "limits",
            "redact",
            "task",
            "draft",
            "middleware",
            "handler",
            "list",
            "call",
            "step",
            "periodic",
            "flow",
            "operate",
            "schedules",
            "explain",
            "handle",
            "watching",
            "flows",
            "enqueue",
            "moving",
            "engine",
            "keeper",
            "worker",
            "immediate",
            "private",
        ],
    ),
    (
        "queue-sqlite",
        &[
            "error",
            "identity",
            "options",
            "ledger",
            "schema",
            "connect",
            "lane",
            "reader",
            "job",
            "lines",
            "settle",
            "enqueue",
            "ear",
            "news",
            "writer",
            "operate",
            "schedules",
            "notify",
            "bounds",
            "control",
            "crowds",
            "flows",
            "ticks",
            "last",
            "list",
            "room",
            "leases",
            "renew",
            "take",
            "claim",
            "roles",
        ],
    ),
    (
        "queue-sqlite/src/job",
        &[
            "cells", "keys", "node", "fate", "more", "watch", "tx", "history", "paid", "row", "write", "inputs",
            "workers", "parking", "rates", "slots", "unique", "limits", "parcels", "edges", "shift", "follow", "ends",
            "edit", "maintain", "rearm", "act", "deliver",
        ],
    ),
    (
        "queue-redis",
        &[
            "error",
            "options",
            "driver",
            "keys",
            "scripts",
            "record",
            "layout",
            "link",
            "news",
            "ears",
            "enqueue",
            "schedules",
            "notify",
            "act",
            "limits",
            "control",
            "notes",
            "ties",
            "inputs",
            "claim",
            "maintain",
            "operate",
        ],
    ),
    ("queue-otel", &["w3c"]),
    (
        "queue-web",
        &[
            "problem",
            "access",
            "answer",
            "query",
            "web",
            "route",
            "known",
            "view",
            "health",
            "jobs",
            "metrics",
            "openapi",
            "queues",
            "schedules",
            "table",
            "serve",
            "actix_mount",
            "axum_mount",
        ],
    ),
    (
        "queue-cli",
        &[
            "duration", "exit", "options", "say", "http1", "health", "logging", "notify", "signals", "building",
            "check", "program",
        ],
    ),
    ("queue-metrics", &["labels", "names", "text", "sink", "series", "counting", "stored", "observed", "render"]),
    (
        "queue-macros",
        &[
            "duration",
            "name",
            "entry",
            "owned",
            "docs",
            "serde_attrs",
            "backoff",
            "parameter",
            "signature",
            "limits",
            "periodic",
            "options",
            "expand",
            "methods",
            "task_impl",
        ],
    ),
];

/// Which of our crates each may depend on, tests aside.
const CRATES: [(&str, &[&str]); 11] = [
    ("queue-storage", &[]),
    ("queue-cron", &[]),
    ("queue-macros", &["queue-cron"]),
    ("queue-sqlite", &["queue-storage"]),
    ("queue-redis", &["queue-storage"]),
    ("queue-core", &["queue-storage", "queue-cron"]),
    ("queue-otel", &["queue-core"]),
    ("queue-metrics", &["queue-storage", "queue-core"]),
    ("queue-web", &["queue-core"]),
    ("queue-cli", &["queue-core", "queue-web"]),
    (
        ".",
        &[
            "queue-core",
            "queue-storage",
            "queue-macros",
            "queue-sqlite",
            "queue-redis",
            "queue-web",
            "queue-cli",
            "queue-otel",
            "queue-metrics",
        ],
    ),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every Rust file below a folder.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// The code lines of a file with their numbers: comments and what follows `#[cfg(test)]` left out.
fn code(path: &Path) -> Vec<(usize, String)> {
    let text = fs::read_to_string(path).unwrap();
    let code = text.lines().enumerate().take_while(|(_, line)| line.trim() != "#[cfg(test)]");
    code.filter(|(_, line)| !line.trim_start().starts_with("//")).map(|(n, line)| (n + 1, line.to_owned())).collect()
}

/// The modules that a line names behind a prefix: `crate::x`, or in a folder `crate::folder::x`.
fn named_modules<'a>(line: &'a str, prefix: &str) -> Vec<&'a str> {
    let word = |rest: &&str| rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
    line.split(prefix).skip(1).map(|rest| &rest[..word(&rest)]).collect()
}

/// Imports that look up in a crate, or in a folder of one, as `file:line: …`.
fn looks_up(root: &Path, place: &str, floors: &[&str]) -> Vec<String> {
    let (src, prefix) = match place.split_once("/src/") {
        Some((_, folder)) => (root.join(place), format!("crate::{folder}::")),
        None => (root.join(place).join("src"), "crate::".to_owned()),
    };
    let mut wrong = Vec::new();
    for file in rust_files(&src) {
        let inner = file.strip_prefix(&src).unwrap();
        let own = inner.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned();
        if own == "lib" || own == "mod" {
            continue;
        }
        let height = |name: &str| floors.iter().position(|floor| *floor == name);
        let Some(mine) = height(&own) else {
            wrong.push(format!("{}: `{own}` has no floor: give it one in tests/it/house.rs", shown(&file)));
            continue;
        };
        for (number, line) in code(&file) {
            for name in named_modules(&line, &prefix) {
                if height(name).is_some_and(|theirs| theirs > mine) {
                    wrong.push(format!("{}:{number}: `{own}` imports `{name}`, which stands above it", shown(&file)));
                }
            }
        }
    }
    wrong
}

#[test]
fn imports_look_down() {
    let wrong: Vec<_> = FLOORS.iter().flat_map(|(place, floors)| looks_up(&root(), place, floors)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The files that a root file declares, itself among them.
fn declared(file: &Path, found: &mut BTreeSet<PathBuf>) {
    found.insert(file.to_owned());
    let text = fs::read_to_string(file).unwrap();
    let folder = file.parent().unwrap();
    let stem = file.file_stem().unwrap().to_str().unwrap();
    let inside = if ["lib", "main", "mod"].contains(&stem) { folder.to_owned() } else { folder.join(stem) };
    let mut path_attribute = None;
    for line in text.lines().map(str::trim) {
        if let Some(path) = line.strip_prefix("#[path = \"").and_then(|rest| rest.strip_suffix("\"]")) {
            path_attribute = Some(folder.join(path));
        }
        let Some((before, name)) = line.strip_suffix(';').and_then(|line| line.rsplit_once("mod ")) else { continue };
        if !(before.is_empty() || before.trim_end().starts_with("pub")) {
            continue;
        }
        let candidates = [inside.join(format!("{name}.rs")), inside.join(name).join("mod.rs")];
        let chosen = path_attribute.take().or_else(|| candidates.into_iter().find(|path| path.exists()));
        if let Some(path) = chosen {
            declared(&path, found);
        }
    }
}

#[test]
fn every_file_is_declared() {
    let root = root();
    let mut strays = Vec::new();
    for (krate, _) in CRATES {
        let src = root.join(krate).join("src");
        let mut found = BTreeSet::new();
        declared(&src.join("lib.rs"), &mut found);
        strays.extend(rust_files(&src).into_iter().filter(|file| !found.contains(file)));
    }
    let mut found = BTreeSet::new();
    declared(&root.join("tests/it/main.rs"), &mut found);
    strays.extend(rust_files(&root.join("tests/it")).into_iter().filter(|file| !found.contains(file)));
    let strays: Vec<_> = strays.iter().map(|path| shown(path)).collect();
    assert!(strays.is_empty(), "nobody declares {strays:?}");
}

#[test]
fn the_engine_names_no_storage() {
    let mut wrong = Vec::new();
    for file in rust_files(&root().join("queue-core/src")) {
        let text = fs::read_to_string(&file).unwrap().to_lowercase();
        for (number, line) in (1..).zip(text.lines()) {
            for name in ["sqlite", "redis", "valkey", "postgres", "fred::", "rusqlite"] {
                if line.contains(name) {
                    wrong.push(format!("{}:{number}: names `{name}`", shown(&file)));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn crates_know_who_they_may() {
    for (krate, allowed) in CRATES {
        let manifest = fs::read_to_string(root().join(krate).join("Cargo.toml")).unwrap();
        let dependencies = manifest.split("[dependencies]").nth(1).unwrap_or_default();
        let dependencies = dependencies.split("\n[").next().unwrap_or_default();
        for line in dependencies.lines().filter(|line| line.starts_with("queue-")) {
            let name = line.split(['.', ' ', '=']).next().unwrap();
            assert!(allowed.contains(&name), "{krate}/Cargo.toml: must not depend on {name}");
        }
    }
}

#[test]
fn the_readme_shows_an_example_that_runs() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let example = fs::read_to_string(root().join("examples/hello.rs")).unwrap();
    assert!(readme.contains(&example), "README.md and examples/hello.rs differ");
}

#[test]
fn the_rules_can_be_broken() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join("x").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("src/lib.rs", "mod low;\nmod high;\n");
    write("src/low.rs", "// crate::high\nuse crate::high::Thing;\n");
    write("src/high.rs", "use crate::low::Thing;\n");
    let wrong = looks_up(dir.path(), "x", &["low", "high"]);
    assert_eq!(wrong.len(), 1, "{wrong:?}");
    assert!(wrong[0].contains("low.rs:2: `low` imports `high`"), "{wrong:?}");
    write("src/low/mod.rs", "mod floor;\nmod roof;\n");
    write("src/low/floor.rs", "use crate::low::roof::Tile;\nuse crate::high;\n");
    write("src/low/roof.rs", "use crate::low::floor;\n");
    let wrong = looks_up(dir.path(), "x/src/low", &["floor", "roof"]);
    assert_eq!(wrong.len(), 1, "{wrong:?}");
    assert!(wrong[0].contains("floor.rs:1: `floor` imports `roof`"), "{wrong:?}");
    fs::remove_dir_all(dir.path().join("x/src/low")).unwrap();
    let mut found = BTreeSet::new();
    write("src/stray.rs", "");
    declared(&dir.path().join("x/src/lib.rs"), &mut found);
    assert_eq!(found.len(), 3);
}
