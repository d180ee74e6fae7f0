//! An alias of `Data` is not seen through: it is taken for an argument.

#![allow(unused)]

use queue::{Data, task};

struct Pool;

type Inject<T> = Data<T>;

#[task]
async fn report(day: u32, pool: Inject<Pool>) {}

fn main() {}
