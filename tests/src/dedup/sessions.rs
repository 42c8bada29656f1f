//! Sessions that no run ends any more: what the user is told of them, and how he ends them.

use super::{announce, backup, cheap_place, objects, verb};
use crate::place::Place;
use icecore::repository::vault::Process;
use std::time::SystemTime;

/// The ids of all that are announced.
fn ids(place: &Place) -> Vec<String> {
    let objects = objects(place, "sessions");
    objects.iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
}

fn now() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() as i64
}

/// `check --end-session` for each of these.
fn end(place: &Place, ids: &[&str], more: &[&str]) -> crate::program::Outcome {
    let named = ids.iter().flat_map(|id| ["--end-session", id]).collect::<Vec<_>>();
    verb(place, "check", &[&named, more].concat())
}

#[test]
fn a_session_that_was_left_behind_or_is_damaged_is_ended_by_name() {
    let place = cheap_place();
    place.write(&[("a", "1")]);
    backup(&place, &[]).expect(0);
    announce(&place, Process::of_number(4711), 1);
    let [old] = &ids(&place)[..] else { panic!("one session") };
    // The same bytes under another name are of no session. The two ids differ in the last digit alone.
    let last = if old.ends_with('0') { "1" } else { "0" };
    let damaged = format!("{}{last}", &old[..old.len() - 1]);
    let folder = place.repository().join("dedup/sessions");
    std::fs::copy(folder.join(old), folder.join(&damaged)).unwrap();
    let checked = verb(&place, "check", &[]).expect(1);
    for id in [old, &damaged] {
        assert!(checked.names(&format!("icecore check --end-session {id} removes it")), "{checked:?}");
    }
    // No other verb ends them.
    verb(&place, "check", &["--clean", "--grace", "0"]).expect(1);
    backup(&place, &[]).expect(0);
    assert_eq!(ids(&place).len(), 2);

    let none = if old.starts_with("0000") { "1111" } else { "0000" };
    for (named, status, words) in [
        (&old[..4], 2, "2 sessions match"),
        (none, 1, "no session"),
        (&old[..3], 2, "not the id of a session"),
        ("xyzzy", 2, "not the id of a session"),
        ("", 2, "not the id of a session"),
    ] {
        // Together with one that could be ended.
        let refused = end(&place, &[old, named], &[]).expect(status).explained();
        assert!(refused.names(words) && refused.names(named), "{refused:?}");
        assert!(refused.names(&damaged), "what there is: {refused:?}");
        assert_eq!(ids(&place).len(), 2, "{named}");
    }

    let ended = end(&place, &[&format!("dedup/sessions/{damaged}")], &[]).expect(0).of_type("session");
    assert_eq!(ended.len(), 1);
    assert_eq!((&ended[0]["id"], &ended[0]["process"]), (&damaged.as_str().into(), &serde_json::Value::Null));
    assert_eq!(ids(&place), std::slice::from_ref(old));
    assert!(verb(&place, "check", &[]).expect(0).names("4711"));
    let ended = end(&place, &[&old[..4], &old.to_uppercase()], &[]).expect(0).of_type("session");
    assert_eq!(ended.len(), 1, "it is one");
    assert_eq!((&ended[0]["host"], &ended[0]["process"]), (&"beta".into(), &4711.into()));
    assert!(ids(&place).is_empty());
    assert!(!verb(&place, "check", &["--read-data"]).expect(0).names("sessions"));
}

#[test]
fn a_session_that_may_be_needed_is_ended_only_when_that_is_meant() {
    let place = cheap_place();
    announce(&place, Process::of_number(4712), now());
    let young = ids(&place).remove(0);
    let refused = end(&place, &[&young], &[]).expect(11).explained();
    assert!(refused.names("4712") && refused.names("--grace 0"), "{refused:?}");
    verb(&place, "check", &["--end-session", &young, "--clean"]).expect(2);
    assert_eq!(ids(&place).len(), 1);
    end(&place, &[&young], &["--grace", "0"]).expect(0);
    assert!(ids(&place).is_empty());
}
