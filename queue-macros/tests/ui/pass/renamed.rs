//! The library under another name.

#![deny(warnings)]

extern crate queue as jobs;

mod framework {
    pub(crate) use jobs as queue;
}

#[jobs::task(crate = jobs)]
async fn by_its_name(text: String) -> Result<String, jobs::TaskError> {
    Ok(text)
}

#[jobs::task(crate = crate::framework::queue)]
async fn by_its_path(text: String) -> Result<String, jobs::TaskError> {
    Ok(text)
}

fn main() {
    let _ = by_its_name::new("a").then(by_its_path::after());
    let _ = jobs::tasks![by_its_name, by_its_path];
}
