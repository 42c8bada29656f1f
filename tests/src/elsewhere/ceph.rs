//! Ceph's S3 gateway, real: every verb, and a bucket that locks what is in it. A server of its kind is started once for all of it.

use super::denied::what_a_lock_keeps_stays;
use super::servers::Started;
use super::{Server, every_verb_works};
use crate::program::not_run;
use icecore_testkit::servers::rgw::Gateway;

impl Started for Gateway {
    fn reached(&self) -> Server {
        let (id, secret) = self.key.clone();
        Server {
            address: "s3://backups/a b".to_owned(),
            options: format!("?endpoint={}&region=us-east-1", self.endpoint()),
            variables: vec![
                ("AWS_ACCESS_KEY_ID".to_owned(), id),
                ("AWS_SECRET_ACCESS_KEY".to_owned(), secret),
            ],
            running: Vec::new(),
        }
    }
}

#[test]
#[ignore = "starting Ceph takes half a minute: scripts/test-long"]
fn the_gateway_of_ceph_keeps_repositories() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = match Gateway::start(folder.path()) {
        Ok(gateway) => gateway,
        Err(missing) => return not_run(&missing.0),
    };
    every_verb_works(&gateway.reached());
    what_a_lock_keeps_stays(gateway.reached());
}
