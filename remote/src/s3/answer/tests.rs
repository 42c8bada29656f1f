//! Answers of servers: those that are whole are read, all others are errors.

use super::*;
use proptest::prelude::*;

fn list(inner: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?>\n<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{inner}</ListBucketResult>\n"
    )
}

fn text(key: &str) -> Key {
    Key::Text(key.to_owned())
}

#[test]
fn a_page_is_read_with_its_encoding() {
    let inner = "<EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>\n\
        <NextContinuationToken>a&amp;b=</NextContinuationToken>\
        <Contents><Key>a+b%2Bc%20d/%C3%B6</Key><Size> 7 </Size><ETag>&quot;x&quot;</ETag></Contents>\
        <Contents><Key>%FF</Key><Size>0</Size></Contents>\
        <CommonPrefixes><Prefix>p/</Prefix></CommonPrefixes>";
    let read = page(list(inner).as_bytes()).unwrap();
    assert_eq!(read.next.as_deref(), Some("a&b="));
    let expected = [
        Row::Object { key: text("a b+c d/ö"), size_bytes: 7 },
        Row::Object { key: Key::Bytes("%FF".to_owned()), size_bytes: 0 },
        Row::Common(text("p/")),
    ];
    assert_eq!(read.rows, expected);
    let plain = "<IsTruncated>false</IsTruncated><Contents><Key>a+%20&#10;<![CDATA[<]]></Key><Size>1</Size></Contents>";
    let read = page(list(plain).as_bytes()).unwrap();
    assert_eq!(read.rows, [Row::Object { key: text("a+%20\n<"), size_bytes: 1 }]);
    assert_eq!(read.next, None);
}

#[test]
fn buckets_are_read_by_name() {
    let list = |inner: &str| {
        format!("<ListAllMyBucketsResult><Owner><ID>x</ID></Owner>{inner}</ListAllMyBucketsResult>")
    };
    let whole = list(
        "<Buckets><Bucket><Name>a.b</Name><CreationDate>2026-11-28T09:00:00Z</CreationDate></Bucket>\
         <Bucket><CreationDate/><Name>c</Name></Bucket></Buckets><ContinuationToken>t</ContinuationToken>",
    );
    let expected = Buckets { names: vec!["a.b".to_owned(), "c".to_owned()], next: Some("t".to_owned()) };
    assert_eq!(buckets(whole.as_bytes()).unwrap(), expected);
    for cut in 0..whole.len() {
        assert!(buckets(&whole.as_bytes()[..cut]).is_err(), "cut at {cut}");
    }
    let none = buckets(list("<Buckets/>").as_bytes()).unwrap();
    assert_eq!(none, Buckets { names: Vec::new(), next: None });
    for wrong in ["", "<Buckets><Bucket/></Buckets>"] {
        assert_eq!(buckets(list(wrong).as_bytes()).unwrap_err().kind(), Kind::Damaged, "{wrong}");
    }
    assert!(buckets(b"<Error><Code>SlowDown</Code></Error>").is_err());
}

#[test]
fn a_page_that_is_not_whole_is_an_error() {
    let whole = list("<IsTruncated>false</IsTruncated><Contents><Key>a</Key><Size>1</Size></Contents>");
    assert!(page(whole.as_bytes()).is_ok());
    let end = whole.trim_end().len();
    for cut in 0..end {
        assert!(page(&whole.as_bytes()[..cut]).is_err(), "cut at {cut}");
    }
    for wrong in [
        "<IsTruncated>true</IsTruncated>",
        "<IsTruncated>perhaps</IsTruncated>",
        "<Contents><Key>a</Key><Size>1</Size></Contents>",
        "<IsTruncated>false</IsTruncated><Contents><Key>a</Key></Contents>",
        "<IsTruncated>false</IsTruncated><Contents><Key>a</Key><Size>-1</Size></Contents>",
        "<IsTruncated>false</IsTruncated><Contents><Size>1</Size></Contents>",
    ] {
        assert_eq!(page(list(wrong).as_bytes()).unwrap_err().kind(), Kind::Damaged, "{wrong}");
    }
    assert!(page(b"<Error><Code>SlowDown</Code></Error>").is_err());
    assert!(page(b"<!DOCTYPE x><ListBucketResult/>").is_err());
}

#[test]
fn what_is_too_deep_or_too_large_is_refused() {
    let deep = "<a>".repeat(XML_DEPTH + 1);
    assert_eq!(Element::read(deep.as_bytes()).unwrap_err().kind(), Kind::Limit);
    let many = format!("<a>{}</a>", "<b/>".repeat(XML_ELEMENTS));
    assert_eq!(Element::read(many.as_bytes()).unwrap_err().kind(), Kind::Limit);
}

#[test]
fn unfinished_uploads_and_their_parts_are_read() {
    let answer = "<ListMultipartUploadsResult><IsTruncated>true</IsTruncated><NextKeyMarker>k</NextKeyMarker>\
        <NextUploadIdMarker>i</NextUploadIdMarker>\
        <Upload><Key>a/b</Key><UploadId>1</UploadId><Initiated>2026-11-28T09:00:00.000Z</Initiated></Upload>\
        </ListMultipartUploadsResult>";
    let read = uploads(answer.as_bytes()).unwrap();
    assert_eq!(read.next, Some(("k".to_owned(), "i".to_owned())));
    assert_eq!(read.uploads[0].begun.rfc3339(), "2026-11-28T09:00:00Z");
    assert_eq!((read.uploads[0].key.clone(), read.uploads[0].id.as_str()), (text("a/b"), "1"));

    let answer = "<ListPartsResult><IsTruncated>false</IsTruncated>\
        <Part><PartNumber>1</PartNumber><LastModified>2026-11-28T10:00:00Z</LastModified></Part>\
        <Part><PartNumber>2</PartNumber><LastModified>2026-11-28T09:00:00Z</LastModified></Part></ListPartsResult>";
    let read = parts(answer.as_bytes()).unwrap();
    assert_eq!(read.latest.map(Timestamp::rfc3339).as_deref(), Some("2026-11-28T10:00:00Z"));
    assert!(parts(b"<ListPartsResult><Part/></ListPartsResult>").is_err());
}

#[test]
fn words_of_a_server_are_short_and_harmless() {
    assert_eq!(shown(" a\x1b[2Jb\n"), "a\\u{1b}[2Jb");
    assert_eq!(shown(&"x".repeat(1000)).chars().count(), 301);
}

/// As AWS writes keys when it is asked for `encoding-type=url`.
fn encoded(key: &str) -> String {
    key.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'/' | b'*' => {
                char::from(byte).to_string()
            }
            b' ' => "+".to_owned(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

proptest! {
    #[test]
    fn keys_come_back_as_they_were(keys in prop::collection::vec("[^\0]{1,20}", 0..8)) {
        let mut inner = "<EncodingType>url</EncodingType><IsTruncated>false</IsTruncated>".to_owned();
        for key in &keys {
            inner += &format!("<Contents><Key>{}</Key><Size>1</Size></Contents>", encoded(key));
        }
        let read = page(list(&inner).as_bytes()).unwrap();
        let expected: Vec<Row> = keys.iter().map(|key| Row::Object { key: text(key), size_bytes: 1 }).collect();
        prop_assert_eq!(read.rows, expected);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), xml in "[<>/&;#a-c!\\[\\]\"= -]{0,80}") {
        drop(page(&bytes));
        drop(page(xml.as_bytes()));
    }
}
