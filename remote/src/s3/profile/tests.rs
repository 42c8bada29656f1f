//! Files of profiles: what they say, and what is refused.

use super::*;
use crate::access::Timeouts;
use icecore::storage::retry::Patience;
use proptest::prelude::*;
use std::sync::Arc;

fn access(config: &str, keys: &str, profile: Option<&str>) -> (tempfile::TempDir, Access) {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join(".aws")).unwrap();
    std::fs::write(home.path().join(".aws/config"), config).unwrap();
    std::fs::write(home.path().join(".aws/credentials"), keys).unwrap();
    let profile = profile.map(str::to_owned);
    let access = Access {
        variable: Arc::new(move |name| {
            profile.as_ref().filter(|_| name == "AWS_PROFILE").map(std::ffi::OsString::from)
        }),
        home: Some(home.path().to_owned()),
        user: None,
        password: Arc::new(|| Ok(None)),
        timeouts: Timeouts::default(),
        connections: 1,
        patience: Patience::none(),
        warn: Arc::new(|_| ()),
    };
    (home, access)
}

const CONFIG: &str = "\
# a comment
[default]
region = eu-west-1
s3 =
    max_concurrent_requests = 20
    addressing_style = path
output = json

[profile  far \"away\" ] ; and another
region=ap-south-1
services = mine
[services mine]
s3 =
  endpoint_url = https://objects.example
[profile role]
role_arn = arn:aws:iam::1:role/x
source_profile = default
[profile login]
sso_session = me
[profile program]
credential_process = /usr/bin/keys
[profile nothing]
region = x
";

const KEYS: &str = "\
[default]
  aws_access_key_id = AKIA1
  aws_secret_access_key = a/b+c=d
[far away]
AWS_ACCESS_KEY_ID=AKIA2
aws_secret_access_key=two
aws_session_token=three
[half]
aws_access_key_id=AKIA3
[role]
aws_access_key_id=AKIA4
aws_secret_access_key=four
";

#[test]
fn a_profile_is_put_together_from_both_files() {
    let (_home, access) = access(CONFIG, KEYS, None);
    let default = Profile::load(&access, None).unwrap();
    let keys = default.keys().unwrap().unwrap();
    assert_eq!((keys.id, keys.secret, keys.token), ("AKIA1", "a/b+c=d", None));
    assert_eq!((default.region(), default.endpoint()), (Some("eu-west-1"), None));
    assert_eq!(default.setting("s3.addressing_style"), Some("path"));
    assert_eq!(default.setting("output"), Some("json"));

    let far = Profile::load(&access, Some("far away")).unwrap();
    let keys = far.keys().unwrap().unwrap();
    assert_eq!((keys.id, keys.secret, keys.token), ("AKIA2", "two", Some("three")));
    assert_eq!((far.region(), far.endpoint()), (Some("ap-south-1"), Some("https://objects.example")));
    assert!(Profile::load(&access, Some("nothing")).unwrap().keys().unwrap().is_none());
}

#[test]
fn a_profile_that_is_named_has_to_be_there() {
    let (_home, asked) = access(CONFIG, KEYS, None);
    assert_eq!(Profile::load(&asked, Some("absent")).err().unwrap().kind(), Kind::Invalid);
    let (_home, by_variable) = access(CONFIG, KEYS, Some("absent"));
    assert_eq!(Profile::load(&by_variable, None).err().unwrap().kind(), Kind::Invalid);
    let (_home, nothing) = access("", "", None);
    assert!(Profile::load(&nothing, None).unwrap().keys().unwrap().is_none());
}

#[test]
fn other_ways_to_keys_are_not_passed_over() {
    let (_home, access) = access(CONFIG, KEYS, None);
    for (name, word) in [("role", "role_arn"), ("login", "sso_session"), ("program", "credential_process")] {
        let error = Profile::load(&access, Some(name)).unwrap().keys().err().unwrap();
        assert_eq!(error.kind(), Kind::Unsupported);
        assert!(error.to_string().contains(word), "{error}");
    }
    let error = Profile::load(&access, Some("half")).unwrap().keys().err().unwrap();
    assert_eq!(error.kind(), Kind::Invalid);
    assert!(!error.to_string().contains("AKIA"), "{error}");
}

#[test]
fn nonsense_is_told_by_its_line_and_not_by_its_words() {
    for text in ["key = value", "[open", "[a]\nsecret", "[a] b"] {
        let error = parse(text).unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid, "{text}");
        assert!(!error.to_string().contains("secret"));
    }
    let error = parse(&"\n".repeat(PROFILE_LINES + 2)).unwrap_err();
    assert_eq!(error.kind(), Kind::Limit);
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        written in prop::collection::btree_map(
            "[a-z][a-z0-9 ]{0,8}[a-z0-9]",
            prop::collection::btree_map("[a-z_]{1,12}", "[!-~]{0,20}", 0..5),
            0..5,
        ),
    ) {
        let mut text = String::new();
        for (name, settings) in &written {
            text += &format!("[{name}]\n");
            for (key, value) in settings {
                text += &format!("{key} = {value}\n");
            }
        }
        let read = parse(&text).unwrap();
        let words = |name: &String| name.split_whitespace().collect::<Vec<_>>().join(" ");
        for (name, settings) in &written {
            let found = &read[&words(name)];
            for (key, value) in settings {
                prop_assert_eq!(found[key].as_str(), value);
            }
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,200}", lines in prop::collection::vec("[ \\[\\]=#;a-z]{0,12}", 0..12)) {
        drop(parse(&text));
        drop(parse(&lines.join("\n")));
    }
}
