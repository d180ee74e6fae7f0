//! Types that can be stored or sent to a worker: owned, and one concrete type each.

use quote::ToTokens;
use syn::{Error, GenericArgument, Lifetime, PathArguments, PathSegment, Type};
use syn::{TypeImplTrait, TypeReference};

/// What a type is for, which is why it must be owned and concrete.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    Argument,
    Injected,
    Output,
}

impl Purpose {
    fn why_owned(self) -> &'static str {
        match self {
            Self::Argument => "a task argument must be owned: it is stored in the queue and decoded in another process",
            Self::Injected => "what the worker hands in must be owned: it is made for each run",
            Self::Output => "what a task returns must be owned: it is stored for whoever waits",
        }
    }

    fn why_concrete(self) -> &'static str {
        match self {
            Self::Argument => {
                "a task argument can't be `impl Trait`: the worker must know one concrete type to \
                 decode the job"
            }
            Self::Injected => "what the worker hands in can't be `impl Trait`: it is found by its concrete type",
            Self::Output => {
                "a task can't return `impl Trait`: whoever waits must know one concrete type to \
                 decode it"
            }
        }
    }
}

/// Refuses a type that borrows or is no concrete type, at the part of it that does.
pub(crate) fn check(ty: &Type, purpose: Purpose) -> syn::Result<()> {
    let (tokens, why, help) = match offence(ty) {
        None => return Ok(()),
        Some(Offence::Borrow(reference)) => {
            (reference.to_token_stream(), purpose.why_owned(), instead_of(reference, purpose))
        }
        Some(Offence::Lifetime(lifetime)) => {
            (lifetime.to_token_stream(), purpose.why_owned(), "use a type that borrows nothing".into())
        }
        Some(Offence::Impl(bounds)) => (
            bounds.to_token_stream(),
            purpose.why_concrete(),
            "name the type, or an enum of the types it may be".into(),
        ),
    };
    Err(Error::new_spanned(tokens, format!("{why}\nhelp: {help}")))
}

/// A part of a type that can't be stored.
enum Offence<'a> {
    Borrow(&'a TypeReference),
    Lifetime(&'a Lifetime),
    Impl(&'a TypeImplTrait),
}

/// The first such part. What is behind a function pointer or a trait object is not looked at: it is not stored.
fn offence(ty: &Type) -> Option<Offence<'_>> {
    match ty {
        Type::Reference(reference) => Some(Offence::Borrow(reference)),
        Type::ImplTrait(bounds) => Some(Offence::Impl(bounds)),
        Type::Array(array) => offence(&array.elem),
        Type::Slice(slice) => offence(&slice.elem),
        Type::Group(group) => offence(&group.elem),
        Type::Paren(paren) => offence(&paren.elem),
        Type::Tuple(tuple) => tuple.elems.iter().find_map(offence),
        Type::Path(path) => path.path.segments.iter().find_map(in_segment),
        _ => None,
    }
}

fn in_segment(segment: &PathSegment) -> Option<Offence<'_>> {
    let PathArguments::AngleBracketed(generics) = &segment.arguments else {
        return None;
    };
    generics.args.iter().find_map(|argument| match argument {
        GenericArgument::Type(ty) => offence(ty),
        GenericArgument::Lifetime(lifetime) if lifetime.ident != "static" => Some(Offence::Lifetime(lifetime)),
        _ => None,
    })
}

/// What to write in place of a borrow.
fn instead_of(reference: &TypeReference, purpose: Purpose) -> String {
    let target = &*reference.elem;
    if let Type::Slice(slice) = target {
        return format!("use `Vec<{}>`", text(&slice.elem));
    }
    let name = last_segment(target).map(|segment| segment.ident.to_string());
    match (name.as_deref(), purpose) {
        (Some("str"), _) => "use `String`".into(),
        (Some("Path"), _) => "use `PathBuf`".into(),
        (Some("Context" | "Data"), Purpose::Argument) => {
            format!("the worker hands in `{}` by value; cloning it is cheap", text(target))
        }
        (_, Purpose::Argument) => {
            let target = text(target);
            format!("use `{target}`; if the worker should hand it in, take `Data<{target}>`")
        }
        _ => format!("use `{}`", text(target)),
    }
}

/// The type as a person writes it.
fn text(ty: &Type) -> String {
    let tight = [(" :: ", "::"), (" <", "<"), ("< ", "<"), (" >", ">"), (" ,", ","), ("& ", "&")];
    let text = ty.to_token_stream().to_string();
    tight.iter().fold(text, |text, (from, to)| text.replace(from, to))
}

/// The last segment of a path type; what a macro put in invisible delimiters is looked into.
pub(crate) fn last_segment(ty: &Type) -> Option<&PathSegment> {
    match ty {
        Type::Path(path) => path.path.segments.last(),
        Type::Group(group) => last_segment(&group.elem),
        Type::Paren(paren) => last_segment(&paren.elem),
        _ => None,
    }
}
