//! The one deserializer through which typed objects are read: serde_json's, with notes taken on the way.
//!
//! A kind's decoding code is generated anew for each deserializer type it meets, a megabyte for a big kind. So there is
//! a single one, for requests, for stored objects and for what servers answer; what shall be noted (unknown fields,
//! repeated fields, where an error struck) is decided when it runs, not by its type.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

/// What was noted while something was read.
#[derive(Default)]
pub struct Notes {
    /// Whether unknown and repeated fields are of interest.
    pub(super) strict: bool,
    /// Whether what tells of the owners of fields is passed over: long, and of no interest to who reads what is there.
    pub(super) bare: bool,
    /// Paths of fields that the type does not have.
    pub(super) unknown: Vec<String>,
    /// Paths of fields that were there before.
    pub(super) repeated: Vec<String>,
    /// Where the error struck.
    pub(super) failed: Option<String>,
}

/// The way from the root to where the reader is.
#[derive(Clone, Copy)]
pub(super) enum Path<'p> {
    Root,
    Key(&'p Path<'p>, &'p str),
    Index(&'p Path<'p>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => Ok(()),
            Path::Key(Path::Root, key) => f.write_str(key),
            Path::Key(parent, key) => write!(f, "{parent}.{key}"),
            Path::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// A deserializer at a place.
pub(super) struct Reader<'a, D> {
    pub(super) inner: D,
    pub(super) path: Path<'a>,
    pub(super) notes: &'a mut Notes,
}

macro_rules! forward {
    ($($method:ident($($arg:ident: $of:ty),*);)*) => {$(
        fn $method<V: Visitor<'de>>(self, $($arg: $of,)* visitor: V) -> Result<V::Value, D::Error> {
            self.inner.$method($($arg,)* Watched { visitor, path: self.path, notes: self.notes })
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Reader<'_, D> {
    type Error = D::Error;

    forward! {
        deserialize_any(); deserialize_bool(); deserialize_i8(); deserialize_i16(); deserialize_i32();
        deserialize_i64(); deserialize_u8(); deserialize_u16(); deserialize_u32(); deserialize_u64();
        deserialize_f32(); deserialize_f64(); deserialize_char(); deserialize_str(); deserialize_string();
        deserialize_bytes(); deserialize_byte_buf(); deserialize_option(); deserialize_unit();
        deserialize_seq(); deserialize_map(); deserialize_identifier();
        deserialize_unit_struct(name: &'static str);
        deserialize_newtype_struct(name: &'static str);
        deserialize_tuple(len: usize);
        deserialize_tuple_struct(name: &'static str, len: usize);
        deserialize_struct(name: &'static str, fields: &'static [&'static str]);
        deserialize_enum(name: &'static str, variants: &'static [&'static str]);
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        if self.notes.strict {
            self.notes.unknown.push(self.path.to_string());
        }
        self.inner.deserialize_ignored_any(visitor)
    }
}

/// A visitor whose lists and maps are read through [`Reader`] again.
struct Watched<'a, V> {
    visitor: V,
    path: Path<'a>,
    notes: &'a mut Notes,
}

macro_rules! pass {
    ($($method:ident: $of:ty;)*) => {$(
        fn $method<E: serde::de::Error>(self, value: $of) -> Result<V::Value, E> {
            self.visitor.$method(value)
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Watched<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(f)
    }

    pass! {
        visit_bool: bool; visit_i64: i64; visit_u64: u64; visit_f64: f64;
        visit_str: &str; visit_borrowed_str: &'de str; visit_string: String;
        visit_bytes: &[u8]; visit_borrowed_bytes: &'de [u8]; visit_byte_buf: Vec<u8>;
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.visitor.visit_unit()
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.visitor.visit_none()
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.visitor.visit_some(Reader { inner, path: self.path, notes: self.notes })
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.visitor.visit_newtype_struct(Reader { inner, path: self.path, notes: self.notes })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_seq(List { inner, path: &self.path, index: 0, notes: self.notes })
    }

    fn visit_map<A: MapAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        let (key, seen) = (Cow::Borrowed(""), Seen::default());
        self.visitor.visit_map(Map { inner, path: &self.path, key, seen, notes: self.notes })
    }

    fn visit_enum<A: EnumAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_enum(inner)
    }
}

struct List<'a, A> {
    inner: A,
    path: &'a Path<'a>,
    index: usize,
    notes: &'a mut Notes,
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for List<'_, A> {
    type Error = A::Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, A::Error> {
        let path = Path::Index(self.path, self.index);
        self.index += 1;
        self.inner.next_element_seed(Seed { seed, path, notes: self.notes })
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

struct Map<'de, 'a, A> {
    inner: A,
    path: &'a Path<'a>,
    /// The key read last.
    key: Cow<'de, str>,
    seen: Seen<'de>,
    notes: &'a mut Notes,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Map<'de, '_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        let bare = self.notes.bare && matches!(self.path, Path::Key(Path::Root, "metadata"));
        let found = self.inner.next_key_seed(KeySeed { seed, key: &mut self.key, bare })?;
        if self.notes.strict && found.is_some() && !self.seen.first(self.key.clone()) {
            self.notes.repeated.push(Path::Key(self.path, &self.key).to_string());
        }
        Ok(found)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, A::Error> {
        let path = Path::Key(self.path, &self.key);
        self.inner.next_value_seed(Seed { seed, path, notes: self.notes })
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

/// The keys of a map so far. A long map (a ConfigMap's data) is looked up by hash, the usual short one by comparison.
#[derive(Default)]
struct Seen<'de> {
    few: Vec<Cow<'de, str>>,
    many: HashSet<Cow<'de, str>>,
}

impl<'de> Seen<'de> {
    const FEW: usize = 32;

    /// Remembers a key; false if it was there already.
    fn first(&mut self, key: Cow<'de, str>) -> bool {
        if self.few.contains(&key) {
            return false;
        }
        if self.few.len() < Self::FEW {
            self.few.push(key);
            return true;
        }
        self.many.insert(key)
    }
}

/// Reads a value at a place and notes where it failed.
struct Seed<'a, T> {
    seed: T,
    path: Path<'a>,
    notes: &'a mut Notes,
}

impl<'de, T: DeserializeSeed<'de>> DeserializeSeed<'de> for Seed<'_, T> {
    type Value = T::Value;

    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<T::Value, D::Error> {
        let Self { seed, path, notes } = self;
        let outcome = seed.deserialize(Reader { inner, path, notes: &mut *notes });
        if outcome.is_err() {
            notes.failed_at(path);
        }
        outcome
    }
}

impl Notes {
    /// The innermost place is told first and stays.
    #[cold]
    fn failed_at(&mut self, path: Path<'_>) {
        if self.failed.is_none() {
            self.failed = Some(path.to_string());
        }
    }
}

/// Reads a key and keeps its text.
struct KeySeed<'de, 'a, K> {
    seed: K,
    key: &'a mut Cow<'de, str>,
    bare: bool,
}

impl<'de, K: DeserializeSeed<'de>> DeserializeSeed<'de> for KeySeed<'de, '_, K> {
    type Value = K::Value;

    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<K::Value, D::Error> {
        self.seed.deserialize(KeyReader { inner, key: self.key, bare: self.bare })
    }
}

/// Keys are texts; integer keys, which serde_json would parse, do not occur in the API.
struct KeyReader<'de, 'a, D> {
    inner: D,
    key: &'a mut Cow<'de, str>,
    bare: bool,
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for KeyReader<'de, '_, D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_str(KeyVisitor { visitor, key: self.key, bare: self.bare })
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

struct KeyVisitor<'de, 'a, V> {
    visitor: V,
    key: &'a mut Cow<'de, str>,
    bare: bool,
}

impl<V> KeyVisitor<'_, '_, V> {
    /// The key as the type sees it: one that it does not have is passed over.
    fn shown<'k>(&self, key: &'k str) -> &'k str {
        if self.bare && key == "managedFields" { "" } else { key }
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for KeyVisitor<'de, '_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(f)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<V::Value, E> {
        *self.key = Cow::Owned(text.to_owned());
        let shown = self.shown(text);
        self.visitor.visit_str(shown)
    }

    fn visit_borrowed_str<E: serde::de::Error>(self, text: &'de str) -> Result<V::Value, E> {
        *self.key = Cow::Borrowed(text);
        let shown = self.shown(text);
        self.visitor.visit_borrowed_str(shown)
    }
}
