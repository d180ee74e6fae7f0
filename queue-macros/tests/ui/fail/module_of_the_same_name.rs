//! A module and a struct can't share a name: `args` names the struct.

#![allow(unused)]

mod send_email {
    use queue::task;

    #[task]
    pub async fn send_email(to: String) {}
}

pub use send_email::send_email;

fn main() {}
