//! The help text: the documentation of the function, as it is written.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Attribute, Expr, ExprLit, Lit, Meta};

/// An expression for the text; `None` if there is none.
pub(crate) fn text(attributes: &[Attribute]) -> Option<TokenStream> {
    let parts: Vec<_> = attributes.iter().filter_map(documentation).collect();
    let literals: Option<Vec<String>> = parts.iter().map(|part| literal(part)).collect();
    if let Some(lines) = literals {
        let text = lines.join("\n");
        let text = text.trim_matches('\n').trim_end();
        return (!text.is_empty()).then(|| quote!(#text));
    }
    // Something like `include_str!("help.txt")` is not known yet.
    let parts = parts.iter().map(|part| match literal(part) {
        Some(line) => quote!(#line),
        None => quote!(#part),
    });
    Some(quote!(::core::concat!(#(#parts, "\n"),*)))
}

/// What is on the right of `#[doc = …]`, which is what the compiler makes of `/// …` too.
fn documentation(attribute: &Attribute) -> Option<&Expr> {
    match &attribute.meta {
        Meta::NameValue(doc) if doc.path.is_ident("doc") => Some(&doc.value),
        _ => None,
    }
}

fn literal(part: &Expr) -> Option<String> {
    match part {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(clean(&text.value())),
        _ => None,
    }
}

/// Without what belongs to the comment: the space after `///`; in `/** … */` the column of
/// asterisks, and the indentation.
fn clean(comment: &str) -> String {
    let mut lines: Vec<&str> = comment.lines().map(str::trim_end).collect();
    if let [line] = lines[..] {
        return line.strip_prefix(' ').unwrap_or(line).to_owned();
    }
    // The first line is behind `/**`, and says nothing about the others.
    let rest = lines.get(1..).unwrap_or_default();
    let mut texts = rest.iter().map(|line| line.trim_start()).filter(|line| !line.is_empty());
    if texts.all(|line| line.starts_with('*')) {
        for line in lines.iter_mut().skip(1) {
            *line = line.trim_start();
            *line = line.strip_prefix('*').unwrap_or(line);
        }
    }
    let indented = |line: &&str| !line.is_empty();
    let indentation = |line: &str| line.len() - line.trim_start_matches(' ').len();
    let rest = lines.get(1..).unwrap_or_default();
    let least = rest.iter().copied().filter(indented).map(indentation).min().unwrap_or(0);
    let first = lines.first().map(|line| line.trim_start()).into_iter();
    let rest = rest.iter().map(|line| line.get(least..).unwrap_or_default());
    first.chain(rest).collect::<Vec<_>>().join("\n")
}
