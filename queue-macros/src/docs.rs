//! What the struct of the arguments takes over from the function.

use syn::{Attribute, Expr, ExprLit, Lit, Meta};

/// The function's `#[deprecated]` and its documentation, up to the first code block: a copy of that would be tested
/// twice.
pub(crate) fn copied(attrs: &[Attribute]) -> Vec<&Attribute> {
    let wanted = |attr: &&Attribute| attr.path().is_ident("doc") || attr.path().is_ident("deprecated");
    let opens_code = |attr: &&Attribute| line(attr).is_some_and(|line| line.contains("```"));
    let before_code = attrs.iter().take_while(|attr| !opens_code(attr));
    let after_code = attrs.iter().skip_while(|attr| !opens_code(attr));
    let after_code = after_code.filter(|attr| line(attr).is_none());
    before_code.chain(after_code).filter(wanted).collect()
}

/// The text of a doc comment.
fn line(attr: &Attribute) -> Option<String> {
    match &attr.meta {
        Meta::NameValue(doc) if doc.path.is_ident("doc") => match &doc.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    }
}
