//! State that a worker hands to its tasks.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// Shared state, handed in by the worker: `mailer: Data<Mailer>` as a parameter of a task is what
/// [`data(mailer)`](crate::WorkerBuilder::data) gave the worker.
///
/// It is an [`Arc`]: cloning it is cheap and `T` need not be `Clone`. Two values of one type need two types:
/// `struct ReadPool(Pool)`. In a unit test, `Data::new(value)`.
///
/// ```
/// use queue_core::Data;
/// let greeting: Data<str> = Data::from_arc("hello".into());
/// assert_eq!(greeting.len(), 5);
/// ```
pub struct Data<T: ?Sized>(Arc<T>);

impl<T> Data<T> {
    /// Wraps a value.
    #[must_use]
    pub fn new(value: T) -> Self {
        Self(Arc::new(value))
    }
}

impl<T: ?Sized> Data<T> {
    /// Wraps a value that is shared already; the way to a `Data<dyn Trait>`.
    #[must_use]
    pub fn from_arc(value: Arc<T>) -> Self {
        Self(value)
    }

    /// The value, shared.
    #[must_use]
    pub fn into_arc(self) -> Arc<T> {
        self.0
    }
}

impl<T: ?Sized> Clone for Data<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: ?Sized> Deref for Data<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Data<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Data").field(&&*self.0).finish()
    }
}

/// What a worker has to hand in, by type.
#[derive(Clone, Default)]
pub(crate) struct DataMap(HashMap<TypeId, Arc<dyn Any + Send + Sync>>);

impl DataMap {
    /// Puts a value in; whether there was one of its type already.
    pub(crate) fn insert<T: ?Sized + Send + Sync + 'static>(&mut self, data: Data<T>) -> bool {
        self.0.insert(TypeId::of::<T>(), Arc::new(data)).is_some()
    }

    pub(crate) fn get<T: ?Sized + Send + Sync + 'static>(&self) -> Option<Data<T>> {
        self.0.get(&TypeId::of::<T>())?.downcast_ref::<Data<T>>().cloned()
    }

    pub(crate) fn holds(&self, id: TypeId) -> bool {
        self.0.contains_key(&id)
    }
}

impl fmt::Debug for DataMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DataMap({} values)", self.0.len())
    }
}
