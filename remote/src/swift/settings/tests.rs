//! Which account is meant: variables, clouds and the address, alone and together.

use super::*;
use crate::access::Timeouts;
use icecore::storage::retry::Patience;
use std::collections::BTreeMap;
use std::sync::Arc;

fn access(variables: &[(&str, &str)], home: Option<&Path>) -> Access {
    let variables: BTreeMap<String, String> =
        variables.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Access {
        variable: Arc::new(move |name| variables.get(name).map(Into::into)),
        home: home.map(Path::to_owned),
        user: None,
        password: Arc::new(|| Ok(None)),
        timeouts: Timeouts::default(),
        connections: 1,
        patience: Patience::none(),
        warn: Arc::new(|_| ()),
    }
}

fn gather(variables: &[(&str, &str)]) -> Result<Settings> {
    Settings::gather(Asked::default(), &access(variables, None))
}

fn login(variables: &[(&str, &str)]) -> keystone::Login {
    match gather(variables).unwrap().credentials {
        Credentials::Keystone(login) => login,
        _ => panic!("not a login at Keystone"),
    }
}

const PASSWORD: [(&str, &str); 4] = [
    ("OS_AUTH_URL", "https://k:5000"),
    ("OS_USERNAME", "me"),
    ("OS_PASSWORD", "p"),
    ("OS_PROJECT_NAME", "us"),
];

fn with<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    PASSWORD.iter().chain(more).copied().collect()
}

#[test]
fn an_openrc_file_is_understood() {
    let login = login(&with(&[("OS_USER_DOMAIN_NAME", "Default"), ("OS_PROJECT_DOMAIN_ID", "d1")]));
    assert_eq!(login.url.as_str(), "https://k:5000/v3");
    let Identity::Password { user, password } = login.identity else { panic!("not by password") };
    assert_eq!(user, Named::Name("me".into(), Domain::Name("Default".into())));
    assert_eq!(password.expose(), "p");
    assert_eq!(login.project, Some(Named::Name("us".into(), Domain::Id("d1".into()))));
}

#[test]
fn domains_have_a_default_and_ids_need_none() {
    assert_eq!(login(&with(&[])).project, Some(Named::Name("us".into(), Domain::Id("default".into()))));
    let other = login(&with(&[("OS_DEFAULT_DOMAIN", "other")]));
    assert_eq!(other.project, Some(Named::Name("us".into(), Domain::Id("other".into()))));
    assert_eq!(login(&with(&[("OS_PROJECT_ID", "7")])).project, Some(Named::Id("7".into())));
}

#[test]
fn the_version_is_added_to_the_address_where_it_is_missing() {
    for (text, url) in [
        ("http://k:5000", "http://k:5000/v3"),
        ("http://k/identity/", "http://k/identity/v3"),
        ("http://k/identity/v3/", "http://k/identity/v3/"),
        ("http://k:5000/v2.0", "http://k:5000/v3"),
    ] {
        assert_eq!(identity_url(text).unwrap().as_str(), url);
    }
}

#[test]
fn application_credentials_and_tokens_are_understood() {
    let url = ("OS_AUTH_URL", "https://k/v3");
    let by_id =
        login(&[url, ("OS_APPLICATION_CREDENTIAL_ID", "i"), ("OS_APPLICATION_CREDENTIAL_SECRET", "s")]);
    assert!(matches!(by_id.identity, Identity::Application { .. }) && by_id.project.is_none());
    let by_name =
        login(&with(&[("OS_APPLICATION_CREDENTIAL_NAME", "n"), ("OS_APPLICATION_CREDENTIAL_SECRET", "s")]));
    assert!(matches!(by_name.identity, Identity::NamedApplication { .. }) && by_name.project.is_none());
    let by_token = login(&[url, ("OS_TOKEN", "t"), ("OS_PROJECT_ID", "7")]);
    assert!(matches!(by_token.identity, Identity::Token(_)) && by_token.project.is_some());
    let fixed = gather(&[("OS_TOKEN", "t"), ("OS_STORAGE_URL", "http://s/v1/AUTH_x")]).unwrap();
    assert!(matches!(fixed.credentials, Credentials::Token { .. }) && !fixed.credentials.renewable());
}

