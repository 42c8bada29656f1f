//! What servers answer to PROPFIND, and what they might.

use super::*;
use proptest::prelude::*;

fn folder(href: &str) -> Member {
    Member { href: href.to_owned(), what: What::Folder, modified: None }
}

fn object(href: &str, size_bytes: u64) -> Member {
    Member { href: href.to_owned(), what: What::Object { size_bytes }, modified: None }
}

fn kind(answer: &str) -> Kind {
    parse(answer.as_bytes()).unwrap_err().kind()
}

#[test]
fn prefixes_of_namespaces_do_not_matter() {
    let rows = |open: &str, prefix: &str| {
        format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<{prefix}multistatus {open}>\n\
             <{prefix}response><{prefix}href>/a/</{prefix}href><{prefix}propstat><{prefix}prop>\
             <{prefix}resourcetype><{prefix}collection/></{prefix}resourcetype></{prefix}prop>\
             <{prefix}status>HTTP/1.1 200 OK</{prefix}status></{prefix}propstat></{prefix}response>\
             <{prefix}response><{prefix}href>/a/b</{prefix}href><{prefix}propstat><{prefix}prop>\
             <{prefix}getcontentlength>7</{prefix}getcontentlength><{prefix}resourcetype/></{prefix}prop>\
             <{prefix}status>HTTP/1.1 200 OK</{prefix}status></{prefix}propstat></{prefix}response>\
             </{prefix}multistatus>"
        )
    };
    for (open, prefix) in [("xmlns=\"DAV:\"", ""), ("xmlns:D=\"DAV:\"", "D:"), ("xmlns:lp1=\"DAV:\"", "lp1:")]
    {
        assert_eq!(
            parse(rows(open, prefix).as_bytes()).unwrap(),
            [folder("/a/"), object("/a/b", 7)],
            "{prefix}"
        );
    }
    // The same names in another namespace are something else.
    assert_eq!(kind(&rows("xmlns=\"urn:x\"", "")), Kind::Damaged);
}

#[test]
fn properties_that_a_folder_does_not_have_are_not_missed() {
    let answer = "<D:multistatus xmlns:D=\"DAV:\"><D:response><D:href>/f/</D:href>\
        <D:propstat><D:prop><D:resourcetype><D:collection/></D:resourcetype>\
        <D:getlastmodified>Sun, 06 Nov 1994 08:49:37 GMT</D:getlastmodified></D:prop>\
        <D:status>HTTP/1.1 200 OK</D:status></D:propstat>\
        <D:propstat><D:prop><D:getcontentlength/></D:prop><D:status>HTTP/1.1 404 Not Found</D:status></D:propstat>\
        </D:response></D:multistatus>";
    let expected = Member { modified: Some(784_111_777), ..folder("/f/") };
    assert_eq!(parse(answer.as_bytes()).unwrap(), [expected]);
}

#[test]
fn what_a_server_could_not_tell_is_a_row_that_says_so() {
    for (inside, status) in [
        ("<status>HTTP/1.1 404 Not Found</status>", 404),
        ("<propstat><prop><getcontentlength/></prop><status>HTTP/1.1 403 Forbidden</status></propstat>", 403),
    ] {
        let answer =
            format!("<multistatus xmlns=\"DAV:\"><response><href>/x</href>{inside}</response></multistatus>");
        let rows = parse(answer.as_bytes()).unwrap();
        assert_eq!(rows[0].what, What::Refused(status));
    }
}

#[test]
fn names_are_unescaped_once() {
    let answer = "<multistatus xmlns=\"DAV:\"><response><href>/a&amp;b%26&lt;&#x26;<![CDATA[&amp;]]></href>\
        <propstat><prop><getcontentlength>0</getcontentlength></prop><status>HTTP/1.1 200 OK</status></propstat>\
        </response></multistatus>";
    assert_eq!(parse(answer.as_bytes()).unwrap(), [object("/a&b%26<&&amp;", 0)]);
}

#[test]
fn what_is_not_whole_is_damaged() {
    let whole = "<multistatus xmlns=\"DAV:\"><response><href>/x</href><propstat><prop>\
        <getcontentlength>1</getcontentlength></prop><status>HTTP/1.1 200 OK</status></propstat></response></multistatus>";
    assert!(parse(whole.as_bytes()).is_ok());
    for end in 0..whole.len() {
        assert_eq!(kind(&whole[..end]), Kind::Damaged, "{end}");
    }
    for other in [
        "<html><body>It works!</body></html>",
        "<multistatus xmlns=\"DAV:\"/><multistatus xmlns=\"DAV:\"/>",
        "<multistatus xmlns=\"DAV:\"><response></response></multistatus>",
        "<!DOCTYPE x [<!ENTITY a \"b\">]><multistatus xmlns=\"DAV:\"/>",
        "<multistatus xmlns=\"DAV:\"><response><href>&a;</href></response></multistatus>",
    ] {
        assert_eq!(kind(other), Kind::Damaged, "{other}");
    }
    assert_eq!(parse(b"<multistatus xmlns=\"DAV:\"/>").unwrap(), []);
    assert_eq!(parse(b"\xff").unwrap_err().kind(), Kind::Damaged);
}

#[test]
fn depth_and_texts_have_bounds() {
    let deep = format!("<multistatus xmlns=\"DAV:\">{}", "<x>".repeat(WEBDAV_ELEMENTS_DEEP));
    assert_eq!(kind(&deep), Kind::Limit);
    let long = "x".repeat(WEBDAV_TEXT_BYTES + 1);
    let long = format!("<multistatus xmlns=\"DAV:\"><response><href>{long}</href></response></multistatus>");
    assert_eq!(kind(&long), Kind::Limit);
}

proptest! {
    #[test]
    fn rows_come_back_as_they_were_written(rows in prop::collection::vec(("[ -~é日\u{1f9ca}]{1,40}", any::<Option<u64>>()), 0..20)) {
        let mut answer = "<d:multistatus xmlns:d=\"DAV:\" xmlns:o=\"urn:other\">".to_owned();
        let mut expected = Vec::new();
        for (name, size) in &rows {
            let href = format!("/{}", name.trim());
            let properties = match size {
                Some(size) => format!("<d:resourcetype/><d:getcontentlength>{size}</d:getcontentlength><o:getcontentlength>x</o:getcontentlength>"),
                None => "<d:resourcetype><d:collection/></d:resourcetype>".to_owned(),
            };
            answer += &format!(
                "<d:response><d:href> {} </d:href><d:propstat><d:prop>{properties}</d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>",
                quick_xml::escape::escape(href.as_str())
            );
            expected.push(size.map_or_else(|| folder(&href), |size| object(&href, size)));
        }
        answer += "</d:multistatus>";
        prop_assert_eq!(parse(answer.as_bytes()).unwrap(), expected);
    }

    #[test]
    fn no_answer_makes_it_panic(answer in prop::collection::vec(any::<u8>(), 0..400)) {
        parse(&answer).map(drop).unwrap_or(());
    }
}
