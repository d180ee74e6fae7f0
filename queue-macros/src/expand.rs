//! What `#[task]` writes beside the function.

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Error, LitStr, Visibility};

use crate::docs;
use crate::options::Options;
use crate::parameter::{Argument, Parameter};
use crate::signature::Function;

/// The function, and beside it the task; on errors in the options a task without them, so that nothing else fails.
pub(crate) fn task(attribute: TokenStream, item: &TokenStream) -> TokenStream {
    let mut function: Function = match syn::parse2(item.clone()) {
        Ok(function) => function,
        Err(error) => return beside(item, [error]),
    };
    let (options, mut errors) = Options::read(attribute, &function.sig.ident);
    match function.parameters() {
        Ok(parameters) => {
            let arguments: Vec<_> = parameters.iter().filter_map(Parameter::argument).collect();
            errors.extend(options.unfit_arguments(&arguments));
            beside(&Task::new(function, parameters, options), errors)
        }
        Err(refusals) => {
            errors.extend(refusals);
            beside(&function, errors)
        }
    }
}

fn beside(item: &impl ToTokens, errors: impl IntoIterator<Item = Error>) -> TokenStream {
    let errors = errors.into_iter().map(Error::into_compile_error);
    quote!(#item #(#errors)*)
}

/// A function that can be a task, and everything that is said about it.
pub(crate) struct Task {
    pub(crate) function: Function,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) options: Options,
    /// The struct of the arguments, which is the task.
    pub(crate) name: Ident,
    /// The path of what the generated code names.
    pub(crate) private: TokenStream,
}

impl ToTokens for Task {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let (function, lints) = (&self.function, self.function_lints());
        tokens.extend(quote!(#lints #function));
        tokens.extend(self.arguments_struct());
        tokens.extend(self.checks());
        tokens.extend(self.methods());
        tokens.extend(self.implementation());
    }
}

impl Task {
    fn new(function: Function, parameters: Vec<Parameter>, options: Options) -> Self {
        let name = options.args.clone().unwrap_or_else(|| function.sig.ident.clone());
        let library = match &options.krate {
            Some(path) => path.to_token_stream(),
            None => quote!(::queue),
        };
        Self { function, parameters, options, name, private: quote!(#library::__private) }
    }

    pub(crate) fn arguments(&self) -> impl Iterator<Item = &Argument> {
        self.parameters.iter().filter_map(Parameter::argument)
    }

    /// What is no fault in a task: it owns what it is given whether it needs to or not, and it may be `async` to stay
    /// off the blocking pool.
    fn function_lints(&self) -> TokenStream {
        if self.function.sig.asyncness.is_some() {
            quote!(#[allow(clippy::unused_async)])
        } else {
            quote!(#[allow(clippy::needless_pass_by_value)])
        }
    }

    /// A braced struct, even without fields: it leaves the value namespace to the function.
    fn arguments_struct(&self) -> TokenStream {
        let Self { name, private, .. } = self;
        let vis = &self.function.vis;
        let copied = docs::copied(&self.function.attrs);
        // Ends its paragraph, so that the function's own words follow in another.
        let summary = format!("Arguments of the task [`{0}`](fn@{0}).\n", self.function.sig.ident);
        let serde = self.serde_crate();
        let fields = self.arguments().map(|argument| self.field(argument, vis));
        quote! {
            #[doc = #summary]
            #(#copied)*
            #[allow(
                non_camel_case_types,
                missing_docs,
                private_interfaces,
                clippy::pub_underscore_fields
            )]
            #[must_use = "the arguments do nothing until `.enqueue(&client).await`"]
            #[derive(#private::serde::Serialize, #private::serde::Deserialize)]
            #serde
            #vis struct #name { #(#fields,)* }
        }
    }

    pub(crate) fn serde_crate(&self) -> TokenStream {
        let path = format!("{}::serde", text(&self.private));
        quote!(#[serde(crate = #path)])
    }

    /// A field with its attributes.
    pub(crate) fn field(&self, argument: &Argument, vis: &Visibility) -> TokenStream {
        let Argument { ident, ty, attrs, .. } = argument;
        let bound = self.bound(argument);
        quote!(#(#attrs)* #bound #vis #ident: #ty)
    }

    /// What serde's derives may take for granted. They would complain of a type they don't know in their own words, and
    /// often; [`checks`](Self::checks) does it better.
    fn bound(&self, argument: &Argument) -> Option<TokenStream> {
        let ty = text(&argument.ty);
        // `$crate` has no meaning in text.
        if !argument.may_be_foreign_to_serde() || ty.contains('$') {
            return None;
        }
        let private = text(&self.private);
        let bound = format!("for<'queue> <{ty} as {private}::Itself<'queue>>::Type: {private}::TaskArg");
        let bound = LitStr::new(&bound, argument.ty.span());
        Some(quote!(#[serde(bound(serialize = #bound, deserialize = #bound))]))
    }

    /// Names each type that can't be an argument, where the parameter does.
    fn checks(&self) -> TokenStream {
        let private = &self.private;
        let checked = self.arguments().filter(|argument| argument.may_be_foreign_to_serde());
        let checks = checked.map(|Argument { ty, .. }| quote_spanned!(ty.span()=> #private::argument::<#ty>()));
        quote!(const _: () = { #(#checks;)* };)
    }
}

/// The tokens as serde's attributes want them.
fn text(tokens: &impl ToTokens) -> String {
    tokens.to_token_stream().to_string()
}

#[cfg(test)]
mod tests {
    use super::{quote, task};

    fn expanded(options: proc_macro2::TokenStream) -> String {
        let item = quote! {
            fn send(#[arg] to: String, #[serde(default)] copies: u32, #[inject] who: Who, ctx: Context) -> Result<(), E> {
                a half-typed . body
            }
        };
        task(options, &item).to_string()
    }

    /// What is written for a crate that has renamed the dependency can't be compiled here, where it has its name.
    #[test]
    fn another_path_replaces_each() {
        let default = expanded(quote!());
        assert!(default.contains(":: queue :: __private"));
        let renamed = expanded(quote!(crate = jobs));
        assert!(renamed.contains("jobs :: __private") && !renamed.contains(":: queue"), "{renamed}");
        assert_eq!(default.replace(":: queue ::", "jobs ::"), renamed);
    }

    #[test]
    fn the_function_comes_as_it_was_written() {
        let function = "fn send (to : String , copies : u32 , who : Who , ctx : Context) -> Result < () , E > \
                        { a half - typed . body }";
        assert!(expanded(quote!()).contains(function));
        let refused = task(quote!(), &quote!(fn send<T>(#[arg] to: T) { half typed })).to_string();
        assert!(refused.starts_with("fn send < T > (to : T) { half typed } :: core :: compile_error"), "{refused}");
    }
}