#[test]
fn swifts_own_login_is_understood() {
    let settings = gather(&[("ST_AUTH", "http://s/auth/v1.0"), ("ST_USER", "a:b"), ("ST_KEY", "k")]).unwrap();
    let Credentials::Tempauth(login) = settings.credentials else { panic!("another login") };
    assert_eq!(
        (login.url.as_str(), login.user.as_str(), login.key.expose()),
        ("http://s/auth/v1.0", "a:b", "k")
    );
}

#[test]
fn what_is_not_understood_is_refused() {
    for (variables, kind) in [
        (vec![], Kind::Invalid),
        (with(&[("ST_AUTH", "http://s")]), Kind::Invalid),
        (with(&[("OS_SYSTEM_SCOPE", "all")]), Kind::Unsupported),
        (with(&[("OS_TRUST_ID", "1")]), Kind::Unsupported),
        (with(&[("OS_INSECURE", "true")]), Kind::Unsupported),
        (with(&[("OS_IDENTITY_API_VERSION", "2")]), Kind::Unsupported),
        (with(&[("OS_AUTH_TYPE", "v3oidcpassword")]), Kind::Unsupported),
        (with(&[("OS_AUTH_TYPE", "v3token")]), Kind::Invalid),
        (with(&[("OS_INTERFACE", "secret")]), Kind::Invalid),
        (PASSWORD[..3].to_vec(), Kind::Invalid),
        (vec![("OS_AUTH_URL", "ftp://k"), PASSWORD[1], PASSWORD[2], PASSWORD[3]], Kind::Invalid),
        (vec![("OS_TOKEN", "t")], Kind::Invalid),
    ] {
        assert_eq!(gather(&variables).err().map(|e| e.kind()), Some(kind), "{variables:?}");
    }
    for version in ["3", "3.0", "v3"] {
        login(&with(&[("OS_IDENTITY_API_VERSION", version)]));
    }
}

#[test]
fn the_address_goes_before_the_variables() {
    let variables = with(&[("OS_REGION_NAME", "one"), ("OS_ENDPOINT_TYPE", "internalURL")]);
    let access = access(&variables, None);
    let settings = Settings::gather(Asked::default(), &access).unwrap();
    assert_eq!((settings.region.as_deref(), settings.interface.as_str()), (Some("one"), "internal"));
    let asked = Asked { region: Some("two"), interface: Some("admin"), ..Asked::default() };
    let settings = Settings::gather(asked, &access).unwrap();
    assert_eq!((settings.region.as_deref(), settings.interface.as_str()), (Some("two"), "admin"));
}

#[test]
fn a_cloud_stands_for_itself_but_for_its_secret() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join(".config/openstack");
    std::fs::create_dir_all(&folder).unwrap();
    let file = "clouds: {mine: {auth: {auth_url: 'http://k/v3', username: you, project_id: p}, region_name: r, cacert: ~/ca.pem}}";
    std::fs::write(folder.join("clouds.yaml"), file).unwrap();
    // The variables are of another account.
    let access = access(&with(&[("OS_USER_ID", "not meant")]), Some(home.path()));
    let settings = Settings::gather(Asked { cloud: Some("mine"), ..Asked::default() }, &access).unwrap();
    assert_eq!((settings.region.as_deref(), settings.ca_file), (Some("r"), Some(home.path().join("ca.pem"))));
    let Credentials::Keystone(login) = settings.credentials else { panic!("another login") };
    let Identity::Password { user, password } = login.identity else { panic!("not by password") };
    assert_eq!(user, Named::Name("you".into(), Domain::Id("default".into())));
    assert_eq!((password.expose(), login.project), ("p", Some(Named::Id("p".into()))));
}
