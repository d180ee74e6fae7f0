//! The parameters of a task: which are arguments, and which the worker hands in.

use quote::ToTokens;
use syn::{Attribute, Error, GenericArgument, Ident, Meta, Pat, PatType, PathArguments, Type};

use crate::owned::{self, Purpose};
use crate::serde_attrs::SerdeFacts;

/// A parameter of the function.
#[derive(Debug)]
pub(crate) enum Parameter {
    /// It is stored with the job.
    Argument(Argument),
    /// It is handed in by the worker, found by its type.
    Injected(Type),
}

/// An argument: a field of the struct.
#[derive(Debug)]
pub(crate) struct Argument {
    pub(crate) ident: Ident,
    pub(crate) ty: Type,
    /// Doc comments and serde attributes, which move to the field.
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) serde: SerdeFacts,
}

/// The attributes of a parameter that are not the function's.
#[derive(Debug, Default)]
pub(crate) struct OwnAttributes {
    inject: Option<Attribute>,
    arg: Option<Attribute>,
    docs: Vec<Attribute>,
    serde: Vec<Attribute>,
}

impl OwnAttributes {
    /// Takes them away from the parameter: rustc would not have them there.
    pub(crate) fn take(attrs: &mut Vec<Attribute>) -> Self {
        let mut own = Self::default();
        for attr in std::mem::take(attrs) {
            let path = attr.path();
            if path.is_ident("inject") {
                own.inject = Some(attr);
            } else if path.is_ident("arg") {
                own.arg = Some(attr);
            } else if path.is_ident("doc") {
                own.docs.push(attr);
            } else if path.is_ident("serde") {
                own.serde.push(attr);
            } else {
                attrs.push(attr);
            }
        }
        own
    }

    /// Whether the parameter is an argument: by its attribute, else by its type.
    fn is_argument(&self, ty: &Type) -> syn::Result<bool> {
        for attr in self.inject.iter().chain(&self.arg) {
            if !matches!(attr.meta, Meta::Path(_)) {
                let message = "this attribute stands alone: `#[inject]` or `#[arg]`";
                return Err(Error::new_spanned(&attr.meta, message));
            }
        }
        match (&self.inject, &self.arg) {
            (Some(_), Some(arg)) => Err(Error::new_spanned(
                arg,
                "a parameter is either an argument of the job (`#[arg]`) or handed in by the worker \
                 (`#[inject]`)\nhelp: remove one of the two",
            )),
            (inject, None) => Ok(inject.is_none() && !is_handed_in(ty)),
            (None, Some(_)) => Ok(true),
        }
    }
}

impl Parameter {
    /// What a parameter is.
    ///
    /// # Errors
    /// It can be neither stored nor handed in.
    pub(crate) fn new(param: &PatType, own: OwnAttributes) -> syn::Result<Self> {
        refuse_cfg(&param.attrs)?;
        if own.is_argument(&param.ty)? {
            Argument::new(param, own).map(Self::Argument)
        } else {
            injected(param, &own).map(Self::Injected)
        }
    }

    pub(crate) fn argument(&self) -> Option<&Argument> {
        match self {
            Self::Argument(argument) => Some(argument),
            Self::Injected(_) => None,
        }
    }

    pub(crate) fn injected(&self) -> Option<&Type> {
        match self {
            Self::Argument(_) => None,
            Self::Injected(ty) => Some(ty),
        }
    }
}

impl Argument {
    fn new(param: &PatType, own: OwnAttributes) -> syn::Result<Self> {
        owned::check(&param.ty, Purpose::Argument)?;
        let Pat::Ident(pat) = &*param.pat else {
            return Err(Error::new_spanned(
                &param.pat,
                "a task argument needs a plain name: the name is its key in the stored job\n\
                 help: name it, and take it apart in the body: `let (x, y) = point;`",
            ));
        };
        let serde = SerdeFacts::of(&own.serde);
        if let Some(span) = serde.skipped {
            let message = format!(
                "a skipped argument never reaches the worker\nhelp: remove `{name}` from the parameters, or \
                 mark it `#[inject]` if the worker should hand it in",
                name = pat.ident
            );
            return Err(Error::new(span, message));
        }
        let attrs = own.docs.into_iter().chain(own.serde).collect();
        Ok(Self { ident: pat.ident.clone(), ty: (*param.ty).clone(), attrs, serde })
    }

    /// Whether its type may be one that serde does not know. The bounds that say so in good words add more than half to
    /// the time a task takes to compile, so the commonest types go without.
    pub(crate) fn may_be_foreign_to_serde(&self) -> bool {
        !self.serde.own_bounds && !is_known_to_serde(&self.ty)
    }

    /// Whether a job that was stored without it is decoded all the same.
    pub(crate) fn may_be_left_out(&self) -> bool {
        self.serde.default || (is_option(&self.ty) && !self.serde.own_decoding)
    }
}

fn injected(param: &PatType, own: &OwnAttributes) -> syn::Result<Type> {
    owned::check(&param.ty, Purpose::Injected)?;
    if let Some(attr) = own.serde.first() {
        let message = "serde attributes belong to arguments, which are stored; this parameter is handed in \
                       by the worker\nhelp: remove the attribute, or mark the parameter `#[arg]`";
        return Err(Error::new_spanned(attr, message));
    }
    Ok((*param.ty).clone())
}

/// A field that is there or not would have to be so in each generated item.
fn refuse_cfg(attrs: &[Attribute]) -> syn::Result<()> {
    let cfg = attrs.iter().find(|attr| attr.path().is_ident("cfg") || attr.path().is_ident("cfg_attr"));
    cfg.map_or(Ok(()), |attr| {
        let name = attr.path().to_token_stream();
        let message = format!(
            "`{name}` can't stand on a parameter of a task: two programs would not agree on the stored \
             job\nhelp: make it an `Option`, or write two functions, each with `#[cfg(..)]` and `#[task]`"
        );
        Err(Error::new_spanned(attr, message))
    })
}

/// Whether the type is one that workers hand in: `Context`, `Data<..>`, by the last segment of its path.
fn is_handed_in(ty: &Type) -> bool {
    owned::last_segment(ty).is_some_and(|segment| match segment.arguments {
        PathArguments::None => segment.ident == "Context",
        PathArguments::AngleBracketed(_) => segment.ident == "Data",
        PathArguments::Parenthesized(_) => false,
    })
}

fn is_option(ty: &Type) -> bool {
    let generic = |segment: &&syn::PathSegment| matches!(segment.arguments, PathArguments::AngleBracketed(_));
    owned::last_segment(ty).filter(generic).is_some_and(|segment| segment.ident == "Option")
}

fn is_known_to_serde(ty: &Type) -> bool {
    const PLAIN: [&str; 17] = [
        "String", "bool", "char", "u8", "u16", "u32", "u64", "u128", "usize", "i8", "i16", "i32", "i64", "i128",
        "isize", "f32", "f64",
    ];
    owned::last_segment(ty).is_some_and(|segment| match &segment.arguments {
        PathArguments::None => PLAIN.iter().any(|name| segment.ident == name),
        PathArguments::AngleBracketed(generics) => {
            let known =
                |argument: &GenericArgument| matches!(argument, GenericArgument::Type(ty) if is_known_to_serde(ty));
            (segment.ident == "Option" || segment.ident == "Vec") && generics.args.iter().all(known)
        }
        PathArguments::Parenthesized(_) => false,
    })
}
