//! What a configuration says of a host, as `ssh` would have it; what is not understood is refused where it applies.

use super::*;
use proptest::prelude::*;

fn config(text: &str) -> Config {
    Config::parse(text, &mut |_| Ok(Vec::new())).unwrap()
}

#[test]
fn the_first_value_counts_and_keys_add_up() {
    let config = config(
        "User everybody\n\
         Host backup *.example !not.example\n\
         \thostname=10.0.0.7\n  Port = 2222\n  User late\n  IdentityFile ~/.ssh/one\n\
         # a comment\n\
         Host *\n  Port 22\n  IdentityFile \"~/my keys/two\" # and another\n  IdentitiesOnly yes\n\
         UserKnownHostsFile ~/a ~/b\n  StrictHostKeyChecking accept-new\n  ConnectTimeout 7\n  ForwardAgent yes\n",
    );
    let found = config.settings("backup").unwrap();
    let expected = Settings {
        host_name: Some("10.0.0.7".to_owned()),
        port: Some(2222),
        user: Some("everybody".to_owned()),
        identity_files: vec!["~/.ssh/one".to_owned(), "~/my keys/two".to_owned()],
        identities_only: Some(true),
        known_hosts: Some(vec!["~/a".to_owned(), "~/b".to_owned()]),
        strictness: Some(Strictness::AcceptNew),
        connect_timeout: Some(7),
        ..Settings::default()
    };
    assert_eq!(found, expected);
    assert_eq!(config.settings("a.example").unwrap().port, Some(2222));
    assert_eq!(config.settings("not.example").unwrap().port, Some(22));
}

#[test]
fn a_proxy_command_is_refused_where_it_applies() {
    let text = "Host far\n  ProxyCommand nc %h %p\nHost near\n  ProxyJump a,b:22\n  ProxyCommand nc\nHost plain\n  ProxyCommand none\n  ProxyJump x\n";
    let config = config(text);
    assert_eq!(config.settings("far").unwrap_err().kind(), Kind::Unsupported);
    assert_eq!(config.settings("near").unwrap().jump.as_deref(), Some("a,b:22"));
    assert_eq!(config.settings("plain").unwrap().jump, None);
    assert_eq!(config.settings("other").unwrap(), Settings::default());
}

#[test]
fn a_match_is_understood_or_refused() {
    let config = config(
        "Match originalhost a,b\n  Port 1\nMatch host=c exec \"true\"\n  Port 2\nMatch all\n  User u\nMatch exec x\n  ForwardAgent yes\n",
    );
    assert_eq!(config.settings("b").unwrap().port, Some(1));
    assert_eq!(config.settings("c").unwrap_err().kind(), Kind::Unsupported);
}

#[test]
fn an_include_stands_under_the_condition_around_it() {
    let mut asked = Vec::new();
    let text = "Host a\n  Include x\n  Port 7\nHost *\n  User u\n";
    let config = Config::parse(text, &mut |pattern| {
        asked.push(pattern.to_owned());
        Ok(vec!["HostName of-a\nHost b\n  HostName never\n".to_owned()])
    })
    .unwrap();
    let host_name = |host| config.settings(host).unwrap().host_name;
    assert_eq!((host_name("a").as_deref(), host_name("b")), (Some("of-a"), None));
    assert_eq!((config.settings("a").unwrap().port, asked), (Some(7), vec!["x".to_owned()]));
    let nested = Config::parse("Include x", &mut |_| Ok(vec!["Include y".to_owned()]));
    assert_eq!(nested.unwrap_err().kind(), Kind::Unsupported);
}

#[test]
fn nonsense_is_told() {
    for text in
        ["Port many", "Port", "IdentitiesOnly perhaps", "ConnectTimeout -1", "StrictHostKeyChecking x"]
    {
        assert_eq!(config(text).settings("h").unwrap_err().kind(), Kind::Invalid, "{text}");
    }
    assert_eq!(Config::parse("User \"x", &mut |_| Ok(Vec::new())).unwrap_err().kind(), Kind::Invalid);
}

proptest! {
    #[test]
    fn any_text_is_a_configuration_or_an_error(text in "(?s).{0,200}", host in "[a-z.*?!]{0,8}") {
        let config = Config::parse(&text, &mut |_| Ok(vec!["Host x".to_owned()]));
        config.and_then(|config| config.settings(&host)).map(drop).unwrap_or(());
    }

    #[test]
    fn quoted_words_come_back(words_in in prop::collection::vec("[a-z #=\\\\']{1,8}", 1..4)) {
        let quoted: Vec<String> = words_in.iter().map(|word| format!("\"{}\"", word.replace('\\', "\\\\").replace('\'', "\\'"))).collect();
        let found = words(&format!("k {}", quoted.join(" "))).unwrap();
        prop_assert_eq!(&found[1..], &words_in[..]);
    }
}
