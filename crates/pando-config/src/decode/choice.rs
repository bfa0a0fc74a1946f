//! Words of a fixed set, as an enum.

/// Defines an enum whose variants are words, with how it is read and its schema.
macro_rules! choice {
    ($(#[doc = $about:expr])* $name:ident { $($(#[doc = $doc:expr])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[doc = $about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum $name { $($(#[doc = $doc])* $variant),* }

        impl $name {
            pub(crate) const WORDS: &'static [&'static str] = &[$($word),*];

            /// As it is typed.
            #[allow(dead_code, reason = "not every set of words is spoken of")]
            pub(crate) fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }
        }

        impl $crate::decode::Leaf for $name {
            fn expected() -> String {
                $crate::decode::listed(Self::WORDS.iter().copied(), "or")
            }

            fn parse(scalar: &$crate::tree::Scalar) -> Result<Self, $crate::decode::Wrong> {
                match scalar.text.as_str() {
                    $($word => Ok(Self::$variant),)*
                    typed => Err(match $crate::decode::nearest(typed, Self::WORDS.iter().copied()) {
                        Some(word) => $crate::decode::Wrong::with_hint(format!("did you mean `{word}`?")),
                        None => $crate::decode::Wrong::default(),
                    }),
                }
            }

            fn schema() -> serde_json::Value {
                serde_json::json!({"enum": Self::WORDS})
            }
        }
    };
}

pub(crate) use choice;
