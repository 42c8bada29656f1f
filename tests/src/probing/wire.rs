//! The same over a real server in a bucket, behind a proxy that changes what passes.

use crate::program::{Outcome, Program, not_run};
use icecore_testkit::servers::moto::Moto;
use icecore_testkit::wire::{Action, Answer, HttpProxy, Request, Rule};
use std::net::{Ipv4Addr, SocketAddr};
use tempfile::TempDir;

struct Bucket {
    proxy: HttpProxy,
    program: Program,
    _server: Moto,
    _folder: TempDir,
}

impl Bucket {
    fn new() -> Option<Bucket> {
        let folder = tempfile::tempdir().unwrap();
        match Moto::start(folder.path()) {
            Ok(server) => {
                let proxy = HttpProxy::new(SocketAddr::from((Ipv4Addr::LOCALHOST, server.port)));
                Some(Bucket { proxy, program: Program::new(), _server: server, _folder: folder })
            }
            Err(reason) => {
                not_run(&reason.0);
                None
            }
        }
    }

    fn try_out(&self, more: &[&str]) -> Outcome {
        let address =
            format!("s3://bucket/place?endpoint=http://127.0.0.1:{}&region=us-east-1", self.proxy.port());
        let sizes = ["--objects", "40", "--large-objects", "0", "--connections", "4"];
        let mut command = self.program.command(&["storage", "test", "--json", "-r", &address]);
        command.args(sizes).args(more).env("AWS_ACCESS_KEY_ID", "any").env("AWS_SECRET_ACCESS_KEY", "any");
        let output = command.output().unwrap();
        Outcome::new(output.status, &output.stdout, &output.stderr)
    }
}

/// The claims that do not hold, each with what was seen.
fn failures(outcome: &Outcome) -> Vec<(String, String)> {
    let claims = outcome.of_type("claim");
    assert!(claims.len() >= 17, "{outcome:?}");
    let failed = claims.iter().filter(|claim| claim["verdict"] != "holds");
    failed.map(|claim| (claim["claim"].as_str().unwrap().to_owned(), claim["seen"].to_string())).collect()
}

fn is_list(request: &Request) -> bool {
    request.query.contains("list-type=2")
}

#[test]
fn a_server_that_is_busy_and_loses_answers_now_and_then_can_be_relied_on() {
    let Some(bucket) = Bucket::new() else { return };
    let busy = Answer::status(503).retry_after(0);
    bucket.proxy.add(Rule::new(Action::Answer(busy)).on("GET", "*").from(30).times(2));
    bucket.proxy.add(Rule::new(Action::LoseAnswer).on("PUT", "*").nth(40));
    bucket.proxy.add(Rule::new(Action::CutBody { after_bytes: 100 }).on("GET", "*").when(is_list).nth(5));
    bucket.proxy.add(Rule::new(Action::LoseAnswer).on("DELETE", "*").nth(2));
    let outcome = bucket.try_out(&[]).expect(0);
    assert_eq!(failures(&outcome), []);
    assert_eq!(bucket.proxy.struck(), 5);
}

#[test]
fn a_row_that_is_missing_from_a_long_listing_is_missed() {
    let Some(bucket) = Bucket::new() else { return };
    let drop_one = |body: Vec<u8>| {
        let text = String::from_utf8(body).unwrap();
        match (text.matches("<Contents>").count(), text.find("<Contents>"), text.find("</Contents>")) {
            (30.., Some(start), Some(end)) => {
                [&text[..start], &text[end + "</Contents>".len()..]].concat().into_bytes()
            }
            _ => text.into_bytes(),
        }
    };
    bucket.proxy.add(Rule::new(Action::edit_body(drop_one)).on("GET", "*").when(is_list));
    let outcome = bucket.try_out(&[]).expect(1);
    let failed = failures(&outcome);
    let long = failed.iter().find(|(claim, _)| claim == "a long listing is complete");
    assert!(long.is_some_and(|(_, seen)| seen.contains("lacked")), "{failed:?}");
    // What was written is known, whatever a listing says.
    assert_eq!(outcome.summary()["left"], serde_json::json!([]));
}

#[test]
fn listings_that_are_old_are_seen() {
    let Some(bucket) = Bucket::new() else { return };
    let is_ours = |request: &Request| is_list(request) && request.query.contains("icecore-test-");
    bucket.proxy.add(Rule::new(Action::Stale).on("GET", "*").when(is_ours));
    let failed = failures(&bucket.try_out(&[]).expect(1));
    let names: Vec<&str> = failed.iter().map(|(claim, _)| claim.as_str()).collect();
    assert!(names.contains(&"what was put or deleted is so in the next listing"), "{failed:?}");
}

#[test]
fn bodies_that_are_short_and_seem_whole_are_seen() {
    let Some(bucket) = Bucket::new() else { return };
    let is_object = |request: &Request| request.query.is_empty();
    bucket
        .proxy
        .add(Rule::new(Action::ShortenBody { to_bytes: 4_000 }).on("GET", "*icecore-test-*").when(is_object));
    // Who sees it tries again, and would for minutes.
    let outcome = bucket.try_out(&["--retries", "0"]).expect(1);
    let failed = failures(&outcome);
    assert!(bucket.proxy.struck() > 0 && failed.len() >= 3, "{failed:?}");
    assert!(
        outcome.of_type("claim").iter().any(|claim| claim["verdict"] != "holds" && claim["required"] == true)
    );
}
