//! The `#[task]` attribute.

mod backoff;
mod docs;
mod duration;
mod expand;
mod methods;
mod name;
mod options;
mod owned;
mod parameter;
mod serde_attrs;
mod signature;
mod task_impl;

use proc_macro::TokenStream;

/// Makes a function a task.
#[proc_macro_attribute]
pub fn task(options: TokenStream, function: TokenStream) -> TokenStream {
    expand::task(options.into(), function.into()).into()
}
