//! The attribute `#[daemonocle::main]`. Use it, and read about it, in the crate `daemonocle`.
//!
//! What it makes of a function uses only what everybody can: the builder `daemonocle::Daemon`, and
//! one of its methods `run`, `run_with`, `run_async` and `run_async_with`.

#![forbid(unsafe_code)]

mod arguments;
mod expand;
mod function;
mod help;
mod settings;

use proc_macro::TokenStream;

// `daemonocle` documents it where it makes it public.
#[allow(missing_docs)]
#[proc_macro_attribute]
pub fn main(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand::main(arguments.into(), item.into()).into()
}
