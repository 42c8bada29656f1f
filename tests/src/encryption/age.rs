//! `age` as the witness: what it opens, and what is read of what it made.

use super::{PASSWORD, chain, has, level, shell, tar_restores};
use crate::place::{Place, SERIES};
use crate::program::not_run;
use std::path::Path;

/// The document of a level, by the folder of its data.
pub fn document(place: &Place, folder: &Path) -> std::path::PathBuf {
    let data = place.repository().join("data/tar").join(SERIES);
    let below = folder.strip_prefix(&data).unwrap();
    place.repository().join("metadata/tar").join(SERIES).join(below).join("metadata")
}

#[test]
fn age_zstd_and_tar_restore_a_chain_under_a_password() {
    if !["age", "script"].into_iter().all(has) {
        return not_run("age and script are needed");
    }
    let place = Place::new();
    let expected = chain(&place, || level(&place, Some(PASSWORD), &[]));
    let key = place.path().join("key.txt");
    tar_restores(&place, "zstd", &expected, |folder, plain| {
        // As docs/guide/encryption.md says it; age asks at a terminal.
        let commands = r#"
            cd "$PLACE"
            sed 's/.*"locked_key": "\([^"]*\)".*/\1/' "$DOCUMENT" | base64 -d > key.age
            printf '%s\n' "$PASSWORD" | script -qec 'age -d -o key.txt key.age' /dev/null
            age -d -i key.txt -o "$PLAIN" "$DATA"
        "#;
        let document = document(&place, folder);
        let data = folder.join("data");
        shell(
            &place,
            commands,
            &[
                ("PLACE", place.path()),
                ("DOCUMENT", &document),
                ("PASSWORD", Path::new(PASSWORD)),
                ("PLAIN", plain),
                ("DATA", &data),
            ],
        );
        let state = folder.join("engine_metadata");
        shell(
            &place,
            r#"age -d -i "$KEY" "$STATE" | head -c 8 | grep -q "GNU tar""#,
            &[("KEY", &key), ("STATE", &state)],
        );
    });
}
