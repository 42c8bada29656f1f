//! What a server says of the part of an object that it sends (RFC 9110, section 14.4).

/// What a server sends of an object: `bytes 5-9/100`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentRange {
    /// Where it begins.
    pub first: u64,
    /// How many bytes it has; never none.
    pub length: u64,
    /// Of the whole object, when the server tells it.
    pub size: Option<u64>,
}

impl ContentRange {
    /// Takes the header apart; `None` when it contradicts itself or is something else.
    pub fn parse(text: &str) -> Option<ContentRange> {
        let (range, size) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = range.trim().split_once('-')?;
        let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
        let length = last.checked_sub(first)?.checked_add(1)?;
        let size = match size.trim() {
            "*" => None,
            size => Some(size.parse().ok().filter(|size| last < *size)?),
        };
        Some(ContentRange { first, length, size })
    }
}

/// The length of an object that has no such part: `bytes */100`.
pub fn unsatisfied(text: &str) -> Option<u64> {
    text.trim().strip_prefix("bytes */")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges_are_taken_apart_or_not_believed() {
        let range = |first, length, size| Some(ContentRange { first, length, size });
        assert_eq!(ContentRange::parse("bytes 5-9/100"), range(5, 5, Some(100)));
        assert_eq!(ContentRange::parse("bytes 0-0/*"), range(0, 1, None));
        for wrong in [
            "",
            "bytes */5",
            "bytes 9-5/10",
            "bytes 0-9/5",
            "bytes 0-9",
            "items 0-9/10",
            "bytes -1-2/5",
            "bytes 0-18446744073709551615/*",
            "bytes 5-9/x",
        ] {
            assert_eq!(ContentRange::parse(wrong), None, "{wrong}");
        }
        assert_eq!((unsatisfied("bytes */7"), unsatisfied("bytes 0-1/7")), (Some(7), None));
    }

    proptest! {
        #[test]
        fn any_range_comes_back(first in 0u64..1 << 60, length in 1u64..1 << 60, more in 0u64..1 << 60) {
            let (last, size) = (first + length - 1, first + length + more);
            prop_assert_eq!(
                ContentRange::parse(&format!("bytes {first}-{last}/{size}")),
                Some(ContentRange { first, length, size: Some(size) })
            );
        }
    }
}
