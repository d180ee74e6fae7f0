//! The inherent methods of the arguments' struct: from arguments to calls and steps.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Type, Visibility};

use crate::expand::Task;
use crate::owned;
use crate::parameter::Argument;

impl Task {
    pub(crate) fn methods(&self) -> TokenStream {
        let name = &self.name;
        let (constructor, after, verbs) = (self.constructor(), self.after(), self.verbs());
        quote! {
            #[allow(deprecated, clippy::too_many_arguments, clippy::used_underscore_binding)]
            impl #name {
                #constructor
                #after
                #verbs
            }
        }
    }

    fn constructor(&self) -> TokenStream {
        let (private, vis) = (&self.private, &self.function.vis);
        let (inputs, values) = (self.arguments().map(input), self.arguments().map(value));
        quote! {
            /// A call of the task with these arguments: give it options, or `.enqueue(&client)` it.
            #vis fn new(#(#inputs),*) -> #private::Call<Self> {
                #private::Call::new(Self { #(#values),* })
            }
        }
    }

    /// The constructor of a step, unless there is no first argument with a key for the output before it.
    fn after(&self) -> Option<TokenStream> {
        let first = self.arguments().next().filter(|first| !first.serde.flattened)?;
        let (private, vis, first_type) = (&self.private, &self.function.vis, &first.ty);
        let first_name = first.ident.unraw().to_string();
        let summary = format!("A step of a pipeline: the output of the step before becomes `{first_name}`.");
        let key = first.serde.key.clone().unwrap_or(first_name);
        let rest = || self.arguments().skip(1);
        let (inputs, values) = (rest().map(input), rest().map(value));
        let fields = rest().map(|argument| self.field(argument, &Visibility::Inherited));
        let serde = self.serde_crate();
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

    /// What the literal form is for: the struct is the arguments, not yet a call.
    fn verbs(&self) -> TokenStream {
        let (private, vis) = (&self.private, &self.function.vis);
        // Of what no task can return rustc complains here too, and should do so at the function's type.
        let outcome = quote_spanned! {self.function.output().span()=>
            ::core::result::Result<
                #private::JobHandle<<Self as #private::Task>::Output>,
                #private::EnqueueError<#private::Call<Self>>,
            >
        };
        quote! {
            /// The call that these arguments make: give it options, or `.enqueue(&client)` it.
            #vis fn call(self) -> #private::Call<Self> {
                #private::Call::new(self)
            }

            /// Stores the call that these arguments make, without options of its own.
            ///
            /// # Errors
            /// As the call's own `enqueue`.
            #vis async fn enqueue(self, client: &#private::Client) -> #outcome {
                #private::Call::new(self).enqueue(client).await
            }
        }
    }
}

/// A parameter of a constructor. `impl Into` only where no literal becomes ambiguous by it.
fn input(argument: &Argument) -> TokenStream {
    let Argument { ident, ty, .. } = argument;
    if is_text(ty) { quote!(#ident: impl ::core::convert::Into<#ty>) } else { quote!(#ident: #ty) }
}

/// The field that a constructor makes of its parameter.
fn value(argument: &Argument) -> TokenStream {
    let Argument { ident, ty, .. } = argument;
    if is_text(ty) { quote!(#ident: ::core::convert::Into::into(#ident)) } else { quote!(#ident) }
}

/// Whether people have the type in another form at hand, a literal mostly.
fn is_text(ty: &Type) -> bool {
    let name = owned::last_segment(ty).filter(|segment| segment.arguments.is_none());
    name.is_some_and(|segment| segment.ident == "String" || segment.ident == "PathBuf")
}
