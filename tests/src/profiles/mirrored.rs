//! A profile of several places: a backup by it is in all of them, or in as many as the profile says must take it.

use super::Desk;
use std::fs;
use std::path::PathBuf;

const TWO: &str = "
[repositories.main]
path = 'REPOSITORY'
mirrors = ['REPOSITORY-too']
min-copies = MIN
password-file = 'password'
[profiles.it]
repository = 'main'
paths = ['SOURCE']
";

/// How many backups are in each place.
fn counts(desk: &Desk) -> [usize; 2] {
    let count = |place: PathBuf| fs::read_dir(place.join("dedup/snapshots")).map_or(0, Iterator::count);
    [count(desk.place.repository()), count(desk.place.path().join("repository-too"))]
}

#[test]
fn a_profile_of_several_places_fills_as_many_as_it_says() {
    let desk = Desk::new(&TWO.replace("MIN", "1"));
    desk.place.write(&[("a", "first")]);
    desk.run(&["init", "@it"]).expect(0);
    desk.run(&["backup", "@it"]).expect(0);
    assert_eq!(counts(&desk), [1, 1]);

    let (mirror, away) = (desk.place.path().join("repository-too"), desk.place.path().join("away"));
    fs::rename(&mirror, &away).unwrap();
    desk.place.write(&[("a", "second")]);
    let behind = desk.run(&["backup", "@it"]).expect(3);
    assert!(behind.stderr.contains("is behind") && behind.stderr.contains("repository-too"), "{behind:?}");
    assert_eq!(counts(&desk), [2, 0]);
    desk.write_profiles(&TWO.replace("MIN", "2"));
    let refused = desk.run(&["backup", "@it"]).expect(1);
    assert!(refused.stderr.contains("repository-too"), "{refused:?}");
    assert_eq!(counts(&desk), [2, 0]);

    fs::rename(&away, &mirror).unwrap();
    desk.place.write(&[("a", "third")]);
    desk.run(&["backup", "@it"]).expect(0);
    assert_eq!(counts(&desk), [3, 3]);
    // The second place alone has all of it.
    fs::rename(desk.place.repository(), &away).unwrap();
    let target = desk.place.target("back");
    desk.run(&["restore", "@it", "--target", super::text(&target), "latest"]).expect(0);
    assert_eq!(fs::read_to_string(target.join("a")).unwrap(), "third");
}
