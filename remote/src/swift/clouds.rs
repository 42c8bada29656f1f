//! `clouds.yaml`: the accounts that OpenStack's own clients know by a name. Secrets may stand apart, in `secure.yaml`.

use icecore::error::{Error, Kind, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A file of clouds.
const FILE_BYTES: u64 = 1 << 20;

/// What is known of a cloud. Everything is text: a password of digits is not a number.
#[derive(Debug, Default, Deserialize)]
pub struct Cloud {
    /// The keys below `auth`.
    #[serde(default)]
    auth: Option<BTreeMap<String, Option<String>>>,
    /// The region.
    pub region_name: Option<String>,
    /// Which sort of login.
    pub auth_type: Option<String>,
    /// Which endpoint.
    pub interface: Option<String>,
    /// The same, as it was called before.
    pub endpoint_type: Option<String>,
    /// 3.
    pub identity_api_version: Option<String>,
    /// Whether certificates are checked.
    pub verify: Option<String>,
    /// More authorities.
    pub cacert: Option<String>,
    /// Certificate to show.
    pub cert: Option<String>,
    /// Its key.
    pub key: Option<String>,
    /// Where the account is, whatever the catalogue says.
    pub object_store_endpoint_override: Option<String>,
    profile: Option<String>,
    cloud: Option<String>,
}

#[derive(Deserialize)]
struct Clouds {
    #[serde(default)]
    clouds: Option<BTreeMap<String, Option<Cloud>>>,
}

impl Cloud {
    /// A key below `auth`.
    pub fn auth(&self, key: &str) -> Option<String> {
        self.auth.as_ref()?.get(key)?.clone().filter(|value| !value.is_empty())
    }

    /// What `other` says counts where this says nothing.
    fn or(self, other: Cloud) -> Cloud {
        let mut auth = other.auth.unwrap_or_default();
        auth.extend(self.auth.unwrap_or_default());
        Cloud {
            auth: Some(auth),
            region_name: self.region_name.or(other.region_name),
            auth_type: self.auth_type.or(other.auth_type),
            interface: self.interface.or(other.interface),
            endpoint_type: self.endpoint_type.or(other.endpoint_type),
            identity_api_version: self.identity_api_version.or(other.identity_api_version),
            verify: self.verify.or(other.verify),
            cacert: self.cacert.or(other.cacert),
            cert: self.cert.or(other.cert),
            key: self.key.or(other.key),
            object_store_endpoint_override: self
                .object_store_endpoint_override
                .or(other.object_store_endpoint_override),
            profile: self.profile.or(other.profile),
            cloud: self.cloud.or(other.cloud),
        }
    }
}

/// Where files of clouds are looked for. The current folder is not among them: what stands there may be anybody's.
pub fn folders(home: Option<&Path>) -> Vec<PathBuf> {
    let own = home.map(|home| home.join(".config/openstack"));
    own.into_iter().chain([PathBuf::from("/etc/openstack")]).collect()
}

/// The cloud called `name` in the first of `files` that is there, and in the first of `secure` ones.
///
/// # Errors
/// `Invalid` when there is no such file or cloud, or for one that cannot be read as YAML.
pub fn find(name: &str, files: &[PathBuf], secure: &[PathBuf]) -> Result<Cloud> {
    let no_file = || {
        let places: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
        Error::new(Kind::Invalid, "there is no file of clouds")
            .because(format!("looked for {}", places.join(", ")))
    };
    let (path, mut clouds) = first(files)?.ok_or_else(no_file)?;
    let Some(cloud) = clouds.remove(name) else {
        let known: Vec<String> = clouds.into_keys().collect();
        let error = Error::invalid(format!("{} has no cloud called", path.display()), name);
        return Err(error.hint(format!("it has: {}", known.join(", "))));
    };
    let secret = first(secure)?.and_then(|(_, mut clouds)| clouds.remove(name)).unwrap_or_default();
    let cloud = secret.or(cloud);
    if let Some(profile) = cloud.profile.as_ref().or(cloud.cloud.as_ref()) {
        let error = Error::new(Kind::Unsupported, "profiles of providers are not known:").on(profile.clone());
        return Err(error.hint("write auth_url and the like into the cloud itself"));
    }
    Ok(cloud)
}

type ByName = BTreeMap<String, Cloud>;

fn first(files: &[PathBuf]) -> Result<Option<(PathBuf, ByName)>> {
    for path in files {
        let shown = || path.display().to_string();
        let size = match std::fs::metadata(path) {
            Ok(found) => found.len(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(Error::io("cannot read", shown(), error)),
        };
        if size > FILE_BYTES {
            return Err(Error::new(Kind::Limit, "too large for a file of clouds:").on(shown()));
        }
        let text = std::fs::read_to_string(path).map_err(|e| Error::io("cannot read", shown(), e))?;
        return Ok(Some((path.clone(), parse(&text).map_err(|e| e.while_doing("cannot read", shown()))?)));
    }
    Ok(None)
}

/// The clouds of a file.
///
/// # Errors
/// `Invalid`. The parser's own words are left out but for the place: they would quote the line, with a password perhaps.
pub fn parse(text: &str) -> Result<ByName> {
    let clouds: Clouds = serde_saphyr::from_str(text).map_err(|error| {
        let place = error.location().map(|place| format!("in line {}", place.line()));
        Error::invalid("not a file of clouds", place.unwrap_or_default())
    })?;
    let clouds = clouds.clouds.unwrap_or_default();
    Ok(clouds.into_iter().map(|(name, cloud)| (name, cloud.unwrap_or_default())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FILE: &str = "
# A comment
clouds:
  first:
    auth:
      auth_url: https://k.example:5000/v3
      username: \"me\"
      password: 0123
      project_name: 'us: all'
    region_name: RegionOne
    identity_api_version: 3
    verify: false
    networks:
      - name: net
  second: &second
    auth: {auth_url: https://other, application_credential_id: abc}
    auth_type: v3applicationcredential
  third: *second
";

    #[test]
    fn clouds_are_read_by_name() {
        let clouds = parse(FILE).unwrap();
        let first = &clouds["first"];
        // Digits stay what they are.
        assert_eq!(first.auth("password").as_deref(), Some("0123"));
        assert_eq!(first.auth("project_name").as_deref(), Some("us: all"));
        assert_eq!(
            (first.identity_api_version.as_deref(), first.verify.as_deref()),
            (Some("3"), Some("false"))
        );
        for name in ["second", "third"] {
            assert_eq!(clouds[name].auth_type.as_deref(), Some("v3applicationcredential"));
            assert_eq!(clouds[name].auth("application_credential_id").as_deref(), Some("abc"));
        }
        assert!(parse("").unwrap().is_empty() && parse("clouds:").unwrap().is_empty());
    }

    #[test]
    fn secrets_may_stand_apart() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            vec![folder.path().join("missing.yaml"), path]
        };
        let (files, secure) = (
            write("clouds.yaml", FILE),
            write("secure.yaml", "clouds: {second: {auth: {application_credential_secret: s}}}"),
        );
        let cloud = find("second", &files, &secure).unwrap();
        assert_eq!(cloud.auth("application_credential_secret").as_deref(), Some("s"));
        assert_eq!(cloud.auth("application_credential_id").as_deref(), Some("abc"));
        let unknown = find("fourth", &files, &[]).unwrap_err();
        assert!(unknown.advice().unwrap().contains("first, second, third"), "{unknown}");
        assert_eq!(find("first", &secure[..1], &[]).unwrap_err().kind(), Kind::Invalid);
        let profile = write("p.yaml", "clouds: {x: {profile: somebody}}");
        assert_eq!(find("x", &profile, &[]).unwrap_err().kind(), Kind::Unsupported);
    }

    #[test]
    fn what_is_wrong_is_told_without_its_words() {
        let error = parse("clouds:\n  a:\n    auth: {password: hunter2").unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid);
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[ \\-:{}a-z\"'&*#\n\\[\\]|>]{0,200}") {
            parse(&text).ok();
        }
    }
}
