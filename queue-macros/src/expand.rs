//! What `#[task]` writes beside the function.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Attribute, Error, LitStr, Type};

use crate::docs;
use crate::options::Options;
use crate::owned;
use crate::parameter::{Argument, Parameter};
use crate::signature::Function;

/// The function, and beside it the task; on errors in the options a task without them, so that nothing else fails.
pub(crate) fn task(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let mut function: Function = match syn::parse2(item.clone()) {
        Ok(function) => function,
        Err(error) => return beside(&item, [error]),
    };
    let (options, mut errors) = Options::read(attribute, &function.sig.ident);
    match function.parameters() {
        Ok(parameters) => beside(&Task::new(function, parameters, options), errors),
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
struct Task {
    function: Function,
    parameters: Vec<Parameter>,
    options: Options,
    /// The struct of the arguments, which is the task.
    name: Ident,
    /// The path of what the generated code names.
    private: TokenStream,
    /// `#[cfg]`s of the function, for each item.
    cfgs: Vec<Attribute>,
}

impl ToTokens for Task {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let (function, lints) = (&self.function, self.function_lints());
        tokens.extend(quote!(#lints #function));
        tokens.extend(self.arguments_struct());
        tokens.extend(self.methods());
        tokens.extend(self.implementation());
    }
}

impl Task {
    fn new(function: Function, parameters: Vec<Parameter>, options: Options) -> Self {
        let name = options
            .args
            .clone()
            .unwrap_or_else(|| function.sig.ident.clone());
        let library = match &options.krate {
            Some(path) => path.to_token_stream(),
            None => quote!(::queue),
        };
        let is_cfg = |attr: &&Attribute| attr.path().is_ident("cfg");
        let cfgs = function.attrs.iter().filter(is_cfg).cloned().collect();
        Self {
            function,
            parameters,
            options,
            name,
            private: quote!(#library::__private),
            cfgs,
        }
    }

    fn arguments(&self) -> impl Iterator<Item = &Argument> {
        self.parameters
            .iter()
            .filter_map(|parameter| match parameter {
                Parameter::Argument(argument) => Some(argument),
                Parameter::Injected(_) => None,
            })
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
        let Self {
            name,
            private,
            cfgs,
            ..
        } = self;
        let vis = &self.function.vis;
        let copied = docs::copied(&self.function.attrs);
        let summary = format!(
            "Arguments of the task [`{0}`](fn@{0}).",
            self.function.sig.ident
        );
        let serde = self.serde_crate();
        let fields = self.arguments().map(|argument| self.field(argument));
        quote! {
            #(#cfgs)*
            #[doc = #summary]
            #(#copied)*
            #[allow(
                non_camel_case_types,
                missing_docs,
                missing_debug_implementations,
                missing_copy_implementations,
                private_interfaces,
                clippy::struct_excessive_bools,
                clippy::struct_field_names,
                clippy::pub_underscore_fields
            )]
            #[derive(#private::serde::Serialize, #private::serde::Deserialize)]
            #serde
            #vis struct #name { #(#vis #fields,)* }
        }
    }

    fn serde_crate(&self) -> TokenStream {
        let path = format!("{}::serde", text(&self.private));
        quote!(#[serde(crate = #path)])
    }

    /// A field with its attributes, without its visibility.
    fn field(&self, argument: &Argument) -> TokenStream {
        let Argument {
            ident, ty, attrs, ..
        } = argument;
        let bound = self.bound(argument);
        quote!(#(#attrs)* #bound #ident: #ty)
    }

    /// Puts the error for a type that serde does not know on that type, and in words about tasks: the bound is text,
    /// which bears the type's span.
    fn bound(&self, argument: &Argument) -> Option<TokenStream> {
        let ty = text(&argument.ty);
        // `$crate` has no meaning in text.
        if argument.serde.own_bounds || ty.contains('$') {
            return None;
        }
        let bound = format!("{ty}: {}::TaskArg", text(&self.private));
        let bound = LitStr::new(&bound, argument.ty.span());
        Some(quote!(#[serde(bound(serialize = #bound, deserialize = #bound))]))
    }

    fn methods(&self) -> TokenStream {
        let Self {
            name,
            private,
            cfgs,
            ..
        } = self;
        let vis = &self.function.vis;
        let (constructor, after) = (self.constructor(), self.after());
        quote! {
            #(#cfgs)*
            #[allow(dead_code, deprecated, clippy::too_many_arguments, clippy::fn_params_excessive_bools)]
            impl #name {
                #constructor
                #after

                /// The call that these arguments make, to give it options of its own.
                #vis fn call(self) -> #private::Call<Self> {
                    #private::Call::new(self)
                }

                /// Stores the call that these arguments make, as a job.
                ///
                /// # Errors
                /// As `Call::enqueue`.
                #vis async fn enqueue(
                    self,
                    client: &#private::Client,
                ) -> ::core::result::Result<
                    #private::JobHandle<<Self as #private::Task>::Output>,
                    #private::EnqueueError<#private::Call<Self>>,
                > {
                    self.call().enqueue(client).await
                }
            }
        }
    }

    fn constructor(&self) -> TokenStream {
        let private = &self.private;
        let vis = &self.function.vis;
        let inputs = self.arguments().map(input);
        let values = self.arguments().map(value);
        quote! {
            /// A call of the task with these arguments: give it options, or `.enqueue(&client)` it.
            #vis fn new(#(#inputs),*) -> #private::Call<Self> {
                #private::Call::new(Self { #(#values),* })
            }
        }
    }

    /// The constructor of a pipeline's step, unless there is no first argument with a key for the output before it.
    fn after(&self) -> Option<TokenStream> {
        let private = &self.private;
        let first = self
            .arguments()
            .next()
            .filter(|first| !first.serde.flattened)?;
        let (vis, first_type) = (&self.function.vis, &first.ty);
        let key = first
            .serde
            .key
            .clone()
            .unwrap_or_else(|| first.ident.unraw().to_string());
        let summary = format!(
            "A step of a pipeline: the output of the step before becomes `{}`.",
            first.ident
        );
        let rest = || self.arguments().skip(1);
        let (inputs, values) = (rest().map(input), rest().map(value));
        let (fields, serde) = (
            rest().map(|argument| self.field(argument)),
            self.serde_crate(),
        );
        Some(quote! {
            #[doc = #summary]
            #vis fn after(#(#inputs),*) -> #private::After<Self, #first_type> {
                #[derive(#private::serde::Serialize)]
                #serde
                struct __QueueRest { #(#fields,)* }
                #private::After::new(#key, &__QueueRest { #(#values),* })
            }
        })
    }

    fn implementation(&self) -> TokenStream {
        let Self {
            name,
            private,
            cfgs,
            options,
            function,
            ..
        } = self;
        let task_name = options.name.clone();
        let task_name = task_name.unwrap_or_else(|| {
            LitStr::new(
                &function.sig.ident.unraw().to_string(),
                function.sig.ident.span(),
            )
        });
        let aliases = &options.aliases;
        let constants = options.tokens(private);
        let returned = function.output();
        let output = quote_spanned!(returned.span()=> <#returned as #private::TaskReturn>::Output);
        let (requires, run) = (self.requires(), self.run());
        quote! {
            #(#cfgs)*
            #[allow(deprecated)]
            impl #private::Task for #name {
                type Output = #output;
                const NAME: &'static ::core::primitive::str = #task_name;
                const ALIASES: &'static [&'static ::core::primitive::str] = &[#(#aliases),*];
                const OPTIONS: #private::TaskOptions = #constants;
                const PLACE: &'static ::core::primitive::str =
                    ::core::concat!(::core::file!(), ":", ::core::line!());
                #requires
                #run
            }
        }
    }

    fn injected(&self) -> impl Iterator<Item = &Type> {
        self.parameters
            .iter()
            .filter_map(|parameter| match parameter {
                Parameter::Argument(_) => None,
                Parameter::Injected(ty) => Some(ty),
            })
    }

    /// Said in a method body: an associated type would leak private types.
    fn requires(&self) -> Option<TokenStream> {
        let private = &self.private;
        self.injected().next()?;
        let types = self.injected();
        Some(quote_spanned! {Span::mixed_site()=>
            fn requires(requirements: &mut #private::Requirements) {
                #(<#types as #private::FromContext>::requires(requirements);)*
            }
        })
    }

    /// What is handed in is taken first: a task that is not async is then all the closure holds.
    fn run(&self) -> TokenStream {
        let (private, function) = (&self.private, &self.function.sig.ident);
        let (mut takes, mut values) = (Vec::new(), Vec::new());
        for parameter in &self.parameters {
            match parameter {
                Parameter::Argument(Argument { ident, .. }) => {
                    values.push(quote_spanned!(Span::mixed_site()=> self.#ident));
                }
                Parameter::Injected(ty) => {
                    let local = format_ident!("injected{}", takes.len(), span = Span::mixed_site());
                    values.push(local.to_token_stream());
                    takes.push(quote_spanned! {Span::mixed_site()=>
                        let #local = <#ty as #private::FromContext>::from_context(&ctx)?;
                    });
                }
            }
        }
        let ctx = Ident::new(
            if takes.is_empty() { "_ctx" } else { "ctx" },
            Span::mixed_site(),
        );
        let outcome = self.outcome(&quote!(#function(#(#values),*)));
        quote_spanned! {Span::mixed_site()=>
            async fn run(
                self,
                #ctx: #private::Context,
            ) -> ::core::result::Result<Self::Output, #private::TaskError> {
                #(#takes)*
                #outcome
            }
        }
    }

    /// Calls the function, here or, when it is not async, on the blocking pool.
    fn outcome(&self, call: &TokenStream) -> TokenStream {
        let (private, returned) = (&self.private, self.function.output());
        let into_result = quote_spanned! {returned.span()=>
            <#returned as #private::TaskReturn>::into_result
        };
        if self.function.sig.asyncness.is_some() {
            quote!(#into_result(#call.await))
        } else {
            quote!(#private::run_blocking(move || #into_result(#call)).await)
        }
    }
}

/// A parameter of a constructor. `impl Into` only where no literal becomes ambiguous by it.
fn input(argument: &Argument) -> TokenStream {
    let Argument { ident, ty, .. } = argument;
    if is_text(ty) {
        quote!(#ident: impl ::core::convert::Into<#ty>)
    } else {
        quote!(#ident: #ty)
    }
}

/// The field that a constructor makes of its parameter.
fn value(argument: &Argument) -> TokenStream {
    let Argument { ident, ty, .. } = argument;
    if is_text(ty) {
        quote!(#ident: ::core::convert::Into::into(#ident))
    } else {
        quote!(#ident)
    }
}

/// Whether the type is one that people have in another form at hand, a literal mostly.
fn is_text(ty: &Type) -> bool {
    let name = owned::last_segment(ty).filter(|segment| segment.arguments.is_none());
    name.is_some_and(|segment| segment.ident == "String" || segment.ident == "PathBuf")
}

/// The tokens as serde's attributes want them.
fn text(tokens: &impl ToTokens) -> String {
    tokens.to_token_stream().to_string()
}
