//! The function under `#[task]`: read without touching its body, and refused when no worker could run it.

use proc_macro2::{TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::parse::{Parse, ParseStream};
use syn::{Attribute, Error, FnArg, GenericArgument, PathArguments, ReturnType, Safety, Signature};
use syn::{Type, Visibility};

use crate::owned::{self, Purpose};
use crate::parameter::{OwnAttributes, Parameter};

/// A function whose body is kept as it was written: half-typed code still expands, which keeps IDEs at work.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) vis: Visibility,
    pub(crate) sig: Signature,
    body: TokenStream,
    own: Vec<OwnAttributes>,
}

impl Parse for Function {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let attrs = input.call(Attribute::parse_outer)?;
        let vis = input.parse()?;
        refuse_other_items(input)?;
        let mut sig: Signature = input.parse()?;
        let own = sig.inputs.iter_mut().map(|param| match param {
            FnArg::Typed(param) => OwnAttributes::take(&mut param.attrs),
            FnArg::Receiver(_) => OwnAttributes::default(),
        });
        let own = own.collect();
        Ok(Self { attrs, vis, sig, body: input.parse()?, own })
    }
}

/// The function as it was written, without the parameters' attributes that are not its own.
impl ToTokens for Function {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let Self { attrs, vis, sig, body, .. } = self;
        tokens.extend(quote!(#(#attrs)* #vis #sig #body));
    }
}

impl Function {
    /// What its parameters are.
    ///
    /// # Errors
    /// Why it can't be a task. What is wrong with the function as a whole hides what follows from it in the parameters.
    pub(crate) fn parameters(&mut self) -> Result<Vec<Parameter>, Vec<Error>> {
        self.check()?;
        let own = std::mem::take(&mut self.own);
        let (mut parameters, mut errors) = (Vec::new(), Vec::new());
        for (param, own) in self.sig.inputs.iter().zip(own) {
            let FnArg::Typed(param) = param else { continue };
            match Parameter::new(param, own) {
                Ok(parameter) => parameters.push(parameter),
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok(parameters) } else { Err(errors) }
    }

    /// The type it returns, as written; nothing written stands at the name.
    pub(crate) fn output(&self) -> Type {
        match &self.sig.output {
            ReturnType::Default => Type::Verbatim(quote_spanned!(self.sig.ident.span()=> ())),
            ReturnType::Type(_, ty) => (**ty).clone(),
        }
    }

    fn check(&self) -> Result<(), Vec<Error>> {
        let errors: Vec<_> = [self.not_free(), self.not_safe(), self.not_concrete(), self.bad_output(), self.no_body()]
            .into_iter()
            .filter_map(Result::err)
            .collect();
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    fn not_free(&self) -> syn::Result<()> {
        let Some(receiver) = self.sig.receiver() else {
            return Ok(());
        };
        Err(Error::new_spanned(
            receiver,
            "`#[task]` can't be put on a method: a worker has no `self`\n\
             help: make it a free function; take shared state as `Data<T>`, and what is stored with the job as arguments",
        ))
    }

    fn not_safe(&self) -> syn::Result<()> {
        let sig = &self.sig;
        if let Safety::Unsafe(token) = &sig.safety {
            let message = "a task can't be `unsafe`: a worker can't keep a promise to it\n\
                           help: make the function safe, with an `unsafe` block inside";
            return Err(Error::new_spanned(token, message));
        }
        sig.abi.as_ref().map_or(Ok(()), |abi| {
            let message = "a task is a Rust function: it can't be `extern`\n\
                           help: make it a plain function, and call it from the foreign one";
            Err(Error::new_spanned(abi, message))
        })
    }

    fn not_concrete(&self) -> syn::Result<()> {
        let generics = &self.sig.generics;
        if generics.params.is_empty() {
            return generics.where_clause.as_ref().map_or(Ok(()), |clause| {
                let message = "a task can't have a `where` clause: nothing about it is generic\nhelp: remove it";
                Err(Error::new_spanned(clause, message))
            });
        }
        let message = if generics.params.len() == generics.lifetimes().count() {
            "a task can't have lifetimes: its arguments are stored in the queue and decoded in another process\n\
             help: take owned types, such as `String` for `&str`"
        } else {
            "a task can't be generic: the worker must know one concrete type to decode the job\n\
             help: write one `#[task]` function per type, each of which calls the generic one"
        };
        Err(Error::new_spanned(&generics.params, message))
    }

    /// The value of a success is stored, so it is as owned as an argument; the error is not.
    fn bad_output(&self) -> syn::Result<()> {
        let ReturnType::Type(_, ty) = &self.sig.output else {
            return Ok(());
        };
        let stored = match owned::last_segment(ty) {
            Some(segment) if segment.ident == "Result" => first_type(&segment.arguments),
            _ if matches!(**ty, Type::ImplTrait(_)) => Some(&**ty),
            _ => None,
        };
        stored.map_or(Ok(()), |ty| owned::check(ty, Purpose::Output))
    }

    fn no_body(&self) -> syn::Result<()> {
        let ends = self.body.clone().into_iter().last();
        match ends {
            Some(TokenTree::Group(_)) => Ok(()),
            _ => Err(Error::new_spanned(&self.sig, "a task needs a body: it is what a worker runs")),
        }
    }
}

fn first_type(arguments: &PathArguments) -> Option<&Type> {
    let PathArguments::AngleBracketed(generics) = arguments else {
        return None;
    };
    match generics.args.first() {
        Some(GenericArgument::Type(ty)) => Some(ty),
        _ => None,
    }
}

/// Items other than functions, which syn would only call unexpected.
fn refuse_other_items(input: ParseStream<'_>) -> syn::Result<()> {
    let words = |tree: &TokenTree| !matches!(tree, TokenTree::Group(_));
    let item: TokenStream = input.fork().parse()?;
    if item.into_iter().take_while(words).any(|tree| tree.to_string() == "fn") {
        return Ok(());
    }
    Err(input.error(
        "`#[task]` goes on a function, which is what a worker runs\n\
         help: put it on the function, or implement `Task` for a type of your own by hand",
    ))
}
